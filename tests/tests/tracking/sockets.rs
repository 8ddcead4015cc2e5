//! Sockets that were made outside of the session: whoever holds one in it does not get to use it.

use std::net::{TcpListener, UdpSocket};

use guard_daemon::kernel::tracker::Tracker;

use crate::host::{Host, refusal};

/// Makes sockets, comes into the session (or not), and uses them.
const USE: &str = "\
    tcp, tcp6, udp, udp6, bound = socket(), socket(AF_INET6), socket(type=SOCK_DGRAM), socket(AF_INET6, SOCK_DGRAM), socket()\n\
    if ENTER: open(INSIDE, 'w').write('0')\n\
    tell(lambda: tcp.connect(('127.0.0.1', PORT)))\n\
    tell(lambda: tcp6.connect(('::ffff:127.0.0.1', PORT)))\n\
    tell(lambda: udp.sendto(b'x', ('127.0.0.1', UDP)))\n\
    tell(lambda: udp6.sendto(b'x', ('::ffff:127.0.0.1', UDP)))\n\
    tell(lambda: bound.bind(('127.0.0.1', 0)))\n";

pub(crate) fn has(tracker: &Tracker, feature: &str, test: &str) -> bool {
    let enforced = tracker.enforced();
    let has = enforced.iter().any(|name| {
        name == feature || feature.starts_with("security-hook:") && name == "security-hooks"
    });
    if !has {
        guard_tests::skip(test, &tracker.limits().join("; "));
    }
    has
}

#[test]
fn sockets_from_outside_connect_send_and_bind_nothing() {
    let test = "inherited";
    let Some((host, tracker)) = Host::new(test) else {
        return;
    };
    if !has(&tracker, "foreign-sockets", test) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_nonblocking(true).unwrap();
    let (port, udp) = (
        listener.local_addr().unwrap().port(),
        receiver.local_addr().unwrap().port(),
    );
    for (enter, answer) in [("False", "done"), ("True", "EPERM")] {
        let script = format!("ENTER, PORT, UDP = {enter}, {port}, {udp}\n{USE}");
        let mut user = host.outsider(&script);
        for use_of in 0..5 {
            assert_eq!(user.line(), answer, "use {use_of}, inside: {enter}");
        }
        assert!(user.end().success());
        let mut arrived = 0;
        while listener.accept().is_ok() {
            arrived += 1;
        }
        while receiver.recv(&mut [0; 8]).is_ok() {
            arrived += 1;
        }
        assert_eq!(arrived, if enter == "True" { 0 } else { 4 });
        if enter == "True" {
            let (pid, code, _) = host.event(&tracker, refusal);
            assert_eq!((pid, code), (user.pid(), "foreign-socket"));
        }
    }
}

/// Its own are as ever.
#[test]
fn sockets_of_the_session_are_not_in_the_way() {
    let Some((host, _tracker)) = Host::new("own") else {
        return;
    };
    let mut user = host.python(
        "a = socket(); a.bind(('127.0.0.1', 0)); a.listen()\n\
         b = create_connection(a.getsockname()); c, _ = a.accept()\n\
         b.send(b'x'); assert c.recv(1) == b'x'\n\
         d = socket(AF_INET6, SOCK_DGRAM); d.bind(('::1', 0))\n\
         e = socket(AF_INET6, SOCK_DGRAM); e.sendto(b'y', d.getsockname()); assert d.recv(1) == b'y'\n\
         f, g = socketpair(); send_fds(f, [b'z'], [b.fileno()])\n\
         assert len(recv_fds(g, 1, 1)[1]) == 1\n\
         h = socket(AF_UNIX); h.bind('\\0guard-test-%d' % os.getpid()); h.listen()\n\
         i = socket(AF_UNIX); i.connect(h.getsockname())\n\
         j = subprocess.Popen(['/bin/sleep', '60']); j.kill(); j.wait()\n\
         socket(AF_NETLINK, SOCK_RAW, 0); print('done')",
    );
    assert_eq!(user.line(), "done");
    assert!(user.end().success());
}

#[test]
fn a_connected_socket_from_outside_sends_nothing() {
    let test = "connected";
    let Some((host, tracker)) = Host::new(test) else {
        return;
    };
    if !has(&tracker, "security-hook:socket_sendmsg", test) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for (enter, answers) in [("False", ["done", "done"]), ("True", ["EPERM", "EPERM"])] {
        let mut user = host.outsider(&format!(
            "s = create_connection(('127.0.0.1', {port}))\n\
             l = socket(); l.bind(('127.0.0.1', 0)); l.listen()\n\
             c = create_connection(l.getsockname())\n\
             if {enter}: open(INSIDE, 'w').write('0')\n\
             tell(lambda: s.send(b'x')); tell(lambda: l.accept())"
        ));
        assert_eq!([user.line(), user.line()], answers);
        let (stream, _) = listener.accept().unwrap();
        assert!(user.end().success());
        let read = std::io::Read::read(&mut &stream, &mut [0; 8]);
        assert_eq!(read.unwrap(), usize::from(enter == "False"));
    }
}

#[test]
fn sockets_that_are_handed_over_do_not_arrive() {
    let test = "handed";
    let Some((host, tracker)) = Host::new(test) else {
        return;
    };
    if !has(&tracker, "security-hook:file_receive", test) {
        return;
    }
    let receive = "\
        l = socket(AF_UNIX); l.bind('\\0' + NAME); l.listen(); print('up', flush=True)\n\
        c, _ = l.accept(); print(len(recv_fds(c, 9, 9)[1]), flush=True)";
    let hand = "\
        s = socket(AF_UNIX); s.connect('\\0' + NAME)\n\
        a, b = socketpair(); f = open('/dev/null'); kept = KIND\n\
        send_fds(s, [b'x'], [kept.fileno()]); sys.stdin.read()";
    for (kind, inside) in [
        ("socket()", "0"),
        ("socket(AF_INET6, SOCK_DGRAM)", "0"),
        ("a", "0"),
        ("f", "1"),
    ] {
        for (confined, expected) in [(false, "1"), (true, inside)] {
            let name = format!(
                "NAME = 'guard-test-{}-{confined}-{}'\n",
                std::process::id(),
                kind.len()
            );
            let script = format!("{name}{receive}");
            let mut receiver = if confined {
                host.python(&script)
            } else {
                host.outsider(&script)
            };
            assert_eq!(receiver.line(), "up");
            let _sender = host.outsider(&format!("{name}{}", hand.replace("KIND", kind)));
            assert_eq!(receiver.line(), expected, "{kind}, inside: {confined}");
        }
    }
}
