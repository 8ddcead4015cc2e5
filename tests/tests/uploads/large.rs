//! 200 MB at a time: content, the daemon's memory, and how fast.

use std::fmt::Write as _;
use std::io::{Read, Write};

use aws_lc_rs::digest::{Context, SHA256};
use guard_tests::guard::{Guard, succeeded};
use guard_tests::is_root;

use super::server::Server;
use super::{ALL, python};

/// Bytes of an upload, as clients/large.py makes it.
const SIZE: u64 = 200 * 1024 * 1024;

/// Memory that the daemon may have had at its peak. What is held of uploads is bounded by `spool`'s budget; here
/// four connections carry at most a chunk each.
const MEMORY: u64 = 256 * 1024;

#[test]
fn large_uploads_arrive_whole_and_take_little_memory() {
    if !is_root("large_uploads_arrive_whole_and_take_little_memory") {
        return;
    }
    let guard = Guard::new(ALL, "");
    let output = python(&guard, "large.py", &[]);
    let said = succeeded(&output);
    let peak = peak(guard.daemon());
    let line = format!("{said}daemon's peak memory: {} MiB\n", peak / 1024);
    let _ = std::io::stdout().write_all(line.as_bytes());
    for key in ["large/parts", "large/unsigned", "large/signed"] {
        let path = Server::shared().object(key);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), SIZE, "{key}");
        assert!(said.contains(&format!("{key} {}", sha256(&path))), "{said}");
        std::fs::remove_file(path).unwrap();
    }
    assert!(peak < MEMORY, "{peak} KiB");
    let form = &Server::shared().seen("large/signed")[0].payload;
    assert_eq!(form, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
}

/// As `MEMORY`, for uploads that wait for their upstream: the session has 64 MiB of what is held.
const SHARE_AND_REST: u64 = 208 * 1024;

#[test]
fn uploads_that_their_upstream_does_not_read_take_the_sessions_share_and_no_more() {
    if !is_root("uploads_that_their_upstream_does_not_read_take_the_sessions_share_and_no_more") {
        return;
    }
    let guard = Guard::new(ALL, "");
    let said = succeeded(&python(&guard, "stalled.py", &[]));
    let peak = peak(guard.daemon());
    let line = format!("{said}daemon's peak memory: {} MiB\n", peak / 1024);
    let _ = std::io::stdout().write_all(line.as_bytes());
    assert!(peak < SHARE_AND_REST, "{peak} KiB");
}

/// In KiB.
fn peak(daemon: nix::unistd::Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{daemon}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

fn sha256(path: &std::path::Path) -> String {
    let mut file = std::fs::File::open(path).unwrap();
    let mut hash = Context::new(&SHA256);
    let mut piece = vec![0; 1024 * 1024];
    loop {
        match file.read(&mut piece).unwrap() {
            0 => break,
            read => hash.update(&piece[..read]),
        }
    }
    let digest = hash.finish();
    let mut hex = String::new();
    for byte in digest.as_ref() {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}
