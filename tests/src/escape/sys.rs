//! System calls, with the call's name in every failure.

use std::ffi::CString;
use std::mem::{size_of, size_of_val, zeroed};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use libc::{c_int, c_void};
use nix::errno::Errno;

use super::attempt::Stop;

/// What the kernel returns: a number, or the call that failed.
pub(super) type Result<T> = std::result::Result<T, Stop>;

pub(super) trait Returned {
    fn number(self) -> i64;
}
impl Returned for i32 {
    fn number(self) -> i64 {
        i64::from(self)
    }
}
impl Returned for i64 {
    fn number(self) -> i64 {
        self
    }
}
impl Returned for isize {
    fn number(self) -> i64 {
        self as i64
    }
}

/// Names a call's failure.
pub(super) fn call(name: &'static str, returned: impl Returned) -> Result<i64> {
    match returned.number() {
        -1 => Err(Stop::Refused(name, Errno::last())),
        number => Ok(number),
    }
}

/// The same for a call that makes a descriptor.
pub(super) fn descriptor(name: &'static str, returned: impl Returned) -> Result<OwnedFd> {
    let fd = call(name, returned)? as RawFd;
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// An address of any family.
pub(super) struct Address {
    storage: libc::sockaddr_storage,
    length: libc::socklen_t,
}

impl Address {
    pub(super) fn of<T>(address: &T) -> Self {
        let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
        let length = size_of::<T>();
        unsafe {
            std::ptr::copy_nonoverlapping(
                std::ptr::from_ref(address).cast::<u8>(),
                (&raw mut storage).cast::<u8>(),
                length,
            );
        }
        Self {
            storage,
            length: length as _,
        }
    }

    pub(super) fn ip(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => Self::of(&libc::sockaddr_in {
                sin_family: libc::AF_INET as _,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from(*v4.ip()).to_be(),
                },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(v6) => Self::of(&libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as _,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            }),
        }
    }

    /// A unix socket's address: a path, or `@name` for an abstract one.
    pub(super) fn unix(path: &Path) -> Self {
        let mut address: libc::sockaddr_un = unsafe { zeroed() };
        address.sun_family = libc::AF_UNIX as _;
        let bytes = path.as_os_str().as_bytes();
        for (to, from) in address.sun_path.iter_mut().zip(bytes) {
            *to = *from as _;
        }
        let mut length = 2 + bytes.len() + 1;
        if bytes.first() == Some(&b'@') {
            address.sun_path[0] = 0;
            length -= 1;
        }
        let mut whole = Self::of(&address);
        whole.length = length as _;
        whole
    }

    /// Where it is and how long, for io_uring.
    pub(super) fn numbers(&self) -> (u64, u64) {
        ((&raw const self.storage) as u64, u64::from(self.length))
    }

    fn parts(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        ((&raw const self.storage).cast(), self.length)
    }
}

pub(super) fn socket(domain: c_int, kind: c_int, protocol: c_int) -> Result<OwnedFd> {
    let fd = descriptor("socket", unsafe { libc::socket(domain, kind, protocol) })?;
    // Nothing here waits for long; where an option does not apply, nothing waits at all.
    let patience = libc::timeval {
        tv_sec: 0,
        tv_usec: 400_000,
    };
    let _ = option(&fd, libc::SOL_SOCKET, libc::SO_SNDTIMEO, &patience);
    let _ = option(&fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &patience);
    Ok(fd)
}

pub(super) fn option<T: ?Sized>(
    fd: &impl AsRawFd,
    level: c_int,
    name: c_int,
    value: &T,
) -> Result<()> {
    call("setsockopt", unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast::<c_void>(),
            size_of_val(value) as _,
        )
    })
    .map(drop)
}

pub(super) fn bind(fd: &impl AsRawFd, address: &Address) -> Result<()> {
    let (address, length) = address.parts();
    call("bind", unsafe {
        libc::bind(fd.as_raw_fd(), address, length)
    })
    .map(drop)
}

pub(super) fn connect(fd: &impl AsRawFd, address: &Address) -> Result<()> {
    let (address, length) = address.parts();
    call("connect", unsafe {
        libc::connect(fd.as_raw_fd(), address, length)
    })
    .map(drop)
}

pub(super) fn send(fd: &impl AsRawFd, bytes: &[u8], flags: c_int) -> Result<()> {
    call("send", unsafe {
        libc::send(
            fd.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            flags | libc::MSG_NOSIGNAL,
        )
    })
    .map(drop)
}

pub(super) fn send_to(
    fd: &impl AsRawFd,
    bytes: &[u8],
    flags: c_int,
    address: &Address,
) -> Result<()> {
    let (address, length) = address.parts();
    call("sendto", unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            flags | libc::MSG_NOSIGNAL,
            address,
            length,
        )
    })
    .map(drop)
}

