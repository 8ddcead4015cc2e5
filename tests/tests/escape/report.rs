//! The rows, kept for docs/escapes.md and printed.

use std::fs::{self, File};
use std::path::PathBuf;

use guard_tests::escape::world::User;

use crate::judge::{Outcome, Row};

/// Replaces this user's rows in the running kernel's file.
pub(crate) fn keep(user: User, rows: &[Row]) {
    let path = std::env::var_os("GUARD_ESCAPES").map_or_else(default_file, PathBuf::from);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Three tests run at a time.
    let lock = File::create(path.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let old = fs::read_to_string(&path).unwrap_or_default();
    let others = old
        .lines()
        .filter_map(|line| serde_json::from_str::<Row>(line).ok())
        .filter(|row| row.user != user);
    let mut text = String::new();
    for row in others.chain(rows.iter().cloned()) {
        text.push_str(&serde_json::to_string(&row).unwrap());
        text.push('\n');
    }
    fs::write(path, text).unwrap();
}

/// `target/escapes/RELEASE-LSM.jsonl`.
fn default_file() -> PathBuf {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let bpf = if crate::known::has_lsm() {
        "bpf"
    } else {
        "no-bpf"
    };
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| guard_tests::workspace().join("target"));
    target
        .join("escapes")
        .join(format!("{}-{bpf}.jsonl", release.trim()))
}

/// The table, and what it adds up to.
#[expect(clippy::print_stdout, reason = "the suite's result")]
pub(crate) fn print(rows: &[Row]) {
    for row in rows.iter().filter(|row| row.outcome != Outcome::NoWay) {
        println!(
            "{:<24} {:<7} {:<9} {:<13} {:<40} {}",
            row.technique,
            format!("{:?}", row.place).to_lowercase(),
            format!("{:?}", row.user).to_lowercase(),
            format!("{:?}", row.outcome).to_lowercase(),
            row.control,
            row.said,
        );
    }
    let count = |outcome| rows.iter().filter(|row| row.outcome == outcome).count();
    println!(
        "{} rows: {} closed, {} open, {} without a way outside, {} not testable here",
        rows.len(),
        count(Outcome::Closed),
        count(Outcome::Open),
        count(Outcome::NoWay),
        count(Outcome::NotTestable),
    );
}
