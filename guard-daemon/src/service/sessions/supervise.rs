//! Watches a running session: its hooks are in place, its cgroup exists, its launcher holds it.
//!
//! Hooks that are gone mean a tree without walls, so the tree is killed at once.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Poll;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::resumed::Frozen;
use super::saved::{Place, Saved};
use super::{EXPIRED, Sessions};
use crate::kernel::Hooks;
use crate::kernel::tracker::Tracker;
use crate::policy::{Reach, Temporary};
use crate::record::entry::Event;
use crate::sandbox::cgroup::Cgroup;
use crate::session::{Session, SessionId};
use crate::term::Limit;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);

/// How long the processes of a session whose time is over have before they are killed.
const GRACE: Duration = Duration::from_secs(10);

/// How long a session that was picked up waits for its launcher.
const UNCLAIMED: Duration = Duration::from_secs(30);

/// What is watched.
pub(super) struct Supervised {
    pub(super) id: SessionId,
    pub(super) hooks: Arc<Hooks>,
    pub(super) cgroup: Cgroup,
    pub(super) launched: bool,
    pub(super) session: Arc<Session>,
    pub(super) claimed: Arc<AtomicBool>,
    /// Since when launchers can connect.
    pub(super) reachable: Arc<OnceLock<Instant>>,
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
    let mut over = None;
    let finding = loop {
        ticks.tick().await;
        if let Some(finding) = supervised.look(since) {
            break finding;
        }
        if !supervised.session.term.enforce() {
            continue;
        }
        let Some(since) = over else {
            over = Some(Instant::now());
            let Some(sessions) = sessions.upgrade() else {
                return;
            };
            // On a disk that hangs nothing is recorded, and its processes end all the same.
            begin(sessions.say_over(supervised.id.clone(), supervised.fate())).await;
            if supervised.launched {
                supervised.terminate().await;
            }
            continue;
        };
        if supervised.launched && since.elapsed() >= GRACE {
            break Finding {
                cause: EXPIRED,
                tampered: None,
            };
        }
    };
    let id = supervised.id;
    // In a task of its own: ending the session ends this one.
    tokio::spawn(async move {
        let Some(sessions) = sessions.upgrade() else {
            return;
        };
        match finding.tampered {
            Some(detail) => sessions.kill_tampered(&id, &detail).await,
            None => sessions.end(&id, finding.cause).await,
        }
    });
}

/// Begins some work, and leaves what of it must wait to a task of its own. What it records comes before whatever
/// happens after this.
async fn begin(work: impl Future<Output = ()> + Send + 'static) {
    let mut work = Box::pin(work);
    let done = poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_ready())).await;
    if !done {
        tokio::spawn(work);
    }
}

impl Sessions {
    /// Puts on record that a session's time is over.
    async fn say_over(self: Arc<Self>, id: SessionId, detail: String) {
        tracing::info!("session {id}: {detail}");
        let code = "session-expired".to_owned();
        self.record(&id, Event::Finding { code, detail }).await;
        self.gateway.approvals.close_session(&id).await;
    }

    /// Kills a tree that is not held any more; says so in the record, which the killing does not wait for.
    async fn kill_tampered(&self, id: &SessionId, detail: &str) {
        if !self.running().contains_key(id) {
            return;
        }
        tracing::error!("session {id}: {detail}");
        let event = Event::Refused {
            process: None,
            destination: None,
            host: None,
            code: TAMPERED.to_owned(),
            detail: format!("{detail}; its tree is killed"),
        };
        tokio::join!(self.record(id, event), self.end(id, TAMPERED));
    }
}

/// Why a session ends whose hooks are gone.
const TAMPERED: &str = "tampered";

