//! The daemon as a service: several sessions at once, with the capabilities of its unit.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use guard_tests::guard::{Guard, succeeded};
use guard_tests::installation::PATIENCE;
use guard_tests::stand::Stand;
use guard_tests::{is_root, workspace};

use crate::OPEN;

#[test]
fn a_daemon_serves_several_sessions_at_once() {
    if !is_root("a_daemon_serves_several_sessions_at_once") {
        return;
    }
    let stand = Stand::shared();
    let guard = Guard::new(OPEN, "");
    let mut daemon = guard
        .command(&["daemon"])
        .spawn()
        .expect("the daemon starts");
    until_it_listens(&guard);
    let script = "import boto3, os, time\n\
        for _ in range(3): boto3.client('sts').get_caller_identity(); time.sleep(0.2)\n\
        print(os.environ['GUARD_SESSION'], os.environ['AWS_ACCESS_KEY_ID'])";
    let outputs: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| succeeded(&guard.python(stand, script))))
            .collect();
        runs.into_iter()
            .map(|run| run.join().expect("ran"))
            .collect()
    });
    let distinct: std::collections::BTreeSet<&String> = outputs.iter().collect();
    assert_eq!(
        distinct.len(),
        3,
        "each session has its own name and key: {outputs:?}"
    );
    terminate(&mut daemon);
    assert_eq!(guard.entries("session_started").len(), 3);
    assert_eq!(guard.entries("session_ended").len(), 3);
    succeeded(
        &guard
            .command(&["journal", "verify"])
            .output()
            .expect("runs"),
    );
}

#[test]
fn the_daemon_works_with_the_capabilities_of_its_unit() {
    if !is_root("the_daemon_works_with_the_capabilities_of_its_unit") {
        return;
    }
    let guard = Guard::new(OPEN, "");
    let plain = guard.command(&["daemon"]);
    let mut daemon = Command::new("setpriv")
        .args([
            "--no-new-privs",
            "--bounding-set",
            &capabilities_of_the_unit(),
        ])
        .arg(plain.get_program())
        .args(plain.get_args())
        .stdin(Stdio::null())
        .spawn()
        .expect("setpriv starts the daemon");
    until_it_listens(&guard);
    let output = guard.aws(Stand::shared(), &["s3", "ls"]);
    succeeded(&output);
    terminate(&mut daemon);
}

/// The capabilities of the systemd unit, in `setpriv`'s words.
fn capabilities_of_the_unit() -> String {
    let unit = workspace().join("guard-daemon/packaging/systemd/guard.service");
    let unit = std::fs::read_to_string(unit).expect("the unit");
    let set = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="))
        .expect("the unit bounds its capabilities");
    set.split(' ').fold("-all".to_owned(), |all, name| {
        let name = name.strip_prefix("CAP_").expect("a capability");
        format!("{all},+{}", name.to_lowercase())
    })
}

fn until_it_listens(guard: &Guard) {
    let end = Instant::now() + PATIENCE;
    while !guard.directory().join("run/guard.sock").exists() {
        assert!(Instant::now() < end, "the daemon made no socket");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn terminate(daemon: &mut std::process::Child) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(daemon.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("signalled");
    assert!(daemon.wait().expect("ends").success());
}
