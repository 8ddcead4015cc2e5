//! Denials as each client sees them: the error of its own service and protocol, which statement denied and what to
//! do about it in the message, and one attempt.

mod boto3;
mod botocore;
mod cli;
mod javascript;
mod rust_sdk;

use std::collections::BTreeMap;

use guard_tests::guard::Guard;
use serde_json::Value;

/// Denies what the clients' programs call, and asks a person about the rest of it.
const PROFILE: &str = r#"
default = "allow"

[[statement]]
sid = "reviewed-only"
effect = "deny"
action = ["sts:GetSessionToken", "ec2:Describe*", "dynamodb:Describe*", "dynamodb:GetItem", "dynamodb:List*",
  "dynamodb:Scan", "secretsmanager:Get*", "lambda:Invoke*", "s3:Get*", "s3:ListBucket", "s3:PutObject",
  "route53:List*", "cloudfront:List*", "cloudwatch:ListMetrics", "sqs:SendMessage"]

[[statement]]
sid = "ask-first"
effect = "approve"
action = ["sts:AssumeRole", "ec2:TerminateInstances", "dynamodb:DeleteItem", "lambda:Delete*", "s3:Delete*",
  "s3:PutObjectTagging", "sqs:PurgeQueue", "route53:Delete*"]
"#;

/// Nobody decides in these tests.
const CONFIG: &str = "[approval]\nhold_seconds = 1\n";

fn guard() -> Guard {
    Guard::new(PROFILE, CONFIG)
}

/// The JSON lines that a client's program prints, by call.
fn said(output: &str) -> BTreeMap<String, Value> {
    let lines = output.lines().map(|line| {
        let seen: Value = serde_json::from_str(line).expect("each line is JSON");
        (seen["call"].as_str().expect("a call").to_owned(), seen)
    });
    lines.collect()
}

/// What a message must tell of a denial by the statement.
fn tells_the_statement(message: &str) -> bool {
    message.contains(" is denied by statement reviewed-only of profile profile")
        && message.contains("; guard refused it, not AWS: ")
        && message.contains("ask the person who runs this session")
}

/// What a message must tell where nobody decided.
fn tells_the_approval(message: &str) -> bool {
    message.contains("nobody decided within 1 s; ask a person to run `guard approval approve a-")
        && message.contains("by statement ask-first of profile profile")
}

/// How many exchanges of a session the journal has by operation, and that none of them was allowed.
fn attempts(guard: &Guard) -> BTreeMap<String, usize> {
    let mut attempts = BTreeMap::new();
    for entry in guard.entries("exchange_decided") {
        assert_eq!(entry["decision"], "deny", "{entry:#}");
        let operation = entry["operation"][0].as_str().unwrap_or("unknown");
        *attempts.entry(operation.to_owned()).or_insert(0) += 1;
    }
    attempts
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
