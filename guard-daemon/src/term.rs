//! How long a session lasts: its end, by a clock that nobody sets, and what is said of it.
//!
//! The end is a time of `CLOCK_BOOTTIME`, which goes on while the host sleeps and is not moved with the wall
//! clock. It holds for the daemon, the next daemon and the launcher alike; no session survives a boot.

use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;

use crate::policy::Length;

/// The end of a session.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// When it ends: milliseconds of `CLOCK_BOOTTIME`.
    at: u64,
    /// How long it was from its start, in seconds.
    length: u64,
}

impl Limit {
    /// One that begins now.
    pub fn starting_now(length: Length) -> Self {
        let length = length.duration();
        Self {
            at: boot_time().saturating_add(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)),
            length: length.as_secs(),
        }
    }

    /// What is left of the session; zero from its end on.
    pub fn left(&self) -> Duration {
        Duration::from_millis(self.at.saturating_sub(boot_time()))
    }

    /// Whether the session's time is over.
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// How long the session is.
    pub fn length(&self) -> Length {
        Length::seconds(self.length)
    }

    /// When it ends, or ended, by the wall clock as it is set now.
    pub fn wall_time(&self) -> SystemTime {
        let now = SystemTime::now();
        let boot = boot_time();
        if self.at >= boot {
            now + Duration::from_millis(self.at - boot)
        } else {
            now - Duration::from_millis(boot - self.at)
        }
    }

    /// `2026-11-26T08:00:00Z, 8h after its start`.
    pub fn describe(&self) -> String {
        let at = OffsetDateTime::from(self.wall_time());
        let at = at.replace_nanosecond(0).unwrap_or(at);
        let at = at.format(&Rfc3339).unwrap_or_default();
        format!("{at}, {} after its start", self.length())
    }
}

/// A session's time: until its end, where it has one.
#[derive(Debug)]
pub struct Term {
    limit: Option<Limit>,
    over: watch::Sender<bool>,
}

impl Term {
    /// The time up to `limit`; without one it has no end.
    pub fn new(limit: Option<Limit>) -> Self {
        Self {
            limit,
            over: watch::Sender::new(false),
        }
    }

    /// The end, where there is one.
    pub fn limit(&self) -> Option<&Limit> {
        self.limit.as_ref()
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.limit.as_ref().is_some_and(Limit::is_over)
    }

    /// What a client is told once it is over.
    pub fn refusal(&self) -> Option<String> {
        let limit = self.limit.as_ref().filter(|limit| limit.is_over())?;
        Some(format!(
            "the guard session ended at its time ({}), and nothing leaves it any more; ask the person who runs it \
             to start another",
            limit.describe()
        ))
    }

    /// Ends what goes on in the session, where it is over. The supervisor asks each second.
    pub fn enforce(&self) -> bool {
        let over = self.is_over();
        if over {
            self.over.send_replace(true);
        }
        over
    }

    /// Returns once `enforce` has seen the end.
    pub async fn ended(&self) {
        // The sender lives as long as `self`.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }
}

/// Milliseconds since the boot, those included that the host slept.
pub(crate) fn boot_time() -> u64 {
    // It fails for no clock that exists; the end of all time would be the safe answer.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(u64::MAX, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(u64::MAX);
        let nanoseconds = u64::try_from(time.tv_nsec()).unwrap_or_default();
        seconds
            .saturating_mul(1_000)
            .saturating_add(nanoseconds / 1_000_000)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ends_at_its_time_and_not_before() {
        let term = Term::new(Some(Limit::starting_now(Length::seconds(1))));
        assert!(!term.enforce() && term.refusal().is_none());
        let left = term.limit().unwrap().left();
        assert!(left <= Duration::from_secs(1) && left > Duration::from_millis(500));
        tokio::time::sleep(left + Duration::from_millis(5)).await;
        assert!(term.is_over());
        let said = term.refusal().unwrap();
        assert!(said.contains("Z, 1s after its start"), "{said}");
        assert!(term.enforce());
        term.ended().await;
        assert!(term.limit().unwrap().wall_time() <= SystemTime::now());
    }

    #[test]
    fn without_a_limit_it_has_no_end() {
        let term = Term::new(None);
        assert!(!term.enforce() && term.refusal().is_none() && term.limit().is_none());
    }
}
