//! guard under test: its own state and runtime directories, a profile, and `guard run`.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};

use serde_json::Value;

use crate::installation::{Installation, binary};
use crate::stand::{REAL_ACCESS_KEY_ID, REAL_SECRET, Stand};

/// The user that confined commands run as, as if root had been reached through sudo.
pub const USER: u32 = 65534;

/// An installation of guard with a profile, for one test.
pub struct Guard {
    installation: Installation,
}

impl Guard {
    /// A fresh one, with this profile and, besides the flags, this `guard.toml`.
    pub fn new(profile: &str, config: &str) -> Self {
        let installation = Installation::new().expect("an installation");
        std::fs::write(installation.home().join("guard.toml"), config).expect("config");
        let guard = Self { installation };
        guard.write_profile(profile);
        guard
    }

    /// Gives the sessions to come another profile.
    pub fn write_profile(&self, profile: &str) {
        let path = self.directory().join("profile.toml");
        std::fs::write(path, showing_clients(profile)).expect("profile");
    }

    /// A directory of the test's own, readable by the confined user.
    pub fn directory(&self) -> &Path {
        self.installation.home()
    }

    /// `guard SUBCOMMAND` with this installation's directories.
    pub fn command(&self, subcommand: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .arg("--config")
            .arg(self.directory().join("guard.toml"))
            .arg("--state-dir")
            .arg(self.directory().join("state"))
            .arg("--runtime-dir")
            .arg(self.directory().join("run"))
            .args(subcommand)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    /// `guard run` with the real credentials in guard's environment and the stand-in as AWS; the
    /// confined command follows as arguments.
    pub fn run(&self, stand: &Stand) -> Command {
        self.run_with(stand, &[])
    }

    /// The same with further flags.
    pub fn run_with(&self, stand: &Stand, flags: &[&str]) -> Command {
        let mut command = self.command(&["run", "--profile"]);
        command
            .arg(self.directory().join("profile.toml"))
            .args(["--reason", "end-to-end test"])
            .arg("--upstream-connect")
            .arg(format!("*.amazonaws.com={}", stand.address()))
            .arg("--upstream-connect")
            .arg(format!("allowed.example={}", stand.address()))
            .arg("--upstream-roots")
            .arg(stand.roots())
            .args(flags)
            .arg("--")
            .env("AWS_ACCESS_KEY_ID", REAL_ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", REAL_SECRET)
            .env("AWS_REGION", "us-east-1")
            .env("HOME", self.directory())
            .env("SUDO_UID", USER.to_string())
            .env("SUDO_GID", USER.to_string())
            .env("SUDO_USER", "nobody")
            .current_dir(self.directory())
            .stdin(Stdio::null());
        command
    }

    /// Copies a program or script into the test's directory, where the confined user can read it.
    pub fn hand(&self, file: &Path) -> PathBuf {
        let copy = self.directory().join(file.file_name().expect("a file"));
        std::fs::copy(file, &copy).expect("copied");
        copy
    }

    /// Runs a confined Python script with boto3 at hand.
    pub fn python(&self, stand: &Stand, script: &str) -> Output {
        self.run(stand)
            .arg(crate::python_program("python"))
            .arg("-c")
            .arg(script)
            .output()
            .expect("guard runs")
    }

    /// Runs the confined AWS CLI.
    pub fn aws(&self, stand: &Stand, arguments: &[&str]) -> Output {
        self.run(stand)
            .arg(crate::python_program("aws"))
            .args(arguments)
            .output()
            .expect("guard runs")
    }

    /// The process id of the daemon that serves this installation's sessions.
    pub fn daemon(&self) -> nix::unistd::Pid {
        self.installation.daemon().expect("a daemon runs")
    }

    /// The journal's entries, as `guard journal show -o jsonl` prints them.
    pub fn journal(&self) -> Vec<Value> {
        let output = self
            .command(&["journal", "show", "-o", "jsonl"])
            .output()
            .expect("guard journal show runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout)
            .expect("UTF-8")
            .lines()
            .map(|line| serde_json::from_str(line).expect("each line is JSON"))
            .collect()
    }

    /// Journal entries of one type.
    pub fn entries(&self, kind: &str) -> Vec<Value> {
        self.journal()
            .into_iter()
            .filter(|entry| entry["type"] == kind)
            .collect()
    }
}

/// The profile, showing the clients' environment where it lies in a directory that sessions have for
/// themselves.
fn showing_clients(profile: &str) -> String {
    let environment = crate::environment();
    let private = ["/tmp", "/var/tmp", "/run", "/dev/shm"];
    let hidden = private.iter().any(|place| environment.starts_with(place));
    if hidden && !profile.contains("[sandbox]") {
        format!(
            "{profile}\n[sandbox]\nshow = [\"{}\"]\n",
            environment.display()
        )
    } else {
        profile.to_owned()
    }
}

/// A confined Python script that says lines and waits for lines.
pub struct Conversation {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Conversation {
    /// Starts the script; boto3 is at hand.
    pub fn start(guard: &Guard, stand: &Stand, script: &str) -> Self {
        let mut child = guard
            .run(stand)
            .arg(crate::python_program("python"))
            .args(["-u", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("guard runs");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    /// The next line it says.
    pub fn hears(&mut self) -> String {
        self.lines.next().expect("a line").expect("text")
    }

    /// Gives it a line to go on.
    pub fn says(&mut self) {
        let input = self.child.stdin.as_mut().expect("piped");
        input.write_all(b"go on\n").expect("written");
    }

    /// Waits for its end.
    pub fn ends(mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().expect("ends")
    }
}

/// Asserts that a command went well; prints what it said otherwise.
pub fn succeeded(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
