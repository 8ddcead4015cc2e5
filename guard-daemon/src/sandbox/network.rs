//! A session's network namespace: loopback up, the gateway's and the resolver's sockets in it.
//!
//! A socket belongs for its whole life to the namespace of the thread that made it, so a thread that
//! enters the namespace, opens the sockets and ends is all that it takes.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::intercept::Wires;

/// The gateway's TCP port in every session's namespace. Outside Linux' default range for client
/// ports (32768–60999), so that no connection of the tree is given it by chance.
pub const GATEWAY_PORT: u16 = 61_080;
/// The resolver's UDP port there.
pub const RESOLVER_PORT: u16 = 61_053;

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
}

/// A network namespace that is not this process's own.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    identity: Identity,
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
    /// Opens the namespace of a process; the daemon's own is refused.
    pub fn of_process(pid: u32) -> Result<Self, NetworkError> {
        let open = |source| NetworkError::Open { pid, source };
        let file = File::open(format!("/proc/{pid}/ns/net")).map_err(open)?;
        let metadata = file.metadata().map_err(open)?;
        let identity = Identity(metadata.dev(), metadata.ino());
        if identity == Identity::of_process(std::process::id()).map_err(open)? {
            return Err(NetworkError::Shared { pid });
        }
        Ok(Self { file, identity })
    }

    /// What tells it from others.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Brings loopback up and opens the session's sockets, non-blocking. Blocks for a thread's life.
    pub fn open_wires(&self) -> Result<Wires, NetworkError> {
        thread::scope(|scope| {
            let work = thread::Builder::new()
                .name("session-sockets".to_owned())
                .spawn_scoped(scope, || {
                    setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(inside("entering"))?;
                    raise_loopback().map_err(inside("bringing loopback up"))?;
                    open_sockets().map_err(inside("opening the gateway's sockets"))
                })
                .map_err(inside("starting a thread"))?;
            work.join().unwrap_or_else(|_| {
                Err(inside("opening sockets")(io::Error::other(
                    "the thread panicked",
                )))
            })
        })
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

fn open_sockets() -> io::Result<Wires> {
    let mut wires = Wires {
        tcp: Vec::with_capacity(2),
        udp: Vec::with_capacity(2),
    };
    for address in [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ] {
        let tcp = match TcpListener::bind((address, GATEWAY_PORT)) {
            // A host without IPv6: redirected IPv6 connections find nobody, which is closed.
            Err(error) if address.is_ipv6() && lacks_ipv6(&error) => break,
            other => other?,
        };
        let udp = UdpSocket::bind((address, RESOLVER_PORT))?;
        tcp.set_nonblocking(true)?;
        udp.set_nonblocking(true)?;
        wires.tcp.push(tcp);
        wires.udp.push(udp);
    }
    Ok(wires)
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
        let wires = namespace.open_wires().unwrap();
        assert_eq!((wires.tcp.len(), wires.udp.len()), (2, 2));
        for tcp in &wires.tcp {
            assert_eq!(tcp.local_addr().unwrap().port(), GATEWAY_PORT);
        }
        // Not reachable from here, reachable from within.
        let address = (Ipv4Addr::LOCALHOST, GATEWAY_PORT);
        assert!(TcpStream::connect(address).is_err());
        thread::scope(|scope| {
            scope.spawn(|| {
                setns(&namespace.file, CloneFlags::CLONE_NEWNET).unwrap();
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
