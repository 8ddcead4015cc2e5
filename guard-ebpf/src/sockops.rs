//! `sockops`: files a connection's origin under the client's port, where the gateway can find it.

use aya_ebpf::bindings::{BPF_SOCK_OPS_TCP_CONNECT_CB, bpf_sock_ops};
use aya_ebpf::helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie};
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;
use guard_common::{Endpoint, OriginKey};

use crate::maps::{ORIGINS, ORIGINS_BY_SOCKET};
use crate::volatile::{read, write};

const AF_INET: u32 = 2;
/// What the kernel takes for "no answer" to the questions it also asks through this hook.
const NO_REPLY: u32 = u32::MAX;

#[sock_ops]
pub(crate) fn sock_ops(context: SockOpsContext) -> u32 {
    if read!(context.ops, op) == BPF_SOCK_OPS_TCP_CONNECT_CB {
        file(context.ops);
    } else {
        write!(context.ops, NO_REPLY, __bindgen_anon_1.reply);
    }
    1
}

/// Runs when the local port is known and before the SYN is sent (`tcp_connect`,
/// net/ipv4/tcp_output.c): the gateway cannot accept before the origin is there.
#[inline(always)]
fn file(context: *mut bpf_sock_ops) {
    // SAFETY: the kernel's own context, for both.
    let (cookie, netns_cookie) = unsafe {
        (
            bpf_get_socket_cookie(context.cast()),
            bpf_get_netns_cookie(context.cast()),
        )
    };
    let key = OriginKey {
        netns_cookie,
        family: if is_v4(context) { 4 } else { 6 },
        port: read!(context, local_port),
    };
    // A port that connects without an origin must not inherit an earlier connection's.
    // SAFETY: the socket is connecting, so its entry is not removed meanwhile.
    let filed = match unsafe { ORIGINS_BY_SOCKET.get(cookie) } {
        Some(origin) => ORIGINS.insert(key, origin, 0).is_ok(),
        None => false,
    };
    if !filed {
        let _ = ORIGINS.remove(key);
    }
}

/// Whether the packets are IPv4's, on an IPv4 socket or an IPv6 one.
#[inline(always)]
fn is_v4(context: *mut bpf_sock_ops) -> bool {
    if read!(context, family) == AF_INET {
        return true;
    }
    let remote = [
        read!(context, remote_ip6[0]),
        read!(context, remote_ip6[1]),
        read!(context, remote_ip6[2]),
        read!(context, remote_ip6[3]),
    ];
    Endpoint::v6(remote, 0).is_v4()
}
