//! Clients that are not AWS's own.

use std::path::Path;

use guard_tests::guard::{Guard, succeeded};
use guard_tests::stand::Stand;
use guard_tests::{environment, fixture, is_root, python_program, skip};

use super::server::Server;
use super::{ALL, python, went_well};

/// 12 MB: with every client's default or asked-for part size, more than one part.
fn content() -> Vec<u8> {
    (0..12_000_000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// Runs a confined shell script; `file` is the content.
fn shell(guard: &Guard, script: &str) -> String {
    std::fs::write(guard.directory().join("file"), content()).unwrap();
    let flags = Server::shared().flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let output = guard
        .run_with(Stand::shared(), &flags)
        .args(["sh", "-euc", script])
        .output()
        .expect("guard runs");
    succeeded(&output)
}

fn is_here(program: &str, test: &str) -> bool {
    if !is_root(test) {
        return false;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let here = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    if !here {
        skip(test, &format!("needs {program}: cargo xtask setup"));
    }
    here
}

#[test]
fn rclone_copies_in_one_piece_and_in_parts() {
    if !is_here("rclone", "rclone_copies_in_one_piece_and_in_parts") {
        return;
    }
    let guard = Guard::new(ALL, "");
    let script = "\
        # This version cannot take it, and does with SSL_CERT_FILE.\n\
        unset AWS_CA_BUNDLE\n\
        export RCLONE_CONFIG=/nowhere RCLONE_S3_PROVIDER=AWS RCLONE_S3_ENV_AUTH=true\n\
        export RCLONE_S3_REGION=us-east-1 RCLONE_S3_NO_CHECK_BUCKET=true RCLONE_RETRIES=1\n\
        rclone copyto file :s3:uploads/rclone/one\n\
        rclone copyto --s3-upload-cutoff 5M --s3-chunk-size 5M file :s3:uploads/rclone/parts\n\
        rclone cat :s3:uploads/rclone/parts | cmp - file\n\
        rclone lsf :s3:uploads/rclone/\n";
    assert_eq!(shell(&guard, script), "one\nparts\n");
    for key in ["rclone/one", "rclone/parts"] {
        let object = std::fs::read(Server::shared().object(key)).unwrap();
        assert!(object == content(), "{key}");
    }
}

#[test]
fn s3cmd_puts_in_one_piece_and_in_parts() {
    if !is_here("s3cmd", "s3cmd_puts_in_one_piece_and_in_parts") {
        return;
    }
    let guard = Guard::new(ALL, "");
    let script = "\
        s3() { s3cmd -q -c /dev/null --region us-east-1 --ca-certs \"$SSL_CERT_FILE\" \
            --access_key \"$AWS_ACCESS_KEY_ID\" --secret_key \"$AWS_SECRET_ACCESS_KEY\" \"$@\"; }\n\
        s3 --disable-multipart put file s3://uploads/s3cmd/one\n\
        s3 --multipart-chunk-size-mb 5 put file s3://uploads/s3cmd/parts\n\
        s3 get s3://uploads/s3cmd/parts - | cmp - file\n\
        echo well\n";
    assert_eq!(shell(&guard, script), "well\n");
    for key in ["s3cmd/one", "s3cmd/parts"] {
        let object = std::fs::read(Server::shared().object(key)).unwrap();
        assert!(object == content(), "{key}");
    }
}

#[test]
fn minio_puts_streams_in_parts() {
    let test = "minio_puts_streams_in_parts";
    if !is_root(test) {
        return;
    }
    let library = python_program("python").with_file_name("../lib");
    let installed = std::fs::read_dir(library).unwrap().flatten();
    let here = installed.into_iter().any(|version| {
        let module: &Path = &version.path().join("site-packages/minio");
        module.is_dir()
    });
    if !here {
        skip(test, "needs Python's minio: cargo xtask setup");
        return;
    }
    went_well(&python(&Guard::new(ALL, ""), "minio_client.py", &[]));
}

#[test]
fn a_checking_server_accepts_every_checksum_of_javascript() {
    if !is_root("a_checking_server_accepts_every_checksum_of_javascript") {
        return;
    }
    let guard = Guard::new(ALL, "");
    let script = guard.hand(&fixture("clients/checksums.mjs"));
    let flags = Server::shared().flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let output = guard
        .run_with(Stand::shared(), &flags)
        .args(["node".as_ref(), script.as_os_str()])
        .arg(environment().join("node"))
        .output()
        .expect("guard runs");
    assert!(went_well(&output) >= 10);
    // By default with a checksum, so in chunks.
    let mut streamed = Server::shared().seen("javascript/stream");
    streamed.retain(|request| {
        request.method == "PUT" && !request.path.ends_with("undefined-WHEN_REQUIRED")
    });
    assert!(
        streamed
            .iter()
            .all(|request| request.payload == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        "{streamed:?}"
    );
}
