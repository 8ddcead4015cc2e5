//! Directories that a session has for itself, empty at its start and gone with it: those for temporary
//! files and those in which daemons offer their sockets.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use super::super::report::{Report, Stage, on};
use super::super::user::Invoker;
use super::tmpfs;
use crate::policy::Temporary;

/// Where daemons offer sockets. The second is a link to the first on all but old systems.
const RUN: [&str; 2] = ["/run", "/var/run"];

/// Where users put temporary files.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// Shared memory; stands in the session's own /dev.
pub(super) const SHARED_MEMORY: &str = "/dev/shm";

/// Directories in a shared /tmp that hold nothing but sockets: their names begin so. X11 and its font and
/// session servers, ssh-agent, tmux, screen, D-Bus, gpg, PulseAudio.
const OF_SOCKETS: [&str; 9] = [
    ".X11-unix",
    ".ICE-unix",
    ".font-unix",
    "ssh-",
    "tmux-",
    "screen",
    "dbus-",
    "gpg-",
    "pulse-",
];

/// A private directory.
#[derive(Debug)]
pub(super) struct Private {
    path: PathBuf,
    mode: u32,
    owner: (u32, u32),
}

/// The private directories of a session.
#[derive(Debug)]
pub(super) struct Directories {
    all: Vec<Private>,
    /// The devices of file systems of their own that are mounted on them.
    systems: Vec<u64>,
}

/// Looks which directories there are.
pub(super) fn find(invoker: &Invoker, temporary: Temporary) -> Result<Directories, Report> {
    let mut found = Directories {
        all: Vec::new(),
        systems: Vec::new(),
    };
    for path in RUN {
        found.add(Path::new(path), 0o755)?;
    }
    // Where OpenSSH 10.1 and later has its agents' sockets.
    if let Some(home) = &invoker.home {
        found.add_as_it_is(&home.join(".ssh/agent"))?;
    }
    match temporary {
        Temporary::Private => {
            for path in TEMPORARY {
                found.add(Path::new(path), 0o1777)?;
            }
            found.note_system(Path::new(SHARED_MEMORY));
            found.all.push(Private {
                path: SHARED_MEMORY.into(),
                mode: 0o1777,
                owner: (0, 0),
            });
        }
        Temporary::Shared => {
            for path in TEMPORARY {
                for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                    let name = entry.file_name();
                    let name = name.as_encoded_bytes();
                    if OF_SOCKETS
                        .iter()
                        .any(|start| name.starts_with(start.as_bytes()))
                    {
                        found.add_as_it_is(&entry.path())?;
                    }
                }
            }
        }
    }
    Ok(found)
}

impl Directories {
    /// Just these. They are covered by their caller.
    pub(super) fn only(paths: impl Iterator<Item = PathBuf>) -> Self {
        let private = |path| Private {
            path,
            mode: 0,
            owner: (0, 0),
        };
        Self {
            all: paths.map(private).collect(),
            systems: Vec::new(),
        }
    }

    /// Whether a path lies in a private directory and can be shown there. The directories themselves cannot,
    /// nor the users' own in /run/user: they are the places of sockets to come.
    pub(super) fn hold(&self, path: &Path) -> bool {
        let user = Path::new("/run/user");
        let place_of_sockets = path == user || path.parent() == Some(user);
        self.around(path).is_some_and(|around| around != path) && !place_of_sockets
    }

    /// The private directory that a path lies in or is.
    pub(super) fn around(&self, path: &Path) -> Option<&Path> {
        let mut all = self.all.iter().map(|directory| directory.path.as_path());
        all.find(|directory| path.starts_with(directory))
    }

    /// Whether a mount at `path`, of the file system on `device`, shows a private directory's content
    /// elsewhere.
    pub(super) fn are_seen_at(&self, path: &Path, device: u64) -> bool {
        self.systems.contains(&device) && self.around(path).is_none()
    }

