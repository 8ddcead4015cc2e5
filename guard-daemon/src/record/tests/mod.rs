//! The journal as a whole: durability, crashes, full and failing disks, tampering.

mod bulk;
mod crash;
mod document;
mod rows;
mod tampering;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::chain::Tip;
use super::entry::{Entry, Event};
use super::journal::{Journal, JournalError};
use super::segment::{SEGMENT_BYTES, Segments, Store};
use super::verify::{Problem, Report, verify};
use super::who::Who;
use super::{read, samples};
use crate::session::SessionId;

fn entry(cause: &str) -> Entry {
    Entry {
        session: None,
        event: Event::SessionEnded {
            cause: cause.to_owned(),
        },
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

fn append(journal: &Journal, cause: &str) -> Result<u64, JournalError> {
    runtime().block_on(journal.append(entry(cause)))
}

fn sound(directory: &Path) -> Report {
    let report = verify(directory).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    report
}

fn segment(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("journal-{number:06}.jsonl"))
}

/// A journal with one entry of every type.
fn filled(directory: &Path) {
    let journal = Journal::open(directory).unwrap();
    let session = SessionId::parse(samples::SESSION).unwrap();
    journal.introduce(&session, &samples::identity()).unwrap();
    for entry in samples::all() {
        runtime().block_on(journal.append(entry)).unwrap();
    }
}

#[test]
fn every_entry_of_a_session_says_whose_it_is() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    sound(directory.path());
    let who = Who::of(&samples::identity());
    for line in read::lines(directory.path()).unwrap() {
        let line = line.unwrap();
        let own = line.link().unwrap().session.is_none();
        assert_eq!(line.who(), (!own).then(|| who.clone()), "{line:?}");
        assert!(line.entry().is_some());
    }
    // What is under way as a session ends is recorded after it; and what an older guard wrote reads as before.
    let journal = Journal::open(directory.path()).unwrap();
    let session = SessionId::random();
    let ended = |session: &SessionId| Entry {
        session: Some(session.clone()),
        ..entry("late")
    };
    runtime().block_on(journal.append(ended(&session))).unwrap();
    journal.introduce(&session, &samples::identity()).unwrap();
    journal.forget(&session);
    runtime().block_on(journal.append(ended(&session))).unwrap();
    let lines: Vec<_> = read::lines(directory.path())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let [.., before, after] = &lines[..] else {
        panic!("two entries more")
    };
    assert_eq!((before.who(), after.who()), (None, Some(who)));
    assert!(before.entry().is_some());
}

#[test]
fn entries_are_numbered_chained_and_private() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("deep/journal");
    let journal = Journal::open(&directory).unwrap();
    assert_eq!(append(&journal, "a").unwrap(), 1);
    assert_eq!(append(&journal, "b").unwrap(), 2);
    drop(journal);
    let journal = Journal::open(&directory).unwrap();
    assert_eq!(append(&journal, "c").unwrap(), 3);
    let report = sound(&directory);
    assert_eq!(
        (report.segments, report.entries, report.last_seq),
        (1, 3, 3)
    );
    assert!(report.in_use);
    drop(journal);
    assert!(!verify(&directory).unwrap().in_use);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&segment(&directory, 1)), 0o600);
}

#[test]
fn a_directory_open_to_others_is_closed_to_them() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Journal::open(directory.path()).unwrap();
    assert_eq!(
        fs::metadata(directory.path()).unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[test]
fn only_one_writer_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = Journal::open(directory.path()).unwrap();
    let error = Journal::open(directory.path()).err().unwrap();
    assert!(matches!(error, JournalError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("in use by another guard"));
    drop(first);
    Journal::open(directory.path()).unwrap();
}

#[test]
fn the_chain_runs_on_across_segments() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open_with(directory.path(), 1500).unwrap();
    for _ in 0..12 {
        append(&journal, "x").unwrap();
    }
    drop(journal);
    let report = sound(directory.path());
    assert!(report.segments >= 3, "{report:?}");
    assert_eq!(report.entries, 12);
    for number in 1..=u32::try_from(report.segments).unwrap() {
        assert!(
            fs::metadata(segment(directory.path(), number))
                .unwrap()
                .len()
                <= 1500
        );
    }
    // A crash right after a rotation leaves an empty last segment.
    let next = u32::try_from(report.segments).unwrap() + 1;
    fs::write(segment(directory.path(), next), "").unwrap();
    let journal = Journal::open_with(directory.path(), 1500).unwrap();
    assert_eq!(append(&journal, "after").unwrap(), 13);
    drop(journal);
    sound(directory.path());
    fs::remove_file(segment(directory.path(), 2)).unwrap();
    let problems: Vec<_> = verify(directory.path())
        .unwrap()
        .findings
        .into_iter()
        .map(|f| f.problem)
        .collect();
    assert!(problems.contains(&Problem::MissingSegment), "{problems:?}");
    assert!(problems.contains(&Problem::BadPrev), "{problems:?}");
}

