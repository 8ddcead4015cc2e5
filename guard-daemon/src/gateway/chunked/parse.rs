//! Parses aws-chunked framing as it arrives.
//!
//! `size[;chunk-signature=…]CRLF data CRLF`, repeated up to a chunk of size 0, then the announced trailers, one a
//! line, `x-amz-trailer-signature` last where they are signed, and an empty line. What two parsers could read in
//! two ways is an error: bare line ends, other extensions, trailers that were not announced, bytes past the end.
//! A trailer line may end in LF CR LF, as AWS's own example does and some clients send, and where it does, several
//! trailers may stand in it with LF between them, as minio-go sends them.
//!
//! Source: Amazon S3 API Reference, "Transferring Payload in Multiple Chunks (Chunked Upload)".

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

/// Bytes of a line: a chunk's head with its signature has 169 at most, a trailer's checksum 120.
const LINE: usize = 1024;

/// Hexadecimal digits of a size.
const DIGITS: usize = 16;

/// Trailers of a body.
const TRAILERS: usize = 8;

/// Why a body is not what it says to be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// Not the framing.
    #[error("{0}")]
    Framing(&'static str),
    /// More or fewer bytes than announced.
    #[error("its chunks do not have the {announced} bytes that x-amz-decoded-content-length says")]
    Length {
        /// `x-amz-decoded-content-length`.
        announced: u64,
    },
    /// Larger than is held to be verified.
    #[error(
        "a signed chunk has more than {limit} bytes, and guard must hold it whole; send smaller chunks"
    )]
    TooLarge {
        /// In bytes.
        limit: u64,
    },
    /// Not one of the announced ones, or a second time.
    #[error("x-amz-trailer does not announce its trailer {0:?}")]
    NotAnnounced(String),
    /// Announced, but not there.
    #[error("its trailer {0:?} is announced but missing")]
    Missing(String),
    /// A header that describes the body.
    #[error("header {name} is malformed: {why}")]
    Header {
        /// Which.
        name: &'static str,
        /// What it must be.
        why: &'static str,
    },
}

/// What a request's head says of its aws-chunked body.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::gateway) struct Announced {
    /// Bytes of the content, where it says so.
    length: Option<u64>,
    /// Names in lower case.
    trailers: Vec<String>,
}

impl Announced {
    /// Reads `x-amz-decoded-content-length` and `x-amz-trailer`.
    pub(in crate::gateway) fn of(headers: &HeaderMap) -> Result<Self, ChunkError> {
        let mut announced = Self::default();
        for value in headers.get_all(DECODED_LENGTH) {
            let why = "it must stand once, a number in decimal digits";
            let malformed = ChunkError::Header {
                name: DECODED_LENGTH,
                why,
            };
            let digits = value.to_str().unwrap_or_default();
            let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
            match (digits.parse(), announced.length) {
                (Ok(length), None) if plain => announced.length = Some(length),
                _ => return Err(malformed),
            }
        }
        for value in headers.get_all(TRAILER) {
            let value = value.to_str().unwrap_or_default();
            for name in value.split(',').map(str::trim) {
                let name = name.to_ascii_lowercase();
                let well = !name.is_empty()
                    && name.bytes().all(is_name)
                    && name != TRAILER_SIGNATURE
                    && !announced.trailers.contains(&name);
                if !well || announced.trailers.len() == TRAILERS {
                    return Err(ChunkError::Header {
                        name: TRAILER,
                        why: "it must name at most eight header fields, each once",
                    });
                }
                announced.trailers.push(name);
            }
        }
        Ok(announced)
    }

    /// Whether it has trailers must be as the form of the body says.
    pub(super) fn check(&self, trailer: bool) -> Result<(), ChunkError> {
        let why = match (trailer, self.trailers.is_empty()) {
            (true, true) => "x-amz-content-sha256 says that there is one",
            (false, false) => "x-amz-content-sha256 says that there is none",
            _ => return Ok(()),
        };
        Err(ChunkError::Header { name: TRAILER, why })
    }
}

const DECODED_LENGTH: &str = "x-amz-decoded-content-length";
const TRAILER: &str = "x-amz-trailer";
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

/// How a body is signed inside.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::gateway) enum Signatures {
    /// Not at all.
    None,
    /// Every chunk, and the trailers if there are any.
    Chunks {
        /// Bytes of a signature.
        length: usize,
        /// Bytes of the largest chunk that is taken.
        largest: u64,
    },
}

