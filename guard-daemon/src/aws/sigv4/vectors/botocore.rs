//! Requests that botocore signed: `tests/fixtures/sigv4.py` wrote them.

use super::*;

const FIXTURE: &str = include_str!("../../../../../tests/fixtures/sigv4.jsonl");

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
