//! A daemon for `guard run` where none runs: the same binary, detached, for as long as it has sessions.
//!
//! Its standard output is a pipe to the launcher that started it, on which it says once how the start
//! went. Two launchers at once both start one; the lock on the directories decides which daemon stays,
//! and the other launcher uses that one.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::directories::{self, DirectoryError};
use crate::config::Config;
use crate::control::client::{Client, ClientError};
use crate::control::text_of;
use crate::control::wire::{Reply, Request, Status};

/// What the daemon says when it serves.
pub(super) const READY: &str = "ready\n";
/// What it says when another daemon has the directories.
const BUSY: &str = "busy\n";

/// How long a launcher tries to get a daemon.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no daemon.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// A directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A daemon is there and cannot be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It could not be started.
    #[error("cannot start a guard daemon: {0}")]
    Spawn(io::Error),
    /// It started and gave up.
    #[error("the guard daemon did not start: {message}; its log is {log}")]
    Failed {
        /// What it said.
        message: String,
        /// Where its log is.
        log: PathBuf,
    },
    /// The daemon refuses.
    #[error("{0}")]
    Refused(String),
    /// Another launcher's daemon holds the lock and does not serve.
    #[error(
        "another guard daemon holds the lock in {0} and does not serve; see who: fuser -v {0}/lock"
    )]
    Stuck(PathBuf),
}

/// Connects to the daemon of these directories, and starts one if there is none. `config_file` is what
/// the command line named.
pub fn connect(
    config: &Config,
    config_file: Option<&Path>,
) -> Result<(Client, Status), EmbeddedError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match greet(&config.runtime_dir) {
            Ok(greeted) => return Ok(greeted),
            // Closed: it was ending when we came.
            Err(EmbeddedError::Client(ClientError::NotRunning { .. } | ClientError::Closed)) => {}
            Err(error) => return Err(error),
        }
        if Instant::now() >= deadline {
            return Err(EmbeddedError::Stuck(config.state_dir.clone()));
        }
        match start(config, config_file)?.as_str() {
            READY => {}
            BUSY => std::thread::sleep(Duration::from_millis(50)),
            other => {
                return Err(EmbeddedError::Failed {
                    message: match other.trim() {
                        "" => "it ended without a word".to_owned(),
                        message => message.to_owned(),
                    },
                    log: log(config),
                });
            }
        }
    }
}

/// What a daemon that could not start tells its launcher.
pub fn failure(error: &anyhow::Error) -> String {
    let busy = matches!(
        error.downcast_ref(),
        Some(super::ServiceError::Directory(DirectoryError::Busy { .. }))
    );
    if busy {
        BUSY.to_owned()
    } else {
        format!("{}\n", text_of(error.as_ref()))
    }
}

/// Leaves the launcher's terminal, job and directory.
pub(super) fn detach() -> io::Result<()> {
    nix::unistd::setsid()?;
    std::env::set_current_dir("/")
}

fn greet(runtime_dir: &Path) -> Result<(Client, Status), EmbeddedError> {
    let mut client = Client::connect(runtime_dir)?;
    match client.request(&Request::Status)? {
        Reply::Status(status) => Ok((client, status)),
        Reply::Error { message, .. } => Err(EmbeddedError::Refused(message)),
        _ => Err(EmbeddedError::Refused(
            "the daemon answers another question".to_owned(),
        )),
    }
}

/// Starts a daemon and returns what it says of its start.
fn start(config: &Config, config_file: Option<&Path>) -> Result<String, EmbeddedError> {
    directories::make(&config.state_dir, 0o700)?;
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(log(config))
        .map_err(EmbeddedError::Spawn)?;
    // A pipe that the launcher had inherited must not stay open for the daemon's life.
    crate::sandbox::close_on_exec().map_err(EmbeddedError::Spawn)?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("guard")
        .arg("--state-dir")
        .arg(&config.state_dir);
    command.arg("--runtime-dir").arg(&config.runtime_dir);
    if let Some(file) = config_file {
        command.arg("--config").arg(file);
    }
    let mut daemon = command
        .args(["daemon", "--embedded"])
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(EmbeddedError::Spawn)?;
    let mut said = String::new();
    if let Some(stdout) = daemon.stdout.take() {
        // It closes its end once it has said how the start went.
        stdout
            .take(16 * 1024)
            .read_to_string(&mut said)
            .map_err(EmbeddedError::Spawn)?;
    }
    if said != READY {
        let _ = daemon.wait();
    }
    Ok(said)
}

fn log(config: &Config) -> PathBuf {
    config.state_dir.join("daemon.log")
}
