//! Entering namespaces of processes outside.

use std::os::fd::AsRawFd;

use super::cgroups::escaped;
use super::descriptors::{ask_for, pidfd};
use super::sys::{Result, call, descriptor, open};
use super::{Attempt, Outcome, Stop, Technique, technique};

const PIDS: &str = "pid namespace";
const OR: &[(&str, &str)] = &[
    ("setns: EPERM", "capabilities"),
    ("setns: ENOSYS", "seccomp: setns"),
    ("unshare: EPERM", "seccomp: unshare"),
    ("sendto: EPERM", "sendmsg4/6"),
];

pub(super) const TABLE: &[Technique] = &[
    technique(
        "setns-net",
        "setns to the network namespace of a process outside",
        |a| enter(a, &format!("/proc/{}/ns/net", a.outside()?.pid)),
    )
    .root()
    .closed(PIDS, "sendmsg4/6")
    .or(OR),
    technique("setns-parent", "the same of the parent process", |a| {
        enter(
            a,
            &format!("/proc/{}/ns/net", std::os::unix::process::parent_id()),
        )
    })
    .root()
    .closed("capabilities", "sendmsg4/6")
    .or(OR),
    technique("setns-pidfd", "setns by a pidfd", |a| {
        let pidfd = pidfd(a)?;
        set(&pidfd, libc::CLONE_NEWNET)?;
        escaped(a)
    })
    .root()
    .closed(PIDS, "sendmsg4/6")
    .or(OR),
    technique(
        "setns-passed",
        "setns to a namespace that was passed (SCM_RIGHTS)",
        |a| {
            let fd = ask_for(a, "netns")?;
            set(&fd, libc::CLONE_NEWNET)?;
            escaped(a)
        },
    )
    .root()
    .closed("mount namespace", "connect_unix")
    .or(OR),
    technique(
        "setns-handle",
        "setns to a namespace opened by its file handle",
        |a| {
            let handle = a.outside()?.netns.clone();
            let (kind, bytes) = handle.ok_or_else(|| {
                Stop::Unavailable("the kernel gives no handles of namespaces".to_owned())
            })?;
            // FD_NSFS_ROOT
            let fd = open_handle(-10003, kind, &bytes, libc::O_RDONLY)?;
            set(&fd, libc::CLONE_NEWNET)?;
            escaped(a)
        },
    )
    .root()
    .closed("capabilities", "sendmsg4/6")
    .or(OR),
    technique(
        "setns-mount",
        "setns to the mount namespace of a process outside, then its services",
        |a| {
            let fd = open(format!("/proc/{}/ns/mnt", a.outside()?.pid), libc::O_RDONLY)?;
            set(&fd, libc::CLONE_NEWNS)?;
            super::unix::ask(a, std::path::Path::new("/run/docker.sock"), "{}")
        },
    )
    .root()
    .closed(PIDS, "connect_unix")
    .or(OR),
    technique(
        "setns-cgroup",
        "setns to the cgroup namespace of a process outside, then leave",
        |a| {
            let fd = open(
                format!("/proc/{}/ns/cgroup", a.outside()?.pid),
                libc::O_RDONLY,
            )?;
            set(&fd, libc::CLONE_NEWCGROUP)?;
            let procs = open(a.world.outer_cgroup.join("cgroup.procs"), libc::O_WRONLY)?;
            super::descriptors::write(&procs, b"0")?;
            escaped(a)
        },
    )
    .root()
    .closed(PIDS, "killed: left its cgroup")
    .or(OR),
    technique(
        "unshare-net-return",
        "a network namespace of one's own and back by a kept descriptor",
        |a| {
            let kept = open("/proc/self/ns/net", libc::O_RDONLY)?;
            call("unshare", unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
            set(&kept, libc::CLONE_NEWNET)?;
            escaped(a)
        },
    )
    .root()
    .closed("capabilities", "sendmsg4/6")
    .or(OR),
    technique(
        "unshare-user",
        "root of a user namespace of one's own, then a datagram",
        |a| {
            call("unshare", unsafe { libc::unshare(libc::CLONE_NEWUSER) })?;
            escaped(a)
        },
    )
    .closed("sendmsg4/6", "sendmsg4/6")
    .or(OR),
    technique(
        "setns-user",
        "setns to the user namespace of a process outside",
        |a| {
            let fd = open(
                format!("/proc/{}/ns/user", a.outside()?.pid),
                libc::O_RDONLY,
            )?;
            call("unshare", unsafe { libc::unshare(libc::CLONE_NEWUSER) })?;
            match set(&fd, libc::CLONE_NEWUSER) {
                Ok(()) => escaped(a),
                // Nobody gets back out of a user namespace; whoever could is out of all of this.
                Err(stop) => Err(Stop::Unavailable(format!(
                    "refused by every kernel: {stop}"
                ))),
            }
        },
    )
    .root()
    .closed(PIDS, ""),
];

fn enter(attempt: &Attempt<'_>, path: &str) -> Outcome {
    let fd = open(path, libc::O_RDONLY)?;
    set(&fd, libc::CLONE_NEWNET)?;
    escaped(attempt)
}

fn set(fd: &impl AsRawFd, kind: i32) -> Result<()> {
    call("setns", unsafe { libc::setns(fd.as_raw_fd(), kind) }).map(drop)
}

/// `open_by_handle_at`.
pub(super) fn open_handle(
    mount: i32,
    kind: i32,
    bytes: &[u8],
    flags: i32,
) -> Result<std::os::fd::OwnedFd> {
    let mut handle = (bytes.len() as u32).to_ne_bytes().to_vec();
    handle.extend(kind.to_ne_bytes());
    handle.extend(bytes);
    descriptor("open_by_handle_at", unsafe {
        libc::syscall(libc::SYS_open_by_handle_at, mount, handle.as_ptr(), flags)
    })
}

/// `name_to_handle_at`: type and bytes.
pub(super) fn handle(path: &str) -> Option<(i32, Vec<u8>)> {
    let path = super::sys::c_string(std::path::Path::new(path));
    let mut handle = [0_u8; 136];
    handle[..4].copy_from_slice(&128_u32.to_ne_bytes());
    let mut mount = 0_i32;
    let done = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            path.as_ptr(),
            handle.as_mut_ptr(),
            &raw mut mount,
            libc::AT_SYMLINK_FOLLOW,
        )
    };
    if done != 0 {
        return None;
    }
    let size = u32::from_ne_bytes(handle[..4].try_into().ok()?) as usize;
    let kind = i32::from_ne_bytes(handle[4..8].try_into().ok()?);
    Some((kind, handle[8..8 + size].to_vec()))
}
