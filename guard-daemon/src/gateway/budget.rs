//! What the bodies that the daemon holds may take of its memory and disk: all of them, and each session's.
//!
//! A session may hold a quarter of what the other sessions leave, so that however many of them take all they can, the
//! next one still has some. What is drawn goes with the bytes: a [`Charge`] that is tied to a buffer is given back when
//! the last that refers to it goes, whoever holds it then.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep};

use super::body::BodyError;

/// Bytes of the daemon's memory, and of its state directory's disk, for request bodies.
const ALL_IN_MEMORY: u64 = 256 * 1024 * 1024;
const ALL_ON_DISK: u64 = 8 * 1024 * 1024 * 1024;

/// Bytes of its memory for answers that are read whole: so many of the largest, at least the same.
const ANSWERS: u64 = 8;

/// A session may hold one part in so many of what the others leave.
const SHARE: u64 = 4;

/// How long something that may wait waits for others to give back, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOKS: Duration = Duration::from_millis(50);

static IN_MEMORY: Pool = Pool::new();
static ON_DISK: Pool = Pool::new();
static IN_ANSWERS: Pool = Pool::new();

struct Pool {
    used: AtomicU64,
}

impl Pool {
    const fn new() -> Self {
        let used = AtomicU64::new(0);
        Self { used }
    }

    /// Draws so many bytes, of `all` there are, for a session that holds `own`.
    fn draw(&self, all: u64, own: &AtomicU64, bytes: u64) -> Result<(), BodyError> {
        let fits = |used: u64| used.checked_add(bytes).filter(|&used| used <= all);
        let before = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map_err(|_before| BodyError::Busy)?;
        let own_now = own.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // Other requests of the session may draw meanwhile: it then counts more for it, never less.
        let others = (before + bytes).saturating_sub(own_now);
        if own_now > all.saturating_sub(others) / SHARE {
            self.give_back(own, bytes);
            return Err(BodyError::Busy);
        }
        Ok(())
    }

