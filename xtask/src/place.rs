//! Where things are, and how the tasks run other programs.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default()
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Where the Python and Node.js clients of the tests and the demo are installed: below the target directory,
/// unless the unprivileged user that runs them confined cannot enter that.
pub(crate) fn environment() -> PathBuf {
    let place = root().join("target/env");
    let enterable =
        |path: &Path| std::fs::metadata(path).is_ok_and(|of| of.permissions().mode() & 0o001 != 0);
    if root().ancestors().all(enterable) {
        place
    } else {
        "/var/cache/guard-tests/env".into()
    }
}

/// Where cargo-installed tools are: `bpf-linker`, `cargo-deny`.
pub(crate) fn tools() -> PathBuf {
    root().join("target/tools")
}

/// Runs a program to its end; anything but success is an error that shows the command.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("{command:?} did not start"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// A cargo command in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}
