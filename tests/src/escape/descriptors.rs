//! Sockets that were made outside, which no cgroup hook sees: inherited, passed, taken.

use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use libc::{AF_UNIX, SOCK_STREAM};

use super::sys::{
    Address, Result, call, connect, descriptor, open, pause, receive_descriptor, send, send_to,
    socket,
};
use super::udp::sent;
use super::unix::abstract_name;
use super::world::World;
use super::{Attempt, Outcome, Stop, Technique, technique};

const MOUNTS: &str = "mount namespace";
const PIDS: &str = "pid namespace";
const OR: &[(&str, &str)] = &[("connect: EPERM", "connect_unix")];

/// The socket on which the process outside hands out descriptors: a path below the home, an abstract name.
pub(super) const PASSER: &str = "passer.sock";
pub(super) const PASSER_ABSTRACT: &str = "@escape-passer-";

pub(super) const TABLE: &[Technique] = &[
    technique("inherited-udp", "an inherited UDP socket, connected", |a| {
        let fd = inherited(World::INHERITED_UDP)?;
        send(&fd, a.marker().as_bytes(), 0)?;
        sent()
    })
    .closed("descriptors closed", "sockets destroyed")
    .or(&[("send: EPERM", "sockets from outside refused")]),
    technique("inherited-tcp", "an inherited TCP connection", |a| {
        let fd = inherited(World::INHERITED_TCP)?;
        send(&fd, a.marker().as_bytes(), 0)?;
        sent()
    })
    .closed("descriptors closed", "sockets destroyed"),
    technique(
        "inherited-unconnected",
        "an inherited UDP socket, sendto",
        |a| {
            let fd = inherited(World::INHERITED_UNCONNECTED)?;
            send_to(&fd, a.marker().as_bytes(), 0, &Address::ip(a.v4(9)))?;
            sent()
        },
    )
    .closed("descriptors closed", "sockets from outside refused"),
    technique(
        "inherited-hidden",
        "the same, kept in flight in a unix socket of one's own",
        |a| {
            let fd = inherited(World::INHERITED_UNCONNECTED)?;
            let (here, there) = UnixStream::pair().map_err(Stop::io("socketpair"))?;
            pass(&here, fd.as_raw_fd())?;
            let fd = receive_descriptor(&there)?;
            send_to(&fd, a.marker().as_bytes(), 0, &Address::ip(a.v4(9)))?;
            sent()
        },
    )
    .closed("descriptors closed", "sockets from outside refused"),
    technique(
        "inherited-listener",
        "an inherited listener: accept from the internet, answer",
        |a| {
            let listener = TcpListener::from(inherited(World::INHERITED_LISTENER)?);
            super::tcp::accept(a, &listener)
        },
    )
    .closed("descriptors closed", "sockets from outside refused"),
    technique("inherited-packet", "an inherited packet socket", |a| {
        super::packet::send_frame(a, &inherited(World::INHERITED_PACKET)?)
    })
    .root()
    .closed("descriptors closed", ""),
    technique(
        "passed-listener",
        "SCM_RIGHTS: a listener, by a path",
        |a| super::tcp::accept(a, &TcpListener::from(passed(a, "listener")?)),
    )
    .closed(MOUNTS, "connect_unix")
    .or(OR),
    technique(
        "passed-connected",
        "SCM_RIGHTS: a connected UDP socket, by a path",
        |a| {
            let fd = passed(a, "connected")?;
            send(&fd, a.marker().as_bytes(), 0)?;
            sent()
        },
    )
    .closed(MOUNTS, "connect_unix")
    .or(OR),
    technique(
        "passed-unconnected",
        "SCM_RIGHTS: an unconnected UDP socket, by a path",
        |a| {
            let fd = passed(a, "unconnected")?;
            send_to(&fd, a.marker().as_bytes(), 0, &Address::ip(a.v4(9)))?;
            sent()
        },
    )
    .closed(MOUNTS, "connect_unix")
    .or(OR),
    technique(
        "passed-tcp",
        "SCM_RIGHTS: a TCP connection, by a path",
        |a| {
            let fd = passed(a, "tcp")?;
            send(&fd, a.marker().as_bytes(), 0)?;
            sent()
        },
    )
    .closed(MOUNTS, "connect_unix")
    .or(OR),
    technique(
        "passed-tcp-fresh",
        "SCM_RIGHTS: a TCP socket that is connected inside",
        |a| {
            let fd = passed(a, "fresh")?;
            super::tcp::say(a, &fd, a.v4(80))
        },
    )
    .closed(MOUNTS, "connect_unix")
    .or(OR),
    technique("passed-abstract", "SCM_RIGHTS: by an abstract name", |a| {
        let fd = passed_by(a, &abstract_name(a, PASSER_ABSTRACT), "connected")?;
        send(&fd, a.marker().as_bytes(), 0)?;
        sent()
    })
    .closed("network namespace", "connect_unix")
    .or(OR),
    technique("passed-packet", "SCM_RIGHTS: a packet socket", |a| {
        let fd = passed(a, "packet")?;
        super::packet::send_frame(a, &fd)
    })
    .root()
    .closed(MOUNTS, "connect_unix")
    .or(OR),
    technique(
        "taken",
        "pidfd_getfd from a process of the same user",
        |a| {
            let pidfd = pidfd(a)?;
            let fd = descriptor("pidfd_getfd", unsafe {
                libc::syscall(
                    libc::SYS_pidfd_getfd,
                    pidfd.as_raw_fd(),
                    World::INHERITED_UDP,
                    0,
                )
            })?;
            send(&fd, a.marker().as_bytes(), 0)?;
            sent()
        },
    )
    .closed(PIDS, "")
    .or(&[("pidfd_getfd: EPERM", "seccomp: pidfd_getfd")]),
    technique(
        "opened",
        "/proc/PID/fd of a process of the same user: a pipe it reads",
        |a| {
            let outside = a.outside()?.pid;
            let pipe = open(
                format!("/proc/{outside}/fd/{}", super::outside::PIPE),
                libc::O_WRONLY,
            )?;
            write(&pipe, a.marker().as_bytes())
        },
    )
    .closed(PIDS, ""),
    technique(
        "traced",
        "ptrace: a mark into the memory of a process of the same user",
        traced,
    )
    .alone()
    .closed(PIDS, "")
    .or(&[("ptrace: EPERM", "seccomp: ptrace")]),
    technique("written", "process_vm_writev: the same", |a| {
        let outside = a.outside()?;
        let mark = letter(a);
        let here = libc::iovec {
            iov_base: mark.as_ptr().cast_mut().cast(),
            iov_len: mark.len(),
        };
        let there = libc::iovec {
            iov_base: outside.mailbox as *mut _,
            iov_len: mark.len(),
        };
        call("process_vm_writev", unsafe {
            libc::process_vm_writev(outside.pid, &raw const here, 1, &raw const there, 1, 0)
        })?;
        delivered()
    })
    .alone()
    .closed(PIDS, "")
    .or(&[("process_vm_writev: EPERM", "seccomp: process_vm_writev")]),
    technique("memory-file", "/proc/PID/mem: the same", |a| {
        let outside = a.outside()?;
        let memory = open(format!("/proc/{}/mem", outside.pid), libc::O_RDWR)?;
        let mark = letter(a);
        call("pwrite", unsafe {
            libc::pwrite(
                memory.as_raw_fd(),
                mark.as_ptr().cast(),
                mark.len(),
                outside.mailbox as _,
            )
        })?;
        delivered()
    })
    .alone()
    .closed(PIDS, ""),
    technique(
        "signalled",
        "a signal to a process of the same user, which acts on it",
        |a| {
            let value = libc::sigval {
                sival_ptr: usize::from(a.number) as *mut _,
            };
            call("sigqueue", unsafe {
                libc::sigqueue(a.outside()?.pid, libc::SIGUSR1, value)
            })?;
            delivered()
        },
    )
    .closed(PIDS, ""),
];

