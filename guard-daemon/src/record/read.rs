//! Reads the journal's lines one by one, in order, without holding more than one.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::chain::{self, LINE_BYTES, Link};
use super::entry::Entry;
use super::segment;
use super::who::Who;
use super::whole::WholeAccess;

/// The lines of a journal, from its first to its last; a writer may go on meanwhile.
pub struct Lines {
    segments: VecDeque<(u32, PathBuf)>,
    open: Option<Open>,
}

/// A line as it stands in a file.
#[derive(Debug)]
pub struct Line {
    /// The segment's number.
    pub segment: u32,
    /// The line's number in it, from 1.
    pub number: u64,
    /// What stands there.
    pub content: Content,
}

/// What stands in a line.
#[derive(Debug)]
pub enum Content {
    /// Its bytes, without the newline.
    Whole(Vec<u8>),
    /// More bytes than guard writes; they are not kept.
    Oversized {
        /// How many.
        bytes: u64,
    },
    /// The end of a file without a newline: a crash, or a writer in the middle of its work.
    Torn {
        /// How many bytes.
        bytes: u64,
    },
}

/// Opens the journal in `directory`.
pub fn lines(directory: &Path) -> io::Result<Lines> {
    Ok(Lines {
        segments: segment::list(directory)?.into(),
        open: None,
    })
}

impl Line {
    /// Its place in the chain; the error says what is wrong with its form.
    pub fn link(&self) -> Result<Link, String> {
        match &self.content {
            Content::Whole(bytes) => chain::read(bytes),
            Content::Oversized { bytes } => Err(format!(
                "{bytes} bytes long, more than guard writes ({LINE_BYTES})"
            )),
            Content::Torn { bytes } => Err(format!("unfinished: {bytes} bytes without a newline")),
        }
    }

    /// Its entry; `None` where this guard does not know the type, or the line is not one.
    pub fn entry(&self) -> Option<Entry> {
        match &self.content {
            Content::Whole(bytes) => serde_json::from_slice(bytes).ok(),
            _ => None,
        }
    }

    /// Whose it is; `None` where the line does not say: the daemon's own, and those of
    /// guards that did not write it yet.
    pub fn who(&self) -> Option<Who> {
        self.behind().who
    }

    /// What is told of the whole that a call asks for; `None` where the entry has it.
    pub fn whole_access(&self) -> Option<WholeAccess> {
        self.behind().whole_access
    }

    fn behind(&self) -> Behind {
        match &self.content {
            Content::Whole(bytes) => serde_json::from_slice(bytes).unwrap_or_default(),
            _ => Behind::default(),
        }
    }
}

/// Members of a line that stand behind its entry.
#[derive(Default, serde::Deserialize)]
struct Behind {
    #[serde(default)]
    who: Option<Who>,
    #[serde(default)]
    whole_access: Option<WholeAccess>,
}

struct Open {
    segment: u32,
    number: u64,
    file: BufReader<File>,
}

impl Iterator for Lines {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(open) = &mut self.open {
                match next_content(&mut open.file) {
                    Ok(Some(content)) => {
                        open.number += 1;
                        let (segment, number) = (open.segment, open.number);
                        return Some(Ok(Line {
                            segment,
                            number,
                            content,
                        }));
                    }
                    Ok(None) => self.open = None,
                    Err(error) => {
                        self.open = None;
                        return Some(Err(error));
                    }
                }
            }
            let (segment, path) = self.segments.pop_front()?;
            match File::open(&path) {
                Ok(file) => {
                    self.open = Some(Open {
                        segment,
                        number: 0,
                        file: BufReader::new(file),
                    });
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn next_content(file: &mut impl BufRead) -> io::Result<Option<Content>> {
    let mut line = Vec::new();
    let mut bytes = 0;
    loop {
        let part = file.fill_buf()?;
        if part.is_empty() {
            return Ok((bytes > 0).then_some(Content::Torn { bytes }));
        }
        let newline = part.iter().position(|&byte| byte == b'\n');
        let taken = newline.unwrap_or(part.len());
        bytes += taken as u64;
        // One byte more than a whole line may have is enough to know that it is too long.
        let room = LINE_BYTES.saturating_sub(line.len());
        line.extend_from_slice(&part[..taken.min(room)]);
        file.consume(taken + usize::from(newline.is_some()));
        if newline.is_some() {
            let fits = bytes < LINE_BYTES as u64;
            return Ok(Some(if fits {
                Content::Whole(line)
            } else {
                Content::Oversized { bytes }
            }));
        }
    }
}
