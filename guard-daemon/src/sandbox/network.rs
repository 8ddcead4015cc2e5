//! A session's network namespace: the sockets that guard opens in it, and those that the profile asks for.
//!
//! A socket belongs for its whole life to the namespace of the thread that made it, so a thread that
//! enters the namespace, opens the sockets and ends is all that it takes.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns};
use tokio::net::{TcpSocket, TcpStream};

use crate::intercept::{Published, Sockets, Wires};
use crate::policy::Reach;

/// The gateway's TCP port in the namespace of every session of `guard run`. Outside Linux' default range
/// for client ports (32768–60999), so that no connection of the tree is given it by chance.
pub const GATEWAY_PORT: u16 = 61_080;
/// The resolver's UDP port there.
pub const RESOLVER_PORT: u16 = 61_053;

/// How often two free ports of the same number are looked for, one on 127.0.0.1 and one on ::1.
const ATTEMPTS: usize = 32;

/// Which ports the gateway and the resolver take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ports {
    /// These. Sessions of `guard run` have `Ports::LAUNCHED`; one that is picked up, those it had.
    Fixed {
        /// The gateway's, TCP.
        gateway: u16,
        /// The resolver's, UDP.
        resolver: u16,
    },
    /// Any that are free, as in a namespace that others use too. `Wires` says which.
    Free,
}

impl Ports {
    /// Those of every session of `guard run`.
    pub const LAUNCHED: Self = Self::Fixed {
        gateway: GATEWAY_PORT,
        resolver: RESOLVER_PORT,
    };
}

/// Why the namespace could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The process is gone, or `/proc` is not that of this host.
    #[error("the network namespace of process {pid} cannot be opened: {source}; is /proc mounted?")]
    Open {
        /// The process.
        pid: u32,
        /// What the system said.
        source: io::Error,
    },
    /// The process did not make a namespace of its own.
    #[error(
        "process {pid} is in the daemon's own network namespace, so its traffic would not be confined"
    )]
    Shared {
        /// The process.
        pid: u32,
    },
    /// A step inside the namespace failed.
    #[error("{step} in the session's network namespace: {source}")]
    Inside {
        /// What was tried.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A port that the profile asks for is one that guard needs.
    #[error("[network] {key}: port {port} is guard's own in this session; use another")]
    Reserved {
        /// The profile's key.
        key: &'static str,
        /// The port.
        port: u16,
    },
    /// A port cannot lead out and in at the same time.
    #[error(
        "[network] publish: port {port} of the session is the host's own by allow_loopback; publish another"
    )]
    Circle {
        /// The port.
        port: u16,
    },
    /// A port that leads to the host's loopback cannot be opened.
    #[error(
        "[network] allow_loopback: port {port} cannot be opened on the session's loopback: {source}; \
         something in the session has it, or take it off the list"
    )]
    Loopback {
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// A published port cannot be opened on the host.
    #[error(
        "[network] publish: {host} cannot be opened on the host: {source}; end what has it, or choose \
         another host port"
    )]
    Publish {
        /// The address on the host.
        host: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A session's network namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    file: Arc<File>,
    identity: Identity,
    kind: Kind,
}

/// Whose a namespace is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Made for the session, with a loopback device that is down.
    Launched,
    /// A container's or another that was there before.
    Other,
    /// This process's own.
    Own,
}

/// What tells one namespace from another while either exists: device and inode of its file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Identity(u64, u64);

impl Identity {
    /// Device and inode.
    pub(crate) fn key(self) -> (u64, u64) {
        (self.0, self.1)
    }

    /// That of a process's network namespace.
    pub fn of_process(pid: u32) -> io::Result<Self> {
        std::fs::metadata(format!("/proc/{pid}/ns/net")).map(|file| Self(file.dev(), file.ino()))
    }
}

impl Namespace {
    /// Opens the namespace that was made for a session; the daemon's own is refused.
    pub fn of_process(pid: u32) -> Result<Self, NetworkError> {
        let namespace = Self::of_attached(pid)?;
        if namespace.kind == Kind::Own {
            return Err(NetworkError::Shared { pid });
        }
        Ok(Self {
            kind: Kind::Launched,
            ..namespace
        })
    }

