//! A session of `guard attach`: a tree that runs already, confined by the hooks alone.
//!
//! The tree is frozen while it is confined, so that nothing of it runs between the hooks and the end of the
//! connections that it had made before.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};

use super::raise::raise;
use super::resumed::Frozen;
use super::saved::Place;
use super::target::Tree;
use super::{Remains, SessionError, Sessions};
use crate::control::wire::AttachSession;
use crate::kernel::sockets;
use crate::record::entry::Event;
use crate::sandbox::cgroup::{self, Cgroup};
use crate::sandbox::environment::Changes;
use crate::sandbox::network::Namespace;
use crate::session::SessionId;
use crate::term::Limit;

/// A tree that was confined.
pub struct Attached {
    /// The session's name.
    pub session: SessionId,
    /// A file of shell assignments for new programs of the tree.
    pub environment: PathBuf,
    /// Its end, where it has one.
    pub limit: Option<Limit>,
    /// What is open, one sentence each.
    pub limits: Vec<String>,
    /// What else the person at the terminal should know.
    pub warnings: Vec<String>,
}

impl Sessions {
    /// Confines a tree that runs, and serves its traffic until it is let go or its cgroup is gone.
    /// `loginuid` is the user that logged in to the process that asks.
    pub async fn attach(
        self: &Arc<Self>,
        request: AttachSession,
        loginuid: Option<u32>,
    ) -> Result<Attached, SessionError> {
        let open = self.open.read().await;
        if !*open {
            return Err(SessionError::Stopping);
        }
        let id = SessionId::random();
        let (target, hierarchy, name) =
            (request.target.clone(), self.hierarchy.clone(), id.clone());
        let tree =
            tokio::task::spawn_blocking(move || Tree::find(&target, &name, &hierarchy)).await??;
        let _reserved = self.reserve(&id, &tree)?;
        let remains = self.remains(&id, &tree.place);
        let place = tree.place.clone();
        let attached = self
            .surround(id.clone(), request, loginuid, tree, &remains)
            .await;
        if attached.is_err() {
            // The tree was not confined, and is not to be harmed.
            self.release(&id, &remains, &place).await;
            remains.forget().await;
            self.gateway.journal.forget(&id);
        }
        attached
    }

    /// Lets a tree go that `attach` confined.
    pub async fn detach(&self, id: &SessionId) -> Result<(), SessionError> {
        let launched = {
            let running = self.running();
            let session = running
                .get(id)
                .ok_or_else(|| SessionError::Unknown(id.clone()))?;
            matches!(session.saved.place, Place::Launched { .. })
        };
        if launched {
            return Err(SessionError::Target(format!(
                "session {id} was started by guard run, and ends with its command"
            )));
        }
        self.conclude(id, "detached", super::Tree::Released).await;
        Ok(())
    }

    /// Every step in order; the caller clears up after one that fails.
    async fn surround(
        self: &Arc<Self>,
        id: SessionId,
        request: AttachSession,
        loginuid: Option<u32>,
        tree: Tree,
        remains: &Remains,
    ) -> Result<Attached, SessionError> {
        if !request.allow_root
            && let Some((pid, comm)) = tree.privileged()
        {
            return Err(SessionError::Root { pid, comm });
        }
        let identity = self.identities.establish(request.starter, loginuid).await?;
        let mut saved = self
            .saved(id.clone(), tree.place.clone(), identity, request.terms)
            .await?;
        let limit = saved.limit;
        let session = self.session(&mut saved).await?;
        let (changes, mut warnings) = self.hand_out(&session, &saved, remains).await?;
        let environment = write_environment(remains, &changes).map_err(SessionError::Save)?;

        // From here on the next daemon must know what to undo.
        saved.unfinished = true;
        self.save(&saved)?;
        if tree.moving.is_some() {
            self.hierarchy.create(&id)?;
        }
        let frozen = Frozen::new(tree.cgroup.clone()).await?;
        let (cgroup, pins) = (tree.cgroup.clone(), remains.pins(0));
        let reach = session.profile.reach().clone();
        let guarded = self.has_security_hooks();
        let (raised, namespace, destroyed) = tokio::task::spawn_blocking(move || {
            tree.gather()?;
            let namespace = Namespace::of_attached(tree.network()?)?;
            let raised = raise(&namespace, &cgroup, &pins, &reach, None, guarded)?;
            let destroyed = sockets::destroy(&cgroup.processes());
            Ok::<_, SessionError>((raised, namespace, destroyed))
        })
        .await??;
        warnings.extend(destroyed.findings());
        self.track(&session, remains.cgroup(), true).await?;
        saved.unfinished = false;
        self.save(&saved)?;
        self.record_start(&session).await?;
        tracing::info!("session {id} of {} attached", session.identity.user);
        let identity = (!namespace.is_own()).then(|| namespace.identity());
        self.serve(saved, session, remains, identity, raised);
        drop(frozen);
        let limits = self
            .running()
            .get(&id)
            .map(|running| running.limits.clone())
            .unwrap_or_default();
        for finding in &warnings {
            self.record(
                &id,
                Event::Finding {
                    code: "attached".to_owned(),
                    detail: finding.clone(),
                },
            )
            .await;
        }
        Ok(Attached {
            session: id,
            environment,
            limit,
            limits,
            warnings,
        })
    }

    /// Takes a tree for a session until that runs or has failed. A tree in a tree would have two gateways.
    fn reserve(&self, id: &SessionId, tree: &Tree) -> Result<Reserved<'_>, SessionError> {
        let moved = tree.moved();
        let running = self.running();
        let mut attaching = self.attaching();
        let others = || {
            let running = running.iter().map(|(id, it)| (id, &it.cgroup));
            // That of a service that was started again is about to be noticed as gone.
            running.chain(attaching.iter()).filter(|it| it.1.exists())
        };
        let overlaps = |other: &Cgroup| {
            let (own, other) = (tree.cgroup.path(), other.path());
            own.starts_with(other) || other.starts_with(own)
        };
        if let Some((session, _)) = others().find(|it| overlaps(it.1)) {
            return Err(SessionError::Target(format!(
                "guard session {session} confines it, or a part of it, already"
            )));
        }
        for (pid, place) in moved {
            let within = |other: &Cgroup| {
                Path::new(&place).starts_with(other.name(&self.hierarchy).as_str())
            };
            let session = cgroup::session_of(&place)
                .or_else(|| Some(others().find(|it| within(it.1))?.0.clone()));
            if let Some(session) = session {
                return Err(SessionError::Target(format!(
                    "its process {pid} is in guard session {session} already"
                )));
            }
        }
        attaching.insert(id.clone(), tree.cgroup.clone());
        Ok(Reserved {
            sessions: self,
            id: id.clone(),
        })
    }

    fn attaching(&self) -> MutexGuard<'_, BTreeMap<SessionId, Cgroup>> {
        self.attaching
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tree that no other session takes meanwhile.
struct Reserved<'a> {
    sessions: &'a Sessions,
    id: SessionId,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.sessions.attaching().remove(&self.id);
    }
}

/// Writes what `guard run` would have changed in the environment, for a shell to read.
fn write_environment(remains: &Remains, changes: &Changes) -> io::Result<PathBuf> {
    let path = remains.files().join("environment");
    std::fs::write(&path, changes.as_shell())?;
    Ok(path)
}
