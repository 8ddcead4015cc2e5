//! A session in a network namespace that it shares with others: the test plays the host.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use guard_daemon::kernel::Network;

use crate::session::{Confined, PATIENCE, Places, Session, host, neighbour, sh};

fn shared(places: Places, loopback_ports: Vec<u16>) -> Session {
    places.session(Network::Shared { loopback_ports })
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

fn nobody_came(listener: &TcpListener) {
    listener.set_nonblocking(true).unwrap();
    let came = listener.accept();
    assert!(came.is_err(), "{came:?}");
}

#[test]
fn the_hosts_servers_are_behind_the_gateway() {
    let Some(places) = host("shared-tcp") else {
        return;
    };
    let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
    let any = TcpListener::bind("[::]:0").unwrap();
    let session = shared(places, vec![]);
    let (v4_port, any_port) = (port(&v4), port(&any));
    let cases = [
        ("AF_INET", "127.0.0.1", v4_port, false),
        ("AF_INET", "0.0.0.0", v4_port, false),
        ("AF_INET6", "::ffff:127.0.0.1", v4_port, false),
        ("AF_INET", "127.0.0.1", any_port, false),
        ("AF_INET", "127.9.9.9", any_port, false),
        ("AF_INET6", "::1", any_port, true),
        ("AF_INET6", "::", any_port, true),
    ];
    for (family, address, port, six) in cases {
        let script = format!(
            "s = socket({family}); s.connect(('{address}', {port})); s.sendall(b'x')\n\
             print(s.getpeername()[0]); sys.stdin.read()\n"
        );
        let mut confined = session.spawn(&script);
        let gateway = if six {
            &session.gateway6
        } else {
            &session.gateway
        };
        let (mut stream, from) = Session::accept(gateway);
        stream.read_exact(&mut [0]).unwrap();
        let origin = session.hooks().take_origin(from).expect(address);
        assert_eq!(origin.destination.port(), port);
        confined.go_on();
        assert_eq!(confined.output(), address);
    }
    nobody_came(&v4);
    nobody_came(&any);
    session.no_refusal();
}

#[test]
fn allowed_ports_of_loopback_are_reached() {
    let Some(places) = host("shared-allowed") else {
        return;
    };
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind(("127.0.0.1", port(&tcp))).unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    let session = shared(places, vec![port(&tcp)]);
    let at = tcp.local_addr().unwrap();
    let script = format!(
        "s = socket(); s.connect(('127.0.0.1', {0})); print(s.recv(5).decode()); s.sendall(b'x')\n\
         u = socket(AF_INET, SOCK_DGRAM); u.sendto(b'q', ('127.0.0.1', {0})); print(u.recv(5).decode())\n",
        at.port()
    );
    let confined = session.spawn(&script);
    let (mut stream, from) = Session::accept(&tcp);
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    assert_eq!(session.hooks().take_origin(from), None);
    let (_, from) = udp.recv_from(&mut [0; 9]).unwrap();
    udp.send_to(b"there", from).unwrap();
    assert_eq!(confined.output(), "hello\nthere");
    session.no_refusal();
}

#[test]
fn the_sessions_own_servers_work() {
    let Some(places) = host("shared-own") else {
        return;
    };
    let session = shared(places, vec![]);
    // Bound and not, one family for the other, children, sockets that were duplicated, many bytes.
    let script = "\
        import threading\n\
        def serve(l):\n \
          a, _ = l.accept(); data = b''\n \
          while chunk := a.recv(65536): data += chunk\n \
          a.sendall(b'%d' % len(data)); a.close()\n\
        def talk(family, to, l):\n \
          threading.Thread(target=serve, args=(l,)).start()\n \
          c = socket(family); c.connect((to, l.getsockname()[1])); c.sendall(b'x' * 3000000)\n \
          c.shutdown(SHUT_WR); print(c.recv(99).decode(), end=' ')\n \
          assert c.recv(1) == b''; c.close()\n\
        for family, at, to in ((AF_INET, '127.0.0.1', '127.0.0.1'), (AF_INET, '0.0.0.0', '127.0.0.7'),\n  \
          (AF_INET, '127.0.0.1', '0.0.0.0'), (AF_INET6, '::1', '::1'), (AF_INET6, '::', '::')):\n \
          l = socket(family); l.bind((at, 0)); l.listen(); talk(family, to, l); talk(family, to, l.dup())\n\
        l = socket(); l.listen(); talk(AF_INET, '127.0.0.1', l)\n\
        l = socket(AF_INET6); l.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 0); l.bind(('::', 0)); l.listen()\n\
        talk(AF_INET, '127.0.0.1', l); talk(AF_INET6, '::ffff:127.0.0.1', l)\n\
        l = socket(); l.bind(('127.0.0.1', 0)); l.listen()\n\
        if os.fork() == 0: serve(l); os._exit(0)\n\
        c = socket(); c.connect(l.getsockname()); c.shutdown(SHUT_WR); print(c.recv(9).decode()); os.wait()\n\
        for family, at in ((AF_INET, '127.0.0.1'), (AF_INET6, '::1')):\n \
          u = socket(family, SOCK_DGRAM); u.bind((at, 0)); v = socket(family, SOCK_DGRAM)\n \
          v.sendto(b'there', u.getsockname()); d, f = u.recvfrom(9); u.sendto(d[::-1], f)\n \
          print(v.recv(9).decode())\n \
          v.connect(u.getsockname()); v.send(b'again'); d, f = u.recvfrom(9); u.connect(f); u.send(d)\n \
          print(v.recv(9).decode())\n";
    let expected = format!("{}0\nereht\nagain\nereht\nagain", "3000000 ".repeat(13));
    assert_eq!(session.run(script), expected);
    session.no_refusal();
}

/// A server that closed answers with a reset, not with silence.
#[test]
fn resets_of_the_sessions_own_servers_arrive() {
    let Some(places) = host("shared-reset") else {
        return;
    };
    let session = shared(places, vec![]);
    let script = "\
        l = socket(); l.bind(('127.0.0.1', 0)); l.listen()\n\
        c = socket(); c.connect(l.getsockname()); a, _ = l.accept(); a.close(); assert c.recv(1) == b''\n\
        c.sendall(b'late')\n\
        try:\n \
          c.settimeout(5)\n \
          while True: c.sendall(b'later')\n\
        except OSError as e: print(errno.errorcode[e.errno])\n\
        c = socket(); c.connect(l.getsockname()); a, _ = l.accept(); c.sendall(b'unread')\n\
        a.close(); c.settimeout(5)\n\
        try: c.recv(1)\n\
        except OSError as e: print(errno.errorcode[e.errno])\n";
    assert_eq!(session.run(script), "EPIPE\nECONNRESET");
}

#[test]
fn datagrams_reach_the_resolver_and_the_session_only() {
    let Some(places) = host("shared-udp") else {
        return;
    };
    let hosts = UdpSocket::bind("127.0.0.1:0").unwrap();
    hosts
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let session = shared(places, vec![]);
    let at = hosts.local_addr().unwrap();
    for call in [
        format!("s.sendto(b'x', ('127.0.0.1', {}))", at.port()),
        format!("s.connect(('0.0.0.0', {}))", at.port()),
        // Nobody is there, but somebody might come.
        "s.sendto(b'x', ('127.0.0.1', 9))".to_owned(),
    ] {
        let script = format!(
            "s = socket(AF_INET, SOCK_DGRAM)\n\
             try: {call}; print('sent')\n\
             except OSError as e: print(errno.errorcode[e.errno])\n"
        );
        assert_eq!(session.run(&script), "EPERM", "{call}");
        assert_eq!(session.refusal().code, "udp");
    }
    // Connected to the session's own socket, whose port then passes to the host.
    let script = "\
        u = socket(AF_INET, SOCK_DGRAM); u.bind(('127.0.0.1', 0)); s = socket(AF_INET, SOCK_DGRAM)\n\
        s.connect(u.getsockname()); print(u.getsockname()[1], flush=True); u.close(); sys.stdin.read()\n\
        try: s.send(b'secret'); print('sent')\n\
        except OSError as e: print(errno.errorcode[e.errno])\n";
    let mut confined = session.spawn(script);
    let port: u16 = confined.line().parse().unwrap();
    let taken = loop {
        if let Ok(taken) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) {
            break taken;
        }
    };
    taken
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    confined.go_on();
    assert_eq!(confined.output(), "EPERM");
    let mut received = [0; 9];
    assert!(taken.recv_from(&mut received).is_err(), "{received:?}");
    assert!(hosts.recv_from(&mut received).is_err(), "{received:?}");

    // DNS, with the server's address restored.
    let confined = session.spawn(
        "s = socket(AF_INET, SOCK_DGRAM); s.sendto(b'q', ('192.0.2.53', 53)); print(s.recvfrom(9))\n",
    );
    let (_, from) = session.resolver.recv_from(&mut received).unwrap();
    session.resolver.send_to(b"a", from).unwrap();
    assert_eq!(confined.output(), "(b'a', ('192.0.2.53', 53))");
    session.no_refusal();
}

