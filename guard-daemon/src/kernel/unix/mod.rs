//! Which unix sockets a tree may reach that has the host's files: the hooks `cgroup/connect_unix` and
//! `cgroup/sendmsg_unix` of Linux 6.7.
//!
//! Everything is refused but the allowed paths. Sockets that are connected already, and pairs, are not asked
//! about, nor are sockets that were made outside of the cgroup.

mod btf;
mod program;

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::{Limit, syscall};
use btf::Types;
use program::{Reports, View};

/// Both hooks, with their attach types.
const HOOKS: [(&str, u32); 2] = [("sendmsg_unix", 50), ("connect_unix", 49)];

/// `BPF_PROG_TYPE_CGROUP_SOCK_ADDR`.
const SOCK_ADDR: u32 = 18;
/// Bytes of a path in a `sockaddr_un` with a zero byte at its end.
const PATH: usize = 107;
/// Paths that may be allowed.
const PATHS: usize = 64;

/// A program that was loaded.
pub(super) struct Loaded {
    pub(super) name: &'static str,
    pub(super) attach_type: u32,
    pub(super) program: OwnedFd,
}

/// Loads the programs of both hooks; none where this kernel does not have them. What is less than asked for
/// is added to `limits`.
pub(super) fn load(
    allowed: &[PathBuf],
    refusals: BorrowedFd<'_>,
    lost: BorrowedFd<'_>,
    limits: &mut Vec<Limit>,
) -> io::Result<Vec<Loaded>> {
    let reports = Reports { refusals, lost };
    let refusing = match load_both(&program::refuse_all(reports)) {
        Ok(programs) => programs,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
        Err(_) => {
            limits.push(Limit {
                code: "unix-sockets",
                detail: "unix sockets of the host are within reach: to refuse them needs Linux 6.7"
                    .to_owned(),
            });
            return Ok(Vec::new());
        }
    };
    let mut paths = Vec::new();
    for path in allowed {
        let problem = match checked(path) {
            Ok(()) if paths.len() < PATHS => {
                paths.push(path.as_os_str().as_bytes());
                continue;
            }
            Ok(()) => "as many as there may be come before it",
            Err(problem) => problem,
        };
        limits.push(Limit {
            code: "allow-unix",
            detail: format!("{} is not allowed: {problem}", path.display()),
        });
    }
    Ok(choosing(&paths, reports).unwrap_or_else(|error| {
        limits.push(Limit {
            code: "unix-paths",
            detail: format!(
                "every unix socket is refused, the allowed ones too, and the record does not name \
                 them: this kernel does not let a hook read their paths ({error})"
            ),
        });
        refusing
    }))
}

fn choosing(paths: &[&[u8]], reports: Reports<'_>) -> io::Result<Vec<Loaded>> {
    let program = program::allow(&Types::of_kernel()?, view()?, paths, reports)
        .ok_or_else(|| io::Error::other("its types are not known"))?;
    load_both(&program)
}

fn load_both(program: &[u64]) -> io::Result<Vec<Loaded>> {
    let load = |(name, attach_type)| {
        Ok(Loaded {
            name,
            attach_type,
            program: syscall::load(SOCK_ADDR, attach_type, program)?,
        })
    };
    HOOKS.into_iter().map(load).collect()
}

/// How this process sees files.
fn view() -> io::Result<View> {
    let unknown = || io::Error::other("the root's mount is not known");
    let mount_namespace = fs::metadata("/proc/self/ns/mnt")?.ino();
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let root = mounts.lines().rev().find_map(|line| {
        let mut fields = line.split(' ').skip(2);
        let device = fields.next()?;
        (fields.nth(1)? == "/").then_some(device)
    });
    let (major, minor) = root.and_then(|d| d.split_once(':')).ok_or_else(unknown)?;
    let number = |text: &str| text.parse::<u32>().map_err(io::Error::other);
    Ok(View {
        mount_namespace: u32::try_from(mount_namespace).map_err(io::Error::other)?,
        root: fs::metadata("/")?.ino(),
        device: number(major)? << 20 | number(minor)?,
    })
}

/// A path must stay the same file whatever the tree does: the hook compares the path that a process gives.
fn checked(path: &Path) -> Result<(), &'static str> {
    let plain = path.is_absolute()
        && path.components().collect::<PathBuf>().as_os_str() == path.as_os_str()
        && path.components().all(|part| part != Component::ParentDir);
    if !plain {
        return Err("it is not a plain absolute path");
    }
    if path.as_os_str().len() > PATH || path.as_os_str().as_bytes().contains(&0) {
        return Err("it is longer than the path of a unix socket can be");
    }
    for part in path.ancestors() {
        let Ok(metadata) = part.symlink_metadata() else {
            // Whoever makes it must be allowed to write to what there is.
            continue;
        };
        if metadata.is_symlink() {
            return Err("there is a symbolic link in it; give the path that it leads to");
        }
        if metadata.is_dir() && metadata.mode() & 0o002 != 0 {
            return Err("there is a directory in it that everybody may write to");
        }
    }
    Ok(())
}

/// Descriptors of the maps that refusals are reported in.
pub(super) fn descriptor(map: &aya::maps::Map) -> io::Result<BorrowedFd<'_>> {
    match map {
        aya::maps::Map::RingBuf(map) | aya::maps::Map::PerCpuArray(map) => Ok(map.fd().as_fd()),
        _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_others_can_turn_are_not_allowed() {
        let directory = tempfile::tempdir_in("/var/lib").unwrap();
        let path = directory.path().join("socket");
        checked(&path).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert!(checked(&path).unwrap_err().contains("symbolic link"));
        for (path, word) in [
            ("/tmp/socket", "everybody"),
            ("relative", "plain"),
            ("/run/../run/socket", "plain"),
            ("/run//socket", "plain"),
            ("/run/socket/", "plain"),
        ] {
            assert!(
                checked(Path::new(path)).unwrap_err().contains(word),
                "{path}"
            );
        }
        let long = format!("/{}", "x".repeat(PATH));
        assert!(checked(Path::new(&long)).unwrap_err().contains("longer"));
    }
}
