//! Calls that wait for a person: approved once, timed out, denied, never by the confined tree itself.

use std::process::Stdio;
use std::time::{Duration, Instant};

use guard_tests::guard::{Guard, succeeded};
use guard_tests::installation::{PATIENCE, binary};
use guard_tests::stand::Stand;
use guard_tests::{is_root, python_program};
use serde_json::Value;

use crate::{REVIEWED, text};

/// Waits for the one open approval of a guard.
fn waiting_approval(guard: &Guard) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let output = guard
            .command(&["approval", "list", "-o", "json"])
            .output()
            .expect("runs");
        if output.status.success() {
            let list: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            let approvals = list["approvals"].as_array();
            let open = approvals
                .into_iter()
                .flatten()
                .find(|a| a["state"] == "waiting");
            if let Some(approval) = open {
                return approval.clone();
            }
        }
        assert!(
            Instant::now() < end,
            "no approval appeared: {}",
            text(&output.stderr)
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_held_call_waits_is_approved_and_runs_exactly_once() {
    if !is_root("a_held_call_waits_is_approved_and_runs_exactly_once") {
        return;
    }
    let stand = Stand::shared();
    stand.prepare(
        "s3 = client('s3'); s3.create_bucket(Bucket='approved')\n\
         s3.put_object(Bucket='approved', Key='old', Body=b'1')",
    );
    let guard = Guard::new(REVIEWED, "");
    let call = guard
        .run(stand)
        .arg(python_program("aws"))
        .args([
            "s3api",
            "delete-object",
            "--bucket",
            "approved",
            "--key",
            "old",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("guard runs");
    let approval = waiting_approval(&guard);
    let deletions = || {
        stand
            .requests("approved")
            .iter()
            .filter(|r| r["method"] == "DELETE")
            .count()
    };
    assert_eq!(deletions(), 0, "nothing leaves before the decision");
    let id = approval["id"].as_str().expect("an id");
    let shown = succeeded(
        &guard
            .command(&["approval", "show", id])
            .output()
            .expect("runs"),
    );
    assert!(
        shown.contains("s3:DeleteObject") && shown.contains("arn:aws:s3:::approved/old"),
        "{shown}"
    );
    let approved = guard
        .command(&["approval", "approve", id, "--reason", "cleaning up"])
        .output()
        .expect("runs");
    succeeded(&approved);
    let output = call.wait_with_output().expect("ends");
    succeeded(&output);
    assert_eq!(deletions(), 1);
    let states: Vec<String> = guard
        .entries("approval")
        .iter()
        .map(|e| e["state"].to_string())
        .collect();
    assert_eq!(states, ["\"requested\"", "\"approved\"", "\"used\""]);
    let decided = guard.entries("exchange_decided");
    assert_eq!(
        decided.last().map(|e| e["approval"].clone()),
        Some(Value::from(id))
    );
}

#[test]
fn nobody_decides_then_the_error_names_the_approval_and_a_later_retry_runs_once() {
    if !is_root("nobody_decides_then_the_error_names_the_approval_and_a_later_retry_runs_once") {
        return;
    }
    let stand = Stand::shared();
    stand.prepare("client('sqs').create_queue(QueueName='to-delete')");
    let guard = Guard::new(REVIEWED, "[approval]\nhold_seconds = 1\n");
    let session = guard.directory().join("script.py");
    std::fs::write(
        &session,
        r"
import boto3, sys, time
q = boto3.client('sqs'); url = 'https://sqs.us-east-1.amazonaws.com/123456789012/to-delete'
try: q.delete_queue(QueueUrl=url)
except Exception as e: print(e.response['Error']['Code'], e.response['ResponseMetadata']['RetryAttempts'], e.response['Error']['Message'], flush=True)
sys.stdin.readline()
q.delete_queue(QueueUrl=url); print('deleted', flush=True)
try: q.delete_queue(QueueUrl=url); print('again', flush=True)
except Exception as e: print('asks again', flush=True)
",
    )
    .expect("script");
    let mut call = guard
        .run(stand)
        .arg(python_program("python"))
        .arg(&session)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("guard runs");
    let mut lines =
        std::io::BufRead::lines(std::io::BufReader::new(call.stdout.take().expect("piped")));
    let mut next = || lines.next().expect("a line").expect("text");
    let first = next();
    assert!(first.starts_with("AccessDenied 0 "), "{first}");
    let approval = waiting_approval(&guard);
    let id = approval["id"].as_str().expect("an id");
    assert!(
        first.contains(&format!("guard approval approve {id}")),
        "{first}"
    );
    succeeded(
        &guard
            .command(&["approval", "approve", id])
            .output()
            .expect("runs"),
    );
    std::io::Write::write_all(&mut call.stdin.take().expect("piped"), b"go\n").expect("written");
    assert_eq!(next(), "deleted");
    assert_eq!(next(), "asks again");
    assert!(call.wait().expect("ends").success());
    let sent = stand.requests("DeleteQueue");
    assert_eq!(sent.len(), 1, "{sent:#?}");
}

#[test]
fn a_denied_approval_and_a_client_that_leaves_send_nothing() {
    if !is_root("a_denied_approval_and_a_client_that_leaves_send_nothing") {
        return;
    }
    let stand = Stand::shared();
    let guard = Guard::new(REVIEWED, "");
    let call = |key: &str, timeout: &str| {
        guard
            .run(stand)
            .arg(python_program("aws"))
            .args(["--cli-read-timeout", timeout, "s3api", "delete-object"])
            .args(["--bucket", "never-sent", "--key", key])
            .env("AWS_MAX_ATTEMPTS", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("guard runs")
    };
    let denied = call("denied", "60");
    let approval = waiting_approval(&guard);
    let id = approval["id"].as_str().expect("an id");
    succeeded(
        &guard
            .command(&["approval", "deny", id, "--reason", "not this one"])
            .output()
            .expect("runs"),
    );
    let output = denied.wait_with_output().expect("ends");
    let error = text(&output.stderr);
    assert!(
        error.contains("AccessDenied") && error.contains("not this one"),
        "{error}"
    );

    let gone = call("gone", "2").wait_with_output().expect("ends");
    assert!(!gone.status.success());
    assert!(stand.requests("never-sent").is_empty());
}

#[test]
fn a_confined_process_cannot_approve_its_own_call() {
    if !is_root("a_confined_process_cannot_approve_its_own_call") {
        return;
    }
    let guard = Guard::new(REVIEWED, "");
    let mut command = guard.run(Stand::shared());
    // Even as root: the uid of the invoking user is root when nothing says otherwise.
    command
        .env_remove("SUDO_UID")
        .env_remove("SUDO_GID")
        .env_remove("SUDO_USER");
    let output = command
        .arg(binary())
        .arg("--runtime-dir")
        .arg(guard.directory().join("run"))
        .args(["approval", "list"])
        .output()
        .expect("guard runs");
    assert!(!output.status.success());
    let error = text(&output.stderr);
    // In its mount namespace there is no such socket; a confined process that finds it is refused by `peer`.
    assert!(error.contains("no guard daemon runs on"), "{error}");
}
