//! A session ends at its time, says so, and lets nothing out afterwards.

#![allow(
    clippy::unwrap_used,
    reason = "a test's own helper functions fail the test, too"
)]

#[path = "attach/tree.rs"]
#[allow(dead_code, reason = "shared with the tests of attach")]
mod tree;

use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use guard_tests::guard::{Guard, succeeded};
use guard_tests::installation::eventually;
use guard_tests::stand::Stand;
use guard_tests::{is_root, python_program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use tree::{Place, Servant, attach, attached};

const OPEN: &str = "default = \"allow\"\n";

/// Makes buckets until it is killed; tells what it hears of the end, and of SIGTERM.
const STUBBORN: &str = "
import boto3, botocore.config, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: print('told', flush=True))
once = botocore.config.Config(connect_timeout=20, read_timeout=20, retries={'total_max_attempts': 1})
s3 = boto3.client('s3', config=once)
said = set()
for number in range(10000):
    try: s3.create_bucket(Bucket=f'BUCKET-{number}'); text = 'made'
    except Exception as e: text = str(e)
    if text not in said: said.add(text); print(text, flush=True)
    time.sleep(0.2)
";

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn causes(guard: &Guard) -> Vec<String> {
    let ended = guard.entries("session_ended");
    let cause = |entry: &serde_json::Value| entry["cause"].as_str().unwrap_or_default().to_owned();
    ended.iter().map(cause).collect()
}

fn expired(guard: &Guard) -> usize {
    let findings = guard.entries("finding");
    let of_time = findings
        .iter()
        .filter(|entry| entry["code"] == "session-expired");
    of_time.count()
}

#[test]
fn a_tree_that_does_not_go_is_refused_everything_and_then_killed() {
    if !is_root("a_tree_that_does_not_go_is_refused_everything_and_then_killed") {
        return;
    }
    let guard = Guard::new(OPEN, "[limits]\nmax_session = \"4s\"\n");
    let began = Instant::now();
    let script = STUBBORN.replace("BUCKET", "stubborn");
    let output = guard.python(Stand::shared(), &script);
    let lasted = began.elapsed();
    let heard = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(124), "{}", said(&output));
    assert!(
        heard.contains("made") && heard.contains("told"),
        "{heard}\n{}",
        said(&output)
    );
    assert!(
        heard.contains("the guard session ended at its time (")
            && heard.contains("4s after its start"),
        "{heard}"
    );
    let notice = said(&output);
    assert!(
        notice.contains("is over; its processes have 10 s to end")
            && notice.contains("ended at its time ("),
        "{notice}"
    );
    assert!(
        lasted > Duration::from_secs(13) && lasted < Duration::from_secs(30),
        "{lasted:?}"
    );
    assert_eq!(causes(&guard), ["expired"]);
    assert_eq!(expired(&guard), 1);
    // Nothing was allowed after the end.
    let journal = guard.journal();
    let end = journal
        .iter()
        .position(|entry| entry["code"] == "session-expired")
        .unwrap();
    let later = &journal[end..];
    let decided: Vec<_> = later
        .iter()
        .filter(|entry| entry["type"] == "exchange_decided")
        .collect();
    assert!(!decided.is_empty() && decided.iter().all(|entry| entry["decision"] == "deny"));
}