    /// Opens the namespace of a process that runs already, which may be the daemon's own. Such a
    /// namespace is left as it is, but for guard's sockets.
    pub fn of_attached(pid: u32) -> Result<Self, NetworkError> {
        let open = |source| NetworkError::Open { pid, source };
        let file = File::open(format!("/proc/{pid}/ns/net")).map_err(open)?;
        let metadata = file.metadata().map_err(open)?;
        let identity = Identity(metadata.dev(), metadata.ino());
        let own = identity == Identity::of_process(std::process::id()).map_err(open)?;
        Ok(Self {
            file: Arc::new(file),
            identity,
            kind: if own { Kind::Own } else { Kind::Other },
        })
    }

    /// What tells it from others.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether it is this process's own: the session shares the host's loopback, and nothing is to be
    /// opened in between.
    pub fn is_own(&self) -> bool {
        self.kind == Kind::Own
    }

    /// Whether it was made for the session, which has its loopback to itself.
    pub fn is_launched(&self) -> bool {
        self.kind == Kind::Launched
    }

    /// Opens the session's sockets, non-blocking, and those that the profile's `reach` asks for; brings
    /// loopback up where the namespace was made for the session. Blocks for a thread's life.
    pub fn open_wires(&self, ports: Ports, reach: &Reach) -> Result<Wires, NetworkError> {
        let opened = if self.is_own() {
            &Reach::default()
        } else {
            reach
        };
        check_reach(opened)?;
        if let Ports::Fixed { gateway, resolver } = ports {
            check_reserved(opened, gateway, resolver)?;
        }
        let mut wires = self.inside(|| {
            if self.kind == Kind::Launched {
                raise_loopback().map_err(inside("bringing loopback up"))?;
            }
            // First, so that no free port that guard is given is one of them.
            let loopback = open_loopback(opened)?;
            let mut wires = open_sockets(ports).map_err(inside("opening the gateway's sockets"))?;
            wires.loopback = loopback;
            Ok(wires)
        })?;
        check_reserved(opened, wires.gateway_port(), wires.resolver_port())?;
        wires.published = self.publish(opened)?;
        Ok(wires)
    }

    /// Connects to a port of the namespace's loopback: on 127.0.0.1, else on ::1.
    pub async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let first = self.connect_to((Ipv4Addr::LOCALHOST, port).into()).await;
        match first {
            Ok(stream) => Ok(stream),
            Err(error) => self
                .connect_to((Ipv6Addr::LOCALHOST, port).into())
                .await
                // A host without IPv6 has nothing better to say.
                .map_err(|_second| error),
        }
    }

    async fn connect_to(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let namespace = self.clone();
        let socket = tokio::task::spawn_blocking(move || {
            namespace.inside(|| {
                let socket = if address.is_ipv4() {
                    TcpSocket::new_v4()
                } else {
                    TcpSocket::new_v6()
                };
                socket.map_err(inside("making a socket"))
            })
        })
        .await?
        .map_err(io::Error::other)?;
        socket.connect(address).await
    }

    /// Runs `work` on a thread in the namespace.
    fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, NetworkError> + Send,
    ) -> Result<T, NetworkError> {
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name("session-sockets".to_owned())
                .spawn_scoped(scope, || {
                    if !self.is_own() {
                        setns(&*self.file, CloneFlags::CLONE_NEWNET).map_err(inside("entering"))?;
                    }
                    work()
                })
                .map_err(inside("starting a thread"))?;
            thread.join().unwrap_or_else(|_| {
                Err(inside("opening sockets")(io::Error::other(
                    "the thread panicked",
                )))
            })
        })
    }

    /// Opens the ports of the host that lead into the namespace.
    fn publish(&self, reach: &Reach) -> Result<Vec<Published>, NetworkError> {
        let open = |publish: &crate::policy::Publish| {
            let host = publish.host;
            let failed = |source| NetworkError::Publish { host, source };
            let listener = TcpListener::bind(host).map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            Ok(Published {
                listener,
                host,
                port: publish.port,
                namespace: self.clone(),
            })
        };
        reach.publish.iter().map(open).collect()
    }
}

