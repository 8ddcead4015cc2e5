//! The first process of a session's pid namespace: makes the other namespaces, prepares what the session
//! sees of the host, and from then on only reaps what nobody else waits for. With it ends everything in
//! its pid namespace.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::{set_dumpable, set_pdeathsig};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{chdir, setsid};

use super::child::Plan;
use super::mounts;
use super::privileges::{self, checked};
use super::report::{Report, Stage, at};

/// Runs in the forked process and never returns.
pub(super) fn run(plan: &Plan, mut channel: UnixStream) -> ! {
    let ended = prepare(plan, &mut channel).and_then(|()| {
        // Nobody reads what could still go wrong: the session ends with this process.
        reap(&channel).map_err(at(Stage::Unknown))
    });
    if let Err(report) = ended {
        let _ = channel.write_all(&report.encode());
    }
    // SAFETY: _exit runs no destructors and no atexit functions, which belong to the launcher.
    unsafe { libc::_exit(125) }
}

fn prepare(plan: &Plan, channel: &mut UnixStream) -> Result<(), Report> {
    end_with_the_launcher().map_err(at(Stage::Privileges))?;
    keep_only(channel).map_err(at(Stage::Descriptors))?;
    // Not in the job: the terminal's signals, and stops, are the command's.
    setsid().map_err(at(Stage::Signals))?;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC)
        .map_err(at(Stage::Namespaces))?;
    tell(channel, Stage::Isolated)?;

    let order: mounts::Order = order(channel)?;
    mounts::build(&order, &plan.host)?;
    chdir("/").map_err(at(Stage::Directory))?;
    detach_streams().map_err(at(Stage::Descriptors))?;
    privileges::forbid_core_dumps().map_err(at(Stage::Core))?;
    privileges::drop_all(&plan.host.invoker)?;
    // Becoming another user has undone both.
    end_with_the_launcher().map_err(at(Stage::Privileges))?;
    plan.filter.install().map_err(at(Stage::Filter))?;
    tell(channel, Stage::Mounted)
}

/// Has the kernel kill this process when the launcher ends, and lets no other look into it.
fn end_with_the_launcher() -> nix::Result<()> {
    set_dumpable(false)?;
    set_pdeathsig(Signal::SIGKILL)
}

/// Closes what the launcher had open, its connection to the daemon among it, but for the channel and the
/// standard streams, which name the terminals that the session is given.
fn keep_only(channel: &UnixStream) -> io::Result<()> {
    let kept = channel.as_raw_fd().unsigned_abs();
    for (first, last) in [(3, kept.saturating_sub(1)), (kept + 1, libc::c_uint::MAX)] {
        if first <= last {
            // SAFETY: this copy of the process drops nothing of what the launcher owned: it ends by _exit.
            let result = unsafe { libc::close_range(first, last, 0) };
            checked(libc::c_long::from(result))?;
        }
    }
    Ok(())
}

/// Keeps no standard stream of the launcher's open: their other ends wait for the command alone.
fn detach_streams() -> io::Result<()> {
    let nothing = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    nix::unistd::dup2_stdin(&nothing)?;
    nix::unistd::dup2_stdout(&nothing)?;
    nix::unistd::dup2_stderr(&nothing)?;
    Ok(())
}

/// Blocks until the launcher closes its side, and reads what it said. Nothing, which means that the
/// launcher is gone, is not an order.
pub(super) fn order<T: serde::de::DeserializeOwned>(channel: &mut UnixStream) -> Result<T, Report> {
    let mut message = Vec::new();
    channel
        .read_to_end(&mut message)
        .map_err(at(Stage::Order))?;
    serde_json::from_slice(&message).map_err(|unreadable| Report {
        stage: Stage::Order,
        errno: libc::EBADMSG,
        detail: unreadable.to_string(),
    })
}

pub(super) fn tell(channel: &mut UnixStream, reached: Stage) -> Result<(), Report> {
    channel
        .write_all(&Report::reached(reached).encode())
        .map_err(at(Stage::Order))
}

/// Reaps until the launcher's end of the channel closes. Signals are blocked since before the fork.
fn reap(channel: &UnixStream) -> io::Result<()> {
    let mut ended = SigSet::empty();
    ended.add(Signal::SIGCHLD);
    let signals = SignalFd::with_flags(&ended, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    loop {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                // nix does not know real-time signals, of which children may die, too.
                Ok(_) | Err(Errno::EINTR | Errno::EINVAL) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let mut sources = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            // The launcher has closed its writing half; a hangup is the end of the reading one.
            PollFd::new(channel.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut sources, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        if sources[1].any() == Some(true) {
            return Ok(());
        }
        while signals.read_signal()?.is_some() {}
    }
}
