//! A tree that runs already: a python3 in a cgroup of its own, in the host's network, that does what it is told.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use guard_tests::guard::{Guard, USER};
use guard_tests::installation::{eventually, hierarchy};
use guard_tests::stand::{REAL_ACCESS_KEY_ID, REAL_SECRET, Stand};
use nix::sys::signal::{Signal, kill};

/// Evaluates each line of its input and prints what comes out, an exception's name and text where one does.
const SERVANT: &str = "
import os, socket, subprocess, sys, threading, urllib.request
state = {}
print('up', os.getpid())
for line in sys.stdin:
    try: print(repr(eval(line, globals(), state)))
    except BaseException as e: print(type(e).__name__, e)
";

/// A cgroup, killed and removed at the end.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("guard-test-attach-{}-{name}", std::process::id());
        let path = hierarchy().expect("cgroup v2").join(name);
        fs::create_dir(&path).expect("a cgroup");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Moves a process into it, as another process does.
    pub(crate) fn admit(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("moved");
    }

    /// Removes it, once it is empty.
    pub(crate) fn remove(&self) {
        eventually("the cgroup is removed", || fs::remove_dir(&self.0).is_ok()).expect("removed");
    }

    /// Makes it again.
    pub(crate) fn make(&self) {
        fs::create_dir(&self.0).expect("a cgroup");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        let _ = eventually("the cgroup is removed", || {
            fs::remove_dir(&self.0).is_ok() || !self.0.exists()
        });
    }
}

/// A python3 that waits for expressions.
pub(crate) struct Servant {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) pid: u32,
}

impl Servant {
    /// As the ordinary user, in the cgroup.
    pub(crate) fn start(place: &Path) -> Self {
        Self::start_as(place, USER)
    }

    pub(crate) fn start_as(place: &Path, uid: u32) -> Self {
        let enter = "echo $$ > \"$0/cgroup.procs\" && shift 0 && exec \"$@\"";
        let id = uid.to_string();
        let mut command = Command::new("sh");
        command.args(["-c", enter]).arg(place);
        if uid != 0 {
            let groups = ["--reuid", &id, "--regid", &id, "--clear-groups"];
            command.arg("setpriv").args(groups);
        }
        let mut child = command
            .args(["/usr/bin/python3", "-u", "-c", SERVANT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("python3 starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let up = lines.next().expect("a line").expect("text");
        let pid = up.strip_prefix("up ").expect("it is up").parse();
        Self {
            child,
            lines,
            pid: pid.expect("a pid"),
        }
    }

    /// What an expression gives.
    pub(crate) fn does(&mut self, expression: &str) -> String {
        assert!(!expression.contains('\n'));
        let input = self.child.stdin.as_mut().expect("piped");
        writeln!(input, "{expression}").expect("written");
        let answer = self.lines.next().map(|answer| answer.expect("text"));
        let child = &mut self.child;
        answer.unwrap_or_else(|| format!("no answer: {}", child.wait().expect("it ended")))
    }

    /// Whether it is dead, soon.
    pub(crate) fn dies(&mut self) -> bool {
        eventually("it dies", || {
            self.child.try_wait().expect("waits").is_some()
        })
        .is_ok()
    }
}

impl Drop for Servant {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kills the daemon.
pub(crate) fn interrupt(guard: &Guard) {
    let daemon = guard.daemon();
    kill(daemon, Signal::SIGKILL).expect("killed");
    eventually("the daemon is gone", || kill(daemon, None).is_err()).expect("it ends");
}

/// Attaches another tree: any use of guard starts the next daemon, which looks after what the last one left.
pub(crate) fn recovers(guard: &Guard, test: &str) -> (Place, Servant, String) {
    let other = Place::new(&format!("{test}-other"));
    let servant = Servant::start(other.path());
    let path = other.path().display().to_string();
    let (session, _) = attached(&attach(guard, &["--cgroup", &path]));
    (other, servant, session)
}

/// `guard attach` with the stand-in as AWS, and these arguments.
pub(crate) fn attach(guard: &Guard, arguments: &[&str]) -> Output {
    let stand = Stand::shared();
    guard
        .command(&["attach", "--profile"])
        .arg(guard.directory().join("profile.toml"))
        .arg("--upstream-connect")
        .arg(format!("*.amazonaws.com={}", stand.address()))
        .arg("--upstream-roots")
        .arg(stand.roots())
        .args(arguments)
        .env("AWS_ACCESS_KEY_ID", REAL_ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", REAL_SECRET)
        .env("AWS_REGION", "us-east-1")
        .env("SUDO_UID", USER.to_string())
        .env("SUDO_GID", USER.to_string())
        .stdin(Stdio::null())
        .output()
        .expect("guard runs")
}

/// The session and the environment file that `guard attach` printed.
pub(crate) fn attached(output: &Output) -> (String, PathBuf) {
    let text = guard_tests::guard::succeeded(output);
    let mut lines = text.lines();
    let session = lines.next().and_then(|line| line.strip_prefix("session "));
    let environment = lines.next().and_then(|line| line.split_once(": . "));
    let (_, environment) = environment.expect("an environment");
    (session.expect("a session").to_owned(), environment.into())
}
