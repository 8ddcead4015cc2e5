//! An answer that guard collected, on its way to the client: it counts towards the session's share until it was
//! written, and a client that does not read it is given up.
//!
//! `body` hands it out in pieces. Neither version of HTTP asks for the next piece while the client takes nothing, so a
//! task of its own looks after it, and `serve` drops the connection when that says so.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::budget::{self, Charge};
use super::outcome::Completion;

/// Bytes that are handed out at once.
const PIECE: usize = 64 * 1024;

/// How long a client may take for a piece.
const PATIENCE: Duration = if cfg!(test) {
    Duration::from_millis(500)
} else {
    Duration::from_mins(1)
};

/// An answer that is all here.
pub(super) struct Collected {
    left: Bytes,
    /// `None` once all of it was handed out: who has it holds the other end.
    delivery: Option<Arc<Delivery>>,
}

/// There as long as any of the answer is.
struct Delivery {
    /// Told of each piece that is taken.
    taken: watch::Sender<()>,
    completion: Mutex<Completion>,
}

impl Collected {
    /// `charge` is what was drawn for `bytes`; `completion` is told how it ended.
    pub(super) fn new(bytes: Bytes, charge: Charge, mut completion: Completion) -> Self {
        if bytes.is_empty() {
            completion.finish();
            return Self {
                left: bytes,
                delivery: None,
            };
        }
        let delivery = Arc::new(Delivery {
            taken: watch::Sender::new(()),
            completion: Mutex::new(completion),
        });
        Self {
            left: budget::tie(bytes, (charge, Arc::clone(&delivery))),
            delivery: Some(delivery),
        }
    }

    /// Bytes that were not handed out yet.
    pub(super) fn left(&self) -> u64 {
        self.left.len() as u64
    }

    /// The next piece.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let delivery = self.delivery.as_ref()?;
        let piece = self.left.split_to(PIECE.min(self.left.len()));
        delivery.taken.send_replace(());
        if self.left.is_empty() {
            delivery.end(Completion::finish);
            self.delivery = None;
        }
        Some(piece)
    }

    /// Tells `give_up` when a piece was not taken in time, or the last not written.
    pub(super) fn watch(&self, give_up: &GiveUp) {
        let Some(delivery) = &self.delivery else {
            return;
        };
        let mut taken = delivery.taken.subscribe();
        let delivery = Arc::downgrade(delivery);
        let give_up = give_up.clone();
        tokio::spawn(async move {
            while let Ok(changed) = timeout(PATIENCE, taken.changed()).await {
                if changed.is_err() {
                    return;
                }
            }
            if let Some(delivery) = delivery.upgrade() {
                delivery.end(|completion| completion.fail("timeout", UNREAD));
                give_up.0.notify_one();
            }
        });
    }
}

const UNREAD: &str = "the client did not read its answer: no 64 KiB of it within a minute";

impl Delivery {
    fn end(&self, how: impl FnOnce(&mut Completion)) {
        how(&mut self
            .completion
            .lock()
            .unwrap_or_else(PoisonError::into_inner));
    }
}

/// Tells whoever serves a connection that its client is given up.
#[derive(Clone, Default)]
pub(super) struct GiveUp(Arc<Notify>);