/// The packets' own rule: whatever a hook has let pass, or did not see.
#[test]
fn packets_go_by_the_socket_at_the_other_end() {
    let Some(places) = host("shared-packets") else {
        return;
    };
    let hosts = TcpListener::bind("127.0.0.1:0").unwrap();
    // A connection from before the hooks, of a socket that is the cgroup's.
    let script = format!(
        "c = socket(); c.connect(('127.0.0.1', {})); print('connected', flush=True); sys.stdin.readline()\n\
         c.sendall(b'secret'); print('sent', flush=True); sys.stdin.read()\n",
        port(&hosts)
    );
    let mut earlier = places.spawn(&script);
    assert_eq!(earlier.line(), "connected");
    let (mut stream, _) = Session::accept(&hosts);
    let mut session = shared(places, vec![]);
    let stdin = earlier.0.as_mut().unwrap().stdin.as_mut().unwrap();
    stdin.write_all(b"\n").unwrap();
    assert_eq!(earlier.line(), "sent");
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut received = [0; 9];
    assert!(stream.read(&mut received).is_err(), "{received:?}");
    drop(earlier);

    // The gateway dies, and its port passes to another program: that is not the gateway.
    let gateway = SocketAddr::from(([127, 0, 0, 1], session.settings.gateway_port));
    session.gateway = TcpListener::bind("127.0.0.1:0").unwrap();
    let script = "c = socket(); c.settimeout(1)\n\
        try: c.connect(('192.0.2.1', 443)); print('connected')\n\
        except OSError as e: print(e)\n";
    assert!(session.run(script).contains("refused"));
    let taken = TcpListener::bind(gateway).unwrap();
    assert!(session.run(script).contains("timed out"));
    nobody_came(&taken);
    nobody_came(&hosts);
}

