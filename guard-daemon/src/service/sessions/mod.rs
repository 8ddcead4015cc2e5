//! The sessions of a daemon: how one starts, is picked up from an earlier daemon, and goes away again.
//!
//! `guard run` starts one (`launched`), `guard attach` another (`attached`, `target`); `resumed` picks up what
//! an earlier daemon left, from what that one `saved`, unless the AWS `configuration` has changed. `supervise`
//! watches each while it runs, `ending` ends it, and `remains` takes everything of it away.

mod attached;
mod configuration;
mod ending;
mod error;
mod launched;
mod raise;
mod remains;
mod resumed;
mod saved;
mod supervise;
mod target;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{OnceCell, RwLock, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, timeout};

use crate::broker::{DummyCredentials, Issued, Owner, RoleRequest, Source};
use crate::control::wire::{SessionView, Terms};
use crate::gateway::upstream::Upstream;
use crate::gateway::{Gateway, OwnWay, Share};
use crate::identity::Identities;
use crate::intercept::metadata::Lent;
use crate::intercept::names::Names;
use crate::policy::{CredentialTerms, Length, Profile};
use crate::record::entry::{Entry, Event};
use crate::sandbox::cgroup::{Cgroup, Hierarchy};
use crate::sandbox::environment::{self, Changes};
use crate::sandbox::network;
use crate::sandbox::trust;
use crate::session::{Exchanges, Identity, Session, SessionId};
use crate::term::{Limit, Term};

pub use attached::Attached;
use ending::Tree;
pub use error::SessionError;
pub use launched::Started;
use raise::Raised;
pub(super) use remains::{Remains, files, pins, session_of_pins};
pub(super) use resumed::Resumption;
use saved::{Place, Saved};
pub(super) use saved::{sessions as saved_sessions, sweep};
pub(super) use supervise::check_tracker;

/// Why a session ends whose time is over.
const EXPIRED: &str = "expired";

/// How long a stopping daemon waits for sessions that are just starting.
const STARTING: Duration = Duration::from_secs(20);

/// The sessions of a daemon.
pub struct Sessions {
    gateway: Arc<Gateway>,
    hierarchy: Hierarchy,
    identities: Identities,
    running: Mutex<BTreeMap<SessionId, Running>>,
    /// The cgroups of trees that are about to be attached.
    attaching: Mutex<BTreeMap<SessionId, Cgroup>>,
    /// Since when launchers can connect.
    reachable: Arc<OnceLock<Instant>>,
    /// `true` while sessions may start; starting ones hold it for reading.
    open: RwLock<bool>,
    /// What keeps an embedded daemon alive: connections and sessions.
    occupied: watch::Sender<usize>,
}

/// A running session.
struct Running {
    session: Arc<Session>,
    saved: Saved,
    cgroup: Cgroup,
    namespace: Option<network::Identity>,
    enforced: Vec<String>,
    limits: Vec<String>,
    serving: JoinHandle<()>,
    supervising: AbortHandle,
    /// A launcher's connection holds it.
    claimed: Arc<AtomicBool>,
    /// Set once everything of it is gone.
    ended: Arc<OnceCell<()>>,
    _occupied: Occupied,
}

impl Sessions {
    /// No sessions yet. `occupied` counts what an embedded daemon stays for.
    pub fn new(
        gateway: Arc<Gateway>,
        hierarchy: Hierarchy,
        occupied: watch::Sender<usize>,
    ) -> Self {
        Self {
            identities: Identities::new(&gateway.config.identity, &gateway.config.upstream),
            gateway,
            hierarchy,
            running: Mutex::default(),
            attaching: Mutex::default(),
            reachable: Arc::default(),
            open: RwLock::new(true),
            occupied,
        }
    }

    /// From now on launchers can connect: sessions that were picked up wait for theirs no longer than that allows.
    pub(crate) fn reachable(&self) {
        let _ = self.reachable.set(Instant::now());
    }

