//! Raw and ping sockets, IPv4 and IPv6.

use std::net::{Ipv4Addr, SocketAddr};

use libc::{AF_INET, AF_INET6, IPPROTO_IP, IPPROTO_IPV6, SOCK_DGRAM, SOCK_RAW};

use super::packet::{checksum, datagram4, datagram6};
use super::sys::{Address, connect, option, send, send_to, socket};
use super::tcp::source_route;
use super::udp::sent;
use super::{Attempt, NO_CAPABILITY, Outcome, Technique, technique};

const CREATE: &str = "sock_create";
const PING: &[(&str, &str)] = &[("socket: EACCES", "ping_group_range")];
/// For experiments (RFC 3692).
const EXPERIMENT: i32 = 253;

pub(super) const TABLE: &[Technique] = &[
    technique("raw-header", "a whole IPv4 packet (IPPROTO_RAW)", |a| {
        let fd = socket(AF_INET, SOCK_RAW, libc::IPPROTO_RAW)?;
        send_to(&fd, &datagram4(a), 0, &Address::ip(a.v4(0)))?;
        sent()
    })
    .root()
    .closed(CREATE, CREATE)
    .or(&[NO_CAPABILITY]),
    technique(
        "raw-connect",
        "a raw socket of UDP's protocol, connected",
        |a| {
            let fd = socket(AF_INET, SOCK_RAW, libc::IPPROTO_UDP)?;
            connect(&fd, &Address::ip(a.v4(0)))?;
            send(&fd, &datagram4(a)[20..], 0)?;
            sent()
        },
    )
    .root()
    .closed(CREATE, CREATE),
    technique("raw-protocol", "a raw socket of an unknown protocol", |a| {
        simple(a, AF_INET, EXPERIMENT, a.v4(0), a.marker().as_bytes())
    })
    .root()
    .closed(CREATE, CREATE),
    technique("raw-icmp", "a raw ICMP echo", echoed)
        .root()
        .closed(CREATE, CREATE),
    technique(
        "raw-source-route",
        "a raw socket with a source route, to loopback",
        |a| {
            let fd = socket(AF_INET, SOCK_RAW, EXPERIMENT)?;
            option(
                &fd,
                IPPROTO_IP,
                libc::IP_OPTIONS,
                &source_route(a.hop4())[..],
            )?;
            let home = Address::ip((Ipv4Addr::LOCALHOST, 0).into());
            send_to(&fd, a.marker().as_bytes(), 0, &home)?;
            sent()
        },
    )
    .root()
    .closed(CREATE, CREATE),
    technique("raw-v6", "a raw socket of an unknown protocol, IPv6", |a| {
        simple(a, AF_INET6, EXPERIMENT, a.v6(0), a.marker().as_bytes())
    })
    .root()
    .closed(CREATE, CREATE),
    technique("raw-v6-header", "a whole IPv6 packet (IPV6_HDRINCL)", |a| {
        let fd = socket(AF_INET6, SOCK_RAW, EXPERIMENT)?;
        option(&fd, IPPROTO_IPV6, 36, &1_i32)?;
        send_to(&fd, &datagram6(a), 0, &Address::ip(a.v6(0)))?;
        sent()
    })
    .root()
    .closed(CREATE, CREATE),
    technique("raw-icmpv6", "a raw ICMPv6 echo", |a| {
        simple(a, AF_INET6, libc::IPPROTO_ICMPV6, a.v6(0), &echo(a, 128))
    })
    .root()
    .closed(CREATE, CREATE),
    technique("ping-v4", "a ping socket", |a| {
        ping(a, AF_INET, libc::IPPROTO_ICMP, a.v4(0), 8)
    })
    .closed(CREATE, CREATE)
    .or(PING),
    technique("ping-v6", "a ping socket, IPv6", |a| {
        ping(a, AF_INET6, libc::IPPROTO_ICMPV6, a.v6(0), 128)
    })
    .closed(CREATE, CREATE)
    .or(PING),
    technique("ping-connect", "a connected ping socket", |a| {
        let fd = socket(AF_INET, SOCK_DGRAM, libc::IPPROTO_ICMP)?;
        connect(&fd, &Address::ip(a.v4(0)))?;
        send(&fd, &echo(a, 8), 0)?;
        sent()
    })
    .closed(CREATE, CREATE)
    .or(PING),
];

fn simple(_: &Attempt<'_>, family: i32, protocol: i32, to: SocketAddr, bytes: &[u8]) -> Outcome {
    let fd = socket(family, SOCK_RAW, protocol)?;
    send_to(&fd, bytes, 0, &Address::ip(to))?;
    sent()
}

fn ping(attempt: &Attempt<'_>, family: i32, protocol: i32, to: SocketAddr, kind: u8) -> Outcome {
    let fd = socket(family, SOCK_DGRAM, protocol)?;
    send_to(&fd, &echo(attempt, kind), 0, &Address::ip(to))?;
    sent()
}

/// An echo request with the mark; the kernel computes ICMPv6's checksum.
fn echo(attempt: &Attempt<'_>, kind: u8) -> Vec<u8> {
    let mut request = vec![kind, 0, 0, 0, 0, 1, 0, 1];
    request.extend(attempt.marker().bytes());
    let sum = checksum(&request);
    request[2..4].copy_from_slice(&sum.to_be_bytes());
    request
}

/// An echo request by a raw socket.
pub(super) fn echoed(attempt: &Attempt<'_>) -> Outcome {
    simple(
        attempt,
        AF_INET,
        libc::IPPROTO_ICMP,
        attempt.v4(0),
        &echo(attempt, 8),
    )
}
