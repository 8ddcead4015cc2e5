//! What AWS's errors repeat of the request that they answer.
//!
//! A service that finds a signature wrong answers with what it computed: the canonical request with every signed
//! header, the session token among them, the key id and the signature, as text and byte for byte in hexadecimal; S3
//! repeats a token that has expired. Of every answer that is no success, to a request that left with real credentials,
//! those are replaced by what the client has in their place. Where they stand is nobody's model: they are looked for
//! everywhere, in each spelling that text, XML, JSON and URLs have for a character. What cannot be looked through is
//! withheld.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, Version};
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use super::super::body::ResponseBody;
use super::super::forward;
use super::super::outcome::Completion;
use super::super::refusal::Refusal;
use super::super::upstream::chain;
use super::answer::Edits;
use super::authenticate::Authenticated;
use super::send::Leaving;
use crate::mask;

/// Bytes of an error: AWS's have some hundred.
const LARGEST: usize = 1024 * 1024;

/// How often a character may be escaped over again: a URL in JSON in XML is three.
const LAYERS: usize = 4;

/// Where no dummy goes with what is replaced.
const MASKED: &str = "masked-by-guard";

/// What left with a request and must not come back.
pub(super) struct Echo<'a>(Vec<Secret<'a>>);

struct Secret<'a> {
    /// As the journal calls it.
    name: &'static str,
    real: &'a [u8],
    /// Letters and digits alone, which nothing escapes.
    instead: Cow<'a, str>,
}

impl<'a> Echo<'a> {
    /// Of a request that left so, with this signature where it has one.
    pub(super) fn of(leaving: &'a Leaving, signature: &'a str, from: &'a Authenticated) -> Self {
        let mut secrets = Vec::new();
        let mut add = |name, real: &'a str, instead| {
            if !real.is_empty() {
                let real = real.as_bytes();
                secrets.push(Secret {
                    name,
                    real,
                    instead,
                });
            }
        };
        let dummy = from.issue().map(|issue| &issue.dummy);
        match leaving {
            Leaving::Signed { credentials, .. } => {
                let key = dummy.map_or(MASKED, |it| &it.access_key_id);
                add("access key id", credentials.access_key_id(), key.into());
                let token = dummy.and_then(|it| it.session_token.as_deref());
                add(
                    "session token",
                    credentials.session_token().unwrap_or_default(),
                    token.unwrap_or(MASKED).into(),
                );
                add("signature", signature, MASKED.into());
            }
            Leaving::Bearer(token) => {
                let own =
                    dummy.map_or_else(|| MASKED.to_owned(), |it| it.bearer_token().to_string());
                add("bearer token", token.secret(), own.into());
            }
            Leaving::Unsigned => {}
        }
        Self(secrets)
    }

    /// Passes an answer on that is no success.
    pub(super) async fn answer(
        &self,
        response: Response<Incoming>,
        edits: Option<&Edits>,
        mut completion: Completion,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let (mut parts, body) = response.into_parts();
        completion.answered(parts.status, &parts.headers);
        forward::strip_hop_by_hop(&mut parts.headers);
        parts.version = Version::HTTP_11;
        let mut found = edits.map_or_else(Vec::new, |edits| edits.apply_to_headers(&mut parts));
        if self.0.is_empty() {
            completion.masked(found);
            let body = ResponseBody::through(body, completion);
            return Ok(Response::from_parts(parts, body));
        }
        let bytes = read(&parts.headers, body).await.map_err(|error| {
            let text = error.to_string();
            completion.fail("not-masked", &text);
            Refusal::failed(format!(
                "AWS answered with status {} and an error that is withheld: {text}",
                parts.status.as_u16()
            ))
        })?;
        completion.received(bytes.len());
        // Words of the upstream's own, after the status.
        parts.extensions.remove::<hyper::ext::ReasonPhrase>();
        found.extend(self.replace_in_headers(&mut parts.headers));
        let fixed = has_lengths(&parts.headers);
        let bytes = match self.replace(&bytes, fixed, "error", &mut found) {
            Some(replaced) => {
                let replaced = Bytes::from(replaced);
                mask::repair_headers(&mut parts.headers, &replaced);
                replaced
            }
            None => bytes,
        };
        completion.masked(found);
        completion.finish();
        Ok(Response::from_parts(parts, ResponseBody::whole(bytes)))
    }

    fn replace_in_headers(&self, headers: &mut HeaderMap) -> Vec<String> {
        let mut found = Vec::new();
        for (name, value) in headers.iter_mut() {
            let place = format!("header {name}");
            if let Some(replaced) = self.replace(value.as_bytes(), false, &place, &mut found) {
                *value = HeaderValue::from_bytes(&replaced)
                    .unwrap_or_else(|_invalid| HeaderValue::from_static(MASKED));
            }
        }
        found
    }

    /// The text without the secrets; `None` where it has none. A `fixed` one keeps its length. What was `found` is added,
    /// as it is recorded.
    fn replace(
        &self,
        text: &[u8],
        fixed: bool,
        place: &str,
        found: &mut Vec<String>,
    ) -> Option<Vec<u8>> {
        let mut replaced = Vec::new();
        let (mut at, mut kept) = (0, 0);
        while at < text.len() {
            let rest = &text[at..];
            let hit = self.0.iter().find_map(|secret| {
                let escaped = escaped_at(rest, secret.real).map(|length| (length, false));
                let (length, hex) =
                    escaped.or_else(|| hex_at(rest, secret.real).map(|length| (length, true)))?;
                Some((secret, length, hex))
            });
            let Some((secret, length, hex)) = hit else {
                at += 1;
                continue;
            };
            replaced.extend_from_slice(&text[kept..at]);
            let instead = secret.instead.bytes();
            if fixed {
                replaced.extend(instead.cycle().take(length));
            } else if hex {
                // As S3 spells bytes.
                let pairs: Vec<String> = instead.map(|byte| format!("{byte:02x}")).collect();
                let between = if rest.get(2) == Some(&b' ') { " " } else { "" };
                replaced.extend_from_slice(pairs.join(between).as_bytes());
            } else {
                replaced.extend(instead);
            }
            at += length;
            kept = at;
            let entry = format!("{place}: {}", secret.name);
            if !found.contains(&entry) {
                found.push(entry);
            }
        }
        (kept > 0).then(|| {
            replaced.extend_from_slice(&text[kept..]);
            replaced
        })
    }
}

