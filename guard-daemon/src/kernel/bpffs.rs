//! guard's own bpffs, apart from the host's global one.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::KernelError;

/// Makes `path` a bpffs that only root may enter, for the pins of all sessions. What is already one is
/// left mounted, with its pins.
pub fn mount_private_bpffs(path: &Path) -> Result<(), KernelError> {
    let failed = |problem: &str, source: std::io::Error| KernelError::Pins {
        path: path.to_owned(),
        problem: problem.to_owned(),
        source: Some(source),
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| {
            failed(
                "cannot be made; choose a directory that root can write",
                error,
            )
        })?;
    let here = statfs(path).map_err(|error| failed("cannot be examined", error.into()))?;
    if here.filesystem_type() != BPF_FS_MAGIC {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("bpf"), path, Some("bpf"), flags, Some("mode=0700")).map_err(|error| {
            failed(
                "cannot be mounted as a bpffs; run guard as root on a kernel with CONFIG_BPF_SYSCALL",
                error.into(),
            )
        })?;
    }
    let unusable = |error| failed("cannot be kept from other users", error);
    let owner = fs::metadata(path).map_err(unusable)?;
    if owner.uid() != nix::unistd::geteuid().as_raw() {
        return Err(KernelError::Pins {
            path: path.to_owned(),
            problem: "is a bpffs that another user owns; unmount it".to_owned(),
            source: None,
        });
    }
    if owner.mode() & 0o777 != 0o700 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(unusable)?;
    }
    Ok(())
}
