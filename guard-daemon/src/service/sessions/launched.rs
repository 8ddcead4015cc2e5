//! A session of `guard run`: the launcher's waiting child is confined, then let go.

use std::sync::Arc;

use super::raise::raise;
use super::saved::Place;
use super::{Remains, SessionError, Sessions};
use crate::control::wire::StartSession;
use crate::record::entry::Event;
use crate::sandbox::cgroup::{self, Cgroup};
use crate::sandbox::environment::Changes;
use crate::sandbox::mounts::World;
use crate::sandbox::network::{self, Namespace};
use crate::session::SessionId;
use crate::term::Limit;

/// A session that has started.
pub struct Started {
    /// Its name.
    pub session: SessionId,
    /// What to change in the command's environment.
    pub environment: Changes,
    /// What the session is to see of the host.
    pub world: World,
    /// Its end, where it has one.
    pub limit: Option<Limit>,
    /// What the person at the terminal should know.
    pub warnings: Vec<String>,
}

impl Sessions {
    /// Confines the process and serves its traffic. `launcher` is the process that asks, `loginuid` the user
    /// that logged in to it.
    pub async fn start(
        self: &Arc<Self>,
        request: StartSession,
        launcher: u32,
        loginuid: Option<u32>,
    ) -> Result<Started, SessionError> {
        let open = self.open.read().await;
        if !*open {
            return Err(SessionError::Stopping);
        }
        let id = SessionId::random();
        let remains = Remains::of(&id, &self.gateway.config.runtime_dir, &self.hierarchy);
        let started = self
            .confine(id.clone(), request, (launcher, loginuid), &remains)
            .await;
        if started.is_err() {
            self.clear(&id, &remains).await;
            self.gateway.journal.forget(&id);
        }
        started
    }

    /// Every step in order; the caller clears up after one that fails.
    async fn confine(
        self: &Arc<Self>,
        id: SessionId,
        request: StartSession,
        (launcher, loginuid): (u32, Option<u32>),
        remains: &Remains,
    ) -> Result<Started, SessionError> {
        let (pid, init) = (request.pid, request.init);
        check_child(pid, launcher)?;
        check_child(init, launcher)?;
        let namespace = Namespace::of_process(init)?;
        check_shared(pid, &namespace)?;
        let place = Place::Launched { pid };
        let identity = self.identities.establish(request.starter, loginuid).await?;
        let mut saved = self
            .saved(id.clone(), place, identity, request.terms)
            .await?;
        let limit = saved.limit;
        let session = self.session(&mut saved).await?;
        let (environment, warnings) = self.hand_out(&session, &saved, remains).await?;

        let config = &self.gateway.config;
        let world = World {
            reach: session.profile.reach().clone(),
            files: remains.files(),
            hidden: vec![config.state_dir.clone(), config.runtime_dir.clone()],
        };

        let cgroup = self.hierarchy.create(&id)?;
        let (inner, group, pins) = (namespace.clone(), cgroup.clone(), remains.pins(0));
        let reach = session.profile.reach().clone();
        let guarded = self.has_security_hooks();
        let raised = tokio::task::spawn_blocking(move || {
            raise(&inner, &group, &pins, &reach, None, guarded)
        })
        .await??;
        self.track(&session, &cgroup, false).await?;
        self.save(&saved)?;
        self.record_start(&session).await?;
        for detail in session.credentials.warnings() {
            let (code, detail) = ("credentials".to_owned(), detail.clone());
            self.record(&id, Event::Finding { code, detail }).await;
        }
        let both = admit(&cgroup, &id, init).and_then(|()| admit(&cgroup, &id, pid));
        if let Err(error) = both {
            let cause = "exited".to_owned();
            self.record(&id, Event::SessionEnded { cause }).await;
            return Err(error);
        }
        tracing::info!("session {id} of {} started", session.identity.user);
        self.serve(saved, session, remains, Some(namespace.identity()), raised);
        if let Some(running) = self.running().get(&id) {
            // The connection that asked holds it.
            running
                .claimed
                .store(true, std::sync::atomic::Ordering::Release);
        }
        Ok(Started {
            session: id,
            environment,
            world,
            limit,
            warnings,
        })
    }
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

/// Its namespace must be the session's, or the hooks would be alone.
fn check_shared(pid: u32, namespace: &Namespace) -> Result<(), SessionError> {
    let wrong = |detail: String| SessionError::NotAChild { pid, detail };
    let own = network::Identity::of_process(pid).map_err(|error| wrong(error.to_string()))?;
    if own != namespace.identity() {
        return Err(wrong("it is in another network namespace".to_owned()));
    }
    Ok(())
}

/// The launcher holds its child unreaped while it waits for us, so the number cannot pass to another.
pub(super) fn check_child(pid: u32, launcher: u32) -> Result<(), SessionError> {
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