/// How many bytes spell `real` at the beginning of a text, each of its characters escaped or not.
fn escaped_at(text: &[u8], real: &[u8]) -> Option<usize> {
    let mut at = 0;
    for byte in real {
        let rest = text.get(at..)?;
        at += match unescaped(rest) {
            Some((meant, length)) if meant == *byte => length,
            _ if rest.first() == Some(byte) => 1,
            _ => return None,
        };
    }
    Some(at)
}

/// The same in hexadecimal, with a space between two bytes or nothing.
fn hex_at(text: &[u8], real: &[u8]) -> Option<usize> {
    let mut at = 0;
    for (number, byte) in real.iter().enumerate() {
        if number > 0 && text.get(at) == Some(&b' ') {
            at += 1;
        }
        if hex_byte(text.get(at..at + 2)?) != Some(*byte) {
            return None;
        }
        at += 2;
    }
    Some(at)
}

/// The byte that an escape at the beginning of a text means, and its length: `%2B`, `\u002b`, `\/`, `&#43;`, `&#x2B;`,
/// `&amp;`; and each of these with its own first character escaped.
fn unescaped(text: &[u8]) -> Option<(u8, usize)> {
    let layers = |outer: &[u8]| {
        let again = text[1..].chunks(outer.len());
        again.take_while(|it| *it == outer).take(LAYERS).count() * outer.len()
    };
    match text.first()? {
        b'%' => {
            // Of `%25` itself the digits are not a layer but the byte.
            let most = layers(b"25");
            (0..=most).rev().step_by(2).find_map(|skipped| {
                let at = 1 + skipped;
                Some((hex_byte(text.get(at..at + 2)?)?, at + 2))
            })
        }
        b'\\' => {
            let again = text.iter().take(1 << LAYERS);
            let at = again.take_while(|it| **it == b'\\').count();
            match text.get(at)? {
                b'u' if text.get(at + 1..at + 3)? == b"00" => {
                    Some((hex_byte(text.get(at + 3..at + 5)?)?, at + 5))
                }
                byte @ (b'/' | b'"') => Some((*byte, at + 1)),
                _ => Some((b'\\', at)),
            }
        }
        b'&' => {
            let most = layers(b"amp;");
            if let Some((byte, length)) = entity(text.get(1 + most..)?) {
                return Some((byte, 1 + most + length));
            }
            (most > 0).then_some((b'&', 1 + most))
        }
        _ => None,
    }
}

