//! boto3, in each of its retry modes, and with what it builds upon calls.

use guard_tests::guard::{Guard, succeeded};
use guard_tests::stand::Stand;
use guard_tests::{fixture, is_root, python_program};
use serde_json::Value;

use crate::{attempts, guard, said, tells_the_approval, tells_the_statement};

/// Each call, its API operation, the exception's class and its code.
const DENIED: [(&str, &str, &str, &str); 15] = [
    (
        "sts get_session_token",
        "GetSessionToken",
        "ClientError",
        "AccessDenied",
    ),
    (
        "ec2 describe_instances",
        "DescribeInstances",
        "ClientError",
        "UnauthorizedOperation",
    ),
    (
        "dynamodb get_item",
        "GetItem",
        "ClientError",
        "AccessDeniedException",
    ),
    (
        "secretsmanager get_secret_value",
        "GetSecretValue",
        "ClientError",
        "AccessDeniedException",
    ),
    (
        "lambda invoke",
        "Invoke",
        "ClientError",
        "AccessDeniedException",
    ),
    ("s3 get_object", "GetObject", "AccessDenied", "AccessDenied"),
    ("s3 head_object", "HeadObject", "ClientError", "403"),
    ("s3 head_bucket", "HeadBucket", "ClientError", "403"),
    ("s3 put_object", "PutObject", "AccessDenied", "AccessDenied"),
    (
        "s3 upload_part",
        "UploadPart",
        "AccessDenied",
        "AccessDenied",
    ),
    (
        "s3control get_public_access_block",
        "GetPublicAccessBlock",
        "ClientError",
        "AccessDenied",
    ),
    (
        "route53 list_hosted_zones",
        "ListHostedZones",
        "ClientError",
        "AccessDenied",
    ),
    (
        "cloudfront list_distributions",
        "ListDistributions",
        "AccessDenied",
        "AccessDenied",
    ),
    (
        "cloudwatch list_metrics",
        "ListMetrics",
        "ClientError",
        "AccessDenied",
    ),
    (
        "sqs send_message",
        "SendMessage",
        "ClientError",
        "AccessDenied",
    ),
];

/// What boto3 makes of several calls: the first operation that it calls.
const BUILT_UPON: [(&str, &str, &str, &str); 4] = [
    (
        "dynamodb list_tables paginator",
        "ListTables",
        "ClientError",
        "AccessDeniedException",
    ),
    (
        "dynamodb describe_table waiter",
        "DescribeTable",
        "WaiterError",
        "AccessDeniedException",
    ),
    (
        "s3 create_multipart_upload transfer",
        "CreateMultipartUpload",
        "AccessDenied",
        "AccessDenied",
    ),
    (
        "dynamodb scan resource",
        "Scan",
        "ClientError",
        "AccessDeniedException",
    ),
];

const PENDING: [(&str, &str, &str, &str); 8] = [
    (
        "sts assume_role",
        "AssumeRole",
        "ClientError",
        "AccessDenied",
    ),
    (
        "ec2 terminate_instances",
        "TerminateInstances",
        "ClientError",
        "UnauthorizedOperation",
    ),
    (
        "dynamodb delete_item",
        "DeleteItem",
        "ClientError",
        "AccessDeniedException",
    ),
    (
        "lambda delete_function",
        "DeleteFunction",
        "ClientError",
        "AccessDeniedException",
    ),
    (
        "s3 delete_object",
        "DeleteObject",
        "AccessDenied",
        "AccessDenied",
    ),
    (
        "s3 put_object_tagging",
        "PutObjectTagging",
        "AccessDenied",
        "AccessDenied",
    ),
    (
        "sqs purge_queue",
        "PurgeQueue",
        "ClientError",
        "AccessDenied",
    ),
    (
        "route53 delete_hosted_zone",
        "DeleteHostedZone",
        "ClientError",
        "AccessDenied",
    ),
];

fn run(guard: &Guard, mode: &str) -> String {
    let output = guard
        .run(Stand::shared())
        .arg(python_program("python"))
        .arg(guard.hand(&fixture("clients/denials.py")))
        .arg(mode)
        .output()
        .expect("guard runs");
    succeeded(&output)
}

/// A call's error has this class and code, came of one attempt, and tells why.
fn check(seen: &Value, class: &str, code: &str, tells: fn(&str) -> bool) {
    assert_eq!(seen["type"], class, "{seen:#}");
    assert_eq!(seen["code"], code, "{seen:#}");
    assert_eq!(seen["retries"], 0, "{seen:#}");
    let text = |key: &str| seen[key].as_str().unwrap_or_default().to_owned();
    assert!(tells(&text("reason")), "{seen:#}");
    assert!(text("request").starts_with("guard-"), "{seen:#}");
    // The answer to a HEAD has no body: boto3 says what the status means.
    let head = code == "403";
    assert!(head || tells(&text("message")), "{seen:#}");
}

#[test]
fn boto3_is_denied_once_in_each_services_words() {
    if !is_root("boto3_is_denied_once_in_each_services_words") {
        return;
    }
    let guard = guard();
    let seen = said(&run(&guard, "once"));
    let attempts = attempts(&guard);
    let calls = || DENIED.iter().chain(&BUILT_UPON);
    assert_eq!(seen.len(), calls().count(), "{seen:#?}");
    assert_eq!(attempts.len(), calls().count(), "{attempts:#?}");
    for (call, operation, class, code) in calls() {
        check(&seen[*call], class, code, tells_the_statement);
        assert_eq!(attempts[*operation], 1, "{call}");
    }
}

#[test]
fn boto3_sends_no_denied_call_again_in_any_retry_mode() {
    if !is_root("boto3_sends_no_denied_call_again_in_any_retry_mode") {
        return;
    }
    let guard = guard();
    let seen = said(&run(&guard, "modes"));
    let attempts = attempts(&guard);
    for (call, operation, class, code) in DENIED.iter().filter(|call| call.1 != "UploadPart") {
        for mode in ["standard", "adaptive"] {
            let seen = &seen[&format!("{call} {mode}")];
            check(seen, class, code, tells_the_statement);
        }
        assert_eq!(attempts[*operation], 2, "{call}: once in each mode");
    }
}

#[test]
fn boto3_is_told_of_the_approval_that_is_missing_and_does_not_ask_again() {
    if !is_root("boto3_is_told_of_the_approval_that_is_missing_and_does_not_ask_again") {
        return;
    }
    let guard = guard();
    let seen = said(&run(&guard, "pending"));
    let attempts = attempts(&guard);
    for (call, operation, class, code) in PENDING {
        check(&seen[call], class, code, tells_the_approval);
        assert_eq!(attempts[operation], 1, "{call}");
    }
}
