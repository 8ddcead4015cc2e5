//! Starts the confined command: cgroup, namespaces, user, environment, terminal.
//!
//! Two processes use it. The launcher (`guard run`, one thread) forks the first process of the session's
//! namespaces (`init`, `mounts`) and the command (`child`, `privileges`, `filter`), waits for the command
//! and passes signals and stops on (`launch`, `streams`, `wait`). The daemon makes what confines it
//! (`cgroup`, `network`) and the files it is handed (`environment`, `trust`).
//!
//! One of the two modules that may hold `unsafe`.
#![allow(
    unsafe_code,
    reason = "fork, setns, capabilities and interface ioctls have no safe form"
)]

pub mod cgroup;
mod child;
pub mod environment;
mod filter;
mod init;
pub mod launch;
pub mod mounts;
pub mod network;
mod privileges;
mod report;
pub mod secrets;
mod streams;
pub mod trust;
pub mod user;
mod wait;

pub use child::close_on_exec;

/// What the launcher adds to the hooks, as `guard status` tells it.
pub const ENFORCED: [&str; 8] = [
    "network-namespace",
    "pid-namespace",
    "mount-namespace",
    "ipc-namespace",
    "cgroup-namespace",
    "no-new-privileges",
    "capabilities",
    "seccomp",
];

/// A descriptor that stands for a process, and is readable once it has ended (pidfd, Linux 5.3).
pub fn process_handle(pid: u32) -> std::io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;

    let number = libc::pid_t::try_from(pid).map_err(std::io::Error::other)?;
    // SAFETY: plain system call with integers.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, number, 0) };
    let descriptor = i32::try_from(result).map_err(std::io::Error::other)?;
    if descriptor < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(descriptor) })
}
