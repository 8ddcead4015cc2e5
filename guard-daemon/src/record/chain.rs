//! The form of a journal line, and the hash chain through all lines.
//!
//! A line is `{"v":1,"seq":N,"time":"…","prev":"…",ENTRY,"hash":"…"}` where `hash` is the SHA-256 of the
//! line's bytes before `,"hash":"`, and `prev` the hash of the line before it (zeros for the first).

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::digest;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// The version of the line's form.
pub(super) const VERSION: u32 = 1;
/// Bytes of a line at the most, its newline included.
pub(super) const LINE_BYTES: usize = 64 * 1024;
/// Bytes that the chain adds to an entry at the most: version, number, time, two hashes.
pub(super) const OVERHEAD_BYTES: usize = 512;

const HASH_KEY: &[u8] = b",\"hash\":\"";
const SUFFIX_BYTES: usize = HASH_KEY.len() + 64 + b"\"}".len();
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");

/// A SHA-256 digest; written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Digest([u8; 32]);

impl Digest {
    fn of(bytes: &[u8]) -> Self {
        let mut own = Self::default();
        own.0
            .copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        own
    }

    fn parse(text: &str) -> Option<Self> {
        let mut own = Self::default();
        hex::decode_to_slice(text, &mut own.0).ok()?;
        (own.to_string() == text).then_some(own)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The end of a chain: what the next line continues.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Tip {
    /// The last line's number; 0 where there is none.
    pub(super) seq: u64,
    /// The last line's hash; zeros where there is none.
    pub(super) hash: Digest,
}

impl Tip {
    /// Adds a line, newline included, to `out`. `entry` is the entry as a JSON object that is not empty.
    pub(super) fn extend(&mut self, out: &mut Vec<u8>, time: OffsetDateTime, entry: &[u8]) {
        let start = out.len();
        let seq = self.seq + 1;
        let time = time.format(TIME).unwrap_or_default();
        out.extend_from_slice(
            format!(
                r#"{{"v":{VERSION},"seq":{seq},"time":"{time}","prev":"{}","#,
                self.hash
            )
            .as_bytes(),
        );
        out.extend_from_slice(&entry[1..entry.len() - 1]);
        let hash = Digest::of(&out[start..]);
        out.extend_from_slice(HASH_KEY);
        out.extend_from_slice(hash.to_string().as_bytes());
        out.extend_from_slice(b"\"}\n");
        *self = Self { seq, hash };
    }
}

/// What the chain says of a line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// The line's number, from 1.
    pub seq: u64,
    /// When it was written: RFC 3339, UTC, nanoseconds.
    pub time: String,
    /// The session it belongs to.
    pub session: Option<String>,
    /// The hash of the line before it.
    pub prev: Digest,
    /// The hash the line states.
    pub hash: Digest,
    /// Whether that is the hash of the line's bytes.
    pub intact: bool,
}

/// Reads a line, without its newline; the error says what is wrong with its form.
pub(super) fn read(line: &[u8]) -> Result<Link, String> {
    let body = line
        .len()
        .checked_sub(SUFFIX_BYTES)
        .ok_or("too short for a journal line")?;
    let (body, suffix) = line.split_at(body);
    if !suffix.starts_with(HASH_KEY) {
        return Err("does not end with its hash".to_owned());
    }
    let fields: Fields<'_> = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    if fields.v != VERSION {
        return Err(format!(
            "version {} is not {VERSION}; a newer guard wrote it",
            fields.v
        ));
    }
    let hash = Digest::parse(&fields.hash).ok_or("`hash` is not 64 lower-case hex digits")?;
    let prev = Digest::parse(&fields.prev).ok_or("`prev` is not 64 lower-case hex digits")?;
    Ok(Link {
        seq: fields.seq,
        time: fields.time.into_owned(),
        session: fields.session.map(Cow::into_owned),
        prev,
        hash,
        intact: Digest::of(body) == hash,
    })
}

#[derive(Deserialize)]
struct Fields<'a> {
    v: u32,
    seq: u64,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    prev: Cow<'a, str>,
    session: Option<Cow<'a, str>>,
    #[serde(borrow)]
    hash: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Vec<u8> {
        let mut out = Vec::new();
        let time = OffsetDateTime::from_unix_timestamp_nanos(1_700_000_000_000_000_001).unwrap();
        Tip::default().extend(&mut out, time, br#"{"session":"ab","type":"x"}"#);
        assert_eq!(out.pop(), Some(b'\n'));
        out
    }

    #[test]
    fn a_line_has_the_documented_form() {
        let text = String::from_utf8(line()).unwrap();
        let zeros = "0".repeat(64);
        let body = format!(
            r#"{{"v":1,"seq":1,"time":"2023-11-14T22:13:20.000000001Z","prev":"{zeros}","session":"ab","type":"x""#
        );
        let hash = hex::encode(digest::digest(&digest::SHA256, body.as_bytes()));
        assert_eq!(text, format!(r#"{body},"hash":"{hash}"}}"#));
        let link = read(text.as_bytes()).unwrap();
        assert!(link.intact);
        assert_eq!((link.seq, link.session.as_deref()), (1, Some("ab")));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let good = line();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(
                read(&bad).is_ok_and(|link| !link.intact) || read(&bad).is_err(),
                "byte {at} changed unnoticed"
            );
        }
    }

    #[test]
    fn hostile_lines_are_errors_not_panics() {
        let deep = "[".repeat(60_000);
        for bad in [
            "",
            "{}",
            &deep,
            &"\0".repeat(200),
            &String::from_utf8(line())
                .unwrap()
                .replace("\"v\":1", "\"v\":2"),
            &String::from_utf8(line())
                .unwrap()
                .replace("\"seq\":1", "\"seq\":1,\"seq\":1"),
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad:.40}");
        }
    }
}
