//! Waiting: from a question to an outcome, with every change of state journalled before it counts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::recorder::{Change, Recorder};
use super::registry::{Entrance, Record, Registry, State};
use super::{Approvals, Outcome, Question};
use crate::session::SessionId;

/// What all clones of `Approvals` share.
pub(super) struct Shared {
    pub(super) recorder: Recorder,
    registry: Mutex<Registry>,
}

/// A call's place among those that wait on an approval; given back when dropped.
struct Place {
    shared: Arc<Shared>,
    key: u64,
    id: String,
    session: SessionId,
    changed: Arc<Notify>,
}

/// A grant that a waiter took. Dropped before it was spent, the grant becomes free again.
struct Claim<'a> {
    place: &'a Place,
    runtime: Handle,
    settled: bool,
}

/// What a waiter is to do next.
enum Step<'a> {
    Wait,
    Spend(Claim<'a>),
    End(Outcome),
    /// Another waiter spent the grant: this call needs its own.
    Anew,
}

impl Shared {
    pub(super) fn new(recorder: Recorder, registry: Registry) -> Arc<Self> {
        Arc::new(Self {
            recorder,
            registry: Mutex::new(registry),
        })
    }

    /// No code panics while it holds the lock; the table stays whole even so.
    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Expires what is due. A right taken away need not be journalled first.
    async fn sweep(&self) {
        let expired = self.registry().expire(Instant::now());
        self.record_expired(expired).await;
    }

    pub(super) async fn record_expired(&self, expired: Vec<(SessionId, String)>) {
        for (session, id) in expired {
            if let Err(error) = self
                .recorder
                .append(&session, Change::new(&id, "expired"))
                .await
            {
                tracing::warn!(approval = id, "the journal did not take an expiry: {error}");
            }
        }
    }
}

/// See `Approvals::hold`.
pub(super) async fn hold(approvals: &Approvals, question: Question, patience: Duration) -> Outcome {
    let deadline = Instant::now() + patience;
    let question = question.bounded();
    loop {
        let place = match enter(&approvals.shared, &question) {
            Ok(place) => place,
            Err(outcome) => return outcome,
        };
        if let Some(outcome) = place.wait(deadline).await {
            return outcome;
        }
    }
}

fn enter(shared: &Arc<Shared>, question: &Question) -> Result<Place, Outcome> {
    let mut registry = shared.registry();
    let (key, opened) = match registry.enter(question.clone(), Instant::now()) {
        Entrance::Joined(key) => (key, false),
        Entrance::Opened(key) => (key, true),
        Entrance::Denied(key) => {
            return Err(registry.get(key).map_or(Outcome::Full, Record::denied));
        }
        Entrance::Full => return Err(Outcome::Full),
    };
    let Some(record) = registry.get(key) else {
        return Err(Outcome::Full);
    };
    let place = Place {
        shared: Arc::clone(shared),
        key,
        id: record.id.clone(),
        session: record.question.session.clone(),
        changed: Arc::clone(&record.changed),
    };
    if opened {
        // In a task of its own: others may join, and must not depend on this caller's staying.
        tokio::spawn(open(
            Arc::clone(shared),
            key,
            place.session.clone(),
            place.id.clone(),
        ));
        if !registry.swept {
            registry.swept = true;
            tokio::spawn(keep_sweeping(Arc::downgrade(shared), registry.terms.sweep));
        }
    }
    Ok(place)
}

async fn open(shared: Arc<Shared>, key: u64, session: SessionId, id: String) {
    let to = match shared
        .recorder
        .append(&session, Change::new(&id, "requested"))
        .await
    {
        Ok(()) => State::Waiting,
        Err(error) => {
            tracing::error!(
                approval = id,
                "the journal did not take a request for approval: {error}"
            );
            State::Unrecorded
        }
    };
    shared
        .registry()
        .change(key, State::Recording, to, Instant::now());
}

