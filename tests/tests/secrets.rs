//! The real secret is in the memory of guard's daemon while a session uses it, and nowhere else.
#![allow(
    clippy::unwrap_used,
    reason = "a test's own helper functions fail the test, too"
)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use guard_tests::guard::{Guard, USER, succeeded};
use guard_tests::installation::eventually;
use guard_tests::stand::{REAL_SECRET, Stand};
use guard_tests::{is_root, python_program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const OPEN: &str = "default = \"allow\"\n";
const CONTAINER_TOKEN: &str = "container-token-that-only-guard-may-hold";

/// Calls AWS, says so, and waits.
const CLIENT: &str = "
import boto3, sys, os
print(os.getpid(), flush=True)
for number in range(3): boto3.client('s3').list_buckets()
print('called', flush=True)
sys.stdin.readline()
";

struct Daemon(Child);

impl Daemon {
    fn start(guard: &Guard, mut command: Command) -> Self {
        let socket = guard.directory().join("run/guard.sock");
        let log = File::create(guard.directory().join("log")).unwrap();
        let daemon = command.stdin(Stdio::null()).stderr(log).spawn().unwrap();
        eventually("the daemon listens", || socket.exists()).unwrap();
        Self(daemon)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A service, whose log is as telling as it gets.
fn service(guard: &Guard) -> Daemon {
    let mut command = guard.command(&["daemon"]);
    command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
    Daemon::start(guard, command)
}

/// A process and all that descend from it.
fn tree(root: u32) -> BTreeSet<u32> {
    let mut tree = BTreeSet::from([root]);
    loop {
        let before = tree.len();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
            let parent = parent.and_then(|parent| parent.trim().parse::<u32>().ok());
            if parent.is_some_and(|parent| tree.contains(&parent)) {
                tree.insert(pid);
            }
        }
        if tree.len() == before {
            return tree;
        }
    }
}

fn holds(bytes: &[u8], needle: &str) -> bool {
    let needle = needle.as_bytes();
    bytes
        .windows(needle.len())
        .any(|window| window[0] == needle[0] && window == needle)
}

/// Where a process shows `needle` to whoever lists processes.
fn shown(pids: &BTreeSet<u32>, needle: &str) -> Vec<String> {
    let files = |pid: &u32| ["cmdline", "environ"].map(|name| format!("/proc/{pid}/{name}"));
    let telling = |path: &String| holds(&fs::read(path).unwrap_or_default(), needle);
    pids.iter().flat_map(files).filter(telling).collect()
}

/// The writable mappings of a process that hold `needle`.
fn in_memory(pid: u32, needle: &str) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (range, rest) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let from = u64::from_str_radix(from, 16).unwrap();
        let to = u64::from_str_radix(to, 16).unwrap();
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        // A mapping of a device has no bytes.
        if memory.read_exact_at(&mut bytes, from).is_ok() && holds(&bytes, needle) {
            found.push(format!("{range} {}", rest.rsplit(' ').next().unwrap()));
        }
    }
    found
}

/// The files below a directory that hold `needle`.
fn on_disk(directory: &Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(on_disk(&path, needle));
        } else if kind.is_file() && holds(&fs::read(&path).unwrap_or_default(), needle) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// A session that has called AWS; it goes on until its input ends.
