//! Loads, attaches and pins the eBPF programs of a session, and reads what they report.
//!
//! One of the two modules that may hold `unsafe`.

pub mod process;

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// What the hooks of a session are told.
#[derive(Clone, Copy, Debug)]
pub struct HookSettings {
    /// The gateway's TCP port on 127.0.0.1 and ::1 of the session's network namespace.
    pub gateway_port: u16,
    /// The resolver's UDP port there.
    pub resolver_port: u16,
    /// The session has a network namespace of its own: loopback in it is the agent's own.
    pub own_network: bool,
}

/// What a redirected connection was before the redirect.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Where the process wanted to connect to.
    pub destination: SocketAddr,
    /// Thread group id, in the initial pid namespace.
    pub pid: u32,
    /// User id, in the initial user namespace.
    pub uid: u32,
    /// The task's name.
    pub comm: String,
    /// `CLOCK_BOOTTIME`/monotonic nanoseconds of the connect, to tell a reused pid from the caller.
    pub at: u64,
}

/// Something the hooks refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// A stable code, as in `record::entry::Event::Refused`.
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
}

/// The attached programs of one session. Dropping it detaches nothing: the links are pinned.
pub struct Hooks {}

/// Why the hooks could not be put in place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {}

impl Hooks {
    /// Loads the programs, attaches them to `cgroup` (a directory of cgroup v2) and pins links and maps
    /// under `pins` (made; on a bpffs). Egress goes first, the connect hooks last.
    pub fn attach(
        _cgroup: BorrowedFd<'_>,
        _pins: &Path,
        _settings: HookSettings,
    ) -> Result<Self, KernelError> {
        unimplemented!("contract")
    }

    /// Takes out what the connection from `client` (as the gateway's accept saw it) was; once.
    pub fn take_origin(&self, _client: SocketAddr) -> Option<Origin> {
        unimplemented!("contract")
    }

    /// Waits for the next refusal the hooks report. Lost reports are counted and reported as one.
    pub async fn next_refusal(&self) -> Refusal {
        unimplemented!("contract")
    }

    /// Detaches and unpins everything under `pins`.
    pub fn remove(_pins: &Path) -> Result<(), KernelError> {
        unimplemented!("contract")
    }
}
