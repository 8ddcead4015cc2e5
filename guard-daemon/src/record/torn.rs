//! What a crash left of lines: set aside in files of their own, durably, and recorded.
//!
//! `journal-000001.torn-5120` is what stood in the first segment from byte 5120 on. Its name ends in `.unrecorded` until
//! the journal has an entry that names it: a crash in between does not lose the recovery, at worst it is recorded twice.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::chain::{self, LINE_BYTES};
use super::segment::private;
use super::writer::WRITE_BYTES;

const UNRECORDED: &str = ".unrecorded";

/// Files that are recorded at one start; each is of a start that did not get far, and the rest wait for the next.
const MOST: usize = 64;

/// What was set aside and is in no entry yet.
pub(super) struct Torn {
    pub(super) bytes: u64,
    /// The file's name once it is recorded.
    pub(super) kept_in: String,
}

/// Where the first line begins of which a crash left a part unwritten. It reads as zeros, which no line has.
///
/// Of the last write alone any part may be missing, also where its last line is whole. Zeros before it are no crash's
/// work and stay where they are: `guard journal verify` tells of them.
pub(super) fn hole(file: &File, length: u64) -> io::Result<Option<u64>> {
    let start = length.saturating_sub((WRITE_BYTES + LINE_BYTES) as u64);
    let mut tail = vec![0; usize::try_from(length - start).unwrap_or(WRITE_BYTES)];
    file.read_exact_at(&mut tail, start)?;
    let Some(zero) = tail.iter().position(|&byte| byte == 0) else {
        return Ok(None);
    };
    let begin = match tail[..zero].iter().rposition(|&byte| byte == b'\n') {
        Some(end) => end + 1,
        None if start == 0 => 0,
        None => return Ok(None),
    };
    let mut behind: Vec<&[u8]> = tail[zero..].split(|&byte| byte == b'\n').skip(1).collect();
    // Nothing, or an unfinished line.
    behind.pop();
    let mut whole = behind.into_iter().filter(|line| !line.contains(&0));
    // The lines of one write have the same time.
    let time = |line: &[u8]| {
        let link = chain::read(line).ok().filter(|link| link.intact);
        link.map(|link| link.time)
    };
    let one = match whole.next().map(time) {
        None => true,
        Some(None) => false,
        Some(first) => whole.all(|line| time(line) == first),
    };
    Ok(one.then_some(start + begin as u64))
}

/// Copies what stands behind `end` to a file of its own, durably, and only then cuts it off.
pub(super) fn set_aside(
    directory: &Path,
    path: &Path,
    mut file: &File,
    end: u64,
) -> io::Result<()> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut name = format!("{stem}.torn-{end}");
    for again in 2.. {
        let taken = |name: &str| directory.join(name).symlink_metadata().is_ok();
        if !taken(&name) && !taken(&format!("{name}{UNRECORDED}")) {
            break;
        }
        name = format!("{stem}.torn-{end}.{again}");
    }
    let mut kept = private()
        .write(true)
        .create_new(true)
        .open(directory.join(format!("{name}{UNRECORDED}")))?;
    file.seek(SeekFrom::Start(end))?;
    io::copy(&mut file.take(u64::MAX), &mut kept)?;
    kept.sync_all()?;
    File::open(directory)?.sync_all()?;
    file.set_len(end)?;
    file.sync_all()
}

/// What is to be recorded, in the order of the names.
pub(super) fn unrecorded(directory: &Path) -> io::Result<Vec<Torn>> {
    let mut found = Vec::new();
    for entry in directory.read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().and_then(|it| it.strip_suffix(UNRECORDED));
        if let Some(name) = name.filter(|it| it.contains(".torn-")) {
            found.push(Torn {
                bytes: entry.metadata()?.len(),
                kept_in: name.to_owned(),
            });
        }
    }
    found.sort_by(|a, b| a.kept_in.cmp(&b.kept_in));
    found.truncate(MOST);
    Ok(found)
}

/// Gives the files that the journal has entries for now the names that these say.
pub(super) fn recorded(directory: &Path, torn: &[Torn]) -> io::Result<()> {
    for Torn { kept_in, .. } in torn {
        fs::rename(
            directory.join(format!("{kept_in}{UNRECORDED}")),
            directory.join(kept_in),
        )?;
    }
    if torn.is_empty() {
        return Ok(());
    }
    File::open(directory)?.sync_all()
}
