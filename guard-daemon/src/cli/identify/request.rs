//! A described request, read strictly: what could not leave a client as it stands is refused.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A request as its client would send it.
#[derive(Debug)]
pub(super) struct Described {
    /// Its head. The target is a path.
    pub(super) parts: Parts,
    /// The URL's host, lower case.
    pub(super) host: String,
    /// The body; `None` where there is one that is not described.
    pub(super) body: Option<Vec<u8>>,
}

/// Why a description is none of a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    /// It is not JSON, or a member is missing or of another type.
    #[error("not a request: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0:?} is not an HTTP method")]
    Method(String),
    #[error("the url {0}")]
    Url(&'static str),
    #[error("{0:?} is not the name of a header")]
    HeaderName(String),
    #[error("the header {0} has a character that no header may have")]
    HeaderValue(HeaderName),
    #[error("the header :authority is not the host of the url")]
    Authority,
    #[error("the body is not base64: {0}; encode it so, with padding")]
    Base64(#[from] base64::DecodeError),
    #[error("the body's encoding {0:?} is not known; use base64, or none for text")]
    Encoding(String),
    #[error("Content-Length is {declared}, but the body has {given} bytes; the body was changed")]
    Length { declared: String, given: usize },
}

/// Reads a line.
pub(super) fn of_line(line: &[u8]) -> Result<Described, Malformed> {
    let Line {
        method,
        url,
        headers,
        body,
    } = serde_json::from_slice(line)?;
    let body = body
        .map(|it| STANDARD.decode(it.0.as_bytes()))
        .transpose()?;
    let headers = headers.0.iter().map(|(name, value)| (&*name.0, &*value.0));
    described(&method, &url, headers, body)
}

/// Reads an entry of a HAR document.
pub(super) fn of_entry(entry: &str) -> Result<Described, Malformed> {
    let Entry { request } = serde_json::from_str(entry)?;
    let body = match request.post_data {
        Some(data) => Some(data.bytes()?),
        // Programs that do not keep bodies tell that there was one.
        None if request.body_size.is_some_and(|it| it > 0) => None,
        None => Some(Vec::new()),
    };
    let undescribed = body.is_none();
    // HTTP/2's own fields are no headers.
    let mut plain = Vec::with_capacity(request.headers.len());
    let mut authority = None;
    for Pair { name, value } in &request.headers {
        match name.strip_prefix(':') {
            None => plain.push((&**name, &**value)),
            Some("authority") => authority = Some(&**value),
            Some(_) => {}
        }
    }
    let mut described = described(
        &request.method,
        &request.url,
        plain.into_iter(),
        body.filter(|it| !it.is_empty()),
    )?;
    if undescribed {
        described.body = None;
    }
    let host = |it: &str| it.strip_suffix(":443").unwrap_or(it).to_ascii_lowercase();
    if authority.is_some_and(|it| host(it) != described.host) {
        return Err(Malformed::Authority);
    }
    Ok(described)
}

fn described<'a>(
    method: &str,
    url: &str,
    headers: impl Iterator<Item = (&'a str, &'a str)>,
    body: Option<Vec<u8>>,
) -> Result<Described, Malformed> {
    let (host, target) = split(url).map_err(Malformed::Url)?;
    let mut parts = Request::new(()).into_parts().0;
    parts.method =
        Method::from_bytes(method.as_bytes()).map_err(|_bad| Malformed::Method(shown(method)))?;
    parts.uri = Uri::try_from(&*target)
        .map_err(|_bad| Malformed::Url("has a character that must be percent-encoded"))?;
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_bad| Malformed::HeaderName(shown(name)))?;
        // White space around a value is not part of it (RFC 9110 §5.5).
        let value = HeaderValue::from_bytes(value.trim_matches([' ', '\t']).as_bytes())
            .map_err(|_bad| Malformed::HeaderValue(name.clone()))?;
        parts.headers.append(name, value);
    }
    if !parts.headers.contains_key(HOST) {
        let value = HeaderValue::from_str(&host);
        let value = value.map_err(|_bad| Malformed::Url("has a host that is none"))?;
        parts.headers.insert(HOST, value);
    }
    let body = match (body, declared(&parts.headers)) {
        (None, Some(length)) if length != "0" => None,
        (None, None) if parts.headers.contains_key(TRANSFER_ENCODING) => None,
        (body, declared) => {
            let body = body.unwrap_or_default();
            if let Some(declared) = declared.filter(|it| it.parse() != Ok(body.len())) {
                return Err(Malformed::Length {
                    declared: shown(declared),
                    given: body.len(),
                });
            }
            Some(body)
        }
    };
    Ok(Described { parts, host, body })
}

