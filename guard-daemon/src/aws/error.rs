//! Errors guard makes, in the request's own protocol, so that each SDK raises its own, once.
//!
//! Formats and status codes are those measured with boto3 and the JavaScript SDK. None is retried: no 429,
//! no 5xx, no throttling code.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header::CONTENT_TYPE};
use quick_xml::escape::escape;

use super::{Protocol, catalog, endpoint, operation};

/// What went wrong, in the terms SDKs know. None of these is retried by an SDK.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Code {
    /// Denied by policy or a person, or not decided in time.
    AccessDenied,
    /// The signature does not match the dummy credentials.
    SignatureDoesNotMatch,
    /// The access key is not this session's.
    InvalidAccessKey,
    /// The temporary credentials are past their time.
    ExpiredToken,
    /// The signature is too old or from the future.
    RequestExpired,
    /// The request cannot be understood or is ambiguous.
    InvalidRequest,
    /// The request is larger than guard accepts.
    RequestTooLarge,
    /// The upstream could not be reached or verified, or its answer could not be masked.
    UpstreamUnavailable,
}

/// Makes the response. `service` is botocore's service name; a HEAD gets no body, the message then stands
/// in `x-guard-reason` only (which every response has, ASCII, bounded).
pub fn response(
    protocol: Protocol,
    service: Option<&str>,
    method: &Method,
    code: Code,
    message: &str,
) -> Response<Bytes> {
    let id = request_id();
    let name = name(protocol, service, code);
    let (kind, body) = match protocol {
        Protocol::Json10 => ("application/x-amz-json-1.0", json_rpc(name, message)),
        Protocol::Json11 => ("application/x-amz-json-1.1", json_rpc(name, message)),
        Protocol::RestJson => ("application/json", rest_json(message)),
        Protocol::Cbor => ("application/cbor", cbor(name, message)),
        Protocol::Query | Protocol::RestXml => ("text/xml", wrapped_xml(name, message, &id)),
        Protocol::Ec2 => ("text/xml;charset=UTF-8", ec2(name, message, &id)),
        // It speaks S3's dialect but for its errors.
        Protocol::S3 if service == Some("s3control") => {
            ("text/xml", wrapped_xml(name, message, &id))
        }
        Protocol::S3 => ("application/xml", s3(name, message, &id)),
    };
    let mut response = Response::new(if method == Method::HEAD {
        Bytes::new()
    } else {
        body.into()
    });
    *response.status_mut() = status(protocol, code);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert("x-guard-reason", reason(message));
    // Only characters of `request_id`.
    let id = HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static("guard"));
    match protocol {
        Protocol::S3 => {
            // boto3 makes the request id and host id of a ClientError from these.
            headers.insert("x-amz-id-2", id.clone());
            headers.insert("x-amz-request-id", id);
        }
        _ => {
            headers.insert("x-amzn-requestid", id);
        }
    }
    // Where an SDK does not read it, it is for whoever looks at the answer to a HEAD.
    headers.insert("x-amzn-errortype", HeaderValue::from_static(name));
    if protocol == Protocol::Cbor {
        headers.insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
    }
    if matches!(service, Some("cloudwatch" | "sqs"))
        && matches!(
            protocol,
            Protocol::Json10 | Protocol::Json11 | Protocol::Cbor
        )
    {
        // SDKs that once spoke query to these services take the code from here.
        headers.insert("x-amzn-query-error", query_error(name));
    }
    response
}

/// The protocol to answer in when the operation could not be identified: from content type, target
/// header, path and host.
pub fn protocol_of(request: &super::RequestView<'_>) -> Protocol {
    let services: Vec<catalog::Service> = endpoint::classify(request.host)
        .map(|it| catalog::services_at(&it.labels).collect())
        .unwrap_or_default();
    match operation::protocol_of(request, &services) {
        Protocol::S3 if services.iter().all(|it| it.name() == "s3control") => Protocol::RestXml,
        protocol => protocol,
    }
}

/// Bytes of a message that go into a header.
const MOST_REASON: usize = 512;

/// Printable ASCII, so that it is a header value whatever an agent put into names.
fn reason(message: &str) -> HeaderValue {
    let plain: String = message
        .chars()
        .map(|it| {
            if it.is_ascii_graphic() || it == ' ' {
                it
            } else {
                '?'
            }
        })
        .take(MOST_REASON)
        .collect();
    HeaderValue::from_str(&plain).unwrap_or_else(|_| HeaderValue::from_static("refused"))
}

