//! Message queues, keys and netlink: what processes of a host share without files and sockets of the network.

use std::ffi::CString;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

use super::sys::{Address, call, descriptor, pause, send_to, socket};
use super::udp::sent;
use super::{Outcome, Stop, Technique, technique};

pub(super) const TABLE: &[Technique] = &[
    technique(
        "sysv-queue",
        "a System V message queue of a process outside",
        |a| {
            let queue =
                call("msgget", unsafe { libc::msgget(a.world.ipc_key(), 0) }).map_err(absent)?;
            // The type, then the text.
            let mut message = 1_i64.to_ne_bytes().to_vec();
            message.extend(a.marker().bytes());
            call("msgsnd", unsafe {
                libc::msgsnd(
                    queue as _,
                    message.as_ptr().cast(),
                    message.len() - 8,
                    libc::IPC_NOWAIT,
                )
            })?;
            delivered()
        },
    )
    .closed("ipc namespace", ""),
    technique(
        "sysv-memory",
        "System V shared memory of a process outside",
        |a| {
            let id =
                call("shmget", unsafe { libc::shmget(a.world.ipc_key(), 0, 0) }).map_err(absent)?;
            let at = call(
                "shmat",
                unsafe { libc::shmat(id as _, std::ptr::null(), 0) } as isize,
            )?;
            let mark = a.marker();
            unsafe { std::ptr::copy_nonoverlapping(mark.as_ptr(), at as *mut u8, mark.len()) };
            delivered()
        },
    )
    .closed("ipc namespace", ""),
    technique(
        "posix-queue",
        "a POSIX message queue of a process outside",
        |a| {
            let name = CString::new(a.world.queue()).unwrap_or_default();
            let queue = descriptor("mq_open", unsafe {
                libc::mq_open(name.as_ptr(), libc::O_WRONLY)
            })
            .map_err(absent)?;
            let mark = a.marker();
            call("mq_send", unsafe {
                libc::mq_send(queue.as_raw_fd(), mark.as_ptr().cast(), mark.len(), 0)
            })?;
            delivered()
        },
    )
    .closed("ipc namespace", ""),
    technique(
        "keyring-user",
        "a key in the user's keyring, read by a process outside",
        |a| {
            let description = CString::new(a.world.key()).unwrap_or_default();
            let mark = a.marker();
            call("add_key", unsafe {
                libc::syscall(
                    libc::SYS_add_key,
                    c"user".as_ptr(),
                    description.as_ptr(),
                    mark.as_ptr(),
                    mark.len(),
                    -4,
                )
            })
            .map_err(absent)?;
            pause(150);
            sent()
        },
    )
    .closed("seccomp: add_key", ""),
    technique(
        "keyring-dns",
        "request_key(dns_resolver): the kernel has a program outside resolve a name",
        |a| {
            let name = CString::new(format!("{}.example", a.marker())).unwrap_or_default();
            call("request_key", unsafe {
                libc::syscall(
                    libc::SYS_request_key,
                    c"dns_resolver".as_ptr(),
                    name.as_ptr(),
                    c"".as_ptr(),
                    -2,
                )
            })
            .map_err(|stop| match stop {
                Stop::Refused(_, Errno::ENOENT) => {
                    Stop::Unavailable("the host does not have /sbin/request-key".to_owned())
                }
                other => absent(other),
            })?;
            sent()
        },
    )
    .closed("seccomp: request_key", ""),
    technique(
        "netlink-message",
        "a netlink message to a process outside (NETLINK_USERSOCK)",
        |a| {
            let fd = socket(16, 3, 2)?;
            let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
            address.nl_family = libc::AF_NETLINK as _;
            address.nl_pid = a.world.netlink_port();
            send_to(&fd, a.marker().as_bytes(), 0, &Address::of(&address))?;
            delivered()
        },
    )
    .closed("network namespace", "")
    .or(&[
        ("socket: EAFNOSUPPORT", "seccomp: socket"),
        ("socket: EPERM", "seccomp: socket"),
        ("socket: EACCES", "seccomp: socket"),
    ]),
];

fn delivered() -> Outcome {
    pause(80);
    sent()
}

fn absent(stop: Stop) -> Stop {
    match stop {
        Stop::Refused(call, Errno::ENOSYS | Errno::ENODEV | Errno::EOPNOTSUPP | Errno::ENOKEY) => {
            Stop::Unavailable(format!("{call}: the kernel does not have it"))
        }
        other => other,
    }
}
