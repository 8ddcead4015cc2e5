//! Sessions outlive the daemon: closed while there is none, picked up by the next one.

#[path = "attach/tree.rs"]
#[allow(dead_code, reason = "shared with the tests of attach")]
mod tree;

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use guard_tests::guard::{Conversation, Guard, succeeded};
use guard_tests::installation::eventually;
use guard_tests::is_root;
use guard_tests::stand::Stand;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use tree::{Place, Servant, attach, attached};

/// Makes the named bucket each time it is told to go on; says whether that worked.
const CLIENT: &str = "
import boto3, botocore.config, sys
once = botocore.config.Config(connect_timeout=20, read_timeout=60, retries={'total_max_attempts': 1})
def make(bucket):
    # A client of its own, so that no connection is left from before.
    try: boto3.session.Session().client('s3', config=once).create_bucket(Bucket=bucket); print('made')
    except Exception as e: print('failed', type(e).__name__)
for bucket in BUCKETS:
    make(bucket)
    sys.stdin.readline()
";

fn client(guard: &Guard, buckets: &[&str]) -> Conversation {
    let script = CLIENT.replace("BUCKETS", &format!("{buckets:?}"));
    Conversation::start(guard, Stand::shared(), &script)
}

/// A daemon as a service.
struct Daemon(Child);

impl Daemon {
    fn start(guard: &Guard) -> Self {
        Self::spawn(guard, guard.command(&["daemon"]))
    }

    fn spawn(guard: &Guard, mut command: Command) -> Self {
        let socket = guard.directory().join("run/guard.sock");
        let _ = std::fs::remove_file(&socket);
        let daemon = command
            .stdin(Stdio::null())
            .spawn()
            .expect("the daemon starts");
        eventually("the daemon listens", || socket.exists()).expect("a socket");
        Self(daemon)
    }

