//! The state and runtime directories: made with the right modes, and locked by one daemon at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, umount2};

use crate::config::Config;

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Another daemon has it.
    #[error(
        "another guard daemon uses {directory}; use it, stop it, or choose other directories with --state-dir and --runtime-dir"
    )]
    Busy {
        /// The directory.
        directory: PathBuf,
    },
    /// Others could change what is in it.
    #[error(
        "{directory} can be changed by others than its user; guard's directories must belong to root: chown root {directory} && chmod go-w {directory}"
    )]
    Exposed {
        /// The directory.
        directory: PathBuf,
    },
    /// A file operation failed.
    #[error("cannot use {path}: {source}; guard must run as root")]
    Io {
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The locks of a daemon, held for its life.
#[derive(Debug)]
pub struct Locks {
    _state: Flock<File>,
    _runtime: Flock<File>,
}

/// Makes and locks both directories.
pub(super) fn prepare(config: &Config) -> Result<Locks, DirectoryError> {
    make(&config.state_dir, 0o700)?;
    make(&config.runtime_dir, 0o755)?;
    Ok(Locks {
        _state: lock(&config.state_dir)?,
        _runtime: lock(&config.runtime_dir)?,
    })
}

/// Makes a directory, or checks that one that exists belongs to this user alone.
pub(super) fn make(directory: &Path, mode: u32) -> Result<(), DirectoryError> {
    if let Some(parent) = directory.parent() {
        // Not with `mode`: a private state directory does not make what stands beside it private.
        std::fs::create_dir_all(parent).map_err(failed(directory))?;
    }
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(directory)
        .map_err(failed(directory))?;
    let found = directory.metadata().map_err(failed(directory))?;
    if found.uid() != nix::unistd::geteuid().as_raw() || found.mode() & 0o022 != 0 {
        return Err(DirectoryError::Exposed {
            directory: directory.to_owned(),
        });
    }
    Ok(())
}

/// Takes the file system of the pins away once no session has pins on it.
pub(super) fn unmount(pins: &Path) {
    // The kernel puts files of its own (maps.debug, progs.debug) on every bpffs.
    let is_directory = |entry: std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let unused = std::fs::read_dir(pins)
        .is_ok_and(|mut entries| !entries.any(|entry| entry.is_ok_and(is_directory)));
    if !unused {
        return;
    }
    match umount2(pins, MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => {
            let _ = std::fs::remove_dir(pins);
        }
        Err(errno) => tracing::warn!("{} stays mounted: {errno}", pins.display()),
    }
}

fn lock(directory: &Path) -> Result<Flock<File>, DirectoryError> {
    let path = directory.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed(&path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_file, errno)| {
        if errno == nix::Error::EWOULDBLOCK {
            return DirectoryError::Busy {
                directory: directory.to_owned(),
            };
        }
        failed(&path)(errno.into())
    })
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_owned();
    move |source| DirectoryError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_daemon_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let held = lock(home.path()).unwrap();
        assert!(matches!(
            lock(home.path()),
            Err(DirectoryError::Busy { .. })
        ));
        drop(held);
        lock(home.path()).unwrap();
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let shared = home.path().join("shared");
        make(&shared, 0o700).unwrap();
        std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(
            make(&shared, 0o700),
            Err(DirectoryError::Exposed { .. })
        ));
        assert_eq!(shared.metadata().unwrap().mode() & 0o777, 0o777);
    }
}
