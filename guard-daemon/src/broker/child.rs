//! Runs a program of the owner's for what it prints.
//!
//! In a process group of its own, which ends when nobody waits for it any more: after a timeout, and with the session.
//! What it writes to its standard error may be a secret, so that nobody gets it.

use std::io;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

/// Why there is nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It does not run, or cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It printed too much.
    #[error("it printed more than {0} bytes")]
    TooLong(usize),
    /// It says that it failed.
    #[error("it ended with {0}; run it yourself to see what it says")]
    Ended(ExitStatus),
}

/// What `command` prints, `most` bytes of it. Whoever drops the future kills the program and its children.
pub(super) async fn printed(command: Command, most: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut running = Running::start(command)?;
    let output = running.0.stdout.take();
    let output = output.ok_or_else(|| io::Error::other("it has no output"))?;
    // At once as large as it gets: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + 1));
    output.take(most as u64 + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > most {
        return Err(Failure::TooLong(most));
    }
    let status = running.0.wait().await?;
    if status.success() {
        Ok(bytes)
    } else {
        Err(Failure::Ended(status))
    }
}

/// A process group; it ends with this, unless its leader ended before.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> io::Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map(Self)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not yet waited for, so its number is still its own.
        let leader = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(leader) = leader {
            // An error means that they have ended.
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    async fn run(script: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        printed(command, 16).await
    }

    #[tokio::test]
    async fn what_is_printed_is_bounded_and_errors_stay_where_they_are() {
        assert_eq!(
            &run("printf 0123456789abcdef").await.unwrap()[..],
            b"0123456789abcdef"
        );
        let error = run("echo s3cret >&2; echo s3cret; exit 3")
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("exit status: 3") && !text.contains("s3cret"),
            "{text}"
        );
        assert!(matches!(run("yes").await, Err(Failure::TooLong(16))));
        assert!(matches!(
            printed(Command::new("/nonexistent"), 1).await,
            Err(Failure::Io(_))
        ));
    }

    #[tokio::test]
    async fn nobody_waits_and_all_of_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pids");
        let script = format!("sleep 600 & echo $$ $! > {}; wait", pids.display());
        let waited = tokio::time::timeout(Duration::from_millis(500), run(&script)).await;
        assert!(waited.is_err());
        let pids = std::fs::read_to_string(&pids).unwrap();
        for pid in pids.split_whitespace() {
            let status = Path::new("/proc").join(pid).join("stat");
            let mut left = 200;
            // A zombie waits for somebody who asks for it.
            while std::fs::read_to_string(&status).is_ok_and(|it| !it.contains(") Z ")) {
                left -= 1;
                assert!(left > 0, "{pid} of {pids} lives");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}
