//! `cgroup/sock_create`, `cgroup/sock_release`, `cgroup/bind4,6`, `cgroup/setsockopt`: which sockets there may be.

use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::macros::{cgroup_sock, cgroup_sock_addr, cgroup_sockopt};
use aya_ebpf::programs::{SockAddrContext, SockContext, SockoptContext};
use guard_common::{Endpoint, RefusalCode, SocketMark};

use crate::caller::{ALLOW, REFUSE, Socket, refuse};
use crate::connect::{Family, V4, V6, is_tcp, is_udp, socket};
use crate::maps::{DNS_SERVERS, ORIGINS_BY_SOCKET, settings};
use crate::marks::mark;
use crate::volatile::{read, write};

/// Lets TCP and UDP be created, nothing else: raw and ping sockets pass the other hooks by, an MPTCP
/// socket's cookie is not the one they see, SCTP and UDP-Lite have no gateway. The kernel asks for
/// AF_INET and AF_INET6 only; other families are for seccomp.
#[cgroup_sock(sock_create)]
pub(crate) fn sock_create(context: SockContext) -> i32 {
    let socket = Socket {
        family: read!(context.sock, family),
        kind: read!(context.sock, type_),
        protocol: read!(context.sock, protocol),
    };
    let Some(settings) = settings() else {
        return refuse(RefusalCode::Unset, Endpoint::NONE, &socket);
    };
    if !is_tcp(&socket) && !is_udp(&socket) {
        return refuse(RefusalCode::SocketFamily, Endpoint::NONE, &socket);
    }
    if settings.is_shared() && !mark(context.sock.cast(), SocketMark::Session) {
        return REFUSE;
    }
    ALLOW
}

/// Forgets a socket. What is filed for the gateway stays: a client may write and close before it is
/// accepted.
#[cgroup_sock(sock_release)]
pub(crate) fn sock_release(context: SockContext) -> i32 {
    // SAFETY: the kernel's own context.
    let cookie = unsafe { bpf_get_socket_cookie(context.sock.cast()) };
    let _ = ORIGINS_BY_SOCKET.remove(cookie);
    let _ = DNS_SERVERS.remove(cookie);
    ALLOW
}

#[cgroup_sock_addr(bind4)]
pub(crate) fn bind4(context: SockAddrContext) -> i32 {
    bind(context.sock_addr, V4::endpoint(context.sock_addr))
}

#[cgroup_sock_addr(bind6)]
pub(crate) fn bind6(context: SockAddrContext) -> i32 {
    bind(context.sock_addr, V6::endpoint(context.sock_addr))
}

/// Keeps a confined process from taking guard's ports when the daemon is gone, and its siblings'
/// connections with them.
#[inline(always)]
fn bind(context: *mut bpf_sock_addr, address: Endpoint) -> i32 {
    let Some(settings) = settings() else {
        return refuse(RefusalCode::Unset, address, &socket(context));
    };
    if address.port == u32::from(settings.gateway_port)
        || address.port == u32::from(settings.resolver_port)
    {
        return refuse(RefusalCode::ReservedPort, address, &socket(context));
    }
    ALLOW
}

/// asm-generic/socket.h.
const SOL_SOCKET: i32 = 1;
const SO_ATTACH_REUSEPORT_CBPF: i32 = 51;
const SO_ATTACH_REUSEPORT_EBPF: i32 = 52;
/// linux/in.h and linux/in6.h; the `MCAST_` options are the same at both levels.
const SOL_IP: i32 = 0;
const IP_ADD_MEMBERSHIP: i32 = 35;
const IP_ADD_SOURCE_MEMBERSHIP: i32 = 39;
const SOL_IPV6: i32 = 41;
const IPV6_JOIN_GROUP: i32 = 20;
const IPV6_JOIN_ANYCAST: i32 = 27;
const MCAST_JOIN_GROUP: i32 = 42;
const MCAST_JOIN_SOURCE_GROUP: i32 = 46;

/// Attached in a shared network namespace only. There `marks` must find the socket that the kernel will deliver
/// to, so a program of the session's own that chooses among the sockets of a port is refused. And the kernel
/// itself announces on the host's devices which groups a socket has joined, addresses of the session's choice,
/// past every hook on packets; so joining is refused.
#[cgroup_sockopt(setsockopt)]
pub(crate) fn setsockopt(context: SockoptContext) -> i32 {
    let option = read!(context.sockopt, optname);
    let refused = match read!(context.sockopt, level) {
        SOL_SOCKET => option == SO_ATTACH_REUSEPORT_CBPF || option == SO_ATTACH_REUSEPORT_EBPF,
        SOL_IP => option == IP_ADD_MEMBERSHIP || option == IP_ADD_SOURCE_MEMBERSHIP || joins(option),
        SOL_IPV6 => option == IPV6_JOIN_GROUP || option == IPV6_JOIN_ANYCAST || joins(option),
        _ => false,
    };
    if settings().is_none() || refused {
        return REFUSE;
    }
    if read!(context.sockopt, optlen) > PAGE {
        // The kernel showed us a page of it; without this it would take that for the whole.
        write!(context.sockopt, 0, optlen);
    }
    ALLOW
}

#[inline(always)]
fn joins(option: i32) -> bool {
    option == MCAST_JOIN_GROUP || option == MCAST_JOIN_SOURCE_GROUP
}

/// The smallest page that Linux has.
const PAGE: i32 = 4096;
