//! Every service of botocore, in every protocol that it speaks: each kind of guard's answers, put through its parser and
//! its decisions to retry.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use guard_daemon::aws::Protocol;
use guard_daemon::aws::error::{Code, response};
use guard_tests::{fixture, python_program};
use http::Method;
use serde_json::{Value, json};

const CODES: [(Code, &str); 7] = [
    (Code::AccessDenied, "AccessDenied"),
    (Code::SignatureDoesNotMatch, "SignatureDoesNotMatch"),
    (Code::InvalidAccessKey, "InvalidAccessKey"),
    (Code::RequestExpired, "RequestExpired"),
    (Code::InvalidRequest, "InvalidRequest"),
    (Code::RequestTooLarge, "RequestTooLarge"),
    (Code::UpstreamUnavailable, "UpstreamUnavailable"),
];

/// Its model marks its access denial as retryable, so botocore's standard mode sends AWS's own again, too.
const RETRIED_BY_MODEL: &str = "migrationhuborchestrator rest-json";

fn protocol(name: &str) -> Protocol {
    match name {
        "json-1.0" => Protocol::Json10,
        "json-1.1" => Protocol::Json11,
        "rest-json" => Protocol::RestJson,
        "rest-xml" => Protocol::RestXml,
        "s3" => Protocol::S3,
        "query" => Protocol::Query,
        "ec2" => Protocol::Ec2,
        "smithy-rpc-v2-cbor" => Protocol::Cbor,
        other => unreachable!("protocol {other}"),
    }
}

#[test]
fn botocore_reads_every_answer_for_every_service_and_retries_none() {
    let mut child = Command::new(python_program("python"))
        .arg(fixture("python/parse_errors.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts: run `cargo xtask setup` first");
    let mut input = child.stdin.take().expect("piped");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let asked = lines.next().expect("a line").expect("text");
    let asked: Vec<(String, String)> =
        serde_json::from_str(&asked).expect("services and protocols");
    assert!(asked.len() > 400, "{}", asked.len());
    for (service, name) in &asked {
        for (code, label) in CODES {
            let reply = response(
                protocol(name),
                Some(service),
                &Method::POST,
                code,
                "why <not> & \"é\"",
            );
            let headers: Vec<(&str, &str)> = reply
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII")))
                .collect();
            let line = json!({
                "service": service,
                "protocol": name,
                "code": label,
                "status": reply.status().as_u16(),
                "headers": headers,
                "body": BASE64_STANDARD.encode(reply.body()),
            });
            writeln!(input, "{line}").expect("python reads");
        }
    }
    drop(input);
    let result = lines.next().expect("a result").expect("text");
    let result: Value = serde_json::from_str(&result).expect("JSON");
    assert!(child.wait().expect("ends").success());
    let wrong = result["wrong"].as_array().into_iter().flatten();
    let wrong: Vec<&Value> = wrong
        .filter(|it| {
            !it.as_str()
                .is_some_and(|it| it.starts_with(RETRIED_BY_MODEL))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(result["read"], asked.len() * CODES.len());
}
