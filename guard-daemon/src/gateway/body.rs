//! Bodies on their way: the request's to the upstream, the response's to the client, both counted.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::approved::Approved;
use super::budget::Charge;
use super::chunked::{ChunkError, Chunked};
use super::collected::{Collected, GiveUp};
use super::events::{EventError, Events};
use super::framing::Answering;
use super::outcome::Completion;
use super::spool::{STALL, Spooled};
use super::upstream::{chain, find};
use crate::aws::sigv4::SigV4Error;

/// Why a request body could not be had.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The connection ended within the body, or the client took the request back.
    #[error("the client went away before its request was complete")]
    Gone,
    /// The chunks or frames of the body are not what HTTP says.
    #[error("the request body is malformed: {0}")]
    Malformed(String),
    /// The aws-chunked framing within it is not what its head says.
    #[error("the aws-chunked body is malformed: {0}")]
    Chunked(#[from] ChunkError),
    /// The event stream within it is not what its head says.
    #[error("the event stream is malformed: {0}")]
    Events(#[from] EventError),
    /// A signature within it is not the session's.
    #[error("{0}")]
    Signature(#[from] SigV4Error),
    /// It is not the body that a person approved; its end is kept back.
    #[error(
        "x-amz-content-sha256, which the approval is for, is not the digest of the request body; send the request again"
    )]
    NotApproved,
    /// Nothing came for too long, or nothing that may leave.
    #[error(
        "the request body stopped arriving, or a signed part of it took longer than a minute; send it again"
    )]
    Stalled,
    /// It is needed whole, and came too slowly.
    #[error(
        "the request body arrived too slowly: guard needs the whole of it to know or sign what it asks, and waits a \
         minute and then a second for every 64 KiB; send it again, faster"
    )]
    Slow,
    /// It is needed whole, and larger than that may be.
    #[error(
        "the request body is larger than {limit} bytes, and guard needs the whole of it to know or sign what \
         it asks; raise `request_body_bytes` under [limits], or upload in parts"
    )]
    TooLarge {
        /// `limits.request_body_bytes`.
        limit: u64,
    },
    /// The session's share of what the daemon holds of request bodies is used up.
    #[error(
        "guard holds as much of this session's request bodies as it may at this moment; send fewer or smaller ones at \
         once, and this one again later"
    )]
    Busy,
    /// The spool file failed.
    #[error("guard could not spool the request body: {0}; check the state directory's disk")]
    Storage(String),
}

impl BodyError {
    /// What an error of a body as it arrives means.
    pub(super) fn of(error: &(dyn StdError + 'static)) -> Self {
        let kind = find::<io::Error>(error).map(io::Error::kind);
        match kind {
            Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
                Self::Malformed(chain(error))
            }
            _ => Self::Gone,
        }
    }

    pub(super) fn storage(error: &io::Error) -> Self {
        Self::Storage(error.to_string())
    }

    /// A stable code for the journal.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Gone => "client-gone",
            Self::Malformed(_) | Self::Chunked(_) | Self::Events(_) | Self::NotApproved => {
                "malformed-request"
            }
            Self::Signature(_) => "signature",
            Self::Stalled | Self::Slow => "timeout",
            Self::TooLarge { .. } | Self::Busy => "limit",
            Self::Storage(_) => "storage",
        }
    }
}

/// How far a request body has got, for those who wait for its answer.
#[derive(Debug, Default)]
pub(super) struct Progress {
    bytes: AtomicU64,
    error: OnceLock<BodyError>,
}

impl Progress {
    /// Bytes that were sent.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Why it broke off, if it did. An HTTP/2 client only resets the stream then, and tells nobody why.
    pub(super) fn error(&self) -> Option<&BodyError> {
        self.error.get()
    }

    fn tell(&self, frame: Option<&Result<Frame<Bytes>, BodyError>>) {
        match frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.bytes.fetch_add(length, Ordering::Relaxed);
            }
            Some(Err(error)) => {
                // The first one counts.
                let _ = self.error.set(error.clone());
            }
            None => {}
        }
    }
}

/// A request body on its way to the upstream.
pub struct RequestBody {
    body: Source,
    sent: Arc<Progress>,
    stall: Stall,
}

enum Source {
    /// The confined client's.
    Client(Spooled<Incoming>),
    /// As `Client`, approved by a digest that it must have.
    Approved(Box<Approved<Spooled<Incoming>>>),
    /// As `Client`, aws-chunked.
    Chunked(Box<Chunked<Spooled<Incoming>>>),
    /// As `Client`, a signed event stream.
    Events(Box<Events<Spooled<Incoming>>>),
    /// guard's own; `None` once it was sent.
    Own(Option<Bytes>),
}

impl RequestBody {
    /// Tells `sent` how far it has got.
    pub(super) fn new(body: Spooled<Incoming>, sent: Arc<Progress>) -> Self {
        Self::of(Source::Client(body), sent)
    }

    /// As `new`, of a body that still arrives and must have the digest that was approved.
    pub(super) fn approved(body: Spooled<Incoming>, digest: String, sent: Arc<Progress>) -> Self {
        let body = Approved::new(body, digest);
        Self::of(Source::Approved(Box::new(body)), sent)
    }

