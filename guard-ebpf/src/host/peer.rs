//! Whether a socket is a session's own.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use guard_common::tracking::{AllowedSocket, UNIX_NAME_BYTES};

use crate::kernel::{offset, read};
use crate::label::Session;
use crate::maps::ALLOWED;

/// Address families (include/linux/socket.h).
pub(crate) const AF_UNIX: u16 = 1;
pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;
pub(crate) const AF_NETLINK: u16 = 16;

/// Bytes before the name in a `sockaddr_un`.
const NAME: u32 = 2;

/// A socket's family; zero where it cannot be read.
#[inline(always)]
pub(crate) fn family_of(sock: u64) -> u16 {
    read(sock, offset!(sock_family)).unwrap_or(0)
}

/// The `struct sock` of a `struct socket`.
#[inline(always)]
pub(crate) fn sock_of(socket: u64) -> u64 {
    read(socket, offset!(socket_sk)).unwrap_or(0)
}

/// Whether a socket was made in the session's cgroup. One that cannot be read was not.
#[inline(always)]
pub(crate) fn is_own(session: &Session, sock: u64) -> bool {
    read(sock, offset!(sock_cgroup)).is_some_and(|cgroup| session.holds(cgroup))
}

/// Whether the session may use a socket for data, whoever made it: its own of the families that it may have, and
/// unix sockets, whose peers other hooks judge.
#[inline(always)]
pub(crate) fn may_use(session: &Session, sock: u64) -> bool {
    match family_of(sock) {
        AF_UNIX | AF_NETLINK => true,
        AF_INET | AF_INET6 => is_own(session, sock),
        _ => false,
    }
}

/// Whether the session may talk to a unix socket: its own, or one that the profile lists by the name that it is bound
/// to.
#[inline(always)]
pub(crate) fn may_reach(session: &Session, sock: u64) -> bool {
    is_own(session, sock) || is_allowed(session, sock).unwrap_or(false)
}

#[inline(always)]
fn is_allowed(session: &Session, sock: u64) -> Option<bool> {
    let address: u64 = read(sock, offset!(unix_sock_addr))?;
    if address == 0 {
        return None;
    }
    let mut key = AllowedSocket {
        cgroup: session.cgroup,
        name: [0; _],
    };
    let path = address.wrapping_add(u64::from(offset!(unix_address_name) + NAME));
    let (to, size) = ((&raw mut key.name).cast(), UNIX_NAME_BYTES as u32);
    // SAFETY: no more than `size` bytes; the helper checks the source. The kernel ends a path with a zero byte; an
    // abstract name begins with one, and is no path.
    let length = unsafe { bpf_probe_read_kernel_str(to, size, path as *const _) };
    (length > 1).then(|| ALLOWED.get_ptr(key).is_some())
}
