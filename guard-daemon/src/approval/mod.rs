//! Holds: exchanges that wait for a person, and the grants that result.

use std::time::Duration;

use crate::record::journal::Journal;
use crate::session::SessionId;

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

/// All open and decided approvals of this daemon; clones share them.
#[derive(Clone)]
pub struct Approvals {}

impl Approvals {
    /// No approvals yet; every change of state is journalled.
    pub fn new(_journal: Journal) -> Self {
        unimplemented!("contract")
    }

    /// Waits for a person, `patience` at the most. An identical call (same fingerprint) joins the same
    /// approval; a grant is handed to exactly one of them. Dropping the future (client gone) gives the
    /// place up and never spends a grant.
    pub async fn hold(&self, _question: Question, _patience: Duration) -> Outcome {
        unimplemented!("contract")
    }
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
pub enum ApprovalError {}

impl Approvals {
    /// All that are open or were decided lately, oldest first.
    pub fn list(&self) -> Vec<ApprovalView> {
        unimplemented!("contract")
    }

    /// One of them.
    pub fn show(&self, _id: &str) -> Option<ApprovalView> {
        unimplemented!("contract")
    }

    /// A person's decision; journalled before it takes effect.
    pub async fn decide(
        &self,
        _id: &str,
        _approve: bool,
        _approver: String,
        _reason: Option<String>,
    ) -> Result<ApprovalView, ApprovalError> {
        unimplemented!("contract")
    }
}