struct Session {
    launcher: Child,
    /// The command, as its pid namespace numbers it.
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Session {
    fn start(guard: &Guard) -> Self {
        let mut command = guard.run(Stand::shared());
        let mut launcher = command
            .arg(python_program("python"))
            .args(["-c", CLIENT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(launcher.stdout.take().unwrap()).lines();
        lines.next().unwrap().unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "called");
        Self { launcher, lines }
    }

    fn ends(mut self) {
        drop(self.launcher.stdin.take());
        assert!(self.launcher.wait().unwrap().success());
        drop(self.lines);
    }
}

#[test]
fn only_the_daemon_holds_the_secret_and_only_as_long_as_the_session_lasts() {
    let name = "only_the_daemon_holds_the_secret_and_only_as_long_as_the_session_lasts";
    if !is_root(name) {
        return;
    }
    let guard = Guard::new(OPEN, "");
    let daemon = service(&guard);
    // From the first moment on: a process that shows it only while it starts shows it all the same.
    let starting = AtomicBool::new(true);
    let session = std::thread::scope(|scope| {
        scope.spawn(|| {
            while starting.load(Ordering::Relaxed) {
                let seen = shown(&tree(daemon.0.id()), REAL_SECRET);
                assert_eq!(seen, Vec::<String>::new());
            }
        });
        let session = Session::start(&guard);
        starting.store(false, Ordering::Relaxed);
        session
    });
    let launched = tree(session.launcher.id());
    let all = launched.union(&tree(daemon.0.id())).copied().collect();
    assert!(launched.len() >= 3, "launcher, init, command: {launched:?}");
    assert_eq!(shown(&all, REAL_SECRET), Vec::<String>::new());
    for pid in launched {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        assert_eq!(
            in_memory(pid, REAL_SECRET),
            Vec::<String>::new(),
            "{pid} {comm}"
        );
    }
    // The search finds what is there.
    assert!(!in_memory(daemon.0.id(), REAL_SECRET).is_empty());
    assert_eq!(
        on_disk(&guard.directory().join("state"), REAL_SECRET),
        Vec::<String>::new()
    );
    let saved = on_disk(&guard.directory().join("run"), REAL_SECRET);
    assert!(
        saved.iter().all(|path| path.contains("/run/saved/")),
        "{saved:?}"
    );

    session.ends();
    eventually("the session is gone", || {
        on_disk(&guard.directory().join("run"), REAL_SECRET).is_empty()
    })
    .unwrap();
    eventually("the daemon forgets", || {
        in_memory(daemon.0.id(), REAL_SECRET).is_empty()
    })
    .unwrap();
    assert_eq!(
        shown(&tree(daemon.0.id()), REAL_SECRET),
        Vec::<String>::new()
    );
    let journal = succeeded(
        &guard
            .command(&["journal", "show", "-o", "jsonl"])
            .output()
            .unwrap(),
    );
    assert!(!journal.contains(REAL_SECRET));
    let log = fs::read(guard.directory().join("log")).unwrap();
    assert!(!log.is_empty() && !holds(&log, REAL_SECRET));
    daemon.signal(Signal::SIGINT);
}

#[test]
fn the_process_that_reads_the_users_configuration_is_told_in_private() {
    if !is_root("the_process_that_reads_the_users_configuration_is_told_in_private") {
        return;
    }
    let guard = Guard::new(OPEN, "");
    // What it would ask does not exist; how it was told to is what counts.
    let config = "[profile p]\nregion = us-east-1\nrole_arn = arn:aws:iam::123456789012:role/r\n\
                  credential_source = Environment\n";
    let file = guard.directory().join("config");
    fs::write(&file, config).unwrap();
    let daemon = service(&guard);
    let mut launcher = guard
        .command(&["run", "--aws-profile", "p", "--profile"])
        .arg(guard.directory().join("profile.toml"))
        .args(["--", "sh", "-c", "echo up; read line"])
        .env("AWS_ACCESS_KEY_ID", "AKIAREALREALREALREAL")
        .env("AWS_SECRET_ACCESS_KEY", REAL_SECRET)
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN)
        .env("AWS_CONFIG_FILE", &file)
        .env("SUDO_UID", USER.to_string())
        .env("SUDO_GID", USER.to_string())
        .env("SUDO_USER", "nobody")
        .current_dir(guard.directory())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(launcher.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "up\n");
    let mut all = tree(daemon.0.id());
    all.remove(&daemon.0.id());
    let resolvers: Vec<u32> = all.iter().copied().collect();
    assert_eq!(resolvers.len(), 1, "one process reads the configuration");
    all.extend(tree(launcher.id()));
    for secret in [REAL_SECRET, CONTAINER_TOKEN] {
        assert_eq!(shown(&all, secret), Vec::<String>::new(), "{secret}");
    }
    // It is the user's, but the user's other processes do not see into it.
    let uid = USER.to_string();
    for file in ["environ", "mem", "maps"] {
        let looked = Command::new("setpriv")
            .args([
                "--reuid",
                &uid,
                "--regid",
                &uid,
                "--clear-groups",
                "head",
                "-c",
                "1",
            ])
            .arg(format!("/proc/{}/{file}", resolvers[0]))
            .output()
            .unwrap();
        assert!(
            !looked.status.success() && looked.stdout.is_empty(),
            "{file}: {looked:?}"
        );
    }
    drop(launcher.stdin.take());
    launcher.wait().unwrap();
}

#[test]
fn no_process_of_guards_leaves_a_core() {
    if !is_root("no_process_of_guards_leaves_a_core") {
        return;
    }
    let guard = Guard::new(OPEN, "");
    let plain = guard.command(&["daemon"]);
    let mut unlimited = Command::new("sh");
    unlimited
        .args(["-c", "ulimit -c unlimited && exec \"$0\" \"$@\""])
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(guard.directory());
    let mut daemon = Daemon::start(&guard, unlimited);
    let session = Session::start(&guard);
    for pid in tree(session.launcher.id()) {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let cores = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap();
        let numbers: Vec<&str> = cores.split_whitespace().skip(4).collect();
        assert_eq!(numbers[..2], ["1", "1"], "{pid}: {cores}");
    }
    // Rust's own handler takes the first SIGSEGV, and none of SIGABRT.
    daemon.signal(Signal::SIGABRT);
    let status = daemon.0.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::SIGABRT as i32));
    assert!(!status.core_dumped());
    session.ends();
}