    /// Counts a connection as something to stay for, until dropped.
    pub(crate) fn occupy(&self) -> Occupied {
        self.occupied.send_modify(|count| *count += 1);
        Occupied(self.occupied.clone())
    }

    /// Ends a session, kills its tree and takes everything of it away; one that has ended is fine. Of several
    /// callers at once the first gives the cause, and all wait until it is done.
    pub async fn end(&self, id: &SessionId, cause: &str) {
        self.conclude(id, cause, Tree::Killed).await;
    }

    /// Ends all sessions and lets none start any more.
    pub async fn end_all(&self, cause: &str) {
        self.close().await;
        let all: Vec<SessionId> = self.running().keys().cloned().collect();
        for id in all {
            self.end(&id, cause).await;
        }
    }

    /// Leaves all sessions to the next daemon, closed until then, and lets none start any more.
    pub async fn leave_all(&self) {
        self.close().await;
        let all = std::mem::take(&mut *self.running());
        for (id, running) in all {
            running.supervising.abort();
            running.serving.abort();
            // Its answer would reach nobody: the connection that waits ends with this daemon.
            self.gateway.approvals.close_session(&id).await;
        }
    }

    /// Hangs a session on its launcher's connection.
    pub fn claim(&self, id: &SessionId, launcher: u32) -> Result<(), SessionError> {
        let unknown = || SessionError::Unknown(id.clone());
        let (pid, claimed) = {
            let running = self.running();
            let session = running.get(id).ok_or_else(unknown)?;
            match session.saved.place {
                Place::Launched { pid } => (pid, Arc::clone(&session.claimed)),
                Place::Attached { .. } | Place::Moved { .. } => return Err(unknown()),
            }
        };
        launched::check_child(pid, launcher)?;
        if claimed.swap(true, Ordering::AcqRel) {
            return Err(SessionError::Claimed(id.clone()));
        }
        Ok(())
    }

    /// The sessions as people see them, oldest first.
    pub fn views(&self) -> Vec<SessionView> {
        let running = self.running();
        let mut oldest_first: Vec<&Running> = running.values().collect();
        oldest_first.sort_by_key(|session| session.saved.since);
        oldest_first
            .into_iter()
            .map(|running| SessionView {
                id: running.session.id.clone(),
                identity: running.session.identity.clone(),
                profile: running.session.profile.name().to_owned(),
                pid: match running.saved.place {
                    Place::Launched { pid } => Some(pid),
                    Place::Attached { .. } | Place::Moved { .. } => None,
                },
                cgroup: running.cgroup.name(&self.hierarchy),
                limit: running.saved.limit,
                age_seconds: now().saturating_sub(running.saved.since),
                enforced: running.enforced.clone(),
                limits: running.limits.clone(),
            })
            .collect()
    }

    /// The session that a process belongs to, by its cgroup and its network namespace.
    pub fn confines(&self, group: &str, namespace: network::Identity) -> Option<SessionId> {
        let running = self.running();
        let within = |session: &Running| {
            let own = session.cgroup.name(&self.hierarchy);
            let below = group.strip_prefix(own.as_str());
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                || session.namespace == Some(namespace)
        };
        let found = running.iter().find(|(_, session)| within(session));
        found.map(|(id, _)| id.clone())
    }

    /// What a new session is saved as. From here on the journal knows whose its entries are; the caller has it
    /// forgotten where the session does not start.
    async fn saved(
        &self,
        id: SessionId,
        place: Place,
        identity: Identity,
        mut terms: Terms,
    ) -> Result<Saved, SessionError> {
        let profile = self
            .gateway
            .config
            .profile_source(terms.profile.as_deref())?;
        let limit = self.limit(terms.duration, &profile)?;
        terms.profile = None;
        let files = terms.aws.files();
        let files = configuration::contents(files).await;
        self.gateway.journal.introduce(&id, &identity)?;
        Ok(Saved {
            id,
            place,
            unfinished: false,
            generation: 0,
            since: now(),
            identity,
            limit,
            terms,
            profile,
            dummy: DummyCredentials::random(),
            files,
            programs: None,
        })
    }

