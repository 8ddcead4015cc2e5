//! The content of an aws-chunked body: what a person approves.

use aws_lc_rs::digest::{self, SHA256};
use bytes::Bytes;

use super::Framing;
use super::parse::{ChunkError, Parser, Part};

/// Digests the content of a body that is collected. How it is cut into chunks and how they are signed does not
/// count: both change when the client sends the same again, and the signatures when it leaves.
pub(in crate::gateway) struct Content {
    parser: Parser,
    hash: digest::Context,
    trailers: Vec<String>,
}

impl Content {
    /// Of a body with this framing.
    pub(in crate::gateway) fn of(framing: Framing) -> Self {
        Self {
            parser: framing.parser(),
            hash: digest::Context::new(&SHA256),
            trailers: Vec::new(),
        }
    }

    /// Reads on.
    pub(in crate::gateway) fn take(&mut self, mut data: Bytes) -> Result<(), ChunkError> {
        while let Some(part) = self.parser.next(&mut data)? {
            match part {
                Part::Data(data) => self.hash.update(&data),
                Part::Trailers { canonical, .. } => self.trailers.extend(canonical),
                _ => {}
            }
        }
        Ok(())
    }

    /// An error where the body has not ended, and nothing more of it comes.
    pub(in crate::gateway) fn check_over(&self) -> Result<(), ChunkError> {
        self.parser.check_over()
    }

    /// `aws-chunked` and SHA-256 of content and trailers, hexadecimal, which no body that is not in chunks has; `None`
    /// before the end.
    pub(in crate::gateway) fn digest(&self) -> Option<String> {
        if !self.parser.is_over() {
            return None;
        }
        let mut trailers = self.trailers.clone();
        trailers.sort_unstable();
        let mut all = digest::Context::new(&SHA256);
        // Of a fixed length; the trailers have theirs before them.
        all.update(self.hash.clone().finish().as_ref());
        for trailer in trailers {
            all.update(&(trailer.len() as u64).to_be_bytes());
            all.update(trailer.as_bytes());
        }
        Some(format!("aws-chunked {}", hex::encode(all.finish())))
    }
}
