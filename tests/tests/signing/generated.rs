//! Generated requests, signed by botocore, the CRT and the JS SDK: guard takes every one, and none of them after one
//! character is another. And the reverse: what guard signs, they sign alike.

use std::process::Command;

use aws_credential_types::Credentials;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fastrand::Rng;
use guard_daemon::aws::Scope;
use guard_daemon::aws::sigv4::{
    Algorithm, ChunkSigner, Form, Payload, Presented, SignAs, Streaming, sign,
};
use guard_tests::{environment, fixture, python_program, skip};
use http::{HeaderValue, Request};
use serde_json::{Value, json};

use crate::wire::{Wire, at};
use crate::{answers, row};

const NOW: u64 = 1_773_500_966;
const KEY: &str = "AKIAGUARDFIXTURE2345";
const SECRET: &str = "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";
/// Requests of each kind.
const EACH: usize = 300;
/// Changes of each request.
const CHANGES: usize = 8;

const PIECES: &[&str] = &[
    "a",
    "Z",
    "9",
    "-",
    "_",
    ".",
    "~",
    "%20",
    "%2B",
    "%2F",
    "%25",
    "%E1%88%B4",
    "x",
    "m",
    "!",
    "'",
    "(",
    ")",
    "*",
    ":",
    "@",
    "$",
    ",",
    ";",
];

fn text(rng: &mut Rng, most: usize) -> String {
    (0..rng.usize(1..=most))
        .map(|_| *rng.choice(PIECES).unwrap())
        .collect()
}