    /// The end of a session that begins now: the shortest of what was asked for, the profile's and the
    /// configuration's `max_session`. What asks for more is refused.
    fn limit(
        &self,
        asked: Option<u64>,
        profile: &crate::policy::Source,
    ) -> Result<Option<Limit>, SessionError> {
        let profile = Profile::load(profile).map_err(crate::config::ConfigError::from)?;
        let own = self.gateway.config.limits.max_session;
        let most = own.into_iter().chain(profile.max_session()).min();
        let asked = asked.map(Length::seconds);
        match (asked, most) {
            (Some(asked), Some(most)) if asked > most => Err(SessionError::TooLong { asked, most }),
            (asked, most) => Ok(asked.or(most).map(Limit::starting_now)),
        }
    }

    /// A session as exchanges see it. What runs for its credentials is saved when it first starts.
    async fn session(&self, saved: &mut Saved) -> Result<Arc<Session>, SessionError> {
        let profile =
            Arc::new(Profile::load(&saved.profile).map_err(crate::config::ConfigError::from)?);
        let terms = &saved.terms;
        let owner = Owner {
            uid: saved.identity.uid,
            gid: terms.gid,
        };
        let flags: Vec<(String, String)> = terms.upstream.connect.clone().into_iter().collect();
        let upstream = self
            .gateway
            .config
            .upstream
            .merge(&flags, &terms.upstream.roots)?;
        let upstream = Arc::new(Upstream::new(&upstream)?);
        let way = Arc::new(OwnWay {
            journal: self.gateway.journal.clone(),
            session: saved.id.clone(),
            upstream: Arc::clone(&upstream),
        });
        let role = CredentialTerms::role(profile.credentials(), &terms.role)?
            .map(|role| RoleRequest::new(role, &saved.id, &saved.identity, &profile))
            .transpose()?;
        let credentials = Source::new(&terms.aws, owner, role, way, saved.programs.clone()).await?;
        saved.programs = Some(credentials.programs().to_vec());
        let kept = saved::issued(&self.gateway.config.runtime_dir, &saved.id);
        Ok(Arc::new(Session {
            id: saved.id.clone(),
            identity: saved.identity.clone(),
            profile,
            issued: Issued::kept_in(saved.dummy.clone(), saved.limit, kept)
                .map_err(SessionError::Save)?,
            term: Term::new(saved.limit),
            credentials,
            bearer: terms.aws.bearer.clone(),
            upstream,
            bodies: Share::default(),
            lent: Lent::default(),
            names: Names::of_generation(saved.generation),
            exchanges: Exchanges::of_generation(saved.generation),
        }))
    }

    /// Writes the files that the session is handed; gives its environment and what to warn of.
    async fn hand_out(
        &self,
        session: &Session,
        saved: &Saved,
        remains: &Remains,
    ) -> Result<(Changes, Vec<String>), SessionError> {
        let authority = Arc::clone(&self.gateway.authority);
        let directory = remains.files();
        let roots = environment::roots(&saved.terms.environment);
        let (files, mut warnings) = tokio::task::spawn_blocking(move || {
            trust::write(&directory, authority.certificate_pem(), &roots)
        })
        .await??;
        warnings.extend_from_slice(session.credentials.warnings());
        let handed = environment::Handed {
            dummy: session.issued.own(),
            bearer: session.bearer.is_some(),
            delivery: saved.terms.delivery,
            region: session.credentials.region(),
        };
        let mut changes =
            environment::changes(&session.id, handed, files.names(), &saved.terms.environment);
        // With such a token the tree could assume the role itself, without a session policy.
        changes.unset.extend(saved.terms.aws.tokens.keys().cloned());
        Ok((changes, warnings))
    }

    /// Writes down what the next daemon needs.
    fn save(&self, saved: &Saved) -> Result<(), SessionError> {
        saved
            .write(&self.gateway.config.runtime_dir)
            .map_err(SessionError::Save)
    }

