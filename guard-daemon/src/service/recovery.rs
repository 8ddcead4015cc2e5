//! After a crash: sessions of which something is left are ended, before new ones begin.
//!
//! Until then they are closed, not open: their network namespaces hold nothing but loopback, and the
//! sockets in them died with the daemon.

use std::collections::BTreeSet;
use std::path::Path;

use super::sessions::{self, Remains};
use crate::record::entry::{Entry, Event};
use crate::record::journal::Journal;
use crate::sandbox::cgroup::Hierarchy;
use crate::session::SessionId;

/// Ends every left session of this runtime directory. What cannot be taken away is logged, and tried
/// again at the next start.
pub(super) async fn recover(runtime_dir: &Path, hierarchy: &Hierarchy, journal: &Journal) {
    for session in left(runtime_dir, hierarchy) {
        tracing::warn!("session {session} was left by a daemon that died; ending it");
        Remains::of(&session, runtime_dir, hierarchy).clear().await;
        let entry = Entry {
            session: Some(session),
            event: Event::SessionEnded {
                cause: "recovered".to_owned(),
            },
        };
        if let Err(error) = journal.append(entry).await {
            tracing::error!("the end of a session is not in the journal: {error}");
        }
    }
}

/// The sessions of which a cgroup, pins or files exist.
fn left(runtime_dir: &Path, hierarchy: &Hierarchy) -> BTreeSet<SessionId> {
    let mut found = BTreeSet::new();
    match hierarchy.sessions() {
        Ok(sessions) => found.extend(sessions),
        Err(error) => tracing::error!("{error}"),
    }
    for directory in [sessions::files(runtime_dir), sessions::pins(runtime_dir)] {
        let entries = std::fs::read_dir(directory).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        found.extend(names.filter_map(|name| SessionId::parse(&name)));
    }
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
        std::fs::create_dir_all(sessions::pins(runtime.path()).join(two.as_str())).unwrap();
        assert_eq!(left(runtime.path(), &hierarchy), BTreeSet::from([one, two]));
    }
}