/// A query: what AWS's rules encode stands encoded in it if `canonical`, for botocore signs it as it stands.
fn query(rng: &mut Rng, v2: bool, canonical: bool) -> String {
    let piece = |rng: &mut Rng, most| loop {
        let text = text(rng, most);
        if !(canonical
            && text.contains(|it| !(char::is_ascii_alphanumeric(&it) || "-_.~%".contains(it))))
        {
            return text;
        }
    };
    let mut pairs = Vec::new();
    for number in 0..rng.usize(0..4) {
        let name = format!("{}{number}", piece(rng, 2));
        pairs.push(match rng.u8(0..4) {
            0 => name,
            1 => format!("{name}="),
            _ => format!("{name}={}", piece(rng, 5)),
        });
    }
    if v2 {
        let covered = [
            "acl",
            "versionId=a%2Fb",
            "response-content-type=a%20b",
            "x=1",
        ];
        pairs.extend(rng.choice(covered).map(str::to_owned));
    } else if rng.bool() {
        pairs.push("dup=2&dup=1&dup=10".to_owned());
    }
    if pairs.is_empty() {
        String::new()
    } else {
        format!("?{}", pairs.join("&"))
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// An unsigned request, in the form that the signers' programs read.
fn request(rng: &mut Rng, signer: &str, canonical: bool) -> Value {
    let js = signer.starts_with("js");
    let url = signer.ends_with("url");
    let v2 = signer.starts_with("v2");
    let s3 = v2 || signer.starts_with("s3") || js && rng.bool();
    let service = match (s3, v2) {
        (true, true) => "s3",
        (true, false) => rng.choice(["s3", "s3-object-lambda", "s3express"]).unwrap(),
        (false, _) => rng
            .choice(["dynamodb", "lambda", "execute-api", "sts", "mq"])
            .unwrap(),
    };
    let host = match (v2, rng.bool()) {
        (true, true) => "s3.eu-west-1.amazonaws.com".to_owned(),
        (true, false) => "my-bucket.s3.amazonaws.com".to_owned(),
        (false, _) => format!("b.{service}.eu-west-1.amazonaws.com"),
    };
    let mut path = String::new();
    for _ in 0..rng.usize(1..5) {
        path.push('/');
        path.push_str(&match rng.u8(0..8) {
            0 if s3 && !js => "..".to_owned(),
            0 | 1 => String::new(),
            2 if !js => ".".to_owned(),
            _ => text(rng, 8),
        });
    }
    // A segment of dots alone is one that normalising takes away.
    path.push_str("/k");
    if signer.contains("v4a") {
        // The CRT takes some of these for a scheme or a port, and refuses.
        path = path.replace(':', "");
    }
    let mut headers = vec![("content-type", "application/x-amz-json-1.0".to_owned())];
    if rng.bool() {
        headers.push((
            "x-amz-meta-note",
            format!("a{}b", " ".repeat(rng.usize(1..4))),
        ));
    }
    if rng.bool() {
        headers.push(("x-amz-target", format!("Service_2012.{}", rng.u32(..))));
    }
    if rng.bool() && !js {
        headers.push(("user-agent", "client/1 x".to_owned()));
    }
    let payload = match (s3 && !url && !v2, rng.u8(0..4)) {
        (true, 0) => "unsigned",
        (true, 1) => "trailer",
        (true, 2) if js => "chunks",
        _ => "bytes",
    };
    // The JS SDK's signer takes what it is told.
    let declared = match (js, payload) {
        (true, "unsigned") => Some("UNSIGNED-PAYLOAD"),
        // As its presigner for S3 does.
        (true, _) if s3 && url => Some("UNSIGNED-PAYLOAD"),
        (true, "trailer") => Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        (true, "chunks") => Some(Streaming::ChunksTrailer.name()),
        _ => None,
    };
    headers.extend(declared.map(|declared| ("x-amz-content-sha256", declared.to_owned())));
    let body: Vec<u8> = if url {
        Vec::new()
    } else {
        (0..rng.usize(0..40)).map(|_| rng.u8(..)).collect()
    };
    let query = query(rng, v2, canonical);
    let regions = ["*", "eu-west-1", "eu-west-1,us-*"];
    let set = rng.choice(regions).filter(|_| signer.contains("v4a"));
    json!({
        "signer": signer,
        "now": NOW,
        "method": if body.is_empty() { "GET" } else { "PUT" },
        "url": format!("https://{host}{path}{query}"),
        "headers": headers,
        "body": BASE64_STANDARD.encode(&body),
        "payload": payload,
        "service": service,
        "region": set.unwrap_or("eu-west-1"),
        "key": KEY,
        "secret": SECRET,
        "token": rng.bool().then_some("session/token+=="),
    })
}

fn wire(line: &Value) -> Wire {
    let url = line["url"]
        .as_str()
        .unwrap()
        .strip_prefix("https://")
        .unwrap();
    let place = url.find('/').unwrap();
    let (host, target) = url.split_at(place);
    let headers = line["headers"].as_array().unwrap().iter();
    let headers = headers.map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
    let body = BASE64_STANDARD
        .decode(line["body"].as_str().unwrap())
        .unwrap();
    Wire::new(
        line["method"].as_str().unwrap(),
        host,
        target,
        headers,
        &body,
    )
}

/// Another letter in the place of a letter or digit: never another spelling of the same.
fn changed(rng: &mut Rng, text: &str) -> Option<String> {
    let places: Vec<usize> = text
        .bytes()
        .enumerate()
        .filter(|(place, byte)| {
            // In an escape, a letter may be the other case of itself.
            let escape = (1..=2).any(|back| {
                place
                    .checked_sub(back)
                    .is_some_and(|at| text.as_bytes()[at] == b'%')
            });
            byte.is_ascii_alphanumeric() && !escape
        })
        .map(|(place, _)| place)
        .collect();
    let place = *rng.choice(&places)?;
    let old = char::from(text.as_bytes()[place]);
    let new = if old == 'q' { 'w' } else { 'q' };
    Some(format!("{}{new}{}", &text[..place], &text[place + 1..]))
}

/// The request with one character of what the signature covers another one; and which part that is in.
fn tampered(rng: &mut Rng, wire: &Wire, presented: &Presented) -> Option<(String, Wire)> {
    let mut wire = wire.clone();
    let v2 = presented.algorithm == Algorithm::HmacSha1;
    match rng.u8(0..6) {
        0 => {
            wire.path = changed(rng, &wire.path)?;
            Some(("path".to_owned(), wire))
        }
        1 if v2 => {
            // Of the query it covers the parameters it knows.
            let pairs: Vec<&str> = wire.query.split('&').collect();
            let covered = [
                "Signature",
                "Expires",
                "acl",
                "versionId",
                "response-content-type",
                "x-amz-",
                "content-type",
            ];
            let place = pairs
                .iter()
                .position(|pair| covered.iter().any(|name| pair.starts_with(name)))?;
            let mut pairs: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
            let (name, value) = pairs[place].split_once('=')?;
            pairs[place] = format!("{name}={}", changed(rng, value)?);
            wire.query = pairs.join("&");
            Some(("query".to_owned(), wire))
        }
        1 => {
            wire.query = changed(rng, &wire.query)?;
            Some(("query".to_owned(), wire))
        }
        2 => {
            let method = if wire.method == http::Method::GET {
                "POST"
            } else {
                "GET"
            };
            wire.method = method.parse().unwrap();
            Some(("method".to_owned(), wire))
        }
        3 if !v2 => {
            wire.host = changed(rng, &wire.host)?;
            wire.headers
                .insert("host", HeaderValue::from_str(&wire.host).unwrap());
            Some(("host".to_owned(), wire))
        }
        4 => {
            let covered = |name: &str| {
                let signed = presented.signed_headers.iter().any(|it| it == name);
                let dated = name == "date" && presented.form == Form::Header;
                let of_v2 = name.starts_with("x-amz-") || name == "content-type" || dated;
                name == "authorization" || signed || v2 && of_v2
            };
            let names: Vec<_> = wire
                .headers
                .keys()
                .filter(|it| covered(it.as_str()))
                .cloned()
                .collect();
            let name = rng.choice(&names)?;
            let value = changed(rng, wire.headers[name].to_str().unwrap())?;
            wire.headers
                .insert(name, HeaderValue::from_str(&value).unwrap());
            Some((name.to_string(), wire))
        }
        _ => {
            let declared = wire.headers.get("x-amz-content-sha256");
            let hashed = declared.is_none_or(|it| it.len() == 64);
            let url = presented.form != Form::Header;
            if v2 || !hashed || url || wire.body.is_empty() {
                return None;
            }
            let place = rng.usize(..wire.body.len());
            wire.body[place] ^= 1;
            Some(("body".to_owned(), wire))
        }
    }
}

fn takes_and_refuses(lines: &[Value]) -> (usize, usize) {
    let mut rng = Rng::with_seed(7);
    let mut refused = 0;
    for line in lines {
        let wire = wire(line);
        let presented = match wire.check(SECRET, NOW) {
            Ok(presented) => presented,
            Err(error) => panic!("{error}: {line:#}"),
        };
        assert_eq!(presented.access_key_id, KEY);
        assert_eq!(
            presented.session_token.as_deref(),
            line["token"].as_str(),
            "{line:#}"
        );
        assert!(wire.check("another secret", NOW).is_err(), "{line:#}");
        for _ in 0..CHANGES {
            if let Some((part, other)) = tampered(&mut rng, &wire, &presented) {
                // The access key id of a header is not signed: another one is nobody's.
                let taken = other
                    .check(SECRET, NOW)
                    .is_ok_and(|it| it.access_key_id == KEY);
                assert!(!taken, "{part}: {other:#?}\nof {line:#}");
                refused += 1;
            }
        }
    }
    (lines.len(), refused)
}

fn python() -> Option<Command> {
    let python = python_program("python");
    python.exists().then(|| Command::new(python))
}

fn node(test: &str) -> Option<Command> {
    let directory = environment().join("node");
    if !directory.join("node_modules/@smithy/signature-v4").exists() {
        skip(test, "no Node.js environment; run `cargo xtask setup`");
        return None;
    }
    let mut command = Command::new("node");
    command.arg(fixture("clients/signers.mjs")).arg(directory);
    Some(command)
}

fn generated(signers: &[&str], canonical: bool) -> Vec<Value> {
    let mut rng = Rng::with_seed(20_260_314);
    let mut lines = Vec::new();
    for signer in signers {
        lines.extend((0..EACH).map(|_| request(&mut rng, signer, canonical)));
    }
    lines
}

fn report(test: &str, signers: &[&str], answered: &[String]) {
    let lines: Vec<Value> = answered
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), signers.len() * EACH, "{test}");
    for signer in signers {
        let of: Vec<Value> = lines
            .iter()
            .filter(|line| line["signer"] == *signer)
            .cloned()
            .collect();
        let (accepted, refused) = takes_and_refuses(&of);
        row(&format!(
            "{signer}: {accepted} accepted, {refused} refused after a change"
        ));
    }
}

