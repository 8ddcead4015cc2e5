//! `cgroup/connect4,6`: sends TCP to the gateway and DNS to the resolver; refuses other datagrams.
//!
//! The hooks run for every way to connect: blocking or not, TCP fast open, io_uring. An IPv6 socket's
//! IPv4-mapped destination comes to `connect6`.

use core::mem::size_of;

use aya_ebpf::bindings::{bpf_sock, bpf_sock_addr};
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_setsockopt};
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use guard_common::{Endpoint, Origin, RefusalCode, Settings, SocketMark};

use crate::caller::{ALLOW, REFUSE, Socket, caller, refuse};
use crate::maps::{DNS_SERVERS, LOOPBACK_PORTS, ORIGINS_BY_SOCKET, settings};
use crate::marks::{Occupant, mark, occupant};
use crate::volatile::{read, write};

/// The port of DNS over UDP and TCP (RFC 1035, 4.2).
pub(crate) const DNS_PORT: u32 = 53;
/// 127.0.0.1 in network byte order.
const LOOPBACK_V4: u32 = 0x7f00_0001_u32.to_be();

/// asm-generic/socket.h.
const SOL_SOCKET: i32 = 1;
const SO_BINDTODEVICE: i32 = 25;

const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
pub(crate) const IPPROTO_TCP: u32 = 6;
pub(crate) const IPPROTO_UDP: u32 = 17;

#[cgroup_sock_addr(connect4)]
pub(crate) fn connect4(context: SockAddrContext) -> i32 {
    connect(context.sock_addr, endpoint4(context.sock_addr), point4)
}

#[cgroup_sock_addr(connect6)]
pub(crate) fn connect6(context: SockAddrContext) -> i32 {
    connect(context.sock_addr, endpoint6(context.sock_addr), point6)
}

#[inline(always)]
fn connect(
    context: *mut bpf_sock_addr,
    destination: Endpoint,
    point: impl Fn(*mut bpf_sock_addr, u16),
) -> i32 {
    let socket = socket(context);
    let Some(settings) = settings() else {
        return refuse(RefusalCode::Unset, destination, &socket);
    };
    if is_tcp(&socket) {
        connect_tcp(context, destination, &settings, point)
    } else if is_udp(&socket) {
        datagram(context, destination, &socket, &settings, point)
    } else {
        refuse(RefusalCode::SocketFamily, destination, &socket)
    }
}

#[inline(always)]
fn connect_tcp(
    context: *mut bpf_sock_addr,
    destination: Endpoint,
    settings: &Settings,
    point: impl Fn(*mut bpf_sock_addr, u16),
) -> i32 {
    leave_device(context);
    if settings.is_shared() && !mark(sk(context).cast(), SocketMark::Connected) {
        return REFUSE;
    }
    let cookie = cookie(context);
    if destination.is_loopback()
        && destination.port != DNS_PORT
        && (!settings.is_shared() || is_reachable(context, destination, true))
    {
        // The session's own loopback. A connection to the gateway's own port has no origin either.
        let _ = ORIGINS_BY_SOCKET.remove(cookie);
        return ALLOW;
    }
    let origin = Origin {
        caller: caller(),
        destination,
    };
    if ORIGINS_BY_SOCKET.insert(cookie, origin, 0).is_err() {
        return REFUSE;
    }
    point(context, settings.gateway_port);
    ALLOW
}

/// What becomes of a datagram, or of a UDP socket's connect: DNS goes to the resolver, loopback is the
/// session's own, the rest is refused.
#[inline(always)]
pub(crate) fn datagram(
    context: *mut bpf_sock_addr,
    destination: Endpoint,
    socket: &Socket,
    settings: &Settings,
    point: impl Fn(*mut bpf_sock_addr, u16),
) -> i32 {
    let cookie = cookie(context);
    if destination.port == DNS_PORT {
        if DNS_SERVERS.insert(cookie, destination, 0).is_err() {
            return REFUSE;
        }
        point(context, settings.resolver_port);
        return ALLOW;
    }
    if destination.is_loopback()
        && (!settings.is_shared() || is_reachable(context, destination, false))
    {
        return ALLOW;
    }
    refuse(RefusalCode::Udp, destination, socket)
}

