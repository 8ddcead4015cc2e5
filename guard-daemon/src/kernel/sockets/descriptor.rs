//! Another process' sockets, as descriptors of our own.
#![allow(unsafe_code, reason = "no crate wraps pidfd_getfd and these options")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Another process.
pub(super) struct Process(OwnedFd);

/// A socket that another process holds, too.
pub(super) struct Socket(OwnedFd);

/// What a socket is.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// TCP or UDP.
    Ip,
    /// Of another protocol over IP.
    Raw,
    /// With the process at the other end, where it is connected.
    Unix { peer: Option<u32> },
    /// To the kernel.
    Netlink,
    /// Of another family.
    Other(String),
}

/// A device number that no device has.
const NO_DEVICE: libc::c_int = libc::c_int::MAX;

impl Process {
    /// Takes hold of a process. It stays the same even if the number is given out again.
    pub(super) fn open(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        // SAFETY: a system call without pointers.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        Ok(Self(descriptor(result)?))
    }

    /// Duplicates one of its sockets.
    pub(super) fn socket(&self, number: i32) -> io::Result<Socket> {
        // SAFETY: a system call without pointers.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_getfd, self.0.as_raw_fd(), number, 0) };
        Ok(Socket(descriptor(result)?))
    }
}

impl Socket {
    pub(super) fn kind(&self) -> io::Result<Kind> {
        Ok(match self.number(libc::SO_DOMAIN)? {
            libc::AF_INET | libc::AF_INET6 => match self.number(libc::SO_PROTOCOL)? {
                libc::IPPROTO_TCP | libc::IPPROTO_UDP
                    if self.number(libc::SO_TYPE)? != libc::SOCK_RAW =>
                {
                    Kind::Ip
                }
                _ => Kind::Raw,
            },
            libc::AF_UNIX => Kind::Unix { peer: self.peer() },
            libc::AF_NETLINK => Kind::Netlink,
            libc::AF_PACKET => Kind::Other("AF_PACKET".to_owned()),
            libc::AF_VSOCK => Kind::Other("AF_VSOCK".to_owned()),
            libc::AF_XDP => Kind::Other("AF_XDP".to_owned()),
            family => Kind::Other(format!("address family {family}")),
        })
    }

    /// Ends an IP socket's connection or its listening, and makes it unusable. Does all that it can, and tells of
    /// the first thing that it could not do.
    pub(super) fn disable(&self) -> io::Result<()> {
        // Nothing more is received, for ever.
        let mut nothing = [libc::sock_filter {
            code: 0x06, // BPF_RET | BPF_K
            jt: 0,
            jf: 0,
            k: 0,
        }];
        let filter = libc::sock_fprog {
            len: 1,
            filter: nothing.as_mut_ptr(),
        };
        let filtered = self.set(libc::SO_ATTACH_FILTER, &filter);
        let locked = self.set(libc::SO_LOCK_FILTER, &1_i32);
        // The peer is told while that is possible. A socket without a connection has none to end.
        let nowhere = libc::sockaddr {
            sa_family: 0, // AF_UNSPEC
            sa_data: [0; 14],
        };
        // SAFETY: the address has the length it is said to have.
        unsafe {
            libc::connect(
                self.0.as_raw_fd(),
                &raw const nowhere,
                length::<libc::sockaddr>(),
            );
        }
        let bound = self.set(libc::SO_BINDTOIFINDEX, &NO_DEVICE);
        // SAFETY: a system call without pointers. It says that there is no connection, and works all the same.
        unsafe { libc::shutdown(self.0.as_raw_fd(), libc::SHUT_RDWR) };
        filtered.and(locked).and(bound)
    }

    /// The process that a unix socket is connected to, or that made it as one of a pair.
    fn peer(&self) -> Option<u32> {
        let mut peer = libc::ucred {
            pid: 0,
            uid: 0,
            gid: 0,
        };
        self.get(libc::SO_PEERCRED, &mut peer).ok()?;
        u32::try_from(peer.pid).ok().filter(|pid| *pid != 0)
    }

    fn number(&self, option: libc::c_int) -> io::Result<libc::c_int> {
        let mut number = 0;
        self.get(option, &mut number)?;
        Ok(number)
    }

    fn get<T>(&self, option: libc::c_int, value: &mut T) -> io::Result<()> {
        let mut size = length::<T>();
        // SAFETY: the kernel writes at most `size` bytes to `value` and the new size to `size`.
        let result = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                std::ptr::from_mut(value).cast(),
                &raw mut size,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    fn set<T>(&self, option: libc::c_int, value: &T) -> io::Result<()> {
        // SAFETY: the kernel reads `value` and what it points to, which the caller holds.
        let result = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                std::ptr::from_ref(value).cast(),
                length::<T>(),
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the structures here are a few bytes"
)]
const fn length<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let number = i32::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel just made it for us, close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
