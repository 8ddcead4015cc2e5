//! The beginning of a connection is read.

#[path = "../../../../guard-daemon/src/intercept/client_hello/mod.rs"]
#[expect(dead_code, reason = "the target calls a part of it")]
mod opening;

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use opening::{Opening, OpeningError};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}

/// However the bytes arrive, they are read alike; a server name is one that can be matched; no byte is lost.
pub(crate) fn run(data: &[u8]) {
    let (at_once, in_pieces) = (read(data, usize::MAX), read(data, 7));
    assert_eq!(at_once.is_ok(), in_pieces.is_ok());
    if let (Ok(Opening::Tls(one)), Ok(Opening::Tls(other))) = (&at_once, &in_pieces) {
        assert_eq!(one.server_name, other.server_name);
    }
    for opening in [at_once, in_pieces] {
        match opening {
            Ok(Opening::Tls(hello)) => {
                let name = &hello.server_name;
                assert!(!name.is_empty() && !name.ends_with('.'), "{name:?}");
                assert!(
                    !name.bytes().any(|byte| byte.is_ascii_uppercase()),
                    "{name:?}"
                );
                assert!(data.starts_with(&hello.raw));
            }
            Ok(Opening::Plain(raw)) => assert!(data.starts_with(&raw) && raw[0] != 0x16),
            Ok(Opening::Closed) => assert!(data.is_empty()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

fn read(data: &[u8], at_most: usize) -> Result<Opening, OpeningError> {
    RUNTIME.with(|runtime| {
        let _entered = runtime.enter();
        let mut stream = Pieces { data, at_most };
        let deadline = Instant::now() + Duration::from_mins(1);
        let mut reading = pin!(opening::read(&mut stream, deadline));
        // The stream is always ready.
        match reading
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(opening) => opening,
            Poll::Pending => panic!("it waits for nothing"),
        }
    })
}

struct Pieces<'a> {
    data: &'a [u8],
    at_most: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = self.data.len().min(self.at_most).min(into.remaining());
        let (now, later) = self.data.split_at(length);
        into.put_slice(now);
        self.data = later;
        Poll::Ready(Ok(()))
    }
}
