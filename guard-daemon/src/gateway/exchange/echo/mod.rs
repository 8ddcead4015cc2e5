//! What AWS's errors repeat of the request that they answer.
//!
//! A service that finds a signature wrong answers with what it computed: the canonical request with every signed
//! header, the session token among them, the key id and the signature, as text and byte for byte in hexadecimal; S3
//! repeats a token that has expired. Of every answer that is no success, to a request that left with real credentials,
//! those are replaced by what the client has in their place. Where they stand is nobody's model: they are looked for
//! everywhere, in each spelling that text, XML, JSON and URLs have for a character. What cannot be looked through is
//! withheld.

mod spelling;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use self::spelling::{escaped_at, hex_at};
use super::super::body::ResponseBody;
use super::super::budget::Charge;
use super::super::forward::{self, Unreadable};
use super::super::outcome::Completion;
use super::super::refusal::Refusal;
use super::answer::Edits;
use super::authenticate::Authenticated;
use super::send::Leaving;
use crate::mask;

/// Bytes of an error: AWS's have some hundred.
const LARGEST: u64 = 1024 * 1024;

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

    /// Passes an answer on that is no success; what it takes of the memory is drawn from `charge`.
    pub(super) async fn answer(
        &self,
        response: Response<Incoming>,
        edits: Option<&Edits>,
        mut charge: Charge,
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
        let status = parts.status.as_u16();
        let withheld = |completion: &mut Completion, error: &Unreadable| {
            let text = why(error);
            completion.fail("not-masked", &text);
            Refusal::failed(format!(
                "AWS answered with status {status} and an error that is withheld: {text}"
            ))
        };
        let bytes = read(&parts.headers, body, &mut charge)
            .await
            .map_err(|error| withheld(&mut completion, &error))?;
        completion.received(bytes.len());
        // Words of the upstream's own, after the status.
        parts.extensions.remove::<hyper::ext::ReasonPhrase>();
        found.extend(self.replace_in_headers(&mut parts.headers));
        let fixed = has_lengths(&parts.headers);
        let bytes = match self.replace(&bytes, fixed, "error", &mut found) {
            Some(replaced) => {
                let replaced = Bytes::from(replaced);
                mask::repair_headers(&mut parts.headers, &replaced);
                charge
                    .resize(replaced.len() as u64)
                    .map_err(|_busy| withheld(&mut completion, &Unreadable::Busy))?;
                replaced
            }
            None => bytes,
        };
        completion.masked(found);
        let body = ResponseBody::collected(bytes, charge, completion);
        Ok(Response::from_parts(parts, body))
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

/// Whether the texts of a body have their lengths before them.
fn has_lengths(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| memchr::memmem::find(kind, b"cbor").is_some())
}

/// Reads an error whole. One without a body may still say how that would be encoded.
async fn read(
    headers: &HeaderMap,
    body: Incoming,
    charge: &mut Charge,
) -> Result<Bytes, Unreadable> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    forward::read_answer(headers, body, LARGEST, charge).await
}

fn why(error: &Unreadable) -> String {
    match error {
        Unreadable::TooLarge(limit) => {
            format!(
                "it is larger than {limit} bytes, and may repeat the credentials that guard signed with"
            )
        }
        Unreadable::Compressed => {
            "it is compressed, which was not asked for, and may repeat the credentials that guard \
                                   signed with"
                .to_owned()
        }
        error => error.to_string(),
    }
}
