//! The journal as a whole: durability, crashes, full and failing disks, tampering.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::chain::Tip;
use super::entry::{Entry, Event};
use super::journal::{Journal, JournalError};
use super::segment::{SEGMENT_BYTES, Segments, Store};
use super::verify::{Problem, Report, verify};
use super::{read, samples, show};

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
    for entry in samples::all() {
        runtime().block_on(journal.append(entry)).unwrap();
    }
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
    for torn in [&b"{\"v\":1,\"seq\":10,\"ti"[..], &[0; 200_000]] {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        let path = segment(directory.path(), 1);
        let before = fs::metadata(&path).unwrap().len();
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(torn)
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
        assert_eq!(sound(directory.path()).entries, 11);
        let recovered = read::lines(directory.path())
            .unwrap()
            .nth(9)
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
        matches!(&report.findings[..], [finding] if finding.line == 10),
        "{report:?}"
    );
}

/// How somebody changes the lines of a journal.
type Edit = fn(&mut Vec<String>);

#[test]
fn tampering_is_found_where_it_was_done() {
    let table: [(&str, Edit, &[(u64, Problem)]); 6] = [
        (
            "changed",
            |l| l[2] = l[2].replace("deny", "allow"),
            &[(3, Problem::BadHash)],
        ),
        (
            "removed",
            |l| drop(l.remove(2)),
            &[(3, Problem::Gap { expected: 3 }), (3, Problem::BadPrev)],
        ),
        (
            "swapped",
            |l| l.swap(2, 3),
            &[
                (3, Problem::Gap { expected: 3 }),
                (3, Problem::BadPrev),
                (4, Problem::Gap { expected: 5 }),
                (4, Problem::BadPrev),
                (5, Problem::Gap { expected: 4 }),
                (5, Problem::BadPrev),
            ],
        ),
        (
            "emptied",
            |l| l[4].clear(),
            &[(5, Problem::Malformed("too short for a journal line".into()))],
        ),
        (
            "first lines removed",
            |l| drop(l.drain(..2)),
            &[(1, Problem::Gap { expected: 1 }), (1, Problem::BadPrev)],
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
            &[(2, Problem::BadPrev)],
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
        let found: Vec<_> = report
            .findings
            .iter()
            .map(|f| (f.line, f.problem.clone()))
            .collect();
        assert_eq!(found, expected, "{name}");
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
                "record::tests::crash_child",
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
            eprintln!("skipped: mounting a tmpfs needs root: {error}");
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

const DOCUMENT: &str = include_str!("../../../docs/journal.md");

fn fenced(language: &str) -> impl Iterator<Item = &'static str> {
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
        for (key, value) in now {
            assert_eq!(
                documented[&key], value,
                "docs/journal.md is not current: {key}"
            );
        }
    }
}

/// Prints the lines for docs/journal.md: `cargo test … print_documented_examples -- --ignored --nocapture`.
#[test]
#[ignore = "prints, checks nothing"]
fn print_documented_examples() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    println!(
        "{}",
        fs::read_to_string(segment(directory.path(), 1)).unwrap()
    );
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
            eprintln!("skipped: python3 does not run here: {error}");
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