#[test]
fn clients_on_the_host_reach_the_sessions_server_and_others_do_not() {
    let Some(places) = host("shared-server") else {
        return;
    };
    let neighbour = neighbour();
    let session = shared(places, vec![]);
    let mut server = session.spawn(
        "l = socket(); l.bind(('0.0.0.0', 0)); l.listen(); print(l.getsockname()[1], flush=True)\n\
         while True: a, f = l.accept(); a.sendall(f[0].encode()); a.close()\n",
    );
    let port: u16 = server.line().parse().unwrap();
    let mut said = String::new();
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.read_to_string(&mut said).unwrap();
    assert_eq!(said, "127.0.0.1");
    let dial = format!(
        "nsenter --net --target $1 /usr/bin/python3 -c \"from socket import *; s = socket()\n\
         s.settimeout(0.5)\ntry: s.connect(('198.51.100.1', {port}))\nexcept TimeoutError: pass\n\
         else: raise SystemExit(1)\""
    );
    sh(&dial, &[&neighbour.pid().to_string()]);
}

/// A socket that is bound to a device reaches the gateway all the same.
#[test]
fn sockets_bound_to_a_device_reach_the_gateway() {
    let Some(places) = host("shared-device") else {
        return;
    };
    let _neighbour = neighbour();
    let session = shared(places, vec![]);
    for device in ["guard0", "lo"] {
        let confined = session.spawn(&format!(
            "s = socket(); s.setsockopt(SOL_SOCKET, SO_BINDTODEVICE, b'{device}'); s.settimeout(5)\n\
             s.connect(('198.51.100.2', 443)); s.sendall(b'x'); print('connected')\n"
        ));
        let (mut stream, from) = Session::accept(&session.gateway);
        stream.read_exact(&mut [0]).unwrap();
        let origin = session.hooks().take_origin(from).unwrap();
        assert_eq!(origin.destination.to_string(), "198.51.100.2:443");
        assert_eq!(confined.output(), "connected");
    }
}

