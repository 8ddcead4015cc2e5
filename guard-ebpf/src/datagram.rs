//! `cgroup/sendmsg4,6` and `cgroup/recvmsg4,6`: datagrams that name their destination themselves.
//!
//! Queries go to the resolver; its answers appear to come from the server that the socket asked. A
//! socket that asks several servers at a time sees every answer come from the last one it asked: the
//! resolver answers for all of them.

use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use guard_common::{Endpoint, RefusalCode};

use crate::caller::{ALLOW, refuse};
use crate::connect::{Family, V4, V6, cookie, datagram, is_udp, set_port, socket};
use crate::maps::{DNS_SERVERS, settings};
use crate::volatile::write;

#[cgroup_sock_addr(sendmsg4)]
pub(crate) fn sendmsg4(context: SockAddrContext) -> i32 {
    send::<V4>(context.sock_addr)
}

#[cgroup_sock_addr(sendmsg6)]
pub(crate) fn sendmsg6(context: SockAddrContext) -> i32 {
    send::<V6>(context.sock_addr)
}

#[inline(always)]
fn send<F: Family>(context: *mut bpf_sock_addr) -> i32 {
    let destination = F::endpoint(context);
    let socket = socket(context);
    let Some(settings) = settings() else {
        return refuse(RefusalCode::Unset, destination, &socket);
    };
    if !is_udp(&socket) {
        return refuse(RefusalCode::SocketFamily, destination, &socket);
    }
    datagram::<F>(context, destination, &socket, &settings)
}

#[cgroup_sock_addr(recvmsg4)]
pub(crate) fn recvmsg4(context: SockAddrContext) -> i32 {
    if let Some(server) = asked(context.sock_addr, V4::endpoint(context.sock_addr)) {
        write!(context.sock_addr, server.address[3], user_ip4);
        set_port(context.sock_addr, server.port);
    }
    ALLOW
}

#[cgroup_sock_addr(recvmsg6)]
pub(crate) fn recvmsg6(context: SockAddrContext) -> i32 {
    if let Some(server) = asked(context.sock_addr, V6::endpoint(context.sock_addr)) {
        write!(context.sock_addr, server.address[0], user_ip6[0]);
        write!(context.sock_addr, server.address[1], user_ip6[1]);
        write!(context.sock_addr, server.address[2], user_ip6[2]);
        write!(context.sock_addr, server.address[3], user_ip6[3]);
        set_port(context.sock_addr, server.port);
    }
    ALLOW
}

/// The server that the socket asked, if `from` is the resolver that answered instead. Also right for
/// a connected socket's peer.
#[inline(always)]
pub(crate) fn asked(context: *mut bpf_sock_addr, from: Endpoint) -> Option<Endpoint> {
    let settings = settings()?;
    if from.port != u32::from(settings.resolver_port) || !from.is_loopback() {
        return None;
    }
    // SAFETY: copied at once; a socket released meanwhile is not receiving.
    unsafe { DNS_SERVERS.get(cookie(context)) }.copied()
}
