//! Unix sockets of the host that are bound to paths: who could connect to one would have a program
//! outside do what the session may not. They are found in every network namespace and covered.
//!
//! A socket that a program outside makes later, in a directory that the session sees, is not covered.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};

use super::super::report::{Report, Stage, on};
use super::super::user::Invoker;
use super::syscalls;

/// Sockets in home directories that stand for much: agents that hold keys, container engines, and gpg's
/// own connection to the network. Covered also where nobody listens yet.
const KNOWN: [&str; 12] = [
    ".1password/agent.sock",
    ".colima/default/docker.sock",
    ".docker/desktop/docker.sock",
    ".docker/run/docker.sock",
    ".gnupg/S.dirmngr",
    ".gnupg/S.gpg-agent",
    ".gnupg/S.gpg-agent.browser",
    ".gnupg/S.gpg-agent.extra",
    ".gnupg/S.gpg-agent.ssh",
    ".gnupg/S.keyboxd",
    ".gnupg/S.scdaemon",
    ".rd/docker.sock",
];

/// The paths that unix sockets are bound to, in all network namespaces that have processes.
pub(in crate::sandbox) fn bound() -> Vec<PathBuf> {
    let mut namespaces = HashSet::new();
    let mut paths = HashSet::new();
    let mut relative = BTreeMap::new();
    for process in processes() {
        let Ok(namespace) = fs::read_link(process.join("ns/net")) else {
            continue;
        };
        if namespaces.insert(namespace) {
            for (inode, path) in fs::read(process.join("net/unix"))
                .iter()
                .flat_map(|text| sockets(text))
            {
                if path.is_absolute() {
                    paths.insert(path);
                } else {
                    relative.insert(format!("socket:[{inode}]"), path);
                }
            }
        }
    }
    if !relative.is_empty() {
        paths.extend(resolve(&relative));
    }
    paths.into_iter().collect()
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter(|entry| {
        entry
            .file_name()
            .as_encoded_bytes()
            .iter()
            .all(u8::is_ascii_digit)
    })
    .map(|entry| entry.path())
}

/// Inodes and paths in the text of `/proc/<pid>/net/unix`; abstract addresses begin with `@`.
fn sockets(text: &[u8]) -> impl Iterator<Item = (u64, PathBuf)> {
    text.split(|&b| b == b'\n').filter_map(|line| {
        // Num, RefCount, Protocol, Flags, Type, St, then Inode, padded on the left, and the rest.
        let mut rest = line;
        let mut field = || {
            let start = rest.iter().position(|&b| b != b' ')?;
            let end = rest[start..].iter().position(|&b| b == b' ')? + start;
            let found = &rest[start..end];
            rest = &rest[end..];
            Some(found)
        };
        let inode = (0..7).map(|_| field()).last()??;
        let inode = std::str::from_utf8(inode).ok()?.parse().ok()?;
        let path = rest.strip_prefix(b" ")?;
        (path.first().is_some_and(|&b| b != b'@'))
            .then(|| (inode, OsString::from_vec(path.to_vec()).into()))
    })
}

/// Completes paths that sockets were bound to relative to a working directory, by who holds them.
fn resolve(relative: &BTreeMap<String, PathBuf>) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for process in processes() {
        let descriptors = fs::read_dir(process.join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        for target in descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()) {
            let known = target.to_str().and_then(|target| relative.get(target));
            if let (Some(path), Ok(directory)) = (known, fs::read_link(process.join("cwd"))) {
                paths.push(directory.join(path));
            }
        }
    }
    paths
}

/// Covers those sockets among `bound`, and the well-known ones, that are not `allowed`, by device and
/// inode.
pub(super) fn cover(
    bound: &[Vec<u8>],
    invoker: &Invoker,
    allowed: &[(u64, u64)],
) -> Result<(), Report> {
    let homes = invoker.home.iter();
    let known = homes.flat_map(|home| KNOWN.map(|name| home.join(name)));
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let nothing = Path::new("/dev/null");
    let nothing = open(nothing, flags, Mode::empty()).map_err(on(Stage::Sockets, nothing))?;
    let bound = bound
        .iter()
        .map(|path| OsString::from_vec(path.clone()).into());
    for path in bound.chain(known) {
        let path: PathBuf = path;
        let socket = match open(&path, flags, Mode::empty()) {
            Ok(socket) => socket,
            // Its directory is private, or it is gone.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => continue,
            Err(errno) => return Err(on(Stage::Sockets, &path)(errno)),
        };
        let found = fstat(&socket).map_err(on(Stage::Sockets, &path))?;
        let is_socket = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK;
        if is_socket && !allowed.contains(&(found.st_dev, found.st_ino)) {
            syscalls::copy(&nothing, false)
                .and_then(|cover| cover.attach(&socket))
                .map_err(on(Stage::Sockets, &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn reads_the_kernels_list() {
        let text = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 27154 /run/a b.sock\n\
            0000000000000000: 00000003 00000000 00000000 0001 03    54\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 27155 @abstract\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 27156 here.sock\n";
        let found: Vec<_> = sockets(text).collect();
        assert_eq!(
            found,
            [(27154, "/run/a b.sock".into()), (27156, "here.sock".into())]
        );
    }

    #[test]
    fn finds_a_listening_socket() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        assert!(bound().contains(&path));
    }
}
