//! The reader between TLS and hyper on HTTP/1.1: passes one strictly inspected request at a time.
//!
//! Of a request with a length, exactly its head and that many bytes pass before the next head is inspected.
//! After a chunked request nothing is ever inspected: `serve` answers it with `connection: close`, so
//! hyper never takes what follows it for a request. And no head passes before the one before it has been
//! answered ([`Turn`]), however the client pipelines; meanwhile the connection is still read, within
//! bounds, so that hyper notices a client that has gone. A bad head ends the connection: hyper is shown an
//! orderly end, and the answer is written when it closes.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::head::{self, Framing, Malformed};

/// How long a connection may rest between two requests.
const IDLE: Duration = Duration::from_mins(2);

/// Bytes read ahead while a request is still being answered.
const READ_AHEAD: usize = 16 * 1024;

/// After a refusal, how long and how much is still read, so that the answer is not lost to a reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

/// What a connection's reader and its exchanges tell each other.
#[derive(Clone, Default)]
pub(super) struct Turn(Arc<Mutex<TurnState>>);

#[derive(Default)]
struct TurnState {
    busy: bool,
    reader: Option<Waker>,
    refusal: Option<Malformed>,
}

impl Turn {
    /// For the exchange that is running: when this is dropped, the next request may come.
    pub(super) fn answering(&self) -> Answering {
        Answering(self.clone())
    }

    /// Why the connection was refused, if it was.
    pub(super) fn refusal(&self) -> Option<Malformed> {
        self.state().refusal.clone()
    }

    fn state(&self) -> MutexGuard<'_, TurnState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) {
        self.state().busy = true;
    }

    /// Whether the next head may be inspected; wakes `context` later where it may not.
    fn is_free(&self, context: &Context<'_>) -> bool {
        let mut state = self.state();
        if state.busy {
            state.reader = Some(context.waker().clone());
        }
        !state.busy
    }
}

/// Held while an exchange is answered, the body of the answer included.
pub(super) struct Answering(Turn);

