//! Tracking outlives the daemon, is taken over by the next one, and ends where it is released.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;

use aya::maps::{HashMap, Map, MapData};
use guard_common::tracking::{Label, TrackedSession};
use guard_daemon::kernel::tracker::{TrackedEvent, Tracker, TrackerError};

use crate::host::{Host, Running};

const SIGKILL: i32 = 9;
/// Waits, and leaves.
const LEAVE: &str =
    "print('up', flush=True); sys.stdin.read()\nopen(OUTSIDE, 'w').write('0'); print('left')";

fn leaving(host: &Host) -> Running {
    let mut running = host.python(LEAVE);
    assert_eq!(running.line(), "up");
    running
}

#[test]
fn a_process_that_leaves_dies_without_a_daemon_and_under_the_next_one() {
    let Some((host, tracker)) = Host::new("outlive") else {
        return;
    };
    let (mut first, mut second) = (leaving(&host), leaving(&host));
    drop(tracker);
    first.go_on();
    assert_eq!(first.end().signal(), Some(SIGKILL));

    let tracker = host.start();
    assert_eq!(
        fs::read_dir(host.pins()).unwrap().count(),
        1,
        "one generation"
    );
    // Even before the session is picked up again.
    second.go_on();
    assert_eq!(second.end().signal(), Some(SIGKILL));
    let mut third = leaving(&host);
    host.confine(&tracker, true);
    assert!(tracker.check().is_empty());
    assert!(tracker.process(third.pid()).is_some());
    third.go_on();
    assert_eq!(third.end().signal(), Some(SIGKILL));
}

#[test]
fn released_processes_may_leave() {
    let Some((host, tracker)) = Host::new("release") else {
        return;
    };
    let mut running = leaving(&host);
    tracker.release(&host.session);
    running.go_on();
    assert_eq!(running.line(), "left");
    assert!(running.end().success());
    tracker.release(&host.session);
    assert!(tracker.process(running.pid()).is_none());
}

#[test]
fn what_runs_already_is_confined_too() {
    let Some((host, tracker)) = Host::new("existing") else {
        return;
    };
    tracker.release(&host.session);
    let mut before = leaving(&host);
    host.confine(&tracker, true);
    let known = tracker.process(before.pid()).unwrap().process;
    assert!(known.exe.unwrap().contains("python"));
    assert!(
        known
            .parents
            .iter()
            .any(|parent| parent.pid == std::process::id())
    );
    before.go_on();
    assert_eq!(before.end().signal(), Some(SIGKILL));
}

#[test]
fn the_check_finds_what_was_tampered_with() {
    let Some((host, tracker)) = Host::new("check") else {
        return;
    };
    let mut running = leaving(&host);
    assert!(tracker.check().is_empty());
    let generation = fs::read_dir(host.pins())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::remove_file(generation.join("link_sched_process_exec")).unwrap();
    let faults = tracker.check();
    assert!(
        faults.iter().any(|fault| fault.session.is_none()),
        "{faults:?}"
    );
    // Pinned or not, it is attached while the daemon lives.
    running.go_on();
    assert_eq!(running.end().signal(), Some(SIGKILL));
}

/// Root with `bpf(2)` can do this where no security hook keeps it from it.
#[test]
fn the_check_mends_emptied_maps() {
    let Some((host, tracker)) = Host::new("emptied") else {
        return;
    };
    let mut running = leaving(&host);
    let generation = fs::read_dir(host.pins()).unwrap().next().unwrap().unwrap();
    let map = MapData::from_pin(generation.path().join("map_labels")).unwrap();
    let mut labels = HashMap::<_, u32, Label>::try_from(Map::HashMap(map)).unwrap();
    labels.remove(&running.pid()).unwrap();
    assert!(tracker.check().is_empty(), "it might have been on its way");
    std::thread::sleep(std::time::Duration::from_secs(1));
    let faults = tracker.check();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].session.as_ref(), Some(&host.session));

    let map = MapData::from_pin(generation.path().join("map_sessions")).unwrap();
    let mut sessions = HashMap::<_, u64, TrackedSession>::try_from(Map::HashMap(map)).unwrap();
    let cgroup = fs::metadata(&host.inside).unwrap().ino();
    sessions.remove(&cgroup).unwrap();
    assert_eq!(tracker.check().len(), 1);
    assert!(tracker.check().is_empty());
    running.go_on();
    assert_eq!(running.end().signal(), Some(SIGKILL));
}