impl GiveUp {
    /// Serves the connection, unless its client is given up: that drops it.
    pub(super) async fn unless<E>(
        &self,
        connection: impl Future<Output = Result<(), E>>,
    ) -> Result<(), E> {
        tokio::select! {
            result = connection => result,
            () = self.0.notified() => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use http::{Request, Response};
    use http_body_util::Empty;
    use hyper::client::conn::http2;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::{AsyncWriteExt, duplex};

    use super::super::body::ResponseBody;
    use super::super::serve::{serve_http1, serve_http2};
    use super::*;
    use crate::config::Limits;
    use crate::gateway::Share;

    fn made_of(share: &Share, length: usize) -> (Bytes, Charge, Completion, Receiver<String>) {
        let (record, recorded) = channel();
        let completion = Completion::new(
            "x-1".to_owned(),
            Box::new(move |entry| {
                let _ = record.send(entry.error.unwrap_or_default());
            }),
        );
        let mut charge = share.answer(1 << 20);
        charge.draw(length as u64).expect("within the share");
        (Bytes::from(vec![7; length]), charge, completion, recorded)
    }

    fn collected(share: &Share, length: usize) -> (Collected, Receiver<String>) {
        let (bytes, charge, completion, recorded) = made_of(share, length);
        (Collected::new(bytes, charge, completion), recorded)
    }

    /// Asks for an answer on either version of HTTP, and never reads its body.
    async fn never_read(is_http2: bool) {
        let share = Share::default();
        let (bytes, charge, completion, recorded) = made_of(&share, 1 << 20);
        let body = Mutex::new(Some(ResponseBody::collected(bytes, charge, completion)));
        let (mut client, far) = duplex(16 * 1024);
        let limits = Limits::default();
        let run = |_request| {
            let body = body.lock().expect("no panic").take();
            async { Response::new(body.expect("one request only")) }
        };
        let asked = async {
            if !is_http2 {
                let head = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
                client.write_all(head).await.expect("a write");
                return std::future::pending().await;
            }
            let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(0)
                .handshake(TokioIo::new(client))
                .await
                .expect("HTTP/2");
            tokio::spawn(connection);
            let request = Request::get("https://h/a").body(Empty::<Bytes>::new());
            let answer = sender.send_request(request.expect("a request")).await;
            let _unread = answer.expect("an answer");
            std::future::pending::<()>().await;
        };
        let served = async {
            if is_http2 {
                serve_http2(far, &limits, run).await
            } else {
                serve_http1(far, &limits, run).await
            }
        };
        let served = timeout(4 * PATIENCE, served);
        let served = tokio::select! {
            served = served => served,
            () = asked => unreachable!("it stays"),
        };
        assert_eq!(served, Ok(Ok(())), "given up");
        let told: Vec<_> = recorded.iter().collect();
        assert!(
            matches!(&told[..], [one] if one.starts_with("timeout: ")),
            "{told:?}"
        );
        for _ in 0..50 {
            if share.held().1 == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("what was held is given back");
    }

    #[tokio::test]
    async fn a_client_that_never_reads_is_given_up_on_http_1() {
        never_read(false).await;
    }

    #[tokio::test]
    async fn a_client_that_never_opens_its_window_is_given_up_on_http_2() {
        never_read(true).await;
    }

    #[tokio::test]
    async fn an_answer_counts_until_the_last_of_it_was_written() {
        let share = Share::default();
        let length = 2 * PIECE + 1;
        let (mut body, recorded) = collected(&share, length);
        let mut written: Vec<_> = std::iter::from_fn(|| body.next()).collect();
        assert_eq!(written.iter().map(Bytes::len).sum::<usize>(), length);
        assert_eq!(recorded.try_recv().as_deref(), Ok(""));
        drop(body);
        written.truncate(1);
        assert_eq!(share.held().1, length as u64);
        written.clear();
        assert_eq!(share.held().1, 0);
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up_and_one_that_takes_something_is_not() {
        let share = Share::default();
        let (mut body, recorded) = collected(&share, 4 * PIECE);
        let give_up = GiveUp::default();
        body.watch(&give_up);
        for _ in 0..3 {
            tokio::time::sleep(PATIENCE * 2 / 3).await;
            body.next().expect("a piece");
        }
        assert!(recorded.try_recv().is_err(), "it goes on");
        let ever = std::future::pending::<Result<(), ()>>();
        let served = timeout(2 * PATIENCE, give_up.unless(ever)).await;
        assert_eq!(served, Ok(Ok(())));
        drop(body);
        let told: Vec<_> = recorded.iter().collect();
        assert!(
            matches!(&told[..], [one] if one.starts_with("timeout: ")),
            "{told:?}"
        );
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_on_record() {
        let (mut body, recorded) = collected(&Share::default(), 4 * PIECE);
        body.watch(&GiveUp::default());
        drop(body.next());
        drop(body);
        let told = recorded.try_recv().expect("recorded");
        assert!(told.starts_with("client-gone"), "{told}");
    }
}
