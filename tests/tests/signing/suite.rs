//! AWS's signing test suite, which the `aws-sigv4` crate brings.

use std::path::{Path, PathBuf};
use std::process::Command;

use guard_daemon::aws::sigv4::{SigV4Error, presented};
use serde_json::Value;

use crate::wire::Wire;

/// 30 August 2015, 12:36 GMT: the time of all of them.
const NOW: u64 = 1_440_938_160;
/// The suite's access key ids are shorter than any that exists: guard reads this one and verifies the other.
const AS_LONG_AS_REAL: &str = "AKIDEXAMPLE000000000";

fn suite() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline"])
        .current_dir(guard_tests::workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages
        .iter()
        .find(|it| it["name"] == "aws-sigv4")
        .unwrap();
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    manifest.with_file_name("aws-signing-test-suite")
}

/// A request as the suite writes it: start line, headers (a value may go on in the next line), body.
fn wire(text: &str) -> Wire {
    let text = text.replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let mut lines = head.split('\n');
    let start = lines.next().unwrap();
    let (method, rest) = start.split_once(' ').unwrap();
    let target = rest.strip_suffix(" HTTP/1.1").unwrap_or(rest);
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in lines {
        if let Some(more) = line.strip_prefix([' ', '\t']) {
            let (_, value) = headers.last_mut().unwrap();
            // HTTP has it unfolded before anybody reads it.
            value.push(' ');
            value.push_str(more.trim());
        } else {
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_lowercase(), value.to_owned()));
        }
    }
    let host = headers.iter().find(|it| it.0 == "host").unwrap().1.clone();
    let headers = headers.iter().map(|it| (it.0.as_str(), it.1.as_str()));
    Wire::new(method, host.trim(), target, headers, body.as_bytes())
}

fn run(version: &str) -> (usize, Vec<String>) {
    let mut verified = 0;
    let mut left = Vec::new();
    let mut folders: Vec<PathBuf> = std::fs::read_dir(suite().join(version))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    for folder in folders {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        if !folder.is_dir() {
            continue;
        }
        // Two cases of an older suite have none: nor do they say whose key it is.
        if !folder.join("context.json").exists() {
            left.push(format!(
                "{version}/{}: no context",
                folder.file_name().unwrap().display()
            ));
            continue;
        }
        let context: Value = serde_json::from_str(&read("context.json")).unwrap();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let key = context["credentials"]["access_key_id"].as_str().unwrap();
        let secret = context["credentials"]["secret_access_key"]
            .as_str()
            .unwrap();
        for form in ["header", "query"] {
            let file = folder.join(format!("{form}-signed-request.txt"));
            let Ok(text) = std::fs::read_to_string(file) else {
                continue;
            };
            let name = format!("{version}/{name} {form}");
            let sent = wire(&text);
            // A raw space or letters beyond ASCII cannot be in a request target.
            if sent.path.bytes().any(|byte| !byte.is_ascii_graphic()) {
                left.push(format!("{name}: no request target"));
                continue;
            }
            let read = wire(&text.replace(key, AS_LONG_AS_REAL));
            let found = presented(&read.view()).map(|found| {
                let mut found = found.unwrap();
                key.clone_into(&mut found.access_key_id);
                found
            });
            let checked = found.and_then(|found| sent.check_as(found, secret, NOW));
            let normalized = context["normalize"] != false;
            match checked {
                Ok(_) => verified += 1,
                // guard holds a service other than S3 to the normalised path.
                Err(SigV4Error::Mismatch) if !normalized => {
                    left.push(format!("{name}: not normalised"));
                }
                // A token that was added after signing.
                Err(SigV4Error::Mismatch) if context["omit_session_token"] == true => {
                    left.push(format!("{name}: unsigned token"));
                }
                Err(SigV4Error::NotSigned(header)) if header == "x-amz-security-token" => {
                    left.push(format!("{name}: unsigned token"));
                }
                Err(error) => panic!("{name}: {error}\n{text}"),
            }
        }
    }
    (verified, left)
}

#[test]
fn awss_suite_verifies() {
    for (version, least) in [("v4", 50), ("v4a", 50)] {
        let (verified, left) = run(version);
        crate::row(&format!(
            "{version}: {verified} verified, {} left out: {left:?}",
            left.len()
        ));
        assert!(verified >= least, "{version}: {verified}");
    }
}
