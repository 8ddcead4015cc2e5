//! Clients that assume roles by themselves, and credentials that end.

use std::process::Command;

use guard_tests::fixture;
use guard_tests::guard::{Guard, succeeded};
use guard_tests::stand::Stand;

use super::session::{ALL, ASSUME, ROLES};

/// `first` with the session's own credentials, `second` with those of `first`.
const PROFILES: &str = "\
[profile first]
role_arn = arn:aws:iam::123456789012:role/first
role_session_name = one
credential_source = Environment

[profile second]
role_arn = arn:aws:iam::123456789012:role/second
role_session_name = two
source_profile = first
";

/// Runs a client under a profile that the tree wrote itself.
fn run(guard: &Guard, profile: &str, command: &mut Command) -> String {
    let config = guard.directory().join("agents-config");
    std::fs::write(&config, PROFILES).expect("written");
    // guard keeps AWS_CONFIG_FILE from the tree, which sets its own.
    let mut confined = guard.run(Stand::shared());
    confined
        .arg("env")
        // The CLI keeps the credentials of roles at home.
        .arg("HOME=/tmp")
        .arg(format!("AWS_CONFIG_FILE={}", config.display()))
        .arg(format!("AWS_PROFILE={profile}"))
        .arg(command.get_program())
        .args(command.get_args());
    succeeded(&confined.output().expect("guard runs"))
}

/// What the stand-in saw of an object: each request signed with credentials that it handed out for a role.
fn sent_as_a_role(guard: &Guard, key: &str) {
    let minted = guard.entries("credentials_minted");
    let sent = Stand::shared().requests(&format!("/{key}\""));
    assert!(!sent.is_empty(), "{key}");
    for request in sent {
        assert_eq!(request["signature"], "ok", "{request}");
        let of_role = |entry: &serde_json::Value| entry["real_key"] == request["access_key"];
        assert!(minted.iter().any(of_role), "{request}");
    }
}

#[test]
fn the_aws_cli_assumes_a_role_over_another() {
    let stand = Stand::shared();
    stand.prepare(ROLES);
    stand.prepare("client('s3').create_bucket(Bucket='clients')");
    let guard = Guard::new(ALL, "");
    let aws = || Command::new(guard_tests::python_program("aws"));
    let said = run(
        &guard,
        "second",
        aws().args(["--profile", "second", "sts", "get-caller-identity"]),
    );
    assert!(said.contains("assumed-role/second/two"), "{said}");
    let own = guard.directory().join("agents-config");
    let own = own.to_str().expect("UTF-8").to_owned();
    std::fs::write(&own, PROFILES).expect("written");
    let target = "s3://clients/by-cli";
    run(
        &guard,
        "first",
        aws().args(["--profile", "first", "s3", "cp", &own, target]),
    );
    sent_as_a_role(&guard, "by-cli");
}

#[test]
fn the_javascript_sdk_assumes_a_role() {
    let stand = Stand::shared();
    stand.prepare(ROLES);
    stand.prepare("client('s3').create_bucket(Bucket='clients')");
    let guard = Guard::new(ALL, "");
    let mut node = Command::new("node");
    node.arg(guard.hand(&fixture("clients/assume.mjs")))
        .arg(guard_tests::environment().join("node"));
    let said = run(&guard, "first", &mut node);
    assert!(said.contains("assumed-role/first/one"), "{said}");
    let minted = guard.entries("credentials_minted");
    let last = said.lines().last().expect("a line");
    let (key, lasts) = last.split_once(' ').expect("two words");
    assert!(
        minted.iter().any(|entry| entry["dummy_key"] == key),
        "{said}"
    );
    assert_eq!(lasts, "true");
    sent_as_a_role(&guard, "by-javascript");
}

#[test]
fn a_session_of_s3_express_is_made_and_used() {
    let stand = Stand::shared();
    let guard = Guard::new(ALL, "");
    let script = "\
import boto3\n\
s3 = boto3.client('s3')\n\
s3.put_object(Bucket='agents--use1-az4--x-s3', Key='express-one', Body=b'x')\n\
s3.put_object(Bucket='agents--use1-az4--x-s3', Key='express-two', Body=b'x')\n\
found = s3.create_session(Bucket='agents--use1-az4--x-s3')['Credentials']\n\
print(found)\n";
    let said = succeeded(&guard.python(stand, script));
    sent_as_a_role(&guard, "express-one");
    sent_as_a_role(&guard, "express-two");
    let minted = guard.entries("credentials_minted");
    assert_eq!(minted.len(), 2, "one for both objects: {minted:#?}");
    for secret in stand.minted_secrets() {
        assert!(!said.contains(&secret));
    }
}

#[test]
fn credentials_that_ended_are_refused_as_aws_would() {
    let stand = Stand::shared();
    stand.prepare(ROLES);
    // Whatever the profile does not enforce and does not mask.
    let guard = Guard::new(
        "mode = \"observe\"\ndefault = \"deny\"\n[mask]\nclasses = []\n",
        "",
    );
    let script = format!(
        "{ASSUME}\
         import time\n\
         short = boto3.client('sts', config=Config(parameter_validation=False))\n\
         found = short.assume_role(RoleArn='arn:aws:iam::123456789012:role/first', RoleSessionName='one', DurationSeconds=4)['Credentials']\n\
         session = boto3.Session(found['AccessKeyId'], found['SecretAccessKey'], found['SessionToken'])\n\
         print(session.client('sts').get_caller_identity()['Arn'], found['AccessKeyId'])\n\
         boto3.client('iam').create_user(UserName='lasting')\n\
         print('lasting', boto3.client('iam').create_access_key(UserName='lasting')['AccessKey']['SecretAccessKey'])\n\
         time.sleep(5)\n\
         for name in ('sts', 's3', 'dynamodb'):\n\
         \tclient = session.client(name)\n\
         \ttry:\n\
         \t\t{{'sts': lambda: client.get_caller_identity(), 's3': lambda: client.list_buckets(), 'dynamodb': lambda: client.list_tables()}}[name]()\n\
         \t\tprint(name, 'passed')\n\
         \texcept Exception as error:\n\
         \t\tprint(name, error.response['Error']['Code'], error.response['ResponseMetadata']['RetryAttempts'])\n"
    );
    let said = succeeded(&guard.python(stand, &script));
    let minted = guard.entries("credentials_minted");
    let key = minted[0]["dummy_key"].as_str().expect("a key");
    assert!(
        said.contains(&format!("assumed-role/first/one {key}\n")),
        "{said}"
    );
    for line in [
        "lasting masked-by-guard",
        "sts ExpiredToken 0",
        "s3 ExpiredToken 0",
        "dynamodb ExpiredTokenException 0",
    ] {
        assert!(said.contains(line), "{said}");
    }
}