/// A part of a body, in its order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::gateway) enum Part {
    /// A chunk begins.
    Head {
        /// The size as it was written.
        digits: Bytes,
        /// Its value; 0 in the last chunk.
        size: u64,
        /// Where chunks are signed: not empty.
        signature: Bytes,
    },
    /// Some of a chunk's data; not empty.
    Data(Bytes),
    /// The data of a chunk, other than the last, are complete.
    ChunkEnd,
    /// A line of trailers, mostly of one.
    Trailers {
        /// As it was written, with its line end.
        line: Bytes,
        /// Of each `name:value` and LF, as it is signed.
        canonical: Vec<String>,
    },
    /// The signature over the trailers, and what is on its line before and after it.
    TrailerSignature {
        before: Bytes,
        signature: Bytes,
        after: Bytes,
    },
    /// The body ends; nothing may follow.
    End,
}

/// The state of parsing one body.
#[derive(Debug)]
pub(in crate::gateway) struct Parser {
    signatures: Signatures,
    announced: Announced,
    /// Bytes of content until now.
    decoded: u64,
    state: State,
    /// The beginning of a line that has not all arrived.
    line: BytesMut,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Head,
    Data { left: u64 },
    ChunkEnd,
    Trailer,
    LastLine,
    Over,
}

impl Parser {
    pub(in crate::gateway) fn new(signatures: Signatures, announced: Announced) -> Self {
        Self {
            signatures,
            announced,
            decoded: 0,
            state: State::Head,
            line: BytesMut::new(),
        }
    }

    /// Whether the body has ended.
    pub(in crate::gateway) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// An error where the body has not ended, and nothing more of it comes.
    pub(super) fn check_over(&self) -> Result<(), ChunkError> {
        if self.is_over() {
            Ok(())
        } else {
            Err(ChunkError::Framing("it breaks off before its end"))
        }
    }

    /// Takes the next part from `input`; `None` where all of it was taken and more is needed. After an error
    /// nothing may be parsed any more.
    pub(in crate::gateway) fn next(
        &mut self,
        input: &mut Bytes,
    ) -> Result<Option<Part>, ChunkError> {
        if input.is_empty() {
            return Ok(None);
        }
        match self.state {
            State::Head => {
                let Some(line) = self.line(input)? else {
                    return Ok(None);
                };
                self.head(&line).map(Some)
            }
            State::Data { left } => {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let left = left - here as u64;
                self.state = if left == 0 {
                    State::ChunkEnd
                } else {
                    State::Data { left }
                };
                Ok(Some(Part::Data(input.split_to(here))))
            }
            State::ChunkEnd => {
                let Some(line) = self.line(input)? else {
                    return Ok(None);
                };
                if line.as_ref() != CRLF {
                    return Err(ChunkError::Framing(
                        "a chunk's data are longer than its size",
                    ));
                }
                self.state = State::Head;
                Ok(Some(Part::ChunkEnd))
            }
            State::Trailer => {
                let Some(line) = self.line(input)? else {
                    return Ok(None);
                };
                self.trailer(line).map(Some)
            }
            State::LastLine => {
                let Some(line) = self.line(input)? else {
                    return Ok(None);
                };
                if line.as_ref() != CRLF {
                    return Err(ChunkError::Framing("no empty line ends it"));
                }
                self.state = State::Over;
                self.over(input)
            }
            State::Over => Err(ChunkError::Framing("something follows its end")),
        }
    }

    fn over(&self, rest: &Bytes) -> Result<Option<Part>, ChunkError> {
        if !rest.is_empty() {
            return Err(ChunkError::Framing("something follows its end"));
        }
        debug_assert!(self.is_over(), "told once, at the end");
        Ok(Some(Part::End))
    }

