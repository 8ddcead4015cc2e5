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
const LINGER_BYTES: u64 = 1024 * 1024;

/// The same after an answer that did not wait for the request's body: a client may send it all the same before
/// it reads.
const BODY_LINGER: Duration = Duration::from_secs(20);
const BODY_LINGER_BYTES: u64 = 1024 * 1024 * 1024;

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
    /// A head was bad: this is still to be written.
    Refusing(BytesMut),
    /// All is written, and our side is shut; so many bytes may still be read and thrown away.
    Lingering(u64),
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
            // A head of bare line feeds has no end to wait for.
            None if head::has_bare_line_feed(&self.buffer, from) => {
                Some(Err(head::bare_line_feed()))
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
        self.state = State::Refusing(answer);
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

    /// Throws away what still comes, until the client closes, or the time or the bytes are spent.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scrap = [0; 16 * 1024];
        while let State::Lingering(left) = self.state {
            let mut into = ReadBuf::new(&mut scrap);
            let read = Pin::new(&mut self.inner).poll_read(context, &mut into);
            let length = into.filled().len() as u64;
            match read {
                Poll::Ready(Ok(())) if length > 0 && left > 0 => {
                    self.state = State::Lingering(left.saturating_sub(length));
                }
                Poll::Ready(_) => break,
                Poll::Pending => return self.deadline.as_mut().poll(context).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
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
                State::Ended | State::Refusing(_) | State::Lingering(_) => {
                    return Poll::Ready(Ok(()));
                }
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
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Refusing(answer) if !answer.is_empty() => {
                    if this.deadline.as_mut().poll(context).is_ready() {
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                    let written = ready!(Pin::new(&mut this.inner).poll_write(context, answer))?;
                    if written == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    answer.advance(written);
                }
                State::Lingering(_) => return this.poll_linger(context),
                _ => {
                    ready!(Pin::new(&mut this.inner).poll_shutdown(context))?;
                    let left = match this.state {
                        State::Refusing(_) => LINGER_BYTES,
                        State::Passing(left @ 1..) => left.min(BODY_LINGER_BYTES),
                        State::Opaque => BODY_LINGER_BYTES,
                        _ => return Poll::Ready(Ok(())),
                    };
                    if !matches!(this.state, State::Refusing(_)) {
                        this.wait_at_most(BODY_LINGER);
                    }
                    this.state = State::Lingering(left);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const LIMIT: usize = 1024;

    /// A reader and the client's end of its connection.
    fn framed(turn: &Turn) -> (Framed<DuplexStream>, DuplexStream) {
        let (client, server) = duplex(64 * 1024);
        let framed = Framed::new(server, LIMIT, Duration::from_millis(200), turn.clone());
        (framed, client)
    }

    /// What passes when the client sends these pieces and ends, each exchange being answered at once.
    async fn passed(pieces: &[&[u8]]) -> (Vec<u8>, Option<Malformed>) {
        let turn = Turn::default();
        let (mut framed, mut client) = framed(&turn);
        let reading = async {
            let mut all = Vec::new();
            let mut some = [0; 7];
            loop {
                let read = framed.read(&mut some).await.expect("a read");
                if read == 0 {
                    return all;
                }
                all.extend_from_slice(&some[..read]);
                drop(turn.answering());
            }
        };
        let writing = async {
            for piece in pieces {
                client.write_all(piece).await.expect("a write");
                tokio::task::yield_now().await;
            }
            client.shutdown().await.expect("an end");
        };
        let (all, ()) = tokio::join!(reading, writing);
        (all, turn.refusal())
    }

    const TWO: &[u8] = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nGET /GET /b HTTP/1.1\r\nHost: h\r\n\r\n";

    #[tokio::test]
    async fn pipelined_requests_pass_however_they_are_split() {
        for at in 0..=TWO.len() {
            let (all, refusal) = passed(&[&TWO[..at], &TWO[at..]]).await;
            assert_eq!(
                String::from_utf8_lossy(&all),
                String::from_utf8_lossy(TWO),
                "split at {at}"
            );
            assert_eq!(refusal, None);
        }
    }

    #[tokio::test]
    async fn a_bad_second_head_stops_exactly_there() {
        let first = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n12345";
        let bad = b"GET /b HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n";
        let mut both = first.to_vec();
        both.extend_from_slice(bad);
        for at in 0..=both.len() {
            let (all, refusal) = passed(&[&both[..at], &both[at..]]).await;
            assert_eq!(all, first, "split at {at}");
            assert!(refusal.expect("refused").why.contains("more than one Host"));
        }
    }

    #[tokio::test]
    async fn the_next_head_waits_for_its_turn_and_the_clients_end_is_seen() {
        let turn = Turn::default();
        let (mut framed, mut client) = framed(&turn);
        client
            .write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HT")
            .await
            .expect("a write");
        let mut some = [0; 256];
        let first = framed.read(&mut some).await.expect("a read");
        assert!(some[..first].starts_with(b"GET /a"));

        client
            .write_all(b"TP/1.1\r\nHost: h\r\n\r\n")
            .await
            .expect("a write");
        let waiting = tokio::time::timeout(Duration::from_millis(50), framed.read(&mut some)).await;
        assert!(
            waiting.is_err(),
            "the second head passed before the first was answered"
        );

        drop(turn.answering());
        let second = framed.read(&mut some).await.expect("a read");
        assert!(some[..second].starts_with(b"GET /b"));

        client
            .write_all(b"GET /c HTTP/1.1\r\n")
            .await
            .expect("a write");
        drop(client);
        let end = tokio::time::timeout(Duration::from_secs(5), framed.read(&mut some)).await;
        assert_eq!(end.expect("noticed").expect("a read"), 0);
    }

    #[tokio::test]
    async fn read_ahead_is_bounded_while_an_exchange_runs() {
        let turn = Turn::default();
        let (mut framed, mut client) = framed(&turn);
        client
            .write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .expect("a write");
        let mut some = [0; 256];
        assert!(framed.read(&mut some).await.expect("a read") > 0);
        client
            .write_all(&vec![b'x'; 60 * 1024])
            .await
            .expect("a write");
        let waiting = tokio::time::timeout(Duration::from_millis(50), framed.read(&mut some)).await;
        assert!(waiting.is_err());
        assert!(
            framed.buffer.len() <= READ_AHEAD,
            "{} bytes were read",
            framed.buffer.len()
        );
    }

    async fn answer_of(mut framed: Framed<DuplexStream>, mut client: DuplexStream) -> String {
        let mut some = [0; 16];
        assert_eq!(
            framed.read(&mut some).await.expect("a read"),
            0,
            "a bad head passed"
        );
        framed.shutdown().await.expect("an end");
        let mut answer = String::new();
        drop(framed);
        client.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_too_slow_or_bad_is_answered() {
        let large = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(LIMIT));
        let endless = format!("GET / HTTP/1.1\r\nX-A: {}", "a".repeat(LIMIT));
        let cases: &[(&str, StatusCode, &str)] = &[
            (
                &large,
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "larger than guard accepts",
            ),
            (
                &endless,
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "larger than guard accepts",
            ),
            (
                "GET / HTTP/1.1\r\nHost:",
                StatusCode::REQUEST_TIMEOUT,
                "in time",
            ),
            ("GET / HTTP/1.1\r\n\r\n", StatusCode::BAD_REQUEST, "no Host"),
            (
                "GET / HTTP/1.1\nHost: h\n\n",
                StatusCode::BAD_REQUEST,
                "bare line feed",
            ),
        ];
        for (sent, status, why) in cases {
            let turn = Turn::default();
            let (framed, mut client) = framed(&turn);
            client.write_all(sent.as_bytes()).await.expect("a write");
            let answer = answer_of(framed, client).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
                "{answer}"
            );
            assert!(
                answer.contains(why) && answer.contains("connection: close"),
                "{answer}"
            );
            assert_eq!(
                turn.refusal().map(|malformed| malformed.status),
                Some(*status)
            );
        }
    }

    #[tokio::test]
    async fn a_connection_without_a_request_just_ends() {
        let turn = Turn::default();
        let (framed, client) = framed(&turn);
        assert_eq!(answer_of(framed, client).await, "");
        assert_eq!(turn.refusal(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn bodies_never_become_requests(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..4),
            cuts in proptest::collection::vec(0usize..900, 0..6),
        ) {
            let mut stream = Vec::new();
            for body in &bodies {
                let head = format!("PUT /k HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
                stream.extend_from_slice(head.as_bytes());
                stream.extend_from_slice(body);
            }
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|two| &stream[two[0]..two[1]]).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let (all, refusal) = runtime.expect("a runtime").block_on(passed(&pieces));
            prop_assert_eq!(all, stream);
            prop_assert_eq!(refusal, None);
        }
    }
}
