//! The forked process, from its first instruction to exec: isolates itself, waits for the order, gives
//! up what it must not keep, becomes the command.
//!
//! Every step that fails ends the process, with a report; nothing is ever skipped.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::unistd::{execvpe, setgroups, setresgid, setresuid};

use super::environment::Changes;
use super::user::Invoker;

/// What the forked process needs to know; made before the fork.
pub(super) struct Plan {
    /// The command and its arguments; at least one.
    pub(super) arguments: Vec<CString>,
    /// Who it runs as.
    pub(super) invoker: Invoker,
    /// The signal mask that guard was started with.
    pub(super) mask: SigSet,
}

/// How far the process is, or what failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Stage {
    /// Not a failure: it has its own network namespace and waits.
    Isolated,
    /// Making the network namespace.
    Network,
    /// Understanding the order.
    Order,
    /// Marking descriptors to be closed by exec.
    Descriptors,
    /// Dropping capabilities.
    Capabilities,
    /// Becoming the user.
    User,
    /// Giving up gaining privileges by exec.
    Privileges,
    /// Restoring signals.
    Signals,
    /// Becoming the command.
    Exec,
    /// Not a stage.
    Unknown,
}

impl Stage {
    /// All that are sent.
    pub(super) const ALL: [Self; 9] = [
        Self::Isolated,
        Self::Network,
        Self::Order,
        Self::Descriptors,
        Self::Capabilities,
        Self::User,
        Self::Privileges,
        Self::Signals,
        Self::Exec,
    ];
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Isolated => "waiting for the session",
            Self::Network => "cannot make a network namespace",
            Self::Order => "cannot understand the environment",
            Self::Descriptors => "cannot close inherited descriptors",
            Self::Capabilities => "cannot drop capabilities",
            Self::User => "cannot become the invoking user",
            Self::Privileges => "cannot set no_new_privs",
            Self::Signals => "cannot restore signals",
            Self::Exec => "cannot run the command",
            Self::Unknown => "the forked process sent something unknown",
        })
    }
}

/// A message from the forked process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Report {
    pub(super) stage: Stage,
    pub(super) errno: i32,
}

impl Report {
    /// Bytes of a message.
    pub(super) const BYTES: usize = 5;

    pub(super) fn encode(self) -> [u8; Self::BYTES] {
        let [a, b, c, d] = self.errno.to_le_bytes();
        [self.stage as u8, a, b, c, d]
    }

    pub(super) fn decode([stage, a, b, c, d]: [u8; Self::BYTES]) -> Self {
        let stage = Stage::ALL
            .into_iter()
            .find(|&known| known as u8 == stage)
            .unwrap_or(Stage::Unknown);
        Self {
            stage,
            errno: i32::from_le_bytes([a, b, c, d]),
        }
    }
}

/// Runs in the forked process and never returns.
pub(super) fn run(plan: &Plan, mut channel: UnixStream) -> ! {
    let report = match confine(plan, &mut channel) {
        Ok(never) => match never {},
        Err(report) => report,
    };
    let _ = channel.write_all(&report.encode());
    // SAFETY: _exit runs no destructors and no atexit functions, which belong to the launcher.
    unsafe { libc::_exit(125) }
}

fn confine(plan: &Plan, channel: &mut UnixStream) -> Result<std::convert::Infallible, Report> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(at(Stage::Network))?;
    let isolated = Report {
        stage: Stage::Isolated,
        errno: 0,
    };
    channel
        .write_all(&isolated.encode())
        .map_err(at(Stage::Order))?;
    let changes = wait_for_order(channel)?;
    let environment = environment(&changes, &plan.invoker)?;

    close_on_exec().map_err(at(Stage::Descriptors))?;
    shrink_bounding_set().map_err(at(Stage::Capabilities))?;
    let Invoker {
        uid, gid, groups, ..
    } = &plan.invoker;
    setgroups(groups)
        .and_then(|()| setresgid(*gid, *gid, *gid))
        .and_then(|()| setresuid(*uid, *uid, *uid))
        .map_err(at(Stage::User))?;
    drop_held_capabilities().map_err(at(Stage::Capabilities))?;
    set_no_new_privs().map_err(at(Stage::Privileges))?;
    restore_signals(&plan.mask).map_err(at(Stage::Signals))?;
    execvpe(&plan.arguments[0], &plan.arguments, &environment).map_err(at(Stage::Exec))
}

