//! What clients and the daemon say to each other: one JSON line each way per request.

use serde::{Deserialize, Serialize};

use crate::approval::ApprovalView;

/// A client's request.
#[derive(Deserialize, Serialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Open and recent approvals.
    ApprovalList,
    /// One approval.
    ApprovalShow {
        /// Its id.
        id: String,
    },
    /// A decision.
    ApprovalDecide {
        /// Its id.
        id: String,
        /// Yes or no.
        approve: bool,
        /// Why.
        reason: Option<String>,
    },
}

/// The daemon's reply.
#[derive(Deserialize, Serialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// To `ApprovalList`.
    Approvals {
        /// Oldest first.
        approvals: Vec<ApprovalView>,
    },
    /// To `ApprovalShow` and `ApprovalDecide`.
    Approval {
        /// As it stands now.
        approval: ApprovalView,
    },
    /// The request was refused.
    Error {
        /// `not-found`, `not-permitted`, `confined`, `bad-request`, `failed`.
        code: String,
        /// What was wrong and what to do.
        message: String,
    },
}
