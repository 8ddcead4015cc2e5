//! Picks a session up that an earlier daemon left behind.
//!
//! Meanwhile the tree had no network: the gateway's sockets died with that daemon, and the hooks stayed.
//! Fresh hooks are attached while the tree is frozen, then the old ones go, so that it makes no difference
//! what version or state those were in.

use std::sync::Arc;

use super::configuration;
use super::raise::raise;
use super::saved::{Place, Saved};
use super::{Remains, SessionError, Sessions};
use crate::kernel::Hooks;
use crate::record::entry::{Entry, Event};
use crate::sandbox::network::Namespace;
use crate::session::SessionId;

/// What became of a session that was left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::service) enum Resumption {
    /// It goes on.
    Resumed,
    /// Its tree had ended or could not be served; nothing of it is left.
    Ended,
    /// It could neither be served nor ended. Its hooks stay, and nothing leaves its tree.
    Left,
}

impl Sessions {
    /// Picks a session up, or ends it where that cannot be; both are on record.
    pub(in crate::service) async fn resume(self: &Arc<Self>, id: &SessionId) -> Resumption {
        let runtime = &self.gateway.config.runtime_dir;
        let saved = match Saved::read(runtime, id) {
            Ok(Some(saved)) => saved,
            Ok(None) => {
                let why = "nothing is saved of it".to_owned();
                return self.give_up_unplaced(id, why).await;
            }
            Err(error) => {
                let why = format!("what is saved of it cannot be read: {error}");
                return self.give_up_unplaced(id, why).await;
            }
        };
        let remains = self.remains(id, &saved.place);
        if saved.unfinished {
            return self.let_go(id, &remains, &saved.place).await;
        }
        // Whatever is recorded of it from here on says whose it is.
        if let Err(error) = self.gateway.journal.introduce(id, &saved.identity) {
            tracing::error!("session {id}: {error}");
        }
        if !remains.cgroup().exists() {
            // It may also be elsewhere by now, as this daemon sees the hierarchy. One that was made later at the path,
            // for a service that was started again, is not the session's.
            let why = format!(
                "its cgroup {} was removed",
                remains.cgroup().path().display()
            );
            return self.give_up_unplaced(id, why).await;
        }
        if !remains.cgroup().is_populated() {
            return self.give_up(id, &remains, None).await;
        }
        match self.pick_up(saved, &remains).await {
            Ok(()) => {
                tracing::info!("session {id} goes on");
                Resumption::Resumed
            }
            Err(error) => {
                let why = crate::control::text_of(&error);
                self.give_up(id, &remains, Some(why)).await
            }
        }
    }

    async fn pick_up(
        self: &Arc<Self>,
        mut saved: Saved,
        remains: &Remains,
    ) -> Result<(), SessionError> {
        let old = remains.pinned().map_err(SessionError::Pins)?;
        if old.is_empty() {
            // Whoever took the pins away let the tree out, for as long as no daemon held the links.
            let why = "its hooks were gone, so its tree was not confined any more";
            return Err(SessionError::Resume(why.to_owned()));
        }
        // Or it could change the configuration between this look at it and the resolver's.
        let frozen = Frozen::new(remains.cgroup().clone()).await?;
        if let Some(file) = configuration::changed(&saved.files).await.first() {
            let file = file.display();
            let why = format!(
                "{file} was changed while it ran, or cannot be read; it chooses the credentials"
            );
            return Err(SessionError::Resume(why));
        }
        // A daemon that ended as it was about to do this may have left pins of its own, half or all of them.
        let newest = old.keys().next_back().copied();
        let whole = old.range(..=saved.generation).next_back();
        let before = whole.or(old.last_key_value()).map(|(_, pins)| pins.clone());
        saved.generation = newest.max(Some(saved.generation)).unwrap_or_default() + 1;
        let session = self.session(&mut saved).await?;
        let cgroup = remains.cgroup().clone();
        let pid = match saved.place {
            Place::Launched { pid } => Some(pid),
            Place::Attached { .. } | Place::Moved { .. } => None,
        };
        let inner = cgroup.clone();
        let member = move || pid.or_else(|| inner.processes().first().copied());
        let namespace = tokio::task::spawn_blocking(move || {
            let member = member()
                .ok_or_else(|| SessionError::Resume("no process of it is left".to_owned()))?;
            Ok::<_, SessionError>(match pid {
                Some(_) => Namespace::of_process(member)?,
                None => Namespace::of_attached(member)?,
            })
        })
        .await??;
        let pins = remains.pins(saved.generation);
        let inner = namespace.clone();
        let reach = session.profile.reach().clone();
        let guarded = self.has_security_hooks();
        let raised = tokio::task::spawn_blocking(move || {
            raise(&inner, &cgroup, &pins, &reach, before, guarded)
        })
        .await??;
        self.track(&session, remains.cgroup(), true).await?;
        for pins in old.values() {
            Hooks::remove(pins)?;
        }
        self.save(&saved)?;
        let entry = Entry {
            session: Some(saved.id.clone()),
            event: Event::SessionResumed,
        };
        self.gateway.journal.append(entry).await?;
        let own = (!namespace.is_own()).then(|| namespace.identity());
        self.serve(saved, session, remains, own, raised);
        drop(frozen);
        Ok(())
    }

