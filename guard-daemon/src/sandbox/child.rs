//! The process that becomes the command, from its first instruction to exec: enters the session's
//! namespaces, waits for the order, gives up what it must not keep.
//!
//! Every step that fails ends the process, with a report; nothing is ever skipped.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::unistd::{chdir, chroot, execvpe, fchdir};
use serde::{Deserialize, Serialize};

use super::environment::{self, Changes};
use super::filter::Programs;
use super::init::{order, tell};
use super::mounts::{Host, runtime_directory};
use super::privileges::{self, checked};
use super::report::{Report, Stage, at, on};
use crate::policy::Reach;

/// What the forked processes need to know; made before the forks.
pub(super) struct Plan {
    /// The command and its arguments; at least one.
    pub(super) arguments: Vec<CString>,
    /// What the launcher found on the host.
    pub(super) host: Host,
    /// The system call filter.
    pub(super) filter: Programs,
    /// The signal mask that guard was started with.
    pub(super) mask: SigSet,
    /// The working directory's device and inode.
    pub(super) directory: (u64, u64),
}

/// The session's namespaces, as its first process has made them.
#[derive(Debug)]
pub(super) struct Namespaces {
    /// Network, IPC, mounts.
    all: [(OwnedFd, CloneFlags); 3],
    /// The root directory in the mount namespace, which is the launcher's own, also in a chroot.
    root: OwnedFd,
}

/// What the command is told when it may go on.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Order {
    /// To its environment.
    pub(super) changes: Changes,
    /// What of the host the session reaches.
    pub(super) reach: Reach,
}

impl Namespaces {
    /// Opens those of a process.
    pub(super) fn of(process: u32) -> io::Result<Self> {
        let open = |name| File::open(format!("/proc/{process}/ns/{name}")).map(OwnedFd::from);
        let flags = nix::fcntl::OFlag::O_PATH
            | nix::fcntl::OFlag::O_DIRECTORY
            | nix::fcntl::OFlag::O_CLOEXEC;
        let root = Path::new("/proc").join(process.to_string()).join("root");
        Ok(Self {
            all: [
                (open("net")?, CloneFlags::CLONE_NEWNET),
                (open("ipc")?, CloneFlags::CLONE_NEWIPC),
                (open("mnt")?, CloneFlags::CLONE_NEWNS),
            ],
            root: nix::fcntl::open(&root, flags, nix::sys::stat::Mode::empty())?,
        })
    }
}

/// Runs in the forked process and never returns.
pub(super) fn run(plan: &Plan, namespaces: &Namespaces, mut channel: UnixStream) -> ! {
    let report = match confine(plan, namespaces, &mut channel) {
        Ok(never) => match never {},
        Err(report) => report,
    };
    let _ = channel.write_all(&report.encode());
    // SAFETY: _exit runs no destructors and no atexit functions, which belong to the launcher.
    unsafe { libc::_exit(125) }
}

fn confine(
    plan: &Plan,
    namespaces: &Namespaces,
    channel: &mut UnixStream,
) -> Result<std::convert::Infallible, Report> {
    let [network, ipc, mounts] = &namespaces.all;
    for (namespace, kind) in [network, ipc] {
        setns(namespace, *kind).map_err(at(Stage::Join))?;
    }
    tell(channel, Stage::Isolated)?;
    let Order { changes, reach } = order(channel)?;

    let (namespace, kind) = mounts;
    setns(namespace, *kind)
        .and_then(|()| fchdir(&namespaces.root))
        .and_then(|()| chroot("."))
        .map_err(at(Stage::Join))?;
    enter_directory(plan)?;
    // By now this process is in the session's cgroup, which thereby becomes the root that it sees.
    unshare(CloneFlags::CLONE_NEWCGROUP).map_err(at(Stage::Cgroup))?;
    let environment = environment(&changes, &reach, &plan.host)?;

    close_on_exec().map_err(at(Stage::Descriptors))?;
    privileges::forbid_core_dumps().map_err(at(Stage::Core))?;
    privileges::drop_all(&plan.host.invoker)?;
    privileges::leave_keyrings().map_err(at(Stage::Keyring))?;
    restore_signals(&plan.mask).map_err(at(Stage::Signals))?;
    plan.filter.install().map_err(at(Stage::Filter))?;
    execvpe(&plan.arguments[0], &plan.arguments, &environment).map_err(at(Stage::Exec))
}

/// Enters the working directory by its path: the inherited one stands in the host's mounts, from where
/// `..` leads around everything that is hidden. What is found must be the same, or a private directory.
fn enter_directory(plan: &Plan) -> Result<(), Report> {
    let path = &plan.host.directory;
    chdir(path).map_err(on(Stage::Directory, path))?;
    let found = Path::new(".")
        .metadata()
        .map_err(on(Stage::Directory, path))?;
    let private = ["/tmp", "/var/tmp", "/dev/shm"]
        .iter()
        .any(|place| path == Path::new(place));
    if (found.dev(), found.ino()) == plan.directory || private {
        Ok(())
    } else {
        Err(on(Stage::Directory, path)(Errno::ENOENT))
    }
}

/// The launcher's environment with the changes, as the user's own where sudo had made it root's, without
/// what names hidden things.
fn environment(changes: &Changes, reach: &Reach, host: &Host) -> Result<Vec<CString>, Report> {
    let invoker = &host.invoker;
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
    environment::forget_keys(&mut variables);
    environment::forget_hidden(&mut variables, &reach.unix);
    variables.insert("XDG_RUNTIME_DIR".into(), runtime_directory(invoker).into());
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
            detail: "a variable holds a NUL byte".to_owned(),
        })
}

/// Has exec close everything but the standard streams, whatever this process had inherited.
pub fn close_on_exec() -> io::Result<()> {
    let flags = libc::c_int::try_from(libc::CLOSE_RANGE_CLOEXEC).map_err(io::Error::other)?;
    // SAFETY: marks descriptors; closes none that Rust owns.
    let result = unsafe { libc::close_range(3, libc::c_uint::MAX, flags) };
    checked(libc::c_long::from(result))
}

/// Rust ignores SIGPIPE; everything else is as guard found it, so that `nohup guard run` works.
fn restore_signals(mask: &SigSet) -> nix::Result<()> {
    // SAFETY: the default disposition runs no code of ours.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(mask), None)
}
