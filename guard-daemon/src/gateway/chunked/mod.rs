//! aws-chunked bodies on their way: checked as they pass, and signed anew chunk by chunk.
//!
//! `parse` reads the framing. What is here is the body between the client's and the upstream's: of an unsigned
//! one nothing is held and nothing is copied, it only breaks off where it is malformed; of a signed one a chunk is
//! held until its signature is verified, and leaves with the real one. Every length stays as it was: the
//! signatures that are taken out and those that are put in are of the same size. What is held counts itself, until it
//! was sent: the pieces that arrive do (`spool`), and what is copied out of them here.

mod content;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_lc_rs::digest::{self, SHA256};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

pub(super) use self::content::Content;
pub use self::parse::ChunkError;
use self::parse::{Announced, CRLF, EXTENSION, Parser, Part, Signatures};
use super::body::BodyError;
use super::budget::Charge;
use crate::aws::sigv4::{ChunkSigner, Streaming};

/// Bytes of a signed chunk: it is held whole until it is verified. Clients send 64 KiB to 1 MiB.
pub(super) const LARGEST: u64 = 16 * 1024 * 1024;

/// Bytes of a signature: hexadecimal, in Version 4A padded with `*`.
const HMAC: usize = 64;
const ECDSA: usize = 144;

/// Data that arrive in pieces smaller than this are put together, so that what is held is not mostly the rest
/// of the buffers it arrived in.
const SMALL: usize = 4096;

/// How an aws-chunked body is framed, from its request's head.
#[derive(Clone, Debug)]
pub(super) struct Framing {
    signatures: Signatures,
    announced: Announced,
}

impl Framing {
    /// Of a form whose chunks are not signed.
    pub(super) fn unsigned(headers: &HeaderMap) -> Result<Self, ChunkError> {
        Ok(Self {
            signatures: Signatures::None,
            announced: Announced::of(headers)?,
        })
    }

    /// Of a form whose chunks are signed.
    pub(super) fn signed(headers: &HeaderMap, form: Streaming) -> Result<Self, ChunkError> {
        let announced = Announced::of(headers)?;
        announced.check(form.has_trailer())?;
        let length = match form {
            Streaming::EcdsaChunks | Streaming::EcdsaChunksTrailer => ECDSA,
            _ => HMAC,
        };
        Ok(Self {
            signatures: Signatures::Chunks {
                length,
                largest: LARGEST,
            },
            announced,
        })
    }

    fn parser(self) -> Parser {
        Parser::new(self.signatures, self.announced)
    }
}

/// The two chains of signatures of a body that is signed inside.
#[derive(Debug)]
pub(super) struct Chains {
    /// Checks the client's.
    pub(super) arriving: ChunkSigner,
    /// Makes what leaves.
    pub(super) leaving: ChunkSigner,
}

/// An aws-chunked body on its way.
pub(super) struct Chunked<B> {
    source: B,
    parser: Parser,
    resigning: Option<Box<Resigning>>,
    ready: VecDeque<Bytes>,
    /// Bytes that arrived and have not left.
    owed: u64,
    /// Nothing more comes: it ended, or failed.
    over: bool,
}

