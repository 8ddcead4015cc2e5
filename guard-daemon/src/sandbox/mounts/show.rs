//! Files of the host that stay visible in private directories: the working directory, the command, what
//! the profile lists, and what the resolver needs.
//!
//! What is named by the person or the profile is opened with the invoking user's rights, so that a link
//! somebody left in /tmp shows nothing that the user could not open.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, SFlag, fstat};

use super::super::report::{Report, Stage, on};
use super::super::user::Invoker;
use super::private::{Directories, directory};
use super::syscalls::{self, Detached};
use super::{Host, World};

/// Links followed for one path; what the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// What programs need of /run: the resolver's configuration where it lies there, and where NixOS has its
/// system.
const NEEDED: [&str; 5] = [
    "/etc/resolv.conf",
    "/run/current-system",
    "/run/booted-system",
    "/run/opengl-driver",
    "/run/wrappers",
];

/// A file or directory that is to be visible where it was.
struct Item {
    path: PathBuf,
    is_directory: bool,
    mount: Detached,
    /// The directories above it in the private one, with mode and owner.
    above: Vec<(PathBuf, u32, (u32, u32))>,
}

/// What is shown, taken from the host before its place is covered.
#[derive(Default)]
pub(super) struct Shown {
    items: Vec<Item>,
    links: Vec<(PathBuf, PathBuf)>,
    allowed: Vec<(u64, u64)>,
}

/// A path with its links followed.
#[derive(Debug, Eq, PartialEq)]
struct Trace {
    real: PathBuf,
    /// The links on the way, each with its real path and what it says.
    links: Vec<(PathBuf, PathBuf)>,
}

