//! Collects a request body that is needed whole, or that arrives while its exchange is held.
//!
//! What is collected is hashed, kept in memory up to [`IN_MEMORY`] and in an unlinked file beyond that, and
//! replayed once. A spool that never collected anything passes the body through as it arrives. What is held counts
//! towards the session's share of `budget` until it was sent, and a client that stalls or is too slow is given up.

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncSeekExt, AsyncWriteExt, ReadBuf};

#[cfg(test)]
use super::Share;
use super::body::BodyError;
use super::budget::{Charge, Lease};
use super::chunked::Content;
use crate::aws::BodyView;

/// Bytes of one body that are kept in memory, and can be looked into.
pub const IN_MEMORY: usize = 8 * 1024 * 1024;

/// Bytes of one body that are in memory, or nowhere: what a decision reads is hardly ever larger.
const LOOKED_INTO: usize = 1024 * 1024;

/// How long a client may send nothing in the midst of a body.
pub(super) const STALL: Duration = Duration::from_mins(1);

/// How long a body that is collected is waited for in all: the first minute, and a second for so many bytes of it.
const GRACE: Duration = Duration::from_mins(1);
const BYTES_A_SECOND: u64 = 64 * 1024;

/// How long the rest of a refused body is waited for.
const DISCARD: Duration = Duration::from_secs(20);

/// Bytes of a chunked body that are here before any of it is sent, and how long they are waited for.
const READ_AHEAD: u64 = 256 * 1024;
const READ_AHEAD_TIME: Duration = Duration::from_secs(20);

/// Bytes read from the file at once.
const CHUNK: usize = 128 * 1024;

/// Bytes of what is in memory that are taken apart at once: of a body of tiny parts, more is made of them than they are.
const PIECE: usize = 512 * 1024;

/// A request body, as far as it was collected, and the rest of it.
pub(super) struct Spool<B> {
    /// What has not arrived yet; `None` when all has.
    source: Option<B>,
    limit: u64,
    directory: PathBuf,
    memory: BytesMut,
    file: Option<File>,
    /// Arrived, but not yet in the file.
    unwritten: Bytes,
    length: u64,
    /// How long the client was waited for.
    waited: Duration,
    hash: digest::Context,
    /// What is inside the framing of an aws-chunked body.
    content: Option<Content>,
    lease: Lease,
}

