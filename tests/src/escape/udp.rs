//! UDP and what resembles it: every way to send a datagram, and to choose its device and its route.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;

use libc::{AF_INET, AF_INET6, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, SOCK_DGRAM, SOL_SOCKET};

use super::sys::{
    Address, bind, bytes_of, call, connect, device, option, pause, send, send_message, send_to,
    socket, with_message,
};
use super::tcp::{segment_route, source_route};
use super::world::World;
use super::{Attempt, Outcome, Stop, Technique, technique};

const CONNECT: &str = "connect4/6";
const SENDMSG: &str = "sendmsg4/6";
const SEND: [(&str, &str); 3] = [
    ("sendto: EPERM", SENDMSG),
    ("sendmsg: EPERM", SENDMSG),
    ("connect: EPERM", CONNECT),
];
const UDP_LITE: i32 = 136;

pub(super) const TABLE: &[Technique] = &[
    technique("udp-sendto-v4", "sendto, IPv4", |a| {
        datagram(a, AF_INET, 0, a.v4(9))
    })
    .closed(SENDMSG, SENDMSG),
    technique("udp-sendto-v6", "sendto, IPv6", |a| {
        datagram(a, AF_INET6, 0, a.v6(9))
    })
    .closed(SENDMSG, SENDMSG),
    technique("udp-sendto-mapped", "sendto, IPv4-mapped IPv6", |a| {
        datagram(a, AF_INET6, 0, a.mapped(9))
    })
    .closed(SENDMSG, SENDMSG),
    technique("udp-quic", "sendto port 443", |a| {
        datagram(a, AF_INET, 0, a.v4(443))
    })
    .closed(SENDMSG, SENDMSG),
    technique("udp-connect-send", "connect, send", |a| {
        let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
        connect(&fd, &Address::ip(a.v4(9)))?;
        send(&fd, a.marker().as_bytes(), 0)?;
        sent()
    })
    .closed(CONNECT, CONNECT),
    technique("udp-connect-send-v6", "connect, send, IPv6", |a| {
        let fd = socket(AF_INET6, SOCK_DGRAM, 0)?;
        connect(&fd, &Address::ip(a.v6(9)))?;
        send(&fd, a.marker().as_bytes(), 0)?;
        sent()
    })
    .closed(CONNECT, CONNECT),
    technique("udp-sendmsg", "sendmsg", |a| {
        let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
        send_message(
            &fd,
            a.marker().as_bytes(),
            Some(&Address::ip(a.v4(9))),
            None,
        )?;
        sent()
    })
    .closed(SENDMSG, SENDMSG),
    technique("udp-sendmmsg", "sendmmsg", |a| {
        let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
        let (marker, to) = (a.marker(), Address::ip(a.v4(9)));
        with_message(marker.as_bytes(), Some(&to), None, |message| {
            let mut several = [libc::mmsghdr {
                msg_hdr: unsafe { *message },
                msg_len: 0,
            }];
            call("sendmmsg", unsafe {
                libc::sendmmsg(fd.as_raw_fd(), several.as_mut_ptr(), 1, 0)
            })
        })?;
        sent()
    })
    .closed(SENDMSG, SENDMSG),
    technique(
        "udp-connected-elsewhere",
        "connected to the host itself, sendto elsewhere",
        |a| {
            let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
            // The source is then that address; where it may not be the host's own, it is loopback's.
            connect(&fd, &Address::ip((World::HOST4, 9).into()))
                .or_else(|_| connect(&fd, &Address::ip((Ipv4Addr::LOCALHOST, 9).into())))?;
            send_to(&fd, a.marker().as_bytes(), 0, &Address::ip(a.v4(9)))?;
            sent()
        },
    )
    .closed(SENDMSG, SENDMSG),
    technique(
        "udp-connected-dns",
        "connected to port 53, sendto elsewhere",
        |a| {
            let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
            connect(&fd, &Address::ip(a.v4(53)))?;
            send_to(&fd, a.marker().as_bytes(), 0, &Address::ip(a.v4(9)))?;
            sent()
        },
    )
    .closed(SENDMSG, SENDMSG),
    technique("udp-cork", "MSG_MORE, then the rest", |a| {
        let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
        let to = Address::ip(a.v4(9));
        send_to(&fd, a.marker().as_bytes(), libc::MSG_MORE, &to)?;
        send_to(&fd, b".", 0, &to)?;
        sent()
    })
    .closed(SENDMSG, SENDMSG),
    technique(
        "udp-cork-loopback",
        "corked towards loopback, sent while connected elsewhere",
        |a| {
            let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
            let home = Address::ip((Ipv4Addr::LOCALHOST, 9).into());
            send_to(&fd, a.marker().as_bytes(), libc::MSG_MORE, &home)?;
            connect(&fd, &Address::ip(a.v4(9)))?;
            send(&fd, b".", 0)?;
            send(&fd, a.marker().as_bytes(), 0)?;
            sent()
        },
    )
    .closed(CONNECT, CONNECT),
    technique("udp-segmentation", "UDP_SEGMENT", |a| {
        let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
        option(&fd, IPPROTO_UDP, libc::UDP_SEGMENT, &20_i32)?;
        send_to(
            &fd,
            a.marker().repeat(4).as_bytes(),
            0,
            &Address::ip(a.v4(9)),
        )?;
        sent()
    })
    .closed(SENDMSG, SENDMSG),
    technique(
        "udp-splice",
        "vmsplice and splice into a connected socket",
        |a| {
            let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
            connect(&fd, &Address::ip(a.v4(9)))?;
            let mut ends = [0; 2];
            call("pipe", unsafe { libc::pipe(ends.as_mut_ptr()) })?;
            let marker = a.marker();
            call("write", unsafe {
                libc::write(ends[1], marker.as_ptr().cast(), marker.len())
            })?;
            let none = std::ptr::null_mut();
            call("splice", unsafe {
                libc::splice(ends[0], none, fd.as_raw_fd(), none, marker.len(), 0)
            })?;
            sent()
        },
    )
    .closed(CONNECT, CONNECT),
    technique("udp-lite-v4", "UDP-Lite, IPv4", |a| {
        datagram(a, AF_INET, UDP_LITE, a.v4(9))
    })
    .closed("sock_create", "sock_create"),
    technique("udp-lite-v6", "UDP-Lite, IPv6", |a| {
        datagram(a, AF_INET6, UDP_LITE, a.v6(9))
    })
    .closed("sock_create", "sock_create"),
    technique("udp-device", "SO_BINDTODEVICE", |a| {
        let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
        option(
            &fd,
            SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            World::DEVICE.as_bytes(),
        )?;
        send_to(&fd, a.marker().as_bytes(), 0, &Address::ip(a.v4(9)))?;
        sent()
    })
    .closed("network namespace", SENDMSG),
    technique("udp-device-dns", "SO_BINDTODEVICE, to port 53", |a| {
        let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
        option(
            &fd,
            SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            World::DEVICE.as_bytes(),
        )?;
        send_to(&fd, a.marker().as_bytes(), 0, &Address::ip(a.v4(53)))?;
        sent()
    })
    .closed("network namespace", "egress"),
    technique(
        "udp-pktinfo",
        "IP_PKTINFO chooses the device, to port 53",
        |a| {
            let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
            let choice = libc::in_pktinfo {
                ipi_ifindex: device()? as _,
                ipi_spec_dst: libc::in_addr { s_addr: 0 },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            let control = (IPPROTO_IP, libc::IP_PKTINFO, bytes_of(&choice));
            send_message(
                &fd,
                a.marker().as_bytes(),
                Some(&Address::ip(a.v4(53))),
                Some(control),
            )?;
            sent()
        },
    )
    .closed("network namespace", "egress"),
    technique(
        "udp-pktinfo-v6",
        "IPV6_PKTINFO chooses the device, to port 53",
        |a| {
            let fd = socket(AF_INET6, SOCK_DGRAM, 0)?;
            let choice = libc::in6_pktinfo {
                ipi6_ifindex: device()? as _,
                ipi6_addr: libc::in6_addr { s6_addr: [0; 16] },
            };
            let control = (IPPROTO_IPV6, libc::IPV6_PKTINFO, bytes_of(&choice));
            send_message(
                &fd,
                a.marker().as_bytes(),
                Some(&Address::ip(a.v6(53))),
                Some(control),
            )?;
            sent()
        },
    )
    .closed("network namespace", "egress"),
    technique("udp-unicast-device", "IP_UNICAST_IF, to port 53", |a| {
        let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
        option(&fd, IPPROTO_IP, libc::IP_UNICAST_IF, &device()?.to_be())?;
        send_to(&fd, a.marker().as_bytes(), 0, &Address::ip(a.v4(53)))?;
        sent()
    })
    .closed("network namespace", "egress"),
    technique("udp-multicast", "multicast, IPv4", |a| {
        let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
        option(
            &fd,
            IPPROTO_IP,
            libc::IP_MULTICAST_IF,
            &libc::in_addr {
                s_addr: u32::from_ne_bytes(World::HOST4),
            },
        )?;
        send_to(
            &fd,
            a.marker().as_bytes(),
            0,
            &Address::ip((a.group4(), 5353).into()),
        )?;
        sent()
    })
    .closed("network namespace", SENDMSG),
    technique("udp-multicast-v6", "multicast, IPv6", |a| {
        let fd = socket(AF_INET6, SOCK_DGRAM, 0)?;
        option(&fd, IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, &device()?)?;
        send_to(
            &fd,
            a.marker().as_bytes(),
            0,
            &Address::ip((a.group6(), 5353).into()),
        )?;
        sent()
    })
    .closed("network namespace", SENDMSG),
    technique("udp-broadcast", "255.255.255.255", |a| {
        let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
        option(&fd, SOL_SOCKET, libc::SO_BROADCAST, &1_i32)?;
        send_to(
            &fd,
            a.marker().as_bytes(),
            0,
            &Address::ip((Ipv4Addr::BROADCAST, 9).into()),
        )?;
        sent()
    })
    .closed(SENDMSG, SENDMSG),
    technique(
        "udp-broadcast-subnet",
        "the subnet's broadcast address, port 53",
        |a| {
            let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
            option(&fd, SOL_SOCKET, libc::SO_BROADCAST, &1_i32)?;
            send_to(
                &fd,
                a.marker().as_bytes(),
                0,
                &Address::ip(([192, 0, 2, 255], 9).into()),
            )?;
            sent()
        },
    )
    .closed(SENDMSG, SENDMSG),
    technique(
        "udp-link-local",
        "an IPv6 link-local address with its device",
        |a| {
            let fd = socket(AF_INET6, SOCK_DGRAM, 0)?;
            let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
            let to = SocketAddr::V6(SocketAddrV6::new(all, 9, 0, device()?));
            send_to(&fd, a.marker().as_bytes(), 0, &Address::ip(to))?;
            sent()
        },
    )
    .closed("network namespace", SENDMSG),
    technique(
        "udp-source-route",
        "IP_OPTIONS: a source route by a hop, to loopback",
        |a| {
            let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
            option(
                &fd,
                IPPROTO_IP,
                libc::IP_OPTIONS,
                &source_route(a.hop4())[..],
            )?;
            send_to(
                &fd,
                a.marker().as_bytes(),
                0,
                &Address::ip((Ipv4Addr::LOCALHOST, 9).into()),
            )?;
            sent()
        },
    )
    .root()
    .closed("capabilities", "egress"),
    technique(
        "udp-source-route-once",
        "IP_RETOPTS: the same for one datagram",
        |a| {
            let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
            let route = source_route(a.hop4());
            let control = (IPPROTO_IP, libc::IP_RETOPTS, &route[..]);
            let to = Address::ip((Ipv4Addr::LOCALHOST, 9).into());
            send_message(&fd, a.marker().as_bytes(), Some(&to), Some(control))?;
            sent()
        },
    )
    .root()
    .closed("capabilities", "egress"),
    technique(
        "udp-segment-route",
        "IPV6_RTHDR: segment routing by a hop, to ::1",
        |a| {
            let fd = socket(AF_INET6, SOCK_DGRAM, 0)?;
            option(&fd, IPPROTO_IPV6, libc::IPV6_RTHDR, &segment_route(a)[..])?;
            send_to(
                &fd,
                a.marker().as_bytes(),
                0,
                &Address::ip((Ipv6Addr::LOCALHOST, 9).into()),
            )?;
            sent()
        },
    )
    .closed("network namespace", "egress"),
    technique("udp-loopback", "a service on the host's loopback", |a| {
        let to = (Ipv4Addr::LOCALHOST, World::LOOPBACK_PORT).into();
        datagram(a, AF_INET, 0, to)
    })
    .closed("network namespace", SENDMSG),
    technique(
        "udp-own-address",
        "the same, by the host's own address",
        |a| datagram(a, AF_INET, 0, (World::HOST4, World::LOOPBACK_PORT).into()),
    )
    .closed("network namespace", SENDMSG),
    technique(
        "igmp-join",
        "IP_ADD_MEMBERSHIP: the kernel reports the group, which is the message",
        |a| {
            let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
            option(
                &fd,
                IPPROTO_IP,
                libc::IP_ADD_MEMBERSHIP,
                &libc::ip_mreq {
                    imr_multiaddr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(a.group4().octets()),
                    },
                    imr_interface: libc::in_addr {
                        s_addr: u32::from_ne_bytes(World::HOST4),
                    },
                },
            )?;
            pause(200);
            sent()
        },
    )
    .closed("network namespace", "setsockopt"),
    technique(
        "igmp-join-source",
        "IP_ADD_SOURCE_MEMBERSHIP: the same",
        |a| {
            let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
            // The group, the interface, the source.
            let addresses = [
                a.group4().octets(),
                World::HOST4,
                crate::internet::ROUTER4.octets(),
            ];
            option(&fd, IPPROTO_IP, libc::IP_ADD_SOURCE_MEMBERSHIP, &addresses)?;
            pause(200);
            sent()
        },
    )
    .closed("network namespace", "setsockopt"),
    technique("igmp-join-group", "MCAST_JOIN_GROUP: the same", |a| {
        let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
        // The interface's number, four bytes of nothing, an address of any family.
        let mut request = [0_u8; 136];
        request[..4].copy_from_slice(&device()?.to_ne_bytes());
        request[8..10].copy_from_slice(&(AF_INET as u16).to_ne_bytes());
        request[12..16].copy_from_slice(&a.group4().octets());
        option(&fd, IPPROTO_IP, 42, &request)?;
        pause(200);
        sent()
    })
    .closed("network namespace", "setsockopt"),
    technique("mld-join", "IPV6_ADD_MEMBERSHIP: the same, IPv6", |a| {
        let fd = socket(AF_INET6, SOCK_DGRAM, 0)?;
        option(
            &fd,
            IPPROTO_IPV6,
            libc::IPV6_ADD_MEMBERSHIP,
            &libc::ipv6_mreq {
                ipv6mr_multiaddr: libc::in6_addr {
                    s6_addr: a.group6().octets(),
                },
                ipv6mr_interface: device()?,
            },
        )?;
        pause(200);
        sent()
    })
    .closed("network namespace", "setsockopt"),
    technique(
        "udp-bound-source",
        "bind to the host's address, sendto",
        |a| {
            let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
            bind(&fd, &Address::ip((World::HOST4, 0).into()))?;
            send_to(&fd, a.marker().as_bytes(), 0, &Address::ip(a.v4(9)))?;
            sent()
        },
    )
    .closed("network namespace", SENDMSG)
    .or(&SEND),
];

fn datagram(attempt: &Attempt<'_>, family: i32, protocol: i32, to: SocketAddr) -> Outcome {
    let fd = socket(family, SOCK_DGRAM, protocol).map_err(absent)?;
    send_to(&fd, attempt.marker().as_bytes(), 0, &Address::ip(to))?;
    sent()
}

/// A protocol that the kernel was built without.
fn absent(stop: Stop) -> Stop {
    match stop {
        Stop::Refused("socket", nix::errno::Errno::EPROTONOSUPPORT) => {
            Stop::Unavailable("the kernel does not have the protocol".to_owned())
        }
        other => other,
    }
}

pub(super) fn sent() -> Outcome {
    Ok("sent".to_owned())
}
