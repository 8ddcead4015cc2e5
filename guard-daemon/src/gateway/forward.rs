//! What changes between one side and the other: hop-by-hop fields, the target, the answer that is masked.

use std::str::FromStr;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, HOST,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::aws::catalog::Output;
use crate::mask::{Class, Kind, Layout, Shape};

/// Fields that belong to one connection (RFC 9110 §7.6.1), or that a proxy answers itself.
const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    EXPECT,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Takes away what belongs to one connection, and what its `Connection` names.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|token| HeaderName::from_str(token.trim()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// How an answer is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wanted {
    /// As the client says.
    AsAsked,
    /// Not compressed.
    Plain,
    /// Not compressed, and as `application/json`.
    PlainJson,
}

/// Makes a request's head ready to be signed for `host`. `length` is the body's, where it is known;
/// `wanted` is how the answer must come. Nothing else is added that AWS could act on.
pub(super) fn prepare(
    parts: &mut Parts,
    host: &str,
    length: Option<u64>,
    wanted: Wanted,
) -> Result<(), http::Error> {
    strip_hop_by_hop(&mut parts.headers);
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.scheme = Some(Scheme::HTTPS);
    uri.authority = Some(Authority::try_from(host)?);
    parts.uri = Uri::from_parts(uri)?;
    parts.headers.insert(HOST, HeaderValue::try_from(host)?);
    // The connection decides what is really spoken.
    parts.version = Version::HTTP_11;
    match length {
        Some(length) if length > 0 || parts.headers.contains_key(CONTENT_LENGTH) => {
            parts.headers.insert(CONTENT_LENGTH, length.into());
        }
        _ => {}
    }
    if wanted != Wanted::AsAsked {
        parts
            .headers
            .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if wanted == Wanted::PlainJson {
        parts
            .headers
            .insert(ACCEPT, HeaderValue::from_static("application/json"));
    }
    Ok(())
}

/// Whether an output has a member of a class that is masked, so that the whole answer is needed.
pub(super) fn has_masked(output: Output, masks: impl Fn(Class) -> bool) -> bool {
    if output.headers().any(|(_, class)| masks(class)) {
        return true;
    }
    let any = || {
        [Class::Credential, Class::Content, Class::Pii]
            .into_iter()
            .any(&masks)
    };
    match output.layout() {
        Layout::Payload {
            class: Some(class), ..
        } => masks(class),
        Layout::Payload { shape, class: None } => {
            !output.is_streaming() && shape.kind() == Kind::Structure && any()
        }
        Layout::Members { .. } => any(),
    }
}

/// Why an answer that is to be masked could not be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Unreadable {
    /// Larger than the limit.
    #[error(
        "the answer has members to be masked and is larger than {0} bytes; raise `response_body_bytes` under [limits]"
    )]
    TooLarge(u64),
    /// Compressed although it was not asked for.
    #[error("the answer has members to be masked and is compressed, which was not asked for")]
    Compressed,
    /// The upstream broke off.
    #[error("the upstream broke off within its answer: {0}")]
    Broken(String),
}

/// Reads an answer whole.
pub(super) async fn read_answer<B>(
    headers: &HeaderMap,
    body: B,
    limit: u64,
) -> Result<Bytes, Unreadable>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|coding| coding != "identity")
    {
        return Err(Unreadable::Compressed);
    }
    let limited = Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX));
    match limited.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Unreadable::TooLarge(limit)),
        Err(error) => Err(Unreadable::Broken(super::upstream::chain(error.as_ref()))),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::Full;

    use super::*;

    #[test]
    fn the_target_keeps_every_byte_and_connection_fields_go() {
        let target = "/bucket//a/../b%2f+%20?prefix=a%2Fb&&x=";
        let (mut parts, ()) = Request::builder()
            .uri(target)
            .header("connection", "close, x-named")
            .header("x-named", "1")
            .header("keep-alive", "5")
            .header("te", "trailers")
            .header("expect", "100-continue")
            .header("proxy-authorization", "Basic x")
            .header("transfer-encoding", "chunked")
            .header("accept-encoding", "gzip")
            .header("x-amz-meta-a", "b")
            .body(())
            .expect("a request")
            .into_parts();
        prepare(&mut parts, "s3.amazonaws.com", Some(5), Wanted::Plain).expect("prepared");
        assert_eq!(
            parts
                .uri
                .path_and_query()
                .map(http::uri::PathAndQuery::as_str),
            Some(target)
        );
        assert_eq!(
            parts.uri.to_string(),
            format!("https://s3.amazonaws.com{target}")
        );
        let mut left: Vec<_> = parts
            .headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_bytes()))
            .collect();
        left.sort_unstable();
        let expected: &[(&str, &[u8])] = &[
            ("accept-encoding", b"identity"),
            ("content-length", b"5"),
            ("host", b"s3.amazonaws.com"),
            ("x-amz-meta-a", b"b"),
        ];
        assert_eq!(left, expected);
    }

    #[test]
    fn a_request_without_a_body_gets_no_length() {
        let (mut parts, ()) = Request::new(()).into_parts();
        prepare(&mut parts, "h", Some(0), Wanted::AsAsked).expect("prepared");
        assert!(!parts.headers.contains_key(CONTENT_LENGTH));
    }

    #[test]
    fn the_form_of_an_answer_is_asked_for_once() {
        let request = Request::builder()
            .header("accept", "application/hal+json")
            .header("accept", "*/*");
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        for (wanted, expected) in [
            (Wanted::Plain, &["application/hal+json", "*/*"][..]),
            (Wanted::PlainJson, &["application/json"]),
        ] {
            let mut parts = parts.clone();
            prepare(&mut parts, "h", None, wanted).expect("prepared");
            let accept: Vec<_> = parts.headers.get_all(ACCEPT).iter().collect();
            assert_eq!(accept, expected, "{wanted:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_to_be_masked_is_bounded_and_plain() {
        let body = || Full::new(Bytes::from_static(b"12345"));
        let mut headers = HeaderMap::new();
        assert_eq!(
            read_answer(&headers, body(), 5).await,
            Ok(Bytes::from_static(b"12345"))
        );
        assert_eq!(
            read_answer(&headers, body(), 4).await,
            Err(Unreadable::TooLarge(4))
        );
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(
            read_answer(&headers, body(), 5).await,
            Err(Unreadable::Compressed)
        );
    }
}
