//! Sockets that a process had open before it was confined.

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use guard_daemon::kernel::sockets;

use crate::session::{Session, host};

/// Tries everything again with the sockets it had, and says which bytes it thinks it sent.
const OLD: &str = "
import ctypes
c = ctypes.CDLL(None)
def at(port): return ('127.0.0.1', port)
tcp = socket(); tcp.connect(at(TCP)); tcp6 = socket(AF_INET6); tcp6.connect(('::ffff:127.0.0.1', TCP))
l = socket(); l.bind(at(0)); l.listen(); udp = socket(AF_INET, SOCK_DGRAM); udp.connect(at(UDP))
free = socket(); any = socket(AF_INET, SOCK_DGRAM); raw = socket(AF_INET, SOCK_RAW, 253)
packet = socket(AF_PACKET, SOCK_RAW, 0); route = socket(AF_NETLINK, SOCK_RAW, 0)
u = socket(AF_UNIX); u.connect(UNIX); pair = socketpair()
if not ROOT: os.setgid(65534); os.setuid(65534)
print(l.getsockname()[1], flush=True); sys.stdin.readline()
def tell(name, call, *arguments):
    try: call(*arguments); print(name, 'done')
    except OSError as e: print(name, errno.errorcode.get(e.errno, e))
def again(s, port):
    c.connect(s.fileno(), b'\\0' * 16, 16); s.settimeout(0.5)
    if ROOT: s.setsockopt(SOL_SOCKET, SO_BINDTODEVICE, b'')
    s.connect(at(port)); s.sendall(b'again')
def send(s):
    c.connect(s.fileno(), b'\\0' * 16, 16); s.setsockopt(SOL_SOCKET, SO_BINDTODEVICE, b'')
    s.sendto(b'x', at(UDP))
tell('tcp', tcp.sendall, b'x'); tell('tcp6', tcp6.sendall, b'x'); tell('accept', l.accept)
tell('tcp again', again, tcp, TCP); tell('listener again', again, l, TCP); tell('free', again, free, TCP)
tell('udp', udp.send, b'x'); tell('any', any.sendto, b'x', at(UDP)); tell('raw', raw.sendto, b'x', at(0))
tell('udp again', again, udp, UDP); tell('udp to', send, udp); tell('any to', send, any)
tell('unfilter', udp.setsockopt, SOL_SOCKET, 27, 0); tell('unlock', udp.setsockopt, SOL_SOCKET, 44, 0)
if not ROOT: tell('unbind', tcp.setsockopt, SOL_SOCKET, SO_BINDTODEVICE, b'')
tell('pair', pair[0].send, b'x')
";

#[test]
fn sockets_from_before_are_of_no_use() {
    for root in [false, true] {
        let Some(places) = host(if root { "open-root" } else { "open" }) else {
            return;
        };
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let _unix = UnixListener::bind(&path).unwrap();
        let constants = format!(
            "TCP = {}; UDP = {}; UNIX = '{}'; ROOT = {}\n",
            tcp.local_addr().unwrap().port(),
            udp.local_addr().unwrap().port(),
            path.display(),
            if root { "True" } else { "False" },
        );
        let mut process = places.spawn(&(constants + OLD));
        process.line();
        let (mut one, _) = Session::accept(&tcp);
        let (mut two, _) = Session::accept(&tcp);

        let destroyed = sockets::destroy(&[process.pid()]);
        assert_eq!(destroyed.count(), 7, "{destroyed:?}");
        let findings = destroyed.findings();
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert!(findings[0].contains("AF_PACKET"), "{findings:?}");
        assert!(findings[1].contains("neither TCP nor UDP"), "{findings:?}");
        let me = format!("unix connection to process {}", std::process::id());
        assert!(findings[2].contains(&me), "{findings:?}");
        // The peers see it at once.
        for stream in [&mut one, &mut two] {
            let error = stream.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }

        process.go_on();
        let said = process.output();
        let mut lines = said.lines();
        assert_eq!(lines.next_back(), Some("pair done"), "{said}");
        assert!(lines.clone().count() >= 14, "{said}");
        for line in lines {
            assert!(!line.ends_with("done"), "{said}");
        }
        udp.set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let mut received = [0; 9];
        assert!(udp.recv_from(&mut received).is_err(), "{received:?}");
        tcp.set_nonblocking(true).unwrap();
        while let Ok((mut stream, _)) = tcp.accept() {
            stream.set_nonblocking(true).unwrap();
            let read = stream.read(&mut received);
            assert!(!matches!(read, Ok(1..)), "{received:?}");
        }
    }
}
