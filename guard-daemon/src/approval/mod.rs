//! Holds: exchanges that wait for a person, and the grants that result.
//!
//! An approval is bound to a fingerprint of the call. It waits for a person at most 15 minutes after it was
//! last asked for; a grant that nobody waits for any more is kept as long for the next identical call, and is
//! spent by exactly one. Every change of state is in the journal before it takes effect.
//!
//! `registry` is the bookkeeping, without clock or journal; this file adds both. The gateway holds, the
//! control socket lists and decides.

mod registry;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::record::entry::{Entry, Event};
use crate::record::journal::{Journal, JournalError};
use crate::session::SessionId;
use registry::{Asked, Registry, Standing};

/// What a person is asked about. `fingerprint` binds a grant to exactly this call.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub struct Question {
    /// The session that asks.
    pub session: SessionId,
    /// The exchange.
    pub exchange: String,
    /// IAM actions, for display.
    pub actions: Vec<String>,
    /// Resources, for display.
    pub resources: Vec<String>,
    /// `service:Operation`, region, host: for display.
    pub summary: String,
    /// The statement that asks.
    pub statement: Option<String>,
    /// Who runs the session and the process that calls, for display.
    pub requester: String,
    /// SHA-256 over session, method, host, path, query, the headers AWS acts on and the body.
    pub fingerprint: [u8; 32],
}

/// How a hold ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Approved: run it, once. The grant is spent.
    Approved {
        /// The approval's id.
        approval: String,
    },
    /// A person said no.
    Denied {
        /// The approval's id.
        approval: String,
        /// What the person said.
        reason: Option<String>,
    },
    /// Nobody decided in time. The approval stays open for a later identical call.
    TimedOut {
        /// The approval's id.
        approval: String,
    },
    /// Too many holds are open.
    Full,
    /// The journal failed: nothing may run.
    NotRecorded,
}

/// An approval as people see it.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub struct ApprovalView {
    /// Its id: `a-` and eight hexadecimal digits.
    pub id: String,
    /// What is asked.
    pub question: Question,
    /// `waiting`, `approved`, `denied`, `expired`, `used`.
    pub state: String,
    /// Seconds since it was first asked.
    pub age_seconds: u64,
    /// Exchanges waiting on it now.
    pub waiting: usize,
    /// Who decided.
    pub approver: Option<String>,
    /// What the approver said.
    pub reason: Option<String>,
}

/// Why a decision on an approval was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalError {
    /// No approval has this id.
    #[error("there is no approval {0:?}; see `guard approval list`")]
    NotFound(String),
    /// It is decided, expired, or being decided by someone else.
    #[error(
        "approval {id} is {state}, not waiting; if the call is made again, a new one is asked for"
    )]
    NotWaiting {
        /// Its id.
        id: String,
        /// How it stands.
        state: String,
    },
    /// The decision cannot be recorded.
    #[error("the decision on {id} cannot be recorded, so it is not taken")]
    NotRecorded {
        /// Its id.
        id: String,
        /// Why.
        source: JournalError,
    },
}

/// All open and decided approvals of this daemon; clones share them.
#[derive(Clone)]
pub struct Approvals {
    shared: Arc<Shared>,
}

struct Shared {
    journal: Journal,
    registry: Mutex<Registry>,
    changed: watch::Sender<()>,
}

impl Approvals {
    /// No approvals yet; every change of state is journalled.
    pub fn new(journal: Journal) -> Self {
        let registry = Mutex::new(Registry::default());
        Self {
            shared: Arc::new(Shared {
                journal,
                registry,
                changed: watch::Sender::new(()),
            }),
        }
    }

