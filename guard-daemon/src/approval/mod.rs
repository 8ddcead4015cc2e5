//! Holds: exchanges that wait for a person, and the grants that result.
//!
//! Meets `gateway::exchange`, which asks, and the control server, which checks who decides. Approvals
//! live in memory, since a grant must not outlive the daemon that knows its session; the journal has them
//! for ever. `registry` is the table, `hold` the waiting, `recorder` the way to the journal.
//!
//! An approval is asked for (`requested`) and waits; a person approves or denies it; a grant is used by
//! exactly one call. Every step is journalled before it counts, other than an expiry, which only takes
//! away. Without a decision an approval stays open for 15 minutes after its last caller left, and a grant
//! is kept for 15 minutes. A call denied by a person is denied again at once for 60 seconds, so that a
//! client's retries do not ask again.

mod hold;
mod question;
mod recorder;
mod registry;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::hold::Shared;
use self::recorder::{Change, Recorder};
use self::registry::{Registry, State, Terms};
use crate::record::journal::Journal;
use crate::session::SessionId;

/// Bytes that an approver may say.
const LONGEST_REASON: usize = 1024;

/// What a person is asked about. `fingerprint` binds a grant to exactly this call.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub struct Question {
    /// The session that asks.
    pub session: SessionId,
    /// The exchange.
    pub exchange: String,
    /// IAM actions, for display.
    pub actions: Vec<String>,
    /// Resources, for display; of more than an approval keeps, the last says how many more there are.
    pub resources: Vec<String>,
    /// `service:Operation`, region, host, and whose credentials where they are not the session's own: for display.
    pub summary: String,
    /// The statement that asks.
    pub statement: Option<String>,
    /// Who runs the session and the process that calls, for display.
    pub requester: String,
    /// SHA-256 over session, principal, region, method, host, path, query, the headers AWS acts on and the body.
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
    /// Nobody decided in time, or the session ended. Unless it did, the approval stays open for a later
    /// identical call.
    TimedOut {
        /// The approval's id.
        approval: String,
    },
    /// Too many holds or approvals are open: 64 calls or 128 approvals of the session, or 1,024 approvals
    /// in all.
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
    /// No such approval.
    #[error("there is no approval {0}; `guard approval list` shows those that are open")]
    NotFound(String),
    /// It is decided, or being decided.
    #[error(
        "approval {id} cannot be decided any more, it is {state}; a further identical call will ask anew"
    )]
    NotOpen {
        /// The approval.
        id: String,
        /// Where it stands.
        state: &'static str,
    },
    /// Too much said.
    #[error("a reason may have {LONGEST_REASON} bytes; say it in fewer words")]
    ReasonTooLong,
    /// The journal failed.
    #[error(
        "approval {id} stays undecided, since the journal did not take the decision; see the daemon's log"
    )]
    NotRecorded {
        /// The approval.
        id: String,
        /// Why not.
        source: NotRecorded,
    },
    /// The daemon is stopping.
    #[error("the daemon is stopping; approval {0} was not decided")]
    Stopping(String),
}

/// Why the journal did not take an entry.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct NotRecorded(Box<dyn std::error::Error + Send + Sync>);

/// All open and decided approvals of this daemon; clones share them.
#[derive(Clone)]
pub struct Approvals {
    shared: Arc<Shared>,
}

impl Approvals {
    /// No approvals yet; every change of state is journalled.
    pub fn new(journal: Journal) -> Self {
        Self::with(Recorder::Journal(journal), Terms::DEFAULT)
    }

    fn with(recorder: Recorder, terms: Terms) -> Self {
        Self {
            shared: Shared::new(recorder, Registry::new(terms)),
        }
    }

    /// Waits for a person, `patience` at the most. An identical call (same fingerprint) joins the same
    /// approval; a grant is handed to exactly one of them, and the others ask anew. Dropping the future
    /// (client gone) gives the place up and never spends a grant.
    ///
    /// Must be called, and its future dropped, within a tokio runtime.
    pub async fn hold(&self, question: Question, patience: Duration) -> Outcome {
        hold::hold(self, question, patience).await
    }

    /// All that are open or were decided lately, oldest first; of long lists of actions and resources
    /// the beginning.
    pub fn list(&self) -> Vec<ApprovalView> {
        self.shared.registry().views(Instant::now())
    }

    /// One of them.
    pub fn show(&self, id: &str) -> Option<ApprovalView> {
        let registry = self.shared.registry();
        let record = registry.find(id).and_then(|key| registry.get(key))?;
        Some(record.view(Instant::now()))
    }

    /// A person's decision; journalled before it takes effect. Once begun it is carried out even if the
    /// future is dropped.
    pub async fn decide(
        &self,
        id: &str,
        approve: bool,
        approver: String,
        reason: Option<String>,
    ) -> Result<ApprovalView, ApprovalError> {
        if reason
            .as_ref()
            .is_some_and(|reason| reason.len() > LONGEST_REASON)
        {
            return Err(ApprovalError::ReasonTooLong);
        }
        let (key, session) = {
            let mut registry = self.shared.registry();
            let not_found = || ApprovalError::NotFound(id.to_owned());
            let key = registry.find(id).ok_or_else(not_found)?;
            let record = registry.get(key).ok_or_else(not_found)?;
            let (session, state) = (record.question.session.clone(), record.state);
            if !registry.change(key, State::Waiting, State::Deciding, Instant::now()) {
                return Err(ApprovalError::NotOpen {
                    id: id.to_owned(),
                    state: state.word(),
                });
            }
            (key, session)
        };
        let change = Change {
            approval: id.to_owned(),
            state: if approve { "approved" } else { "denied" },
            approver: Some(approver),
            reason,
        };
        let decision = settle(Arc::clone(&self.shared), key, session, change);
        // A task that is gone before it ends means a runtime that is.
        tokio::spawn(decision)
            .await
            .unwrap_or_else(|_| Err(ApprovalError::Stopping(id.to_owned())))
    }

    /// Expires all open approvals and unspent grants of a session that ended; its holds time out.
    pub async fn close_session(&self, session: &SessionId) {
        let expired = self.shared.registry().close(session, Instant::now());
        self.shared.record_expired(expired).await;
    }
}

/// Journals a decision, then lets it take effect.
async fn settle(
    shared: Arc<Shared>,
    key: u64,
    session: SessionId,
    change: Change,
) -> Result<ApprovalView, ApprovalError> {
    let recorded = shared.recorder.append(&session, change.clone()).await;
    let now = Instant::now();
    let mut registry = shared.registry();
    let id = change.approval.clone();
    if let Err(source) = recorded {
        registry.change(key, State::Deciding, State::Waiting, now);
        return Err(ApprovalError::NotRecorded { id, source });
    }
    let decided = registry.decide(key, change, now);
    let record = registry
        .get(key)
        .ok_or_else(|| ApprovalError::NotFound(id.clone()))?;
    if decided {
        return Ok(record.view(now));
    }
    // Its session ended meanwhile.
    Err(ApprovalError::NotOpen {
        id,
        state: record.state.word(),
    })
}

#[cfg(test)]
mod tests;