/// A character reference after its `&`.
fn entity(text: &[u8]) -> Option<(u8, usize)> {
    const NAMED: [(&[u8], u8); 4] = [
        (b"lt;", b'<'),
        (b"gt;", b'>'),
        (b"quot;", b'"'),
        (b"apos;", b'\''),
    ];
    if let Some((name, byte)) = NAMED.iter().find(|it| text.starts_with(it.0)) {
        return Some((*byte, name.len()));
    }
    let digits = text.strip_prefix(b"#")?;
    let end = digits.iter().take(8).position(|it| *it == b';')?;
    let digits = str::from_utf8(&digits[..end]).ok()?;
    let byte = match digits.strip_prefix(['x', 'X']) {
        Some(digits) => u8::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    Some((byte.ok()?, end + 2))
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let mut byte = [0];
    hex::decode_to_slice(digits, &mut byte).ok()?;
    Some(byte[0])
}

/// Whether the texts of a body have their lengths before them.
fn has_lengths(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| memchr::memmem::find(kind, b"cbor").is_some())
}

/// Why an error could not be looked through.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error(
        "it is larger than {LARGEST} bytes, and may repeat the credentials that guard signed with"
    )]
    TooLarge,
    #[error(
        "it is compressed, which was not asked for, and may repeat the credentials that guard signed with"
    )]
    Compressed,
    #[error("the upstream broke off within its answer: {0}")]
    Broken(String),
}