#[test]
fn botocores_are_taken_and_none_that_was_changed() {
    let test = "botocores_are_taken_and_none_that_was_changed";
    let Some(mut python) = python() else {
        skip(test, "no Python environment; run `cargo xtask setup`");
        return;
    };
    let signers = ["v4", "s3", "v4 url", "s3 url", "v2", "v2 url"];
    let answered = answers(
        python.arg(fixture("python/signers.py")),
        &generated(&signers, false),
    );
    report(test, &signers, &answered);
}

#[test]
fn the_crts_are_taken_and_none_that_was_changed() {
    let test = "the_crts_are_taken_and_none_that_was_changed";
    let crt = environment().join("crt");
    let (Some(mut python), true) = (python(), crt.exists()) else {
        skip(
            test,
            "no awscrt in the Python environment; run `cargo xtask setup`",
        );
        return;
    };
    let signers = ["v4a", "s3 v4a", "v4a url", "s3 v4a url"];
    python.arg(fixture("python/signers.py")).arg(crt);
    report(
        test,
        &signers,
        &answers(&mut python, &generated(&signers, false)),
    );
}

#[test]
fn the_js_sdks_are_taken_and_none_that_was_changed() {
    let test = "the_js_sdks_are_taken_and_none_that_was_changed";
    let Some(mut node) = node(test) else {
        return;
    };
    let signers = ["js", "js url"];
    report(
        test,
        &signers,
        &answers(&mut node, &generated(&signers, false)),
    );
}