    /// Serves and supervises a session whose hooks are in place.
    fn serve(
        self: &Arc<Self>,
        saved: Saved,
        session: Arc<Session>,
        remains: &Remains,
        namespace: Option<network::Identity>,
        raised: Raised,
    ) {
        let Raised { wires, hooks } = raised;
        let hooks = Arc::new(hooks);
        let serving = tokio::spawn(crate::intercept::serve(
            Arc::clone(&self.gateway),
            Arc::clone(&session),
            Arc::clone(&hooks),
            wires,
        ));
        let claimed = Arc::new(AtomicBool::new(false));
        let tracker = self.gateway.tracker.as_deref();
        let (enforced, limits) =
            supervise::standing(&saved, session.profile.reach(), &hooks, tracker);
        let supervised = supervise::Supervised {
            id: saved.id.clone(),
            hooks,
            cgroup: remains.cgroup().clone(),
            launched: matches!(saved.place, Place::Launched { .. }),
            session: Arc::clone(&session),
            claimed: Arc::clone(&claimed),
            reachable: Arc::clone(&self.reachable),
        };
        let supervising = tokio::spawn(supervise::watch(Arc::downgrade(self), supervised));
        let id = saved.id.clone();
        let running = Running {
            session,
            cgroup: remains.cgroup().clone(),
            saved,
            namespace,
            enforced,
            limits,
            serving,
            supervising: supervising.abort_handle(),
            claimed,
            ended: Arc::default(),
            _occupied: self.occupy(),
        };
        self.running().insert(id, running);
    }

    /// Makes the processes of a cgroup the session's for as long as they live, wherever they go.
    async fn track(
        &self,
        session: &Session,
        cgroup: &Cgroup,
        existing: bool,
    ) -> Result<(), SessionError> {
        let Some(tracker) = self.gateway.tracker.clone() else {
            return Ok(());
        };
        let (id, cgroup) = (session.id.clone(), cgroup.clone());
        let unix = session.profile.reach().unix.clone();
        tokio::task::spawn_blocking(move || {
            let directory = cgroup.open()?;
            tracker.confine(&id, directory.as_fd(), existing)?;
            if !unix.is_empty() {
                tracker.allow_unix(&id, &unix)?;
            }
            Ok(())
        })
        .await?
    }

    /// Whether all of the kernel's security hooks (BPF LSM) run guard's programs.
    fn has_security_hooks(&self) -> bool {
        let tracker = self.gateway.tracker.as_ref();
        tracker.is_some_and(|tracker| supervise::has_security_hooks(&tracker.enforced()))
    }

    fn remains(&self, id: &SessionId, place: &Place) -> Remains {
        Remains::at(place, id, &self.gateway.config.runtime_dir, &self.hierarchy)
    }

    async fn close(&self) {
        if let Ok(mut open) = timeout(STARTING, self.open.write()).await {
            *open = false;
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<SessionId, Running>> {
        // A map that a panicking task held is whole: no operation on it can fail halfway.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Journals something that has happened and cannot be taken back.
    async fn record(&self, id: &SessionId, event: Event) {
        let entry = Entry {
            session: Some(id.clone()),
            event,
        };
        if let Err(error) = self.gateway.journal.append(entry).await {
            tracing::error!("an event of session {id} is not in the journal: {error}");
        }
    }

    /// Journals a session's beginning, which does not happen otherwise.
    async fn record_start(&self, session: &Session) -> Result<(), SessionError> {
        let event = Event::SessionStarted {
            identity: session.identity.clone(),
            profile: session.profile.name().to_owned(),
            profile_sha256: session.profile.sha256().to_owned(),
        };
        let entry = Entry {
            session: Some(session.id.clone()),
            event,
        };
        self.gateway.journal.append(entry).await?;
        Ok(())
    }
}

/// Something that an embedded daemon stays for, until dropped.
#[derive(Debug)]
pub(crate) struct Occupied(watch::Sender<usize>);

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Seconds since the epoch.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
