//! The host's file system as a guest sees it: virtiofsd on a read-only view.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::boot::{Ended, lossy};
use super::images;

/// The file in a guest's directory with what the daemon said.
pub(crate) const LOG: &str = "virtiofsd.log";
/// How long the daemon may take to listen.
const LIMIT: Duration = Duration::from_secs(20);
/// `$1` is where the view goes, in a mount namespace of the daemon's own; the rest is the daemon.
const VIEW: &str = "mount --rbind / \"$1\"
mount -o remount,bind,ro \"$1\"
shift
exec setpriv --pdeathsig KILL \"$@\"";

/// Where the daemon may be: QEMU's own, and its successor.
const PROGRAMS: [&str; 2] = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"];

/// The daemon, if it is installed.
pub(crate) fn program() -> Option<&'static Path> {
    PROGRAMS
        .into_iter()
        .map(Path::new)
        .find(|program| program.exists())
}

/// A running daemon.
pub(crate) struct Share {
    /// Where it listens for QEMU.
    pub(crate) socket: PathBuf,
    _daemon: Ended,
}

impl Share {
    /// Starts it; `directory` is the guest's.
    pub(crate) fn start(directory: &Path) -> anyhow::Result<Self> {
        let program = program().context("virtiofsd is not there any more")?;
        // Kept, and not in the guest's directory: nothing ever removes what is below a place where `/` is seen.
        let view = images::cache().join("host");
        fs::create_dir_all(&view).with_context(|| format!("cannot make {}", view.display()))?;
        let socket = directory.join("files.sock");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "slave", "sh", "-ec", VIEW, "sh"]);
        command.arg(&view).arg(program);
        if program == Path::new(PROGRAMS[0]) {
            command.arg(format!("--socket-path={}", socket.display()));
            command.args(["-f", "-o", "cache=always", "-o", "log_level=err"]);
            command.args(["-o", &format!("source={}", view.display())]);
        } else {
            command.arg("--socket-path").arg(&socket);
            command.arg("--shared-dir").arg(&view);
            command.args(["--cache", "always", "--log-level", "error"]);
        }
        let log = directory.join(LOG);
        let mut daemon = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .spawn()
            .map(Ended)
            .context("unshare did not start")?;
        let start = Instant::now();
        while !socket.exists() {
            if let Some(status) = daemon.0.try_wait()? {
                let program = program.display();
                bail!("{program} ended with {status}: {}", lossy(&log));
            }
            if start.elapsed() > LIMIT {
                let seconds = LIMIT.as_secs();
                bail!("{} did not listen within {seconds} s", program.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self {
            socket,
            _daemon: daemon,
        })
    }
}
