//! What changes between one side and the other: hop-by-hop fields, the target, the answer that is masked.

use std::future::poll_fn;
use std::pin::pin;
use std::str::FromStr;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, HOST,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};
use http_body::Body;
use http_body_util::BodyExt;

use super::budget::Charge;
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
    /// The session's share of what the daemon holds of answers is used up.
    #[error(
        "guard holds as much of this session's answers as it may at this moment; read those that are on their way, \
         ask for fewer or smaller ones at once, and for this one again later"
    )]
    Busy,
    /// The upstream broke off.
    #[error("the upstream broke off within its answer: {0}")]
    Broken(String),
}

/// Reads an answer whole, and draws what it takes.
pub(super) async fn read_answer<B>(
    headers: &HeaderMap,
    body: B,
    limit: u64,
    charge: &mut Charge,
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
    // All of it at once where it says its length: answers that wait for each other in part would all fail.
    let mut length = body.size_hint().lower();
    if length > limit {
        return Err(Unreadable::TooLarge(limit));
    }
    draw(charge, length).await?;
    let mut all = BytesMut::with_capacity(usize::try_from(length).unwrap_or_default());
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let error: Box<dyn std::error::Error + Send + Sync> = error.into();
            Unreadable::Broken(super::upstream::chain(error.as_ref()))
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let now = (all.len() + data.len()) as u64;
        if now > limit {
            return Err(Unreadable::TooLarge(limit));
        }
        draw(charge, now.saturating_sub(length)).await?;
        length = length.max(now);
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}

async fn draw(charge: &mut Charge, bytes: u64) -> Result<(), Unreadable> {
    poll_fn(|context| charge.poll_draw(bytes, context))
        .await
        .map_err(|_busy| Unreadable::Busy)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http::Request;
    use http_body::Frame;
    use http_body_util::Full;

    use super::*;
    use crate::gateway::Share;

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
        let share = Share::default();
        let read = async |headers: &HeaderMap, limit| {
            read_answer(headers, body(), limit, &mut share.answer(limit)).await
        };
        assert_eq!(read(&headers, 5).await, Ok(Bytes::from_static(b"12345")));
        assert_eq!(read(&headers, 4).await, Err(Unreadable::TooLarge(4)));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(read(&headers, 5).await, Err(Unreadable::Compressed));
    }

    /// Does not say how long it is.
    struct Silent(Full<Bytes>);

    impl Body for Silent {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Pin::new(&mut self.0).poll_frame(context)
        }
    }

    #[tokio::test]
    async fn an_answer_counts_whether_it_says_its_length_or_not() {
        let headers = HeaderMap::new();
        let share = Share::default();
        let mut charge = share.answer(1000);
        let body = || Full::new(Bytes::from(vec![b'x'; 900]));
        let read = read_answer(&headers, body(), 1000, &mut charge).await;
        assert_eq!(read.map(|it| it.len()), Ok(900));
        assert_eq!(share.held().1, 900);
        let mut other = share.answer(1000);
        let read = read_answer(&headers, Silent(body()), 1000, &mut other).await;
        assert_eq!(read.map(|it| it.len()), Ok(900));
        assert_eq!(share.held().1, 1800);
        drop((charge, other));

        let mut hoard = share.answer(1000);
        while hoard.draw(1 << 20).is_ok() {}
        while hoard.draw(1).is_ok() {}
        let mut late = share.answer(1000);
        let mut read = pin!(read_answer(&headers, body(), 1000, &mut late));
        let a_moment = std::time::Duration::from_millis(200);
        let early = tokio::time::timeout(a_moment, &mut read).await;
        assert!(early.is_err(), "it waits for what others give back");
        drop(hoard);
        assert_eq!(read.await.map(|it| it.len()), Ok(900));
    }
}
