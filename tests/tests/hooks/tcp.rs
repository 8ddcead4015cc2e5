//! What becomes of TCP connections.

use std::io::Read;
use std::net::SocketAddr;

use guard_daemon::kernel::{Origin, process};

use crate::session::{Session, session};

/// A client that shows its peer and waits.
fn client(family: &str, address: &str) -> String {
    format!(
        "s = socket({family}, SOCK_STREAM)\n\
         s.connect({address})\n\
         s.sendall(b'x')\n\
         print(s.getpeername()[:2])\n\
         sys.stdin.read()\n"
    )
}

#[test]
fn tcp_goes_to_the_gateway_and_shows_its_peer() {
    let Some(session) = session("tcp") else {
        return;
    };
    let cases = [
        (
            "AF_INET",
            "('192.0.2.1', 443)",
            "192.0.2.1:443",
            "('192.0.2.1', 443)",
            false,
        ),
        (
            "AF_INET6",
            "('2001:db8::1', 443)",
            "[2001:db8::1]:443",
            "('2001:db8::1', 443)",
            true,
        ),
        (
            "AF_INET6",
            "('::ffff:192.0.2.2', 80)",
            "192.0.2.2:80",
            "('::ffff:192.0.2.2', 80)",
            false,
        ),
        (
            "AF_INET",
            "('169.254.169.254', 80)",
            "169.254.169.254:80",
            "('169.254.169.254', 80)",
            false,
        ),
        (
            "AF_INET",
            "('127.0.0.1', 53)",
            "127.0.0.1:53",
            "('127.0.0.1', 53)",
            false,
        ),
        ("AF_INET6", "('::1', 53)", "[::1]:53", "('::1', 53)", true),
        (
            "AF_INET",
            "('10.0.0.1', 53)",
            "10.0.0.1:53",
            "('10.0.0.1', 53)",
            false,
        ),
    ];
    for (family, address, destination, peer, six) in cases {
        let mut confined = session.spawn(&client(family, address));
        let listener = if six {
            &session.gateway6
        } else {
            &session.gateway
        };
        let (mut stream, from) = Session::accept(listener);
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();

        let origin = session.hooks().take_origin(from).expect(address);
        assert_eq!(
            origin.destination,
            destination.parse::<SocketAddr>().unwrap(),
            "{address}"
        );
        assert_eq!((origin.pid, origin.uid), (confined.pid(), 0));
        assert!(origin.comm.starts_with("python3"), "{origin:?}");
        assert_eq!(session.hooks().take_origin(from), None, "taken twice");

        let process = process::of_origin(&origin);
        assert!(process.exe.unwrap().contains("python3"));
        assert_eq!(process.argv.unwrap()[..2], ["/usr/bin/python3", "-c"]);
        let reused = process::of_origin(&Origin { at: 1, ..origin });
        assert_eq!((reused.exe, reused.argv), (None, None));

        confined.go_on();
        assert_eq!(confined.output(), peer);
    }
    session.no_refusal();
}

#[test]
fn every_way_to_connect_is_redirected() {
    let Some(session) = session("ways") else {
        return;
    };
    let ways = [
        // Not blocking.
        "s = socket(); s.setblocking(False); s.connect_ex(('192.0.2.1', 443)); s.setblocking(True)\n\
         import select; select.select([], [s], []); s.sendall(b'x')",
        // TCP fast open.
        "s = socket(); s.sendto(b'x', MSG_FASTOPEN, ('192.0.2.1', 443))",
        // From a port of its own choice.
        "s = socket(); s.bind(('127.0.0.1', 0)); s.connect(('192.0.2.1', 443)); s.sendall(b'x')",
        // A child process.
        "if os.fork() == 0:\n s = socket(); s.connect(('192.0.2.1', 443)); s.sendall(b'x'); os._exit(0)\n\
         os.wait()",
        // A second connect of one socket, after one to loopback.
        "l = socket(); l.bind(('127.0.0.1', 0)); l.listen(); s = socket(); s.connect(l.getsockname())\n\
         import ctypes; ctypes.CDLL(None).connect(s.fileno(), b'\\0' * 16, 16)\n\
         s.connect(('192.0.2.1', 443)); s.sendall(b'x')",
    ];
    for way in ways {
        let confined = session.spawn(way);
        let (mut stream, from) = Session::accept(&session.gateway);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        assert_eq!(bytes, b"x", "{way}");
        // Also when the client is gone already.
        let origin = session.hooks().take_origin(from).expect(way);
        assert_eq!(origin.destination.to_string(), "192.0.2.1:443");
        confined.output();
    }
}