    /// As `new`, of an aws-chunked body.
    pub(super) fn chunked(body: Chunked<Spooled<Incoming>>, sent: Arc<Progress>) -> Self {
        Self::of(Source::Chunked(Box::new(body)), sent)
    }

    /// As `new`, of a signed event stream.
    pub(super) fn events(body: Events<Spooled<Incoming>>, sent: Arc<Progress>) -> Self {
        Self::of(Source::Events(Box::new(body)), sent)
    }

    /// How far it has got.
    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.sent)
    }

    /// The body of a request that guard itself makes.
    pub(super) fn own(bytes: Bytes) -> Self {
        let body = Source::Own(Some(bytes).filter(|bytes| !bytes.is_empty()));
        Self::of(body, Arc::default())
    }

    fn of(body: Source, sent: Arc<Progress>) -> Self {
        Self {
            body,
            sent,
            stall: Stall::new(STALL),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = match &mut self.body {
            Source::Client(body) => Pin::new(body).poll_frame(context),
            Source::Approved(body) => Pin::new(body).poll_frame(context),
            Source::Chunked(body) => Pin::new(body).poll_frame(context),
            Source::Events(body) => Pin::new(body).poll_frame(context),
            Source::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        };
        let frame = if let Poll::Ready(frame) = polled {
            self.stall.over();
            frame
        } else {
            if matches!(&self.body, Source::Events(events) if events.rests()) {
                self.stall.over();
                return Poll::Pending;
            }
            ready!(self.stall.poll(context));
            Some(Err(BodyError::Stalled))
        };
        self.sent.tell(frame.as_ref());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Source::Client(body) => body.is_end_stream(),
            Source::Approved(body) => body.is_end_stream(),
            Source::Chunked(body) => body.is_end_stream(),
            Source::Events(body) => body.is_end_stream(),
            Source::Own(bytes) => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Source::Client(body) => body.size_hint(),
            Source::Approved(body) => body.size_hint(),
            Source::Chunked(body) => body.size_hint(),
            Source::Events(body) => body.size_hint(),
            Source::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}

/// The time in which nothing of a body could be sent.
struct Stall {
    limit: Duration,
    left: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    fn new(limit: Duration) -> Self {
        Self { limit, left: None }
    }

    /// Ready when that has lasted too long.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let begun = || Box::pin(tokio::time::sleep(self.limit));
        self.left.get_or_insert_with(begun).as_mut().poll(context)
    }

    fn over(&mut self) {
        self.left = None;
    }
}

/// A response body on its way to the client.
pub struct ResponseBody {
    content: Content,
    /// HTTP/1.1: the next request may come when this goes.
    _answering: Option<Answering>,
}

enum Content {
    Whole(Bytes),
    Collected(Collected),
    Through {
        body: Incoming,
        completion: Completion,
    },
}

impl ResponseBody {
    /// Bytes that guard holds.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self {
            content: Content::Whole(bytes),
            _answering: None,
        }
    }

    /// The upstream's body, of which all is here; it counts until it was written, and `completion` is told how that
    /// ended.
    pub(super) fn collected(bytes: Bytes, charge: Charge, completion: Completion) -> Self {
        Self {
            content: Content::Collected(Collected::new(bytes, charge, completion)),
            _answering: None,
        }
    }

    /// The upstream's body as it arrives; `completion` is told how it ended.
    pub(super) fn through(body: Incoming, mut completion: Completion) -> Self {
        if is_over(&body) {
            completion.finish();
        }
        Self {
            content: Content::Through { body, completion },
            _answering: None,
        }
    }

    /// Of a body that was collected, tells when its client is to be given up since it does not read.
    pub(super) fn watched(self, give_up: &GiveUp) -> Self {
        if let Content::Collected(body) = &self.content {
            body.watch(give_up);
        }
        self
    }

    /// Holds the connection's turn until the body has been written or dropped.
    pub(super) fn answering(self, answering: Answering) -> Self {
        Self {
            _answering: Some(answering),
            ..self
        }
    }
}

/// Whether a body has nothing left, though it may not say so in a frame of its own: hyper then drops it
/// without asking again.
fn is_over(body: &Incoming) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Collected(body) => {
                Poll::Ready(body.next().map(|piece| Ok(Frame::data(piece))))
            }
            Content::Through { body, completion } => {
                let frame = ready!(Pin::new(&mut *body).poll_frame(context));
                match &frame {
                    Some(Ok(frame)) => {
                        completion.received(frame.data_ref().map_or(0, Bytes::len));
                        if is_over(body) {
                            completion.finish();
                        }
                    }
                    Some(Err(error)) => completion.fail("upstream-closed", &chain(error)),
                    None => completion.finish(),
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Collected(body) => body.left() == 0,
            Content::Through { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Collected(body) => SizeHint::with_exact(body.left()),
            Content::Through { body, .. } => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn every_piece_that_comes_begins_the_time_anew() {
        let limit = Duration::from_millis(200);
        let mut stall = Stall::new(limit);
        for _ in 0..3 {
            let most = tokio::time::timeout(limit / 2, poll_fn(|context| stall.poll(context)));
            assert!(most.await.is_err(), "not yet");
            stall.over();
        }
        poll_fn(|context| stall.poll(context)).await;
    }
}