    /// Waits for a person, `patience` at the most. An identical call (same fingerprint) joins the same
    /// approval; a grant is handed to exactly one of them. Dropping the future (client gone) gives the
    /// place up and never spends a grant.
    pub async fn hold(&self, question: Question, patience: Duration) -> Outcome {
        let shared = &self.shared;
        shared.expire().await;
        let deadline = Instant::now() + patience;
        let mut changed = shared.changed.subscribe();
        let session = question.session.clone();
        let (id, new) = match shared.registry().ask(question, Instant::now()) {
            Asked::New(id) => (id, true),
            Asked::Joined(id) => (id, false),
            Asked::Full => return Outcome::Full,
        };
        let _place = Place { shared, id: &id };
        if new
            && shared
                .record(&session, &id, "requested", None, None)
                .await
                .is_err()
        {
            shared.registry().forget(&id);
            shared.changed.send_replace(());
            return Outcome::NotRecorded;
        }
        let mut late = false;
        loop {
            changed.mark_unchanged();
            let standing = shared.registry().claim(&id);
            match standing {
                Standing::Claimed => return shared.spend(&session, &id).await,
                Standing::Denied(reason) => {
                    return Outcome::Denied {
                        approval: id.clone(),
                        reason,
                    };
                }
                Standing::Gone => return Outcome::NotRecorded,
                Standing::Waiting if !late => {}
                Standing::Expired | Standing::Waiting => {
                    return Outcome::TimedOut {
                        approval: id.clone(),
                    };
                }
            }
            // A decision at the very end still counts: it is looked for once more.
            late = tokio::time::timeout_at(deadline, changed.changed())
                .await
                .is_err();
        }
    }

    /// All that are open or were decided lately, oldest first.
    pub fn list(&self) -> Vec<ApprovalView> {
        self.shared.registry().views(Instant::now())
    }

    /// One of them, by its id or an unambiguous beginning of it.
    pub fn show(&self, id: &str) -> Option<ApprovalView> {
        let registry = self.shared.registry();
        let id = registry.find(id)?;
        registry
            .views(Instant::now())
            .into_iter()
            .find(|view| view.id == id)
    }

    /// A person's decision; journalled before it takes effect.
    pub async fn decide(
        &self,
        id: &str,
        approve: bool,
        approver: String,
        reason: Option<String>,
    ) -> Result<ApprovalView, ApprovalError> {
        let shared = &self.shared;
        shared.expire().await;
        let not_found = || ApprovalError::NotFound(id.chars().take(64).collect());
        let (id, session) = {
            let mut registry = shared.registry();
            let id = registry.find(id).ok_or_else(not_found)?;
            let session =
                registry
                    .begin_decision(&id)
                    .map_err(|state| ApprovalError::NotWaiting {
                        id: id.clone(),
                        state: state.to_owned(),
                    })?;
            (id, session)
        };
        let undecided = Undecided { shared, id: &id };
        let state = if approve { "approved" } else { "denied" };
        shared
            .record(&session, &id, state, Some(approver.clone()), reason.clone())
            .await
            .map_err(|source| ApprovalError::NotRecorded {
                id: id.clone(),
                source,
            })?;
        shared
            .registry()
            .decide(&id, approve, approver, reason, Instant::now());
        drop(undecided);
        shared.changed.send_replace(());
        self.show(&id).ok_or_else(not_found)
    }

    /// Expires everything that a session which has ended asked for.
    pub async fn close_session(&self, session: &SessionId) {
        let expired = self.shared.registry().close(session, Instant::now());
        self.shared.record_expired(expired).await;
    }
}

impl Shared {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        // No operation on the registry can fail halfway, so one that a panicking task held is whole.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the use of a claimed grant; a grant whose use is not recorded, or whose caller leaves
    /// meanwhile, is there again for the next.
    async fn spend(&self, session: &SessionId, id: &str) -> Outcome {
        let claim = Claim {
            shared: self,
            id,
            spent: false,
        };
        let recorded = self.record(session, id, "used", None, None).await;
        if recorded.is_err() {
            return Outcome::NotRecorded;
        }
        claim.spend();
        Outcome::Approved {
            approval: id.to_owned(),
        }
    }

