//! Checks a journal's chain from its first line to its last.
//!
//! The chain shows every change, removal and insertion inside it. It cannot show that lines are missing
//! at the very end: compare the last hash with one that was kept elsewhere.

use std::fmt;
use std::io;
use std::path::Path;

use super::chain::{Digest, Tip};
use super::read::{self, Content};
use super::segment;

/// Findings that are kept; further ones are only counted.
const FINDINGS: usize = 1000;

/// What a check came to.
#[derive(Debug)]
pub struct Report {
    /// Segments read.
    pub segments: usize,
    /// Lines read that have a journal line's form.
    pub entries: u64,
    /// The last such line's number.
    pub last_seq: u64,
    /// The last such line's hash.
    pub last_hash: Digest,
    /// A writer had the journal open.
    pub in_use: bool,
    /// What is wrong, in order, 1000 at the most.
    pub findings: Vec<Finding>,
    /// How many findings there are, kept or not.
    pub finding_count: u64,
}

/// Something wrong with a line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The segment's number.
    pub segment: u32,
    /// The line's number in it, from 1; 0 for the segment itself.
    pub line: u64,
    /// The sequence number the line states.
    pub seq: Option<u64>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Problem {
    /// Not a journal line.
    Malformed(String),
    /// Its bytes do not have the hash it states: it was changed.
    BadHash,
    /// It does not continue the line before it: that one was replaced, or others were removed.
    BadPrev,
    /// Its number does not follow.
    Gap {
        /// The number that should have come.
        expected: u64,
    },
    /// The file ends in an unfinished line.
    Torn,
    /// A whole segment is not there.
    MissingSegment,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "journal-{:06}.jsonl", self.segment)?;
        if self.line > 0 {
            write!(f, " line {}", self.line)?;
        }
        if let Some(seq) = self.seq {
            write!(f, " (seq {seq})")?;
        }
        match &self.problem {
            Problem::Malformed(reason) => write!(f, ": not a journal line: {reason}"),
            Problem::BadHash => write!(f, ": changed: its bytes do not match its hash"),
            Problem::BadPrev => {
                write!(
                    f,
                    ": does not continue the line before it: lines were removed or replaced"
                )
            }
            Problem::Gap { expected } => write!(f, ": seq {expected} should stand here"),
            Problem::Torn => write!(f, ": unfinished last line"),
            Problem::MissingSegment => write!(f, ": the segment is missing"),
        }
    }
}

/// Checks the journal in `directory`. It may be written meanwhile: an unfinished last line is then none of
/// the findings.
///
/// # Errors
/// Only where a file cannot be read; everything wrong inside them is a finding.
pub fn verify(directory: &Path) -> io::Result<Report> {
    let in_use = segment::in_use(directory);
    let numbers: Vec<u32> = segment::list(directory)?
        .into_iter()
        .map(|(number, _)| number)
        .collect();
    let mut check = Check {
        report: Report {
            segments: numbers.len(),
            entries: 0,
            last_seq: 0,
            last_hash: Digest::default(),
            in_use,
            findings: Vec::new(),
            finding_count: 0,
        },
        tip: Tip::default(),
        follows: true,
    };
    check.segments(&numbers);
    for line in read::lines(directory)? {
        let line = line?;
        let at_end = numbers.last() == Some(&line.segment);
        match &line.content {
            Content::Torn { .. } if in_use && at_end => {}
            Content::Torn { .. } => check.found(line.segment, line.number, None, Problem::Torn),
            _ => check.line(&line),
        }
    }
    Ok(check.report)
}

struct Check {
    report: Report,
    tip: Tip,
    /// The line before was readable, so this one can be held against it.
    follows: bool,
}

impl Check {
    fn segments(&mut self, numbers: &[u32]) {
        let mut expected = 1;
        for &number in numbers {
            if number != expected {
                // One finding per hole, however wide.
                self.found(expected, 0, None, Problem::MissingSegment);
            }
            expected = number.saturating_add(1);
        }
    }

    fn line(&mut self, line: &read::Line) {
        let place = match line.link() {
            Ok(place) => place,
            Err(reason) => {
                self.found(line.segment, line.number, None, Problem::Malformed(reason));
                self.follows = false;
                return;
            }
        };
        let seq = Some(place.seq);
        if !place.intact {
            self.found(line.segment, line.number, seq, Problem::BadHash);
        }
        if self.follows {
            let expected = self.tip.seq.saturating_add(1);
            if place.seq != expected {
                self.found(line.segment, line.number, seq, Problem::Gap { expected });
            }
            if place.prev != self.tip.hash {
                self.found(line.segment, line.number, seq, Problem::BadPrev);
            }
        }
        self.follows = true;
        self.tip = Tip {
            seq: place.seq,
            hash: place.hash,
        };
        self.report.entries += 1;
        self.report.last_seq = place.seq;
        self.report.last_hash = place.hash;
    }

    fn found(&mut self, segment: u32, line: u64, seq: Option<u64>, problem: Problem) {
        self.report.finding_count += 1;
        if self.report.findings.len() < FINDINGS {
            self.report.findings.push(Finding {
                segment,
                line,
                seq,
                problem,
            });
        }
    }
}