/// A control message: level, type, bytes.
pub(super) type Control<'a> = (c_int, c_int, &'a [u8]);

/// A message with its parts, for `use_message`.
pub(super) fn with_message<T>(
    bytes: &[u8],
    address: Option<&Address>,
    control: Option<Control<'_>>,
    use_message: impl FnOnce(*mut libc::msghdr) -> T,
) -> T {
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if let Some(address) = address {
        let (name, length) = address.parts();
        message.msg_name = name.cast_mut().cast();
        message.msg_namelen = length;
    }
    let mut space = [0_u64; 64];
    if let Some((level, kind, value)) = control {
        unsafe {
            message.msg_control = space.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(value.len() as _) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            (*header).cmsg_len = libc::CMSG_LEN(value.len() as _) as _;
            std::ptr::copy_nonoverlapping(value.as_ptr(), libc::CMSG_DATA(header), value.len());
        }
    }
    use_message(&raw mut message)
}

pub(super) fn send_message(
    fd: &impl AsRawFd,
    bytes: &[u8],
    address: Option<&Address>,
    control: Option<Control<'_>>,
) -> Result<()> {
    with_message(bytes, address, control, |message| {
        call("sendmsg", unsafe {
            libc::sendmsg(fd.as_raw_fd(), message, libc::MSG_NOSIGNAL)
        })
    })
    .map(drop)
}

/// Receives a descriptor that the other end of a unix socket sends.
pub(super) fn receive_descriptor(fd: &impl AsRawFd) -> Result<OwnedFd> {
    let mut byte = [0_u8; 16];
    let mut part = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: byte.len(),
    };
    let mut space = [0_u64; 8];
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = space.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&space) as _;
    call("recvmsg", unsafe {
        libc::recvmsg(fd.as_raw_fd(), &raw mut message, 0)
    })?;
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if header.is_null() || (*header).cmsg_type != libc::SCM_RIGHTS {
            return Err(Stop::Nothing("no descriptor came".to_owned()));
        }
        let received = std::ptr::read_unaligned(libc::CMSG_DATA(header).cast::<RawFd>());
        if received < 0 {
            return Err(Stop::Nothing("no descriptor came".to_owned()));
        }
        Ok(OwnedFd::from_raw_fd(received))
    }
}

/// The bytes of a value, for control messages.
pub(super) fn bytes_of<T>(value: &T) -> &[u8] {
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

pub(super) fn device() -> Result<u32> {
    nix::net::if_::if_nametoindex(super::world::World::DEVICE)
        .map_err(Stop::errno("if_nametoindex"))
}

pub(super) fn c_string(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

/// Opens a file with these flags.
pub(super) fn open(path: impl AsRef<Path>, flags: c_int) -> Result<OwnedFd> {
    let path = c_string(path.as_ref());
    descriptor("open", unsafe {
        libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, 0o600)
    })
}

/// Runs something in a forked child, which then ends; `true` if it went well.
pub(super) fn in_child(work: impl FnOnce() -> bool) -> Result<bool> {
    match call("fork", unsafe { libc::fork() })? {
        0 => unsafe { libc::_exit(i32::from(!work())) },
        pid => wait(pid as _),
    }
}

/// Waits for a child; `true` if it went well.
pub(super) fn wait(pid: libc::pid_t) -> Result<bool> {
    let mut status = 0;
    call("waitpid", unsafe {
        libc::waitpid(pid, &raw mut status, libc::__WALL)
    })?;
    Ok(status == 0)
}

pub(super) fn pause(milliseconds: u64) {
    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
}

/// Nanoseconds of CLOCK_MONOTONIC.
pub fn now() -> u64 {
    let mut time: libc::timespec = unsafe { zeroed() };
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A socket that sees every frame that a device receives; reading waits 50 ms.
pub fn wiretap(device: &str) -> std::io::Result<OwnedFd> {
    const PACKET_IGNORE_OUTGOING: c_int = 23;
    const ALL: u16 = 3;

    let made = || -> Result<OwnedFd> {
        let fd = socket(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
        let wait = libc::timeval {
            tv_sec: 0,
            tv_usec: 50_000,
        };
        option(&fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &wait)?;
        option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(16 << 20))?;
        option(&fd, 263, PACKET_IGNORE_OUTGOING, &1_i32)?;
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as _;
        address.sll_protocol = ALL.to_be();
        address.sll_ifindex =
            nix::net::if_::if_nametoindex(device).map_err(Stop::errno("if_nametoindex"))? as _;
        bind(&fd, &Address::of(&address))?;
        Ok(fd)
    };
    made().map_err(|stop| std::io::Error::other(stop.to_string()))
}
