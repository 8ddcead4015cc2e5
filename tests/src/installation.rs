//! An installation of guard for one test: state and runtime directories, the built `guard`, and a look at what is
//! left afterwards.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything in a test may take: it is some ten times slower under an emulated kernel.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Where installations lie. Not in /tmp, which is private in a session.
const HOMES: &str = "/var/lib/guard-tests";

/// guard with directories of its own.
#[derive(Debug)]
pub struct Installation {
    home: tempfile::TempDir,
}

impl Installation {
    /// Makes the directories; an error says what the host lacks.
    pub fn new() -> Result<Self> {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "end-to-end tests need root"
        );
        ensure!(
            binary().is_file(),
            "{} is not built: cargo build",
            binary().display()
        );
        let homes = Path::new(HOMES);
        fs::create_dir_all(homes)?;
        let home = tempfile::Builder::new()
            .prefix("guard-test-")
            .tempdir_in(homes)?;
        // The files a session is handed must be readable for the user it runs as.
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self { home })
    }

    /// A directory for the test's own files.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The runtime directory.
    pub fn runtime(&self) -> PathBuf {
        self.home().join("run")
    }

    /// `guard` with the installation's directories.
    pub fn guard(&self) -> Command {
        let mut command = Command::new(binary());
        command.arg("--state-dir").arg(self.home().join("state"));
        command.arg("--runtime-dir").arg(self.runtime());
        for name in ["SUDO_UID", "SUDO_GID", "SUDO_USER", "AWS_PROFILE"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        command
    }

    /// `guard run -- COMMAND…`.
    pub fn run<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Command {
        let mut guard = self.guard();
        guard.args(["run", "--"]).args(command);
        guard
    }

    /// `guard run -- sh -c SCRIPT`, to its end.
    pub fn shell(&self, script: &str) -> Result<Output> {
        Ok(self.run(["sh", "-c", script]).output()?)
    }

    /// `guard run -- sh -c SCRIPT` with piped output, once it has printed a line.
    pub fn shell_started(&self, script: &str) -> Result<Child> {
        use std::io::Read;

        let mut child = self
            .run(["sh", "-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.as_mut().context("stdout is piped")?;
        let mut byte = [0];
        while byte != *b"\n" {
            if stdout.read(&mut byte)? == 0 {
                let output = child.wait_with_output()?;
                bail!(
                    "it ended early: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
        Ok(child)
    }

    /// The process id of the daemon, by `guard status`.
    pub fn daemon(&self) -> Result<Pid> {
        let output = self.guard().arg("status").output()?;
        let text = String::from_utf8(output.stdout)?;
        let pid = text
            .split("pid ")
            .nth(1)
            .and_then(|rest| rest.split(')').next());
        Ok(Pid::from_raw(pid.context("no daemon answers")?.parse()?))
    }

    /// Everything in the journal.
    pub fn journal(&self) -> Result<String> {
        let mut text = String::new();
        for entry in fs::read_dir(self.home().join("state/journal"))? {
            let path = entry?.path();
            if path.is_file() {
                text.push_str(&String::from_utf8_lossy(&fs::read(path)?));
            }
        }
        Ok(text)
    }

    /// What is left of sessions: cgroups, files and pins under this installation's runtime directory.
    pub fn left(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        for directory in ["sessions", "bpf"] {
            left.extend(directories(&self.runtime().join(directory)));
        }
        // The daemon's own pins stay while it runs.
        left.retain(|path| !path.ends_with("bpf/host"));
        left.extend(self.cgroups());
        left
    }

    /// The cgroups of sessions whose files or processes belong to this installation. Others run at the
    /// same time, so a cgroup counts only if its name was seen in this installation's journal.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let journal = self.journal().unwrap_or_default();
        let named = |path: &PathBuf| {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            name.is_some_and(|name| journal.contains(&name))
        };
        let roots = hierarchy()
            .map(|root| directories(&root.join("guard")))
            .unwrap_or_default();
        roots
            .iter()
            .flat_map(|root| directories(root))
            .filter(named)
            .collect()
    }

    /// Waits until nothing of any session is left.
    pub fn wait_until_clean(&self) -> Result<()> {
        eventually("nothing of the session is left", || self.left().is_empty())
            .with_context(|| format!("left: {:?}", self.left()))
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if let Ok(daemon) = self.daemon() {
            let _ = kill(daemon, Signal::SIGTERM);
            let _ = eventually("the daemon ends", || kill(daemon, None).is_err());
        }
        for group in self.cgroups() {
            let _ = fs::write(group.join("cgroup.kill"), "1");
            let _ = eventually("the cgroup is removed", || {
                fs::remove_dir(&group).is_ok() || !group.exists()
            });
        }
        let _ = nix::mount::umount(&self.runtime().join("bpf"));
    }
}

/// Waits for a condition.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        ensure!(
            Instant::now() < deadline,
            "did not happen within {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The built binary: `GUARD_BIN`, else that of this workspace.
pub fn binary() -> PathBuf {
    std::env::var_os("GUARD_BIN").map_or_else(
        || {
            let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
            target
                .unwrap_or_else(|| workspace.join("target"))
                .join("debug/guard")
        },
        PathBuf::from,
    )
}

/// Where cgroup v2 is mounted.
pub fn hierarchy() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        (fields.get(2) == Some(&"cgroup2")).then(|| PathBuf::from(fields[1]))
    })
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}
