//! The package registries' stand-in: `tests/stand/registries.py`, started once, ended with this process.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use guard_tests::{fixture, python_program};

/// Running registries.
pub(crate) struct Registries {
    directory: tempfile::TempDir,
    port: u16,
    // They end when their standard input closes, so also when this process is killed.
    _process: Child,
}

static REGISTRIES: LazyLock<Registries> = LazyLock::new(Registries::start);

impl Registries {
    /// Those of this test process.
    pub(crate) fn shared() -> &'static Self {
        &REGISTRIES
    }

    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut process = Command::new(python_program("python"))
            .arg(fixture("stand/registries.py"))
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the registries start: run `cargo xtask setup` first");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("the registries say their port");
        let port = line.strip_prefix("ready ").map(str::trim);
        let port = port.and_then(|port| port.parse().ok());
        assert!(port.is_some(), "the registries did not start: {line:?}");
        Self {
            directory,
            port: port.unwrap_or_default(),
            _process: process,
        }
    }

    /// For `--upstream-connect`.
    pub(crate) fn route(&self) -> String {
        format!("*.registry.example=127.0.0.1:{}", self.port)
    }

    /// The certificate authority of what they present.
    pub(crate) fn roots(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// What reached them: lines of `HOST METHOD PATH`.
    pub(crate) fn requests(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("requests")).unwrap_or_default()
    }
}
