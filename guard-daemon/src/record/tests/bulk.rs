//! A call that asks for more than an entry has room for is recorded whole.

use std::fs;
use std::process::Command;

use super::super::entry::{Access, Entry, Event};
use super::super::journal::Journal;
use super::super::{read, samples, show};
use super::document::fenced;
use super::{append, runtime, sound};
use crate::session::SessionId;

/// A deletion of so many objects, each asked for twice, in a journal.
fn deleted(keys: usize, pad: usize) -> (tempfile::TempDir, Vec<Access>) {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    let session = SessionId::parse(samples::SESSION).unwrap();
    journal.introduce(&session, &samples::identity()).unwrap();
    let mut decided = samples::decided("a-1");
    let arns: Vec<_> = (0..keys)
        .map(|key| {
            Some(format!(
                "arn:aws:s3:::b/\u{e9} \"{key}\"\u{ad}{}",
                "x".repeat(pad)
            ))
        })
        .chain([None])
        .collect();
    decided.access = ["s3:DeleteObject", "s3:DeleteObjectVersion"]
        .map(|action| Access {
            action: Some(action.to_owned()),
            level: Some("Write".to_owned()),
            resources: arns.clone(),
        })
        .to_vec();
    let access = decided.access.clone();
    let entry = Entry {
        session: Some(session),
        event: Event::ExchangeDecided(Box::new(decided)),
    };
    assert_eq!(runtime().block_on(journal.append(entry)).unwrap(), 1);
    // The number of the next is the one after all of them.
    let next = append(&journal, "after").unwrap();
    drop(journal);
    assert_eq!(sound(directory.path()).last_seq, next);
    (directory, access)
}

fn pairs(access: &[Access]) -> Vec<(Option<String>, Option<String>)> {
    let each = access.iter();
    each.flat_map(|it| it.resources.iter().map(|r| (it.action.clone(), r.clone())))
        .collect()
}

/// The pairs that the parts hold.
fn recorded(directory: &std::path::Path) -> Vec<(Option<String>, Option<String>)> {
    let mut found = Vec::new();
    let mut next = 1;
    for line in read::lines(directory).unwrap() {
        if let Some(Event::ExchangeAccess {
            exchange,
            part,
            access,
        }) = line.unwrap().entry().map(|it| it.event)
        {
            assert_eq!((exchange.as_str(), part), ("a-1", next));
            next += 1;
            found.extend(pairs(&access));
        }
    }
    found
}

#[test]
fn every_resource_of_a_bulk_call_is_recorded() {
    let (directory, access) = deleted(1000, 40);
    let line = read::lines(directory.path()).unwrap().next().unwrap();
    let whole = line.as_ref().unwrap().whole_access().unwrap();
    assert_eq!((whole.count, whole.recorded), (2002, 2002));
    assert!(whole.parts > 1);
    assert_eq!(recorded(directory.path()), pairs(&access));
    let row = show::summary(&line.unwrap()).unwrap();
    let all = format!(
        "2002 resources in all, 2002 of them in the {} entries behind",
        whole.parts
    );
    assert!(row.outcome.contains(&all), "{row:?}");
}

#[test]
fn a_call_beyond_all_bounds_is_still_counted() {
    let (directory, access) = deleted(5000, 900);
    let line = read::lines(directory.path()).unwrap().next().unwrap();
    let whole = line.unwrap().whole_access().unwrap();
    assert_eq!((whole.count, whole.parts), (10_002, 64));
    let recorded = recorded(directory.path());
    assert_eq!(recorded.len() as u64, whole.recorded);
    assert!(recorded.len() > 3000, "{}", recorded.len());
    assert_eq!(recorded, pairs(&access)[..recorded.len()]);
}

#[test]
fn the_documented_digest_is_that_of_the_list() {
    let script = fenced("python").nth(1).unwrap();
    let (directory, _) = deleted(1000, 40);
    let run = || {
        let mut python = Command::new("python3");
        python.args(["-c", script]).arg(directory.path()).arg("a-1");
        python.output()
    };
    let output = match run() {
        Ok(output) => output,
        Err(error) => {
            crate::skip::skip(
                module_path!(),
                format!("python3 does not run here: {error}"),
            );
            return;
        }
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(output.stdout, b"2002 resources, whole\n");
    let path = super::segment(directory.path(), 1);
    let text = fs::read_to_string(&path).unwrap();
    let at = text.rfind("b/").unwrap();
    fs::write(&path, format!("{}c{}", &text[..at], &text[at + 1..])).unwrap();
    assert!(!run().unwrap().status.success());
}
