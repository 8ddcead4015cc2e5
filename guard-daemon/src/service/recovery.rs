//! After a crash, a restart or an upgrade: sessions that an earlier daemon left are picked up, before new ones
//! begin. What cannot be picked up is ended.
//!
//! Until then they are closed, not open: the hooks stay attached, and the sockets that they redirect to died
//! with the daemon.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::sessions::{self, Resumption, Sessions};
use crate::sandbox::cgroup::Hierarchy;
use crate::session::SessionId;

/// Picks up every left session of this runtime directory, or ends it: all at once, so that one that takes long keeps
/// none waiting. What cannot be taken away is logged, and tried again at the next start.
pub(super) async fn recover(runtime_dir: &Path, hierarchy: &Hierarchy, sessions: &Arc<Sessions>) {
    sessions::sweep(runtime_dir);
    let mut resumed = JoinSet::new();
    for session in left(runtime_dir, hierarchy) {
        tracing::warn!("session {session} was left by an earlier daemon");
        let sessions = Arc::clone(sessions);
        resumed.spawn(async move {
            match sessions.resume(&session).await {
                Resumption::Resumed => {}
                Resumption::Ended => tracing::warn!("session {session} is ended"),
                Resumption::Left => {
                    tracing::error!("session {session} stays closed: it cannot be ended");
                }
            }
        });
    }
    while let Some(done) = resumed.join_next().await {
        if let Err(error) = done {
            tracing::error!("a session was not picked up: {error}");
        }
    }
}

/// The sessions of which a cgroup, pins, files or a saved state exist.
pub(super) fn left(runtime_dir: &Path, hierarchy: &Hierarchy) -> BTreeSet<SessionId> {
    let mut found = BTreeSet::new();
    match hierarchy.sessions() {
        Ok(sessions) => found.extend(sessions),
        Err(error) => tracing::error!("{error}"),
    }
    found.extend(sessions::saved_sessions(runtime_dir));
    let entries = |directory| std::fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries(sessions::files(runtime_dir));
    let names = files.filter_map(|entry| entry.file_name().into_string().ok());
    found.extend(names.filter_map(|name| SessionId::parse(&name)));
    let pins = entries(sessions::pins(runtime_dir));
    found.extend(pins.filter_map(|entry| sessions::session_of_pins(&entry.path())));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_sessions_by_their_files_and_nothing_else() {
        let runtime = tempfile::tempdir().unwrap();
        let Ok(hierarchy) = Hierarchy::find(runtime.path()) else {
            crate::skip::skip(module_path!(), "no cgroup v2 on this host");
            return;
        };
        assert!(left(runtime.path(), &hierarchy).is_empty());
        let (one, two) = (SessionId::random(), SessionId::random());
        let files = sessions::files(runtime.path());
        std::fs::create_dir_all(files.join(one.as_str())).unwrap();
        std::fs::create_dir_all(files.join("not-a-session")).unwrap();
        std::fs::create_dir_all(sessions::pins(runtime.path()).join(format!("{two}-0"))).unwrap();
        assert_eq!(left(runtime.path(), &hierarchy), BTreeSet::from([one, two]));
    }
}
