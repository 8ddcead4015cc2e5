//! Signatures, held to what others make of them: AWS's published suite, botocore, the CRT and the JS SDK.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test's own helper functions fail the test, too"
)]

#[path = "signing/generated.rs"]
mod generated;
#[path = "signing/suite.rs"]
mod suite;
#[path = "signing/wire.rs"]
mod wire;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use guard_daemon::aws::Scope;
use guard_daemon::aws::sigv4::{Payload, SignAs, sign};
use guard_tests::{fixture, python_program, skip};
use http::Request;
use serde_json::json;

const SECRET: &str = "a/secret+that leaves";

struct Case {
    method: &'static str,
    service: &'static str,
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    payload: Payload<'static>,
    token: bool,
}

fn cases() -> Vec<Case> {
    let case = |service, target| Case {
        method: "POST",
        service,
        target,
        headers: &[("content-type", "application/octet-stream")],
        payload: Payload::Bytes(b"body\x00\xff"),
        token: true,
    };
    vec![
        case("dynamodb", "/"),
        case(
            "ec2",
            "/?Action=DescribeInstances&Version=2016-11-15&A=2&A=1&Flag",
        ),
        case(
            "lambda",
            "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af/invocations",
        ),
        case("execute-api", "/a/./b//../c/?q=%E1%88%B4"),
        case("s3", "/bucket1/a//b/../c%20%2B%3A?versionId=a%2Fb"),
        case("s3express", "/?session"),
        case("s3-object-lambda", "/%E1%88%B4"),
        Case {
            token: false,
            ..case("sts", "/")
        },
        Case {
            method: "GET",
            payload: Payload::Bytes(b""),
            ..case("s3", "/?list-type=2&prefix=a%20b")
        },
        Case {
            method: "PUT",
            payload: Payload::Unsigned,
            ..case("s3", "/k")
        },
        // What a client signed in the URL is gone.
        Case {
            method: "GET",
            payload: Payload::Unsigned,
            ..case(
                "s3",
                "/k?X-Amz-Credential=a&x-id=GetObject&X-Amz-Signature=b&X-Amz-Expires=1",
            )
        },
        Case {
            method: "PUT",
            headers: &[
                ("content-encoding", "aws-chunked"),
                ("x-amz-trailer", "x-amz-checksum-crc32"),
                ("x-amz-decoded-content-length", "5"),
                ("expect", "100-continue"),
                ("connection", "keep-alive"),
                ("user-agent", "Boto3"),
                ("authorization", "AWS4-HMAC-SHA256 Credential=dummy"),
                ("x-amz-security-token", "dummy"),
                ("x-amz-date", "20200101T000000Z"),
            ],
            payload: Payload::StreamingUnsignedTrailer,
            ..case("s3", "/k")
        },
        Case {
            headers: &[
                ("x-amz-content-sha256", "required"),
                ("x-amz-meta-a", " a   b "),
            ],
            ..case("aoss", "/_search")
        },
    ]
}

/// The signed request as a line for `verify_sigv4.py`.
fn signed(case: &Case) -> serde_json::Value {
    let host = format!("{}.eu-west-1.amazonaws.com", case.service);
    let mut request = Request::builder().method(case.method).uri(case.target);
    for (name, value) in case.headers {
        request = request.header(*name, *value);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    let token = case.token.then(|| "session/token+==".to_owned());
    let credentials = Credentials::new("AKIAREALREALREALREAL", SECRET, token, None, "test");
    let scope = Scope {
        region: "eu-west-1",
        service: case.service,
    };
    let now = UNIX_EPOCH + Duration::from_secs(1_773_500_966);
    let how = SignAs::default();
    sign(
        &mut parts,
        &host,
        case.payload,
        scope,
        &credentials,
        how,
        now,
    )
    .unwrap();

    let headers: Vec<(&str, &str)> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    let body: &[u8] = if let Payload::Bytes(body) = case.payload {
        body
    } else {
        b"not hashed"
    };
    json!({
        "method": case.method,
        "url": format!("https://{host}{}", parts.uri),
        "headers": headers,
        "body": BASE64_STANDARD.encode(body),
        "secret": SECRET,
    })
}

/// A line for whoever reads the test's output.
fn row(text: &str) {
    let mut out = std::io::stdout();
    out.write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// What a program answers to lines of JSON.
fn answers(command: &mut Command, lines: &[serde_json::Value]) -> Vec<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    let text = lines.join("\n");
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{command:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn botocore_finds_the_same_signatures() {
    let python = python_program("python");
    if !python.exists() {
        skip(
            "botocore_finds_the_same_signatures",
            "no Python environment; run `cargo xtask setup`",
        );
        return;
    }
    let mut lines: Vec<serde_json::Value> = cases().iter().map(signed).collect();
    let good = lines.len();
    // The verifier itself must be able to say no.
    let mut changed = lines[0].clone();
    changed["method"] = json!("PUT");
    lines.push(changed);
    let mut changed = lines[0].clone();
    changed["secret"] = json!("another");
    lines.push(changed);

    let answers = answers(
        Command::new(python).arg(fixture("python/verify_sigv4.py")),
        &lines,
    );
    assert_eq!(answers.len(), lines.len());
    for (number, (line, answer)) in lines.iter().zip(answers).enumerate() {
        assert_eq!(answer == "ok", number < good, "{answer}: {line}");
    }
}
