//! Which unix sockets a session reaches that has the host's files.

use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener};

use guard_daemon::kernel::Network;

use crate::session::host;

#[test]
fn only_allowed_unix_sockets_are_reached() {
    let Some(places) = host("unix") else {
        return;
    };
    let directory = tempfile::tempdir_in("/var/lib").unwrap();
    let at = |name: &str| directory.path().join(name);
    let allowed = vec![at("allowed"), at("allowed-datagram"), at("link")];
    let _allowed = UnixListener::bind(at("allowed")).unwrap();
    let received = UnixDatagram::bind(at("allowed-datagram")).unwrap();
    let _other = UnixListener::bind(at("other")).unwrap();
    let _longer = UnixListener::bind(at("allowed2")).unwrap();
    let datagram = UnixDatagram::bind(at("datagram")).unwrap();
    for socket in [&received, &datagram] {
        socket.set_nonblocking(true).unwrap();
    }
    symlink("other", at("link")).unwrap();
    let session = places.session_with_unix(Network::Own, Some(allowed));
    if !session.hooks().enforced().contains(&"connect_unix") {
        let limits = session.hooks().limits();
        assert_eq!(limits[0].code, "unix-sockets", "{limits:?}");
        guard_tests::skip("unix", "this kernel has no hooks on unix sockets");
        return;
    }
    let limits = session.hooks().limits();
    assert_eq!(limits.len(), 1, "{limits:?}");
    assert!(limits[0].detail.contains("symbolic link"), "{limits:?}");

    let run = |call: &str| {
        session.run(&format!(
            "os.chdir('{}')\n\
             s = socket(AF_UNIX); d = socket(AF_UNIX, SOCK_DGRAM); q = socket(AF_UNIX, SOCK_SEQPACKET)\n\
             try: {call}; print('done')\n\
             except OSError as e: print(errno.errorcode[e.errno])\n",
            directory.path().display()
        ))
    };
    let path = |name: &str| format!("'{}'", at(name).display());
    for call in [
        format!("s.connect({})", path("allowed")),
        format!("s.connect({} + '\\0rest')", path("allowed")),
        format!("d.sendto(b'x', {})", path("allowed-datagram")),
        format!("d.connect({}); d.send(b'x')", path("allowed-datagram")),
        "a, b = socketpair(); a.send(b'x'); b.recv(1)".to_owned(),
        "a, b = socketpair(AF_UNIX, SOCK_DGRAM); a.send(b'x'); b.recv(1)".to_owned(),
    ] {
        assert_eq!(run(&call), "done", "{call}");
    }
    session.no_refusal();
    for (call, word) in [
        (format!("s.connect({})", path("other")), "/other:"),
        (format!("s.connect({})", path("link")), "/link:"),
        (format!("s.connect({})", path("allowed2")), "/allowed2:"),
        (format!("q.connect({})", path("allowe")), "/allowe:"),
        ("s.connect('allowed')".to_owned(), "socket allowed:"),
        (
            format!("s.connect('//' + {}[1:])", path("allowed")),
            "//var",
        ),
        (
            format!("s.connect('\\0' + {}[1:])", path("allowed")),
            "@var",
        ),
        (format!("d.connect({})", path("datagram")), "/datagram:"),
        (
            format!("d.sendto(b'x', {})", path("datagram")),
            "/datagram:",
        ),
        ("s.connect('/' + 'x' * 106)".to_owned(), "xxx"),
        ("s.connect('\\0abstract')".to_owned(), "@abstract:"),
    ] {
        assert_eq!(run(&call), "EPERM", "{call}");
        let refusal = session.refusal();
        assert_eq!(refusal.code, "unix", "{refusal:?}");
        assert!(refusal.detail.contains(word), "{call}: {refusal:?}");
        assert!(refusal.comm.starts_with("python3") && refusal.pid != 0 && refusal.at != 0);
    }
    // The same path where it may be another file.
    let changes = [
        "import ctypes; c = ctypes.CDLL(None); assert c.unshare(0x20000) == 0",
        "import ctypes; c = ctypes.CDLL(None); assert c.unshare(0x10000000 | 0x20000) == 0",
        "os.makedirs('root'); os.chroot('.'); os.symlink('/other', 'allowed3')",
    ];
    for change in changes {
        let call = format!("s.connect({})", path("allowed"));
        let said = session.run(&format!(
            "os.chdir('{}')\ns = socket(AF_UNIX); {change}\n\
             try: {call}; print('done')\n\
             except OSError as e: print(errno.errorcode[e.errno])\n",
            directory.path().display()
        ));
        assert_eq!(said, "EPERM", "{change}");
        assert_eq!(session.refusal().code, "unix");
    }
    let mut byte = [0];
    assert!(datagram.recv(&mut byte).is_err());
    received.recv(&mut byte).unwrap();
    session.hooks().check().unwrap();
}

#[test]
fn unix_sockets_are_free_where_files_are_hidden() {
    let Some(places) = host("unix-free") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    let session = places.session(Network::Own);
    assert!(!session.hooks().enforced().contains(&"connect_unix"));
    let script = format!(
        "s = socket(AF_UNIX); s.connect('{}'); print('done')\n",
        path.display()
    );
    assert_eq!(session.run(&script), "done");
}