/// Blocks until the launcher closes its side. Without an order, which means that the launcher is gone,
/// leaves without a word.
fn wait_for_order(channel: &mut UnixStream) -> Result<Changes, Report> {
    let mut message = Vec::new();
    channel
        .read_to_end(&mut message)
        .map_err(at(Stage::Order))?;
    serde_json::from_slice(&message).map_err(|_unreadable| Report {
        stage: Stage::Order,
        errno: libc::EBADMSG,
    })
}

/// The launcher's environment with the changes, as the user's own where sudo had made it root's.
fn environment(changes: &Changes, invoker: &Invoker) -> Result<Vec<CString>, Report> {
    let mut variables: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    if invoker.through_sudo {
        variables.remove(&OsString::from("MAIL"));
        let own = [
            ("HOME", invoker.home.clone().map(OsString::from)),
            ("SHELL", invoker.shell.clone().map(OsString::from)),
            ("USER", Some(invoker.name.clone().into())),
            ("LOGNAME", Some(invoker.name.clone().into())),
        ];
        for (name, value) in own {
            variables.extend(value.map(|value| (name.into(), value)));
        }
    }
    for name in &changes.unset {
        variables.remove(&OsString::from(name));
    }
    for (name, value) in &changes.set {
        variables.insert(name.into(), value.into());
    }
    variables
        .into_iter()
        .map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            CString::new(name.into_vec())
        })
        .collect::<Result<_, _>>()
        .map_err(|_unreadable| Report {
            stage: Stage::Order,
            errno: libc::EINVAL,
        })
}

/// Has exec close everything but the standard streams, whatever this process had inherited.
pub fn close_on_exec() -> io::Result<()> {
    let flags = libc::c_int::try_from(libc::CLOSE_RANGE_CLOEXEC).map_err(io::Error::other)?;
    // SAFETY: marks descriptors; closes none that Rust owns.
    let result = unsafe { libc::close_range(3, libc::c_uint::MAX, flags) };
    checked(libc::c_long::from(result))
}

/// Capabilities that a confined tree never gets, also not as root; numbers of linux/capability.h.
/// They reach the network past the hooks, the kernel, devices, or other processes.
const DROPPED: [u32; 9] = [
    12, // NET_ADMIN
    13, // NET_RAW
    16, // SYS_MODULE
    17, // SYS_RAWIO
    19, // SYS_PTRACE
    21, // SYS_ADMIN
    27, // MKNOD
    38, // PERFMON
    39, // BPF
];

fn shrink_bounding_set() -> io::Result<()> {
    for capability in DROPPED {
        // SAFETY: prctl with integers only.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability)) };
        match checked(libc::c_long::from(result)) {
            // A kernel before 5.8 does not know PERFMON and BPF; they are part of SYS_ADMIN there.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && capability >= 38 => {}
            other => other?,
        }
    }
    Ok(())
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`: 64 capabilities in two halves.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

fn drop_held_capabilities() -> io::Result<()> {
    // SAFETY: prctl with integers only.
    let cleared = unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::c_ulong::try_from(libc::PR_CAP_AMBIENT_CLEAR_ALL).unwrap_or_default(),
            0,
            0,
            0,
        )
    };
    checked(libc::c_long::from(cleared))?;
    let mut header = CapabilityHeader {
        version: CAPABILITY_VERSION,
        pid: 0,
    };
    let mut halves = [CapabilityData::default(); 2];
    // SAFETY: header and data have the kernel's layout for this version and outlive the call.
    checked(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) })?;
    for (half, first) in halves.iter_mut().zip([0, 32]) {
        let dropped = DROPPED
            .iter()
            .filter_map(|capability| capability.checked_sub(first))
            .filter(|&bit| bit < 32)
            .fold(0, |mask: u32, bit| mask | 1 << bit);
        half.effective &= !dropped;
        half.permitted &= !dropped;
        half.inheritable = 0;
    }
    // SAFETY: as above; the kernel only reads.
    checked(unsafe { libc::syscall(libc::SYS_capset, &raw const header, halves.as_ptr()) })
}

/// Rust ignores SIGPIPE; everything else is as guard found it, so that `nohup guard run` works.
fn restore_signals(mask: &SigSet) -> nix::Result<()> {
    // SAFETY: the default disposition runs no code of ours.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(mask), None)
}

fn checked(result: libc::c_long) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn at<E: Into<io::Error>>(stage: Stage) -> impl Fn(E) -> Report {
    move |error| Report {
        stage,
        errno: error.into().raw_os_error().unwrap_or(Errno::EIO as i32),
    }
}
