//! TCP: every way to open a connection, and to be found by one.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use libc::{AF_INET, AF_INET6, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SOCK_STREAM, SOL_SOCKET};
use nix::errno::Errno;

use super::sys::{Address, bind, connect, device, option, pause, send, socket};
use super::world::World;
use super::{Attempt, Outcome, Stop, Technique, technique};

const GATEWAY: &str = "connect4/6: to the gateway";

pub(super) const TABLE: &[Technique] = &[
    technique("tcp-v4", "connect, IPv4", |a| open(a, AF_INET, a.v4(80))).closed(GATEWAY, GATEWAY),
    technique("tcp-v6", "connect, IPv6", |a| open(a, AF_INET6, a.v6(80))).closed(GATEWAY, GATEWAY),
    technique("tcp-mapped", "connect, IPv4-mapped IPv6", |a| {
        open(a, AF_INET6, a.mapped(80))
    })
    .closed(GATEWAY, GATEWAY),
    technique("tcp-nonblocking", "connect, non-blocking", nonblocking).closed(GATEWAY, GATEWAY),
    technique(
        "tcp-ssh",
        "connect to port 22, where the server speaks first",
        |a| open(a, AF_INET, a.v4(22)),
    )
    .closed(GATEWAY, GATEWAY),
    technique("tcp-smtp", "connect to port 25", |a| {
        open(a, AF_INET, a.v4(25))
    })
    .closed(GATEWAY, GATEWAY),
    technique("tcp-fastopen-v4", "sendto(MSG_FASTOPEN), IPv4", |a| {
        fast_open(a, AF_INET, a.v4(80), 0)
    })
    .closed(GATEWAY, GATEWAY),
    technique("tcp-fastopen-v6", "sendto(MSG_FASTOPEN), IPv6", |a| {
        fast_open(a, AF_INET6, a.v6(80), 0)
    })
    .closed(GATEWAY, GATEWAY),
    technique(
        "tcp-fastopen-connect",
        "TCP_FASTOPEN_CONNECT, then write",
        |a| with_option(a, IPPROTO_TCP, 30, &1_i32),
    )
    .closed(GATEWAY, GATEWAY),
    technique("tcp-device", "SO_BINDTODEVICE", |a| {
        with_option(
            a,
            SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            World::DEVICE.as_bytes(),
        )
    })
    .closed("network namespace", "egress"),
    technique("tcp-device-index", "SO_BINDTOIFINDEX", |a| {
        with_option(a, SOL_SOCKET, 62, &device()?)
    })
    .closed("network namespace", "egress"),
    technique("tcp-device-late", "SO_BINDTODEVICE while connecting", |a| {
        let fd = socket(AF_INET, SOCK_STREAM | libc::SOCK_NONBLOCK, 0)?;
        let _ = connect(&fd, &Address::ip(a.v4(81)));
        option(
            &fd,
            SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            World::DEVICE.as_bytes(),
        )?;
        pause(20);
        let _ = connect(&fd, &Address::ip(a.v4(80)));
        pause(50);
        send(&fd, a.marker().as_bytes(), 0)?;
        Ok("sent".to_owned())
    })
    .closed("network namespace", "egress")
    .or(&[("send:", GATEWAY)]),
    technique("tcp-source", "bind to the host's address", |a| {
        let fd = socket(AF_INET, SOCK_STREAM, 0)?;
        bind(&fd, &Address::ip((World::HOST4, 0).into()))?;
        say(a, &fd, a.v4(80))
    })
    .closed("network namespace", GATEWAY)
    .or(&[("bind: EPERM", "bind4/6"), ("bind: EACCES", "bind4/6")]),
    technique(
        "tcp-freebind",
        "IPV6_FREEBIND, bind to a foreign address",
        |a| {
            let fd = socket(AF_INET6, SOCK_STREAM, 0)?;
            option(&fd, IPPROTO_IPV6, libc::IPV6_FREEBIND, &1_i32)?;
            let mut foreign = crate::internet::HOST6.segments();
            foreign[7] = 0x77;
            bind(
                &fd,
                &Address::ip((std::net::Ipv6Addr::from(foreign), 0).into()),
            )?;
            connect(&fd, &Address::ip(a.v6(80)))?;
            Ok("connected".to_owned())
        },
    )
    .closed("bind4/6", "bind4/6")
    .or(&[("connect", GATEWAY)]),
    technique(
        "tcp-transparent",
        "IP_TRANSPARENT, bind to a foreign address",
        |a| {
            let fd = socket(AF_INET, SOCK_STREAM, 0)?;
            option(&fd, IPPROTO_IP, libc::IP_TRANSPARENT, &1_i32)?;
            bind(&fd, &Address::ip((Ipv4Addr::new(192, 0, 2, 78), 0).into()))?;
            say(a, &fd, a.v4(80))
        },
    )
    .root()
    .closed("capabilities", "bind4/6"),
    technique(
        "tcp-repair",
        "TCP_REPAIR: a connection without a handshake",
        repair,
    )
    .root()
    .closed("capabilities", "egress"),
    technique("tcp-mark", "SO_MARK", |a| {
        with_option(a, SOL_SOCKET, libc::SO_MARK, &1_i32)
    })
    .root()
    .closed("capabilities", GATEWAY),
    technique(
        "tcp-source-route",
        "IP_OPTIONS: loose source route by a hop",
        |a| {
            let fd = socket(AF_INET, SOCK_STREAM, 0)?;
            option(
                &fd,
                IPPROTO_IP,
                libc::IP_OPTIONS,
                &source_route(a.hop4())[..],
            )?;
            say(a, &fd, (crate::internet::ROUTER4, 80).into())
        },
    )
    .root()
    .closed("capabilities", "egress"),
    technique(
        "tcp-source-route-loopback",
        "a source route by a hop, to a loopback address",
        |a| {
            let fd = socket(AF_INET, SOCK_STREAM, 0)?;
            option(
                &fd,
                IPPROTO_IP,
                libc::IP_OPTIONS,
                &source_route(a.hop4())[..],
            )?;
            say(a, &fd, (Ipv4Addr::LOCALHOST, 80).into())
        },
    )
    .root()
    .closed("capabilities", "egress"),
    technique(
        "tcp-segment-route",
        "IPV6_RTHDR: segment routing by a hop, to ::1",
        |a| {
            let fd = socket(AF_INET6, SOCK_STREAM, 0)?;
            option(&fd, IPPROTO_IPV6, libc::IPV6_RTHDR, &segment_route(a)[..])?;
            say(a, &fd, (std::net::Ipv6Addr::LOCALHOST, 80).into())
        },
    )
    .closed("network namespace", "egress"),
    technique(
        "tcp-reconnect",
        "connect to loopback, AF_UNSPEC, connect out",
        |a| {
            let fd = socket(AF_INET, SOCK_STREAM, 0)?;
            let _ = connect(&fd, &Address::ip((Ipv4Addr::LOCALHOST, 1).into()));
            let nobody: libc::sa_family_t = libc::AF_UNSPEC as _;
            connect(&fd, &Address::of(&[nobody, 0, 0, 0, 0, 0, 0, 0]))?;
            say(a, &fd, a.v4(80))
        },
    )
    .closed(GATEWAY, GATEWAY),
    technique("tcp-mptcp", "MPTCP", |a| {
        let fd = socket(AF_INET, SOCK_STREAM, 262)?;
        say(a, &fd, a.v4(80))
    })
    .closed("sock_create", "sock_create"),
    technique("tcp-mptcp-fastopen", "MPTCP with MSG_FASTOPEN", |a| {
        fast_open(a, AF_INET, a.v4(80), 262)
    })
    .closed("sock_create", "sock_create"),
    technique(
        "tcp-metadata",
        "the metadata service, 169.254.169.254",
        |a| open(a, AF_INET, (Ipv4Addr::new(169, 254, 169, 254), 80).into()),
    )
    .closed(GATEWAY, GATEWAY),
    technique("tcp-loopback", "a service on the host's loopback", |a| {
        loopback(a, [127, 0, 0, 1])
    })
    .closed("network namespace", GATEWAY),
    technique("tcp-loopback-alias", "the same, as 127.0.0.2", |a| {
        loopback(a, [127, 0, 0, 2])
    })
    .closed("network namespace", GATEWAY),
    technique("tcp-loopback-any", "the same, as 0.0.0.0", |a| {
        loopback(a, [0, 0, 0, 0])
    })
    .closed("network namespace", GATEWAY),
    technique("tcp-loopback-v6", "the same, as ::1", |a| {
        open(
            a,
            AF_INET6,
            (std::net::Ipv6Addr::LOCALHOST, World::LOOPBACK_PORT).into(),
        )
    })
    .closed("network namespace", GATEWAY),
    technique(
        "tcp-own-address",
        "the same, by the host's own address",
        |a| loopback(a, World::HOST4),
    )
    .closed(GATEWAY, GATEWAY),
];