    /// Ends a session of which nothing saved tells where its tree is; `why` is on record where one lives.
    async fn give_up_unplaced(&self, id: &SessionId, why: String) -> Resumption {
        let runtime = self.gateway.config.runtime_dir.clone();
        let (hierarchy, name) = (self.hierarchy.clone(), id.clone());
        let sought =
            tokio::task::spawn_blocking(move || Remains::sought(&name, &runtime, &hierarchy));
        let unknown = match sought.await {
            Ok(Ok(remains)) => {
                tracing::warn!("session {id}: {why}");
                let why = remains.cgroup().is_populated().then_some(why);
                return self.give_up(id, &remains, why).await;
            }
            Ok(Err(unplaced)) => unplaced.to_string(),
            Err(error) => error.to_string(),
        };
        // Those that are known to be its.
        self.expel(id).await;
        let detail = format!(
            "the session could not be picked up: {why}. Where its tree is could not be found out either: {unknown}. \
             Its hooks stay, and nothing leaves it; end its processes (bpftool cgroup tree shows where the hooks \
             are) and start guard again"
        );
        self.not_resumed(id, detail).await;
        self.gateway.journal.forget(id);
        Resumption::Left
    }

    /// Lets a tree go that an earlier daemon was about to confine when it ended. Nobody was told that it was.
    async fn let_go(&self, id: &SessionId, remains: &Remains, place: &Place) -> Resumption {
        let detail =
            "guard ended while it began to confine the tree, which goes on as it was; attach again";
        self.not_resumed(id, detail.to_owned()).await;
        let gone = self.release(id, remains, place).await;
        remains.forget().await;
        let cgroup = remains.cgroup().clone();
        match tokio::task::spawn_blocking(move || cgroup.thaw()).await {
            Ok(Ok(())) if gone => Resumption::Ended,
            Ok(Ok(())) => Resumption::Left,
            Ok(Err(error)) => {
                tracing::error!("session {id}: {error}");
                Resumption::Left
            }
            Err(error) => {
                tracing::error!("session {id}: {error}");
                Resumption::Left
            }
        }
    }

    async fn give_up(&self, id: &SessionId, remains: &Remains, why: Option<String>) -> Resumption {
        if let Some(why) = why {
            let detail = format!("the session could not be picked up and is ended: {why}");
            self.not_resumed(id, detail).await;
        }
        if !self.clear(id, remains).await {
            let detail = "its tree could not be killed. Its hooks stay, and nothing leaves it; the next start of \
                          guard tries again, see the daemon's log";
            self.not_resumed(id, detail.to_owned()).await;
            self.gateway.journal.forget(id);
            return Resumption::Left;
        }
        let cause = "recovered".to_owned();
        self.record(id, Event::SessionEnded { cause }).await;
        self.gateway.journal.forget(id);
        Resumption::Ended
    }

    async fn not_resumed(&self, id: &SessionId, detail: String) {
        tracing::warn!("session {id}: {detail}");
        let event = Event::Refused {
            process: None,
            destination: None,
            host: None,
            code: "not-resumed".to_owned(),
            detail,
        };
        self.record(id, event).await;
    }
}

/// A tree that is frozen until this is dropped.
pub(super) struct Frozen(crate::sandbox::cgroup::Cgroup);

impl Frozen {
    pub(super) async fn new(cgroup: crate::sandbox::cgroup::Cgroup) -> Result<Self, SessionError> {
        let frozen = Self(cgroup.clone());
        tokio::task::spawn_blocking(move || cgroup.freeze()).await??;
        Ok(frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = self.0.thaw() {
            tracing::error!("{error}");
        }
    }
}