#[test]
fn only_recognised_sockets_are_guards() {
    let Some(places) = host("shared-recognised") else {
        return;
    };
    let session = shared(places, vec![]);
    // Another program with the gateway's port on another address of loopback.
    let other = TcpListener::bind(("127.0.0.2", session.settings.gateway_port)).unwrap();
    let confined = session.spawn(&format!(
        "s = socket(); s.connect(('127.0.0.2', {})); s.sendall(b'x'); print('connected')\n",
        session.settings.gateway_port
    ));
    let (_stream, from) = Session::accept(&session.gateway);
    let origin = session.hooks().take_origin(from).unwrap();
    assert_eq!(origin.destination, other.local_addr().unwrap());
    assert_eq!(confined.output(), "connected");
    nobody_came(&other);

    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(session.hooks().recognise(file.as_fd()).is_err());
}

/// Ways to make one socket be found and another one be reached.
#[test]
fn ports_are_not_shared_with_the_hosts_services() {
    let Some(places) = host("shared-ports") else {
        return;
    };
    // A service of the host on a port that others may use, too, as multicast services are.
    let mut service = Command::new("/usr/bin/python3");
    let script = "from socket import *; import sys; s = socket(AF_INET, SOCK_DGRAM)\n\
        s.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1); s.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)\n\
        s.bind(('0.0.0.0', 0)); print(s.getsockname()[1], flush=True); sys.stdin.read(); s.settimeout(0.3)\n\
        try:\n while True: print(s.recv(9))\n\
        except TimeoutError: print('nothing')\n";
    let service = service.args(["-c", script]);
    let service = service.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut service = Confined(Some(service.spawn().unwrap()));
    let port = service.line();
    let session = shared(places, vec![]);
    let script = format!(
        "import ctypes, struct\n\
         u = socket(AF_INET, SOCK_DGRAM); u.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)\n\
         u.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1); u.bind(('0.0.0.0', {port}))\n\
         s = socket(AF_INET, SOCK_DGRAM); s.setsockopt(SOL_SOCKET, SO_BROADCAST, 1)\n\
         def tell(call, *arguments):\n \
           try: call(*arguments); print('done')\n \
           except OSError as e: print(errno.errorcode[e.errno])\n\
         tell(s.sendto, b'x', ('127.255.255.255', {port})); tell(s.connect, ('127.255.255.255', {port}))\n\
         code = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0))\n\
         program = struct.pack('HxxxxxxQ', 1, ctypes.addressof(code))\n\
         tell(u.setsockopt, SOL_SOCKET, 51, program); tell(u.setsockopt, SOL_SOCKET, 52, 0)\n\
         tell(u.setsockopt, SOL_SOCKET, 26, program); tell(u.setsockopt, IPPROTO_IP, 41, bytes(9000))\n"
    );
    let confined = session.run(&script);
    // The last is far too long for its option, and not for the hook.
    assert_eq!(confined, "EPERM\nEPERM\nEPERM\nEPERM\ndone\nEINVAL");
    service.go_on();
    assert_eq!(service.output(), "nothing");
}

/// The kernel announces a membership by packets of its own, which no hook on packets sees.
#[test]
fn no_group_is_joined_on_the_hosts_devices() {
    let Some(places) = host("shared-groups") else {
        return;
    };
    let session = shared(places, vec![]);
    let script = "import struct\n\
         s, t = socket(AF_INET, SOCK_DGRAM), socket(AF_INET6, SOCK_DGRAM)\n\
         group4 = inet_aton('239.1.2.3') + inet_aton('0.0.0.0'); group6 = inet_pton(AF_INET6, 'ff02::77') + bytes(4)\n\
         storage = bytes(8) + struct.pack('HH', AF_INET, 0) + group4[:4] + bytes(264)\n\
         for socket_, level, option, value in [(s, 0, 35, group4), (s, 0, 39, group4 + bytes(4)), (s, 0, 42, storage),\n    \
             (s, 0, 46, storage * 2), (t, 41, 20, group6), (t, 41, 27, group6), (t, 41, 42, storage), (s, 0, 32, bytes(4))]:\n \
           try: socket_.setsockopt(level, option, value); print('done')\n \
           except OSError as e: print(errno.errorcode[e.errno])\n";
    let confined = session.run(script);
    assert_eq!(
        confined,
        "EPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\ndone"
    );
}