pub(super) const LISTENERS: &[Technique] = &[
    technique(
        "listen-tcp",
        "accept a connection from the internet and answer",
        |a| {
            let listener = TcpListener::bind(("0.0.0.0", a.port())).map_err(Stop::io("bind"))?;
            accept(a, &listener)
        },
    )
    .closed("network namespace", "bind4/6")
    .or(&[("bind: EPERM", "bind4/6"), ("bind: EACCES", "bind4/6")]),
    technique("listen-tcp-v6", "the same, IPv6", |a| {
        let listener = TcpListener::bind(("::", a.port())).map_err(Stop::io("bind"))?;
        accept(a, &listener)
    })
    .closed("network namespace", "bind4/6")
    .or(&[("bind: EPERM", "bind4/6"), ("bind: EACCES", "bind4/6")]),
    technique(
        "listen-udp",
        "wait for a datagram from the internet and answer",
        |a| {
            let socket =
                std::net::UdpSocket::bind(("0.0.0.0", a.port())).map_err(Stop::io("bind"))?;
            let _ = socket.set_read_timeout(Some(Duration::from_millis(1200)));
            let (_, from) = socket
                .recv_from(&mut [0; 64])
                .map_err(Stop::io("recvfrom"))?;
            socket
                .send_to(a.marker().as_bytes(), from)
                .map_err(Stop::io("sendto"))?;
            Ok("answered".to_owned())
        },
    )
    .closed("network namespace", "bind4/6")
    .or(&[("bind: EPERM", "bind4/6"), ("bind: EACCES", "bind4/6")]),
];