/// Signs a generated request with guard, and says so in the form of the programs that sign it again.
fn signed_by_guard(line: &Value, algorithm: Algorithm) -> Value {
    let from = wire(line);
    let query = if from.query.is_empty() {
        String::new()
    } else {
        format!("?{}", from.query)
    };
    let mut request = Request::builder()
        .method(&from.method)
        .uri(format!("{}{query}", from.path))
        .body(())
        .unwrap();
    *request.headers_mut() = from.headers.clone();
    let (mut parts, ()) = request.into_parts();
    let payload = match line["payload"].as_str().unwrap() {
        "unsigned" => Payload::Unsigned,
        "trailer" => Payload::StreamingUnsignedTrailer,
        "chunks" => Payload::Streaming(Streaming::ChunksTrailer),
        _ => Payload::Bytes(&from.body),
    };
    let token = line["token"].as_str().map(str::to_owned);
    let credentials = Credentials::new(KEY, SECRET, token, None, "test");
    let scope = Scope {
        region: line["region"].as_str().unwrap(),
        service: line["service"].as_str().unwrap(),
    };
    let how = SignAs {
        algorithm,
        s3_session: scope.service == "s3express",
    };
    sign(
        &mut parts,
        &from.host,
        payload,
        scope,
        &credentials,
        how,
        at(NOW),
    )
    .unwrap();
    let headers: Vec<(&str, &str)> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    json!({
        "signer": "js again",
        "now": NOW,
        "method": parts.method.as_str(),
        "url": format!("https://{}{}", from.host, parts.uri),
        "headers": headers,
        "body": line["body"],
        "service": line["service"],
        "region": line["region"],
        "key": KEY,
        "secret": SECRET,
    })
}

