//! Ends a process that is known by its number and start, and no other that has the number later.
#![allow(
    unsafe_code,
    reason = "no crate here wraps pidfd_open and pidfd_send_signal"
)]

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use guard_common::tracking::TICK;

use super::super::process::{is_ending, started_at};

/// Sends SIGKILL to the process `pid` that started at `started` (nanoseconds since boot). One that is gone is
/// fine.
pub(super) fn kill(pid: u32, started: u64) -> io::Result<()> {
    let Some(descriptor) = open(pid)? else {
        return Ok(());
    };
    // The descriptor stays one process'; it is the right one if the number is its still.
    if start(pid).is_none_or(|at| at / TICK != started / TICK) {
        return Ok(());
    }
    // SAFETY: an owned descriptor and plain numbers; the kernel takes no pointer for siginfo.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            descriptor.as_raw_fd(),
            libc::SIGKILL,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    match result {
        0 => Ok(()),
        _ => gone(io::Error::last_os_error()),
    }
}

/// When a process started, in nanoseconds since boot, as exact as /proc tells.
pub(super) fn start(pid: u32) -> Option<u64> {
    started_at(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The same; `None` also for a process that is ending, which has no label any more and is in its cgroup for a moment.
///
/// # Errors
/// Where it cannot be told, as without a descriptor to spare: that is not to say that the process is gone.
pub(super) fn start_of_living(pid: u32) -> io::Result<Option<u64>> {
    living(fs::read(format!("/proc/{pid}/stat")))
}

fn living(stat: io::Result<Vec<u8>>) -> io::Result<Option<u64>> {
    match stat {
        Ok(stat) if is_ending(&stat) => Ok(None),
        Ok(stat) => Ok(started_at(&stat)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => gone(error).map(|()| None),
    }
}

fn open(pid: u32) -> io::Result<Option<OwnedFd>> {
    // SAFETY: two numbers; the kernel returns a descriptor of this process' or an error.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if descriptor < 0 {
        return gone(io::Error::last_os_error()).map(|()| None);
    }
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: new, and nobody else's.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(descriptor) }))
}

fn gone(error: io::Error) -> io::Result<()> {
    if error.raw_os_error() == Some(libc::ESRCH) {
        Ok(())
    } else {
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn who_cannot_be_looked_at_is_not_gone() {
        let own = std::process::id();
        assert_eq!(start_of_living(own).unwrap(), start(own));
        assert_eq!(start_of_living(u32::MAX).unwrap(), None);
        let failed = |code| living(Err(io::Error::from_raw_os_error(code)));
        assert_eq!(failed(libc::ENOENT).unwrap(), None);
        assert_eq!(failed(libc::ESRCH).unwrap(), None);
        for code in [libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
            assert!(failed(code).is_err());
        }
    }

    #[test]
    fn kills_the_process_it_means_and_no_other() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let started = start(child.id()).unwrap();
        kill(child.id(), started + 5 * TICK).unwrap();
        assert!(child.try_wait().unwrap().is_none());
        kill(child.id(), started).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        kill(child.id(), started).unwrap();
    }
}
