//! The AWS CLI: version 1, and version 2 where the system has it.

use std::path::Path;
use std::process::Command;

use guard_tests::guard::{Guard, succeeded};
use guard_tests::stand::Stand;
use guard_tests::{is_root, python_program, skip};

use crate::{attempts, guard, tells_the_approval, tells_the_statement, text};

/// Each command, the operation that it calls, and the code that it shows.
const CALLS: [(&str, &str, &str); 11] = [
    ("sts get-session-token", "GetSessionToken", "(AccessDenied)"),
    (
        "ec2 describe-instances",
        "DescribeInstances",
        "(UnauthorizedOperation)",
    ),
    (
        "dynamodb list-tables",
        "ListTables",
        "(AccessDeniedException)",
    ),
    (
        "secretsmanager get-secret-value --secret-id denied",
        "GetSecretValue",
        "(AccessDeniedException)",
    ),
    (
        "lambda invoke --function-name denied out",
        "Invoke",
        "(AccessDeniedException)",
    ),
    (
        "s3 ls s3://denied-bucket",
        "ListObjectsV2",
        "(AccessDenied)",
    ),
    (
        "s3 cp - s3://denied-bucket/key",
        "PutObject",
        "(AccessDenied)",
    ),
    (
        "s3api head-object --bucket denied-bucket --key k",
        "HeadObject",
        "(403)",
    ),
    (
        "cloudfront list-distributions",
        "ListDistributions",
        "(AccessDenied)",
    ),
    (
        "route53 list-hosted-zones",
        "ListHostedZones",
        "(AccessDenied)",
    ),
    (
        "sqs purge-queue --queue-url https://sqs.us-east-1.amazonaws.com/123456789012/denied",
        "PurgeQueue",
        "(AccessDenied)",
    ),
];

/// Makes every call in one session and checks what is shown.
fn check(guard: &Guard, aws: &Path) {
    let aws = aws.display();
    let lines = CALLS.map(|(call, ..)| format!("echo body | {aws} {call} 2>&1; echo exit $? ==\n"));
    let script = lines.concat();
    let output = guard
        .run(Stand::shared())
        .args(["sh", "-c", &script])
        .output()
        .expect("guard runs");
    let said = succeeded(&output);
    let attempts = attempts(guard);
    for ((call, operation, code), shown) in CALLS.iter().zip(said.split(" ==\n")) {
        let exit = shown.rsplit("exit ").next().unwrap_or_default();
        assert!(["1", "254", "255"].contains(&exit), "{call}: {shown}");
        assert!(shown.contains(code), "{call}: {shown}");
        let calling = format!("calling the {operation} operation");
        assert!(shown.contains(&calling), "{call}: {shown}");
        let told = match *code {
            "(403)" => shown.contains("Forbidden"),
            _ if *operation == "PurgeQueue" => tells_the_approval(shown),
            _ => tells_the_statement(shown),
        };
        assert!(told, "{call}: {shown}");
        assert_eq!(attempts[*operation], 1, "{call}");
    }
    assert_eq!(attempts.len(), CALLS.len(), "{attempts:#?}");
}

#[test]
fn the_aws_cli_1_is_denied_once_in_each_services_words() {
    if !is_root("the_aws_cli_1_is_denied_once_in_each_services_words") {
        return;
    }
    check(&guard(), &python_program("aws"));
}

#[test]
fn the_aws_cli_2_is_denied_once_in_each_services_words() {
    let name = "the_aws_cli_2_is_denied_once_in_each_services_words";
    if !is_root(name) {
        return;
    }
    let aws = Path::new("/usr/bin/aws");
    let version = Command::new(aws).arg("--version").output();
    if !version.is_ok_and(|output| text(&output.stdout).starts_with("aws-cli/2")) {
        skip(
            name,
            "no AWS CLI 2 in /usr/bin (Debian's package awscli is one)",
        );
        return;
    }
    check(&guard(), aws);
}
