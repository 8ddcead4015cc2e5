//! Bounds how often a session may ask: each question costs a durable journal entry.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A token bucket.
#[derive(Debug)]
pub(in crate::intercept) struct Pace(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
    /// Exceeding the pace was reported, and the bucket has not been full since.
    reported: bool,
}

/// Whether a question may be answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Admission {
    /// It may.
    Yes,
    /// It comes too fast.
    No {
        /// This is the first one since the bucket was last full: worth an entry.
        report: bool,
    },
}

impl Default for Pace {
    fn default() -> Self {
        Self(Mutex::new(Bucket {
            tokens: BURST,
            filled: Instant::now(),
            reported: false,
        }))
    }
}

impl Pace {
    pub(super) fn admit(&self) -> Admission {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Admission {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.filled = now;
        bucket.tokens = passed.mul_add(PER_SECOND, bucket.tokens).min(BURST);
        if bucket.tokens >= BURST {
            bucket.reported = false;
        }
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Admission::Yes;
        }
        let report = !std::mem::replace(&mut bucket.reported, true);
        Admission::No { report }
    }
}

/// Questions per second in the long run.
const PER_SECOND: f64 = 200.0;

/// Questions at once.
const BURST: f64 = 400.0;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_one_report_is_made() {
        let pace = Pace::default();
        let start = Instant::now();
        let admitted = |at, count| {
            let all: Vec<_> = (0..count).map(|_| pace.admit_at(at)).collect();
            let yes = all.iter().filter(|a| **a == Admission::Yes).count();
            let reports = all
                .iter()
                .filter(|a| **a == Admission::No { report: true })
                .count();
            (yes, reports)
        };
        assert_eq!(admitted(start, 500), (400, 1));
        assert_eq!(
            admitted(start + Duration::from_secs(1), 500),
            (200, 0),
            "still the same episode"
        );
        assert_eq!(
            admitted(start + Duration::from_secs(9), 500),
            (400, 1),
            "a new one"
        );
    }
}
