//! `cgroup/getpeername4,6`: a redirected socket shows the peer that its process asked for.

use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use guard_common::Endpoint;

use crate::caller::ALLOW;
use crate::connect::{Family, V4, V6, cookie, is_tcp, set_port, socket};
use crate::datagram::asked;
use crate::maps::{ORIGINS_BY_SOCKET, settings};
use crate::volatile::write;

#[cgroup_sock_addr(getpeername4)]
pub(crate) fn getpeername4(context: SockAddrContext) -> i32 {
    if let Some(peer) = asked_for(context.sock_addr, V4::endpoint(context.sock_addr)) {
        write!(context.sock_addr, peer.address[3], user_ip4);
        set_port(context.sock_addr, peer.port);
    }
    ALLOW
}

#[cgroup_sock_addr(getpeername6)]
pub(crate) fn getpeername6(context: SockAddrContext) -> i32 {
    if let Some(peer) = asked_for(context.sock_addr, V6::endpoint(context.sock_addr)) {
        write!(context.sock_addr, peer.address[0], user_ip6[0]);
        write!(context.sock_addr, peer.address[1], user_ip6[1]);
        write!(context.sock_addr, peer.address[2], user_ip6[2]);
        write!(context.sock_addr, peer.address[3], user_ip6[3]);
        set_port(context.sock_addr, peer.port);
    }
    ALLOW
}

/// The peer that the process asked for, if `actual` is guard in its place.
#[inline(always)]
fn asked_for(context: *mut bpf_sock_addr, actual: Endpoint) -> Option<Endpoint> {
    if !is_tcp(&socket(context)) {
        return asked(context, actual);
    }
    if actual.port != u32::from(settings()?.gateway_port) || !actual.is_loopback() {
        return None;
    }
    // SAFETY: copied at once; the socket is in use, so its entry is not removed meanwhile.
    unsafe { ORIGINS_BY_SOCKET.get(cookie(context)) }.map(|origin| origin.destination)
}