impl Drop for Answering {
    fn drop(&mut self) {
        let reader = {
            let mut state = self.0.state();
            state.busy = false;
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// A connection whose requests are inspected as they are read.
pub(super) struct Framed<I> {
    inner: I,
    head_bytes: usize,
    head_timeout: Duration,
    turn: Turn,
    /// Bytes read and not yet passed on.
    buffer: BytesMut,
    /// Bytes of `buffer` known not to hold the end of a head.
    searched: usize,
    state: State,
    deadline: Pin<Box<Sleep>>,
}

enum State {
    /// Before the first byte of a head.
    Idle,
    /// Within a head.
    Head,
    /// This many bytes are a request's: its inspected head and its body.
    Passing(u64),
    /// All that comes is a chunked request's.
    Opaque,
    /// The client has gone.
    Ended,
    /// A head was bad: `answer` is still to be written, then so much may still be read and thrown away.
    Refusing {
        answer: BytesMut,
        shut: bool,
        lingering: usize,
    },
}

impl<I> Framed<I> {
    /// Inspects what is read from `inner`; a head has `head_bytes` at the most and arrives in `head_timeout`.
    pub(super) fn new(inner: I, head_bytes: usize, head_timeout: Duration, turn: Turn) -> Self {
        Self {
            inner,
            head_bytes,
            head_timeout,
            turn,
            buffer: BytesMut::new(),
            searched: 0,
            state: State::Idle,
            // The first request of a connection has no long rest before it.
            deadline: Box::pin(tokio::time::sleep(head_timeout)),
        }
    }

    fn wait_at_most(&mut self, time: Duration) {
        self.deadline.as_mut().reset(Instant::now() + time);
    }

    /// Looks for a whole head in the buffer; `None` where more bytes are needed.
    fn whole_head(&mut self) -> Option<Result<(usize, Framing), Malformed>> {
        let from = self.searched.saturating_sub(3);
        let end = self.buffer[from..]
            .windows(4)
            .position(|four| four == b"\r\n\r\n");
        self.searched = self.buffer.len();
        match end.map(|at| from + at + 4) {
            Some(length) if length <= self.head_bytes => {
                Some(head::inspect(&self.buffer[..length]).map(|framing| (length, framing)))
            }
            None if self.buffer.len() < self.head_bytes => None,
            _ => Some(Err(Malformed::too_large(
                "the request head is larger than guard accepts",
            ))),
        }
    }

    fn refuse(&mut self, malformed: Malformed) {
        let answer = BytesMut::from(answer_to(&malformed).as_bytes());
        self.turn.state().refusal = Some(malformed);
        self.state = State::Refusing {
            answer,
            shut: false,
            lingering: LINGER_BYTES,
        };
        self.wait_at_most(LINGER);
    }
}

fn answer_to(malformed: &Malformed) -> String {
    let Malformed { status, why } = malformed;
    let text = format!("guard refused this request: {why}\n");
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
         x-guard-reason: {why}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    )
}

impl<I: AsyncRead + Unpin> Framed<I> {
    /// Reads once into the buffer; zero at the end of the stream.
    fn fill(&mut self, context: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        let before = self.buffer.len();
        self.buffer.resize(before + room, 0);
        let mut into = ReadBuf::new(&mut self.buffer[before..]);
        let result = Pin::new(&mut self.inner).poll_read(context, &mut into);
        let read = into.filled().len();
        self.buffer.truncate(before + read);
        result.map_ok(|()| read)
    }

    /// Waits for a head and inspects it. Ready when the state is no longer `Idle` or `Head`.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.turn.is_free(context) {
            if self.buffer.len() >= READ_AHEAD {
                return Poll::Pending;
            }
            let room = READ_AHEAD - self.buffer.len();
            if ready!(self.fill(context, room))? == 0 {
                self.state = State::Ended;
                return Poll::Ready(Ok(()));
            }
        }
        loop {
            if matches!(self.state, State::Idle) && !self.buffer.is_empty() {
                self.state = State::Head;
                self.wait_at_most(self.head_timeout);
            }
            match self.whole_head() {
                Some(Ok((length, framing))) => {
                    self.searched = 0;
                    self.turn.begin();
                    self.state = match framing {
                        Framing::Length(body) => State::Passing(body + length as u64),
                        Framing::Chunked => State::Opaque,
                    };
                    return Poll::Ready(Ok(()));
                }
                Some(Err(malformed)) => {
                    self.refuse(malformed);
                    return Poll::Ready(Ok(()));
                }
                None => {}
            }
            let room = (self.head_bytes - self.buffer.len()).min(8 * 1024);
            match self.fill(context, room)? {
                Poll::Ready(0) => {
                    self.state = State::Ended;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(_) => {}
                Poll::Pending => {
                    ready!(self.deadline.as_mut().poll(context));
                    if matches!(self.state, State::Head) {
                        self.refuse(Malformed::too_slow());
                    } else {
                        self.state = State::Ended;
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Passes up to `left` bytes on: what is buffered first, then straight from the connection.
    fn poll_pass(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
        left: u64,
    ) -> Poll<io::Result<u64>> {
        let room = usize::try_from(left).unwrap_or(usize::MAX);
        if !self.buffer.is_empty() {
            let length = self.buffer.len().min(into.remaining()).min(room);
            into.put_slice(&self.buffer[..length]);
            self.buffer.advance(length);
            return Poll::Ready(Ok(length as u64));
        }
        if into.remaining() <= room {
            let before = into.filled().len();
            ready!(Pin::new(&mut self.inner).poll_read(context, into))?;
            return Poll::Ready(Ok((into.filled().len() - before) as u64));
        }
        let mut limited = ReadBuf::new(into.initialize_unfilled_to(room));
        ready!(Pin::new(&mut self.inner).poll_read(context, &mut limited))?;
        let length = limited.filled().len();
        into.advance(length);
        Poll::Ready(Ok(length as u64))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Framed<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match this.state {
                State::Idle | State::Head => ready!(this.poll_head(context))?,
                State::Passing(0) => {
                    this.state = State::Idle;
                    this.wait_at_most(IDLE);
                }
                State::Passing(left) => {
                    let passed = ready!(this.poll_pass(context, into, left))?;
                    if passed == 0 && into.remaining() > 0 {
                        this.state = State::Ended;
                    } else {
                        this.state = State::Passing(left - passed);
                    }
                    return Poll::Ready(Ok(()));
                }
                State::Opaque => {
                    ready!(this.poll_pass(context, into, u64::MAX))?;
                    return Poll::Ready(Ok(()));
                }
                State::Ended | State::Refusing { .. } => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Framed<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self {
            inner,
            state,
            deadline,
            ..
        } = &mut *self;
        let State::Refusing {
            answer,
            shut,
            lingering,
        } = state
        else {
            return Pin::new(inner).poll_shutdown(context);
        };
        while !answer.is_empty() {
            if deadline.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let written = ready!(Pin::new(&mut *inner).poll_write(context, answer))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            answer.advance(written);
        }
        if !*shut {
            ready!(Pin::new(&mut *inner).poll_shutdown(context))?;
            *shut = true;
        }
        let mut scrap = [0; 4096];
        loop {
            let mut into = ReadBuf::new(&mut scrap);
            match Pin::new(&mut *inner).poll_read(context, &mut into) {
                Poll::Ready(Ok(())) if !into.filled().is_empty() && *lingering > 0 => {
                    *lingering = lingering.saturating_sub(into.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return deadline.as_mut().poll(context).map(Ok),
            }
        }
    }
}
