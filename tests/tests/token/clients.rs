//! botocore, the AWS CLI and the MSK signer make the same tokens at the same time with the same keys.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use guard_daemon::aws::token::{Asked, Minted};
use guard_tests::{fixture, python_program, skip};
use serde_json::json;

const NOW: u64 = 1_773_500_966;
const KEY: &str = "AKIAREALREALREALREAL";
const SECRET: &str = "a/secret+that leaves";

fn cases() -> Vec<serde_json::Value> {
    let (west, south) = ("eu-west-1", "cn-north-1");
    vec![
        json!({"for": "rds", "hostname": "db.abc.eu-west-1.rds.amazonaws.com", "port": 5432, "username": "app", "region": west}),
        json!({"for": "rds", "hostname": "db.abc.eu-west-1.rds.amazonaws.com", "port": 3306, "username": "a b+c/é@x~*", "region": west}),
        json!({"for": "rds", "hostname": "db.abc.eu-west-1.rds.amazonaws.com", "port": 443, "username": "app", "region": west}),
        json!({"for": "eks", "cluster": "prod-1_a", "region": west}),
        json!({"for": "eks", "cluster": "prod", "region": south}),
        json!({"for": "eks", "cluster": "prod", "region": "eusc-de-east-1"}),
        json!({"for": "eks", "cluster": "prod", "region": "us-gov-west-1"}),
        json!({"for": "eks", "cluster": "prod", "region": "us-iso-east-1"}),
        json!({"for": "eks", "cluster": "prod", "region": "us-isob-east-1"}),
        json!({"for": "eks", "cluster": "prod", "region": "eu-isoe-west-1"}),
        json!({"for": "eks", "cluster": "prod", "region": "us-isof-south-1"}),
        json!({"for": "codecommit", "host": "git-codecommit.eu-west-1.amazonaws.com", "path": "v1/repos/My.Repo"}),
        json!({"for": "codecommit", "host": "vpce-0a.git-codecommit-fips.us-east-1.vpce.amazonaws.com", "path": "v1/repos/r"}),
        json!({"for": "codecommit", "host": "git-codecommit.cn-north-1.amazonaws.com.cn", "path": "v1/repos/r"}),
        json!({"for": "msk", "region": west}),
        json!({"for": "elasticache", "cache": "sessions", "serverless": false, "username": "app-1", "region": west}),
        json!({"for": "elasticache", "cache": "sessions", "serverless": true, "username": "app", "region": west}),
        json!({"for": "memorydb", "cluster": "m", "username": "app", "region": west}),
        json!({"for": "dsql", "hostname": "abc.dsql.eu-west-1.on.aws", "admin": false, "region": west}),
        json!({"for": "dsql", "hostname": "abc.dsql.eu-west-1.on.aws", "admin": true, "region": west}),
    ]
}

/// What a server reads of a token: the order of a query's parameters is nobody's concern.
fn read(token: &str) -> (String, BTreeMap<String, String>) {
    let (mark, token) = match token.strip_prefix("k8s-aws-v1.") {
        Some(rest) => ("k8s", rest),
        None => ("", token),
    };
    let url = BASE64_URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let url = url.unwrap_or_else(|| token.to_owned());
    let Some((place, query)) = url.split_once('?') else {
        return (format!("{mark}{url}"), BTreeMap::new());
    };
    let pairs = query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    });
    let mut parameters: BTreeMap<_, _> = pairs.collect();
    // The MSK signer names itself, outside the signature.
    parameters.remove("User-Agent");
    (format!("{mark}{place}"), parameters)
}

fn theirs(cases: &[serde_json::Value], token: Option<&str>, now: u64) -> Vec<String> {
    let mut child = Command::new(python_program("python"))
        .arg(fixture("clients/tokens.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_DEFAULT_REGION", "eu-west-1")
        .spawn()
        .unwrap();
    let given = json!({
        "now": now,
        "access_key": KEY,
        "secret_key": SECRET,
        "session_token": token,
        "cases": cases,
    });
    write!(child.stdin.take().unwrap(), "{given}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(str::to_owned).collect()
}

#[test]
fn guards_tokens_are_those_of_awss_own_clients() {
    if !python_program("python").exists() {
        skip(
            "guards_tokens_are_those_of_awss_own_clients",
            "no Python environment; run `cargo xtask setup`",
        );
        return;
    }
    let cases = cases();
    for session_token in [None, Some("session/token+==")] {
        let session = session_token.map(str::to_owned);
        let credentials = Credentials::new(KEY, SECRET, session, None, "test");
        let theirs = theirs(&cases, session_token, NOW);
        assert_eq!(theirs.len(), cases.len());
        for (case, theirs) in cases.iter().zip(theirs) {
            let ours = shown(&minted(case, &credentials, None));
            assert_eq!(read(&ours), read(&theirs), "{case}");
        }
    }
}

/// As the clients' program prints it.
fn shown(minted: &Minted) -> String {
    match &minted.username {
        Some(name) => format!("{} {}", name.as_str(), minted.token.as_str()),
        None => minted.token.to_string(),
    }
}

fn minted(case: &serde_json::Value, credentials: &Credentials, left: Option<Duration>) -> Minted {
    let asked = Asked::parse(case.to_string().as_bytes()).unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    asked.mint(credentials, now, left).unwrap()
}

/// 14 March 2026, 15:09:26 and the 15 minutes less 30 seconds that the token has gone.
const BACKDATED: &str = "20260314T145456Z";

#[test]
fn a_token_outlasts_neither_its_session_nor_its_credentials() {
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let left = Duration::from_secs(30);
    let keys = |expiry| Credentials::new(KEY, SECRET, None, expiry, "test");
    let long = Some(Duration::from_hours(2));
    for (credentials, session) in [
        (keys(None), Some(left)),
        (keys(Some(now + left)), None),
        (keys(Some(now + left)), long),
    ] {
        for case in cases() {
            let minted = minted(&case, &credentials, session);
            assert_eq!(minted.expires, now + left, "{case}");
            let (_, parameters) = read(&minted.token);
            let parameter = |name| parameters.get(name).map(String::as_str);
            match case["for"].as_str() {
                Some("eks") => {
                    assert_eq!(parameter("X-Amz-Expires"), Some("60"), "{case}");
                    assert_eq!(parameter("X-Amz-Date"), Some(BACKDATED), "{case}");
                }
                Some("codecommit") => {
                    assert!(minted.token.starts_with(BACKDATED), "{case}");
                }
                _ => assert_eq!(parameter("X-Amz-Expires"), Some("30"), "{case}"),
            }
        }
    }
    let case = json!({"for": "eks", "cluster": "prod", "region": "eu-west-1"});
    let told = minted(&case, &keys(None), long).expires;
    assert_eq!(told, now + Duration::from_mins(14));
}

#[test]
fn a_backdated_token_is_that_of_awss_own_clients_at_that_time() {
    if !python_program("python").exists() {
        skip(
            "a_backdated_token_is_that_of_awss_own_clients_at_that_time",
            "no Python environment; run `cargo xtask setup`",
        );
        return;
    }
    let mut cases = cases();
    cases.retain(|case| matches!(case["for"].as_str(), Some("eks" | "codecommit")));
    let credentials = Credentials::new(KEY, SECRET, None, None, "test");
    let theirs = theirs(&cases, None, NOW - 870);
    for (case, theirs) in cases.iter().zip(theirs) {
        let left = Some(Duration::from_secs(30));
        let ours = shown(&minted(case, &credentials, left));
        assert_eq!(read(&ours), read(&theirs), "{case}");
    }
}
