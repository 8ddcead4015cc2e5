//! Between the command and the shell: the command is in the shell's job and has the terminal, the
//! launcher is what the shell waits for.
//!
//! What the terminal sends (`SI_KERNEL`) has reached the command already, as it is in the same process
//! group; what a process sends to the launcher is sent on. A stop of the command stops the launcher,
//! and its death by a signal is the launcher's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_dumpable;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, raise, signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};

/// How the command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// By itself, with this code.
    Exited(u8),
    /// Of this signal.
    Signalled(i32),
}

/// How long between two tries to reach a daemon again.
const RETRY: Duration = Duration::from_millis(250);

/// What the session hangs on: the connection to the daemon, which can be lost and found again.
pub trait Tether {
    /// The connection, where there is one.
    fn connection(&self) -> Option<BorrowedFd<'_>>;

    /// It was lost.
    fn lost(&mut self);

    /// Tries to find it again, shortly; `false` where that makes no sense any more.
    fn retry(&mut self) -> bool;

    /// Says what is due of the session's time; when to be asked again.
    fn tick(&mut self) -> Option<Duration>;
}

/// The signals that the launcher receives instead of being interrupted by them: all but those that its
/// own faults raise.
pub(super) fn received() -> SigSet {
    let mut set = SigSet::all();
    for fault in [
        Signal::SIGBUS,
        Signal::SIGFPE,
        Signal::SIGILL,
        Signal::SIGSEGV,
        Signal::SIGSYS,
        Signal::SIGTRAP,
    ] {
        set.remove(fault);
    }
    set
}

/// An inherited "ignore" for SIGCHLD would let the kernel reap the command unseen.
pub(super) fn reap_children() -> nix::Result<()> {
    // SAFETY: the default disposition runs no code of ours.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.map(drop)
}

/// Waits for the end of `child`. The signals in `received` are blocked.
pub(super) fn supervise(child: Pid, tether: &mut impl Tether) -> io::Result<End> {
    let signals =
        SignalFd::with_flags(&received(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let mut searching = false;
    loop {
        // The command may have ended before the descriptor existed.
        if let Some(end) = changes(child)? {
            return Ok(end);
        }
        let due = tether.tick();
        // The daemon says nothing unasked, so anything readable is the end of the connection.
        let gone = {
            let mut sources = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            sources.extend(
                tether
                    .connection()
                    .map(|connection| PollFd::new(connection, PollFlags::POLLIN)),
            );
            let retry = searching.then_some(RETRY);
            let patience = match due.into_iter().chain(retry).min() {
                Some(soonest) => PollTimeout::try_from(soonest).unwrap_or(PollTimeout::MAX),
                None => PollTimeout::NONE,
            };
            match poll(&mut sources, patience) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            sources
                .get(1)
                .is_some_and(|source| source.any() == Some(true))
        };
        if gone {
            tether.lost();
            searching = true;
        }
        if searching && tether.connection().is_none() {
            searching = tether.retry();
        } else {
            searching = false;
        }
        while let Some(received) = signals.read_signal()? {
            forward(child, &received);
        }
    }
}

/// Sends a signal on that a process sent to the launcher.
fn forward(child: Pid, received: &libc::signalfd_siginfo) {
    let number = received.ssi_signo.cast_signed();
    let from_terminal = received.ssi_code == libc::SI_KERNEL;
    // `kill 0` in the command reaches the command by itself.
    let from_child = received.ssi_pid == child.as_raw().unsigned_abs();
    if number == libc::SIGCHLD || from_terminal || from_child {
        return;
    }
    // SAFETY: plain system call; nix's own form knows no real-time signals. `child` is not reaped yet,
    // so the number is still the command's.
    unsafe { libc::kill(child.as_raw(), number) };
}

/// Follows the command's changes of state; `Some` when it has ended.
fn changes(child: Pid) -> io::Result<Option<End>> {
    loop {
        let mut status = 0;
        let flags = libc::WNOHANG | libc::WUNTRACED;
        // SAFETY: `status` outlives the call. nix's own form fails on real-time signals.
        match unsafe { libc::waitpid(child.as_raw(), &raw mut status, flags) } {
            0 => return Ok(None),
            -1 => match Errno::last() {
                Errno::EINTR => {}
                errno => return Err(errno.into()),
            },
            _ if libc::WIFEXITED(status) => {
                // wait(2): the exit status is the low eight bits.
                let code = u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX);
                return Ok(Some(End::Exited(code)));
            }
            _ if libc::WIFSIGNALED(status) => {
                return Ok(Some(End::Signalled(libc::WTERMSIG(status))));
            }
            _ if libc::WIFSTOPPED(status) => stop_too(child)?,
            _ => {}
        }
    }
}

/// Stops the launcher, as the shell waits for it, until the shell goes on with the job.
fn stop_too(child: Pid) -> io::Result<()> {
    raise(Signal::SIGSTOP)?;
    match kill(child, Signal::SIGCONT) {
        // It was killed while stopped; waiting for it tells how.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The terminal that the launcher had in the foreground when it started, if any.
#[derive(Debug)]
pub(super) struct Terminal(Option<std::fs::File>);

impl Terminal {
    /// Looks for it.
    pub(super) fn find() -> Self {
        let own = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .ok();
        Self(own.filter(|terminal| tcgetpgrp(terminal) == Ok(getpgrp())))
    }

    /// Gives it to the launcher's process group again. A shell in the session took it and could not give
    /// it back: the group has no number in its pid namespace. SIGTTOU is blocked.
    pub(super) fn take_back(&self) {
        if let Some(terminal) = &self.0 {
            let _ = tcsetpgrp(terminal, getpgrp());
        }
    }
}

/// Dies of a signal that the command died of, without a core dump of guard's. Returns the conventional
/// exit code where the signal does not kill.
pub fn die_of(number: i32) -> u8 {
    let _ = set_dumpable(false);
    if let Ok(fatal) = Signal::try_from(number) {
        // SIGKILL's disposition cannot be set, and needs not be.
        // SAFETY: the default disposition runs no code of ours.
        let _ = unsafe { signal(fatal, SigHandler::SigDfl) };
        let _ = raise(fatal);
        let mut set = SigSet::empty();
        set.add(fatal);
        let _ = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&set), None);
    }
    u8::try_from(number).map_or(u8::MAX, |number| number.saturating_add(128))
}
