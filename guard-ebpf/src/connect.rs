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
    connect::<V4>(context.sock_addr)
}

#[cgroup_sock_addr(connect6)]
pub(crate) fn connect6(context: SockAddrContext) -> i32 {
    connect::<V6>(context.sock_addr)
}

/// What differs between the hooks of IPv4 and IPv6. The verifier takes no access to a field that is chosen at
/// run time.
pub(crate) trait Family {
    /// The address in the context.
    fn endpoint(context: *mut bpf_sock_addr) -> Endpoint;
    /// The address that a socket is bound to.
    fn bound(socket: *mut bpf_sock) -> Endpoint;
    /// Points the address in the context at loopback.
    fn point(context: *mut bpf_sock_addr, port: u16);
}

/// The IPv4 hooks.
pub(crate) struct V4;
/// The IPv6 hooks.
pub(crate) struct V6;

#[inline(always)]
fn connect<F: Family>(context: *mut bpf_sock_addr) -> i32 {
    let destination = F::endpoint(context);
    let socket = socket(context);
    let Some(settings) = settings() else {
        return refuse(RefusalCode::Unset, destination, &socket);
    };
    if is_tcp(&socket) {
        connect_tcp::<F>(context, destination, &settings)
    } else if is_udp(&socket) {
        datagram::<F>(context, destination, &socket, &settings)
    } else {
        refuse(RefusalCode::SocketFamily, destination, &socket)
    }
}

#[inline(always)]
fn connect_tcp<F: Family>(
    context: *mut bpf_sock_addr,
    destination: Endpoint,
    settings: &Settings,
) -> i32 {
    leave_device(context);
    if settings.is_shared() && !mark(sk(context).cast(), SocketMark::Connected) {
        return REFUSE;
    }
    let cookie = cookie(context);
    if destination.is_loopback()
        && destination.port != DNS_PORT
        && (!settings.is_shared() || is_reachable::<F>(context, destination, true))
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
    F::point(context, settings.gateway_port);
    ALLOW
}

/// What becomes of a datagram, or of a UDP socket's connect: DNS goes to the resolver, loopback is the
/// session's own, the rest is refused.
#[inline(always)]
pub(crate) fn datagram<F: Family>(
    context: *mut bpf_sock_addr,
    destination: Endpoint,
    socket: &Socket,
    settings: &Settings,
) -> i32 {
    let cookie = cookie(context);
    if destination.port == DNS_PORT {
        if DNS_SERVERS.insert(cookie, destination, 0).is_err() {
            return REFUSE;
        }
        F::point(context, settings.resolver_port);
        return ALLOW;
    }
    if destination.is_loopback()
        && (!settings.is_shared() || is_reachable::<F>(context, destination, false))
    {
        return ALLOW;
    }
    refuse(RefusalCode::Udp, destination, socket)
}

/// Whether a loopback address in a shared network namespace is the session's, guard's, or one that the
/// session may reach. What may change until a packet is there, `packet` looks at again.
#[inline(always)]
fn is_reachable<F: Family>(
    context: *mut bpf_sock_addr,
    destination: Endpoint,
    is_tcp: bool,
) -> bool {
    if is_reachable_port(destination.port) {
        return true;
    }
    let to = destination.or_loopback();
    let socket = sk(context);
    if socket.is_null() {
        return false;
    }
    // Where it will send from, so that sockets that are connected to it are found.
    let bound = F::bound(socket).address;
    let mut from = Endpoint {
        port: read!(socket, src_port),
        ..to
    };
    from.address[3] = if bound[3] != 0 {
        bound[3]
    } else if to.is_v4() {
        LOOPBACK_V4
    } else {
        1_u32.to_be()
    };
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

impl Family for V4 {
    #[inline(always)]
    fn endpoint(context: *mut bpf_sock_addr) -> Endpoint {
        Endpoint::v4(read!(context, user_ip4), port(context))
    }

    #[inline(always)]
    fn bound(socket: *mut bpf_sock) -> Endpoint {
        Endpoint::v4(read!(socket, src_ip4), 0)
    }

    /// At 127.0.0.1.
    #[inline(always)]
    fn point(context: *mut bpf_sock_addr, port: u16) {
        write!(context, LOOPBACK_V4, user_ip4);
        set_port(context, u32::from(port));
    }
}

impl Family for V6 {
    #[inline(always)]
    fn endpoint(context: *mut bpf_sock_addr) -> Endpoint {
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

    #[inline(always)]
    fn bound(socket: *mut bpf_sock) -> Endpoint {
        Endpoint::v6(
            [
                read!(socket, src_ip6[0]),
                read!(socket, src_ip6[1]),
                read!(socket, src_ip6[2]),
                read!(socket, src_ip6[3]),
            ],
            0,
        )
    }

    /// At ::1, or at ::ffff:127.0.0.1 where it is IPv4-mapped.
    #[inline(always)]
    fn point(context: *mut bpf_sock_addr, port: u16) {
        if Self::endpoint(context).is_v4() {
            write!(context, LOOPBACK_V4, user_ip6[3]);
        } else {
            write!(context, 0, user_ip6[0]);
            write!(context, 0, user_ip6[1]);
            write!(context, 0, user_ip6[2]);
            write!(context, 1_u32.to_be(), user_ip6[3]);
        }
        set_port(context, u32::from(port));
    }
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