    async fn expire(&self) {
        let expired = self.registry().expire(Instant::now());
        self.record_expired(expired).await;
    }

    async fn record_expired(&self, expired: Vec<(SessionId, String)>) {
        if expired.is_empty() {
            return;
        }
        self.changed.send_replace(());
        for (session, id) in expired {
            if let Err(error) = self.record(&session, &id, "expired", None, None).await {
                tracing::error!("approval {id} expired, which cannot be recorded: {error}");
            }
        }
    }

    async fn record(
        &self,
        session: &SessionId,
        id: &str,
        state: &str,
        approver: Option<String>,
        reason: Option<String>,
    ) -> Result<u64, JournalError> {
        let event = Event::Approval {
            approval: id.to_owned(),
            state: state.to_owned(),
            approver,
            reason,
        };
        self.journal
            .append(Entry {
                session: Some(session.clone()),
                event,
            })
            .await
    }
}

/// A waiting exchange; given up when dropped.
struct Place<'a> {
    shared: &'a Shared,
    id: &'a str,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.registry().leave(self.id, Instant::now());
    }
}

/// A grant that is being spent; given back when dropped before it is.
struct Claim<'a> {
    shared: &'a Shared,
    id: &'a str,
    spent: bool,
}

impl Claim<'_> {
    fn spend(mut self) {
        self.spent = true;
        self.shared.registry().spend(self.id);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.spent {
            self.shared.registry().give_back(self.id);
            self.shared.changed.send_replace(());
        }
    }
}

/// A decision that is being recorded; open again when dropped before it is taken.
struct Undecided<'a> {
    shared: &'a Shared,
    id: &'a str,
}

