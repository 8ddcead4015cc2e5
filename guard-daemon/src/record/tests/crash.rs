//! A writer that is killed, and a disk that is full.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::super::journal::{Journal, JournalError};
use super::super::segment::{SEGMENT_BYTES, Segments};
use super::super::verify::verify;
use super::super::writer::Writer;
use super::{append, entry, segment, sound};

/// A journal of two writes of so many entries each, and where the second begins.
fn two_writes(entries: usize) -> (tempfile::TempDir, u64) {
    let directory = tempfile::tempdir().unwrap();
    let (store, tip, _) = Segments::open(directory.path(), SEGMENT_BYTES).unwrap();
    let mut writer = Writer::new(store, tip);
    let entry = serde_json::to_vec(&entry("crash")).unwrap();
    let group = vec![entry; entries];
    writer.commit(&group).unwrap();
    let begin = fs::metadata(segment(directory.path(), 1)).unwrap().len();
    writer.commit(&group).unwrap();
    (directory, begin)
}

#[test]
fn a_write_of_which_a_part_never_reached_the_disk_is_set_aside() {
    let (directory, begin) = two_writes(300);
    let path = segment(directory.path(), 1);
    let whole = fs::read(&path).unwrap();
    let after = usize::try_from(begin).unwrap();
    // A block in the middle of the last write; one of its beginning; all but its last line.
    let second = after + whole[after..].iter().position(|&b| b == b'\n').unwrap() + 1;
    let last = whole[..whole.len() - 1]
        .iter()
        .rposition(|&b| b == b'\n')
        .unwrap()
        + 1;
    for (from, to, kept) in [
        (second + 10, second + 4106, second),
        (second, second + 4096, second),
        (after, after + 4096, after),
        (after, last - 1, after),
        (after, whole.len(), after),
    ] {
        let mut torn = whole.clone();
        torn[from..to].fill(0);
        fs::write(&path, &torn).unwrap();
        drop(Journal::open(directory.path()).unwrap());
        let lines = 300 + u64::from(kept == second) + 1;
        assert_eq!(sound(directory.path()).entries, lines, "{from} {to}");
        let name = directory.path().join(format!("journal-000001.torn-{kept}"));
        assert_eq!(fs::read(&name).unwrap(), torn[kept..]);
        fs::remove_file(name).unwrap();
    }
}

#[test]
fn zeros_in_what_was_acknowledged_are_found_and_left() {
    let (directory, begin) = two_writes(300);
    let path = segment(directory.path(), 1);
    let mut whole = fs::read(&path).unwrap();
    whole[1000..5096].fill(0);
    assert!(begin > 5096);
    fs::write(&path, &whole).unwrap();
    drop(Journal::open(directory.path()).unwrap());
    assert_eq!(fs::read(&path).unwrap(), whole);
    assert!(verify(directory.path()).unwrap().finding_count > 0);
}

const CRASH_DIRECTORY: &str = "GUARD_TEST_JOURNAL_CRASH_DIRECTORY";

/// Not a test of its own: `a_killed_writer_loses_nothing_it_acknowledged` runs it as a child.
#[test]
fn crash_child() {
    let Some(directory) = std::env::var_os(CRASH_DIRECTORY) else {
        return;
    };
    let journal = Journal::open_with(Path::new(&directory), 20_000).unwrap();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap()
        .block_on(async {
            let mut set = tokio::task::JoinSet::new();
            for _ in 0..8 {
                let journal = journal.clone();
                set.spawn(async move {
                    loop {
                        let seq = journal.append(entry("crash")).await.unwrap();
                        let mut out = io::stdout().lock();
                        writeln!(out, "\nacknowledged {seq}").unwrap();
                        out.flush().unwrap();
                    }
                });
            }
            set.join_all().await;
        });
}

#[test]
fn a_killed_writer_loses_nothing_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "record::tests::crash::crash_child",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(CRASH_DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut acknowledged = 0;
        let number = |line: &str| line.strip_prefix("acknowledged ")?.parse::<u64>().ok();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut count = 0;
        for line in lines.map_while(Result::ok) {
            if let Some(seq) = number(&line) {
                acknowledged = acknowledged.max(seq);
                count += 1;
                if count == 150 + 37 * round {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert!(
            acknowledged > last,
            "the child acknowledged nothing in round {round}"
        );
        let journal = Journal::open_with(directory.path(), 20_000).unwrap();
        drop(journal);
        let report = sound(directory.path());
        assert!(
            report.last_seq >= acknowledged,
            "{report:?} lost entries up to {acknowledged}"
        );
        assert_eq!(report.entries, report.last_seq);
        last = acknowledged;
    }
}

/// A tmpfs of one MiB, gone again when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Result<Self, nix::Error> {
        let directory = tempfile::tempdir().unwrap();
        let flags = nix::mount::MsFlags::MS_NOSUID | nix::mount::MsFlags::MS_NODEV;
        nix::mount::mount(
            Some("guard-test"),
            directory.path(),
            Some("tmpfs"),
            flags,
            Some("size=1m,mode=0700"),
        )?;
        Ok(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.0.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_refuses_entries_until_there_is_room() {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(error) => {
            crate::skip::skip(
                module_path!(),
                format!("mounting a tmpfs needs root: {error}"),
            );
            return;
        }
    };
    let filler = disk.0.path().join("filler");
    fs::write(&filler, vec![0; 700 * 1024]).unwrap();
    let directory = disk.0.path().join("journal");
    let journal = Journal::open(&directory).unwrap();
    let long = "x".repeat(8000);
    let mut taken = 0;
    let error = loop {
        match append(&journal, &long) {
            Ok(seq) => taken = seq,
            Err(error) => break error,
        }
        assert!(taken < 1000, "the disk never filled");
    };
    assert!(matches!(error, JournalError::Write { .. }), "{error:?}");
    assert!(error.to_string().contains("free space"), "{error}");
    assert!(taken > 10);
    append(&journal, &long).unwrap_err();
    assert_eq!(sound(&directory).entries, taken);
    fs::remove_file(filler).unwrap();
    for more in 1..=20 {
        assert_eq!(append(&journal, &long).unwrap(), taken + more);
    }
    drop(journal);
    assert_eq!(sound(&directory).entries, taken + 20);
}
