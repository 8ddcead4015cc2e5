//! Standard input, output and error are inherited from outside the session: what may come in that way.
//!
//! Files, pipes, terminals and unix sockets may. Whoever holds the other end of a unix socket can send
//! descriptors through it; that is the caller, whom the session is not protected from.

use std::fs;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::statfs::fstatfs;
use nix::unistd::isatty;

use super::launch::LaunchError;
use super::mounts::{hidden_kind_of, magic_number};

/// The three, as people call them.
const STREAMS: [(RawFd, &str); 3] = [
    (0, "standard input"),
    (1, "standard output"),
    (2, "standard error"),
];

/// Major number of the memory devices, and which of them hold no memory: null, zero, full, random,
/// urandom.
const MEMORY: u64 = 1;
const HARMLESS: [u64; 5] = [3, 5, 7, 8, 9];

/// File systems of descriptors that stand for no file (linux/magic.h): anonymous inodes, processes.
const ANONYMOUS: [i64; 2] = [0x0904_1934, 0x5049_4446];

/// Refuses standard streams that would be a way out of the session.
pub(super) fn check() -> Result<(), LaunchError> {
    for (number, name) in STREAMS {
        // SAFETY: the number is only asked about; one that is closed gives errors.
        let stream = unsafe { BorrowedFd::borrow_raw(number) };
        if let Some(what) = refused(stream) {
            return Err(LaunchError::Stream { name, what });
        }
    }
    Ok(())
}

/// The terminals among the standard streams, by path.
pub(super) fn terminals() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (number, _) in STREAMS {
        // SAFETY: as in `check`.
        let stream = unsafe { BorrowedFd::borrow_raw(number) };
        if let (Ok(true), Ok(path)) = (isatty(stream), fs::read_link(link(number)))
            && path.starts_with("/dev")
            && !found.contains(&path)
        {
            found.push(path);
        }
    }
    found
}

fn link(number: RawFd) -> String {
    format!("/proc/self/fd/{number}")
}

/// What is wrong with a stream; a closed one is fine.
fn refused(stream: BorrowedFd<'_>) -> Option<&'static str> {
    use std::os::fd::AsRawFd;

    let flags = OFlag::from_bits_retain(fcntl(stream, FcntlArg::F_GETFL).ok()?);
    if flags.contains(OFlag::O_PATH) {
        return Some("open on a place, not on a file's content (O_PATH)");
    }
    match socket_family(stream.as_raw_fd()) {
        None => {}
        Some(libc::AF_UNIX) => return None,
        Some(_) => {
            return Some("a network connection made outside the session, a way past the gateway");
        }
    }
    // Follows to the open file itself, also where its path is gone.
    let Ok(found) = fs::metadata(link(stream.as_raw_fd())) else {
        return Some("a descriptor that cannot be looked at");
    };
    let kind = found.file_type();
    if kind.is_dir() {
        return Some("a directory, from which files outside the session's view can be opened");
    }
    if kind.is_block_device() {
        return Some("a disk");
    }
    if kind.is_char_device() && !isatty(stream).unwrap_or(false) {
        let (major, minor) = (libc::major(found.rdev()), libc::minor(found.rdev()));
        if u64::from(major) != MEMORY || !HARMLESS.contains(&u64::from(minor)) {
            return Some("a device");
        }
    }
    let Ok(system) = fstatfs(stream) else {
        return Some("a descriptor that cannot be looked at");
    };
    if ANONYMOUS.contains(&magic_number(&system)) || hidden_kind_of(&system).is_some() {
        return Some("a descriptor of the kernel's, not of a file");
    }
    None
}

/// The address family of a descriptor that is a socket.
fn socket_family(descriptor: RawFd) -> Option<libc::c_int> {
    let mut family: libc::c_int = 0;
    let mut size = libc::socklen_t::try_from(size_of_val(&family)).ok()?;
    // SAFETY: `family` and `size` outlive the call, which writes at most `size` bytes.
    let result = unsafe {
        libc::getsockopt(
            descriptor,
            libc::SOL_SOCKET,
            libc::SO_DOMAIN,
            (&raw mut family).cast(),
            &raw mut size,
        )
    };
    (result == 0).then_some(family)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::os::unix::fs::OpenOptionsExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn files_pipes_and_unix_sockets_may_come_in() {
        let (unix, _peer) = UnixStream::pair().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let file = tempfile::tempfile().unwrap();
        let null = File::open("/dev/null").unwrap();
        for stream in [
            unix.as_fd(),
            reader.as_fd(),
            writer.as_fd(),
            file.as_fd(),
            null.as_fd(),
        ] {
            assert_eq!(refused(stream), None);
        }
    }

    #[test]
    fn ways_out_may_not() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let directory = File::open("/").unwrap();
        let place = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open("/etc/passwd")
            .unwrap();
        let memory = File::open("/proc/self/mem").unwrap();
        let namespace = File::open("/proc/self/ns/net").unwrap();
        let process = super::super::process_handle(std::process::id()).unwrap();
        let streams = [
            udp.as_fd(),
            directory.as_fd(),
            place.as_fd(),
            memory.as_fd(),
            namespace.as_fd(),
            process.as_fd(),
        ];
        for (at, stream) in streams.into_iter().enumerate() {
            assert!(refused(stream).is_some(), "{at}");
        }
    }
}
