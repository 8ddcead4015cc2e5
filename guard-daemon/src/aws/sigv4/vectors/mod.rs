//! Signatures made by others (AWS's documentation, botocore), and properties over any request.

mod botocore;
mod documented;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use proptest::prelude::*;

use super::{
    Algorithm, DeclaredPayload, Form, Payload, Presented, SigV4Error, SignAs, declared_payload_of,
    presented, sign, stamp, verify,
};
use crate::aws::{BodyView, RequestView, Scope};

/// A request in parts that can be changed one by one.
#[derive(Clone)]
struct Wire {
    method: Method,
    host: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Wire {
    fn new(method: &str, host: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        Self {
            method: method.parse().unwrap(),
            host: host.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: map,
            body: body.to_vec(),
        }
    }

    fn view(&self) -> RequestView<'_> {
        RequestView {
            method: &self.method,
            host: &self.host,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            body: BodyView::Whole(&self.body),
        }
    }

    /// As the gateway does: read the signature, see what it covers, verify.
    fn check(&self, secret: &str, now: SystemTime) -> Result<(), SigV4Error> {
        let presented = presented(&self.view())?.ok_or(SigV4Error::Missing("a signature"))?;
        let payload = match declared_payload_of(&presented, &self.view())? {
            DeclaredPayload::Absent | DeclaredPayload::Sha256(_) => Payload::Bytes(&self.body),
            DeclaredPayload::Unsigned => Payload::Unsigned,
            DeclaredPayload::StreamingUnsignedTrailer => Payload::StreamingUnsignedTrailer,
            DeclaredPayload::Streaming(kind) => Payload::Streaming(kind),
        };
        verify(&presented, &self.view(), payload, secret, now)
    }
}

fn at(text: &str) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(stamp::seconds(text).unwrap().unsigned_abs())
}

const NOW: &str = "20260314T150926Z";

fn credentials(token: bool) -> Credentials {
    let token = token.then(|| "real/session+token==".to_owned());
    Credentials::new(
        "AKIAREALREALREALREAL",
        "a secret that leaves",
        token,
        None,
        "test",
    )
}

fn scope(service: &str) -> Scope<'_> {
    Scope {
        region: "eu-west-1",
        service,
    }
}

#[test]
fn a_token_of_s3_express_has_its_own_header() {
    let bare = Wire::new("GET", "h.amazonaws.com", "/?Expires=1", &[], b"");
    let how = SignAs {
        s3_session: true,
        ..SignAs::default()
    };
    let out = signed_as(&bare, "s3express", Payload::Unsigned, true, how).unwrap();
    assert_eq!(out.headers["x-amz-s3session-token"], "real/session+token==");
    assert!(out.headers["x-amz-s3session-token"].is_sensitive());
    assert!(!out.headers.contains_key("x-amz-security-token"));
    assert_eq!(out.check("a secret that leaves", at(NOW)), Ok(()));
    // Nothing of Version 2.
    assert_eq!(out.query, "Expires=1");
}

/// Signs and returns what would leave.
fn signed(
    wire: &Wire,
    service: &str,
    payload: Payload<'_>,
    token: bool,
) -> Result<Wire, SigV4Error> {
    signed_as(wire, service, payload, token, SignAs::default())
}

fn signed_as(
    wire: &Wire,
    service: &str,
    payload: Payload<'_>,
    token: bool,
    how: SignAs,
) -> Result<Wire, SigV4Error> {
    let query = if wire.query.is_empty() {
        String::new()
    } else {
        format!("?{}", wire.query)
    };
    let mut request = Request::builder()
        .method(&wire.method)
        .uri(format!("{}{query}", wire.path))
        .body(())
        .unwrap();
    *request.headers_mut() = wire.headers.clone();
    let (mut parts, ()) = request.into_parts();
    sign(
        &mut parts,
        &wire.host,
        payload,
        scope(service),
        &credentials(token),
        how,
        at(NOW),
    )?;
    Ok(Wire {
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        ..wire.clone()
    })
}

