//! Every answer that mints, in text as moto writes it from botocore's models and in CBOR as botocore writes it;
//! botocore reads what guard makes of it.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use guard_daemon::aws::Protocol;
use guard_daemon::aws::catalog;
use guard_daemon::broker::DummyCredentials;
use guard_daemon::mask::minted::Mints;
use guard_daemon::mask::{Minting, mask_response};
use guard_tests::guard::succeeded;
use serde_json::{Value, json};

/// `CreateSession` has no other form than S3's XML, and the like: the wire protocol by botocore's name of it.
fn protocol(name: &str) -> Protocol {
    match name {
        "json" => Protocol::Json11,
        "rest-json" => Protocol::RestJson,
        "rest-xml" => Protocol::S3,
        "query" => Protocol::Query,
        "smithy-rpc-v2-cbor" => Protocol::Cbor,
        other => panic!("{other}"),
    }
}

fn python(mode: &str, input: &str) -> Output {
    let mut process = Command::new(guard_tests::python_program("python"))
        .arg(guard_tests::fixture("python/minting.py"))
        .arg(mode)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python runs");
    let mut stdin = process.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    process.wait_with_output().expect("it ends")
}

/// What guard makes of a sample, and how many sets it found.
fn minted(sample: &Value, dummy: &DummyCredentials) -> (Vec<u8>, usize) {
    let text = |name: &str| sample[name].as_str().expect("text");
    let (service, operation) = (text("service"), text("operation"));
    let mut sets = 0;
    let mut issue = |fresh: guard_daemon::mask::minted::Fresh| {
        sets += 1;
        if !matches!(service, "codepipeline" | "gamelift" | "signin") {
            let end = UNIX_EPOCH + Duration::from_secs(1_893_553_445);
            assert_eq!(fresh.expiry, Some(end), "{service}:{operation}");
        }
        dummy.clone()
    };
    let mut minting = Minting {
        mints: Mints::of(service, operation).expect("known"),
        issue: &mut issue,
    };
    let (mut parts, ()) = http::Response::new(()).into_parts();
    let (body, _) = mask_response(
        catalog::output(service, operation).expect("an output"),
        protocol(text("protocol")),
        &mut parts,
        STANDARD.decode(text("body")).expect("base64").into(),
        &|_| false,
        Some(&mut minting),
    )
    .unwrap_or_else(|error| panic!("{service}:{operation}: {error}"));
    (body.into(), sets)
}

#[test]
fn of_every_operation_that_mints_botocore_reads_dummies_and_all_else_as_it_was() {
    let samples = succeeded(&python("samples", ""));
    let dummy = DummyCredentials::temporary();
    let mut seen = BTreeSet::new();
    let mut cbor = 0;
    let mut checks = String::new();
    for line in samples.lines() {
        let sample: Value = serde_json::from_str(line).expect("JSON");
        let text = |name: &str| sample[name].as_str().expect("text").to_owned();
        let name = format!("{}:{}", text("service"), text("operation"));
        assert!(
            Mints::of(&text("service"), &text("operation")).is_some(),
            "{name} mints credentials and is not in the table"
        );
        seen.insert(name.clone());
        cbor += usize::from(text("protocol") == "smithy-rpc-v2-cbor");
        let (masked, sets) = minted(&sample, &dummy);
        assert_eq!(Some(sets as u64), sample["sets"].as_u64(), "{name}");
        let decoded = String::from_utf8_lossy(&masked);
        let decoded = decoded.replace("\\u00e9", "é").replace("\\\"", "\"");
        for secret in sample["secrets"].as_array().expect("secrets") {
            let secret = secret.as_str().expect("text");
            assert!(!decoded.contains(secret), "{name}: {decoded}");
        }
        let keys = [
            &dummy.access_key_id,
            &dummy.secret_access_key,
            dummy.session_token.as_ref().expect("temporary"),
        ];
        let check = json!({
            "service": text("service"),
            "operation": text("operation"),
            "protocol": text("protocol"),
            "body": text("body"),
            "masked": STANDARD.encode(&masked),
            "dummy": keys,
        });
        checks.push_str(&check.to_string());
        checks.push('\n');
    }
    assert_eq!(seen.len(), Mints::all().count(), "{seen:#?}");
    assert!(cbor >= 8, "{cbor} of them in CBOR");
    assert_eq!(succeeded(&python("check", &checks)), "ok\n");
}
