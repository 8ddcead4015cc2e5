//! docs/journal.md says what is true, and every entry can be shown.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::super::journal::Journal;
use super::super::who::Who;
use super::super::{read, samples, show};
use super::{append, filled, runtime, segment, sound};

const DOCUMENT: &str = include_str!("../../../../docs/journal.md");

pub(super) fn fenced(language: &str) -> impl Iterator<Item = &'static str> {
    let open = format!("```{language}\n");
    DOCUMENT
        .match_indices(&open)
        .map(|(at, _)| &DOCUMENT[at + open.len()..])
        .map(|rest| rest.split("```").next().unwrap())
        .collect::<Vec<_>>()
        .into_iter()
}

#[test]
fn the_documented_examples_are_a_journal_with_every_entry_type() {
    let directory = tempfile::tempdir().unwrap();
    let lines: String = fenced("json").collect();
    fs::write(segment(directory.path(), 1), &lines).unwrap();
    assert_eq!(sound(directory.path()).entries, samples::all().len() as u64);
    for (line, sample) in lines.lines().zip(samples::all()) {
        let documented: serde_json::Value = serde_json::from_str(line).unwrap();
        let serde_json::Value::Object(now) = serde_json::to_value(sample).unwrap() else {
            panic!()
        };
        let own = documented["session"].is_null();
        let who = serde_json::to_value(Who::of(&samples::identity())).unwrap();
        assert_eq!(documented.get("who"), (!own).then_some(&who));
        for (key, value) in now {
            assert_eq!(
                documented[&key], value,
                "docs/journal.md is not current: {key}"
            );
        }
    }
}

#[test]
fn the_documented_python_verifier_agrees() {
    let script = fenced("python").next().unwrap();
    let run = |directory: &Path| {
        Command::new("python3")
            .arg("-c")
            .arg(script)
            .arg(directory)
            .output()
    };
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open_with(directory.path(), 3000).unwrap();
    for entry in samples::all() {
        runtime().block_on(journal.append(entry)).unwrap();
    }
    append(&journal, "ünïcode \u{1} \"quoted\"").unwrap();
    drop(journal);
    let output = match run(directory.path()) {
        Ok(output) => output,
        Err(error) => {
            crate::skip::skip(
                module_path!(),
                format!("python3 does not run here: {error}"),
            );
            return;
        }
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report = sound(directory.path());
    assert!(report.segments > 1);
    assert!(
        said.contains(&format!("{} {}", report.last_seq, report.last_hash)),
        "{said}"
    );
    let path = segment(directory.path(), 1);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("runner-3", "runner-4", 1)).unwrap();
    assert!(!run(directory.path()).unwrap().status.success());
}

#[test]
fn every_entry_type_has_a_summary() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    let shown: Vec<_> = read::lines(directory.path())
        .unwrap()
        .map(|line| show::summary(&line.unwrap()).unwrap())
        .collect();
    assert_eq!(shown.len(), samples::all().len());
    for (at, summary) in shown.iter().enumerate() {
        assert_eq!(summary.seq, at as u64 + 1);
        assert!(
            !summary.what.is_empty() && !summary.what.contains("newer guard"),
            "{summary:?}"
        );
    }
    let decided = &shown[2];
    assert_eq!(decided.process, "aws[41307]");
    assert_eq!(decided.what, "s3:DeleteBucket arn:aws:s3:::reports");
    assert_eq!(decided.decision, "deny");
    assert_eq!(decided.session, samples::SESSION);
    assert!(shown[3].outcome.starts_with("200, "), "{:?}", shown[3]);
    assert!(
        shown[3].outcome.ends_with("masked SecretString"),
        "{:?}",
        shown[3]
    );
}