#[test]
fn nothing_of_the_client_leaves() {
    let wire = Wire::new(
        "PUT",
        "b.s3.amazonaws.com",
        "/a%20b//../c?x-id=PutObject&X-Amz-Algorithm=A&x-amz-credential=dummy&X-Amz-Date=1&X-Amz-Expires=1\
         &%58-Amz-SignedHeaders=host&X-Amz-Signature=dummy&X-Amz-Security-Token=dummy&y=%2f+&&z\
         &AWSAccessKeyId=dummy&Expires=dummy&%53ignature=dummy",
        &[
            ("host", "b.s3.amazonaws.com:443"),
            ("authorization", "dummy"),
            ("proxy-authorization", "dummy"),
            ("date", "dummy"),
            ("x-amz-date", "dummy"),
            ("x-amz-security-token", "dummy"),
            ("x-amz-s3session-token", "dummy"),
            ("x-amz-content-sha256", "dummy"),
            ("x-amz-meta-a", "kept"),
            ("expect", "100-continue"),
            ("user-agent", "aws-cli"),
        ],
        b"",
    );
    let out = signed(&wire, "s3", Payload::Unsigned, false).unwrap();
    let dump = format!("{}?{} {:?}", out.path, out.query, out.headers);
    assert!(!dump.contains("dummy"), "{dump}");
    assert_eq!(out.path, "/a%20b//../c");
    assert_eq!(out.query, "x-id=PutObject&y=%2f+&&z");
    assert_eq!(out.headers["host"], "b.s3.amazonaws.com");
    assert_eq!(out.headers["x-amz-content-sha256"], "UNSIGNED-PAYLOAD");
    assert_eq!(out.headers["x-amz-date"], NOW);
    assert_eq!(out.headers["x-amz-meta-a"], "kept");
    assert_eq!(out.headers["expect"], "100-continue");
    assert!(out.headers["authorization"].is_sensitive());
    let parsed = presented(&out.view()).unwrap().unwrap();
    assert_eq!(parsed.access_key_id, "AKIAREALREALREALREAL");
    assert_eq!(
        parsed.signed_headers,
        ["host", "x-amz-content-sha256", "x-amz-date", "x-amz-meta-a"]
    );
}

#[test]
fn checksum_header_is_where_it_is_needed() {
    let bare = Wire::new("POST", "h.amazonaws.com", "/", &[], b"{}");
    let with = Wire::new(
        "POST",
        "h.amazonaws.com",
        "/",
        &[("x-amz-content-sha256", "0")],
        b"{}",
    );
    let hash = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    for (wire, service, wanted) in [
        (&bare, "dynamodb", None),
        (&with, "aoss", Some(hash)),
        (&bare, "s3", Some(hash)),
        (&bare, "s3express", Some(hash)),
    ] {
        let out = signed(wire, service, Payload::Bytes(b"{}"), true).unwrap();
        let value = out
            .headers
            .get("x-amz-content-sha256")
            .map(|value| value.to_str().unwrap());
        assert_eq!(value, wanted, "{service}");
        assert_eq!(out.headers["x-amz-security-token"], "real/session+token==");
        assert!(out.headers["x-amz-security-token"].is_sensitive());
    }
}

#[test]
fn what_would_be_signed_wrongly_is_refused() {
    let query = Wire::new("GET", "h.amazonaws.com", "/?a=%FF", &[], b"");
    assert!(matches!(
        signed(&query, "s3", Payload::Unsigned, false),
        Err(SigV4Error::Unsignable(_))
    ));
    let mut header = Wire::new("GET", "h.amazonaws.com", "/", &[], b"");
    header
        .headers
        .insert("x-amz-meta-a", HeaderValue::from_bytes(b"\xff").unwrap());
    assert!(matches!(
        signed(&header, "s3", Payload::Unsigned, false),
        Err(SigV4Error::Unsignable(_))
    ));
    let star = Wire::new("OPTIONS", "h.amazonaws.com", "*", &[], b"");
    assert!(matches!(
        signed(&star, "s3", Payload::Unsigned, false),
        Err(SigV4Error::Unsignable(_))
    ));
}

/// An S3 path decoded and encoded again, one `%2F` and `/` after the other.
fn spelt_by_s3(path: &str) -> String {
    let upper = path.replace("%2f", "%2F\0");
    let segments = upper.split('/').map(|segment| {
        let parts = segment.split("%2F").map(|part| {
            let decoded: Vec<u8> = percent_encoding::percent_decode_str(part).collect();
            decoded.iter().fold(String::new(), |text, byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    text + &char::from(*byte).to_string()
                }
                _ => text + &format!("%{byte:02X}"),
            })
        });
        parts.collect::<Vec<_>>().join("%2F")
    });
    segments
        .collect::<Vec<_>>()
        .join("/")
        .replace("%2F%00", "%2f")
}

#[test]
fn an_s3_path_is_taken_as_it_stands_and_as_s3_spells_it() {
    let secret = "a secret that leaves";
    let headers = [("host", "b.s3.amazonaws.com")];
    let spelt = Wire::new(
        "GET",
        "b.s3.amazonaws.com",
        "/a%3D%28b%29%40",
        &headers,
        b"",
    );
    let signed = signed(&spelt, "s3", Payload::Unsigned, false).unwrap();
    assert_eq!(signed.check(secret, at(NOW)), Ok(()));
    for (path, result) in [
        ("/a=(b)@", Ok(())),
        ("/a%3d%28b)@", Ok(())),
        ("/a=(b)%2540", Err(SigV4Error::Mismatch)),
        ("/a=(b)/@", Err(SigV4Error::Mismatch)),
    ] {
        let sent = Wire {
            path: path.to_owned(),
            ..signed.clone()
        };
        assert_eq!(sent.check(secret, at(NOW)), result, "{path}");
    }
}