/// Tells guard's own answers from AWS's, and one from another.
fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!(
        "guard-{:x}-{:x}",
        now.as_micros(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// The error's name where this protocol's services have one for it.
fn name(protocol: Protocol, service: Option<&str>, code: Code) -> &'static str {
    use Protocol::{Cbor, Ec2, Json10, Json11, Query, RestJson, RestXml, S3};
    let json = matches!(protocol, Json10 | Json11 | RestJson | Cbor);
    match (code, protocol) {
        (Code::AccessDenied, Ec2) => "UnauthorizedOperation",
        // CloudWatch and SQS kept their names when they moved from query.
        (Code::AccessDenied, _) if matches!(service, Some("cloudwatch" | "sqs")) => "AccessDenied",
        // `RequestExpired` and `RequestTimeTooSkewed` make some SDKs correct their clock and send again.
        (Code::AccessDenied | Code::RequestExpired, _) if json => "AccessDeniedException",
        (Code::AccessDenied, _) | (Code::RequestExpired, S3) => "AccessDenied",
        (Code::SignatureDoesNotMatch | Code::InvalidAccessKey | Code::RequestExpired, Ec2) => {
            "AuthFailure"
        }
        (Code::SignatureDoesNotMatch, _) if json => "InvalidSignatureException",
        (Code::SignatureDoesNotMatch | Code::RequestExpired, _) => "SignatureDoesNotMatch",
        (Code::InvalidAccessKey, S3) => "InvalidAccessKeyId",
        (Code::InvalidAccessKey, _) if json => "UnrecognizedClientException",
        (Code::InvalidAccessKey, _) => "InvalidClientTokenId",
        (Code::ExpiredToken, Ec2) => "RequestExpired",
        (Code::ExpiredToken, _) if json => "ExpiredTokenException",
        (Code::ExpiredToken, _) => "ExpiredToken",
        (Code::InvalidRequest, S3) => "InvalidRequest",
        (Code::InvalidRequest, Query | RestXml | Ec2) => "ValidationError",
        (Code::InvalidRequest, _) => "ValidationException",
        (Code::RequestTooLarge, S3) => "EntityTooLarge",
        (Code::RequestTooLarge, Query | RestXml | Ec2) => "RequestEntityTooLarge",
        (Code::RequestTooLarge, _) => "RequestEntityTooLargeException",
        (Code::UpstreamUnavailable, _) if json => "GuardUpstreamUnavailableException",
        (Code::UpstreamUnavailable, _) => "GuardUpstreamUnavailable",
    }
}

/// `UpstreamUnavailable` is 424 Failed Dependency: every 5xx is retried by SDKs, and whether the call took
/// effect is not known, so that a person should look before it is sent again. No SDK retries 424.
fn status(protocol: Protocol, code: Code) -> StatusCode {
    match (code, protocol) {
        (Code::UpstreamUnavailable, _) => StatusCode::FAILED_DEPENDENCY,
        (Code::RequestTooLarge, protocol) if protocol != Protocol::S3 => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        (Code::InvalidRequest | Code::RequestTooLarge, _)
        | (_, Protocol::Json10 | Protocol::Json11) => StatusCode::BAD_REQUEST,
        _ => StatusCode::FORBIDDEN,
    }
}

fn json_rpc(name: &str, message: &str) -> Vec<u8> {
    // Services differ in the spelling of "message"; SDKs take either.
    let body = serde_json::json!({
        "__type": format!("com.amazon.coral.service#{name}"),
        "message": message,
        "Message": message,
    });
    body.to_string().into_bytes()
}

fn rest_json(message: &str) -> Vec<u8> {
    serde_json::json!({ "message": message, "Message": message })
        .to_string()
        .into_bytes()
}

fn wrapped_xml(name: &str, message: &str, id: &str) -> Vec<u8> {
    let message = text(message);
    format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{name}</Code><Message>{message}</Message></Error>\
         <RequestId>{id}</RequestId></ErrorResponse>"
    )
    .into_bytes()
}

fn ec2(name: &str, message: &str, id: &str) -> Vec<u8> {
    let message = text(message);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{name}</Code>\
         <Message>{message}</Message></Error></Errors><RequestID>{id}</RequestID></Response>"
    )
    .into_bytes()
}

fn s3(name: &str, message: &str, id: &str) -> Vec<u8> {
    let message = text(message);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{name}</Code><Message>{message}</Message>\
         <RequestId>{id}</RequestId><HostId>{id}</HostId></Error>"
    )
    .into_bytes()
}

