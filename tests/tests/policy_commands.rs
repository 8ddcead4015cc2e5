//! `guard policy` as a person runs it: cases, explanations, completion.

use std::path::Path;
use std::process::{Command, Output};

use guard_tests::installation::binary;

const PROFILE: &str = r#"
[[statement]]
sid = "read"
effect = "allow"
action = ["s3:GetObject", "s3:ListBucket"]
resource = ["arn:aws:s3:::data", "arn:aws:s3:::data/*"]

[[statement]]
sid = "elsewhere"
effect = "deny"
action = "*"
condition = { StringNotEquals = { "aws:RequestedRegion" = "eu-west-1" } }
"#;

const CASES: &str = r#"
profile = "profile.toml"
account = "123456789012"

[[case]]
name = "the data is read"
expect = "allow"
statement = "read"
request = { method = "GET", url = "https://data.s3.eu-west-1.amazonaws.com/2026/report.csv" }

[[case]]
name = "not from elsewhere"
expect = "deny"
statement = "elsewhere"
request = { method = "GET", url = "https://data.s3.us-east-1.amazonaws.com/2026/report.csv" }

[[case]]
name = "a table is not mentioned"
expect = "deny"
request = { method = "POST", url = "https://dynamodb.eu-west-1.amazonaws.com/", headers = { "x-amz-target" = "DynamoDB_20120810.GetItem", "content-type" = "application/x-amz-json-1.0" }, body = '{"TableName":"t","Key":{"id":{"S":"1"}}}' }

[[case]]
name = "by action"
expect = "allow"
action = ["s3:GetObject", "s3:ListBucket"]
resource = "arn:aws:s3:::data"
keys = { "aws:RequestedRegion" = "eu-west-1" }
"#;

fn guard(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(binary())
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("guard runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn cases_pass_and_fail_with_the_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).expect("written");
    };
    write("profile.toml", PROFILE);
    write("cases.toml", CASES);
    let output = guard(directory.path(), &["policy", "test", "cases.toml"]);
    assert_eq!(said(&output), "4 passed, 0 failed\n");
    assert!(output.status.success());

    write(
        "cases.toml",
        &CASES.replace("expect = \"deny\"", "expect = \"allow\""),
    );
    let output = guard(directory.path(), &["policy", "test", "cases.toml"]);
    assert_eq!(output.status.code(), Some(5));
    let said = said(&output);
    assert!(
        said.contains(
            "cases.toml: not from elsewhere: expected allow by elsewhere, but deny: s3:GetObject on \
             arn:aws:s3:::data/2026/report.csv is denied by statement elsewhere of profile profile"
        ),
        "{said}"
    );
    assert!(said.ends_with("2 passed, 2 failed\n"), "{said}");

    write("cases.toml", "[[case]]\nname = \"x\"\nexpected = \"allow\"");
    let output = guard(directory.path(), &["policy", "test", "cases.toml"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("cases.toml is no file of cases")
            && error.contains("unknown field `expected`"),
        "{error}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_explanation_names_each_statement_and_what_of_it_matches() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("profile.toml"), PROFILE).expect("written");
    let arguments = [
        "policy",
        "explain",
        "--profile",
        "profile.toml",
        "--key",
        "aws:RequestedRegion=eu-west-1",
        "s3:GetObject",
        "arn:aws:s3:::data/k",
    ];
    let output = guard(directory.path(), &arguments);
    assert!(output.status.success());
    let said = said(&output);
    for line in [
        "allow: allowed by statement read of profile profile",
        "s3:GetObject on arn:aws:s3:::data/k: allow by statement read",
        "  - deny    elsewhere, profile profile: action matches, resource matches",
        "      StringNotEquals aws:RequestedRegion [\"eu-west-1\"]: found \"eu-west-1\": does not match",
        "  + allow   read, profile profile: action matches, resource matches",
    ] {
        assert!(said.lines().any(|it| it == line), "{line} in\n{said}");
    }
}

#[test]
fn mistakes_are_found_with_their_place_and_a_suggestion() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).expect("written");
    };
    write("good.toml", PROFILE);
    write(
        "typo.toml",
        "[[statement]]\neffect = \"allow\"\naction = \"s3:GetObjct\"\n",
    );
    write(
        "broken.toml",
        "[[statement]]\neffect = \"alow\"\naction = \"s3:GetObject\"\n",
    );
    write(
        "policy.json",
        r#"{"Version": "2012-10-17", "Statement": {"Sid": "S", "Effect": "Allow",
            "Action": "s3:ListAllMyBuckets", "Resource": "arn:aws:s3:::data"}}"#,
    );
    let check = |file: &str| guard(directory.path(), &["policy", "check", &format!("./{file}")]);
    let output = check("good.toml");
    assert_eq!(said(&output), "./good.toml: ok\n");
    assert!(output.status.success());
    for (file, finding) in [
        (
            "typo.toml",
            "./typo.toml: line 3, column 10: statement #1: IAM has no action s3:GetObjct; did you mean s3:GetObject?\n",
        ),
        (
            "policy.json",
            "./policy.json: policy.json, line 2, column 23: statement policy.json:S: s3:ListAllMyBuckets takes no resource: only \"*\" matches it\n./policy.json: policy.json, line 2, column 58: statement policy.json:S: none of the actions takes a resource like arn:aws:s3:::data\n",
        ),
        (
            "broken.toml",
            "./broken.toml: profile \"broken\", line 2, column 10: unknown variant `alow`, expected one of `allow`, `deny`, `approve`; docs/policy.md lists what a profile may say\n",
        ),
    ] {
        let output = check(file);
        assert_eq!(
            (said(&output).as_str(), output.status.code()),
            (finding, Some(5))
        );
    }
    // guard's own profiles have none.
    for name in ["standard", "observe", "readonly"] {
        let output = guard(directory.path(), &["policy", "check", name]);
        assert_eq!(said(&output), format!("{name}: ok\n"));
    }
}

/// Asks bash's own function for what it would offer.
#[test]
fn bash_completes_the_names_of_actions() {
    let script = "source <(COMPLETE=bash \"$GUARD\"); COMP_TYPE=9; \
        complete_one() { COMP_WORDS=(guard policy explain \"$1\"); COMP_CWORD=3; \
        _clap_complete_guard guard \"$1\" explain; printf '%s\\n' \"${COMPREPLY[@]}\"; }; \
        complete_one dynamod; complete_one s3:GetObjectTo";
    let output = Command::new("bash")
        .args(["-c", script])
        .env("GUARD", binary())
        .output()
        .expect("bash runs");
    assert_eq!(said(&output), "dynamodb:\ns3:GetObjectTorrent\n");
}
