//! Why a session could not be started, resumed or let go.

use std::io;

use crate::broker::BrokerError;
use crate::config::ConfigError;
use crate::gateway::upstream::UpstreamError;
use crate::identity::IdentityError;
use crate::kernel::KernelError;
use crate::kernel::tracker::TrackerError;
use crate::policy::{CredentialsError, Length};
use crate::record::journal::JournalError;
use crate::sandbox::cgroup::CgroupError;
use crate::sandbox::network::NetworkError;
use crate::sandbox::trust::TrustError;
use crate::session::SessionId;

/// Why a session could not be started, resumed or let go. Of one that could not be started nothing is left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The daemon stops.
    #[error("the guard daemon is stopping; run the command again")]
    Stopping,
    /// The process is not what the protocol says.
    #[error(
        "process {pid} is not a waiting child of the asking process ({detail}); guard run makes one itself, run it in the daemon's pid namespace"
    )]
    NotAChild {
        /// The process.
        pid: u32,
        /// What is wrong with it.
        detail: String,
    },
    /// No such session, or not one of this kind.
    #[error("there is no such session {0}; list them: guard status")]
    Unknown(SessionId),
    /// Another connection holds it.
    #[error("session {0} hangs on another connection already")]
    Claimed(SessionId),
    /// What is to be confined cannot be.
    #[error("{0}")]
    Target(String),
    /// The tree could take the hooks away.
    #[error(
        "process {pid} ({comm}) has root's capabilities, with which it could detach guard's hooks on this kernel; run it as an \
         ordinary user, or say --allow-root to confine it all the same"
    )]
    Root {
        /// The first such process.
        pid: u32,
        /// Its name.
        comm: String,
    },
    /// It is to last longer than it may.
    #[error(
        "the session is to last {asked}, and may last {most} at the most (max_session); ask for less"
    )]
    TooLong {
        /// How long it is to last.
        asked: Length,
        /// How long it may.
        most: Length,
    },
    /// The profile.
    #[error("the profile cannot be used")]
    Profile(#[from] ConfigError),
    /// Who it is for.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The credentials.
    #[error("the AWS credentials cannot be used")]
    Broker(#[from] BrokerError),
    /// The role whose credentials it is to have.
    #[error("the session's role cannot be used")]
    Role(#[from] CredentialsError),
    /// The way out.
    #[error("the way out cannot be set up")]
    Upstream(#[from] UpstreamError),
    /// The network namespace.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The files it is handed.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The network namespace's cookie.
    #[error("the network namespace has no cookie; guard needs Linux 5.15 or later")]
    Cookie(#[source] io::Error),
    /// The hooks.
    #[error("the eBPF hooks cannot be attached")]
    Kernel(#[from] KernelError),
    /// The tracking of its processes.
    #[error("its processes cannot be tracked")]
    Tracker(#[from] TrackerError),
    /// The journal.
    #[error("the session's start cannot be recorded, so it does not start")]
    Journal(#[from] JournalError),
    /// What the next daemon needs could not be written.
    #[error(
        "the session cannot be saved in the runtime directory: {0}; check its space and permissions"
    )]
    Save(io::Error),
    /// What is pinned of it cannot be seen.
    #[error("what is pinned of the session cannot be listed: {0}")]
    Pins(io::Error),
    /// What an earlier daemon saved cannot be used.
    #[error("{0}")]
    Resume(String),
    /// A thread of the daemon died.
    #[error("a step of the start failed inside the daemon; see its log")]
    Internal(#[from] tokio::task::JoinError),
}