    fn end_by(mut self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).expect("a pid"));
        kill(pid, signal).expect("signalled");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn causes(guard: &Guard) -> Vec<String> {
    let ended = guard.entries("session_ended");
    ended
        .iter()
        .map(|entry| entry["cause"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_killed_daemons_session_is_closed_and_goes_on_with_the_next() {
    restarted_by(
        Signal::SIGKILL,
        "a_killed_daemons_session_is_closed_and_goes_on_with_the_next",
    );
}

#[test]
fn a_restart_of_the_service_ends_no_session() {
    restarted_by(Signal::SIGTERM, "a_restart_of_the_service_ends_no_session");
}

fn restarted_by(signal: Signal, test: &str) {
    if !is_root(test) {
        return;
    }
    let [before, between, after] =
        ["before", "between", "after"].map(|time| format!("{time}-{}", signal as i32));
    let guard = Guard::new("default = \"allow\"\n", "");
    let daemon = Daemon::start(&guard);
    let mut client = client(&guard, &[&before, &between, &after]);
    assert_eq!(client.hears(), "made");
    daemon.end_by(signal);
    client.says();
    let failed = client.hears();
    assert!(failed.starts_with("failed "), "{failed}");
    assert!(Stand::shared().requests(&between).is_empty());

    let daemon = Daemon::start(&guard);
    eventually("the session is resumed", || {
        guard.entries("session_resumed").len() == 1
    })
    .expect("on record");
    client.says();
    assert_eq!(client.hears(), "made");
    assert!(client.ends().success());
    eventually("the session has ended", || causes(&guard) == ["exited"]).expect("as its command");
    daemon.end_by(Signal::SIGINT);
    succeeded(
        &guard
            .command(&["journal", "verify"])
            .output()
            .expect("runs"),
    );
}

#[test]
fn a_launcher_starts_the_next_daemon_where_there_is_no_service() {
    if !is_root("a_launcher_starts_the_next_daemon_where_there_is_no_service") {
        return;
    }
    let guard = Guard::new("default = \"allow\"\n", "");
    let mut client = client(&guard, &["embedded-before", "embedded-after"]);
    assert_eq!(client.hears(), "made");
    kill(guard.daemon(), Signal::SIGKILL).expect("killed");
    eventually("the session is resumed", || {
        guard.entries("session_resumed").len() == 1
    })
    .expect("on record");
    client.says();
    assert_eq!(client.hears(), "made");
    assert!(client.ends().success());
    assert_eq!(causes(&guard), ["exited"]);
}

#[test]
fn a_command_that_ends_without_a_daemon_leaves_nothing_to_the_next() {
    if !is_root("a_command_that_ends_without_a_daemon_leaves_nothing_to_the_next") {
        return;
    }
    let guard = Guard::new("default = \"allow\"\n", "");
    let daemon = Daemon::start(&guard);
    let mut client = client(&guard, &["only-before"]);
    assert_eq!(client.hears(), "made");
    daemon.end_by(Signal::SIGKILL);
    client.says();
    assert!(client.ends().success());
    let daemon = Daemon::start(&guard);
    assert_eq!(causes(&guard), ["recovered"]);
    daemon.end_by(Signal::SIGINT);
}

#[test]
fn a_session_whose_aws_configuration_was_rewritten_is_not_picked_up() {
    let test = "a_session_whose_aws_configuration_was_rewritten_is_not_picked_up";
    not_picked_up_after(test, |config| {
        let evil = "[default]\ncredential_process = /bin/false\n";
        std::fs::write(config, evil).expect("written");
    });
}

#[test]
fn a_pipe_in_place_of_the_aws_configuration_does_not_stop_the_next_daemon() {
    let test = "a_pipe_in_place_of_the_aws_configuration_does_not_stop_the_next_daemon";
    not_picked_up_after(test, |config| {
        std::fs::remove_file(config).expect("removed");
        mkfifo(config, Mode::S_IRWXU).expect("a pipe");
    });
}

fn not_picked_up_after(test: &str, rewrite: impl Fn(&Path)) {
    if !is_root(test) {
        return;
    }
    let guard = Guard::new("default = \"allow\"\n", "");
    let config = guard.directory().join("config");
    std::fs::write(&config, "[default]\nregion = us-east-1\n").expect("written");
    let daemon = Daemon::start(&guard);
    let mut session = guard
        .run(Stand::shared())
        .args(["sh", "-c", "echo up; sleep 60"])
        .env("AWS_CONFIG_FILE", &config)
        .stdout(Stdio::piped())
        .spawn()
        .expect("guard runs");
    let mut up = [0; 3];
    let stdout = session.stdout.as_mut().expect("piped");
    stdout.read_exact(&mut up).expect("it runs");
    daemon.end_by(Signal::SIGKILL);
    rewrite(&config);
    let daemon = Daemon::start(&guard);
    assert_eq!(causes(&guard), ["recovered"]);
    let refused = guard.entries("refused");
    let config = config.display().to_string();
    assert!(
        refused
            .iter()
            .any(|entry| entry["code"] == "not-resumed"
                && entry["detail"].to_string().contains(&config)),
        "{refused:#?}"
    );
    let status = session.wait().expect("it ends");
    assert!(!status.success(), "its tree is killed: {status}");
    daemon.end_by(Signal::SIGINT);
}

#[test]
fn an_attached_tree_of_which_nothing_usable_is_saved_is_killed_and_not_freed() {
    if !is_root("an_attached_tree_of_which_nothing_usable_is_saved_is_killed_and_not_freed") {
        return;
    }
    for name in ["damaged", "removed"] {
        let guard = Guard::new("default = \"allow\"\n", "");
        let daemon = Daemon::start(&guard);
        let place = Place::new(name);
        let mut servant = Servant::start(place.path());
        let cgroup = place.path().display().to_string();
        let (session, _) = attached(&attach(&guard, &["--cgroup", &cgroup]));
        daemon.end_by(Signal::SIGKILL);
        let udp = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9))";
        assert!(servant.does(udp).starts_with("PermissionError"));
        let saved = guard.directory().join(format!("run/saved/{session}.json"));
        if name == "damaged" {
            std::fs::write(saved, "{}").expect("written");
        } else {
            std::fs::remove_file(saved).expect("removed");
        }
        let daemon = Daemon::start(&guard);
        assert!(servant.dies(), "{name}: it lives without its hooks");
        let refused = guard.entries("refused");
        assert!(
            refused.iter().any(|entry| entry["code"] == "not-resumed"),
            "{name}: {refused:#?}"
        );
        assert_eq!(causes(&guard), ["recovered"], "{name}");
        // What is started in that cgroup next is nobody's.
        let mut next = Servant::start(place.path());
        assert_eq!(next.does("1 + 1"), "2");
        daemon.end_by(Signal::SIGINT);
    }
}

#[test]
fn a_daemon_out_of_descriptors_lets_nothing_out_and_goes_on() {
    if !is_root("a_daemon_out_of_descriptors_lets_nothing_out_and_goes_on") {
        return;
    }
    let guard = Guard::new(
        "default = \"allow\"\n[network]\nallow = [\"allowed.example\"]\n",
        "",
    );
    let plain = guard.command(&["daemon"]);
    let mut few = Command::new("prlimit");
    few.arg("--nofile=128:128")
        .arg(plain.get_program())
        .args(plain.get_args());
    let daemon = Daemon::spawn(&guard, few);
    let script = "
import boto3, socket, time
held = []
for _ in range(200):
    s = socket.socket(); s.settimeout(1)
    try: s.connect(('allowed.example', 443)); held.append(s)
    except OSError: s.close()
# Longer than it takes the supervisor to look at the hooks.
time.sleep(3)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try: u.sendto(b'x', ('192.0.2.1', 9)); print('out')
except OSError as e: print(type(e).__name__)
for s in held: s.close()
for _ in range(30):
    try: boto3.client('s3').create_bucket(Bucket='after-exhaustion'); print('made'); break
    except Exception as e: time.sleep(1)
";
    let output = guard.python(Stand::shared(), script);
    assert_eq!(succeeded(&output), "PermissionError\nmade\n");
    assert_eq!(causes(&guard), ["exited"]);
    daemon.end_by(Signal::SIGINT);
}
