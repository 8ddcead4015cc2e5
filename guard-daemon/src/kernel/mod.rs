//! Loads, attaches and pins the eBPF programs of a session, and reads what they report.
//!
//! One of the two modules that may hold `unsafe` (`netns`, `refusal`, `sockets` and `syscall` do). The programs are in
//! `guard-ebpf`, what both sides share is in `guard-common`, docs/ebpf.md tells how the object is built.
//!
//! - `attach` puts the hooks of a session in place, as links and maps pinned on a bpffs, so that they
//!   outlive the daemon: a dead daemon means a closed port, never direct egress.
//! - `Hooks` answers the gateway (`take_origin`), the journal (`next_refusal`) and the supervisor (`check`).
//! - `process` says who is behind a process id.

mod attach;
mod bpffs;
mod health;
mod load;
mod netns;
mod origin;
pub mod process;
mod refusal;
pub mod sockets;
mod syscall;
pub mod tracker;
mod unix;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub use bpffs::mount_private_bpffs;
pub use health::Tampered;
pub use netns::netns_cookie;

/// What the hooks of a session are told.
#[derive(Clone, Debug)]
pub struct HookSettings {
    /// The gateway's TCP port on 127.0.0.1 and ::1 of the session's network namespace.
    pub gateway_port: u16,
    /// The resolver's UDP port there.
    pub resolver_port: u16,
    /// Who else is in that namespace.
    pub network: Network,
    /// The cookie of that namespace: `netns_cookie` of the gateway's listener.
    pub netns_cookie: u64,
    /// Paths of unix sockets that the tree may reach, where it sees the host's files; it reaches no others.
    /// `None` where it does not, as under `guard run`: then unix sockets are not asked about. Processes with
    /// another mount namespace or root than this one's reach none.
    pub unix: Option<Vec<PathBuf>>,
    /// The pins of hooks on the same cgroup that these replace. In a shared network namespace the sockets
    /// that those know as the session's stay so.
    pub predecessor: Option<PathBuf>,
}

/// Who else is in a session's network namespace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Network {
    /// Nobody: loopback in it is the session's own.
    Own,
    /// The host, or the rest of a container: of its loopback the session reaches its own servers, guard
    /// (`Hooks::recognise`), and these ports.
    Shared {
        /// TCP and UDP ports, whoever listens on them; 1024 at the most.
        loopback_ports: Vec<u16>,
    },
}

/// What a redirected connection was before the redirect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// Where the process wanted to connect to; IPv4 also where an IPv6 socket connected to it.
    pub destination: SocketAddr,
    /// Thread group id, in the initial pid namespace.
    pub pid: u32,
    /// User id, in the initial user namespace.
    pub uid: u32,
    /// The task's name.
    pub comm: String,
    /// `CLOCK_BOOTTIME` nanoseconds of the connect, to tell a reused pid from the caller.
    pub at: u64,
}

/// Something the hooks refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// A stable code, as in `record::entry::Event::Refused`: `udp`, `socket-family`, `reserved-port`,
    /// `device`, `unix`, `unset`, or `lost-reports` for refusals that are only counted (then the process is all zero).
    pub code: &'static str,
    /// One sentence for people.
    pub detail: String,
    /// Where it wanted to go, where the hook knows.
    pub destination: Option<SocketAddr>,
    /// Thread group id.
    pub pid: u32,
    /// User id.
    pub uid: u32,
    /// The task's name.
    pub comm: String,
    /// `CLOCK_BOOTTIME` nanoseconds of the call, to tell a reused pid from the caller.
    pub at: u64,
}

/// The attached programs of one session. Dropping it detaches nothing: the links are pinned.
#[derive(Debug)]
pub struct Hooks {
    origins: origin::Origins,
    refusals: refusal::Refusals,
    /// `None` where the session has its network namespace to itself.
    marks: Option<Mutex<attach::Marks>>,
    links: health::Links,
    limits: Vec<Limit>,
}

/// Something that this kernel cannot enforce or tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limit {
    /// A stable code.
    pub code: &'static str,
    /// One sentence for people.
    pub detail: String,
}