#[test]
fn what_may_change_on_the_way_is_sent_and_not_signed() {
    let loose = [
        ("accept-encoding", "identity"),
        ("cache-control", "no-cache"),
        ("forwarded", "for=192.0.2.1"),
        ("via", "1.1 proxy"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
    ];
    let mut headers = loose.to_vec();
    headers.push(("content-type", "text/plain"));
    let wire = Wire::new("PUT", "b.s3.amazonaws.com", "/k", &headers, b"");
    let out = signed(&wire, "s3", Payload::Unsigned, false).unwrap();
    for (name, value) in headers {
        assert_eq!(out.headers[name], value);
    }
    assert_eq!(
        presented(&out.view()).unwrap().unwrap().signed_headers,
        ["content-type", "host", "x-amz-content-sha256", "x-amz-date"]
    );
}

proptest! {
    /// Whatever the agent sends, reading it ends in a value.
    #[test]
    fn reading_never_panics(
        authorization in prop::option::of(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            "AWS4-(HMAC|ECDSA-P256)-SHA256 (Credential|SignedHeaders|Signature|[A-Za-z]{1,9})?=?[ -~]{0,80}(, ?[A-Za-z]{1,13}=[ -~]{0,80}){0,4}"
                .prop_map(String::into_bytes),
        ]),
        date in prop::option::of("[ -~]{0,40}"),
        query in prop_oneof![
            "[ -~]{0,200}",
            "((X-Amz-|x-amz-|%58-Amz-)(Algorithm|Credential|Date|Expires|Region-Set|SignedHeaders|Signature)=[ -~]{0,40}&){0,8}",
        ],
        path in "/[ -~\u{80}-\u{ff}]{0,60}",
        secret in "[ -~]{0,50}",
    ) {
        let mut wire = Wire::new("GET", "h", "/", &[], b"");
        wire.path = path;
        wire.query = query;
        if let Some(value) = authorization.and_then(|bytes| HeaderValue::from_bytes(&bytes).ok()) {
            wire.headers.insert("authorization", value);
        }
        if let Some(value) = date.and_then(|text| HeaderValue::from_str(&text).ok()) {
            wire.headers.insert("x-amz-date", value);
        }
        let _ = wire.check(&secret, at(NOW));
    }

    /// guard's verifier and the signer that AWS ships agree on any path and query that can be sent, and
    /// neither path nor query changes.
    #[test]
    fn what_is_signed_verifies(
        path in r"(/|/\.|/\.\.|//|/%2F|/%2f|/%E1%88%B4|/%20|[a-zA-Z0-9._~:@!$&'()*+,;=|-]){0,20}",
        query in r"([a-zA-Z0-9._~:@!$'()*+,;/?-]|=|&|%2F|%2f|%20|%2B|%26|%E1%88%B4){0,40}",
        service in prop::sample::select(vec!["s3", "s3express", "lambda", "dynamodb", "execute-api"]),
        meta in "[!-~]( {0,3}[!-~]){0,8}",
        body in prop::collection::vec(any::<u8>(), 0..64),
        token in any::<bool>(),
        unsigned in any::<bool>(),
        version4a in any::<bool>(),
    ) {
        let headers = [("x-amz-meta-a", meta.as_str()), ("x-amz-meta-a", "second"), ("accept", "*/*")];
        let wire = Wire::new("POST", "h.amazonaws.com", &format!("/{path}?{query}"), &headers, &body);
        prop_assume!(!query.to_lowercase().contains("x-amz"));
        let payload = if unsigned && service.starts_with("s3") { Payload::Unsigned } else { Payload::Bytes(&body) };
        let algorithm = if version4a { Algorithm::EcdsaP256 } else { Algorithm::HmacSha256 };
        let how = SignAs { algorithm, s3_session: false };
        let out = signed_as(&wire, service, payload, token, how).unwrap();
        prop_assert_eq!(presented(&out.view()).unwrap().unwrap().algorithm, algorithm);
        prop_assert_eq!(&out.path, &wire.path);
        prop_assert_eq!(&out.query, &wire.query);
        prop_assert_eq!(out.check("a secret that leaves", at(NOW)), Ok(()));
        prop_assert_eq!(out.check("a secret that stays", at(NOW)), Err(SigV4Error::Mismatch));
        if service.starts_with("s3") {
            // What is signed is the path as S3 spells it, and that spelling alone.
            let spelt = Wire { path: spelt_by_s3(&out.path), ..out.clone() };
            prop_assert_eq!(spelt.check("a secret that leaves", at(NOW)), Ok(()));
        }
    }
}
