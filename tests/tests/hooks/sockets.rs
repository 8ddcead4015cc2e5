//! Which sockets there may be, and which packets pass.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::session::{Confined, neighbour, session, sh};

#[test]
fn other_sockets_are_refused_and_reported() {
    let Some(session) = session("sockets") else {
        return;
    };
    let cases = [
        ("AF_INET, SOCK_DGRAM, IPPROTO_ICMP", "ICMP"),
        ("AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6", "ICMP"),
        ("AF_INET, SOCK_RAW, IPPROTO_ICMP", "raw ICMP"),
        ("AF_INET, SOCK_RAW, 255", "protocol 255"),
        ("AF_INET6, SOCK_RAW, IPPROTO_UDP", "raw"),
        ("AF_INET, SOCK_STREAM, 262", "MPTCP"),
        ("AF_INET, SOCK_DGRAM, 136", "UDP-Lite"),
    ];
    let open = |arguments: &str| {
        session.run(&format!(
            "try: socket({arguments}); print('made')\n\
             except OSError as e: print(errno.errorcode[e.errno])\n"
        ))
    };
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647").unwrap();
    for (arguments, word) in cases {
        let result = open(arguments);
        if result == "EPROTONOSUPPORT" {
            println!("this kernel has no {word} at all");
            continue;
        }
        assert_eq!(result, "EPERM", "{arguments}");
        let refusal = session.refusal();
        assert_eq!((refusal.code, refusal.destination), ("socket-family", None));
        assert!(
            refusal.detail.contains(word),
            "{arguments}: {}",
            refusal.detail
        );
    }
    for arguments in [
        "AF_INET, SOCK_STREAM",
        "AF_INET6, SOCK_DGRAM, IPPROTO_UDP",
        "AF_UNIX",
    ] {
        assert_eq!(open(arguments), "made", "{arguments}");
    }
    session.no_refusal();
}

#[test]
fn guards_ports_are_not_the_sessions() {
    let Some(session) = session("bind") else {
        return;
    };
    let (gateway, resolver) = (
        session.settings.gateway_port,
        session.settings.resolver_port,
    );
    let cases = [
        ("AF_INET", "127.0.0.2", gateway),
        ("AF_INET6", "::", resolver),
    ];
    for (family, address, port) in cases {
        let script = format!(
            "s = socket({family})\n\
             try: s.bind(('{address}', {port})); print('bound')\n\
             except OSError as e: print(errno.errorcode[e.errno])\n"
        );
        assert_eq!(session.run(&script), "EPERM");
        let refusal = session.refusal();
        assert_eq!(refusal.code, "reserved-port");
        assert!(refusal.detail.contains(&port.to_string()));
    }
}

/// Packets on a device other than `lo` are dropped both ways, whatever their address is.
#[test]
fn packets_pass_on_loopback_only() {
    let Some(session) = session("packets") else {
        return;
    };
    let neighbour = neighbour();

    // A socket bound to the device sends even loopback's addresses out of it.
    let script = "\
        s = socket(AF_INET, SOCK_DGRAM); s.setsockopt(SOL_SOCKET, SO_BINDTODEVICE, b'guard0')\n\
        try: s.sendto(b'x', ('127.0.0.1', 4444)); print('sent')\n\
        except OSError as e: print(errno.errorcode[e.errno])\n";
    assert_eq!(session.run(script), "EPERM");

    // The same receiver twice: outside of the cgroup it gets what the neighbour sends.
    let receive = "\
        from socket import *; import sys\n\
        s = socket(AF_INET, SOCK_DGRAM); s.bind(('198.51.100.1', 4444))\n\
        print('bound', flush=True); s.settimeout(float(sys.stdin.read()))\n\
        try: print(s.recv(9).decode())\n\
        except TimeoutError: print('nothing')\n";
    let send = "nsenter --net --target $1 /usr/bin/python3 -c \
        \"from socket import *; socket(AF_INET, SOCK_DGRAM).sendto(b'here', ('198.51.100.1', 4444))\"";
    for (confined, wait, received) in [(false, "20", "here"), (true, "0.5", "nothing")] {
        let mut receiver = if confined {
            session.spawn(receive)
        } else {
            let mut python = Command::new("/usr/bin/python3");
            let python = python.args(["-c", receive]);
            let python = python.stdin(Stdio::piped()).stdout(Stdio::piped());
            Confined(Some(python.spawn().unwrap()))
        };
        let mut bound = [0; 6];
        let stdout = receiver.0.as_mut().unwrap().stdout.as_mut().unwrap();
        stdout.read_exact(&mut bound).unwrap();
        sh(send, &[&neighbour.pid().to_string()]);
        let stdin = receiver.0.as_mut().unwrap().stdin.as_mut().unwrap();
        stdin.write_all(wait.as_bytes()).unwrap();
        receiver.go_on();
        assert_eq!(receiver.output(), received);
    }
}
