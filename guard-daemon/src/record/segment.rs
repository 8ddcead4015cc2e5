//! The journal's files: `journal-000001.jsonl` and so on, one directory, one writer.
//!
//! The chain runs on from one segment into the next. Whoever writes holds a lock on `journal.lock`.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::chain::{self, LINE_BYTES, Tip};
use super::journal::JournalError;
use super::torn::{self, Torn};

/// Bytes of a segment at the most.
pub(super) const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// `guard journal verify` holds the lock for an instant to see whether anybody writes: wait it out.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(30);

/// Where lines go. The writer is generic over it, so that tests can make a disk fail.
pub(super) trait Store: Send + 'static {
    /// Adds bytes behind those that are durable.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything written durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Takes back everything that was written and is not known to be durable.
    fn rollback(&mut self) -> io::Result<()>;
}

/// The open last segment.
pub(super) struct Segments {
    directory: PathBuf,
    limit: u64,
    number: u32,
    file: File,
    /// Bytes of the file that are durable.
    durable: u64,
    /// Bytes of the file, durable or not.
    written: u64,
    _lock: File,
}

impl Segments {
    /// Opens the directory for writing, at the end of its chain. `limit` is `SEGMENT_BYTES` outside tests. What was set
    /// aside, now or before, and is not recorded yet comes along.
    pub(super) fn open(
        directory: &Path,
        limit: u64,
    ) -> Result<(Self, Tip, Vec<Torn>), JournalError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| JournalError::open(&path, source)
        };
        make_directory(directory).map_err(failed(directory))?;
        let lock = lock(directory)?;
        let mut present = list(directory).map_err(failed(directory))?;
        if present.is_empty() {
            let first = path_of(directory, 1);
            create(directory, &first).map_err(failed(&first))?;
            present.push((1, first));
        }
        let mut tip = None;
        for (at, (_, path)) in present.iter().enumerate().rev() {
            let file = open_append(path).map_err(failed(path))?;
            let (mut end, length) = whole_bytes(&file).map_err(failed(path))?;
            let last = at == present.len() - 1;
            if last && let Some(hole) = torn::hole(&file, length).map_err(failed(path))? {
                end = end.min(hole);
            }
            if end < length && last {
                torn::set_aside(directory, path, &file, end).map_err(failed(path))?;
            } else if end < length {
                let reason = "an earlier segment ends in an unfinished line".to_owned();
                return Err(JournalError::Broken {
                    path: path.clone(),
                    offset: end,
                    reason,
                });
            }
            if end > 0 {
                tip = Some(last_link(path, &file, end)?);
                break;
            }
        }
        let (number, path) = present.pop().unwrap_or_else(|| (1, path_of(directory, 1)));
        let file = open_append(&path).map_err(failed(&path))?;
        let length = file.metadata().map_err(failed(&path))?.len();
        let own = Self {
            directory: directory.to_owned(),
            limit,
            number,
            file,
            durable: length,
            written: length,
            _lock: lock,
        };
        let torn = torn::unrecorded(directory).map_err(failed(directory))?;
        Ok((own, tip.unwrap_or_default(), torn))
    }

    fn rotate(&mut self) -> io::Result<()> {
        let number = self.number + 1;
        self.file = create(&self.directory, &path_of(&self.directory, number))?;
        self.number = number;
        self.durable = 0;
        self.written = 0;
        Ok(())
    }
}

impl Store for Segments {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.written > 0 && self.written + bytes.len() as u64 > self.limit {
            self.rotate()?;
        }
        // Counted before the write: a write that fails may have written a part.
        self.written += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.durable = self.written;
        Ok(())
    }

    fn rollback(&mut self) -> io::Result<()> {
        if self.written != self.durable {
            self.file.set_len(self.durable)?;
            self.written = self.durable;
        }
        Ok(())
    }
}

/// The segments in a directory, in order.
pub(super) fn list(directory: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let mut found = Vec::new();
    for entry in directory.read_dir()? {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(number_of) {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a writer has the journal open now.
pub(super) fn in_use(directory: &Path) -> bool {
    File::open(directory.join(LOCK_FILE))
        .is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

const LOCK_FILE: &str = "journal.lock";

fn number_of(name: &str) -> Option<u32> {
    let number: u32 = name
        .strip_prefix("journal-")?
        .strip_suffix(".jsonl")?
        .parse()
        .ok()?;
    (number > 0 && name == name_of(number)).then_some(number)
}

fn name_of(number: u32) -> String {
    format!("journal-{number:06}.jsonl")
}

fn path_of(directory: &Path, number: u32) -> PathBuf {
    directory.join(name_of(number))
}

fn make_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    // An existing directory may have come from a package or a careless `mkdir`.
    if directory.metadata()?.permissions().mode() & 0o777 != 0o700 {
        std::fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    }
    match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

fn lock(directory: &Path) -> Result<File, JournalError> {
    let path = directory.join(LOCK_FILE);
    let file = private()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(|source| JournalError::open(&path, source))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(source)) => return Err(JournalError::open(&path, source)),
        }
    }
    Err(JournalError::InUse {
        directory: directory.to_owned(),
    })
}

pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
    options
}

fn open_append(path: &Path) -> io::Result<File> {
    private().read(true).append(true).open(path)
}

/// Makes a new file that is still there after a crash.
fn create(directory: &Path, path: &Path) -> io::Result<File> {
    let file = private()
        .read(true)
        .append(true)
        .create_new(true)
        .open(path)?;
    if let Err(error) = File::open(directory).and_then(|directory| directory.sync_all()) {
        // Nothing is in it yet, and the next try makes it again.
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    Ok(file)
}

/// The number of bytes up to and including the last newline, and the file's length.
fn whole_bytes(file: &File) -> io::Result<(u64, u64)> {
    let length = file.metadata()?.len();
    let mut end = length;
    let mut chunk = vec![0; LINE_BYTES];
    while end > 0 {
        let start = end.saturating_sub(LINE_BYTES as u64);
        let part = &mut chunk[..usize::try_from(end - start).unwrap_or(LINE_BYTES)];
        file.read_exact_at(part, start)?;
        if let Some(at) = part.iter().rposition(|&byte| byte == b'\n') {
            return Ok((start + at as u64 + 1, length));
        }
        end = start;
    }
    Ok((0, length))
}

/// Reads the line that ends at `end` (after its newline) and checks its hash.
fn last_link(path: &Path, file: &File, end: u64) -> Result<Tip, JournalError> {
    let failed = |source| JournalError::open(path, source);
    let start = end.saturating_sub(LINE_BYTES as u64);
    let mut tail = vec![0; usize::try_from(end - 1 - start).unwrap_or(LINE_BYTES)];
    file.read_exact_at(&mut tail, start).map_err(failed)?;
    let line = tail
        .rsplit(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    let offset = end - 1 - line.len() as u64;
    let broken = |reason| JournalError::Broken {
        path: path.to_owned(),
        offset,
        reason,
    };
    if offset == start && start > 0 {
        return Err(broken(
            "the last line is longer than guard writes".to_owned(),
        ));
    }
    let place = chain::read(line).map_err(broken)?;
    if !place.intact {
        return Err(broken(format!(
            "the last line (seq {}) does not match its hash",
            place.seq
        )));
    }
    Ok(Tip {
        seq: place.seq,
        hash: place.hash,
    })
}
