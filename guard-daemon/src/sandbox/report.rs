//! What the launcher's two children say to it over their channels: how far they are, or what failed.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use nix::errno::Errno;

/// How far a forked process is, or what failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Stage {
    /// Not a failure: it has its own network namespace and waits.
    Isolated,
    /// Not a failure: the mount namespace is as the command shall see it.
    Mounted,
    /// Making the namespaces.
    Namespaces,
    /// Understanding the order.
    Order,
    /// Mounting the pid namespace's own procfs.
    Processes,
    /// Mounting sysfs.
    Sysfs,
    /// Making the private /dev.
    Devices,
    /// Making private directories for temporary files and sockets.
    Private,
    /// Making files of the host visible in private directories.
    Show,
    /// Covering guard's own directories.
    Hide,
    /// Removing kernel file systems from view.
    Kernel,
    /// Covering unix sockets.
    Sockets,
    /// Hiding AWS keys.
    Stores,
    /// Making host directories read-only.
    ReadOnly,
    /// Entering the namespaces.
    Join,
    /// Entering the working directory.
    Directory,
    /// Making the cgroup namespace.
    Cgroup,
    /// Marking descriptors to be closed by exec.
    Descriptors,
    /// Ruling core dumps out.
    Core,
    /// Dropping capabilities.
    Capabilities,
    /// Becoming the user.
    User,
    /// Leaving the user's keyrings behind.
    Keyring,
    /// Giving up gaining privileges by exec.
    Privileges,
    /// Restoring signals.
    Signals,
    /// Installing the system call filter.
    Filter,
    /// Becoming the command.
    Exec,
    /// Not a stage.
    Unknown,
}

impl Stage {
    /// All that are sent.
    const ALL: [Self; 26] = [
        Self::Isolated,
        Self::Mounted,
        Self::Namespaces,
        Self::Order,
        Self::Processes,
        Self::Sysfs,
        Self::Devices,
        Self::Private,
        Self::Show,
        Self::Hide,
        Self::Kernel,
        Self::Sockets,
        Self::Stores,
        Self::ReadOnly,
        Self::Join,
        Self::Directory,
        Self::Cgroup,
        Self::Descriptors,
        Self::Core,
        Self::Capabilities,
        Self::User,
        Self::Keyring,
        Self::Privileges,
        Self::Signals,
        Self::Filter,
        Self::Exec,
    ];

    /// What to do about a failure.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Directory => {
                "start guard run in a directory that the command may see, as in: cd / && guard run -- COMMAND"
            }
            Self::Filter | Self::Cgroup => {
                "guard run needs Linux 5.15 or later with seccomp filters and cgroup namespaces"
            }
            Self::Stores => {
                "remove links to / from the directory, or files until guard can look through it; otherwise, guard run \
                 needs root with all capabilities, outside containers that drop them"
            }
            Self::Show => "remove the path from `show` and `allow_unix` in the profile",
            Self::Order | Self::Unknown => "are daemon and command of the same version?",
            _ => "guard run needs root with all capabilities, outside containers that drop them",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Isolated | Self::Mounted => "waiting for the session",
            Self::Namespaces => "cannot make the session's namespaces",
            Self::Order => "cannot understand the order",
            Self::Processes => "cannot mount a private /proc",
            Self::Sysfs => "cannot mount a private /sys",
            Self::Devices => "cannot make a private /dev",
            Self::Private => "cannot make a directory private",
            Self::Show => "cannot show a file of the host",
            Self::Hide => "cannot hide guard's own directory",
            Self::Kernel => "cannot remove a kernel file system from view",
            Self::Sockets => "cannot cover a unix socket",
            Self::Stores => "cannot hide a file or directory of AWS keys",
            Self::ReadOnly => "cannot make a directory of the host read-only",
            Self::Join => "cannot enter the session's namespaces",
            Self::Directory => "cannot enter the working directory in the session",
            Self::Cgroup => "cannot make a cgroup namespace",
            Self::Descriptors => "cannot close inherited descriptors",
            Self::Core => "cannot rule core dumps out",
            Self::Capabilities => "cannot drop capabilities",
            Self::User => "cannot become the invoking user",
            Self::Keyring => "cannot leave the user's keyrings behind",
            Self::Privileges => "cannot set no_new_privs",
            Self::Signals => "cannot restore signals",
            Self::Filter => "cannot install the system call filter",
            Self::Exec => "cannot run the command",
            Self::Unknown => "the forked process sent something unknown",
        })
    }
}

/// A message from a forked process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Report {
    pub(super) stage: Stage,
    pub(super) errno: i32,
    /// What the step was about, mostly a path; may be empty.
    pub(super) detail: String,
}

/// Bytes of a detail; longer ones are cut.
const LONGEST_DETAIL: usize = 1024;

impl Report {
    /// That the process has come this far.
    pub(super) fn reached(stage: Stage) -> Self {
        Self {
            stage,
            errno: 0,
            detail: String::new(),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let detail = self.detail.as_bytes();
        let detail = &detail[..detail.len().min(LONGEST_DETAIL)];
        let mut message = vec![self.stage as u8];
        message.extend(self.errno.to_le_bytes());
        message.extend(
            u16::try_from(detail.len())
                .unwrap_or_default()
                .to_le_bytes(),
        );
        message.extend(detail);
        message
    }

    /// Reads one; `None` where the stream ends before one begins.
    pub(super) fn read(channel: &mut impl Read) -> io::Result<Option<Self>> {
        let mut head = [0; 7];
        match channel.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let [stage, a, b, c, d, low, high] = head;
        let mut detail = vec![0; u16::from_le_bytes([low, high]).into()];
        channel.read_exact(&mut detail)?;
        let stage = Stage::ALL
            .into_iter()
            .find(|&known| known as u8 == stage)
            .unwrap_or(Stage::Unknown);
        Ok(Some(Self {
            stage,
            errno: i32::from_le_bytes([a, b, c, d]),
            detail: String::from_utf8_lossy(&detail).into_owned(),
        }))
    }
}

/// Turns an error into the report that a step failed.
pub(super) fn at<E: Into<io::Error>>(stage: Stage) -> impl Fn(E) -> Report {
    move |error| Report {
        stage,
        errno: error.into().raw_os_error().unwrap_or(Errno::EIO as i32),
        detail: String::new(),
    }
}

/// As `at`, for a step on a path.
pub(super) fn on<E: Into<io::Error>>(stage: Stage, path: &Path) -> impl Fn(E) -> Report {
    move |error| Report {
        detail: path.display().to_string(),
        ..at(stage)(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_channel() {
        for stage in Stage::ALL {
            let report = Report {
                stage,
                errno: libc::EACCES,
                detail: "/a b".to_owned(),
            };
            let read = Report::read(&mut report.encode().as_slice());
            assert_eq!(read.unwrap(), Some(report));
        }
        let garbage = Report::read(&mut &[250, 0, 0, 0, 0, 0, 0][..]).unwrap();
        assert_eq!(garbage.map(|report| report.stage), Some(Stage::Unknown));
        assert_eq!(Report::read(&mut &[][..]).unwrap(), None);
        assert!(Report::read(&mut &[1, 0, 0, 0, 0, 9, 0][..]).is_err());
    }

    #[test]
    fn a_long_detail_is_cut() {
        let report = Report {
            detail: "x".repeat(9000),
            ..Report::reached(Stage::Show)
        };
        let read = Report::read(&mut report.encode().as_slice()).unwrap();
        assert_eq!(read.map(|report| report.detail.len()), Some(LONGEST_DETAIL));
    }
}
