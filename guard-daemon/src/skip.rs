//! Honest skips of unit tests: said where the runner prints, and counted by `cargo xtask test`.

use std::fs::OpenOptions;
use std::io::Write;

/// Says that a test cannot run here, and why.
pub(crate) fn skip(test: &str, reason: impl std::fmt::Display) {
    let line = format!("SKIPPED {test}: {reason}\n");
    if let Some(file) = std::env::var_os("GUARD_TEST_SKIPS") {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
    print!("{line}");
}