async fn read(headers: &HeaderMap, body: Incoming) -> Result<Bytes, Unreadable> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let bytes = match Limited::new(body, LARGEST).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(Unreadable::TooLarge),
        Err(error) => return Err(Unreadable::Broken(chain(error.as_ref()))),
    };
    let encoded = |coding: &HeaderValue| !coding.as_bytes().eq_ignore_ascii_case(b"identity");
    if !bytes.is_empty() && headers.get_all(CONTENT_ENCODING).iter().any(encoded) {
        return Err(Unreadable::Compressed);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "IQoJb3JpZ2luX2VjEHM/+a==";
    const KEY: &str = "ASIAREALREALREALREAL";

    fn echo() -> Echo<'static> {
        let secret = |name, real: &'static str, instead: &'static str| Secret {
            name,
            real: real.as_bytes(),
            instead: instead.into(),
        };
        Echo(vec![
            secret("access key id", KEY, "ASIADUMMY"),
            secret("session token", TOKEN, "dummytoken"),
        ])
    }

    fn replaced(text: &str) -> Option<String> {
        let replaced = echo().replace(text.as_bytes(), false, "error", &mut Vec::new());
        replaced.map(|it| String::from_utf8(it).unwrap())
    }

    /// A character as S3 spells its bytes, or as a URL, XML or JSON may.
    fn spelt(character: char, how: usize) -> String {
        let code = u32::from(character);
        match how {
            0 => character.to_string(),
            1 => format!("%{code:02X}"),
            2 => format!("%25{code:02x}"),
            3 => format!("\\u{code:04x}"),
            4 => format!("&#{code};"),
            5 => format!("&#x{code:X};"),
            6 => format!("&amp;#{code};"),
            7 => format!("%252525{code:02x}"),
            8 => format!("\\\\u{code:04X}"),
            _ if character == '/' => "\\/".to_owned(),
            _ => character.to_string(),
        }
    }

    #[test]
    fn what_is_no_secret_stays_as_it_is() {
        for text in [
            "",
            "<Error><Code>NoSuchKey</Code></Error>",
            "%",
            "%25",
            "%252",
            "&",
            "&amp;",
            "&#",
            "&#x;",
            "&#99999999;",
            "\\",
            "\\u00",
            "\\u0",
            &TOKEN[..20],
            "ASIAREALREALREALREA",
            "41 53 49 41 52",
        ] {
            assert_eq!(replaced(text), None, "{text}");
        }
    }

    #[test]
    fn every_place_is_found_and_named_once() {
        let hex = |text: &str| {
            let pairs: Vec<String> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            pairs.join(" ")
        };
        let body = format!(
            "<Error><AWSAccessKeyId>{KEY}</AWSAccessKeyId><Token-0>{TOKEN}</Token-0>\
             <CanonicalRequestBytes>0a {} 0a</CanonicalRequestBytes></Error>",
            hex(TOKEN)
        );
        let mut found = Vec::new();
        let replaced = echo().replace(body.as_bytes(), false, "error", &mut found);
        assert_eq!(
            String::from_utf8(replaced.unwrap()).unwrap(),
            format!(
                "<Error><AWSAccessKeyId>ASIADUMMY</AWSAccessKeyId><Token-0>dummytoken</Token-0>\
                 <CanonicalRequestBytes>0a {} 0a</CanonicalRequestBytes></Error>",
                hex("dummytoken")
            )
        );
        assert_eq!(found, ["error: access key id", "error: session token"]);
    }

    #[test]
    fn a_text_with_its_length_before_it_keeps_it() {
        let body = format!("\x78\x18{TOKEN}\x74{KEY}");
        let replaced = echo().replace(body.as_bytes(), true, "error", &mut Vec::new());
        let replaced = String::from_utf8(replaced.unwrap()).unwrap();
        assert_eq!(
            replaced,
            "\x78\x18dummytokendummytokendumm\x74ASIADUMMYASIADUMMYAS"
        );
        let kind = |kind| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        assert!(has_lengths(&kind("application/cbor")));
        assert!(!has_lengths(&kind("application/x-amz-json-1.0")));
    }

    #[test]
    fn headers_too() {
        let mut headers = HeaderMap::new();
        let value = format!("https://b.example/?token={}", TOKEN.replace('/', "%2F"));
        headers.insert("location", HeaderValue::try_from(value).unwrap());
        headers.insert("server", HeaderValue::from_static("AmazonS3"));
        let found = echo().replace_in_headers(&mut headers);
        assert_eq!(headers["location"], "https://b.example/?token=dummytoken");
        assert_eq!(headers["server"], "AmazonS3");
        assert_eq!(found, ["header location: session token"]);
    }

    proptest! {
        #[test]
        fn a_secret_is_found_however_its_characters_are_spelt(
            hows in proptest::collection::vec(0_usize..10, TOKEN.len()),
            before in "[ -~]{0,20}[<\"=:]",
            after in "[<\",].{0,20}",
        ) {
            let mut text = before.clone();
            for (character, how) in TOKEN.chars().zip(hows) {
                text.push_str(&spelt(character, how));
            }
            text.push_str(&after);
            prop_assert_eq!(replaced(&text), Some(format!("{before}dummytoken{after}")));
        }

        #[test]
        fn a_secret_in_hexadecimal_is_found(upper: bool, spaced: bool) {
            let mut text = String::from("x=");
            for (number, byte) in TOKEN.bytes().enumerate() {
                if spaced && number > 0 {
                    text.push(' ');
                }
                if upper {
                    write!(text, "{byte:02X}").unwrap();
                } else {
                    write!(text, "{byte:02x}").unwrap();
                }
            }
            let replaced = replaced(&text).unwrap();
            prop_assert_eq!(replaced.len(), if spaced { 31 } else { 22 });
        }

        #[test]
        fn any_text_is_looked_through(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(echo().replace(&text, false, "error", &mut Vec::new()), None);
        }
    }
}
