//! Finds the process that holds a TCP socket of a session's network namespace.
//!
//! The hooks leave loopback alone, so they tell nothing of its connections. The kernel's table of the
//! namespace's sockets has each one's inode, and `/proc` has who holds it open. A process that has
//! ended, or has moved to another namespace, is not found.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::kernel::process;
use crate::record::entry::Process;

/// The tables of a network namespace's TCP sockets.
#[derive(Clone, Debug)]
pub struct Sockets(Arc<Tables>);

#[derive(Debug)]
struct Tables {
    /// `/proc/net/tcp` and `/proc/net/tcp6`, as seen in the namespace. One reader at a time: the kernel
    /// starts over for a reader that is not where the last one stopped.
    files: Mutex<Vec<File>>,
    /// `net:[INODE]`, what the links to the namespace say.
    namespace: String,
}

/// A socket as its table shows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Entry {
    uid: u32,
    inode: u64,
}

impl Sockets {
    /// Those of the calling thread's namespace.
    pub fn of_this_thread() -> io::Result<Self> {
        let inode = fs::metadata("/proc/thread-self/ns/net")?.ino();
        let mut files = vec![File::open("/proc/thread-self/net/tcp")?];
        match File::open("/proc/thread-self/net/tcp6") {
            // A host without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            file => files.push(file?),
        }
        Ok(Self(Arc::new(Tables {
            files: Mutex::new(files),
            namespace: format!("net:[{inode}]"),
        })))
    }

    /// The process whose socket is at `local` and connected to `remote`, as far as it is found; where it
    /// is not, its id is 0. Reads `/proc` and so may block.
    pub fn owner(&self, local: SocketAddr, remote: SocketAddr) -> Process {
        let Ok(Some(entry)) = self.entry(local, remote) else {
            return Process::default();
        };
        let unknown = Process {
            uid: entry.uid,
            ..Process::default()
        };
        // Before the search: a process that has started since is not the one that was found.
        let Some(now) = uptime() else { return unknown };
        let Some(pid) = self.holder(entry.inode) else {
            return unknown;
        };
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        process::describe(pid, entry.uid, comm.trim_end(), now)
    }

    fn entry(&self, local: SocketAddr, remote: SocketAddr) -> io::Result<Option<Entry>> {
        let wanted = (canonical(local), canonical(remote));
        let files = self.0.files.lock().unwrap_or_else(PoisonError::into_inner);
        for file in &*files {
            let table = whole(file)?;
            let found = table
                .lines()
                .filter_map(parse)
                .find(|(local, remote, _)| (canonical(*local), canonical(*remote)) == wanted);
            if let Some((_, _, entry)) = found {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// A process of the namespace that holds the socket open.
    fn holder(&self, inode: u64) -> Option<u32> {
        let wanted = format!("socket:[{inode}]");
        let says =
            |link: &Path, text: &str| fs::read_link(link).is_ok_and(|to| to == Path::new(text));
        let holds = |directory: &Path| {
            says(&directory.join("ns/net"), &self.0.namespace)
                && entries(&directory.join("fd")).any(|link| says(&link, &wanted))
        };
        let mut numbered = entries(Path::new("/proc")).filter_map(|path| {
            let pid = path.file_name()?.to_str()?.parse::<u32>().ok()?;
            Some((pid, path))
        });
        numbered.find_map(|(pid, path)| holds(&path).then_some(pid))
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// Nanoseconds of `CLOCK_BOOTTIME`, to a hundredth of a second, rounded down as process' starts are.
fn uptime() -> Option<u64> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    let (seconds, hundredths) = text.split(' ').next()?.split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    let hundredths: u64 = hundredths.parse().ok()?;
    seconds
        .checked_mul(1_000_000_000)?
        .checked_add(hundredths.checked_mul(10_000_000)?)
}

fn whole(file: &File) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let size = file.read_at(&mut piece, bytes.len() as u64)?;
        if size == 0 {
            return String::from_utf8(bytes).map_err(io::Error::other);
        }
        bytes.extend_from_slice(&piece[..size]);
        if bytes.len() > LARGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
}

/// Reads a line of the table (proc_pid_net(5)): number, local and remote address, state, queues, timer,
/// retransmits, uid, timeout, inode.
fn parse(line: &str) -> Option<(SocketAddr, SocketAddr, Entry)> {
    let mut fields = line.split_ascii_whitespace();
    let local = address(fields.nth(1)?)?;
    let remote = address(fields.next()?)?;
    let uid = fields.nth(4)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some((local, remote, Entry { uid, inode }))
}

/// Reads `0100007F:1538`: the address in words as the host's memory has them, the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = address.get(at..at + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let address: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut octets = [0; 16];
            for (n, to) in octets.chunks_exact_mut(4).enumerate() {
                to.copy_from_slice(&word(8 * n)?);
            }
            Ipv6Addr::from(octets).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// An IPv4 address of an IPv6 socket is that IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Bytes of a table that are read; a line has 150.
const LARGEST: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_who_made_a_connection() {
        for host in ["127.0.0.1", "[::1]"] {
            let listener = TcpListener::bind(format!("{host}:0")).unwrap();
            let sockets = Sockets::of_this_thread().unwrap();
            // The process is younger than a clock tick in no test.
            std::thread::sleep(Duration::from_millis(20));
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, peer) = listener.accept().unwrap();
            let owner = sockets.owner(peer, server.local_addr().unwrap());
            assert_eq!(owner.pid, std::process::id());
            assert_eq!(owner.uid, nix::unistd::geteuid().as_raw());
            assert!(owner.argv.is_some() && !owner.comm.is_empty(), "{owner:?}");
            drop(client);
            let other = sockets.owner(peer, "127.0.0.1:1".parse().unwrap());
            assert_eq!((other.pid, other.exe), (0, None));
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        let line = "   1: 0000000000000000FFFF00000100007F:A2C4 \
                    0000000000000000FFFF00000100007F:1538 01 00000000:00000000 00:00000000 00000000 \
                    1000        0 4711 1 0000000000000000 20 4 30 10 -1";
        let (local, remote, entry) = parse(line).unwrap();
        if cfg!(target_endian = "little") {
            assert_eq!(canonical(local).to_string(), "127.0.0.1:41668");
            assert_eq!(canonical(remote).to_string(), "127.0.0.1:5432");
        }
        let expected = Entry {
            uid: 1000,
            inode: 4711,
        };
        assert_eq!(entry, expected);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "[ 0-9A-F:a-zé]{0,200}") {
            let _ = parse(&line);
        }
    }
}