fn inherited(number: i32) -> Result<OwnedFd> {
    let fd = descriptor("dup", unsafe { libc::dup(number) })?;
    let mut kind = 0_i32;
    let mut size = 4;
    call("getsockopt", unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TYPE,
            (&raw mut kind).cast(),
            &raw mut size,
        )
    })?;
    Ok(fd)
}

fn passed(attempt: &Attempt<'_>, kind: &str) -> Result<OwnedFd> {
    passed_by(attempt, &attempt.world.home.join(PASSER), kind)
}

/// Has the process outside pass a descriptor.
fn passed_by(attempt: &Attempt<'_>, path: &Path, kind: &str) -> Result<OwnedFd> {
    let fd = socket(AF_UNIX, SOCK_STREAM, 0)?;
    connect(&fd, &Address::unix(path))?;
    send(&fd, format!("{kind} {}\n", attempt.number).as_bytes(), 0)?;
    receive_descriptor(&fd)
}

/// The same for other families.
pub(super) fn ask_for(attempt: &Attempt<'_>, kind: &str) -> Result<OwnedFd> {
    passed(attempt, kind)
}

/// Sends a descriptor over a unix socket.
pub(super) fn pass(through: &impl AsRawFd, fd: i32) -> Result<()> {
    let control = (libc::SOL_SOCKET, libc::SCM_RIGHTS, &fd.to_ne_bytes()[..]);
    super::sys::send_message(through, b"x", None, Some(control))
}

pub(super) fn pidfd(attempt: &Attempt<'_>) -> Result<OwnedFd> {
    let outside = attempt.outside()?.pid;
    descriptor("pidfd_open", unsafe {
        libc::syscall(libc::SYS_pidfd_open, outside, 0)
    })
}

/// What goes into the mailbox: the mark, with the first byte that is looked at written with the rest.
fn letter(attempt: &Attempt<'_>) -> Vec<u8> {
    let mut mark = attempt.marker().into_bytes();
    mark.resize(super::outside::MAILBOX, 0);
    mark
}

fn delivered() -> Outcome {
    // The process outside looks every 15 ms, if the machine is not slow.
    pause(250);
    sent()
}

pub(super) fn write(fd: &impl AsRawFd, bytes: &[u8]) -> Outcome {
    call("write", unsafe {
        libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len())
    })?;
    delivered()
}

fn traced(attempt: &Attempt<'_>) -> Outcome {
    let outside = attempt.outside()?;
    let none = std::ptr::null_mut::<libc::c_void>();
    call("ptrace", unsafe {
        libc::ptrace(libc::PTRACE_ATTACH, outside.pid, none, none)
    })?;
    let mut status = 0;
    call("waitpid", unsafe {
        libc::waitpid(outside.pid, &raw mut status, libc::__WALL)
    })?;
    let letter = letter(attempt);
    // From the end, so that the first byte comes last.
    let words: Vec<_> = letter.chunks(8).enumerate().collect();
    for (index, word) in words.into_iter().rev() {
        let mut bytes = [0; 8];
        bytes[..word.len()].copy_from_slice(word);
        let place = (outside.mailbox + index as u64 * 8) as *mut libc::c_void;
        let value = u64::from_ne_bytes(bytes) as *mut libc::c_void;
        call("ptrace", unsafe {
            libc::ptrace(libc::PTRACE_POKEDATA, outside.pid, place, value)
        })?;
    }
    call("ptrace", unsafe {
        libc::ptrace(libc::PTRACE_DETACH, outside.pid, none, none)
    })?;
    delivered()
}
