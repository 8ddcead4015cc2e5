//! Watches a running session: its hooks are in place, its cgroup exists, its launcher holds it.
//!
//! Hooks that are gone mean a tree without walls, so the tree is killed at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Sessions;
use super::saved::Place;
use crate::kernel::Hooks;
use crate::record::entry::Event;
use crate::sandbox::cgroup::Cgroup;
use crate::session::SessionId;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);

/// How long a session that was picked up waits for its launcher.
const UNCLAIMED: Duration = Duration::from_secs(30);

/// What is watched.
pub(super) struct Supervised {
    pub(super) id: SessionId,
    pub(super) hooks: Arc<Hooks>,
    pub(super) cgroup: Cgroup,
    pub(super) launched: bool,
    pub(super) claimed: Arc<AtomicBool>,
}

/// Why a session ends.
struct Finding {
    cause: &'static str,
    /// For the journal, where it is more than the end itself.
    tampered: Option<String>,
}

/// Watches until the session must end, and ends it.
pub(super) async fn watch(sessions: Weak<Sessions>, supervised: Supervised) {
    let since = Instant::now();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let finding = loop {
        ticks.tick().await;
        if let Some(finding) = supervised.look(since) {
            break finding;
        }
    };
    let id = supervised.id;
    // In a task of its own: ending the session ends this one.
    tokio::spawn(async move {
        let Some(sessions) = sessions.upgrade() else {
            return;
        };
        if let Some(detail) = finding.tampered {
            tracing::error!("session {id}: {detail}");
            let event = Event::Refused {
                process: None,
                destination: None,
                host: None,
                code: finding.cause.to_owned(),
                detail,
            };
            sessions.record(&id, event).await;
        }
        sessions.end(&id, finding.cause).await;
    });
}

impl Supervised {
    fn look(&self, since: Instant) -> Option<Finding> {
        let plain = |cause| {
            Some(Finding {
                cause,
                tampered: None,
            })
        };
        if !self.cgroup.path().exists() {
            return plain("exited");
        }
        if let Err(error) = self.hooks.check() {
            return Some(Finding {
                cause: "tampered",
                tampered: Some(format!("{error}; its tree is killed")),
            });
        }
        if !self.launched || self.claimed.load(Ordering::Acquire) {
            return None;
        }
        if !self.cgroup.is_populated() {
            return plain("exited");
        }
        if since.elapsed() >= UNCLAIMED {
            return plain("launcher-gone");
        }
        None
    }
}

/// What holds a session's tree and what does not, for people.
pub(super) fn standing(place: &Place, hooks: &Hooks) -> (Vec<String>, Vec<String>) {
    let mut enforced: Vec<String> = hooks.enforced().into_iter().map(str::to_owned).collect();
    let mut limits: Vec<String> = hooks
        .limits()
        .iter()
        .map(|limit| limit.detail.clone())
        .collect();
    match place {
        Place::Launched { .. } => {
            enforced.extend(crate::sandbox::ENFORCED.map(str::to_owned));
        }
        Place::Attached { .. } | Place::Moved { .. } => {
            limits.extend(OPEN_WHERE_ATTACHED.map(str::to_owned));
        }
    }
    (enforced, limits)
}

/// What hooks alone cannot close.
const OPEN_WHERE_ATTACHED: [&str; 5] = [
    "no seccomp filter: AF_VSOCK, and for root AF_PACKET and AF_XDP, pass the hooks by where BPF LSM does not run",
    "no pid and mount namespaces: processes and files of the same user outside the tree are within its reach",
    "setuid programs still give the tree root's powers: no_new_privs can only be set at a program's start",
    "descriptors that were on their way into the tree (SCM_RIGHTS) when it was confined are not seen",
    "the environment of programs that run already cannot be changed: they trust guard's CA only once they are told",
];
