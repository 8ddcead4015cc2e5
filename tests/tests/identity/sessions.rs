//! What a session's identity decides, where it is recorded, and who can say what of it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use guard_tests::guard::succeeded;
use guard_tests::installation::eventually;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::provider::Provider;
use crate::{Host, OPEN};

const BY_IDENTITY: &str = r#"
default = "deny"

[[statement]]
sid = "team"
effect = "allow"
action = "sts:GetCallerIdentity"
[statement.condition.StringEquals]
"guard:HumanEmail" = "ada@acme.example"
"guard:Agent" = "claude"
"guard:Label/team" = "data"
[statement.condition.NumericGreaterThan]
"guard:Uid" = "0"

[[statement]]
sid = "not-for-people"
effect = "deny"
action = "*"
[statement.condition.Null]
"guard:Human" = "true"
"#;

const CALL: &str = "
import boto3, botocore
try: print(boto3.client('sts').get_caller_identity()['Account'])
except botocore.exceptions.ClientError as e: print(e.response['Error']['Message'])
";

#[test]
fn statements_decide_by_who_a_session_is_for() {
    let Some(mut provider) = Provider::start("statements_decide_by_who_a_session_is_for") else {
        return;
    };
    let host = Host::new(BY_IDENTITY, &provider, "");
    let ada = provider.mint("guard", "ada");
    let bob = provider.mint("guard", "bob");
    let agent = ["--agent", "claude", "--agent-version", "2.1"];
    let team = ["--label", "team=data"];
    let both = [&agent[..], &team].concat();
    let python = guard_tests::python_program("python");
    for (token, flags, part) in [
        (Some(&ada), &both[..], "123456789012"),
        (Some(&bob), &both, "no statement"),
        (Some(&ada), &agent, "no statement"),
        (Some(&ada), &team, "no statement"),
        (None, &both, "not-for-people"),
    ] {
        let output = host
            .run(token.map(String::as_str), flags)
            .arg(&python)
            .args(["-c", CALL])
            .output()
            .expect("guard runs");
        let said = succeeded(&output);
        assert!(said.contains(part), "{flags:?}: {said}");
    }
    let keys = &host.guard.entries("exchange_decided")[0]["keys"];
    let email = json!({"key": "guard:humanemail", "values": ["ada@acme.example"]});
    let known = keys.as_array().expect("a list");
    assert!(known.contains(&email), "{keys}");
}