fn signature(line: &Value) -> &str {
    let headers = line["headers"].as_array().unwrap();
    let authorization = headers.iter().find(|it| it[0] == "authorization").unwrap();
    authorization[1]
        .as_str()
        .unwrap()
        .rsplit_once("Signature=")
        .unwrap()
        .1
}

#[test]
fn what_guard_signs_botocore_signs_alike() {
    let test = "what_guard_signs_botocore_signs_alike";
    let Some(mut python) = python() else {
        skip(test, "no Python environment; run `cargo xtask setup`");
        return;
    };
    let mut lines = Vec::new();
    for (signer, algorithm) in [
        ("v4", Algorithm::HmacSha256),
        ("s3", Algorithm::HmacSha256),
        ("v4", Algorithm::EcdsaP256),
        ("s3", Algorithm::EcdsaP256),
    ] {
        let generated = generated(&[signer], true);
        lines.extend(
            generated
                .iter()
                .map(|line| signed_by_guard(line, algorithm)),
        );
    }
    let answered = answers(python.arg(fixture("python/verify_sigv4.py")), &lines);
    assert_eq!(answered.len(), lines.len());
    for (line, answer) in lines.iter().zip(&answered) {
        assert_eq!(answer, "ok", "{line:#}");
    }
    row(&format!("{} of guard's, botocore signs alike", lines.len()));
}

#[test]
fn what_guard_signs_the_js_sdk_signs_alike() {
    let test = "what_guard_signs_the_js_sdk_signs_alike";
    let Some(mut node) = node(test) else {
        return;
    };
    let lines: Vec<Value> = generated(&["js"], false)
        .iter()
        .map(|line| signed_by_guard(line, Algorithm::HmacSha256))
        .collect();
    let answered = answers(&mut node, &lines);
    assert_eq!(answered.len(), lines.len());
    for (line, answer) in lines.iter().zip(&answered) {
        let answer: Value = serde_json::from_str(answer).unwrap();
        assert_eq!(answer["signature"], signature(line), "{line:#}");
    }
    row(&format!(
        "{} of guard's, the JS SDK signs alike",
        lines.len()
    ));
}

#[test]
fn the_js_sdk_signs_events_alike() {
    let Some(mut node) = node("the_js_sdk_signs_events_alike") else {
        return;
    };
    let mut rng = Rng::with_seed(3);
    let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    let presented = Presented {
        algorithm: Algorithm::HmacSha256,
        access_key_id: KEY.to_owned(),
        region: "us-east-1".to_owned(),
        service: "transcribe".to_owned(),
        signed_headers: Vec::new(),
        signature: seed.to_owned(),
        session_token: None,
        form: Form::Header,
        date: "20260314T235900Z".to_owned(),
    };
    let mut chain = ChunkSigner::of_client(&presented, SECRET).unwrap();
    let (mut events, mut signatures) = (Vec::new(), Vec::new());
    // The stream goes on over midnight.
    for number in 0..200_i64 {
        let millis = 1_773_532_740_000 + number * 1013;
        let mut header = vec![5];
        header.extend(b":date\x08");
        header.extend(millis.to_be_bytes());
        let payload: Vec<u8> = (0..rng.usize(0..50)).map(|_| rng.u8(..)).collect();
        let signature = chain.event(millis, &header, &payload).unwrap();
        signatures.push(hex(&signature));
        events.push(json!({
            "millis": millis,
            "headers": BASE64_STANDARD.encode(&header),
            "payload": BASE64_STANDARD.encode(&payload),
        }));
    }
    let line = json!({
        "signer": "js events",
        "now": NOW,
        "seed": seed,
        "events": events,
        "service": "transcribe",
        "region": "us-east-1",
        "key": KEY,
        "secret": SECRET,
    });
    let answered = answers(&mut node, &[line]);
    let answer: Value = serde_json::from_str(&answered[0]).unwrap();
    assert_eq!(answer["signatures"], json!(signatures));
}
