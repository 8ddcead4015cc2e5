//! The AWS stand-in: `tests/stand/stand.py`, started once per test process, ended with it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

/// The access key id that only guard may sign with.
pub const REAL_ACCESS_KEY_ID: &str = "AKIAREALREALREALREAL";
/// Its secret; no record or confined process may ever hold it.
pub const REAL_SECRET: &str = "real-secret-key-that-only-guard-may-hold";

/// A running stand-in.
pub struct Stand {
    directory: tempfile::TempDir,
    port: u16,
    // The stand-in ends when its standard input closes, so also when this process is killed.
    _process: Child,
}

static STAND: LazyLock<Stand> = LazyLock::new(Stand::start);

impl Stand {
    /// The stand-in of this test process.
    pub fn shared() -> &'static Self {
        &STAND
    }

    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory for the stand-in");
        let mut process = Command::new(crate::python_program("python"))
            .arg(crate::fixture("stand/stand.py"))
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the stand-in starts: run `cargo xtask setup` first");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("the stand-in says its port");
        let port = line
            .strip_prefix("ready ")
            .and_then(|port| port.trim().parse().ok())
            .unwrap_or_else(|| panic!("the stand-in did not start: {line:?}"));
        Self {
            directory,
            port,
            _process: process,
        }
    }

    /// `127.0.0.1:port`, for `--upstream-connect`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its certificate authority, for `--upstream-roots`.
    pub fn roots(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Every request that reached it and contains `needle` anywhere in its log line.
    pub fn requests(&self, needle: &str) -> Vec<Value> {
        let log = std::fs::read_to_string(self.directory.path().join("requests.jsonl"))
            .unwrap_or_default();
        log.lines()
            .filter(|line| line.contains(needle))
            .map(|line| serde_json::from_str(line).expect("the stand-in logs JSON"))
            .collect()
    }

    /// Says what becomes of the next calls of `AssumeRole*`, in this order: `{"status", "code", "message"}` for an
    /// error, `{"lifetime"}` for credentials that end in so many seconds, `{}` for neither.
    pub fn script_sts(&self, steps: &Value) {
        std::fs::write(self.directory.path().join("sts.json"), steps.to_string()).expect("written");
    }

    /// Secrets and session tokens that its STS handed out: no record or confined process may ever hold one.
    pub fn minted_secrets(&self) -> Vec<String> {
        let secrets = std::fs::read_to_string(self.directory.path().join("secrets"));
        let secrets = secrets.expect("the stand-in's STS handed something out");
        secrets.lines().map(str::to_owned).collect()
    }

    /// Runs Python with boto3 against the stand-in itself, past guard, to prepare or inspect.
    /// `session` is a boto3 session with the real credentials; clients come from `client(name)`.
    pub fn prepare(&self, script: &str) -> String {
        let prelude = format!(
            "import boto3, socket\n\
             original = socket.getaddrinfo\n\
             def resolve(host, port, *a, **k):\n\
             \x20   if host.endswith('.amazonaws.com'): host, port = '127.0.0.1', {port}\n\
             \x20   return original(host, port, *a, **k)\n\
             socket.getaddrinfo = resolve\n\
             session = boto3.Session('{REAL_ACCESS_KEY_ID}', '{REAL_SECRET}', region_name='us-east-1')\n\
             def client(name): return session.client(name, verify='{roots}')\n",
            port = self.port,
            roots = self.roots().display(),
        );
        let output = Command::new(crate::python_program("python"))
            .arg("-c")
            .arg(prelude + script)
            .output()
            .expect("python runs");
        assert!(
            output.status.success(),
            "preparing the stand-in failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
