//! The pid, IPC and cgroup namespaces, and that a session ends as a whole.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use guard_tests::installation::eventually;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{World, for_all};

/// Says how many processes there are, without one more of its own.
const COUNT: &str = "set -- /proc/[0-9]*; echo $#";

#[test]
fn only_the_sessions_processes_are_seen() {
    for_all("name = \"p\"", |world| {
        let seen = world.says(&format!("{COUNT}; echo $$ $PPID"));
        // The first process and the shell.
        assert_eq!(seen, "2\n2 0");
        let outside = std::process::id();
        assert_eq!(world.says(&format!("kill -0 {outside} || echo no")), "no");
    });
}

#[test]
fn the_first_process_cannot_be_looked_into_nor_ended() {
    for_all("name = \"p\"", |world| {
        let script = "for f in environ mem maps fd/0 fd/1 root cwd exe ns/mnt; do \
             head -c 1 /proc/1/$f 2>/dev/null; ls /proc/1/$f/ 2>/dev/null; readlink /proc/1/$f; done; \
             for s in TERM KILL STOP INT SEGV; do kill -$s 1 2>/dev/null; done; sleep 0.1; echo alive; \
             grep -E '^(Uid|Seccomp|CapEff|CapPrm|NoNewPrivs):' /proc/1/status | tr '\\t' ' ' | cut -d' ' -f1,2";
        let expected = format!(
            "alive\nUid: {}\nCapPrm: {caps}\nCapEff: {caps}\nNoNewPrivs: 1\nSeccomp: 2",
            world.user,
            caps = if world.user == 0 {
                "00000000800005fb"
            } else {
                "0000000000000000"
            },
        );
        assert_eq!(world.says(script), expected);
    });
}

#[test]
fn the_session_is_the_root_of_its_cgroups() {
    for_all("name = \"p\"", |world| {
        assert_eq!(world.says("grep ^0:: /proc/self/cgroup"), "0::/");
        assert_eq!(world.says("ls -A /sys/fs/cgroup | wc -l"), "0");
    });
}

#[test]
fn orphans_are_reaped() {
    let world = World::new(65534, "name = \"p\"");
    let script = "for i in 1 2 3; do sh -c 'sleep 0.1 &'; done; sleep 0.5; \
        grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l";
    assert_eq!(world.says(&format!("{script}; {COUNT}")), "0\n2");
}

#[test]
fn ipc_objects_of_the_host_are_not_seen() {
    // SAFETY is not at stake: ipcmk makes a segment, ipcrm takes it away.
    let made = std::process::Command::new("ipcmk")
        .args(["-M", "16"])
        .output()
        .unwrap();
    let id = String::from_utf8(made.stdout).unwrap();
    let id = id.trim().rsplit(' ').next().unwrap().to_owned();
    let world = World::new(0, "name = \"p\"");
    let seen = world.says("cat /proc/sysvipc/shm | wc -l");
    std::process::Command::new("ipcrm")
        .args(["-m", &id])
        .status()
        .unwrap();
    assert_eq!(seen, "1", "only the heading");
}

/// Starts a session with processes that try to outlive it; gives their numbers outside.
fn with_daemons(world: &World) -> (std::process::Child, Vec<Pid>) {
    let mark = format!("31{}", std::process::id());
    let script = format!(
        "setsid sleep {mark} >/dev/null 2>&1 & (setsid setsid sleep {mark} &) ; echo up; exec sleep {mark}"
    );
    let mut child = world
        .run(&["sh", "-c", &script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let find = || {
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| {
            let command = fs::read_to_string(entry.path().join("cmdline")).ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            (command == format!("sleep\0{mark}\0")).then(|| Pid::from_raw(number))
        })
        .collect::<Vec<_>>()
    };
    let mut found = Vec::new();
    eventually("three sleep", || {
        found = find();
        found.len() == 3
    })
    .unwrap();
    (child, found)
}

#[test]
fn everything_ends_with_the_command() {
    let world = World::new(65534, "name = \"p\"");
    let (mut launcher, processes) = with_daemons(&world);
    kill(Pid::from_raw(launcher.id().cast_signed()), Signal::SIGTERM).unwrap();
    launcher.wait().unwrap();
    for process in processes {
        assert!(kill(process, None).is_err(), "{process} is still there");
    }
}

#[test]
fn everything_ends_with_the_launcher_also_without_a_daemon() {
    let world = World::new(65534, "name = \"p\"");
    let (mut launcher, processes) = with_daemons(&world);
    let daemon = world.stand.daemon().unwrap();
    kill(daemon, Signal::SIGSTOP).unwrap();
    launcher.kill().unwrap();
    launcher.wait().unwrap();
    let ended = eventually("all end", || {
        processes.iter().all(|&p| kill(p, None).is_err())
    });
    kill(daemon, Signal::SIGCONT).unwrap();
    ended.unwrap();
    std::thread::sleep(Duration::from_millis(1));
    world.stand.wait_until_clean().unwrap();
}