    fn give_back(&self, own: &AtomicU64, bytes: u64) {
        own.fetch_sub(bytes, Ordering::Relaxed);
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What the bodies of one session hold.
#[derive(Clone, Debug, Default)]
pub struct Share(Arc<Held>);

#[derive(Debug, Default)]
struct Held {
    memory: AtomicU64,
    disk: AtomicU64,
    answers: AtomicU64,
}

impl Share {
    /// For one request body; nothing is drawn yet.
    pub(super) fn lease(&self) -> Lease {
        Lease {
            memory: self.charge(Of::Memory, ALL_IN_MEMORY),
            disk: self.charge(Of::Disk, ALL_ON_DISK),
        }
    }

    /// For one answer that is read whole, where each may have `largest` bytes; nothing is drawn yet.
    pub(super) fn answer(&self, largest: u64) -> Charge {
        let all = largest.saturating_mul(ANSWERS).max(ALL_IN_MEMORY);
        self.charge(Of::Answers, all)
    }

    fn charge(&self, of: Of, all: u64) -> Charge {
        Charge {
            share: self.clone(),
            of,
            all,
            bytes: 0,
            waits: None,
        }
    }

    /// Bytes of memory that the session's request bodies and answers hold.
    #[cfg(test)]
    pub(super) fn held(&self) -> (u64, u64) {
        let Held {
            memory, answers, ..
        } = &*self.0;
        (
            memory.load(Ordering::Relaxed),
            answers.load(Ordering::Relaxed),
        )
    }
}

/// Of which there is only so much.
#[derive(Clone, Copy, Debug)]
enum Of {
    Memory,
    Disk,
    Answers,
}

/// What was drawn; given back when dropped.
pub(super) struct Charge {
    share: Share,
    of: Of,
    /// Bytes there are, for all sessions.
    all: u64,
    bytes: u64,
    waits: Option<Box<Waits>>,
}

struct Waits {
    until: Instant,
    looks: Pin<Box<Sleep>>,
}

impl Charge {
    /// Draws so many bytes more.
    pub(super) fn draw(&mut self, bytes: u64) -> Result<(), BodyError> {
        let (pool, own) = self.drawn_from();
        pool.draw(self.all, own, bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// As `draw`, but waits ten seconds for the session's others to give back: what is on its way leaves by and by.
    pub(super) fn poll_draw(
        &mut self,
        bytes: u64,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), BodyError>> {
        loop {
            let drawn = self.draw(bytes);
            if drawn.is_ok() || bytes > self.all / SHARE {
                self.waits = None;
                return Poll::Ready(drawn);
            }
            let now = Instant::now();
            let begun = || {
                Box::new(Waits {
                    until: now + PATIENCE,
                    looks: Box::pin(tokio::time::sleep(LOOKS)),
                })
            };
            let waits = self.waits.get_or_insert_with(begun);
            if waits.until <= now {
                self.waits = None;
                return Poll::Ready(drawn);
            }
            ready!(waits.looks.as_mut().poll(context));
            waits.looks.as_mut().reset(Instant::now() + LOOKS);
        }
    }

    /// Counts bytes copied out of a piece that was drawn itself and goes now: they may not be refused any more.
    pub(super) fn take_over(&mut self, bytes: u64) {
        let (pool, own) = self.drawn_from();
        pool.used.fetch_add(bytes, Ordering::Relaxed);
        own.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }

    /// Takes so many of the bytes out, or all there are.
    pub(super) fn split(&mut self, bytes: u64) -> Self {
        let mut split = self.share.charge(self.of, self.all);
        split.bytes = self.bytes.min(bytes);
        self.bytes -= split.bytes;
        split
    }

    /// Gives back what was drawn, but for so many bytes.
    pub(super) fn keep(&mut self, bytes: u64) {
        drop(self.split(self.bytes.saturating_sub(bytes)));
    }

    /// What was drawn was made into so many bytes.
    pub(super) fn resize(&mut self, bytes: u64) -> Result<(), BodyError> {
        self.keep(bytes);
        self.draw(bytes - self.bytes)
    }

    /// Nothing is given back before the last that refers to `bytes` goes.
    pub(super) fn tie(self, bytes: Bytes) -> Bytes {
        if self.bytes == 0 {
            return bytes;
        }
        tie(bytes, self)
    }

    fn drawn_from(&self) -> (&'static Pool, &AtomicU64) {
        let held = &*self.share.0;
        match self.of {
            Of::Memory => (&IN_MEMORY, &held.memory),
            Of::Disk => (&ON_DISK, &held.disk),
            Of::Answers => (&IN_ANSWERS, &held.answers),
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let (pool, own) = self.drawn_from();
        pool.give_back(own, self.bytes);
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} of {:?}", self.bytes, self.of)
    }
}

/// `with` goes when the last that refers to `bytes` does.
pub(super) fn tie<T: Send + 'static>(bytes: Bytes, with: T) -> Bytes {
    Bytes::from_owner(Tied { bytes, _with: with })
}

/// A buffer and what goes with it, in this order.
struct Tied<T> {
    bytes: Bytes,
    _with: T,
}

impl<T> AsRef<[u8]> for Tied<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What one request body holds; given back when dropped.
pub(super) struct Lease {
    memory: Charge,
    disk: Charge,
}

impl Lease {
    /// For another part of the same session's.
    pub(super) fn another(&self) -> Self {
        self.memory.share.lease()
    }

    /// Draws so many bytes of memory.
    pub(super) fn in_memory(&mut self, bytes: u64) -> Result<(), BodyError> {
        self.memory.draw(bytes)
    }

    /// Draws so many bytes of disk.
    pub(super) fn on_disk(&mut self, bytes: u64) -> Result<(), BodyError> {
        self.disk.draw(bytes)
    }

    /// Takes out what was drawn of memory.
    pub(super) fn take_memory(&mut self) -> Charge {
        self.memory.split(u64::MAX)
    }

    /// Gives back what was drawn of disk.
    pub(super) fn release_disk(&mut self) {
        self.disk.keep(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = 256;

    /// Draws all that a session gets, and tells how much that is.
    fn all_it_gets(pool: &Pool, own: &AtomicU64) -> u64 {
        while pool.draw(ALL, own, 1).is_ok() {}
        own.load(Ordering::Relaxed)
    }

    #[test]
    fn a_session_gets_a_quarter_of_what_the_others_leave() {
        let pool = Pool::new();
        let sessions: [AtomicU64; 12] = Default::default();
        let got = sessions.each_ref().map(|own| all_it_gets(&pool, own));
        assert_eq!(got[..4], [64, 48, 36, 27]);
        assert!(got[11] > 0, "there is always some for the next: {got:?}");
        assert_eq!(pool.used.load(Ordering::Relaxed), got.iter().sum::<u64>());

        pool.give_back(&sessions[0], 64);
        let left = ALL - got[1..].iter().sum::<u64>();
        assert_eq!(all_it_gets(&pool, &sessions[0]), left / 4);
        assert_eq!(
            pool.draw(ALL, &sessions[11], u64::MAX),
            Err(BodyError::Busy)
        );
    }

    #[test]
    fn what_one_session_takes_leaves_the_bodies_of_another_alone() {
        let pool = Pool::new();
        let [small, large] = <[AtomicU64; 2]>::default();
        assert_eq!(pool.draw(ALL, &small, 20), Ok(()));
        all_it_gets(&pool, &large);
        assert_eq!(pool.draw(ALL, &small, 20), Ok(()), "it goes on");
    }

    #[test]
    fn what_was_drawn_is_given_back() {
        let share = Share::default();
        let mut lease = share.lease();
        let mut other = lease.another();
        lease.in_memory(5).expect("within the budget");
        other.in_memory(7).expect("within the budget");
        lease.on_disk(9).expect("within the budget");
        let on_disk = || share.0.disk.load(Ordering::Relaxed);
        assert_eq!((share.held(), on_disk()), ((12, 0), 9));
        drop(lease.take_memory());
        assert_eq!((share.held(), on_disk()), ((7, 0), 9));
        drop((lease, other));
        assert_eq!((share.held(), on_disk()), ((0, 0), 0));
        let beyond = share.lease().in_memory(ALL_IN_MEMORY / SHARE + 1);
        assert_eq!(beyond, Err(BodyError::Busy));
        assert_eq!(share.held(), (0, 0));
    }

    #[test]
    fn what_is_tied_to_bytes_is_given_back_with_the_last_that_refers_to_them() {
        let share = Share::default();
        let mut charge = share.lease().take_memory();
        charge.draw(300).expect("within the budget");
        let bytes = charge.split(200).tie(Bytes::from(vec![1; 200]));
        charge.take_over(1);
        assert_eq!(share.held().0, 301);
        charge.keep(100);
        assert_eq!(share.held().0, 300);
        drop(charge);
        assert_eq!(share.held().0, 200);
        let part = bytes.slice(50..51);
        drop(bytes);
        assert_eq!(share.held().0, 200);
        drop(part);
        assert_eq!(share.held().0, 0);
    }

    #[test]
    fn the_largest_answer_fits_however_large_that_is() {
        for largest in [1 << 20, 32 << 20, 100 << 20] {
            let share = Share::default();
            let mut one = share.answer(largest);
            assert_eq!(one.draw(largest), Ok(()));
            assert_eq!(share.held(), (0, largest), "of their own");
            let all = share.answer(largest).all;
            assert_eq!(one.draw(all / SHARE), Err(BodyError::Busy));
        }
    }
}
