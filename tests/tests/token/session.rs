//! `guard token` inside a session: what the policy allows, and nothing else.

use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use guard_tests::guard::{Guard, succeeded};
use guard_tests::installation::binary;
use guard_tests::is_root;
use guard_tests::stand::{REAL_ACCESS_KEY_ID, REAL_SECRET, Stand};

const PROFILE: &str = r#"
default = "deny"

[[statement]]
sid = "app-databases"
effect = "allow"
action = ["rds-db:connect"]
resource = ["*"]
condition = { StringEquals = { "guard:DatabaseUser" = "app_ro" }, StringLike = { "guard:Host" = "*.eu-west-1.rds.amazonaws.com" } }

[[statement]]
sid = "clusters"
effect = "allow"
action = ["eks:AccessKubernetesApi"]
resource = ["*"]
condition = { StringLike = { "guard:Cluster" = "dev-*" } }

[[statement]]
sid = "who"
effect = "allow"
action = ["sts:GetCallerIdentity"]
resource = ["*"]

[[statement]]
sid = "pull"
effect = "allow"
action = ["codecommit:GitPull"]
resource = ["*"]

[[statement]]
sid = "pull-and-push"
effect = "allow"
action = ["codecommit:GitPush"]
resource = ["arn:aws:codecommit:*:*:tool"]

[[statement]]
sid = "ask"
effect = "approve"
action = ["kafka-cluster:Connect"]
resource = ["*"]
"#;

fn token(guard: &Guard, arguments: &[&str]) -> Output {
    let guard_inside = guard.hand(&binary());
    guard
        .run(Stand::shared())
        .arg(guard_inside)
        .arg("token")
        .args(arguments)
        .output()
        .unwrap()
}

fn rds<'a>(user: &'a str, host: &'a str) -> [&'a str; 9] {
    [
        "rds",
        "--hostname",
        host,
        "--port",
        "5432",
        "--username",
        user,
        "--region",
        "eu-west-1",
    ]
}

const DATABASE: &str = "db.abc.eu-west-1.rds.amazonaws.com";

#[test]
fn a_token_is_made_where_the_policy_allows_it_and_is_on_record() {
    if !is_root("a_token_is_made_where_the_policy_allows_it_and_is_on_record") {
        return;
    }
    let guard = Guard::new(PROFILE, "");
    let made = succeeded(&token(&guard, &rds("app_ro", DATABASE)));
    assert!(
        made.starts_with(&format!("{DATABASE}:5432/?Action=connect&DBUser=app_ro&"))
            && made.contains(REAL_ACCESS_KEY_ID)
            && !made.contains(REAL_SECRET),
        "{made}"
    );
    let journal = std::fs::read_dir(guard.directory().join("state/journal")).unwrap();
    let signature = made.trim().rsplit('=').next().unwrap();
    for file in journal {
        let text = std::fs::read(file.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!text.contains(signature), "a token is in the journal");
    }
    let decided = guard.entries("exchange_decided");
    let [entry] = decided.as_slice() else {
        panic!("{decided:#?}");
    };
    assert_eq!(entry["decision"], "allow");
    assert_eq!(entry["operation"][0], "GenerateDbAuthToken");
    assert_eq!(entry["access"][0]["action"], "rds-db:connect");
    assert_eq!(entry["statement"], "app-databases");
    assert_eq!(entry["host"], format!("{DATABASE}:5432"));
    assert_eq!(entry["path"], "/connect/app_ro");
    assert_eq!(entry["signing_key"], REAL_ACCESS_KEY_ID);
    assert_eq!(guard.entries("exchange_completed").len(), 1);
}

#[test]
fn what_the_policy_does_not_allow_is_refused_with_its_reason() {
    if !is_root("what_the_policy_does_not_allow_is_refused_with_its_reason") {
        return;
    }
    let guard = Guard::new(PROFILE, "");
    let cases: [(&[&str], &str); 4] = [
        (&rds("admin", DATABASE), "rds-db:connect"),
        (
            &rds("app_ro", "db.abc.eu-central-1.rds.amazonaws.com"),
            "rds-db:connect",
        ),
        (
            &["eks", "--cluster-name", "prod", "--region", "eu-west-1"],
            "eks:AccessKubernetesApi",
        ),
        (
            &[
                "memorydb",
                "--cluster-name",
                "m",
                "--username",
                "u",
                "--region",
                "eu-west-1",
            ],
            "memorydb:Connect",
        ),
    ];
    for (arguments, reason) in cases {
        let refused = token(&guard, arguments);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(77), "{arguments:?}: {said}");
        assert!(refused.stdout.is_empty() && said.contains(reason), "{said}");
    }
    let decided = guard.entries("exchange_decided");
    assert_eq!(decided.len(), cases.len());
    assert!(decided.iter().all(|entry| entry["decision"] == "deny"));
}