    /// A whole line with its CR LF.
    fn line(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, ChunkError> {
        loop {
            let ends = input.iter().position(|&byte| byte == b'\n');
            let piece = input.split_to(ends.map_or(input.len(), |at| at + 1));
            if self.line.len() + piece.len() > LINE {
                return Err(ChunkError::Framing("a line is too long"));
            }
            if self.line.is_empty() && piece.ends_with(CRLF) {
                return Ok(Some(piece));
            }
            self.line.extend_from_slice(&piece);
            if self.line.ends_with(CRLF) {
                return Ok(Some(self.line.split().freeze()));
            }
            if input.is_empty() {
                return Ok(None);
            }
        }
    }

    fn head(&mut self, line: &Bytes) -> Result<Part, ChunkError> {
        let content = &line[..line.len() - CRLF.len()];
        let length = content
            .iter()
            .position(|byte| !byte.is_ascii_hexdigit())
            .unwrap_or(content.len());
        let size = match length {
            1..=DIGITS => str::from_utf8(&content[..length])
                .ok()
                .and_then(|digits| u64::from_str_radix(digits, 16).ok()),
            _ => None,
        }
        .ok_or(ChunkError::Framing(
            "a chunk does not begin with its size, one to sixteen hexadecimal digits",
        ))?;
        let signature = match (self.signatures, &content[length..]) {
            (Signatures::None, b"") => Bytes::new(),
            (Signatures::None, _) => {
                return Err(ChunkError::Framing(
                    "something follows a chunk's size, and x-amz-content-sha256 says that chunks are not signed",
                ));
            }
            (
                Signatures::Chunks {
                    largest,
                    length: digits,
                },
                rest,
            ) => {
                if size > largest {
                    return Err(ChunkError::TooLarge { limit: largest });
                }
                let signature = rest
                    .strip_prefix(EXTENSION)
                    .filter(|it| is_signature(it, digits));
                line.slice_ref(signature.ok_or(ChunkError::Framing(
                    "a chunk's size is not followed by its chunk-signature alone",
                ))?)
            }
        };
        self.count(size)?;
        self.state = match size {
            0 if self.announced.trailers.is_empty() => State::LastLine,
            0 => State::Trailer,
            left => State::Data { left },
        };
        Ok(Part::Head {
            digits: line.slice(..length),
            size,
            signature,
        })
    }

    /// Counts a chunk's data, before they arrive.
    fn count(&mut self, size: u64) -> Result<(), ChunkError> {
        let decoded = self
            .decoded
            .checked_add(size)
            .ok_or(ChunkError::Framing("it is too long"))?;
        self.decoded = decoded;
        match self.announced.length {
            Some(announced) if decoded > announced || (size == 0 && decoded < announced) => {
                Err(ChunkError::Length { announced })
            }
            _ => Ok(()),
        }
    }

    /// A line of trailers, or their signature.
    fn trailer(&mut self, line: Bytes) -> Result<Part, ChunkError> {
        let content = &line[..line.len() - CRLF.len()];
        let (content, ends_twice) = match content.strip_suffix(b"\n") {
            Some(content) => (content, true),
            None => (content, false),
        };
        let text = str::from_utf8(content).map_err(|_other| NOT_A_TRAILER)?;
        let (name, begins, value) = field(text.split('\n').next().unwrap_or_default())?;
        if name == TRAILER_SIGNATURE && !text.contains('\n') {
            let Signatures::Chunks { length, .. } = self.signatures else {
                return Err(ChunkError::NotAnnounced(name));
            };
            if let Some(missing) = self.announced.trailers.pop() {
                return Err(ChunkError::Missing(missing));
            }
            if !is_signature(value.as_bytes(), length) {
                return Err(ChunkError::Framing(
                    "x-amz-trailer-signature is not a signature",
                ));
            }
            self.state = State::LastLine;
            return Ok(Part::TrailerSignature {
                before: line.slice(..begins),
                signature: line.slice(begins..begins + length),
                after: line.slice(begins + length..),
            });
        }
        if text.contains('\n') && !ends_twice {
            return Err(NOT_A_TRAILER);
        }
        let mut canonical = Vec::new();
        for text in text.split('\n') {
            let (name, _, value) = field(text)?;
            let Some(at) = self.announced.trailers.iter().position(|it| *it == name) else {
                return Err(ChunkError::NotAnnounced(name));
            };
            self.announced.trailers.swap_remove(at);
            canonical.push(format!("{name}:{value}\n"));
        }
        if self.announced.trailers.is_empty() && self.signatures == Signatures::None {
            self.state = State::LastLine;
        }
        Ok(Part::Trailers { line, canonical })
    }
}

const NOT_A_TRAILER: ChunkError = ChunkError::Framing("a trailer is not a line name:value");

/// The name of a trailer in lower case, where its value begins, and the value.
fn field(text: &str) -> Result<(String, usize, &str), ChunkError> {
    let (name, value) = text.split_once(':').ok_or(NOT_A_TRAILER)?;
    let rest = value.trim_start_matches(BLANKS);
    let begins = text.len() - rest.len();
    let value = rest.trim_end_matches(BLANKS);
    let plain = value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if name.is_empty() || !name.bytes().all(is_name) || value.is_empty() || !plain {
        return Err(NOT_A_TRAILER);
    }
    Ok((name.to_ascii_lowercase(), begins, value))
}

pub(super) const CRLF: &[u8] = b"\r\n";
pub(super) const EXTENSION: &[u8] = b";chunk-signature=";

const BLANKS: [char; 2] = [' ', '\t'];

fn is_signature(bytes: &[u8], length: usize) -> bool {
    let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'*');
    bytes.len() == length && bytes.iter().all(digit)
}

/// A character of a header field's name (RFC 9110, token), as far as AWS uses them.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}