impl<B> Chunked<B> {
    /// Passes what is in `source`; where its chunks are signed, there are `chains` to sign them anew, and a `charge` for
    /// what is copied.
    pub(super) fn new(source: B, framing: Framing, resigned: Option<(Chains, Charge)>) -> Self {
        Self {
            source,
            parser: framing.parser(),
            resigning: resigned.map(|(chains, charge)| Box::new(Resigning::new(chains, charge))),
            ready: VecDeque::new(),
            owed: 0,
            over: false,
        }
    }
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Chunked<B> {
    /// Takes in what arrived; what of it may leave is ready then.
    fn take(&mut self, mut data: Bytes) -> Result<(), BodyError> {
        self.owed += data.len() as u64;
        if let Some(resigning) = &mut self.resigning {
            while let Some(part) = self.parser.next(&mut data)? {
                resigning.take(part, &mut self.ready)?;
            }
        } else {
            let mut unread = data.clone();
            while self.parser.next(&mut unread)?.is_some() {}
            self.ready.push_back(data);
        }
        // Whoever sends it stops at its length and does not ask for an end, so the last of a body that breaks off
        // must not leave.
        let source = &self.source;
        if source.is_end_stream() || source.size_hint().exact() == Some(0) {
            self.parser.check_over()?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), BodyError> {
        self.over = true;
        Ok(self.parser.check_over()?)
    }
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Body for Chunked<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            if let Some(data) = this.ready.pop_front() {
                this.owed -= data.len() as u64;
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if this.over {
                return Poll::Ready(None);
            }
            let taken = match ready!(Pin::new(&mut this.source).poll_frame(context)) {
                Some(Ok(frame)) => frame.into_data().map_or(Ok(()), |data| this.take(data)),
                Some(Err(error)) => Err(error),
                None => this.end(),
            };
            if let Err(error) = taken {
                this.over = true;
                this.ready.clear();
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty()
            && (self.over || (self.parser.is_over() && self.source.is_end_stream()))
    }

    /// For every byte that arrives one byte leaves.
    fn size_hint(&self) -> SizeHint {
        let held = self.owed;
        let source = self.source.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(source.lower() + held);
        if let Some(upper) = source.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}

/// A signed body in the midst of its chunks: verifies them, and makes what leaves.
struct Resigning {
    chains: Chains,
    /// Of the chunk that is arriving.
    digits: Bytes,
    signature: Bytes,
    hash: digest::Context,
    held: Held,
    /// The trailers' canonical lines.
    trailers: Vec<String>,
}

impl Resigning {
    fn new(chains: Chains, charge: Charge) -> Self {
        Self {
            chains,
            digits: Bytes::new(),
            signature: Bytes::new(),
            hash: digest::Context::new(&SHA256),
            held: Held {
                pieces: Vec::new(),
                small: BytesMut::new(),
                charge,
            },
            trailers: Vec::new(),
        }
    }

    fn take(&mut self, part: Part, ready: &mut VecDeque<Bytes>) -> Result<(), BodyError> {
        match part {
            Part::Head {
                digits,
                size,
                signature,
            } => {
                (self.digits, self.signature) = (digits, signature);
                if size == 0 {
                    return self.release(ready);
                }
            }
            Part::Data(data) => {
                self.hash.update(&data);
                self.held.push(data);
            }
            Part::ChunkEnd => {
                self.release(ready)?;
                ready.push_back(Bytes::from_static(CRLF));
            }
            Part::Trailers { line, canonical } => {
                self.trailers.extend(canonical);
                self.held.push(line);
            }
            Part::TrailerSignature {
                before,
                signature,
                after,
            } => {
                // Like the headers of a request.
                self.trailers.sort_unstable();
                let canonical = self.trailers.concat();
                let sha256 = hex::encode(digest::digest(&SHA256, canonical.as_bytes()));
                let Chains { arriving, leaving } = &mut self.chains;
                arriving.verify_trailer(&sha256, text(&signature))?;
                let made = leaving.trailer(&sha256)?;
                self.held.drain(ready);
                ready.push_back([&before, made.as_bytes(), &after].concat().into());
            }
            Part::End => ready.push_back(Bytes::from_static(CRLF)),
        }
        Ok(())
    }

    /// The chunk is complete: verifies it and signs it anew.
    fn release(&mut self, ready: &mut VecDeque<Bytes>) -> Result<(), BodyError> {
        let hash = std::mem::replace(&mut self.hash, digest::Context::new(&SHA256));
        let sha256 = hex::encode(hash.finish());
        let Chains { arriving, leaving } = &mut self.chains;
        arriving.verify_chunk(&sha256, text(&self.signature))?;
        let made = leaving.chunk(&sha256)?;
        let head = [&self.digits, EXTENSION, made.as_bytes(), CRLF].concat();
        ready.push_back(head.into());
        self.held.drain(ready);
        Ok(())
    }
}

fn text(signature: &Bytes) -> &str {
    str::from_utf8(signature).unwrap_or_default()
}

/// Data that wait for their signature to be verified.
struct Held {
    pieces: Vec<Bytes>,
    small: BytesMut,
    /// For `small`.
    charge: Charge,
}

impl Held {
    fn push(&mut self, data: Bytes) {
        if data.len() < SMALL {
            self.charge.take_over(data.len() as u64);
            self.small.extend_from_slice(&data);
        } else {
            self.flush();
            self.pieces.push(data);
        }
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            let small = self.small.split().freeze();
            let charge = self.charge.split(u64::MAX);
            self.pieces.push(charge.tie(small));
        }
    }

    fn drain(&mut self, into: &mut VecDeque<Bytes>) {
        self.flush();
        into.extend(self.pieces.drain(..));
    }
}