/// Counts and fails, around the real files.
struct Disk {
    inner: Segments,
    syncs: Arc<AtomicU64>,
    fail_sync: Arc<AtomicBool>,
    fail_write: Arc<AtomicBool>,
}

impl Store for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.fail_write.load(Ordering::Relaxed) {
            // As a full disk does: a part arrives.
            self.inner.write(&bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        // As a disk takes a while, entries gather meanwhile.
        thread::sleep(Duration::from_millis(5));
        if self.fail_sync.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        self.inner.sync()
    }

    fn rollback(&mut self) -> io::Result<()> {
        self.inner.rollback()
    }
}

struct Bench {
    directory: tempfile::TempDir,
    journal: Journal,
    syncs: Arc<AtomicU64>,
    fail_sync: Arc<AtomicBool>,
    fail_write: Arc<AtomicBool>,
}

fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let (inner, tip, _) = Segments::open(directory.path(), SEGMENT_BYTES).unwrap();
    assert_eq!(tip, Tip::default());
    let syncs = Arc::<AtomicU64>::default();
    let fail_sync = Arc::<AtomicBool>::default();
    let fail_write = Arc::<AtomicBool>::default();
    let disk = Disk {
        inner,
        syncs: Arc::clone(&syncs),
        fail_sync: Arc::clone(&fail_sync),
        fail_write: Arc::clone(&fail_write),
    };
    let journal = Journal::start(disk, tip, &[]).unwrap();
    Bench {
        directory,
        journal,
        syncs,
        fail_sync,
        fail_write,
    }
}

#[test]
fn concurrent_appends_share_their_syncs() {
    const ENTRIES: u64 = 2000;
    let bench = bench();
    let mut numbers = runtime().block_on(async {
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..ENTRIES {
            let journal = bench.journal.clone();
            set.spawn(async move { journal.append(entry("x")).await.unwrap() });
        }
        set.join_all().await
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=ENTRIES).collect::<Vec<_>>());
    let syncs = bench.syncs.load(Ordering::Relaxed);
    assert!(syncs <= ENTRIES / 50, "{syncs} syncs for {ENTRIES} entries");
    assert_eq!(sound(bench.directory.path()).entries, ENTRIES);
}

#[test]
fn a_failed_write_fails_its_entries_only_and_leaves_no_trace() {
    let bench = bench();
    append(&bench.journal, "before").unwrap();
    bench.fail_write.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let error = append(&bench.journal, "lost").unwrap_err();
        assert!(matches!(error, JournalError::Write { .. }), "{error}");
    }
    bench.fail_write.store(false, Ordering::Relaxed);
    assert_eq!(append(&bench.journal, "after").unwrap(), 2);
    assert_eq!(sound(bench.directory.path()).entries, 2);
    let text = fs::read_to_string(segment(bench.directory.path(), 1)).unwrap();
    assert!(!text.contains("lost"));
}

#[test]
fn a_failed_sync_ends_the_journal_for_good() {
    let bench = bench();
    append(&bench.journal, "before").unwrap();
    bench.fail_sync.store(true, Ordering::Relaxed);
    let error = append(&bench.journal, "doubtful").unwrap_err();
    assert!(matches!(error, JournalError::Failed { .. }), "{error}");
    bench.fail_sync.store(false, Ordering::Relaxed);
    let error = append(&bench.journal, "after").unwrap_err();
    assert!(
        error.to_string().contains("until guard is restarted"),
        "{error}"
    );
    let Bench {
        directory, journal, ..
    } = bench;
    drop(journal);
    let journal = Journal::open(directory.path()).unwrap();
    assert_eq!(append(&journal, "restarted").unwrap(), 2);
    sound(directory.path());
}