/// Escaped, without the characters XML cannot have (XML 1.0, 2.2).
fn text(message: &str) -> String {
    let clean: Cow<'_, str> = message
        .chars()
        .map(|it| match it {
            '\t' | '\n' | '\r' => it,
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => '?',
            _ => it,
        })
        .collect();
    escape(clean).into_owned()
}

/// A map of two text strings (RFC 8949, 3.1): not worth a CBOR library.
fn cbor(name: &str, message: &str) -> Vec<u8> {
    let mut body = vec![0xa2];
    for text in [
        "__type",
        &format!("com.amazon.coral.service#{name}"),
        "message",
        message,
    ] {
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        match (u8::try_from(length), u32::try_from(length)) {
            (Ok(short @ ..24), _) => body.push(0x60 | short),
            (Ok(short), _) => body.extend([0x78, short]),
            (_, Ok(long)) => {
                body.push(0x7a);
                body.extend(long.to_be_bytes());
            }
            _ => {
                body.push(0x7b);
                body.extend(length.to_be_bytes());
            }
        }
        body.extend(text.as_bytes());
    }
    body
}

fn query_error(name: &'static str) -> HeaderValue {
    HeaderValue::from_str(&format!("{name};Sender"))
        .unwrap_or_else(|_| HeaderValue::from_static(name))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::aws::{BodyView, RequestView};

    const ALL: [Protocol; 8] = [
        Protocol::Json10,
        Protocol::Json11,
        Protocol::Query,
        Protocol::Ec2,
        Protocol::RestJson,
        Protocol::RestXml,
        Protocol::S3,
        Protocol::Cbor,
    ];

    const CODES: [Code; 8] = [
        Code::AccessDenied,
        Code::SignatureDoesNotMatch,
        Code::InvalidAccessKey,
        Code::ExpiredToken,
        Code::RequestExpired,
        Code::InvalidRequest,
        Code::RequestTooLarge,
        Code::UpstreamUnavailable,
    ];

    fn body(response: &Response<Bytes>) -> String {
        String::from_utf8_lossy(response.body()).into_owned()
    }

    #[test]
    fn denials() {
        for (protocol, status, kind, holds) in [
            (
                Protocol::Json10,
                400,
                "application/x-amz-json-1.0",
                "\"__type\":\"com.amazon.coral.service#AccessDeniedException\"",
            ),
            (
                Protocol::Json11,
                400,
                "application/x-amz-json-1.1",
                "\"message\":\"no <b> & \\\"q\\\"\"",
            ),
            (Protocol::RestJson, 403, "application/json", "\"message\":"),
            (
                Protocol::Query,
                403,
                "text/xml",
                "<Code>AccessDenied</Code><Message>no &lt;b&gt; &amp; &quot;q&quot;</Message>",
            ),
            (
                Protocol::RestXml,
                403,
                "text/xml",
                "<ErrorResponse><Error><Type>Sender</Type>",
            ),
            (
                Protocol::Ec2,
                403,
                "text/xml;charset=UTF-8",
                "<Response><Errors><Error><Code>UnauthorizedOperation</Code>",
            ),
            (
                Protocol::S3,
                403,
                "application/xml",
                "<Error><Code>AccessDenied</Code>",
            ),
            (
                Protocol::Cbor,
                403,
                "application/cbor",
                "AccessDeniedException",
            ),
        ] {
            let reply = response(
                protocol,
                None,
                &Method::POST,
                Code::AccessDenied,
                "no <b> & \"q\"",
            );
            assert_eq!(reply.status(), status, "{protocol:?}");
            assert_eq!(reply.headers()[CONTENT_TYPE], kind, "{protocol:?}");
            assert!(
                body(&reply).contains(holds),
                "{protocol:?}: {}",
                body(&reply)
            );
        }
        let reply = response(
            Protocol::RestJson,
            None,
            &Method::GET,
            Code::AccessDenied,
            "no",
        );
        assert_eq!(reply.headers()["x-amzn-errortype"], "AccessDeniedException");
    }

    #[test]
    fn s3_control_wraps_its_errors_as_s3_does_not() {
        let reply = response(
            Protocol::S3,
            Some("s3control"),
            &Method::GET,
            Code::AccessDenied,
            "no",
        );
        let body = body(&reply);
        assert!(
            body.contains("<ErrorResponse><Error>") && body.contains("<Code>AccessDenied</Code>"),
            "{body}"
        );
        assert!(reply.headers().contains_key("x-amz-request-id"));
        let headers = HeaderMap::new();
        let host = "123456789012.s3-control.us-east-1.amazonaws.com";
        let request = RequestView {
            method: &Method::GET,
            host,
            path: "/v20180820/accesspoint",
            query: "",
            headers: &headers,
            body: BodyView::Unread,
        };
        assert_eq!(protocol_of(&request), Protocol::RestXml);
    }

    #[test]
    fn services_that_once_spoke_query_tell_the_code_they_had_then() {
        for (protocol, service) in [
            (Protocol::Json10, "sqs"),
            (Protocol::Json10, "cloudwatch"),
            (Protocol::Cbor, "cloudwatch"),
        ] {
            let reply = response(
                protocol,
                Some(service),
                &Method::POST,
                Code::AccessDenied,
                "no",
            );
            assert_eq!(
                reply.headers()["x-amzn-query-error"],
                "AccessDenied;Sender",
                "{service} {protocol:?}"
            );
        }
    }

    #[test]
    fn never_retried_and_always_explained() {
        for protocol in ALL {
            for code in CODES {
                let reply = response(
                    protocol,
                    Some("x"),
                    &Method::HEAD,
                    code,
                    "why\r\nnot \u{e9}",
                );
                let status = reply.status().as_u16();
                assert!(
                    (400..500).contains(&status) && status != 429 && status != 408,
                    "{protocol:?} {code:?}"
                );
                assert!(reply.body().is_empty());
                assert_eq!(reply.headers()["x-guard-reason"], "why??not ?");
                assert!(reply.headers().contains_key("x-amzn-errortype"));
                assert!(
                    reply
                        .headers()
                        .values()
                        .any(|it| it.as_bytes().starts_with(b"guard-"))
                );
            }
        }
        let long = response(
            Protocol::S3,
            None,
            &Method::GET,
            Code::AccessDenied,
            &"x".repeat(9000),
        );
        assert_eq!(long.headers()["x-guard-reason"].len(), MOST_REASON);
    }

    #[test]
    fn cbor_is_two_texts() {
        let long = "m".repeat(300);
        let body = cbor("E", &long);
        assert_eq!(&body[..8], b"\xa2\x66__type");
        assert_eq!(&body[8..10], &[0x78, 26]);
        let rest = &body[10 + 26..];
        assert_eq!(&rest[..8], b"\x67message");
        assert_eq!(&rest[8..13], &[0x7a, 0, 0, 1, 44]);
        assert_eq!(&rest[13..], long.as_bytes());
    }

    #[test]
    fn xml_stays_well_formed() {
        let reply = response(
            Protocol::S3,
            None,
            &Method::GET,
            Code::AccessDenied,
            "a\u{0}]]><Error>&\u{1f}",
        );
        let body = body(&reply);
        let mut reader = quick_xml::Reader::from_str(&body);
        while reader.read_event().unwrap() != quick_xml::events::Event::Eof {}
        assert_eq!(body.matches("<Error>").count(), 1);
    }

    #[test]
    fn protocol_from_the_request() {
        for (host, header, protocol) in [
            (
                "dynamodb.us-east-1.amazonaws.com",
                Some(("x-amz-target", "A.B")),
                Protocol::Json10,
            ),
            (
                "monitoring.us-east-1.amazonaws.com",
                Some(("smithy-protocol", "rpc-v2-cbor")),
                Protocol::Cbor,
            ),
            (
                "monitoring.us-east-1.amazonaws.com",
                Some(("content-type", "application/x-www-form-urlencoded")),
                Protocol::Query,
            ),
            ("ec2.us-east-1.amazonaws.com", None, Protocol::Ec2),
            ("sts.amazonaws.com", None, Protocol::Query),
            ("lambda.us-east-1.amazonaws.com", None, Protocol::RestJson),
            ("route53.amazonaws.com", None, Protocol::RestXml),
            ("b.s3.amazonaws.com", None, Protocol::S3),
            (
                "unheard-of.us-east-1.amazonaws.com",
                None,
                Protocol::RestJson,
            ),
            (
                "unheard-of.us-east-1.amazonaws.com",
                Some(("x-amz-target", "A.B")),
                Protocol::Json11,
            ),
        ] {
            let mut headers = HeaderMap::new();
            if let Some((name, value)) = header {
                headers.insert(name, value.parse().unwrap());
            }
            let request = RequestView {
                method: &Method::POST,
                host,
                path: "/",
                query: "",
                headers: &headers,
                body: BodyView::Unread,
            };
            assert_eq!(protocol_of(&request), protocol, "{host} {header:?}");
        }
    }
}