/// A published port that is the host's own by `allow_loopback` would lead from the host to itself.
fn check_reach(reach: &Reach) -> Result<(), NetworkError> {
    let circle = |publish: &&crate::policy::Publish| reach.loopback.contains(&publish.port);
    match reach.publish.iter().find(circle) {
        Some(publish) => Err(NetworkError::Circle { port: publish.port }),
        None => Ok(()),
    }
}

fn check_reserved(reach: &Reach, gateway: u16, resolver: u16) -> Result<(), NetworkError> {
    let loopback = reach.loopback.iter().map(|port| ("allow_loopback", *port));
    let publish = reach
        .publish
        .iter()
        .map(|publish| ("publish", publish.port));
    match loopback
        .chain(publish)
        .find(|(_, port)| [gateway, resolver].contains(port))
    {
        Some((key, port)) => Err(NetworkError::Reserved { key, port }),
        None => Ok(()),
    }
}

fn inside<E: Into<io::Error>>(step: &'static str) -> impl Fn(E) -> NetworkError {
    move |source| NetworkError::Inside {
        step,
        source: source.into(),
    }
}

/// Sets the flag IFF_UP on `lo` of the calling thread's namespace.
fn raise_loopback() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: ifreq is plain data for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *to = from.cast_signed();
    }
    // SAFETY: the ioctl reads the name and writes the flags of an ifreq that outlives the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above filled the union's `ifru_flags`; this one reads name and flags.
    let result = unsafe {
        #[expect(clippy::cast_possible_truncation, reason = "IFF_UP is 1")]
        let up = libc::IFF_UP as libc::c_short;
        request.ifr_ifru.ifru_flags |= up;
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request)
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Opens the listeners that lead to the host's loopback, each port once.
fn open_loopback(reach: &Reach) -> Result<Vec<TcpListener>, NetworkError> {
    let mut ports = reach.loopback.clone();
    ports.sort_unstable();
    ports.dedup();
    let mut listeners = Vec::with_capacity(2 * ports.len());
    for port in ports {
        let opened =
            open_both(port, listener).map_err(|source| NetworkError::Loopback { port, source })?;
        listeners.extend(opened);
    }
    Ok(listeners)
}

fn open_sockets(ports: Ports) -> io::Result<Wires> {
    let (tcp, udp) = match ports {
        Ports::Fixed { gateway, resolver } => (
            open_both(gateway, listener)?,
            open_both(resolver, datagrams)?,
        ),
        Ports::Free => (
            open_free(listener, TcpListener::local_addr)?,
            open_free(datagrams, UdpSocket::local_addr)?,
        ),
    };
    Ok(Wires {
        tcp,
        udp,
        loopback: Vec::new(),
        published: Vec::new(),
        sockets: Sockets::of_this_thread()?,
    })
}

/// A socket each on 127.0.0.1 and ::1, on the same port.
fn open_both<S>(port: u16, open: impl Fn(SocketAddr) -> io::Result<S>) -> io::Result<Vec<S>> {
    let first = open((Ipv4Addr::LOCALHOST, port).into())?;
    match open((Ipv6Addr::LOCALHOST, port).into()) {
        // A host without IPv6: redirected IPv6 connections find nobody, which is closed.
        Err(error) if lacks_ipv6(&error) => Ok(vec![first]),
        second => Ok(vec![first, second?]),
    }
}

