//! The sessions of a daemon: how one starts, and how everything of it goes away again.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OnceCell, RwLock};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::persist;
use crate::broker::{BrokerError, DummyCredentials, Owner, Source};
use crate::config::ConfigError;
use crate::control::wire::{SessionView, StartSession};
use crate::gateway::Gateway;
use crate::gateway::upstream::{Upstream, UpstreamError};
use crate::intercept::Wires;
use crate::intercept::names::Names;
use crate::kernel::{HookSettings, Hooks, KernelError, Network};
use crate::record::entry::{Entry, Event};
use crate::record::journal::JournalError;
use crate::sandbox::cgroup::{self, Cgroup, CgroupError, Hierarchy};
use crate::sandbox::environment::{self, Changes};
use crate::sandbox::network::{self, GATEWAY_PORT, Namespace, NetworkError, RESOLVER_PORT};
use crate::sandbox::trust::{self, TrustError};
use crate::session::{Session, SessionId};

/// What holds a session's tree, as `guard status` tells it.
const ENFORCED: [&str; 4] = [
    "network-namespace",
    "cgroup-hooks",
    "no-new-privileges",
    "capabilities",
];

/// How long a stopping daemon waits for sessions that are just starting.
const STARTING: Duration = Duration::from_secs(20);

/// Why a session could not be started. Nothing is left of it.
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
    /// The profile.
    #[error("the profile cannot be used")]
    Profile(#[from] ConfigError),
    /// The credentials.
    #[error("the AWS credentials cannot be used")]
    Broker(#[from] BrokerError),
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
    /// The journal.
    #[error("the session's start cannot be recorded, so it does not start")]
    Journal(#[from] JournalError),
    /// A thread of the daemon died.
    #[error("a step of the start failed inside the daemon; see its log")]
    Internal(#[from] tokio::task::JoinError),
}

/// A session that has started.
pub struct Started {
    /// Its name.
    pub session: SessionId,
    /// What to change in the command's environment.
    pub environment: Changes,
    /// What the person at the terminal should know.
    pub warnings: Vec<String>,
}

/// The sessions of a daemon.
pub struct Sessions {
    gateway: Arc<Gateway>,
    hierarchy: Hierarchy,
    running: Mutex<BTreeMap<SessionId, Running>>,
    /// `true` while sessions may start; starting ones hold it for reading.
    open: RwLock<bool>,
}

/// A running session.
struct Running {
    session: Arc<Session>,
    namespace: network::Identity,
    pid: u32,
    since: Instant,
    serving: JoinHandle<()>,
    /// Set once everything of it is gone.
    ended: Arc<OnceCell<()>>,
}

impl Sessions {
    /// No sessions yet.
    pub fn new(gateway: Arc<Gateway>, hierarchy: Hierarchy) -> Self {
        Self {
            gateway,
            hierarchy,
            running: Mutex::default(),
            open: RwLock::new(true),
        }
    }

    /// Confines the process and serves its traffic. `launcher` is the process that asks.
    pub async fn start(
        &self,
        request: StartSession,
        launcher: u32,
    ) -> Result<Started, SessionError> {
        let open = self.open.read().await;
        if !*open {
            return Err(SessionError::Stopping);
        }
        let id = SessionId::random();
        let remains = Remains::of(&id, &self.gateway.config.runtime_dir, &self.hierarchy);
        let started = self.confine(id, request, launcher, &remains).await;
        if started.is_err() {
            remains.clear().await;
        }
        started
    }

    /// Every step in order; the caller clears up after one that fails.
    async fn confine(
        &self,
        id: SessionId,
        request: StartSession,
        launcher: u32,
        remains: &Remains,
    ) -> Result<Started, SessionError> {
        let config = &self.gateway.config;
        let pid = request.pid;
        check_child(pid, launcher)?;
        let namespace = Arc::new(Namespace::of_process(pid)?);
        let profile = Arc::new(config.profile(request.profile.as_deref())?);
        let owner = Owner {
            uid: request.identity.uid,
            gid: request.gid,
        };
        let credentials = Source::new(&request.aws, owner).await?;
        let region = credentials.region().map(str::to_owned);
        let flags: Vec<(String, String)> = request.upstream.connect.into_iter().collect();
        let upstream = config.upstream.merge(&flags, &request.upstream.roots)?;
        let upstream = Upstream::new(&upstream)?;
        let session = Arc::new(Session {
            id: id.clone(),
            identity: request.identity,
            profile,
            dummy: DummyCredentials::random(),
            credentials,
            upstream: Arc::new(upstream),
            names: Names::default(),
        });

        let authority = Arc::clone(&self.gateway.authority);
        let directory = remains.files.clone();
        let roots = environment::roots(&request.environment);
        let (files, warnings) = tokio::task::spawn_blocking(move || {
            trust::write(&directory, authority.certificate_pem(), &roots)
        })
        .await??;
        let environment = environment::changes(
            &id,
            &session.dummy,
            region.as_deref(),
            files.names(),
            &request.environment,
        );

        let cgroup = self.hierarchy.create(&id)?;
        let (inner, group, pins) = (Arc::clone(&namespace), cgroup.clone(), remains.pins.clone());
        let (wires, hooks) = tokio::task::spawn_blocking(move || {
            let wires = inner.open_wires()?;
            let settings = HookSettings {
                gateway_port: GATEWAY_PORT,
                resolver_port: RESOLVER_PORT,
                network: Network::Own,
                netns_cookie: namespace_cookie(&wires)?,
                unix: None,
                predecessor: None,
            };
            let directory = group.open()?;
            let hooks = Hooks::attach(directory.as_fd(), &pins, &settings)?;
            Ok::<_, SessionError>((wires, hooks))
        })
        .await??;
        self.gateway
            .journal
            .append(Entry {
                session: Some(id.clone()),
                event: Event::SessionStarted {
                    identity: session.identity.clone(),
                    profile: session.profile.name().to_owned(),
                    profile_sha256: session.profile.sha256().to_owned(),
                },
            })
            .await?;
        if let Err(error) = admit(&cgroup, &id, pid) {
            self.record_end(&id, "exited").await;
            return Err(error);
        }
        let serving = tokio::spawn(crate::intercept::serve(
            Arc::clone(&self.gateway),
            Arc::clone(&session),
            Arc::new(hooks),
            wires,
        ));
        tracing::info!("session {id} of {} started", session.identity.user);
        let running = Running {
            session,
            namespace: namespace.identity(),
            pid,
            since: Instant::now(),
            serving,
            ended: Arc::default(),
        };
        self.running().insert(id.clone(), running);
        Ok(Started {
            session: id,
            environment,
            warnings,
        })
    }

    /// Ends a session and takes everything of it away; one that has ended is fine. Of several callers at
    /// once the first gives the cause, and all wait until it is done.
    pub async fn end(&self, id: &SessionId, cause: &str) {
        let (serving, ended) = {
            let running = self.running();
            let Some(session) = running.get(id) else {
                return;
            };
            (session.serving.abort_handle(), Arc::clone(&session.ended))
        };
        ended
            .get_or_init(|| async {
                let remains = Remains::of(id, &self.gateway.config.runtime_dir, &self.hierarchy);
                // The tree first: what still runs must not see its gateway go away.
                remains.kill().await;
                serving.abort();
                self.gateway.approvals.close_session(id).await;
                remains.clear().await;
                self.record_end(id, cause).await;
                // Until now its processes were to be known as confined.
                self.running().remove(id);
                tracing::info!("session {id} ended: {cause}");
            })
            .await;
    }

    /// Ends all sessions and lets none start any more.
    pub async fn end_all(&self, cause: &str) {
        if let Ok(mut open) = timeout(STARTING, self.open.write()).await {
            *open = false;
        }
        let all: Vec<SessionId> = self.running().keys().cloned().collect();
        for id in all {
            self.end(&id, cause).await;
        }
    }

    /// The sessions as people see them, oldest first.
    pub fn views(&self) -> Vec<SessionView> {
        let running = self.running();
        let mut oldest_first: Vec<&Running> = running.values().collect();
        oldest_first.sort_by_key(|session| session.since);
        oldest_first
            .into_iter()
            .map(|running| SessionView {
                id: running.session.id.clone(),
                identity: running.session.identity.clone(),
                profile: running.session.profile.name().to_owned(),
                pid: running.pid,
                age_seconds: running.since.elapsed().as_secs(),
                enforced: ENFORCED.map(str::to_owned).to_vec(),
            })
            .collect()
    }

    /// The sessions' network namespaces.
    pub fn namespaces(&self) -> Vec<(SessionId, network::Identity)> {
        let running = self.running();
        running
            .iter()
            .map(|(id, session)| (id.clone(), session.namespace))
            .collect()
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<SessionId, Running>> {
        // A map that a panicking task held is whole: no operation on it can fail halfway.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn record_end(&self, id: &SessionId, cause: &str) {
        let entry = Entry {
            session: Some(id.clone()),
            event: Event::SessionEnded {
                cause: cause.to_owned(),
            },
        };
        if let Err(error) = self.gateway.journal.append(entry).await {
            tracing::error!("the end of session {id} is not in the journal: {error}");
        }
    }
}

/// Everything that a session leaves on the host.
pub(super) struct Remains {
    id: SessionId,
    cgroup: Cgroup,
    pins: PathBuf,
    files: PathBuf,
}

impl Remains {
    /// What a session of this name has, as far as it exists.
    pub(super) fn of(id: &SessionId, runtime_dir: &Path, hierarchy: &Hierarchy) -> Self {
        Self {
            id: id.clone(),
            cgroup: hierarchy.of(id),
            pins: pins(runtime_dir).join(id.as_str()),
            files: files(runtime_dir).join(id.as_str()),
        }
    }

    /// Kills the tree and removes its cgroup.
    async fn kill(&self) {
        let cgroup = self.cgroup.clone();
        match tokio::task::spawn_blocking(move || cgroup.destroy()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("session {}: {error}", self.id),
            Err(error) => tracing::error!("session {}: {error}", self.id),
        }
    }

    /// Takes everything away. What fails is logged, and tried again when the next daemon starts.
    pub(super) async fn clear(&self) {
        self.kill().await;
        if self.cgroup.path().exists() {
            // Something survives: its hooks must, too.
            return;
        }
        let id = &self.id;
        persist(&format!("session {id}: its pins stay"), || {
            if self.pins.exists() {
                Hooks::remove(&self.pins)
            } else {
                Ok(())
            }
        })
        .await;
        persist(
            &format!("session {id}: its files stay"),
            || match std::fs::remove_dir_all(&self.files) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
        )
        .await;
    }
}

/// The bpffs of a runtime directory; a directory per session in it.
pub(super) fn pins(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("bpf")
}

/// The directory of the files that sessions are handed; a directory per session in it.
pub(super) fn files(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("sessions")
}

/// The cookie of the namespace that the wires were opened in.
fn namespace_cookie(wires: &Wires) -> Result<u64, SessionError> {
    let listener = wires
        .tcp
        .first()
        .ok_or_else(|| io::Error::other("no listener was opened"));
    listener
        .and_then(|listener| crate::kernel::netns_cookie(listener.as_fd()))
        .map_err(SessionError::Cookie)
}

/// Moves the process into its cgroup and looks whether it is there.
fn admit(cgroup: &Cgroup, id: &SessionId, pid: u32) -> Result<(), SessionError> {
    cgroup.admit(pid)?;
    let not_there = |detail: String| SessionError::NotAChild { pid, detail };
    let path = cgroup::of_process(pid).map_err(|error| not_there(error.to_string()))?;
    if cgroup::session_of(&path).as_ref() != Some(id) {
        return Err(not_there(format!("it is in cgroup {path}")));
    }
    Ok(())
}

/// The launcher holds its child unreaped while it waits for us, so the number cannot pass to another.
fn check_child(pid: u32, launcher: u32) -> Result<(), SessionError> {
    let wrong = |detail: String| SessionError::NotAChild { pid, detail };
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .map_err(|error| wrong(error.to_string()))?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    match parent.map(|parent| parent.trim().parse::<u32>()) {
        Some(Ok(parent)) if parent == launcher => Ok(()),
        _ => Err(wrong(format!(
            "its parent is {}",
            parent.map_or("unknown", str::trim)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_child_of_the_launcher_can_be_confined() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let checked = check_child(child.id(), std::process::id());
        let stranger = check_child(child.id(), 1);
        let absent = check_child(0, std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
        checked.unwrap();
        assert!(matches!(stranger, Err(SessionError::NotAChild { .. })));
        assert!(matches!(absent, Err(SessionError::NotAChild { .. })));
    }
}
