//! Event streams on their way up: every message verified, and signed anew.
//!
//! A signed stream is a row of envelopes, messages with the two headers `:date` and `:chunk-signature` whose
//! payload is the client's own message; an envelope without a payload ends it. An envelope is held until it is
//! verified, and leaves at once with the real signature and this host's date; its length stays. The messages
//! inside pass unread.
//!
//! Source: Amazon Transcribe Developer Guide, "Event stream encoding".

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use aws_smithy_eventstream::frame::{read_message_from, write_headers_to, write_message_to};
use aws_smithy_types::DateTime;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use super::body::BodyError;
use super::budget::Charge;
use super::chunked::Chains;

/// Bytes of an envelope, all of it: AWS takes no larger ones.
const LARGEST: usize = 16 * 1024 * 1024;

/// Bytes of a message that has neither headers nor payload.
const EMPTY: usize = 16;

/// How far an envelope's date may be from this host's clock, in milliseconds: as far as a request's.
const SKEW: u64 = 900_000;

/// Why a stream is not what its head says.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Not a frame of an event stream.
    #[error("a message is malformed: {0}")]
    Frame(String),
    /// Larger than AWS takes, or smaller than can be.
    #[error("a message says to have {0} bytes; it may have 16 to 16777216")]
    Size(usize),
    /// Not an envelope.
    #[error(
        "a message is not an envelope: it must have the headers `:date` and `:chunk-signature` alone"
    )]
    Envelope,
    /// Signed too far from guard's clock.
    #[error("a message was signed more than 900 s away from guard's clock; set the clock right")]
    Skewed,
    /// Something after the empty envelope.
    #[error("something follows its end")]
    AfterEnd,
}

/// A signed event stream on its way.
pub(super) struct Events<B> {
    source: B,
    chains: Chains,
    /// The envelope that is arriving.
    arriving: BytesMut,
    /// For `arriving`.
    charge: Charge,
    ready: VecDeque<Bytes>,
    /// The empty envelope was here.
    ended: bool,
    /// Nothing more comes: it ended, or failed.
    over: bool,
}

impl<B> Events<B> {
    /// Passes what is in `source`, whose pieces count themselves; `charge` is for what is copied out of them.
    pub(super) fn new(source: B, chains: Chains, charge: Charge) -> Self {
        Self {
            source,
            chains,
            arriving: BytesMut::new(),
            charge,
            ready: VecDeque::new(),
            ended: false,
            over: false,
        }
    }

    /// Whether nothing is held: a conversation may rest between its messages.
    pub(super) fn rests(&self) -> bool {
        self.arriving.is_empty()
    }

    /// Takes in what arrived; the envelopes that are complete are ready then.
    fn take(&mut self, data: &[u8]) -> Result<(), BodyError> {
        self.charge.take_over(data.len() as u64);
        self.arriving.extend_from_slice(data);
        while let Some(envelope) = self.envelope()? {
            // It stays as long, and counts until it was sent.
            let charge = self.charge.split(envelope.len() as u64);
            let envelope = self.resign(envelope)?;
            self.ready.push_back(charge.tie(envelope));
        }
        if self.ended && !self.arriving.is_empty() {
            return Err(EventError::AfterEnd.into());
        }
        Ok(())
    }

    /// The next envelope's bytes, where all of them are here.
    fn envelope(&mut self) -> Result<Option<Bytes>, EventError> {
        let Some(length) = self.arriving.first_chunk().filter(|_| !self.ended) else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if !(EMPTY..=LARGEST).contains(&length) {
            return Err(EventError::Size(length));
        }
        if self.arriving.len() < length {
            return Ok(None);
        }
        Ok(Some(self.arriving.split_to(length).freeze()))
    }

    fn resign(&mut self, mut bytes: Bytes) -> Result<Bytes, BodyError> {
        let length = bytes.len();
        let envelope =
            read_message_from(&mut bytes).map_err(|error| EventError::Frame(error.to_string()))?;
        if !bytes.is_empty() {
            return Err(EventError::Size(length).into());
        }
        let (date, signature) = signed(&envelope).ok_or(EventError::Envelope)?;
        let arrived = date.to_millis().map_err(|_far| EventError::Skewed)?;
        let now = now();
        if arrived.abs_diff(now) > SKEW {
            return Err(EventError::Skewed.into());
        }
        let payload = envelope.payload();
        self.chains
            .arriving
            .verify_event(arrived, &encoded(date)?, payload, signature)?;
        let date = DateTime::from_secs(now.div_euclid(1000));
        let millis = now.div_euclid(1000) * 1000;
        let signature = self
            .chains
            .leaving
            .event(millis, &encoded(date)?, payload)?;
        self.ended = payload.is_empty();
        let headers = envelope.headers().iter().map(|header| {
            let value = match header.value() {
                HeaderValue::ByteArray(_) => {
                    HeaderValue::ByteArray(Bytes::copy_from_slice(&signature))
                }
                _ => HeaderValue::Timestamp(date),
            };
            Header::new(header.name().clone(), value)
        });
        let leaving = Message::new_from_parts(headers.collect(), payload.clone());
        let mut out = Vec::with_capacity(length);
        write_message_to(&leaving, &mut out)
            .map_err(|error| EventError::Frame(error.to_string()))?;
        Ok(out.into())
    }

    fn end(&mut self) -> Result<(), BodyError> {
        self.over = true;
        if self.arriving.is_empty() {
            Ok(())
        } else {
            Err(BodyError::Gone)
        }
    }
}

/// An envelope's two headers, in either order.
fn signed(envelope: &Message) -> Option<(DateTime, &[u8])> {
    let [one, other] = envelope.headers() else {
        return None;
    };
    let (date, signature) = if one.name().as_str() == ":date" {
        (one, other)
    } else {
        (other, one)
    };
    match (
        date.name().as_str(),
        date.value(),
        signature.name().as_str(),
        signature.value(),
    ) {
        (
            ":date",
            HeaderValue::Timestamp(date),
            ":chunk-signature",
            HeaderValue::ByteArray(signature),
        ) => Some((*date, signature)),
        _ => None,
    }
}

/// The header `:date` as it stands in the envelope, and is signed.
fn encoded(date: DateTime) -> Result<Vec<u8>, EventError> {
    let mut out = Vec::new();
    write_headers_to(
        &[Header::new(":date", HeaderValue::Timestamp(date))],
        &mut out,
    )
    .map_err(|error| EventError::Frame(error.to_string()))?;
    Ok(out)
}

/// Milliseconds after the epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let millis = since.map(|since| since.as_millis()).unwrap_or_default();
    i64::try_from(millis).unwrap_or(i64::MAX)
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Body for Events<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            if let Some(data) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if this.over {
                return Poll::Ready(None);
            }
            let taken = match ready!(Pin::new(&mut this.source).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.take(&data),
                    Err(_trailers) => Ok(()),
                },
                Some(Err(error)) => Err(error),
                None => this.end(),
            };
            if let Err(error) = taken {
                this.over = true;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty()
            && (self.over || (self.arriving.is_empty() && self.source.is_end_stream()))
    }

    /// For every byte that arrives one byte leaves.
    fn size_hint(&self) -> SizeHint {
        let ready: usize = self.ready.iter().map(Bytes::len).sum();
        let held = (self.arriving.len() + ready) as u64;
        let source = self.source.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(source.lower() + held);
        if let Some(upper) = source.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}