#[test]
fn a_tree_that_goes_when_it_is_told_ends_at_its_time_too() {
    if !is_root("a_tree_that_goes_when_it_is_told_ends_at_its_time_too") {
        return;
    }
    let guard = Guard::new(&format!("max_session = \"2s\"\n{OPEN}"), "");
    let began = Instant::now();
    let output = guard
        .run(Stand::shared())
        .args(["sleep", "60"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(124), "{}", said(&output));
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(causes(&guard), ["expired"]);
}

#[test]
fn the_shortest_counts_and_more_than_is_allowed_is_refused() {
    if !is_root("the_shortest_counts_and_more_than_is_allowed_is_refused") {
        return;
    }
    let guard = Guard::new(
        &format!("max_session = \"2h\"\n{OPEN}"),
        "[limits]\nmax_session = \"1h\"\n",
    );
    let run = |duration: &str| {
        guard
            .command(&["run", "--duration", duration, "--profile"])
            .arg(guard.directory().join("profile.toml"))
            .args(["--", "sh", "-c", "sleep 1; exit 3"])
            .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "x")
            .env("AWS_REGION", "us-east-1")
            .current_dir(guard.directory())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let refused = run("61m");
    assert_eq!(refused.status.code(), Some(125), "{}", said(&refused));
    assert!(
        said(&refused).contains("is to last 1h1m, and may last 1h at the most"),
        "{}",
        said(&refused)
    );
    assert_eq!(run("an hour").status.code(), Some(2));
    // Its own end is its own code.
    let ended = run("1h");
    assert_eq!(ended.status.code(), Some(3), "{}", said(&ended));
    assert_eq!(causes(&guard), ["exited"]);
}

#[test]
fn an_attached_tree_stays_confined_after_its_time_until_it_is_let_go() {
    if !is_root("an_attached_tree_stays_confined_after_its_time_until_it_is_let_go") {
        return;
    }
    let guard = Guard::new(
        &format!("{OPEN}[network]\nallow = [\"allowed.example:80\"]\n"),
        "",
    );
    let place = Place::new("expires");
    let mut servant = Servant::start(place.path());
    let output = attach(
        &guard,
        &[
            "--duration",
            "3s",
            "--upstream-connect",
            &format!("allowed.example={}", Stand::shared().address()),
            "--cgroup",
            &place.path().display().to_string(),
        ],
    );
    let (session, _) = attached(&output);
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("\nends at "),
        "{output:?}"
    );
    let connect =
        "state.update(s=socket.create_connection(('allowed.example', 80), 3)) or 'connected'";
    assert_eq!(servant.does(connect), "'connected'");
    eventually("its time is over", || expired(&guard) == 1).unwrap();
    // What was open is closed, and nothing new opens.
    let open = servant.does("state['s'].settimeout(5) or state['s'].recv(10)");
    assert!(open == "b''" || open.starts_with("Connection"), "{open}");
    let http = "urllib.request.urlopen('http://allowed.example/', timeout=5).read()";
    let refused = servant.does(http);
    assert!(
        refused.starts_with("HTTPError")
            || refused.starts_with("Connection")
            || refused.starts_with("URLError"),
        "{refused}"
    );
    let entries = guard.entries("refused");
    assert!(
        entries.iter().any(|entry| entry["code"] == "session-ended"
            && entry["detail"].to_string().contains("ended at its time")),
        "{entries:#?}"
    );
    let status = guard.command(&["status"]).output().unwrap();
    let status = succeeded(&status);
    assert!(
        status.contains("ended at its time (")
            && status.contains(&format!("guard detach {session}")),
        "{status}"
    );
    let udp = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9))";
    assert!(servant.does(udp).starts_with("PermissionError"));
    succeeded(&guard.command(&["detach", &session]).output().unwrap());
    assert_eq!(causes(&guard), ["detached"]);
    assert!(!servant.does(udp).starts_with("PermissionError"));
}

struct Daemon(Child);

impl Daemon {
    fn start(guard: &Guard) -> Self {
        let socket = guard.directory().join("run/guard.sock");
        let _ = std::fs::remove_file(&socket);
        let mut command = guard.command(&["daemon"]);
        let daemon = command.stdin(Stdio::null()).spawn().unwrap();
        eventually("the daemon listens", || socket.exists()).unwrap();
        Self(daemon)
    }

    fn dies(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn the_next_daemon_knows_the_end() {
    if !is_root("the_next_daemon_knows_the_end") {
        return;
    }
    let guard = Guard::new(OPEN, "[limits]\nmax_session = \"6s\"\n");
    let daemon = Daemon::start(&guard);
    let began = Instant::now();
    let session = guard
        .run(Stand::shared())
        .arg(python_program("python"))
        .args(["-c", &STUBBORN.replace("BUCKET", "next")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("a call went through", || {
        !guard.entries("exchange_completed").is_empty()
    })
    .unwrap();
    daemon.dies();
    let daemon = Daemon::start(&guard);
    let output = session.wait_with_output().unwrap();
    let lasted = began.elapsed();
    assert_eq!(output.status.code(), Some(124), "{}", said(&output));
    assert!(
        lasted > Duration::from_secs(15) && lasted < Duration::from_secs(25),
        "{lasted:?}"
    );
    eventually("its end is on record", || causes(&guard) == ["expired"]).unwrap();
    kill(
        Pid::from_raw(i32::try_from(daemon.0.id()).unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    let mut daemon = daemon;
    daemon.0.wait().unwrap();
    succeeded(&guard.command(&["journal", "verify"]).output().unwrap());
}