impl Supervised {
    /// Tells every process of the tree to end; its first one has no ear for that. The tree is frozen meanwhile, so
    /// that no number passes to another process and none is missed.
    async fn terminate(&self) {
        let frozen = Frozen::new(self.cgroup.clone()).await;
        if let Err(error) = &frozen {
            // It will be killed all the same.
            tracing::warn!("session {}: {error}", self.id);
            return;
        }
        for pid in self.cgroup.processes() {
            if let Ok(pid) = i32::try_from(pid) {
                // One that was killed meanwhile needs no telling.
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
        }
    }

    /// What becomes of it now that its time is over, for people.
    fn fate(&self) -> String {
        let limit = self.session.term.limit();
        let limit = limit.map(Limit::describe).unwrap_or_default();
        let fate = if self.launched {
            "its processes are told to end, and killed after 10 s"
        } else {
            "its tree stays confined, and nothing leaves it, until somebody lets it go: guard detach"
        };
        format!("its time is over ({limit}); {fate}")
    }

    fn look(&self, since: Instant) -> Option<Finding> {
        let plain = |cause| {
            Some(Finding {
                cause,
                tampered: None,
            })
        };
        if !self.cgroup.exists() {
            return plain("exited");
        }
        if let Err(error) = self.hooks.check() {
            return Some(Finding {
                cause: TAMPERED,
                tampered: Some(error.to_string()),
            });
        }
        if !self.launched || self.claimed.load(Ordering::Acquire) {
            return None;
        }
        if !self.cgroup.is_populated() {
            return plain("exited");
        }
        let reachable = self.reachable.get();
        if reachable.is_some_and(|at| since.max(*at).elapsed() >= UNCLAIMED) {
            return plain("launcher-gone");
        }
        None
    }
}

/// Asks the tracker each second whether all is as it was put, and ends the sessions that are not held any more.
pub(in crate::service) async fn check_tracker(sessions: Weak<Sessions>, tracker: Arc<Tracker>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Those whose end is under way. It may wait for the record, and another session's must not.
    let mut ending = BTreeSet::new();
    loop {
        ticks.tick().await;
        let asked = Arc::clone(&tracker);
        let Ok(faults) = tokio::task::spawn_blocking(move || asked.check()).await else {
            continue;
        };
        let Some(sessions) = sessions.upgrade() else {
            return;
        };
        ending.retain(|id| sessions.running().contains_key(id));
        for fault in faults {
            tracing::error!("{}", fault.detail);
            let concerned: Vec<SessionId> = match fault.session {
                Some(id) => vec![id],
                None => sessions.running().keys().cloned().collect(),
            };
            for id in concerned {
                if ending.insert(id.clone()) {
                    let (sessions, detail) = (Arc::clone(&sessions), fault.detail.clone());
                    tokio::spawn(async move { sessions.kill_tampered(&id, &detail).await });
                }
            }
        }
    }
}

/// What holds a session's tree and what does not, for people.
pub(super) fn standing(
    saved: &Saved,
    reach: &Reach,
    hooks: &Hooks,
    tracker: Option<&Tracker>,
) -> (Vec<String>, Vec<String>) {
    let mut enforced: Vec<String> = hooks.enforced().into_iter().map(str::to_owned).collect();
    let mut limits: Vec<String> = hooks
        .limits()
        .iter()
        .map(|limit| limit.detail.clone())
        .collect();
    match tracker {
        Some(tracker) => {
            enforced.extend(tracker.enforced());
            limits.extend(tracker.limits());
        }
        None => limits.push(
            "processes are not tracked: one that leaves the cgroup leaves the session; see the daemon's log"
                .to_owned(),
        ),
    }
    let guarded = has_security_hooks(&enforced);
    match saved.place {
        Place::Launched { .. } => {
            enforced.extend(crate::sandbox::ENFORCED.map(str::to_owned));
            if !guarded {
                limits.push(OPEN_WHERE_LAUNCHED.to_owned());
            }
            if reach.temporary == Temporary::Shared {
                limits.push(OPEN_WHERE_SHARED.to_owned());
            }
            if saved.identity.uid == 0 {
                limits.push(OPEN_TO_ROOT.to_owned());
            }
        }
        Place::Attached { .. } | Place::Moved { .. } => {
            if !guarded {
                limits.extend(OPEN_WITHOUT_SECURITY_HOOKS.map(str::to_owned));
            }
            limits.extend(OPEN_WHERE_ATTACHED.map(str::to_owned));
        }
    }
    (enforced, limits)
}

/// Whether all of the kernel's security hooks (BPF LSM) run guard's programs, by what the tracker enforces.
pub(super) fn has_security_hooks(enforced: &[String]) -> bool {
    enforced.iter().any(|name| name == "security-hooks")
}

/// What the launcher cannot close without the security hooks.
const OPEN_WHERE_LAUNCHED: &str = "a unix socket that a program outside makes after the start, in a directory that the session \
     sees, can be reached";

/// What `sandbox.tmp = "shared"` opens.
const OPEN_WHERE_SHARED: &str = "/tmp, /var/tmp and /dev/shm are the host's, by the profile: programs outside act on files there";

/// What is open to a command that runs as root.
const OPEN_TO_ROOT: &str =
    "the command runs as root: it can change files of the host that act outside later (/etc, /usr)";

/// What the hooks of cgroups cannot close by themselves.
const OPEN_WITHOUT_SECURITY_HOOKS: [&str; 2] = [
    "other socket families: AF_VSOCK, and for root AF_PACKET and AF_XDP, pass the hooks by",
    "processes of the same user outside the tree are within its reach (ptrace, pidfd_getfd)",
];

/// What hooks alone cannot close.
const OPEN_WHERE_ATTACHED: [&str; 4] = [
    "other programs on the same loopback can reach the session's gateway and resolver, and so fill its record",
    "setuid programs still give the tree root's powers: no_new_privs can only be set at a program's start",
    "files of the tree's user that programs outside act on are within its reach",
    "the environment of programs that run already cannot be changed: they trust guard's CA only once they are told",
];

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn what_must_wait_keeps_nobody_and_is_done_all_the_same() {
        let (steps, disk) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let (own, written) = (Arc::clone(&steps), Arc::clone(&disk));
        begin(async move {
            own.lock().unwrap().push("queued");
            written.notified().await;
            own.lock().unwrap().push("recorded");
        })
        .await;
        assert_eq!(*steps.lock().unwrap(), ["queued"]);
        disk.notify_one();
        while steps.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
    }
}