#[test]
fn an_unfinished_last_line_is_set_aside_and_recorded() {
    for torn in [b"{\"v\":1,\"seq\":10,\"ti".to_vec(), vec![0; 200_000]] {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        let path = segment(directory.path(), 1);
        let before = fs::metadata(&path).unwrap().len();
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(&torn)
            .unwrap();
        assert_eq!(
            verify(directory.path()).unwrap().findings[0].problem,
            Problem::Torn
        );
        let journal = Journal::open(directory.path()).unwrap();
        append(&journal, "after").unwrap();
        drop(journal);
        let kept_in = format!("journal-000001.torn-{before}");
        assert_eq!(fs::read(directory.path().join(&kept_in)).unwrap(), torn);
        // The recovery, and the entry after it.
        let before = samples::all().len();
        assert_eq!(sound(directory.path()).entries, before as u64 + 2);
        let recovered = read::lines(directory.path())
            .unwrap()
            .nth(before)
            .unwrap()
            .unwrap();
        let Some(Event::JournalRecovered {
            bytes,
            kept_in: named,
        }) = recovered.entry().map(|entry| entry.event)
        else {
            panic!("no recovery recorded: {recovered:?}");
        };
        assert_eq!((bytes, named), (torn.len() as u64, kept_in));
    }
}

#[test]
fn a_crash_before_the_recovery_is_recorded_does_not_lose_it() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    let path = segment(directory.path(), 1);
    let before = fs::metadata(&path).unwrap().len();
    let tear = |torn: &[u8]| {
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(torn).unwrap();
    };
    // Two starts that end as soon as the unfinished line is cut off, and one that goes on.
    for torn in [&b"{\"v\":1"[..], b"{\"v\":1,\"seq\":10"] {
        tear(torn);
        drop(Segments::open(directory.path(), SEGMENT_BYTES).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().len(), before);
    }
    drop(Journal::open(directory.path()).unwrap());
    drop(Journal::open(directory.path()).unwrap());
    let recovered: Vec<_> = read::lines(directory.path())
        .unwrap()
        .skip(samples::all().len())
        .map(|line| match line.unwrap().entry().unwrap().event {
            Event::JournalRecovered { bytes, kept_in } => (bytes, kept_in),
            other => panic!("{other:?}"),
        })
        .collect();
    let name = format!("journal-000001.torn-{before}");
    assert_eq!(recovered, [(6, name.clone()), (15, format!("{name}.2"))]);
    for (bytes, name) in recovered {
        assert_eq!(
            fs::metadata(directory.path().join(name)).unwrap().len(),
            bytes
        );
    }
    sound(directory.path());
}

#[test]
fn a_damaged_last_line_is_refused_with_its_place() {
    for (damage, expected) in [
        ("\"cause\":\"exited\"", "does not match its hash"),
        ("\"v\":1", "version 9 is not 1"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(directory.path()).unwrap();
        append(&journal, "first").unwrap();
        append(&journal, "exited").unwrap();
        drop(journal);
        let path = segment(directory.path(), 1);
        let text = fs::read_to_string(&path).unwrap();
        let last = text.rfind("{\"v\"").unwrap();
        let bad = damage.replace("exited", "forged").replace(":1", ":9");
        fs::write(
            &path,
            format!("{}{}", &text[..last], text[last..].replace(damage, &bad)),
        )
        .unwrap();
        let error = Journal::open(directory.path()).err().unwrap().to_string();
        for part in [
            expected,
            "journal-000001.jsonl",
            &format!("at byte {last}"),
            "guard journal verify",
        ] {
            assert!(error.contains(part), "{part:?} not in {error}");
        }
    }
}

#[test]
fn a_last_line_without_end_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    let mut long = vec![b'x'; 300_000];
    long.push(b'\n');
    let path = segment(directory.path(), 1);
    OpenOptions::new()
        .append(true)
        .open(path)
        .unwrap()
        .write_all(&long)
        .unwrap();
    let error = Journal::open(directory.path()).err().unwrap().to_string();
    assert!(error.contains("longer than guard writes"), "{error}");
    let report = verify(directory.path()).unwrap();
    assert!(
        matches!(&report.findings[..], [finding] if finding.line == samples::all().len() as u64 + 1),
        "{report:?}"
    );
}
