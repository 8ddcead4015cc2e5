//! What clients and the daemon say to each other: one JSON line each way per request.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::approval::ApprovalView;
use crate::broker::Selection;
use crate::config::UpstreamConfig;
use crate::identity::Starter;
use crate::policy::CredentialTerms;
use crate::sandbox::environment::{Changes, Delivery};
use crate::sandbox::mounts::World;
use crate::session::{Identity, SessionId};
use crate::term::Limit;

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
    /// The daemon and its sessions.
    Status,
    /// Confine a process. The session ends with `EndSession` or with this connection. Root only; one per
    /// connection.
    StartSession(Box<StartSession>),
    /// Hang a session that an earlier daemon started on this connection, as `StartSession` would have. For
    /// its launcher only.
    ResumeSession {
        /// The session.
        session: SessionId,
    },
    /// End the session of this connection.
    EndSession,
    /// Confine a tree that runs already, with the hooks alone. Root only. The session lasts until
    /// `DetachSession`, or until its cgroup is gone.
    AttachSession(Box<AttachSession>),
    /// Let the tree of an attached session go, unconfined. Root only.
    DetachSession {
        /// The session.
        session: SessionId,
    },
}

/// A session of `guard run`.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StartSession {
    /// The process that will become the command: a child of the asking process, in the network namespace
    /// of `init`, waiting.
    pub pid: u32,
    /// The first process of its pid namespace: a child of the asking process, in a network namespace of
    /// its own, waiting.
    pub init: u32,
    /// Who starts it, for whom and why, as they say.
    pub starter: Starter,
    /// What the session is made of.
    pub terms: Terms,
}

/// A session of `guard attach`.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AttachSession {
    /// What is confined.
    pub target: Target,
    /// Confine it although it could take the hooks away: it has root's capabilities.
    pub allow_root: bool,
    /// Who starts it, for whom and why, as they say.
    pub starter: Starter,
    /// What the session is made of.
    pub terms: Terms,
}

/// A tree that runs already.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Everything in a cgroup and below it: its directory, or its path as `/proc/<pid>/cgroup` has it.
    Cgroup(PathBuf),
    /// A process and its descendants; they are moved to a cgroup of their own.
    Process(u32),
}

/// What a session is made of, as who starts it knows it.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The invoking user's group.
    pub gid: u32,
    /// The profile's name, or an absolute path; the default one where none is given.
    pub profile: Option<String>,
    /// How long it is to last, in seconds; as long as it may where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// Where its real credentials come from.
    pub aws: Selection,
    /// The role that is assumed with them, as far as flags say.
    #[serde(default)]
    pub role: CredentialTerms,
    /// How its command gets the dummies.
    #[serde(default)]
    pub delivery: Delivery,
    /// Laid over the daemon's own `[upstream]`.
    pub upstream: UpstreamConfig,
    /// What of the user's environment the session's own depends on: `sandbox::environment::relevant`.
    pub environment: BTreeMap<String, String>,
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
    /// To `Status`.
    Status(Status),
    /// To `StartSession`: the process is confined and may go on.
    SessionStarted {
        /// The session's name.
        session: SessionId,
        /// What to change in the command's environment.
        environment: Changes,
        /// What the session is to see of the host.
        world: World,
        /// Its end, where it has one.
        #[serde(default)]
        limit: Option<Limit>,
        /// What the person at the terminal should know, one sentence each.
        warnings: Vec<String>,
    },
    /// To `EndSession`: nothing of the session is left.
    SessionEnded,
    /// To `ResumeSession`.
    SessionResumed,
    /// To `AttachSession`: the tree is confined.
    SessionAttached {
        /// The session's name.
        session: SessionId,
        /// A file of shell assignments that lets new programs of the tree trust guard's CA and sign with the
        /// session's credentials.
        environment: PathBuf,
        /// Its end, where it has one.
        #[serde(default)]
        limit: Option<Limit>,
        /// What is open, one sentence each.
        limits: Vec<String>,
        /// What else the person at the terminal should know, one sentence each.
        warnings: Vec<String>,
    },
    /// To `DetachSession`: the tree is unconfined.
    SessionDetached,
    /// The request was refused.
    Error {
        /// `not-found`, `not-permitted`, `confined`, `bad-request`, `bad-config`, `identity`, `failed`.
        code: String,
        /// What was wrong and what to do.
        message: String,
    },
}

/// A daemon and its sessions.
#[derive(Deserialize, Serialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// It was started by `guard run` and ends with its last session.
    pub embedded: bool,
    /// Its sessions, oldest first.
    pub sessions: Vec<SessionView>,
}

/// A session as people see it.
#[derive(Clone, Deserialize, Serialize)]
pub struct SessionView {
    /// Its name.
    pub id: SessionId,
    /// Who runs it, and what.
    pub identity: Identity,
    /// The profile's name.
    pub profile: String,
    /// The process that became the command; absent for a session of `guard attach`.
    pub pid: Option<u32>,
    /// The cgroup, as `/proc/<pid>/cgroup` shows it.
    pub cgroup: String,
    /// Seconds since it started.
    pub age_seconds: u64,
    /// Its end, where it has one.
    #[serde(default)]
    pub limit: Option<Limit>,
    /// What holds the tree, by name; docs/sandbox.md lists the names.
    pub enforced: Vec<String>,
    /// What does not hold it, one sentence each.
    pub limits: Vec<String>,
}

impl Reply {
    /// A refusal.
    pub(super) fn error(code: &str, message: impl Into<String>) -> Self {
        Self::Error {
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_documented_form() {
        let text = r#"{"request":"approval_decide","id":"a-1","approve":true,"reason":null}"#;
        let request: Request = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
        let start = r#"{"request":"start_session","pid":7,"init":6,"starter":{"uid":0,"command":["true"]},
            "terms":{"gid":0,"profile":"standard",
            "aws":{},"upstream":{},"environment":{}}}"#;
        // Selection's members have no defaults of their own.
        let aws = r#""aws":{"profile":null,"region":null,"home":null,"config_file":null,
            "credentials_file":null,"keys":null}"#;
        let start = start.replace(r#""aws":{}"#, aws);
        let request: Request = serde_json::from_str(&start).unwrap();
        assert!(matches!(request, Request::StartSession(start) if start.pid == 7));
        // What the daemon finds out itself cannot be said.
        for forged in [
            r#""human":{"issuer":"https://i","subject":"ada","email":null},"#,
            r#""loginuid":0,"#,
            r#""user":"ada","#,
        ] {
            let forged = start.replace(r#""starter":{"#, &format!(r#""starter":{{{forged}"#));
            assert!(
                serde_json::from_str::<Request>(&forged).is_err(),
                "{forged}"
            );
        }
    }

    #[test]
    fn unknown_requests_and_members_are_errors() {
        for text in [
            r#"{"request":"reboot"}"#,
            r#"{"request":"approval_show","id":"a","extra":1}"#,
            r#"{"id":"a"}"#,
            "[]",
            "",
        ] {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }
}
