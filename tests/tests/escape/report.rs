//! The rows, kept for docs/escapes.md and printed.

use std::fs::{self, File};
use std::path::PathBuf;

use guard_tests::escape::world::User;

use crate::judge::{Outcome, Row};

/// Replaces this user's rows in the running kernel's file: the one that `GUARD_ESCAPES` names, else
/// `target/escapes/KERNEL.jsonl`.
pub(crate) fn keep(user: User, rows: &[Row]) {
    let lines = rows.iter().map(|row| serde_json::to_string(row).unwrap());
    let path = std::env::var_os("GUARD_ESCAPES").map_or_else(default_file, PathBuf::from);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Three tests run at a time.
    let lock = File::create(path.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let old = fs::read_to_string(&path).unwrap_or_default();
    let mut text = String::new();
    for line in old.lines() {
        if serde_json::from_str::<Row>(line).is_ok_and(|row| row.user != user) {
            text.push_str(line);
            text.push('\n');
        }
    }
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    fs::write(path, text).unwrap();
}

/// `target/escapes/VERSION, with BPF LSM.jsonl`: the version without what a distributor adds to it.
fn default_file() -> PathBuf {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let version = release.trim().split('-').next().unwrap_or_default();
    let with = if crate::known::has_lsm() {
        "with"
    } else {
        "without"
    };
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| guard_tests::workspace().join("target"));
    target
        .join("escapes")
        .join(format!("{version}, {with} BPF LSM.jsonl"))
}

#[expect(clippy::print_stdout, reason = "the suite's result")]
fn say(line: &str) {
    println!("{line}");
}

/// The table, and what it adds up to.
pub(crate) fn print(rows: &[Row]) {
    for row in rows.iter().filter(|row| row.outcome != Outcome::NoWay) {
        say(&format!(
            "{:<24} {:<7} {:<9} {:<13} {:<40} {}",
            row.technique,
            format!("{:?}", row.place).to_lowercase(),
            format!("{:?}", row.user).to_lowercase(),
            format!("{:?}", row.outcome).to_lowercase(),
            row.control,
            row.said,
        ));
    }
    let count = |outcome| rows.iter().filter(|row| row.outcome == outcome).count();
    say(&format!(
        "{} rows: {} closed, {} open, {} without a way outside, {} not testable here",
        rows.len(),
        count(Outcome::Closed),
        count(Outcome::Open),
        count(Outcome::NoWay),
        count(Outcome::NotTestable),
    ));
}