    fn note_system(&mut self, path: &Path) {
        let device = |path: &Path| path.metadata().ok().map(|found| found.dev());
        let above = path.parent().and_then(device);
        self.systems
            .extend(device(path).filter(|own| Some(*own) != above));
    }

    fn add(&mut self, path: &Path, mode: u32) -> Result<(), Report> {
        self.add_with(path, |_found| (mode, (0, 0)))
    }

    fn add_as_it_is(&mut self, path: &Path) -> Result<(), Report> {
        if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            self.add_with(path, |found| {
                (found.mode() & 0o7777, (found.uid(), found.gid()))
            })?;
        }
        Ok(())
    }

    fn add_with(
        &mut self,
        path: &Path,
        look: impl Fn(&fs::Metadata) -> (u32, (u32, u32)),
    ) -> Result<(), Report> {
        let real = match fs::canonicalize(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(on(Stage::Private, path))?,
        };
        if self.around(&real).is_none() {
            let found = real.metadata().map_err(on(Stage::Private, path))?;
            let (mode, owner) = look(&found);
            self.note_system(&real);
            self.all.push(Private {
                path: real,
                mode,
                owner,
            });
        }
        Ok(())
    }
}

/// Covers the private directories, and makes in /run what programs take for granted.
pub(super) fn cover(directories: &Directories, invoker: &Invoker) -> Result<(), Report> {
    for Private { path, mode, owner } in &directories.all {
        let options = format!("mode={mode:o},uid={},gid={}", owner.0, owner.1);
        tmpfs(path, &options).map_err(on(Stage::Private, path))?;
    }
    let run = Path::new(RUN[0]);
    let made = directory(&run.join("lock"), 0o1777, (0, 0))
        .and_then(|()| directory(&run.join("user"), 0o755, (0, 0)))
        .and_then(|()| {
            let owner = (invoker.uid.as_raw(), invoker.gid.as_raw());
            directory(&runtime(invoker), 0o700, owner)
        })
        .and_then(|()| symlink(SHARED_MEMORY, run.join("shm")));
    made.map_err(on(Stage::Private, run))
}

/// The user's own directory in the session's /run: `XDG_RUNTIME_DIR`.
pub(super) fn runtime(invoker: &Invoker) -> PathBuf {
    PathBuf::from(format!("/run/user/{}", invoker.uid))
}

/// Makes the directories that the environment names for temporary files, as the user's own.
pub(super) fn make_temporary(
    wanted: &[PathBuf],
    directories: &Directories,
    invoker: &Invoker,
) -> Result<(), Report> {
    let owner = (invoker.uid.as_raw(), invoker.gid.as_raw());
    for path in wanted.iter().filter(|path| directories.hold(path)) {
        if path.symlink_metadata().is_ok() {
            continue;
        }
        let above = path.parent().unwrap_or(path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(above)
            .and_then(|()| directory(path, 0o700, owner))
            .map_err(on(Stage::Private, path))?;
    }
    Ok(())
}

/// Makes a directory with exactly this mode and owner.
pub(super) fn directory(path: &Path, mode: u32, owner: (u32, u32)) -> io::Result<()> {
    fs::create_dir(path)?;
    chown(path, Some(owner.0), Some(owner.1))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directories() -> Directories {
        let private = |path: &str| Private {
            path: path.into(),
            mode: 0o755,
            owner: (0, 0),
        };
        Directories {
            all: vec![private("/run"), private("/tmp")],
            systems: vec![7],
        }
    }

    #[test]
    fn private_directories_hold_what_is_below_them() {
        for shown in ["/tmp/work", "/run/media/u/disk", "/run/user/1/app/x"] {
            assert!(directories().hold(Path::new(shown)), "{shown}");
        }
        for not in [
            "/tmp",
            "/run",
            "/run/user",
            "/run/user/1",
            "/tmpfile",
            "/var/tmp/x",
        ] {
            assert!(!directories().hold(Path::new(not)), "{not}");
        }
        assert_eq!(
            directories().around(Path::new("/tmp")),
            Some(Path::new("/tmp"))
        );
    }
}
