//! Signatures made by others (AWS's documentation, botocore), and properties over any request.

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

/// Amazon S3 API Reference, "Signature Calculations for the Authorization Header" and "Authenticating
/// Requests: Using Query Parameters": the examples with their published signatures.
mod documented {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const HOST: &str = "examplebucket.s3.amazonaws.com";

    fn example(
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        signature: &str,
    ) -> Wire {
        let mut names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        names.extend(["host", "x-amz-date"]);
        names.sort_unstable();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders={},Signature={signature}",
            names.join(";")
        );
        let mut all = headers.to_vec();
        all.extend([
            ("host", HOST),
            ("x-amz-date", "20130524T000000Z"),
            ("authorization", authorization.as_str()),
        ]);
        Wire::new(method, HOST, target, &all, body)
    }

    fn examples() -> [Wire; 5] {
        let hash = ("x-amz-content-sha256", EMPTY);
        [
            example(
                "GET",
                "/test.txt",
                &[("range", "bytes=0-9"), hash],
                b"",
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            example(
                "PUT",
                // As published; the canonical request has `%24`.
                "/test$file.text",
                &[
                    ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                    ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                    (
                        "x-amz-content-sha256",
                        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
                    ),
                ],
                b"Welcome to Amazon S3.",
                "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            ),
            example(
                "GET",
                "/?lifecycle",
                &[hash],
                b"",
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            example(
                "GET",
                "/?max-keys=2&prefix=J",
                &[hash],
                b"",
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
            Wire::new(
                "GET",
                HOST,
                "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
                 &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
                 &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
                 &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
                &[("host", HOST)],
                b"",
            ),
        ]
    }

    #[test]
    fn s3_examples_verify() {
        let now = at("20130524T000000Z");
        for wire in examples() {
            assert_eq!(
                wire.check(SECRET, now),
                Ok(()),
                "{} {}?{}",
                wire.method,
                wire.path,
                wire.query
            );
            assert_eq!(wire.check("another secret", now), Err(SigV4Error::Mismatch));
        }
    }

    #[test]
    fn s3_examples_hold_for_their_time() {
        let [header, .., url] = examples();
        let signed = at("20130524T000000Z");
        let after =
            |wire: &Wire, seconds| wire.check(SECRET, signed + Duration::from_secs(seconds));
        assert_eq!(after(&header, 900), Ok(()));
        assert_eq!(
            after(&header, 901),
            Err(SigV4Error::Skewed { seconds: -901 })
        );
        assert_eq!(after(&url, 86_400), Ok(()));
        assert_eq!(after(&url, 86_401), Err(SigV4Error::Expired { seconds: 1 }));
        for wire in [&header, &url] {
            let before = |seconds| wire.check(SECRET, signed - Duration::from_secs(seconds));
            assert_eq!(before(900), Ok(()));
            assert_eq!(before(901), Err(SigV4Error::Skewed { seconds: 901 }));
        }
    }

    /// The aws-sig-v4-test-suite. Its access key id, AKIDEXAMPLE, is shorter than any real one, so that
    /// these do not go through `presented`.
    #[test]
    fn test_suite_verifies() {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        for (method, target, signature) in [
            (
                "GET",
                "/",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "POST",
                "/",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "GET",
                "/example/..",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "GET",
                "//",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "GET",
                "/?Param2=value2&Param1=value1",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
        ] {
            let date = "20150830T123600Z";
            let headers = [("host", "example.amazonaws.com"), ("x-amz-date", date)];
            let wire = Wire::new(method, "example.amazonaws.com", target, &headers, b"");
            let presented = Presented {
                algorithm: Algorithm::HmacSha256,
                access_key_id: "AKIDEXAMPLE".to_owned(),
                region: "us-east-1".to_owned(),
                service: "service".to_owned(),
                signed_headers: vec!["host".to_owned(), "x-amz-date".to_owned()],
                signature: signature.to_owned(),
                session_token: None,
                form: Form::Header,
                date: date.to_owned(),
            };
            let verified = verify(
                &presented,
                &wire.view(),
                Payload::Bytes(b""),
                secret,
                at(date),
            );
            assert_eq!(verified, Ok(()), "{method} {target}");
        }
    }
}

/// Requests that botocore signed: `tests/fixtures/sigv4.py` wrote them.
mod botocore {
    use super::*;

    const FIXTURE: &str = include_str!("../../../../tests/fixtures/sigv4.jsonl");

    #[derive(serde::Deserialize)]
    struct Header {
        secret: String,
        now: String,
    }

    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        method: String,
        host: String,
        path: String,
        query: String,
        headers: Vec<(String, String)>,
        body: String,
        payload: String,
    }

    fn cases() -> (String, SystemTime, Vec<(Case, Wire)>) {
        let mut lines = FIXTURE.lines();
        let header: Header = serde_json::from_str(lines.next().unwrap()).unwrap();
        let wire = |case: &Case| {
            let headers: Vec<(&str, &str)> = case
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let target = format!("{}?{}", case.path, case.query);
            let body = BASE64_STANDARD.decode(&case.body).unwrap();
            Wire::new(&case.method, &case.host, &target, &headers, &body)
        };
        let cases = lines
            .map(|line| serde_json::from_str::<Case>(line).unwrap())
            .map(|case| (wire(&case), case))
            .map(|(wire, case)| (case, wire))
            .collect();
        (header.secret, at(&header.now), cases)
    }

    #[test]
    fn signatures_verify() {
        let (secret, now, cases) = cases();
        assert!(cases.len() > 20);
        for (case, wire) in cases {
            assert_eq!(wire.check(&secret, now), Ok(()), "{}", case.name);
            // HTTP/2 has no Host header.
            let mut http2 = wire.clone();
            http2.headers.remove("host");
            assert_eq!(http2.check(&secret, now), Ok(()), "{}", case.name);
        }
    }

    #[test]
    fn any_change_is_refused() {
        let (secret, now, cases) = cases();
        for (case, wire) in cases {
            let refused = |what: &str, change: &dyn Fn(&mut Wire)| {
                let mut changed = wire.clone();
                change(&mut changed);
                assert!(
                    changed.check(&secret, now).is_err(),
                    "{}: {what}",
                    case.name
                );
            };
            refused("method", &|wire| wire.method = Method::DELETE);
            refused("path", &|wire| wire.path.push('x'));
            refused("query", &|wire| wire.query.push_str("&x-id=a"));
            refused("host", &|wire| {
                wire.headers
                    .insert("host", HeaderValue::from_static("evil.s3.amazonaws.com"));
            });
            refused("another x-amz header", &|wire| {
                wire.headers
                    .insert("x-amz-copy-source", HeaderValue::from_static("/other/key"));
            });
            if case.payload == "bytes" {
                refused("body", &|wire| wire.body.push(b'x'));
            }
            let names: Vec<HeaderName> = wire.headers.keys().cloned().collect();
            for name in names
                .iter()
                .filter(|n| !["expect", "content-length"].contains(&n.as_str()))
            {
                refused(name.as_str(), &|wire| {
                    let value = [wire.headers[name].as_bytes(), b"0"].concat();
                    wire.headers
                        .insert(name, HeaderValue::from_bytes(&value).unwrap());
                });
                refused(name.as_str(), &|wire| {
                    wire.headers.append(name, HeaderValue::from_static("0"));
                });
            }
        }
    }
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