/// The same on a port that is free on both.
fn open_free<S>(
    open: impl Fn(SocketAddr) -> io::Result<S>,
    address: impl Fn(&S) -> io::Result<SocketAddr>,
) -> io::Result<Vec<S>> {
    let mut tried = Vec::new();
    loop {
        let first = open((Ipv4Addr::LOCALHOST, 0).into())?;
        let port = address(&first)?.port();
        match open((Ipv6Addr::LOCALHOST, port).into()) {
            // Kept meanwhile, so that the next one is another.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tried.len() < ATTEMPTS => {
                tried.push(first);
            }
            Err(error) if lacks_ipv6(&error) => return Ok(vec![first]),
            second => return Ok(vec![first, second?]),
        }
    }
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn datagrams(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use super::*;
    use crate::sandbox::cgroup::{self, Hierarchy};
    use crate::session::SessionId;

    /// A sleeping process in a network namespace of its own, killed at the end.
    struct Sleeper(Child);

    impl Sleeper {
        fn start() -> Self {
            let mut child = Command::new("unshare")
                .args(["--net", "sh", "-c", "echo; exec sleep 60"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = [0];
            child.stdout.take().unwrap().read_exact(&mut line).unwrap();
            Self(child)
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn privileged() -> bool {
        let root = nix::unistd::geteuid().is_root();
        if !root {
            crate::skip::skip(module_path!(), "needs root for namespaces and cgroups");
        }
        root
    }

    #[test]
    fn opens_the_sockets_inside_the_namespace_only() {
        if !privileged() {
            return;
        }
        let sleeper = Sleeper::start();
        let namespace = Namespace::of_process(sleeper.0.id()).unwrap();
        let wires = namespace
            .open_wires(Ports::LAUNCHED, &Reach::default())
            .unwrap();
        assert_eq!((wires.tcp.len(), wires.udp.len()), (2, 2));
        for tcp in &wires.tcp {
            assert_eq!(tcp.local_addr().unwrap().port(), GATEWAY_PORT);
        }
        // Not reachable from here, reachable from within.
        let address = (Ipv4Addr::LOCALHOST, GATEWAY_PORT);
        assert!(TcpStream::connect(address).is_err());
        thread::scope(|scope| {
            scope.spawn(|| {
                setns(&*namespace.file, CloneFlags::CLONE_NEWNET).unwrap();
                for host in ["127.0.0.1", "::1"] {
                    let mut stream = TcpStream::connect((host, GATEWAY_PORT)).unwrap();
                    stream
                        .set_write_timeout(Some(Duration::from_secs(1)))
                        .unwrap();
                    stream.write_all(b"x").unwrap();
                }
            });
        });
        assert!(wires.tcp.iter().all(|tcp| tcp.accept().is_ok()));
    }

    #[test]
    fn refuses_the_namespace_it_runs_in() {
        let error = Namespace::of_process(std::process::id()).unwrap_err();
        assert!(matches!(error, NetworkError::Shared { .. }), "{error}");
    }

    fn reach(loopback: &[u16], publish: &[&str]) -> Reach {
        let parse = |text: &&str| crate::policy::Publish::parse(text).unwrap();
        Reach {
            loopback: loopback.to_vec(),
            publish: publish.iter().map(parse).collect(),
            ..Reach::default()
        }
    }

    #[test]
    fn what_the_profile_opens_is_opened_on_the_right_side() {
        if !privileged() {
            return;
        }
        let sleeper = Sleeper::start();
        let namespace = Namespace::of_process(sleeper.0.id()).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = free.local_addr().unwrap();
        drop(free);
        let wanted = reach(&[5432, 6379, 5432], &[&format!("{}:3000", host.port())]);
        let wires = namespace.open_wires(Ports::LAUNCHED, &wanted).unwrap();
        let ports: Vec<_> = wires
            .loopback
            .iter()
            .map(|listener| listener.local_addr().unwrap().to_string())
            .collect();
        assert_eq!(
            ports,
            [
                "127.0.0.1:5432",
                "[::1]:5432",
                "127.0.0.1:6379",
                "[::1]:6379"
            ]
        );
        assert_eq!(
            (wires.published[0].host, wires.published[0].port),
            (host, 3000)
        );
        assert!(TcpStream::connect(host).is_ok(), "published on the host");

        // The way back in ends at a listener of the namespace.
        let inside =
            namespace.inside(|| listener((Ipv6Addr::LOCALHOST, 3000).into()).map_err(inside("")));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime
            .block_on(wires.published[0].namespace.connect(3000))
            .unwrap();
        assert!(inside.unwrap().accept().is_ok());
        assert!(runtime.block_on(namespace.connect(3001)).is_err());
    }

    #[test]
    fn ports_that_cannot_be_had_are_named() {
        if !privileged() {
            return;
        }
        let sleeper = Sleeper::start();
        let namespace = Namespace::of_process(sleeper.0.id()).unwrap();
        let refused = |wanted| {
            let refused = namespace.open_wires(Ports::LAUNCHED, &wanted);
            refused.err().expect("refused")
        };
        for (wanted, key) in [
            (reach(&[GATEWAY_PORT], &[]), "allow_loopback"),
            (reach(&[], &["8080:61053"]), "publish"),
        ] {
            let error = refused(wanted);
            assert!(
                matches!(error, NetworkError::Reserved { key: k, .. } if k == key),
                "{error}"
            );
        }
        let error = refused(reach(&[3000], &["8080:3000"]));
        assert!(
            matches!(error, NetworkError::Circle { port: 3000 }),
            "{error}"
        );

        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = taken.local_addr().unwrap();
        let error = refused(reach(&[], &[&format!("{}:3000", host.port())]));
        assert!(error.to_string().contains(&host.to_string()), "{error}");

        let taken = namespace
            .inside(|| listener((Ipv6Addr::LOCALHOST, 5432).into()).map_err(inside("")))
            .unwrap();
        let error = refused(reach(&[5432], &[]));
        assert!(
            matches!(error, NetworkError::Loopback { port: 5432, .. }),
            "{error}"
        );
        drop(taken);
        assert!(
            namespace
                .open_wires(Ports::LAUNCHED, &reach(&[5432], &[]))
                .is_ok()
        );
    }

    #[test]
    fn a_shared_namespace_gets_free_ports_and_nothing_in_between() {
        let own = Namespace::of_attached(std::process::id()).unwrap();
        assert!(own.is_own());
        let wanted = reach(&[5432], &["3000"]);
        let first = own.open_wires(Ports::Free, &wanted).unwrap();
        let second = own.open_wires(Ports::Free, &wanted).unwrap();
        for wires in [&first, &second] {
            assert!(wires.loopback.is_empty() && wires.published.is_empty());
            let ports: Vec<_> = wires
                .tcp
                .iter()
                .map(|tcp| tcp.local_addr().unwrap().port())
                .collect();
            assert!(
                ports
                    .iter()
                    .all(|port| *port == wires.gateway_port() && *port != 0)
            );
            assert_ne!(wires.resolver_port(), 0);
        }
        assert_ne!(first.gateway_port(), second.gateway_port());
        // One that is picked up again has the ports that it had.
        let ports = Ports::Fixed {
            gateway: first.gateway_port(),
            resolver: first.resolver_port(),
        };
        assert!(own.open_wires(ports, &wanted).is_err());
        drop(first);
        assert!(own.open_wires(ports, &wanted).is_ok());
    }

    #[test]
    fn a_cgroup_is_made_filled_and_destroyed_with_all_below_it() {
        if !privileged() {
            return;
        }
        let runtime = tempfile::tempdir().unwrap();
        let hierarchy = Hierarchy::find(runtime.path()).unwrap();
        let id = SessionId::random();
        let group = hierarchy.create(&id).unwrap();
        assert!(
            hierarchy.create(&id).is_err(),
            "a collision must not be joined"
        );
        let mut sleeper = Sleeper::start();
        group.admit(sleeper.0.id()).unwrap();
        std::fs::create_dir(group.path().join("below")).unwrap();
        let inside = cgroup::of_process(sleeper.0.id()).unwrap();
        assert_eq!(cgroup::session_of(&inside).as_ref(), Some(&id));
        assert_eq!(hierarchy.sessions().unwrap(), [id]);
        group.destroy().unwrap();
        assert!(
            sleeper.0.wait().unwrap().code().is_none(),
            "killed, not exited"
        );
        assert!(hierarchy.sessions().unwrap().is_empty());
        group.destroy().unwrap();
        hierarchy.remove_if_empty();
    }
}
