//! `cgroup_skb`: what leaves and reaches the session's sockets, whichever way they came about.
//!
//! The net under the other hooks: only packets on the loopback device pass. The device counts and not
//! the address, because a socket bound to another device sends loopback addresses out of it. These
//! hooks also run outside of system calls, so they report nothing: the current process may be any.
//!
//! In a shared network namespace the socket at the other end is looked up for every packet: it is the
//! session's or guard's, or its port is one that the session may reach. So it does not matter how a
//! connection came about, nor who had its port a moment ago.

use core::ffi::c_void;

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::generated::{bpf_sk_fullsock, bpf_skb_load_bytes};
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use guard_common::{Endpoint, SocketMark};

use crate::caller::{ALLOW, REFUSE};
use crate::connect::{IPPROTO_TCP, IPPROTO_UDP, is_reachable_port};
use crate::maps::settings;
use crate::marks::{Occupant, has_ended, mark_of, occupant};
use crate::volatile::read;

/// `LOOPBACK_IFINDEX` (include/net/flow.h): the first device of every network namespace.
const LOOPBACK: u32 = 1;

/// `ETH_P_IP`, `ETH_P_IPV6` (include/uapi/linux/if_ether.h), in network byte order.
const IPV4: u32 = 0x0800_u16.to_be() as u32;
const IPV6: u32 = 0x86dd_u16.to_be() as u32;

#[cgroup_skb(egress)]
pub(crate) fn egress(context: SkBuffContext) -> i32 {
    decide(&context, true)
}

#[cgroup_skb(ingress)]
pub(crate) fn ingress(context: SkBuffContext) -> i32 {
    decide(&context, false)
}

#[inline(always)]
fn decide(context: &SkBuffContext, leaves: bool) -> i32 {
    let Some(settings) = settings() else {
        return REFUSE;
    };
    if read!(context.skb.skb, ifindex) != LOOPBACK {
        return REFUSE;
    }
    if !settings.is_shared() {
        return ALLOW;
    }
    match Packet::read(context) {
        Some(packet) if may_pass(context, &packet, leaves) => ALLOW,
        _ => REFUSE,
    }
}

/// Whether a packet on a loopback device that others use, too, is between the session and whom it may reach.
#[inline(always)]
fn may_pass(context: &SkBuffContext, packet: &Packet, leaves: bool) -> bool {
    // A server's socket answers whoever on this host connected to it; it cannot have connected itself.
    if packet.is_tcp && own_mark(context) == SocketMark::Session as u32 {
        return true;
    }
    let (own, peer) = if leaves {
        (&packet.source, &packet.destination)
    } else {
        (&packet.destination, &packet.source)
    };
    if peer.is_loopback() && is_reachable_port(peer.port) {
        return true;
    }
    let raw = context.skb.skb.cast::<c_void>();
    match occupant(raw, packet.is_tcp, own, peer) {
        Occupant::Known => true,
        Occupant::Foreign => false,
        // The kernel answers with a reset. Data is not sent to nobody: somebody might come meanwhile.
        Occupant::None => packet.is_tcp && (packet.is_empty || has_ended(raw, own, peer)),
    }
}

/// The mark of the session's socket, zero if it has none.
#[inline(always)]
fn own_mark(context: &SkBuffContext) -> u32 {
    // SAFETY: the kernel's own context.
    let socket: *mut bpf_sock =
        unsafe { (&raw const (*context.skb.skb).__bindgen_anon_2.sk).read_volatile() };
    if socket.is_null() {
        return 0;
    }
    // SAFETY: not null.
    let socket = unsafe { bpf_sk_fullsock(socket) };
    if socket.is_null() {
        return 0;
    }
    mark_of(socket)
}

/// What of a packet counts.
struct Packet {
    source: Endpoint,
    destination: Endpoint,
    is_tcp: bool,
    /// It carries no data.
    is_empty: bool,
}

/// Bytes of an IPv4 header without options, of an IPv6 one, of a TCP one without options, of both ports.
const IPV4_HEADER: u32 = 20;
const IPV6_HEADER: u32 = 40;
const TCP_HEADER: u32 = 20;
const PORTS: u32 = 4;

/// The next header of an IPv6 header that options follow, and those options: a jumbo payload (RFC 2675) alone, as
/// the kernel writes it where a device takes segments of more than 64 KiB, as loopback does.
const HOP_BY_HOP: u32 = 0;
const JUMBO_HEADER: u32 = 8;
const JUMBO: (u8, u8, u8) = (0, 194, 4);

impl Packet {
    /// Reads a packet; `None` if it is a fragment, has other IP options or is neither TCP nor UDP.
    #[inline(always)]
    fn read(context: &SkBuffContext) -> Option<Self> {
        let (source, destination, protocol, header) = match read!(context.skb.skb, protocol) {
            IPV4 => {
                let ip: [u32; 5] = load(context, 0, IPV4_HEADER)?;
                let fragment = u32::from_be(ip[1]) & 0x3fff;
                if ip[0].to_ne_bytes()[0] != 0x45 || fragment != 0 {
                    return None;
                }
                let mapped = |address| Endpoint::v4(address, 0);
                let protocol = u32::from(ip[2].to_ne_bytes()[1]);
                (mapped(ip[3]), mapped(ip[4]), protocol, IPV4_HEADER)
            }
            IPV6 => {
                let ip: [u32; 10] = load(context, 0, IPV6_HEADER)?;
                let mut protocol = u32::from(ip[1].to_ne_bytes()[2]);
                let mut header = IPV6_HEADER;
                if protocol == HOP_BY_HOP {
                    let options: [u32; 2] = load(context, header, JUMBO_HEADER)?;
                    let [next, length, option, size] = options[0].to_ne_bytes();
                    if (length, option, size) != JUMBO {
                        return None;
                    }
                    protocol = u32::from(next);
                    header += JUMBO_HEADER;
                }
                (
                    Endpoint::v6([ip[2], ip[3], ip[4], ip[5]], 0),
                    Endpoint::v6([ip[6], ip[7], ip[8], ip[9]], 0),
                    protocol,
                    header,
                )
            }
            _ => return None,
        };
        let (ports, is_empty) = match protocol {
            IPPROTO_TCP => {
                let tcp: [u32; 5] = load(context, header, TCP_HEADER)?;
                let length = u32::from(tcp[3].to_ne_bytes()[0] >> 4) * 4;
                let is_empty = read!(context.skb.skb, len) <= header + length;
                (tcp[0], is_empty)
            }
            IPPROTO_UDP => {
                let udp: [u32; 1] = load(context, header, PORTS)?;
                (udp[0], false)
            }
            _ => return None,
        };
        let ports = u32::from_be(ports);
        Some(Self {
            source: Endpoint {
                port: ports >> 16,
                ..source
            },
            destination: Endpoint {
                port: ports & 0xffff,
                ..destination
            },
            is_tcp: protocol == IPPROTO_TCP,
            is_empty,
        })
    }
}

/// Copies `length` bytes, the size of `T`, from `offset` on; `None` if there are fewer.
#[inline(always)]
fn load<T>(context: &SkBuffContext, offset: u32, length: u32) -> Option<T> {
    let mut bytes = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the kernel's own context, and a buffer of that length.
    let result = unsafe {
        bpf_skb_load_bytes(
            context.skb.skb.cast(),
            offset,
            bytes.as_mut_ptr().cast(),
            length,
        )
    };
    if result != 0 {
        return None;
    }
    // SAFETY: the helper filled it.
    Some(unsafe { bytes.assume_init() })
}
