//! The eBPF hooks, on real sockets of real processes. Needs root, cgroup v2 and python3.
//!
//! Each test has a network namespace with only `lo`, a cgroup and a bpffs of its own; the thread of the
//! test is the daemon, a python3 in the cgroup is the confined process.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use guard_daemon::kernel::{
    HookSettings, Hooks, KernelError, Origin, Refusal, mount_private_bpffs, netns_cookie, process,
};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, unshare};
use tokio::runtime::Runtime;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A cgroup and a bpffs, removed in the end whatever happens.
struct Places {
    cgroup: PathBuf,
    bpffs: PathBuf,
}

impl Places {
    fn new(test: &str) -> Self {
        let name = format!("guard-test-{}-{test}", std::process::id());
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let unified = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|fields| fields[2] == "cgroup2")
            .expect("a cgroup v2 mount");
        let places = Self {
            cgroup: Path::new(unified[1]).join(&name),
            bpffs: std::env::temp_dir().join(&name),
        };
        fs::create_dir(&places.cgroup).unwrap();
        mount_private_bpffs(&places.bpffs).unwrap();
        places
    }

    fn pins(&self) -> PathBuf {
        self.bpffs.join("session")
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let _ = Hooks::remove(&self.pins());
        let _ = umount2(&self.bpffs, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.bpffs);
        let _ = fs::write(self.cgroup.join("cgroup.kill"), "1");
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = fs::remove_dir(&self.cgroup) {
            if error.kind() == ErrorKind::NotFound || Instant::now() > deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A session's gateway and resolver, with its hooks attached.
struct Session {
    gateway: TcpListener,
    gateway6: TcpListener,
    resolver: UdpSocket,
    resolver6: UdpSocket,
    settings: HookSettings,
    hooks: Option<Hooks>,
    runtime: Runtime,
    // Last: the rest must be gone before its places are removed.
    places: Places,
}

/// The test's session; `None`, with the reason printed, where it cannot run.
fn session(test: &str) -> Option<Session> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: {test} needs root to load eBPF programs");
        return None;
    }
    let places = Places::new(test);
    // Of this thread only, which is the test's own.
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    assert!(
        Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status()
            .unwrap()
            .success()
    );

    let gateway = TcpListener::bind("127.0.0.1:0").unwrap();
    let resolver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let gateway_port = gateway.local_addr().unwrap().port();
    let resolver_port = resolver.local_addr().unwrap().port();
    let gateway6 = TcpListener::bind(("::1", gateway_port)).unwrap();
    let resolver6 = UdpSocket::bind(("::1", resolver_port)).unwrap();
    for resolver in [&resolver, &resolver6] {
        resolver.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let settings = HookSettings {
        gateway_port,
        resolver_port,
        own_network: true,
        netns_cookie: netns_cookie(gateway.as_fd()).unwrap(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let hooks = {
        let _inside = runtime.enter();
        let cgroup = File::open(&places.cgroup).unwrap();
        Hooks::attach(cgroup.as_fd(), &places.pins(), settings).unwrap_or_else(|e| panic!("{e:#?}"))
    };
    Some(Session {
        gateway,
        gateway6,
        resolver,
        resolver6,
        settings,
        hooks: Some(hooks),
        runtime,
        places,
    })
}

impl Session {
    fn hooks(&self) -> &Hooks {
        self.hooks.as_ref().unwrap()
    }

    /// Starts python3 in the cgroup and in the namespace.
    fn spawn(&self, script: &str) -> Confined {
        let script = format!("from socket import *\nimport errno, os, sys\n{script}");
        let child = Command::new("sh")
            .args([
                "-c",
                "echo $$ > \"$1\" && exec /usr/bin/python3 -c \"$2\"",
                "sh",
            ])
            .arg(self.places.cgroup.join("cgroup.procs"))
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Confined(Some(child))
    }

    /// What a script prints.
    fn run(&self, script: &str) -> String {
        self.spawn(script).output()
    }

    fn accept(&self, listener: &TcpListener) -> (TcpStream, SocketAddr) {
        listener.set_nonblocking(true).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match listener.accept() {
                Ok((stream, client)) => {
                    stream.set_nonblocking(false).unwrap();
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    return (stream, client);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(Instant::now() < deadline, "nothing arrived");
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn refusal(&self) -> Refusal {
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, self.hooks().next_refusal()).await })
            .expect("a refusal")
    }

    fn no_refusal(&self) {
        let wait = Duration::from_millis(50);
        let refusal = self
            .runtime
            .block_on(async { tokio::time::timeout(wait, self.hooks().next_refusal()).await });
        assert!(refusal.is_err(), "{refusal:?}");
    }
}

/// A confined process, killed in the end.
struct Confined(Option<Child>);

impl Confined {
    fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// Lets a script that waits for its standard input go on.
    fn go_on(&mut self) {
        drop(self.0.as_mut().unwrap().stdin.take());
    }

    fn output(mut self) -> String {
        let Output { status, stdout, .. } = self.0.take().unwrap().wait_with_output().unwrap();
        let stdout = String::from_utf8(stdout).unwrap();
        assert!(status.success(), "{status}: {stdout}");
        stdout.trim_end().to_owned()
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

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
        let (mut stream, from) = session.accept(listener);
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
        let (mut stream, from) = session.accept(&session.gateway);
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
    let (_first, first) = session.accept(&session.gateway);
    let (_second, second) = session.accept(&session.gateway);
    assert_eq!(first, second);
    assert_eq!(session.hooks().take_origin(second), None);
    confined.go_on();
    assert_eq!(confined.output(), format!("('127.0.0.1', {port})"));

    // A nested network namespace has ports, and a gateway, of its own.
    let script = format!(
        "import ctypes; assert ctypes.CDLL(None).unshare(0x40000000) == 0\n\
         assert os.system('ip link set lo up') == 0\n\
         l = socket(); l.bind(('127.0.0.1', {})); l.listen(); s = socket()\n\
         s.bind(('127.0.0.1', 12345)); s.connect(('192.0.2.1', 443)); print('connected')\n",
        port - 1
    );
    let output = session.spawn(&format!(
        "try:\n {}\nexcept OSError as e: print(errno.errorcode[e.errno])",
        script.replace('\n', "\n ")
    ));
    assert_eq!(output.output(), "ECONNREFUSED");
    assert_eq!(
        session
            .hooks()
            .take_origin("127.0.0.1:12345".parse().unwrap()),
        None
    );
}

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
    let ip = |arguments: &str| {
        let arguments = arguments.split(' ');
        assert!(
            Command::new("ip")
                .args(arguments)
                .status()
                .unwrap()
                .success()
        );
    };
    ip("link add guard0 type veth peer name guard1");
    ip("link set guard0 up");
    ip("link set guard1 up");
    ip("address add 198.51.100.1/24 dev guard0");
    ip("neighbour add 198.51.100.2 lladdr 02:00:00:00:00:02 dev guard0");
    // A socket bound to the device sends even loopback's addresses out of it.
    let script = "\
        s = socket(AF_INET, SOCK_DGRAM); s.setsockopt(SOL_SOCKET, SO_BINDTODEVICE, b'guard0')\n\
        try: s.sendto(b'x', ('127.0.0.1', 4444)); print('sent')\n\
        except OSError as e: print(errno.errorcode[e.errno])\n";
    assert_eq!(session.run(script), "EPERM");
    let sent = fs::read_to_string("/sys/class/net/guard0/statistics/tx_packets");
    println!("packets sent by guard0: {sent:?}");
}

#[test]
fn hooks_outlive_the_daemon_until_removed() {
    let Some(mut session) = session("pinned") else {
        return;
    };
    let pins = session.places.pins();
    let pinned = fs::read_dir(&pins).unwrap().count();
    assert_eq!(pinned, 15 + 5, "links and maps");
    drop(session.hooks.take());
    let call = "socket(AF_INET, SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 443))";
    let script = format!(
        "try: {call}; print('sent')\nexcept OSError as e: print(errno.errorcode[e.errno])\n"
    );
    assert_eq!(session.run(&script), "EPERM");

    // A second session does not mix its pins with these.
    let cgroup = File::open(&session.places.cgroup).unwrap();
    let again = {
        let _inside = session.runtime.enter();
        Hooks::attach(cgroup.as_fd(), &pins, session.settings)
    };
    assert!(matches!(again, Err(KernelError::Pins { .. })), "{again:?}");
    assert_eq!(fs::read_dir(&pins).unwrap().count(), pinned);

    Hooks::remove(&pins).unwrap();
    assert!(!pins.exists());
    // Nothing is in the way now; the namespace just has no route.
    let deadline = Instant::now() + PATIENCE;
    while session.run(&script) != "ENETUNREACH" {
        assert!(Instant::now() < deadline, "the programs stay attached");
    }
    Hooks::remove(&pins).unwrap();
}

#[test]
fn a_flood_of_refusals_is_counted() {
    const FLOOD: usize = 3000;
    let Some(session) = session("flood") else {
        return;
    };
    session.run(&format!(
        "s = socket(AF_INET, SOCK_DGRAM)\n\
         for _ in range({FLOOD}):\n \
         try: s.sendto(b'x', ('192.0.2.1', 443))\n \
         except PermissionError: pass\n"
    ));
    let mut reported = 0;
    let lost = loop {
        let refusal = session.refusal();
        if refusal.code == "lost-reports" {
            break refusal;
        }
        reported += 1;
    };
    let missing: usize = lost.detail.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(reported + missing, FLOOD);
    assert_eq!(process::of_refusal(&lost).map(|process| process.pid), None);
    session.no_refusal();
}

#[test]
fn what_cannot_confine_is_not_attached() {
    let Some(session) = session("settings") else {
        return;
    };
    let pins = session.places.bpffs.join("other");
    let cgroup = File::open(&session.places.cgroup).unwrap();
    let directory = File::open("/").unwrap();
    let good = session.settings;
    let _inside = session.runtime.enter();
    let attach = |file: &File, pins: &Path, settings| Hooks::attach(file.as_fd(), pins, settings);

    let shared = HookSettings {
        own_network: false,
        ..good
    };
    assert!(matches!(
        attach(&cgroup, &pins, shared),
        Err(KernelError::SharedNetwork)
    ));
    let portless = HookSettings {
        resolver_port: 0,
        ..good
    };
    assert!(matches!(
        attach(&cgroup, &pins, portless),
        Err(KernelError::NoPort)
    ));
    assert!(matches!(
        attach(&directory, &pins, good),
        Err(KernelError::NotCgroup2)
    ));
    let unpinned = std::env::temp_dir().join(format!("guard-test-{}", std::process::id()));
    assert!(matches!(
        attach(&cgroup, &unpinned, good),
        Err(KernelError::Pins { .. })
    ));
    assert!(!pins.exists() && !unpinned.exists());

    // Again on what is a bpffs already; nobody else may enter.
    mount_private_bpffs(&session.places.bpffs).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(&session.places.bpffs).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o700);
    assert!(session.places.pins().exists());
}