#[test]
fn loopback_is_the_sessions_own() {
    let Some(session) = session("loopback") else {
        return;
    };
    let script = "\
        for family, at in ((AF_INET, '127.0.0.1'), (AF_INET6, '::1')):\n \
          l = socket(family); l.bind((at, 0)); l.listen(); port = l.getsockname()[1]\n \
          for to in (at, '0.0.0.0' if family == AF_INET else '::'):\n  \
            c = socket(family); c.connect((to, port)); a, _ = l.accept()\n  \
            a.sendall(b'hello'); print(c.recv(5).decode(), c.getpeername()[1] == port)\n \
          u = socket(family, SOCK_DGRAM); u.bind((at, 0)); v = socket(family, SOCK_DGRAM)\n \
          v.sendto(b'there', u.getsockname()); d, f = u.recvfrom(9)\n \
          print(d.decode(), f[:2] == (at, v.getsockname()[1]))\n";
    let expected = ["hello True\nhello True\nthere True"; 2].join("\n");
    assert_eq!(session.run(script), expected);
    session.no_refusal();
}

#[test]
fn a_connection_that_was_not_redirected_has_no_origin() {
    let Some(session) = session("no-origin") else {
        return;
    };
    let port = session.settings.gateway_port;
    // The same source port had an origin that nobody took: it must not be inherited.
    let script = format!(
        "s = socket(); s.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)\n\
         s.bind(('127.0.0.1', 0)); at = s.getsockname()\n\
         s.connect(('192.0.2.1', 443)); s.setsockopt(SOL_SOCKET, SO_LINGER, b'\\1\\0\\0\\0\\0\\0\\0\\0')\n\
         s.close(); s = socket(); s.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1); s.bind(at)\n\
         s.connect(('127.0.0.1', {port})); print(s.getpeername()); sys.stdin.read()\n"
    );
    let mut confined = session.spawn(&script);
    let (_first, first) = Session::accept(&session.gateway);
    let (_second, second) = Session::accept(&session.gateway);
    assert_eq!(first, second);
    assert_eq!(session.hooks().take_origin(second), None);
    confined.go_on();
    assert_eq!(confined.output(), format!("('127.0.0.1', {port})"));

    // Nor may a socket keep the origin of the connection it had before.
    let script = format!(
        "import ctypes; s = socket(); s.connect(('192.0.2.1', 443))\n\
         ctypes.CDLL(None).connect(s.fileno(), b'\\0' * 16, 16)\n\
         s.connect(('127.0.0.1', {port})); print(s.getpeername())\n"
    );
    let confined = session.spawn(&script);
    Session::accept(&session.gateway);
    let (_stream, again) = Session::accept(&session.gateway);
    assert_eq!(session.hooks().take_origin(again), None);
    assert_eq!(confined.output(), format!("('127.0.0.1', {port})"));

    // A nested network namespace has ports, and a gateway, of its own. The hooks keep both of guard's ports.
    let other = if port - 1 == session.settings.resolver_port {
        port - 2
    } else {
        port - 1
    };
    let script = format!(
        "import ctypes; assert ctypes.CDLL(None).unshare(0x40000000) == 0\n\
         assert os.system('ip link set lo up') == 0\n\
         l = socket(); l.bind(('127.0.0.1', {other})); l.listen(); s = socket()\n\
         s.bind(('127.0.0.1', 12345)); s.connect(('192.0.2.1', 443)); print('connected')\n"
    );
    let output = session.spawn(&format!(
        "try:\n {}\nexcept OSError as e: print(errno.errorcode[e.errno], 'in line', e.__traceback__.tb_lineno)",
        script.replace('\n', "\n ")
    ));
    let said = output.output();
    assert!(said.starts_with("ECONNREFUSED "), "{said}");
    assert_eq!(
        session
            .hooks()
            .take_origin("127.0.0.1:12345".parse().unwrap()),
        None
    );
}
