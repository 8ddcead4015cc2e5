//! The mount calls of Linux 5.2 and 5.12 that the C library lacks.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::NixPath;

use super::super::privileges::checked;

/// A mount that stands nowhere yet.
#[derive(Debug)]
pub(super) struct Detached(OwnedFd);

/// Copies the mount of what `place` is open on, from there down: with all mounts below it, or alone.
pub(super) fn copy(place: impl AsFd, with_mounts_below: bool) -> io::Result<Detached> {
    let below = if with_mounts_below {
        libc::AT_RECURSIVE.cast_unsigned()
    } else {
        0
    };
    let flags = libc::OPEN_TREE_CLONE
        | libc::OPEN_TREE_CLOEXEC
        | libc::AT_EMPTY_PATH.cast_unsigned()
        | below;
    // SAFETY: the descriptor is open and the path is a constant with a final zero byte.
    let result = unsafe {
        libc::syscall(
            libc::SYS_open_tree,
            place.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
        )
    };
    checked(result)?;
    let descriptor = i32::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(Detached(unsafe { OwnedFd::from_raw_fd(descriptor) }))
}

impl Detached {
    /// Puts it over what `target` is open on.
    pub(super) fn attach(&self, target: impl AsFd) -> io::Result<()> {
        let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
        // SAFETY: both descriptors are open and the paths are constants with a final zero byte.
        checked(unsafe {
            libc::syscall(
                libc::SYS_move_mount,
                self.0.as_raw_fd(),
                c"".as_ptr(),
                target.as_fd().as_raw_fd(),
                c"".as_ptr(),
                flags,
            )
        })
    }

    /// Sets attributes of it, `MOUNT_ATTR_…`, and of the mounts below it.
    pub(super) fn restrict(&self, attributes: u64) -> io::Result<()> {
        set_attributes(self.0.as_raw_fd(), c"", attributes, true)
    }
}

/// Sets attributes of the mount at a path, `MOUNT_ATTR_…`; also of those below it if asked.
pub(super) fn restrict(path: &Path, attributes: u64, below: bool) -> io::Result<()> {
    path.with_nix_path(|path| set_attributes(libc::AT_FDCWD, path, attributes, below))?
}

fn set_attributes(directory: i32, path: &CStr, attributes: u64, below: bool) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let mut flags = libc::AT_EMPTY_PATH;
    if below {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: path and structure outlive the call, which reads as many bytes as it is told.
    checked(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            directory,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
}