impl<B> Spool<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Nothing is read yet. `limit` bounds what will be collected, in bytes; `directory` is made when the
    /// first file is; `lease` is the session's.
    pub(super) fn new(source: B, directory: PathBuf, limit: u64, lease: Lease) -> Self {
        Self {
            source: Some(source).filter(|source| !source.is_end_stream()),
            limit,
            directory,
            memory: BytesMut::new(),
            file: None,
            unwritten: Bytes::new(),
            length: 0,
            waited: Duration::ZERO,
            hash: digest::Context::new(&digest::SHA256),
            content: None,
            lease,
        }
    }

    /// Of what will be collected, the content is digested by itself, and malformed framing is an error. To be
    /// called before anything is collected.
    pub(super) fn look_into(&mut self, content: Option<Content>) {
        self.content = content;
    }

    /// Collects the whole body; too large a one is refused, before it is read where it says its length.
    pub(super) async fn collect(&mut self) -> Result<(), BodyError> {
        let too_large = BodyError::TooLarge { limit: self.limit };
        let announced = self
            .source
            .as_ref()
            .map_or(0, |source| source.size_hint().lower());
        if self.length.saturating_add(announced) > self.limit {
            return Err(too_large);
        }
        self.fill().await?;
        if self.has_arrived() {
            Ok(())
        } else {
            Err(too_large)
        }
    }

    /// Collects until the body ends or the limit is reached. May be dropped and called again: nothing
    /// is lost.
    pub(super) async fn fill(&mut self) -> Result<(), BodyError> {
        self.fill_to(self.limit).await
    }

    /// Collects the beginning of a body that is sent on as it arrives: a bad chunk in it leaves nothing half sent.
    /// That of a slow client is not waited for.
    pub(super) async fn read_ahead(&mut self) -> Result<(), BodyError> {
        let ahead = self.fill_to(READ_AHEAD);
        tokio::time::timeout(READ_AHEAD_TIME, ahead)
            .await
            .unwrap_or(Ok(()))
    }

    /// Collects until the body ends or so many bytes are here. May be dropped and called again.
    async fn fill_to(&mut self, length: u64) -> Result<(), BodyError> {
        loop {
            self.write_out().await?;
            let Some(source) = &mut self.source else {
                return Ok(());
            };
            if source.is_end_stream() {
                return self.end();
            }
            if self.length >= length {
                return Ok(());
            }
            let left = allowance(self.length).saturating_sub(self.waited);
            let began = Instant::now();
            let frame = tokio::time::timeout(left.min(STALL), source.frame()).await;
            self.waited += began.elapsed();
            let late = if left < STALL {
                BodyError::Slow
            } else {
                BodyError::Stalled
            };
            match frame.map_err(|_elapsed| late)? {
                None => self.end()?,
                Some(Err(error)) => {
                    self.source = None;
                    return Err(BodyError::of(error.into().as_ref()));
                }
                // HTTP trailers are dropped: no signature covers them, and AWS reads none.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.take_in(data)?;
                    }
                }
            }
        }
    }

    /// Reads what has not arrived and throws it away, within bounds, so that a client that sends before it
    /// reads gets to the answer.
    pub(super) async fn discard(&mut self) {
        let Some(mut source) = self.source.take() else {
            return;
        };
        let read = async {
            let mut left = self.limit;
            while let Some(Ok(frame)) = source.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                left = left.saturating_sub(length);
                if left == 0 {
                    return;
                }
            }
        };
        // Past the time the connection just closes.
        let _ = tokio::time::timeout(DISCARD, read).await;
    }

    /// Whether all of the body is here.
    pub(super) fn has_arrived(&self) -> bool {
        self.source.is_none()
    }

    /// Whether there is nothing of it, and by its head never will be.
    pub(super) fn is_empty(&self) -> bool {
        let comes = |source: &B| source.size_hint().exact() != Some(0);
        self.length == 0 && !self.source.as_ref().is_some_and(comes)
    }

    /// The body, where all of it is in memory.
    pub(super) fn view(&self) -> BodyView<'_> {
        if self.has_arrived() && self.file.is_none() {
            BodyView::Whole(&self.memory)
        } else {
            BodyView::Unread
        }
    }

    /// SHA-256 of the whole body, hexadecimal; `None` before all of it is here.
    pub(super) fn sha256(&self) -> Option<String> {
        self.has_arrived()
            .then(|| hex::encode(self.hash.clone().finish()))
    }

    /// The digest of what the body carries: SHA-256 of the body, hexadecimal, or that of [`Content`]; `None` before all
    /// of it is here.
    pub(super) fn content_digest(&self) -> Option<String> {
        match &self.content {
            Some(content) => content.digest(),
            None => self.sha256(),
        }
    }

    /// The body to send: what was collected, then the rest as it arrives. Leaves nothing behind.
    pub(super) async fn take(&mut self) -> Result<Spooled<B>, BodyError> {
        self.write_out().await?;
        let mut file = self.file.take();
        if let Some(file) = &mut file {
            file.rewind()
                .await
                .map_err(|error| BodyError::storage(&error))?;
        }
        let memory = std::mem::take(&mut self.memory).freeze();
        let memory = self.lease.take_memory().tie(memory);
        let another = self.lease.another();
        let in_file = if file.is_some() { self.length } else { 0 };
        Ok(Spooled {
            memory,
            file: file.map(|file| {
                Box::new(Replay {
                    file,
                    left: in_file,
                    chunk: BytesMut::new(),
                })
            }),
            rest: self.source.take(),
            lease: std::mem::replace(&mut self.lease, another),
            counting: None,
        })
    }

    fn end(&mut self) -> Result<(), BodyError> {
        self.source = None;
        let content = self.content.as_ref();
        Ok(content.map_or(Ok(()), Content::check_over)?)
    }

    fn take_in(&mut self, data: Bytes) -> Result<(), BodyError> {
        self.hash.update(&data);
        if let Some(content) = &mut self.content {
            content.take(data.clone())?;
        }
        self.length += data.len() as u64;
        if self.file.is_none() && self.memory.len() + data.len() <= IN_MEMORY {
            match self.lease.in_memory(data.len() as u64) {
                Ok(()) => {
                    self.memory.extend_from_slice(&data);
                    return Ok(());
                }
                // What has grown so large is hardly looked into, and the disk has room: parts of an upload that wait
                // for a person together are more than the memory's share.
                Err(_busy) if self.memory.len() >= LOOKED_INTO => {}
                Err(busy) => return Err(busy),
            }
        }
        self.lease.on_disk(data.len() as u64)?;
        self.unwritten = data;
        if self.file.is_none() {
            self.lease.on_disk(self.memory.len() as u64)?;
            self.file = Some(
                self.make_file()
                    .map_err(|error| BodyError::storage(&error))?,
            );
            // Once per large body: what was in memory goes first.
            let mut all = std::mem::take(&mut self.memory);
            all.extend_from_slice(&self.unwritten);
            self.unwritten = all.freeze();
        }
        Ok(())
    }

    fn make_file(&self) -> io::Result<File> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        tempfile::tempfile_in(&self.directory).map(File::from_std)
    }

    async fn write_out(&mut self) -> Result<(), BodyError> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        while !self.unwritten.is_empty() {
            let written = file
                .write(&self.unwritten)
                .await
                .map_err(|error| BodyError::storage(&error))?;
            self.unwritten.advance(written);
            if self.unwritten.is_empty() {
                drop(self.lease.take_memory());
            }
        }
        if self.source.is_none() {
            file.flush()
                .await
                .map_err(|error| BodyError::storage(&error))?;
        }
        Ok(())
    }
}

