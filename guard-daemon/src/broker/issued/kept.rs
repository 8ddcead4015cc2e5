//! The file that a session's dummies are kept in, for the next daemon.
//!
//! One at a time writes it, for all who wait: each write holds the whole registry. Who waits takes no thread. Once
//! it is closed nobody writes, so that what removes it has the last word.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Mutex;

use super::{Issue, Issued, saved};

/// A session's file.
pub(super) struct Kept {
    path: PathBuf,
    /// Held by the one that writes.
    state: Arc<Mutex<State>>,
}

struct State {
    /// How many changes of the registry the file has.
    changes: u64,
    closed: bool,
    #[cfg(test)]
    writes: usize,
}

impl Kept {
    /// A file that has `changes` of the registry's.
    pub(super) fn new(path: PathBuf, changes: u64) -> Self {
        let state = State {
            changes,
            closed: false,
            #[cfg(test)]
            writes: 0,
        };
        Self {
            path,
            state: Arc::new(Mutex::new(state)),
        }
    }
}

impl Issued {
    /// Returns when the next daemon would find everything that was added before the call. A caller that goes away
    /// stops no write.
    ///
    /// # Errors
    /// The file cannot be written, or is closed: the session has ended.
    pub async fn keep(&self) -> io::Result<()> {
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        let wanted = self.others().changes;
        let mut state = Arc::clone(&kept.state).lock_owned().await;
        if state.closed {
            return Err(io::Error::other("the session has ended"));
        }
        if state.changes >= wanted {
            return Ok(());
        }
        let (changes, sets) = {
            let others = self.others();
            let sets: Vec<Arc<Issue>> = others.sets.values().cloned().collect();
            (others.changes, sets)
        };
        let path = kept.path.clone();
        // The lock goes along: whether anybody waits or not, the next one begins when this one is done.
        let writing = tokio::task::spawn_blocking(move || {
            write(&path, &sets)?;
            state.changes = changes;
            #[cfg(test)]
            {
                state.writes += 1;
            }
            Ok(())
        });
        writing.await.map_err(io::Error::from).flatten()
    }

    /// Returns when nobody writes the file any more, now or later.
    pub async fn close(&self) {
        if let Some(kept) = &self.kept {
            kept.state.lock().await.closed = true;
        }
    }
}

fn write(path: &Path, sets: &[Arc<Issue>]) -> io::Result<()> {
    let new = path.with_extension("issued-new");
    if let Some(directory) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
    }
    let mut written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    written.write_all(&saved::save(sets, SystemTime::now()))?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::runtime::Runtime;
    use tokio::task::JoinSet;

    use super::super::DummyCredentials;
    use super::*;

    fn kept_in(directory: &Path) -> (Arc<Issued>, PathBuf) {
        let file = directory.join("saved/s.issued");
        let issued = Issued::kept_in(DummyCredentials::random(), None, file.clone()).unwrap();
        (Arc::new(issued), file)
    }

    fn add(issued: &Issued) -> Arc<Issue> {
        issued.temporary(SystemTime::now(), Duration::from_mins(5))
    }

    /// Long enough for every task that can go on.
    const BRIEF: Duration = Duration::from_millis(20);

    /// A runtime whose only thread for blocking calls waits for what is returned along.
    fn busy() -> (Runtime, mpsc::Sender<()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let (go, gone) = mpsc::channel();
        runtime.spawn_blocking(move || gone.recv());
        (runtime, go)
    }

    #[test]
    fn two_hundred_at_once_are_written_twice() {
        let directory = tempfile::tempdir().unwrap();
        let (issued, file) = kept_in(directory.path());
        let (runtime, go) = busy();
        let next = || Issued::kept_in(DummyCredentials::random(), None, file.clone()).unwrap();
        runtime.block_on(async {
            let mut minting = JoinSet::new();
            for _ in 0..200 {
                let issued = Arc::clone(&issued);
                minting.spawn(async move {
                    let issue = add(&issued);
                    issued.keep().await.map(|()| issue)
                });
            }
            tokio::time::sleep(BRIEF).await;
            assert!(minting.try_join_next().is_none());
            go.send(()).unwrap();
            while let Some(kept) = minting.join_next().await {
                // Before anybody gets it, the next daemon would find it.
                let id = kept.unwrap().unwrap().dummy.access_key_id.clone();
                assert!(next().find(&id).is_some());
            }
            // The first one's own, and one for all who came meanwhile.
            let writes = issued.kept.as_ref().unwrap().state.lock().await.writes;
            assert_eq!(writes, 2);
            // What an earlier daemon wrote is not written again.
            let next = next();
            fs::remove_file(&file).unwrap();
            next.keep().await.unwrap();
            assert!(!file.exists());
            add(&next);
            next.keep().await.unwrap();
            assert!(file.exists());
        });
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let (issued, file) = kept_in(directory.path());
        fs::write(directory.path().join("saved"), "").unwrap();
        add(&issued);
        issued.keep().await.unwrap_err();
        fs::remove_file(directory.path().join("saved")).unwrap();
        issued.keep().await.unwrap();
        assert!(file.exists());
    }

    #[test]
    fn a_write_that_nobody_waits_for_is_over_before_it_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let (issued, file) = kept_in(directory.path());
        let (runtime, go) = busy();
        runtime.block_on(async {
            add(&issued);
            // The connection that asked is gone; its write has not begun.
            tokio::time::timeout(BRIEF, issued.keep())
                .await
                .unwrap_err();
            let closing = tokio::spawn({
                let issued = Arc::clone(&issued);
                async move { issued.close().await }
            });
            tokio::time::sleep(BRIEF).await;
            assert!(!closing.is_finished());
            go.send(()).unwrap();
            closing.await.unwrap();
            assert!(file.exists());
            fs::remove_file(&file).unwrap();
            issued.keep().await.unwrap_err();
            add(&issued);
            issued.keep().await.unwrap_err();
        });
        drop(runtime);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 0);
    }
}