/// Whether a loopback address in a shared network namespace is the session's, guard's, or one that the
/// session may reach. What may change until a packet is there, `packet` looks at again.
#[inline(always)]
fn is_reachable(context: *mut bpf_sock_addr, destination: Endpoint, is_tcp: bool) -> bool {
    if is_reachable_port(destination.port) {
        return true;
    }
    let to = destination.or_loopback();
    let from = Endpoint { port: 0, ..to };
    occupant(context.cast(), is_tcp, &from, &to) == Occupant::Known
}

/// Whether the session may reach this port of loopback, whoever has it.
#[inline(always)]
pub(crate) fn is_reachable_port(port: u32) -> bool {
    // SAFETY: only looked whether it is there.
    unsafe { LOOPBACK_PORTS.get(port) }.is_some()
}

/// Takes a socket off the device that it is bound to, from which it would not reach the gateway. Where the
/// kernel does not let this be done for an unprivileged process, the packets are dropped.
#[inline(always)]
fn leave_device(context: *mut bpf_sock_addr) {
    let socket = sk(context);
    if socket.is_null() || read!(socket, bound_dev_if) == 0 {
        return;
    }
    let mut no_device = 0_u32;
    // SAFETY: the kernel's own context; the name has the length it is said to have.
    unsafe {
        bpf_setsockopt(
            context.cast(),
            SOL_SOCKET,
            SO_BINDTODEVICE,
            (&raw mut no_device).cast(),
            size_of::<u32>() as i32,
        )
    };
}

/// The kernel's socket of the context.
#[inline(always)]
fn sk(context: *mut bpf_sock_addr) -> *mut bpf_sock {
    read!(context, __bindgen_anon_1.sk)
}

/// The address in the context of an IPv4 hook.
#[inline(always)]
pub(crate) fn endpoint4(context: *mut bpf_sock_addr) -> Endpoint {
    Endpoint::v4(read!(context, user_ip4), port(context))
}

/// The address in the context of an IPv6 hook.
#[inline(always)]
pub(crate) fn endpoint6(context: *mut bpf_sock_addr) -> Endpoint {
    Endpoint::v6(
        [
            read!(context, user_ip6[0]),
            read!(context, user_ip6[1]),
            read!(context, user_ip6[2]),
            read!(context, user_ip6[3]),
        ],
        port(context),
    )
}

/// Points an IPv4 hook's address at 127.0.0.1.
#[inline(always)]
pub(crate) fn point4(context: *mut bpf_sock_addr, port: u16) {
    write!(context, LOOPBACK_V4, user_ip4);
    set_port(context, u32::from(port));
}

/// Points an IPv6 hook's address at ::1, or at ::ffff:127.0.0.1 where it is IPv4-mapped.
#[inline(always)]
pub(crate) fn point6(context: *mut bpf_sock_addr, port: u16) {
    if endpoint6(context).is_v4() {
        write!(context, LOOPBACK_V4, user_ip6[3]);
    } else {
        write!(context, 0, user_ip6[0]);
        write!(context, 0, user_ip6[1]);
        write!(context, 0, user_ip6[2]);
        write!(context, 1_u32.to_be(), user_ip6[3]);
    }
    set_port(context, u32::from(port));
}

/// Sets the port in the context.
#[inline(always)]
pub(crate) fn set_port(context: *mut bpf_sock_addr, port: u32) {
    write!(context, u32::from((port as u16).to_be()), user_port);
}

#[inline(always)]
fn port(context: *mut bpf_sock_addr) -> u16 {
    // A 16-bit number in network byte order, in a 32-bit field.
    u16::from_be(read!(context, user_port) as u16)
}

/// The socket of the context.
#[inline(always)]
pub(crate) fn socket(context: *mut bpf_sock_addr) -> Socket {
    Socket {
        family: read!(context, family),
        kind: read!(context, type_),
        protocol: read!(context, protocol),
    }
}

#[inline(always)]
pub(crate) fn is_tcp(socket: &Socket) -> bool {
    socket.kind == SOCK_STREAM && socket.protocol == IPPROTO_TCP
}

#[inline(always)]
pub(crate) fn is_udp(socket: &Socket) -> bool {
    socket.kind == SOCK_DGRAM && socket.protocol == IPPROTO_UDP
}

/// The socket's cookie: the same in every hook, never used again.
#[inline(always)]
pub(crate) fn cookie(context: *mut bpf_sock_addr) -> u64 {
    // SAFETY: the kernel's own context.
    unsafe { bpf_get_socket_cookie(context.cast()) }
}