#[test]
fn every_entry_of_a_session_says_whose_it_is_also_after_a_restart() {
    let test = "every_entry_of_a_session_says_whose_it_is_also_after_a_restart";
    let Some(mut provider) = Provider::start(test) else {
        return;
    };
    let mut host = Host::new(OPEN, &provider, "required = true\nrequire_agent = true");
    let token = provider.mint("guard", "ada");
    let flags = [
        "--agent",
        "claude",
        "--agent-instance",
        "i-7",
        "--label",
        "team=data",
        "--label",
        "ticket=OPS 12",
    ];
    let script = format!("{CALL}\nimport sys; sys.stdin.readline()\n{CALL}");
    let mut child = host
        .run(Some(&token), &flags)
        .arg(guard_tests::python_program("python"))
        .args(["-u", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("guard runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    lines.next().expect("a line").expect("text");
    shown_in_status(&host, provider.issuer());
    host.restart(Signal::SIGKILL);
    eventually("the session is resumed", || {
        host.guard.entries("session_resumed").len() == 1
    })
    .expect("on record");
    child
        .stdin
        .as_mut()
        .expect("piped")
        .write_all(b"go on\n")
        .expect("written");
    assert!(child.wait().expect("ends").success());
    eventually("it ends", || host.guard.entries("session_ended").len() == 1).expect("on record");

    let entries = host.guard.journal();
    let kinds: Vec<&str> = entries
        .iter()
        .filter_map(|it| it["type"].as_str())
        .collect();
    for kind in [
        "session_started",
        "dns_question",
        "exchange_decided",
        "exchange_completed",
        "own_call",
        "session_resumed",
        "session_ended",
    ] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    let who = json!({
        "uid": 65534, "user": "nobody",
        "human": {"issuer": provider.issuer(), "subject": "ada", "email": "ada@acme.example"},
        "agent": {"name": "claude", "version": null, "instance": "i-7"},
        "reason": "end-to-end test",
        "labels": {"team": "data", "ticket": "OPS 12"},
    });
    for entry in &entries {
        let own = entry["session"].is_null();
        let mut stated = entry.get("who").cloned();
        // As this host has it.
        if let Some(Value::Object(members)) = &mut stated {
            members.remove("loginuid");
        }
        assert_eq!(stated.as_ref(), (!own).then_some(&who), "{entry}");
    }
    succeeded(
        &host
            .guard
            .command(&["journal", "verify"])
            .output()
            .expect("runs"),
    );
    shown_in_the_journal(&host);
}

fn shown_in_status(host: &Host, issuer: &str) {
    let status = host.guard.command(&["status"]).output().expect("runs");
    let status = succeeded(&status);
    for line in [
        &format!("human: ada@acme.example (subject ada at {issuer})"),
        "agent: claude i-7",
        "reason: 'end-to-end test'",
        "labels: team=data 'ticket=OPS 12'",
    ] {
        assert!(status.contains(line), "{line}: {status}");
    }
}

fn shown_in_the_journal(host: &Host) {
    let shown = host.guard.command(&["journal", "show"]).output();
    let shown = succeeded(&shown.expect("runs"));
    let decided = shown
        .lines()
        .find(|line| line.contains("sts:GetCallerIdentity"))
        .expect("a decision");
    let whose = "  ada@acme.example, agent claude i-7  ";
    assert!(decided.contains(whose), "{decided}");
}

#[test]
fn an_attached_tree_has_an_identity_too() {
    let Some(mut provider) = Provider::start("an_attached_tree_has_an_identity_too") else {
        return;
    };
    let host = Host::new(OPEN, &provider, "required = true");
    let mut tree = Command::new("sleep").arg("60").spawn().expect("started");
    let pid = tree.id().to_string();
    let attach = |token: Option<String>| {
        let mut command = host
            .guard
            .command(&["attach", "--allow-root", "--pid", &pid]);
        command.args(["--agent", "runner"]);
        command.envs(token.map(|token| ("GUARD_IDENTITY_TOKEN", token)));
        command.output().expect("guard runs")
    };
    let refused = attach(None);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("--identity-token-file"), "{said}");
    let said = succeeded(&attach(Some(provider.mint("guard", "ada"))));
    let session = said.strip_prefix("session ").and_then(|it| it.get(..16));
    let session = session.expect("a session");
    let detached = host.guard.command(&["detach", session]).output();
    succeeded(&detached.expect("guard runs"));
    tree.kill().expect("killed");
    tree.wait().expect("ended");
    let entries = host.guard.journal();
    let own = entries.iter().filter(|entry| entry["session"] == session);
    let own: Vec<&Value> = own.collect();
    assert!(own.len() >= 2, "{own:?}");
    for entry in own {
        assert_eq!(entry["who"]["human"]["subject"], "ada", "{entry}");
        assert_eq!(entry["who"]["agent"]["name"], "runner");
    }
}

#[test]
fn what_the_host_requires_is_refused_without() {
    let Some(mut provider) = Provider::start("what_the_host_requires_is_refused_without") else {
        return;
    };
    let token = provider.mint("guard", "ada");
    let host = Host::new(OPEN, &provider, "required = true\nrequire_agent = true");
    for (token, flags, part) in [
        (
            None,
            &["--agent", "claude"][..],
            "need a person's or workload's token",
        ),
        (Some(token.as_str()), &[], "name their agent"),
    ] {
        let output = host
            .run(token, flags)
            .arg("true")
            .output()
            .expect("guard runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(part), "{said}");
    }
    assert!(host.guard.entries("session_started").is_empty());
    // What is out of bounds is a usage error, before anything is asked.
    for flags in [
        &["--label", "a b=c"][..],
        &["--label", "a"],
        &["--agent", "a\nb"],
        &["--agent-version", "1"],
        &["--reason", ""],
    ] {
        let output = host
            .run(Some(&token), flags)
            .arg("true")
            .output()
            .expect("guard runs");
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
}

#[test]
fn nobody_at_the_control_socket_says_who_they_are() {
    let Some(provider) = Provider::start("nobody_at_the_control_socket_says_who_they_are") else {
        return;
    };
    let host = Host::new(OPEN, &provider, "required = true");
    let ask = |request: &Value| -> Value {
        let socket = host.guard.directory().join("run/guard.sock");
        let mut stream = UnixStream::connect(socket).expect("connected");
        writeln!(stream, "{request}").expect("written");
        let mut line = String::new();
        BufReader::new(stream)
            .read_line(&mut line)
            .expect("a reply");
        serde_json::from_str(&line).expect("JSON")
    };
    let mut victim = Command::new("sleep").arg("60").spawn().expect("started");
    let attach = |starter: Value, more: Value| {
        let mut terms = json!({
            "gid": 0, "profile": null, "upstream": {}, "environment": {},
            "aws": {"profile": null, "region": null, "home": null, "config_file": null,
                    "credentials_file": null, "keys": null},
        });
        for (name, value) in more.as_object().expect("an object") {
            terms[name] = value.clone();
        }
        json!({
            "request": "attach_session", "target": {"process": victim.id()}, "allow_root": true,
            "starter": starter, "terms": terms,
        })
    };
    let human = json!({"issuer": provider.issuer(), "subject": "ada", "email": "ada@acme.example"});
    let identity = json!({
        "uid": 0, "user": "root", "loginuid": null, "host": "h", "reason": null, "command": [], "human": human,
    });
    for (request, code, part) in [
        (
            attach(json!({"uid": 0, "command": []}), json!({})),
            "identity",
            "token",
        ),
        (
            attach(json!({"uid": 0, "command": [], "human": human}), json!({})),
            "bad-request",
            "human",
        ),
        (
            attach(json!({"uid": 0, "command": [], "loginuid": 0}), json!({})),
            "bad-request",
            "loginuid",
        ),
        (
            attach(
                json!({"uid": 0, "command": []}),
                json!({"identity": identity}),
            ),
            "bad-request",
            "identity",
        ),
        (
            attach(
                json!({"uid": 0, "command": [], "labels": {"a\nb": "c"}, "token": "x"}),
                json!({}),
            ),
            "identity",
            "label",
        ),
    ] {
        let reply = ask(&request);
        assert_eq!(reply["code"], code, "{reply}");
        let said = reply["message"].as_str().expect("a message");
        assert!(said.contains(part), "{said}");
    }
    assert!(host.guard.entries("session_started").is_empty());
    victim.kill().expect("killed");
    victim.wait().expect("ended");
}
