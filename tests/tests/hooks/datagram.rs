//! What becomes of datagrams.

use crate::session::session;

#[test]
fn dns_goes_to_the_resolver_and_answers_come_from_the_server() {
    let Some(session) = session("dns") else {
        return;
    };
    let cases = [
        ("AF_INET", "('192.0.2.53', 53)", false),
        ("AF_INET", "('127.0.0.53', 53)", false),
        ("AF_INET6", "('2001:db8::53', 53)", true),
        ("AF_INET6", "('::ffff:192.0.2.53', 53)", false),
    ];
    for (family, server, six) in cases {
        let resolver = if six {
            &session.resolver6
        } else {
            &session.resolver
        };
        let unconnected = format!(
            "s = socket({family}, SOCK_DGRAM); s.sendto(b'q', {server}); d, f = s.recvfrom(9)\n\
             print(d.decode(), f[:2] == {server})\n"
        );
        let connected = format!(
            "s = socket({family}, SOCK_DGRAM); s.connect({server}); s.send(b'q')\n\
             d, f = s.recvfrom(9); print(d.decode(), f[:2] == s.getpeername()[:2] == {server})\n"
        );
        for script in [unconnected, connected] {
            let confined = session.spawn(&script);
            let mut query = [0; 9];
            let (length, from) = resolver.recv_from(&mut query).unwrap();
            assert_eq!(&query[..length], b"q");
            resolver.send_to(b"a", from).unwrap();
            assert_eq!(confined.output(), "a True", "{script}");
        }
    }
    session.no_refusal();
}

#[test]
fn other_datagrams_are_refused_and_reported() {
    let Some(session) = session("udp") else {
        return;
    };
    let cases = [
        (
            "s.sendto(b'x', ('192.0.2.1', 443))",
            "AF_INET",
            "192.0.2.1:443",
        ),
        ("s.connect(('192.0.2.1', 443))", "AF_INET", "192.0.2.1:443"),
        (
            "s.sendto(b'x', ('2001:db8::1', 443))",
            "AF_INET6",
            "[2001:db8::1]:443",
        ),
        (
            "s.connect(('2001:db8::1', 443))",
            "AF_INET6",
            "[2001:db8::1]:443",
        ),
        (
            "s.sendto(b'x', ('::ffff:192.0.2.1', 443))",
            "AF_INET6",
            "192.0.2.1:443",
        ),
        (
            "s.sendto(b'x', ('224.0.0.251', 5353))",
            "AF_INET",
            "224.0.0.251:5353",
        ),
        // Connected to the resolver, then sent elsewhere.
        (
            "s.connect(('192.0.2.53', 53)); s.sendto(b'x', ('192.0.2.1', 54))",
            "AF_INET",
            "192.0.2.1:54",
        ),
    ];
    for (call, family, destination) in cases {
        let script = format!(
            "s = socket({family}, SOCK_DGRAM)\n\
             try: {call}; print('sent')\n\
             except OSError as e: print(errno.errorcode[e.errno], os.getpid())\n"
        );
        let confined = session.spawn(&script);
        let pid = confined.pid();
        assert_eq!(confined.output(), format!("EPERM {pid}"), "{call}");
        let refusal = session.refusal();
        assert_eq!(refusal.code, "udp");
        assert_eq!(
            refusal.destination,
            Some(destination.parse().unwrap()),
            "{call}"
        );
        assert_eq!((refusal.pid, refusal.uid), (pid, 0));
        assert!(refusal.comm.starts_with("python3"));
        assert!(refusal.at > 0);
    }
    session.no_refusal();
}
