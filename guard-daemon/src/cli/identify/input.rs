//! Cuts the input into batches: whole lines, or entries of a HAR document.
//!
//! A batch is what has arrived, so that a program which writes a line and waits is answered at once.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};
use std::rc::Rc;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, de};
use serde_json::value::RawValue;

/// Bytes of a line at most. The gateway looks into bodies of up to 8 MiB, which are 11 MiB in base64.
pub(super) const LINE: usize = 16 * 1024 * 1024;

/// Bytes of an entry of a HAR document at most: it has the response, too.
const ENTRY: usize = 128 * 1024 * 1024;

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// Some of the input, in order.
#[derive(Debug)]
pub(super) enum Batch {
    /// Whole lines; the number of the first.
    Lines(Vec<u8>, u64),
    /// A line that is longer than [`LINE`].
    TooLong(u64),
    /// An entry of a HAR document; its number.
    Entry(Box<RawValue>, u64),
    /// The HAR document is broken from here on, and why.
    Broken(String, u64),
}

/// The input.
pub(super) struct Batches {
    source: Box<dyn Read + Send>,
    /// Read, but not yet handed on.
    held: Vec<u8>,
}

impl Batches {
    pub(super) fn new(source: Box<dyn Read + Send>) -> Self {
        Self {
            source,
            held: Vec::new(),
        }
    }

    /// Hands on each batch, until there are no more or `take` says that it is enough.
    pub(super) fn each(mut self, mut take: impl FnMut(Batch) -> bool) -> io::Result<()> {
        let mut ended = false;
        while !ended && self.held.len() < CHUNK && is_har(&self.held).is_none() {
            ended = self.more()? == 0;
        }
        if is_har(&self.held) == Some(true) {
            return self.entries(&mut take);
        }
        self.lines(&mut take)
    }

    fn more(&mut self) -> io::Result<usize> {
        let length = self.held.len();
        self.held.resize(length + CHUNK, 0);
        loop {
            match self.source.read(&mut self.held[length..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    let count = *read.as_ref().unwrap_or(&0);
                    self.held.truncate(length + count);
                    return read;
                }
            }
        }
    }

    fn lines(&mut self, take: &mut impl FnMut(Batch) -> bool) -> io::Result<()> {
        let mut number = 1;
        let mark = self.held.len() - strip_mark(&self.held).len();
        self.held.drain(..mark);
        // Where to look for the next line end: what stands before was looked at.
        let mut seen = 0;
        let mut dropping = false;
        loop {
            let end = self.held[seen..].iter().rposition(|byte| *byte == b'\n');
            if let Some(end) = end.map(|it| seen + it + 1) {
                let mut start = 0;
                if std::mem::take(&mut dropping) {
                    start = line_end(&self.held).unwrap_or(end);
                    number += 1;
                }
                let rest = self.held.split_off(end);
                let mut lines = std::mem::replace(&mut self.held, rest);
                lines.drain(..start);
                let count = bytecount(&lines);
                if !lines.is_empty() && !take(Batch::Lines(lines, number)) {
                    return Ok(());
                }
                number += count;
            }
            if dropping {
                self.held.clear();
            } else if self.held.len() > LINE {
                self.held.clear();
                dropping = true;
                if !take(Batch::TooLong(number)) {
                    return Ok(());
                }
            }
            seen = self.held.len();
            if self.more()? == 0 {
                break;
            }
        }
        if !dropping && !self.held.is_empty() {
            take(Batch::Lines(std::mem::take(&mut self.held), number));
        }
        Ok(())
    }

    fn entries(self, take: &mut impl FnMut(Batch) -> bool) -> io::Result<()> {
        let budget = Rc::new(Cell::new(ENTRY));
        let mut number = 0;
        let mut enough = false;
        let source = Bounded {
            source: io::Cursor::new(strip_mark(&self.held).to_vec()).chain(self.source),
            left: Rc::clone(&budget),
        };
        let mut document = serde_json::Deserializer::from_reader(io::BufReader::new(source));
        let mut visit = |entry| {
            number += 1;
            budget.set(ENTRY);
            enough = !take(Batch::Entry(entry, number));
            !enough
        };
        let read = document
            .deserialize_map(Member("log", Member("entries", Each(&mut visit))))
            .and_then(|()| document.end());
        match read {
            Err(error) if error.io_error_kind().is_some() => Err(error.into()),
            Err(error) if !enough => {
                take(Batch::Broken(error.to_string(), number + 1));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Whether this is the beginning of a HAR document, `{"log"`; `None` where that cannot be told yet.
fn is_har(start: &[u8]) -> Option<bool> {
    const BEGINS: [&[u8]; 2] = [b"{", b"\"log\""];
    let mut rest = strip_mark(start);
    for token in BEGINS {
        rest = rest.trim_ascii_start();
        if rest.len() < token.len() {
            return (!token.starts_with(rest)).then_some(false);
        }
        rest = match rest.strip_prefix(token) {
            Some(rest) => rest,
            None => return Some(false),
        };
    }
    Some(true)
}

/// Without the byte order mark that some programs write.
fn strip_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|it| *it == b'\n').map(|it| it + 1)
}

fn bytecount(lines: &[u8]) -> u64 {
    lines.iter().map(|it| u64::from(*it == b'\n')).sum()
}

/// Refuses to read more than what is left.
struct Bounded<R> {
    source: R,
    left: Rc<Cell<usize>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        let left = self.left.get().checked_sub(read);
        self.left.set(left.ok_or_else(|| {
            io::Error::other("an entry of the HAR document is larger than 128 MiB")
        })?);
        Ok(read)
    }
}

/// One member of an object; the others are passed over.
struct Member<S>(&'static str, S);

impl<'de, S: DeserializeSeed<'de, Value = ()>> DeserializeSeed<'de> for Member<S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: DeserializeSeed<'de, Value = ()>> Visitor<'de> for Member<S> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object with `{}`", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut inner = Some(self.1);
        while let Some(name) = object.next_key::<String>()? {
            if name == self.0 {
                let inner = inner
                    .take()
                    .ok_or_else(|| de::Error::duplicate_field(self.0))?;
                object.next_value_seed(inner)?;
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        if inner.is_some() {
            return Err(de::Error::missing_field(self.0));
        }
        Ok(())
    }
}

/// Each element of a list.
struct Each<'a, F>(&'a mut F);

impl<'de, F: FnMut(Box<RawValue>) -> bool> DeserializeSeed<'de> for Each<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(Box<RawValue>) -> bool> Visitor<'de> for Each<'_, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(entry) = list.next_element()? {
            if !(self.0)(entry) {
                return Err(A::Error::custom("enough"));
            }
        }
        Ok(())
    }
}
