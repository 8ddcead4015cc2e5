//! What somebody did to the files is found where it was done.

use std::fs;

use super::super::chain::Tip;
use super::super::verify::verify;
use super::{filled, segment};

/// How somebody changes the lines of a journal.
type Edit = fn(&mut Vec<String>);
/// A name, the change, and the lines and words of what is found.
type Tampering = (&'static str, Edit, &'static [(u64, &'static str)]);

#[test]
fn tampering_is_found_where_it_was_done() {
    let table: [Tampering; 6] = [
        (
            "changed",
            |l| l[2] = l[2].replace("deny", "allow"),
            &[(3, "changed")],
        ),
        (
            "removed",
            |l| drop(l.remove(2)),
            &[(3, "seq 3 should stand here"), (3, "does not continue")],
        ),
        (
            "swapped",
            |l| l.swap(2, 3),
            &[
                (3, "seq 3 should stand here"),
                (3, "does not continue"),
                (4, "seq 5 should stand here"),
                (4, "does not continue"),
                (5, "seq 4 should stand here"),
                (5, "does not continue"),
            ],
        ),
        (
            "emptied",
            |l| l[4].clear(),
            &[(5, "not a journal line: too short")],
        ),
        (
            "first lines removed",
            |l| drop(l.drain(..2)),
            &[(1, "seq 1 should stand here"), (1, "does not continue")],
        ),
        (
            "replaced with a matching hash",
            |l| {
                let mut out = Vec::new();
                let mut tip = Tip::default();
                let now = time::OffsetDateTime::now_utc();
                tip.extend(&mut out, now, b"{\"type\":\"forged\"}");
                l[0] = String::from_utf8(out).unwrap().trim_end().to_owned();
            },
            &[(2, "does not continue")],
        ),
    ];
    for (name, edit, expected) in table {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        let path = segment(directory.path(), 1);
        let text = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        edit(&mut lines);
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        let report = verify(directory.path()).unwrap();
        let found = &report.findings;
        assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
        for (finding, (line, text)) in found.iter().zip(expected) {
            assert_eq!(finding.line, *line, "{name}");
            assert!(finding.to_string().contains(text), "{name}: {finding}");
        }
    }
}

#[test]
fn hostile_files_are_findings_not_panics() {
    let directory = tempfile::tempdir().unwrap();
    let many = "\n".repeat(5000);
    fs::write(segment(directory.path(), 1), many).unwrap();
    fs::write(segment(directory.path(), 4_000_000), vec![b'{'; 500_000]).unwrap();
    fs::write(directory.path().join("journal-1.jsonl"), "not ours").unwrap();
    let report = verify(directory.path()).unwrap();
    assert_eq!(report.segments, 2);
    assert_eq!(report.findings.len(), 1000);
    assert_eq!(report.finding_count, 1 + 5000 + 1);
}
