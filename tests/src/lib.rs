//! What the end-to-end tests share: the AWS stand-in, guard under test, and honest skips.
//!
//! The tests run the real `guard` binary as root, with real clients inside it. `cargo xtask test` sets up
//! what they need; a test whose needs are not met says so through [`skip`], which `xtask` counts.
#![allow(
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a test's own support fails the test, with the reason"
)]

pub mod escape;
pub mod guard;
pub mod installation;
pub mod internet;
pub mod stand;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The workspace's root.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ has a parent")
        .to_owned()
}

/// Where `cargo xtask setup` puts the Python, Node.js and Go clients.
pub fn environment() -> PathBuf {
    std::env::var_os("GUARD_TEST_ENV").map_or_else(|| workspace().join("target/env"), PathBuf::from)
}

/// A program of the Python environment (`python`, `aws`).
pub fn python_program(name: &str) -> PathBuf {
    environment().join("venv/bin").join(name)
}

/// The client of an AWS SDK for Go (`v1`, `v2`); `test` is skipped where there is none.
pub fn go_client(version: &str, test: &str) -> Option<PathBuf> {
    let client = environment().join(format!("go/sdk-{version}"));
    let there = client.exists();
    if !there {
        skip(
            test,
            "needs the AWS SDKs for Go: `cargo xtask setup` builds the client where the distribution has them",
        );
    }
    there.then_some(client)
}

/// A file of the tests directory, by its path below `tests/`.
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Says that a test cannot run here and why; `cargo xtask test` prints and counts it.
pub fn skip(test: &str, reason: &str) {
    let line = format!("SKIPPED {test}: {reason}\n");
    if let Some(file) = std::env::var_os("GUARD_TEST_SKIPS") {
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .and_then(|mut file| file.write_all(line.as_bytes()));
        assert!(
            written.is_ok(),
            "the skip of {test} could not be counted: {written:?}"
        );
    }
    print(&line);
}

#[expect(
    clippy::print_stdout,
    reason = "a skipped test says so where the runner's output goes"
)]
fn print(line: &str) {
    print!("{line}");
}

/// Whether this process may do what guard needs; skips `test` otherwise.
pub fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skip(
            test,
            "needs root: guard attaches eBPF programs and makes namespaces",
        );
    }
    root
}