impl Drop for Undecided<'_> {
    fn drop(&mut self) {
        self.shared.registry().end_decision(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approvals() -> (tempfile::TempDir, Approvals) {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(&directory.path().join("journal")).unwrap();
        (directory, Approvals::new(journal))
    }

    fn question(session: &SessionId, call: u8) -> Question {
        Question {
            session: session.clone(),
            exchange: "x-1".into(),
            actions: vec!["s3:DeleteObject".into()],
            resources: vec!["arn:aws:s3:::b/k".into()],
            summary: "s3:DeleteObject us-east-1".into(),
            statement: Some("ask".into()),
            requester: "ana".into(),
            fingerprint: [call; 32],
        }
    }

    const LONG: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(20);

    async fn waiting(approvals: &Approvals) -> String {
        loop {
            if let Some(view) = approvals
                .list()
                .into_iter()
                .find(|v| v.state == "waiting" && v.waiting > 0)
            {
                return view.id;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_grant_goes_to_exactly_one_of_the_identical_calls() {
        let (_directory, approvals) = approvals();
        let session = SessionId::random();
        let holds: Vec<_> = (0..8)
            .map(|_| {
                let (approvals, question) = (approvals.clone(), question(&session, 1));
                tokio::spawn(async move { approvals.hold(question, Duration::from_secs(2)).await })
            })
            .collect();
        let id = waiting(&approvals).await;
        let view = approvals
            .decide(&id, true, "root".into(), Some("ok".into()))
            .await
            .unwrap();
        assert_eq!(
            (view.approver.as_deref(), view.reason.as_deref()),
            (Some("root"), Some("ok"))
        );
        let mut approved = 0;
        for hold in holds {
            match hold.await.unwrap() {
                Outcome::Approved { approval } => {
                    assert_eq!(approval, id);
                    approved += 1;
                }
                Outcome::TimedOut { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(approved, 1);
        assert!(
            approvals
                .decide(&id, true, "root".into(), None)
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn a_timed_out_call_is_approved_later_and_the_retry_runs_once() {
        let (_directory, approvals) = approvals();
        let session = SessionId::random();
        let Outcome::TimedOut { approval } = approvals.hold(question(&session, 1), SHORT).await
        else {
            panic!("nobody decided");
        };
        approvals
            .decide(&approval, true, "root".into(), None)
            .await
            .unwrap();
        let retry = approvals.hold(question(&session, 1), SHORT).await;
        assert_eq!(
            retry,
            Outcome::Approved {
                approval: approval.clone()
            }
        );
        let again = approvals.hold(question(&session, 1), SHORT).await;
        assert!(matches!(again, Outcome::TimedOut { approval: new } if new != approval));
        let other = approvals.hold(question(&session, 2), SHORT).await;
        assert!(
            matches!(other, Outcome::TimedOut { .. }),
            "another call has no grant"
        );
    }

    #[tokio::test]
    async fn a_denial_reaches_all_and_is_remembered_for_a_while() {
        let (_directory, approvals) = approvals();
        let session = SessionId::random();
        let hold = tokio::spawn({
            let (approvals, question) = (approvals.clone(), question(&session, 1));
            async move { approvals.hold(question, LONG).await }
        });
        let id = waiting(&approvals).await;
        approvals
            .decide(&id, false, "root".into(), Some("no".into()))
            .await
            .unwrap();
        let denied = Outcome::Denied {
            approval: id.clone(),
            reason: Some("no".into()),
        };
        assert_eq!(hold.await.unwrap(), denied);
        assert_eq!(approvals.hold(question(&session, 1), LONG).await, denied);
    }

    #[tokio::test]
    async fn a_caller_that_leaves_never_spends_a_grant() {
        let (_directory, approvals) = approvals();
        let session = SessionId::random();
        for round in 0..50_u8 {
            let hold = tokio::spawn({
                let (approvals, question) = (approvals.clone(), question(&session, round));
                async move { approvals.hold(question, LONG).await }
            });
            let id = waiting(&approvals).await;
            approvals
                .decide(&id, true, "root".into(), None)
                .await
                .unwrap();
            for _ in 0..round % 7 {
                tokio::task::yield_now().await;
            }
            hold.abort();
            let finished = hold.await.is_ok();
            let retry = approvals.hold(question(&session, round), SHORT).await;
            let approved = retry == Outcome::Approved { approval: id };
            assert_ne!(
                finished, approved,
                "round {round}: the grant was spent by exactly one"
            );
        }
    }

    #[tokio::test]
    async fn holds_are_bounded_and_end_with_their_session() {
        let (_directory, approvals) = approvals();
        let session = SessionId::random();
        for call in 0..64 {
            let outcome = approvals
                .hold(question(&session, call), Duration::ZERO)
                .await;
            assert!(matches!(outcome, Outcome::TimedOut { .. }), "{call}");
        }
        assert_eq!(
            approvals.hold(question(&session, 64), LONG).await,
            Outcome::Full
        );
        let other = SessionId::random();
        let outcome = approvals.hold(question(&other, 0), Duration::ZERO).await;
        assert!(
            matches!(outcome, Outcome::TimedOut { .. }),
            "another session has its own places"
        );
        approvals.close_session(&session).await;
        let states: Vec<String> = approvals
            .list()
            .into_iter()
            .map(|view| view.state)
            .collect();
        assert_eq!(
            states.iter().filter(|state| *state == "expired").count(),
            64
        );
        assert_eq!(states.iter().filter(|state| *state == "waiting").count(), 1);
    }

    #[tokio::test]
    async fn approvals_are_found_by_a_beginning_of_their_id() {
        let (_directory, approvals) = approvals();
        let outcome = approvals
            .hold(question(&SessionId::random(), 1), Duration::ZERO)
            .await;
        let Outcome::TimedOut { approval } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            approvals.show(&approval[..5]).map(|view| view.id),
            Some(approval)
        );
        assert!(approvals.show("a-").is_some() && approvals.show("b-").is_none());
        assert!(approvals.show("").is_none());
    }
}