/// Threads that end, also the first one, do not end the process.
#[test]
fn a_process_is_labelled_until_its_last_thread_ends() {
    let Some((host, _tracker)) = Host::new("threads") else {
        return;
    };
    let mut running = host.python(
        "import threading\n\
         def later():\n    \
             print('up', flush=True); sys.stdin.read()\n    \
             open(OUTSIDE, 'w').write('0'); time.sleep(60)\n\
         threading.Thread(target=lambda: None).start()\n\
         threading.Thread(target=later).start()\n\
         ctypes.CDLL(None).pthread_exit(None)",
    );
    assert_eq!(running.line(), "up");
    std::thread::sleep(std::time::Duration::from_millis(100));
    running.go_on();
    assert_eq!(running.end().signal(), Some(SIGKILL));
}

/// A thread that executes a program takes the first one's number.
#[test]
fn a_thread_that_executes_a_program_stays_in_the_session() {
    let Some((host, tracker)) = Host::new("thread-exec") else {
        return;
    };
    let mut running = host.python(&format!(
        "import threading\n\
         leave = \"import sys, time; print('up', flush=True); sys.stdin.read(); open('\" + OUTSIDE + \"', 'w').write('0'); time.sleep(60)\"\n\
         run = lambda: os.execv('/usr/bin/python3', ['python3', '-c', leave])\n\
         threading.Thread(target=run).start(){}",
        "; time.sleep(60)"
    ));
    assert_eq!(running.line(), "up");
    let known = tracker.process(running.pid()).unwrap().process;
    assert_eq!(known.argv.unwrap()[0], "python3");
    assert!(tracker.check().is_empty());
    assert!(running.stays());
    running.go_on();
    assert_eq!(running.end().signal(), Some(SIGKILL));
}

/// Looks that come between a fork and its label are not taken for tampering.
#[test]
fn a_busy_tree_has_no_faults() {
    let Some((host, tracker)) = Host::new("busy") else {
        return;
    };
    let script = "for i in $(seq 300); do /usr/bin/true & done; wait; echo done";
    let mut shell = host.run(&["/bin/bash", "-c", script]);
    while shell.0.try_wait().unwrap().is_none() {
        let faults = tracker.check();
        assert!(faults.is_empty(), "{faults:?}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(shell.line(), "done");
}

#[test]
fn what_cannot_be_tracked_is_not() {
    let Some((host, tracker)) = Host::new("cannot") else {
        return;
    };
    let root = host.inside.parent().unwrap();
    for place in [root, std::path::Path::new("/")] {
        let directory = fs::File::open(place).unwrap();
        let confined = tracker.confine(&host.session, std::os::fd::AsFd::as_fd(&directory), false);
        assert!(
            matches!(confined, Err(TrackerError::Cgroup { .. })),
            "{confined:?}"
        );
    }
    let elsewhere =
        std::env::temp_dir().join(format!("guard-test-{}-no-bpffs", std::process::id()));
    let started = Tracker::start(&elsewhere);
    assert!(matches!(started, Err(TrackerError::Pins { .. })));
    let _ = fs::remove_dir(&elsewhere);
    // A session's events are its own.
    let mut quiet = std::process::Command::new("/usr/bin/true").spawn().unwrap();
    quiet.wait().unwrap();
    let mut running = host.run(&["/usr/bin/true"]);
    assert!(running.end().success());
    let pid = host.event(&tracker, |event| match event {
        TrackedEvent::Executed { process, .. } => Some(process.pid),
        _ => None,
    });
    assert_eq!(pid, running.pid());
}
