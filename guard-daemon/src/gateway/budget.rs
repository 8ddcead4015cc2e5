//! What the request bodies that the daemon holds may take of its memory and disk: all of them, and each session's.
//!
//! A session may hold a quarter of what the other sessions leave, so that however many of them take all they can, the
//! next one still has some.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::body::BodyError;

/// Bytes of the daemon's memory, and of its state directory's disk.
const ALL_IN_MEMORY: u64 = 256 * 1024 * 1024;
const ALL_ON_DISK: u64 = 8 * 1024 * 1024 * 1024;

/// A session may hold one part in so many of what the others leave.
const SHARE: u64 = 4;

static MEMORY: Pool = Pool::new(ALL_IN_MEMORY);
static DISK: Pool = Pool::new(ALL_ON_DISK);

struct Pool {
    all: u64,
    used: AtomicU64,
}

impl Pool {
    const fn new(all: u64) -> Self {
        let used = AtomicU64::new(0);
        Self { all, used }
    }

    /// Draws so many bytes for a session that holds `own`.
    fn draw(&self, own: &AtomicU64, bytes: u64) -> Result<(), BodyError> {
        let fits = |used: u64| used.checked_add(bytes).filter(|&used| used <= self.all);
        let before = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map_err(|_before| BodyError::Busy)?;
        let own_now = own.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // Other requests of the session may draw meanwhile: it then counts more for it, never less.
        let others = (before + bytes).saturating_sub(own_now);
        if own_now > (self.all - others) / SHARE {
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
}

impl Share {
    /// For one body; nothing is drawn yet.
    pub(super) fn lease(&self) -> Lease {
        Lease {
            share: self.clone(),
            memory: 0,
            disk: 0,
        }
    }
}

/// What one body holds; given back when dropped.
pub(super) struct Lease {
    share: Share,
    memory: u64,
    disk: u64,
}

impl Lease {
    /// For another part of the same session's.
    pub(super) fn another(&self) -> Self {
        self.share.lease()
    }

    /// Draws so many bytes of memory.
    pub(super) fn in_memory(&mut self, bytes: u64) -> Result<(), BodyError> {
        MEMORY.draw(&self.share.0.memory, bytes)?;
        self.memory += bytes;
        Ok(())
    }

    /// Draws so many bytes of disk.
    pub(super) fn on_disk(&mut self, bytes: u64) -> Result<(), BodyError> {
        DISK.draw(&self.share.0.disk, bytes)?;
        self.disk += bytes;
        Ok(())
    }

    /// Bytes of memory that are drawn.
    #[cfg(test)]
    pub(super) fn drawn(&self) -> u64 {
        self.memory
    }

    /// Gives back what was drawn of memory.
    pub(super) fn release_memory(&mut self) {
        self.keep_in_memory(0);
    }

    /// Gives back what was drawn of memory, but for so many bytes.
    pub(super) fn keep_in_memory(&mut self, bytes: u64) {
        let kept = self.memory.min(bytes);
        let left = std::mem::replace(&mut self.memory, kept) - kept;
        MEMORY.give_back(&self.share.0.memory, left);
    }

    /// Gives back all that was drawn.
    pub(super) fn release(&mut self) {
        self.release_memory();
        let bytes = std::mem::take(&mut self.disk);
        DISK.give_back(&self.share.0.disk, bytes);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws all that a session gets, and tells how much that is.
    fn all_it_gets(pool: &Pool, own: &AtomicU64) -> u64 {
        while pool.draw(own, 1).is_ok() {}
        own.load(Ordering::Relaxed)
    }

    #[test]
    fn a_session_gets_a_quarter_of_what_the_others_leave() {
        let pool = Pool::new(256);
        let sessions: [AtomicU64; 12] = Default::default();
        let got = sessions.each_ref().map(|own| all_it_gets(&pool, own));
        assert_eq!(got[..4], [64, 48, 36, 27]);
        assert!(got[11] > 0, "there is always some for the next: {got:?}");
        assert_eq!(pool.used.load(Ordering::Relaxed), got.iter().sum::<u64>());

        pool.give_back(&sessions[0], 64);
        let left = 256 - got[1..].iter().sum::<u64>();
        assert_eq!(all_it_gets(&pool, &sessions[0]), left / 4);
        assert_eq!(pool.draw(&sessions[11], u64::MAX), Err(BodyError::Busy));
    }

    #[test]
    fn what_one_session_takes_leaves_the_bodies_of_another_alone() {
        let pool = Pool::new(256);
        let [small, large] = <[AtomicU64; 2]>::default();
        assert_eq!(pool.draw(&small, 20), Ok(()));
        all_it_gets(&pool, &large);
        assert_eq!(pool.draw(&small, 20), Ok(()), "it goes on");
    }

    #[test]
    fn what_was_drawn_is_given_back() {
        let share = Share::default();
        let mut lease = share.lease();
        let mut other = lease.another();
        lease.in_memory(5).expect("within the budget");
        other.in_memory(7).expect("within the budget");
        lease.on_disk(9).expect("within the budget");
        let held = || {
            let Held { memory, disk } = &*share.0;
            (memory.load(Ordering::Relaxed), disk.load(Ordering::Relaxed))
        };
        assert_eq!(held(), (12, 9));
        lease.release_memory();
        assert_eq!(held(), (7, 9));
        drop((lease, other));
        assert_eq!(held(), (0, 0));
        let beyond = share.lease().in_memory(ALL_IN_MEMORY / SHARE + 1);
        assert_eq!(beyond, Err(BodyError::Busy));
        assert_eq!(held(), (0, 0));
    }
}