#[test]
fn kubectl_and_git_get_what_they_read() {
    if !is_root("kubectl_and_git_get_what_they_read") {
        return;
    }
    let guard = Guard::new(PROFILE, "");
    let made = succeeded(&token(
        &guard,
        &["eks", "--cluster-name", "dev-1", "--region", "eu-west-1"],
    ));
    let credential: serde_json::Value = serde_json::from_str(&made).unwrap();
    assert_eq!(credential["kind"], "ExecCredential");
    assert_eq!(
        credential["apiVersion"],
        "client.authentication.k8s.io/v1beta1"
    );
    let text = credential["status"]["token"].as_str().unwrap();
    assert!(text.starts_with("k8s-aws-v1."), "{text}");
    let expires = credential["status"]["expirationTimestamp"]
        .as_str()
        .unwrap();
    assert!(expires.ends_with('Z') && expires.len() == 20, "{expires}");

    // git itself asks its helper, inside the session.
    let guard_inside = guard.hand(&binary());
    let filled = |repository: &str| {
        let script = format!(
            "printf 'protocol=https\\nhost=git-codecommit.eu-west-1.amazonaws.com\\npath=v1/repos/{repository}\\n\\n' | \
             GIT_TERMINAL_PROMPT=0 git -c credential.useHttpPath=true \
             -c credential.helper='!{} token codecommit' credential fill",
            guard_inside.display()
        );
        guard
            .run(Stand::shared())
            .args(["sh", "-c", &script])
            .output()
            .unwrap()
    };
    if Command::new("git")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        guard_tests::skip("kubectl_and_git_get_what_they_read", "git is not installed");
        return;
    }
    let made = succeeded(&filled("tool"));
    assert!(
        made.contains(&format!("username={REAL_ACCESS_KEY_ID}\n"))
            && made.contains("\npassword=20"),
        "{made}"
    );
    // A password cannot be for pulling alone.
    let refused = filled("other");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("codecommit:GitPush"),
        "{said}"
    );
}

#[test]
fn a_token_is_the_roles_where_its_dummies_ask() {
    if !is_root("a_token_is_the_roles_where_its_dummies_ask") {
        return;
    }
    let guard = Guard::new("default = \"allow\"\n", "");
    let guard_inside = guard.hand(&binary());
    let script = format!(
        r#"
import boto3, os, subprocess
role = boto3.client("sts").assume_role(RoleArn="arn:aws:iam::123456789012:role/app", RoleSessionName="app")["Credentials"]
keys = {{"AWS_ACCESS_KEY_ID": role["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": role["SecretAccessKey"],
        "AWS_SESSION_TOKEN": role["SessionToken"]}}
said = subprocess.run(["{}", "token", "msk", "--region", "eu-west-1", "-o", "json"], env={{**os.environ, **keys}},
                      capture_output=True, text=True, check=True).stdout
print(role["AccessKeyId"], said)
"#,
        guard_inside.display()
    );
    let said = succeeded(&guard.python(Stand::shared(), &script));
    let (dummy, object) = said.trim().split_once(' ').unwrap();
    let object: serde_json::Value = serde_json::from_str(object).unwrap();
    let url = BASE64_URL_SAFE_NO_PAD
        .decode(object["token"].as_str().unwrap())
        .unwrap();
    let url = String::from_utf8(url).unwrap();
    let decided = guard.entries("exchange_decided");
    let made = decided.last().unwrap();
    let real = made["signing_key"].as_str().unwrap();
    assert_ne!(real, REAL_ACCESS_KEY_ID);
    assert_eq!(made["presented_key"], dummy);
    assert!(
        url.contains(&format!("X-Amz-Credential={real}%2F"))
            && url.contains("X-Amz-Security-Token="),
        "{url}"
    );
}

#[test]
fn a_person_is_asked_and_told_what_for() {
    if !is_root("a_person_is_asked_and_told_what_for") {
        return;
    }
    let guard = Guard::new(PROFILE, "[approval]\nhold_seconds = 1\n");
    let late = token(&guard, &["msk", "--region", "eu-west-1"]);
    let said = String::from_utf8_lossy(&late.stderr).into_owned();
    assert_eq!(late.status.code(), Some(77), "{said}");
    assert!(said.contains("guard approval approve a-"), "{said}");
    let decided = guard.entries("exchange_decided");
    assert_eq!(decided[0]["host"], "kafka.eu-west-1.amazonaws.com");
    let id = said.split("approval approve ").nth(1).unwrap();
    let id = id.split('`').next().unwrap();
    let shown = guard.command(&["approval", "show", id]).output().unwrap();
    let shown = succeeded(&shown);
    assert!(shown.contains("kafka.eu-west-1.amazonaws.com"), "{shown}");
}

#[test]
fn no_other_request_gets_a_token_and_no_session_means_no_guard() {
    if !is_root("no_other_request_gets_a_token_and_no_session_means_no_guard") {
        return;
    }
    let guard = Guard::new(PROFILE, "");
    // Unsigned, and signed for another service at guard's host.
    let script = r#"
import json, os, urllib.request, ssl
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
body = json.dumps({"for": "rds", "hostname": "db.abc.eu-west-1.rds.amazonaws.com", "port": 5432, "username": "app_ro", "region": "eu-west-1"})
keys = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
url = "https://token.guard.internal/"
def ask(headers, url=url, body=body):
    request = urllib.request.Request(url, data=body.encode(), headers=headers)
    try: return urllib.request.urlopen(request, timeout=20).status
    except urllib.error.HTTPError as error: return error.code
def signed(service, signer=SigV4Auth, body=body):
    request = AWSRequest("POST", url, data=body)
    signer(keys, service, "eu-west-1").add_auth(request)
    return request
def header(service, body=body, sent=None):
    return ask(dict(signed(service, body=body).headers), body=sent or body)
print(ask({}), header("sts"), ask({}, signed("guard-token", SigV4QueryAuth).url),
      header("guard-token", sent=body.replace("app_ro", "admin")),
      header("guard-token", body=body + " " * 20000), header("guard-token"))
"#;
    let answers = succeeded(&guard.python(Stand::shared(), script));
    assert_eq!(answers.trim(), "403 403 403 403 413 200", "{answers}");

    let outside = Command::new(binary())
        .arg("token")
        .args(rds("app_ro", DATABASE))
        .env_clear()
        .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "x")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&outside.stderr).into_owned();
    assert_eq!(outside.status.code(), Some(69), "{said}");
    assert!(said.contains("inside a session"), "{said}");
}
