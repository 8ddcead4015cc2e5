//! The next daemon's hooks on a cgroup that has the last one's.

use std::io::{Read, Write};
use std::net::SocketAddr;

use guard_daemon::kernel::{Hooks, Network};

use crate::session::{Gate, Session, host};

const CONNECT: &str = "s = socket(); s.settimeout(20)\n\
    try: s.connect(('192.0.2.1', 443)); p = s.getpeername(); s.sendall(b'x'); print(s.recv(9), p)\n\
    except OSError as e: print(type(e).__name__, e)\n";

#[test]
fn fresh_hooks_replace_old_ones() {
    for (test, network) in [
        ("replaced-own", Network::Own),
        (
            "replaced-shared",
            Network::Shared {
                loopback_ports: vec![],
            },
        ),
    ] {
        let Some(places) = host(test) else {
            return;
        };
        replace(places.session(network));
    }
}

fn replace(mut session: Session) {
    let network = session.settings.network.clone();
    // A server of the session from before, whose clients come later.
    let mut server = session.spawn(
        "l = socket(); l.bind(('127.0.0.1', 0)); l.listen(); print(l.getsockname()[1], flush=True)\n\
         while True: a, _ = l.accept(); a.sendall(b'hello'); a.close()\n",
    );
    let port: u16 = server.line().parse().unwrap();
    let own = format!("s = socket(); s.connect(('127.0.0.1', {port})); print(s.recv(9))\n");
    assert_eq!(session.run(&own), "b'hello'");

    // The daemon is gone, its gateway with it; the hooks stay.
    drop(session.hooks.take());
    session.gateway = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(session.run(CONNECT).contains("refused"));

    let old = session.places.pins();
    let pins = session.places.bpffs.join("session-2");
    let gate = session
        .places
        .attach(&session.runtime, &pins, network, None, Some(old.clone()));
    gate.hooks.check().unwrap();
    // Both sets: nothing gets out, and the new gateway does not take what the old hooks turned.
    let confined = session.spawn(CONNECT);
    let said = confined.output_with(|| take(&gate));
    assert!(!said.contains("b'y'"), "{said}");

    Hooks::remove(&old).unwrap();
    gate.hooks.check().unwrap();
    let confined = session.spawn(CONNECT);
    let said = confined.output_with(|| take(&gate));
    assert_eq!(said, "b'y' ('192.0.2.1', 443)");
    assert_eq!(session.run(&own), "b'hello'");
    Hooks::remove(&pins).unwrap();
}

/// What the gateway does: answers a connection to 192.0.2.1, and resets any other.
fn take(gate: &Gate) {
    gate.gateway.set_nonblocking(true).unwrap();
    let Ok((mut stream, from)) = gate.gateway.accept() else {
        return;
    };
    let origin = gate.hooks.take_origin(from);
    if origin.map(|origin| origin.destination) == Some(SocketAddr::from(([192, 0, 2, 1], 443))) {
        stream.set_nonblocking(false).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(b"y").unwrap();
    }
}
