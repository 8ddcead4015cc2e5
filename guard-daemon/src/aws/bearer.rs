//! Bearer tokens: what some services take in the place of a signature (RFC 6750 §2.1).
//!
//! Amazon Bedrock takes two kinds: long-term keys, and tokens that a client makes itself from its credentials,
//! which are a presigned URL in base64.
//!
//! Source: Amazon Bedrock User Guide, "Generate Amazon Bedrock API keys"; the public
//! `aws-bedrock-token-generator` packages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};

use super::sigv4::{self, Presented, SigV4Error};
use super::{BodyView, RequestView, catalog};

/// The signing name of the services whose operations take a bearer token that guard knows.
pub const SERVICE: &str = "bedrock";

/// Whether a service, by botocore's name, takes such a token.
pub fn is_taken_by(service: &str) -> bool {
    catalog::services_signing(SERVICE).any(|known| known.name() == service)
}

/// Bytes of a token. A presigned one holds a session token.
const TOKEN_BYTES: usize = 16 * 1024;

/// The start of a token that a client made.
const MADE: &str = "bedrock-api-key-";
/// The host that such a token is signed for.
const HOST: &str = "bedrock.amazonaws.com";
/// What follows the presigned URL; the signature does not cover it.
const VERSION: &str = "&Version=1";
/// What the presigned URL asks for.
const ACTION: &str = "Action=CallWithBearerToken";

/// A token that a request carries.
pub enum Bearer<'a> {
    /// One that means something to its issuer only.
    Opaque(&'a str),
    /// A presigned URL: to be verified like one.
    Made {
        /// Its signature, not yet verified.
        presented: Box<Presented>,
        /// What it signs.
        query: Made,
    },
}

/// The request that a client made a token of.
pub struct Made {
    query: String,
    headers: HeaderMap,
}

/// Reads the bearer token of a request; `None` where it has none.
pub fn presented<'a>(request: &RequestView<'a>) -> Result<Option<Bearer<'a>>, SigV4Error> {
    let mut values = request.headers.get_all(AUTHORIZATION).iter();
    let Some(token) = values.next().and_then(|value| token(value.as_bytes())) else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(SigV4Error::Doubled("the Authorization header"));
    }
    let malformed = |why| SigV4Error::Malformed {
        part: "the bearer token",
        why,
    };
    if token.len() > TOKEN_BYTES {
        return Err(malformed("it is longer than 16 KiB"));
    }
    let token = str::from_utf8(token)
        .ok()
        .filter(|token| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()))
        .ok_or(malformed("it must be printable ASCII without spaces"))?;
    if sigv4::signs_query(request.query)? {
        return Err(SigV4Error::BothForms);
    }
    let Some(encoded) = token.strip_prefix(MADE) else {
        return Ok(Some(Bearer::Opaque(token)));
    };
    let query = made(encoded).ok_or(malformed(
        "it begins with bedrock-api-key- and is not a presigned URL in base64",
    ))?;
    let presented = sigv4::presented(&query.view())?
        .filter(|presented| presented.service == SERVICE)
        .ok_or(malformed("it is not signed for bedrock"))?;
    Ok(Some(Bearer::Made {
        presented: Box::new(presented),
        query,
    }))
}

/// The token of an `Authorization: Bearer …`; the scheme's case does not matter (RFC 9110 §11.1).
fn token(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(6)?;
    let blank = rest.first().is_none_or(|byte| *byte == b' ');
    (scheme.eq_ignore_ascii_case(b"bearer") && blank).then(|| rest.trim_ascii())
}

fn made(encoded: &str) -> Option<Made> {
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let text = text.strip_suffix(VERSION).unwrap_or(&text);
    let query = text.strip_prefix(HOST)?.strip_prefix("/?")?;
    let asks = query.split('&').filter(|pair| pair.starts_with("Action="));
    if asks.collect::<Vec<_>>() != [ACTION] {
        return None;
    }
    Some(Made {
        query: query.to_owned(),
        headers: HeaderMap::new(),
    })
}

impl Made {
    /// The request as it was signed. Its body is empty.
    pub fn view(&self) -> RequestView<'_> {
        RequestView {
            method: &Method::POST,
            host: HOST,
            path: "/",
            query: &self.query,
            headers: &self.headers,
            body: BodyView::Whole(b""),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(values: &[&str], query: &str) -> Result<Option<String>, SigV4Error> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        let view = RequestView {
            method: &Method::POST,
            host: "bedrock-runtime.us-east-1.amazonaws.com",
            path: "/model/m/invoke",
            query,
            headers: &headers,
            body: BodyView::Unread,
        };
        let found = presented(&view)?;
        Ok(found.map(|bearer| match bearer {
            Bearer::Opaque(token) => token.to_owned(),
            Bearer::Made { presented, .. } => format!("made with {}", presented.access_key_id),
        }))
    }

    const SIGNED: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAGUARDFIXTURE2345%2F20260314%2Fus-east-1\
        %2FSERVICE%2Faws4_request&X-Amz-Date=20260314T150926Z&X-Amz-Expires=43200&X-Amz-SignedHeaders=host&X-Amz-Signature=\
        0000000000000000000000000000000000000000000000000000000000000000";

    fn key(text: &str) -> String {
        format!("Bearer {MADE}{}", STANDARD.encode(text))
    }

    #[test]
    fn reads_each_kind() {
        assert_eq!(read(&[], ""), Ok(None));
        assert_eq!(read(&["AWS4-HMAC-SHA256 Credential=a"], ""), Ok(None));
        assert_eq!(read(&["Bearerx"], ""), Ok(None));
        assert_eq!(read(&["bearer  a.b"], ""), Ok(Some("a.b".to_owned())));
        let signed = SIGNED.replace("SERVICE", "bedrock");
        let url = format!("{HOST}/?{ACTION}&{signed}{VERSION}");
        assert_eq!(
            read(&[&key(&url)], ""),
            Ok(Some("made with AKIAGUARDFIXTURE2345".to_owned()))
        );
    }

    #[test]
    fn refuses_what_could_be_read_in_two_ways() {
        let signed = SIGNED.replace("SERVICE", "bedrock");
        let other = SIGNED.replace("SERVICE", "sts");
        assert_eq!(
            read(&["Bearer a", "Bearer b"], ""),
            Err(SigV4Error::Doubled("the Authorization header"))
        );
        assert_eq!(read(&["Bearer a"], &signed), Err(SigV4Error::BothForms));
        for text in [
            "Bearer".to_owned(),
            "Bearer a b".to_owned(),
            format!("Bearer {}", "a".repeat(TOKEN_BYTES + 1)),
            format!("Bearer {MADE}!"),
            key(""),
            key("sts.amazonaws.com/?Action=GetCallerIdentity"),
            key(&format!("{HOST}/?Action=Other&{signed}")),
            key(&format!("{HOST}/?{ACTION}&Action=Other&{signed}")),
            key(&format!("{HOST}/?{ACTION}")),
            key(&format!("{HOST}/?{ACTION}&{other}")),
        ] {
            let error = read(&[&text], "");
            assert!(
                matches!(error, Err(SigV4Error::Malformed { .. })),
                "{text}: {error:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics(value in "[ -~]{0,200}", inner in "[ -~]{0,200}") {
            let _ = read(&[&value], "");
            let _ = read(&[&format!("Bearer {value}")], &inner);
            let _ = read(&[&key(&format!("{HOST}/?{ACTION}{inner}"))], "");
        }
    }
}
