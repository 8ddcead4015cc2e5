//! Uploads through guard to an S3 server that checks every signature: all checksums, all chunk forms, and the
//! clients that make them.
#![allow(
    clippy::unwrap_used,
    reason = "a test's own helper functions fail the test, too"
)]

mod clients;
mod events;
mod held;
mod large;
mod server;

use std::io::Write;
use std::process::Output;

use guard_tests::guard::{Guard, succeeded};
use guard_tests::stand::Stand;
use guard_tests::{fixture, is_root, python_program};

use self::server::Server;

const ALL: &str = "default = \"allow\"\n";

/// Runs a confined Python script of tests/clients.
fn python(guard: &Guard, script: &str, arguments: &[&str]) -> Output {
    let flags = Server::shared().flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let script = guard.hand(&fixture(&format!("clients/{script}")));
    guard.hand(&fixture("clients/chunk_signing.py"));
    guard
        .run_with(Stand::shared(), &flags)
        .arg(python_program("python"))
        .arg(script)
        .args(arguments)
        .output()
        .expect("guard runs")
}

/// Every line of a client's report says that it went well.
fn went_well(output: &Output) -> usize {
    let said = succeeded(output);
    let _ = std::io::stdout().write_all(said.as_bytes());
    let lines: Vec<&str> = said.lines().collect();
    assert!(!lines.is_empty(), "it did something");
    for line in &lines {
        assert!(line.ends_with(" well"), "{said}");
    }
    lines.len()
}

#[test]
fn a_checking_server_accepts_every_checksum_of_boto3() {
    if !is_root("a_checking_server_accepts_every_checksum_of_boto3") {
        return;
    }
    let guard = Guard::new(ALL, "");
    let count = went_well(&python(&guard, "checksums.py", &[]));
    assert!(count > 10, "{count}");
    let crt = guard_tests::environment().join("crt");
    let crt = crt.to_str().expect("UTF-8");
    let count = went_well(&python(&guard, "checksums.py", &[crt]));
    assert!(count >= 16, "{count}");
}

#[test]
fn a_checking_server_accepts_chunk_signed_uploads() {
    if !is_root("a_checking_server_accepts_chunk_signed_uploads") {
        return;
    }
    let guard = Guard::new(ALL, "");
    went_well(&python(&guard, "chunks.py", &[]));
}