/// Why the hooks could not be put in place, or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The kernel refused for want of privilege.
    #[error(
        "{step}: not permitted; run guard as root with CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN, \
         outside of containers that withhold bpf(2)"
    )]
    NotPermitted {
        /// What was being done.
        step: String,
        /// What the kernel said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The cgroup is not one of cgroup v2.
    #[error(
        "the session's cgroup is not in a cgroup v2 hierarchy; mount one \
         (`mount -t cgroup2 none /sys/fs/cgroup/unified`) or boot with systemd.unified_cgroup_hierarchy=1"
    )]
    NotCgroup2,
    /// The pins would not outlive the daemon, or the place for them could not be made.
    #[error("{path}: {problem}")]
    Pins {
        /// The directory.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
        /// What the kernel said, where it said something.
        #[source]
        source: Option<io::Error>,
    },
    /// A hook that is required is missing or failed.
    #[error("{step} failed; guard needs Linux 5.15 or newer with cgroup BPF")]
    Kernel {
        /// What was being done.
        step: String,
        /// What the kernel said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A setting that would make the programs refuse everything.
    #[error("the gateway's and the resolver's port must not be zero; open the listeners first")]
    NoPort,
    /// Refusals are read on tokio's reactor.
    #[error("the hooks must be attached from within a tokio runtime with I/O enabled")]
    NoRuntime,
}

impl Hooks {
    /// Loads the programs, attaches them to `cgroup` (a directory of cgroup v2) and pins links and maps
    /// under `pins` (made; on a bpffs). Egress goes first, the connect hooks last. If it fails, nothing
    /// stays attached or pinned. Blocks for the verifier: some 50 ms.
    pub fn attach(
        cgroup: BorrowedFd<'_>,
        pins: &Path,
        settings: &HookSettings,
    ) -> Result<Self, KernelError> {
        attach::attach(cgroup, pins, settings)
    }

    /// Makes a listener of the gateway or a socket of the resolver known to the hooks, with what it will
    /// accept. In a shared network namespace a port alone proves nothing: without this the session cannot
    /// reach it. Elsewhere it changes nothing.
    pub fn recognise(&self, socket: BorrowedFd<'_>) -> Result<(), KernelError> {
        attach::recognise(self.marks.as_ref(), socket)
    }

    /// Looks whether every hook is still attached and pinned. Some 50 microseconds.
    pub fn check(&self) -> Result<(), Tampered> {
        self.links.check()
    }

    /// The hooks that are in force, by their programs' names.
    pub fn enforced(&self) -> Vec<&'static str> {
        self.links.names()
    }

    /// What this kernel lacks.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// Takes out what the connection from `client` (as the gateway's accept saw it) was; once. `None`
    /// means that the connection was not redirected: reset it.
    pub fn take_origin(&self, client: SocketAddr) -> Option<Origin> {
        self.origins.take(client)
    }

    /// Waits for the next refusal the hooks report. Lost reports are counted and reported as one.
    pub async fn next_refusal(&self) -> Refusal {
        self.refusals.next().await
    }

    /// The numbers (inodes) of the living cgroups that hooks pinned under `pins` are attached to: one, or none.
    pub fn cgroups(pins: &Path) -> io::Result<BTreeSet<u64>> {
        health::cgroups(pins)
    }

    /// Detaches and unpins everything under `pins` and removes it; nothing there is success.
    pub fn remove(pins: &Path) -> Result<(), KernelError> {
        attach::remove(pins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error as `main` prints it.
    #[test]
    fn errors_say_what_to_do() {
        let source = || io::Error::from_raw_os_error(libc::EPERM).into();
        let step = "loading the program connect4".to_owned();
        for (error, word) in [
            (
                KernelError::NotPermitted {
                    step: step.clone(),
                    source: source(),
                },
                "root",
            ),
            (
                KernelError::Kernel {
                    step,
                    source: source(),
                },
                "5.15",
            ),
            (KernelError::NotCgroup2, "mount"),
        ] {
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