fn declared(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()
}

/// Host, lower case, and target, every byte kept.
fn split(url: &str) -> Result<(String, Cow<'_, str>), &'static str> {
    let (scheme, rest) = url
        .split_once("://")
        .ok_or("is not absolute; write it with https:// and the host")?;
    match scheme {
        _ if scheme.eq_ignore_ascii_case("https") => {}
        _ if scheme.eq_ignore_ascii_case("http") => {
            return Err("is http, which guard does not let through to AWS; use https");
        }
        _ => return Err("is neither https nor http"),
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if target.contains('#') {
        return Err("has a fragment, which no client sends; leave it out, or write %23");
    }
    if authority.contains('@') {
        return Err("has a user or password before the host; leave them out");
    }
    let host = authority.strip_suffix(":443").unwrap_or(authority);
    // The colons of an address stand in brackets.
    let name = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    if name.is_none() && host.contains(':') {
        return Err("has a port; guard serves AWS on 443 only");
    }
    if host.is_empty() {
        return Err("has no host");
    }
    let target = match target.as_bytes().first() {
        Some(b'/') => Cow::Borrowed(target),
        _ => Cow::Owned(format!("/{target}")),
    };
    Ok((host.to_ascii_lowercase(), target))
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(borrow, default)]
    headers: Headers<'a>,
    #[serde(borrow, default)]
    body: Option<Text<'a>>,
}

#[derive(Clone, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// In the order of the object; a name with a list stands once for each element.
#[derive(Default)]
struct Headers<'a>(Vec<(Text<'a>, Text<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Headers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Headers<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of headers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                let mut headers = Vec::with_capacity(16);
                while let Some((name, values)) = object.next_entry::<Text<'de>, Values<'de>>()? {
                    for value in values.0 {
                        headers.push((name.clone(), value));
                    }
                }
                Ok(Headers(headers))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

struct Values<'a>(Vec<Text<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Values<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Values<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text or a list of texts")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Values(vec![Text(Cow::Borrowed(text))]))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Values(vec![Text(Cow::Owned(text.to_owned()))]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(Values(values))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    request: HarRequest<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HarRequest<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(borrow)]
    headers: Vec<Pair<'a>>,
    #[serde(borrow, default)]
    post_data: Option<PostData<'a>>,
    #[serde(default)]
    body_size: Option<i64>,
}

#[derive(Deserialize)]
struct Pair<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    value: Cow<'a, str>,
}

/// A form is given as text, as parameters, or as both.
#[derive(Deserialize)]
struct PostData<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    encoding: Option<Text<'a>>,
    #[serde(borrow, default)]
    params: Option<Vec<Pair<'a>>>,
}

impl PostData<'_> {
    fn bytes(&self) -> Result<Vec<u8>, Malformed> {
        let text = self.text.as_ref().map_or("", |it| &*it.0);
        match self.encoding.as_ref().map_or("", |it| &*it.0) {
            "" => {}
            "base64" => return Ok(STANDARD.decode(text)?),
            other => return Err(Malformed::Encoding(shown(other))),
        }
        if !text.is_empty() {
            return Ok(text.as_bytes().to_vec());
        }
        let encode = |it| utf8_percent_encode(it, NON_ALPHANUMERIC);
        let pairs = self.params.iter().flatten();
        let pairs = pairs.map(|it| format!("{}={}", encode(&it.name), encode(&it.value)));
        Ok(pairs.collect::<Vec<_>>().join("&").into_bytes())
    }
}