fn open(attempt: &Attempt<'_>, family: i32, to: SocketAddr) -> Outcome {
    let fd = socket(family, SOCK_STREAM, 0)?;
    say(attempt, &fd, to)
}

fn loopback(attempt: &Attempt<'_>, address: [u8; 4]) -> Outcome {
    open(attempt, AF_INET, (address, World::LOOPBACK_PORT).into())
}

/// Connects, sends the mark, and looks whether anybody is there.
pub(super) fn say(attempt: &Attempt<'_>, fd: &OwnedFd, to: SocketAddr) -> Outcome {
    connect(fd, &Address::ip(to))?;
    send(fd, attempt.marker().as_bytes(), 0)?;
    let stream = TcpStream::from(fd.try_clone().map_err(Stop::io("dup"))?);
    let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
    match (&stream).read(&mut [0; 256]) {
        Ok(0) => Ok("sent; the peer closed".to_owned()),
        Ok(_) => Ok("sent; answered".to_owned()),
        Err(error) => Ok(format!("sent; {error}")),
    }
}

fn with_option<T: ?Sized>(attempt: &Attempt<'_>, level: i32, name: i32, value: &T) -> Outcome {
    let fd = socket(AF_INET, SOCK_STREAM, 0)?;
    option(&fd, level, name, value)?;
    say(attempt, &fd, attempt.v4(80))
}

fn nonblocking(attempt: &Attempt<'_>) -> Outcome {
    let fd = socket(AF_INET, SOCK_STREAM | libc::SOCK_NONBLOCK, 0)?;
    match connect(&fd, &Address::ip(attempt.v4(80))) {
        Ok(()) | Err(Stop::Refused(_, Errno::EINPROGRESS)) => {}
        Err(stop) => return Err(stop),
    }
    pause(100);
    send(&fd, attempt.marker().as_bytes(), 0)?;
    Ok("sent".to_owned())
}

fn fast_open(attempt: &Attempt<'_>, family: i32, to: SocketAddr, protocol: i32) -> Outcome {
    let fd = socket(family, SOCK_STREAM, protocol)?;
    let marker = attempt.marker();
    super::sys::send_to(&fd, marker.as_bytes(), libc::MSG_FASTOPEN, &Address::ip(to))
        .map_err(unsupported)?;
    pause(50);
    Ok("sent".to_owned())
}

/// A combination that the kernel does not have.
fn unsupported(stop: Stop) -> Stop {
    match stop {
        Stop::Refused(_, Errno::EOPNOTSUPP) => {
            Stop::Unavailable("the kernel does not have it".to_owned())
        }
        other => other,
    }
}

fn repair(attempt: &Attempt<'_>) -> Outcome {
    let fd = socket(AF_INET, SOCK_STREAM, 0)?;
    option(&fd, IPPROTO_TCP, libc::TCP_REPAIR, &1_i32)?;
    bind(&fd, &Address::ip((World::HOST4, 0).into()))?;
    connect(&fd, &Address::ip(attempt.v4(80)))?;
    option(&fd, IPPROTO_TCP, libc::TCP_REPAIR, &0_i32)?;
    send(&fd, attempt.marker().as_bytes(), 0)?;
    pause(20);
    Ok("sent".to_owned())
}

pub(super) fn accept(attempt: &Attempt<'_>, listener: &TcpListener) -> Outcome {
    listener.set_nonblocking(true).map_err(Stop::io("fcntl"))?;
    for _ in 0..60 {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream
                    .write_all(attempt.marker().as_bytes())
                    .map_err(Stop::io("write"))?;
                return Ok("answered".to_owned());
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => pause(20),
            Err(error) => return Err(Stop::io("accept")(error)),
        }
    }
    Err(Stop::Nothing("nobody came".to_owned()))
}

/// The IP option: a loose source route with one hop.
pub(super) fn source_route(hop: Ipv4Addr) -> [u8; 8] {
    let [a, b, c, d] = hop.octets();
    [131, 7, 4, a, b, c, d, 0]
}

/// A routing header of type 4 whose first segment is the technique's target.
pub(super) fn segment_route(attempt: &Attempt<'_>) -> Vec<u8> {
    // Next header, length in 8 bytes beyond the first, type, segments left, last entry, flags, tag.
    let mut header = vec![0, 4, 4, 1, 1, 0, 0, 0];
    header.extend([0; 16]);
    header.extend(super::attempt::target6(attempt.number).octets());
    header
}