async fn keep_sweeping(shared: Weak<Shared>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        shared.sweep().await;
        let mut registry = shared.registry();
        if registry.is_at_rest() {
            registry.swept = false;
            return;
        }
    }
}

impl Place {
    /// Waits until the deadline; `None` where the call needs an approval of its own.
    async fn wait(&self, deadline: Instant) -> Option<Outcome> {
        let mut late = false;
        loop {
            // Enabled before the look at the state, so that no change in between is missed.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.look() {
                Step::Wait if late => {
                    return Some(Outcome::TimedOut {
                        approval: self.id.clone(),
                    });
                }
                Step::Wait => late = tokio::time::timeout_at(deadline, changed).await.is_err(),
                Step::Spend(claim) => return Some(claim.spend().await),
                Step::End(outcome) => return Some(outcome),
                Step::Anew => return None,
            }
        }
    }

    fn look(&self) -> Step<'_> {
        let mut registry = self.shared.registry();
        let Some(record) = registry.get(self.key) else {
            return Step::End(Outcome::NotRecorded);
        };
        match record.state {
            State::Recording | State::Waiting | State::Deciding | State::Claimed => Step::Wait,
            State::Unrecorded => Step::End(Outcome::NotRecorded),
            State::Denied => Step::End(record.denied()),
            State::Expired => Step::End(Outcome::TimedOut {
                approval: self.id.clone(),
            }),
            State::Used => Step::Anew,
            State::Approved => {
                registry.change(self.key, State::Approved, State::Claimed, Instant::now());
                Step::Spend(Claim {
                    place: self,
                    runtime: Handle::current(),
                    settled: false,
                })
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.registry().leave(self.key, Instant::now());
    }
}

impl Claim<'_> {
    /// Spends the grant once that is journalled. Nothing is awaited after that, so a caller that gets
    /// this outcome is there to use it.
    async fn spend(mut self) -> Outcome {
        let Place {
            shared,
            key,
            id,
            session,
            ..
        } = self.place;
        let recorded = shared
            .recorder
            .append(session, Change::new(id, "used"))
            .await;
        self.settled = true;
        let to = if recorded.is_ok() {
            State::Used
        } else {
            State::Approved
        };
        let changed = shared
            .registry()
            .change(*key, State::Claimed, to, Instant::now());
        match recorded {
            Ok(()) if changed => Outcome::Approved {
                approval: id.clone(),
            },
            // The session ended meanwhile.
            Ok(()) => Outcome::TimedOut {
                approval: id.clone(),
            },
            Err(error) => {
                tracing::error!(
                    approval = id,
                    "the journal did not take the use of a grant: {error}"
                );
                Outcome::NotRecorded
            }
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.settled {
            let Place {
                shared,
                key,
                id,
                session,
                ..
            } = self.place;
            self.runtime.spawn(withdraw(
                Arc::clone(shared),
                *key,
                session.clone(),
                id.clone(),
            ));
        }
    }
}

/// Frees a grant whose taker left while its use was being journalled. The journal may have the use or
/// not; this entry, after it, says that nothing was sent.
async fn withdraw(shared: Arc<Shared>, key: u64, session: SessionId, id: String) {
    let reason = "the caller left before the call was sent; the grant can be used again";
    let change = Change {
        reason: Some(reason.to_owned()),
        ..Change::new(&id, "withdrawn")
    };
    let to = match shared.recorder.append(&session, change).await {
        Ok(()) => State::Approved,
        Err(error) => {
            tracing::error!(
                approval = id,
                "the journal did not take a withdrawal, the grant is void: {error}"
            );
            State::Expired
        }
    };
    shared
        .registry()
        .change(key, State::Claimed, to, Instant::now());
}

impl Record {
    fn denied(&self) -> Outcome {
        Outcome::Denied {
            approval: self.id.clone(),
            reason: self.reason.clone(),
        }
    }
}