/// How long a client may have taken for so many bytes.
fn allowance(bytes: u64) -> Duration {
    GRACE + Duration::from_secs(bytes / BYTES_A_SECOND)
}

/// A collected body on its way out, followed by what of it still arrives.
pub(super) struct Spooled<B> {
    memory: Bytes,
    file: Option<Box<Replay>>,
    rest: Option<B>,
    /// Of the file.
    lease: Lease,
    counting: Option<Box<Counting>>,
}

/// What counts the pieces of a body as they come.
struct Counting {
    charge: Charge,
    /// It waits for the session's others to give back.
    waiting: Option<Bytes>,
}

impl<B> Spooled<B> {
    /// Every piece counts towards the session's memory until nobody holds it any more: for a body of which much is
    /// held on its way.
    pub(super) fn counted(self) -> Self {
        let counting = Counting {
            charge: self.charge(),
            waiting: None,
        };
        Self {
            counting: Some(Box::new(counting)),
            ..self
        }
    }

    /// Bytes that are here and not on their way.
    fn here(&self) -> u64 {
        let counting = self.counting.as_ref();
        let waiting = counting.and_then(|it| it.waiting.as_ref());
        let in_file = self.file.as_ref().map_or(0, |replay| replay.left);
        (self.memory.len() + waiting.map_or(0, Bytes::len)) as u64 + in_file
    }

    /// For what else is held of this body in memory.
    pub(super) fn charge(&self) -> Charge {
        self.lease.another().take_memory()
    }
}

impl<B> Spooled<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// What is not in memory: the next piece from the file, or as it arrives.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if let Some(replay) = self.file.as_mut().filter(|replay| replay.left > 0) {
            let chunk = ready!(replay.poll_chunk(context));
            return Poll::Ready(Some(chunk.map_err(|error| BodyError::storage(&error))));
        }
        // What was collected is on its way.
        self.file = None;
        self.lease.release_disk();
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let error = match ready!(Pin::new(rest).poll_frame(context)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => return Poll::Ready(Some(Ok(data))),
                Err(_trailers) => None,
            },
            Some(Err(error)) => Some(BodyError::of(error.into().as_ref())),
            None => None,
        };
        self.rest = None;
        Poll::Ready(error.map(Err))
    }
}

#[cfg(test)]
impl<B> Spooled<B> {
    /// A body that is all here.
    pub(super) fn of(memory: Bytes) -> Self {
        Self {
            memory,
            file: None,
            rest: None,
            lease: Share::default().lease(),
            counting: None,
        }
    }
}

struct Replay {
    file: File,
    left: u64,
    chunk: BytesMut,
}

impl Replay {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let length = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
        self.chunk.resize(length, 0);
        let mut into = ReadBuf::new(&mut self.chunk);
        ready!(Pin::new(&mut self.file).poll_read(context, &mut into))?;
        let read = into.filled().len();
        if read == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.left -= read as u64;
        Poll::Ready(Ok(self.chunk.split_to(read).freeze()))
    }
}

impl<B> Body for Spooled<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if !this.memory.is_empty() {
            let most = if this.counting.is_some() {
                PIECE
            } else {
                IN_MEMORY
            };
            let piece = this.memory.split_to(most.min(this.memory.len()));
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let waiting = this.counting.as_mut().and_then(|it| it.waiting.take());
        let piece = match waiting {
            Some(piece) => piece,
            None => match ready!(this.poll_piece(context)) {
                Some(Ok(piece)) => piece,
                other => return Poll::Ready(other.map(|it| it.map(Frame::data))),
            },
        };
        let Some(counting) = &mut this.counting else {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        };
        match counting.charge.poll_draw(piece.len() as u64, context) {
            Poll::Ready(drawn) => drawn?,
            Poll::Pending => {
                counting.waiting = Some(piece);
                return Poll::Pending;
            }
        }
        let piece = counting.charge.split(u64::MAX).tie(piece);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.here() == 0 && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let here = self.here();
        let Some(rest) = &self.rest else {
            return SizeHint::with_exact(here);
        };
        let rest = rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + here);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + here);
        }
        hint
    }
}