/// Opens everything that is to be shown.
pub(super) fn take(world: &World, host: &Host, directories: &Directories) -> Result<Shown, Report> {
    let named = world.reach.show.iter().chain(&host.executable);
    let (files, sockets) = as_user(&host.invoker, || {
        let needed = NEEDED.map(PathBuf::from);
        let files: Vec<_> = named
            .chain(&needed)
            .filter_map(|path| reach(path))
            .collect();
        let sockets: Vec<_> = world
            .reach
            .unix
            .iter()
            .filter_map(|path| reach(path))
            .collect();
        (files, sockets)
    })?;
    let mut shown = Shown::default();
    for (trace, file) in &sockets {
        let found = fstat(file).map_err(on(Stage::Show, &trace.real))?;
        shown.allowed.push((found.st_dev, found.st_ino));
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let here = open(".", flags, Mode::empty()).map_err(on(Stage::Show, &host.directory))?;
    let directory = Trace {
        real: host.directory.clone(),
        links: Vec::new(),
    };
    let all = files.into_iter().chain(sockets).chain([(directory, here)]);
    shown.add(all, directories)?;
    Ok(shown)
}

/// Opens these paths, where they lie in one of the directories.
pub(super) fn take_named(
    paths: &[PathBuf],
    invoker: &Invoker,
    directories: &Directories,
) -> Result<Shown, Report> {
    let found = as_user(invoker, || {
        let found = paths.iter().filter_map(|path| reach(path));
        found.collect::<Vec<_>>()
    })?;
    let mut shown = Shown::default();
    shown.add(found.into_iter(), directories)?;
    Ok(shown)
}

fn item(path: PathBuf, file: &OwnedFd, directories: &Directories) -> Result<Item, Report> {
    let found = fstat(file).map_err(on(Stage::Show, &path))?;
    let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
    let mount = syscalls::copy(file, true).map_err(on(Stage::Show, &path))?;
    let above = path
        .ancestors()
        .skip(1)
        .take_while(|above| {
            directories
                .around(above)
                .is_some_and(|around| around != *above)
        })
        .map(|above| {
            let found = fs::symlink_metadata(above)?;
            Ok((
                above.to_owned(),
                found.mode() & 0o7777,
                (found.uid(), found.gid()),
            ))
        })
        .collect::<io::Result<Vec<_>>>()
        .map_err(on(Stage::Show, &path))?;
    Ok(Item {
        is_directory: kind == SFlag::S_IFDIR,
        mount,
        above: above.into_iter().rev().collect(),
        path,
    })
}

impl Shown {
    fn add(
        &mut self,
        all: impl Iterator<Item = (Trace, OwnedFd)>,
        directories: &Directories,
    ) -> Result<(), Report> {
        for (trace, file) in all {
            if directories.hold(&trace.real) {
                self.items.push(item(trace.real, &file, directories)?);
            }
            let links = trace.links.into_iter();
            let links = links.filter(|(link, _)| directories.hold(link));
            self.links.extend(links);
        }
        // What holds others comes before them.
        self.items.sort_by_key(|item| item.path.as_os_str().len());
        Ok(())
    }

    /// Makes everything visible again, after the private directories were covered.
    pub(super) fn place(&self) -> Result<(), Report> {
        for (at, item) in self.items.iter().enumerate() {
            let before = &self.items[..at];
            if !within(before, &item.path) {
                put(item).map_err(on(Stage::Show, &item.path))?;
            }
        }
        for (link, target) in &self.links {
            if !within(&self.items, link) && link.symlink_metadata().is_err() {
                let above = link.parent().unwrap_or(link);
                fs::create_dir_all(above)
                    .and_then(|()| symlink(target, link))
                    .map_err(on(Stage::Show, link))?;
            }
        }
        Ok(())
    }

    /// The sockets that the profile lets the session use, by device and inode.
    pub(super) fn allowed(&self) -> &[(u64, u64)] {
        &self.allowed
    }
}

fn within(items: &[Item], path: &Path) -> bool {
    items.iter().any(|item| path.starts_with(&item.path))
}

fn put(item: &Item) -> io::Result<()> {
    for (path, mode, owner) in &item.above {
        if path.symlink_metadata().is_err() {
            directory(path, *mode, *owner)?;
        }
    }
    if item.is_directory {
        directory(&item.path, 0o755, (0, 0))?;
    } else {
        fs::File::create(&item.path)?;
    }
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    item.mount.attach(open(&item.path, flags, Mode::empty())?)
}

/// Follows and opens a path; `None` where there is nothing or the user may not know.
fn reach(path: &Path) -> Option<(Trace, OwnedFd)> {
    let trace = trace(path).ok()?;
    // The path has no links any more; one that came since is not followed.
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    let file = openat2(AT_FDCWD, &trace.real, how).ok()?;
    Some((trace, file))
}

/// Follows an absolute path.
fn trace(path: &Path) -> io::Result<Trace> {
    let own = |part: Component<'_>| part.as_os_str().to_owned();
    let mut ahead: VecDeque<OsString> = path.components().map(own).collect();
    let mut trace = Trace {
        real: PathBuf::from("/"),
        links: Vec::new(),
    };
    while let Some(part) = ahead.pop_front() {
        match part.as_encoded_bytes() {
            b"/" => trace.real = PathBuf::from("/"),
            b"." => {}
            b".." => {
                trace.real.pop();
            }
            _ => {
                let next = trace.real.join(&part);
                if !next.symlink_metadata()?.is_symlink() {
                    trace.real = next;
                    continue;
                }
                if trace.links.len() == MOST_LINKS {
                    return Err(Errno::ELOOP.into());
                }
                let target = fs::read_link(&next)?;
                for part in target.components().rev() {
                    ahead.push_front(own(part));
                }
                trace.links.push((next, target));
            }
        }
    }
    Ok(trace)
}

/// Does something with the user's rights to files.
pub(super) fn as_user<T>(invoker: &Invoker, work: impl FnOnce() -> T) -> Result<T, Report> {
    let failed = |errno: Errno| Report {
        detail: "as the invoking user".to_owned(),
        ..super::super::report::at(Stage::Show)(errno)
    };
    invoker.with_rights(work).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_followed_link_by_link() {
        let home = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(home.path()).unwrap();
        fs::create_dir(base.join("a")).unwrap();
        fs::write(base.join("a/file"), "").unwrap();
        symlink("a", base.join("b")).unwrap();
        symlink(base.join("b/../b/file"), base.join("c")).unwrap();
        symlink("loop", base.join("loop")).unwrap();
        let traced = trace(&base.join("c")).unwrap();
        assert_eq!(traced.real, base.join("a/file"));
        let links: Vec<_> = traced.links.iter().map(|(link, _)| link.clone()).collect();
        assert_eq!(links, [base.join("c"), base.join("b"), base.join("b")]);
        assert!(trace(&base.join("absent")).is_err());
        assert!(trace(&base.join("loop")).is_err());
        assert!(reach(&base.join("c")).is_some());
    }
}
