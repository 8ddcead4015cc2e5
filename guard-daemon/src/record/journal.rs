//! Appends entries durably, in order, with group commit.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use super::bounds;
use super::chain::Tip;
use super::entry::{Entry, Event};
use super::segment::{SEGMENT_BYTES, Segments, Store};
use super::torn::{self, Torn};
use super::who::Known;
use super::writer::{Append, Writer};
use crate::session::{Identity, SessionId};

/// Entries that may wait for the writer; more make `append` wait for room.
const QUEUE: usize = 1024;

/// A handle on the journal's writer; clones share it. Dropping the last one waits for what is queued and
/// gives the lock up.
#[derive(Clone)]
pub struct Journal {
    writer: Arc<Thread>,
    known: Arc<Known>,
}

/// Why an entry could not be made durable.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The directory or a file in it could not be made, read or locked.
    #[error(
        "cannot open the journal at {}: {source}; make the state directory writable for guard, or choose \
         another with --state-dir", .path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// Another guard writes it.
    #[error(
        "the journal in {} is in use by another guard; use that daemon, or another --state-dir",
        .directory.display()
    )]
    InUse {
        /// The journal's directory.
        directory: PathBuf,
    },
    /// The chain's end is not what guard wrote.
    #[error(
        "the journal is damaged: {} at byte {offset}: {reason}; see `guard journal verify`, then keep the \
         directory {} as evidence under another name, and guard starts a new chain",
        .path.display(), .path.parent().unwrap_or(.path).display()
    )]
    Broken {
        /// The segment.
        path: PathBuf,
        /// Where the bad line begins.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// This entry could not be written; later ones are tried again.
    #[error("cannot write to the journal: {source}; free space on its file system, then try again")]
    Write {
        /// Why not.
        source: Arc<io::Error>,
    },
    /// Data could not be made durable. No later entry is taken.
    #[error(
        "the journal's disk failed: {source}; nothing more is recorded or let through until guard is \
         restarted on a sound disk"
    )]
    Failed {
        /// What the first failed `fdatasync` said.
        source: Arc<io::Error>,
    },
    /// The entry has no JSON form.
    #[error("a journal entry could not be encoded: {reason}; this is a fault in guard")]
    Encode {
        /// Why not.
        reason: String,
    },
    /// The writer is gone.
    #[error("the journal's writer has stopped; restart guard")]
    Stopped,
}

impl Journal {
    /// Opens the journal in `directory` (made, mode 0700), carrying on its chain.
    ///
    /// An unfinished last line, as a crash leaves it, is set aside and recorded. Blocks for file I/O.
    ///
    /// # Errors
    /// Refuses a journal that another process writes, and one whose last whole line is not intact.
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        Self::open_with(directory, SEGMENT_BYTES)
    }

    /// Makes a session known: from now on each of its entries says whose it is.
    pub fn introduce(&self, session: &SessionId, identity: &Identity) -> Result<(), JournalError> {
        self.known
            .introduce(session, identity)
            .map_err(|error| JournalError::encode(&error))
    }

    /// Forgets a session that has ended, once what was under way then is recorded, too.
    pub fn forget(&self, session: &SessionId) {
        self.known.forget(session);
    }

    /// Appends an entry and returns its sequence number once it is on stable storage.
    ///
    /// An entry that is too long is shortened, not refused; what a call asks for follows then in entries of its own,
    /// durable with it. Dropping the future does not take the entry
    /// back.
    pub async fn append(&self, entry: Entry) -> Result<u64, JournalError> {
        let who = entry.session.as_ref().and_then(|id| self.known.of(id));
        let entries = encode(&entry, who.as_deref())?;
        let (answer, answered) = oneshot::channel();
        let queue = self.writer.queue.as_ref().ok_or(JournalError::Stopped)?;
        let gone = queue.send(Append { entries, answer }).await.is_err();
        if gone {
            return Err(JournalError::Stopped);
        }
        answered.await.unwrap_or(Err(JournalError::Stopped))
    }

    pub(super) fn open_with(directory: &Path, segment_bytes: u64) -> Result<Self, JournalError> {
        let (segments, tip, torn) = Segments::open(directory, segment_bytes)?;
        let mut first = Vec::new();
        for Torn { bytes, kept_in } in &torn {
            tracing::warn!(bytes, kept_in, "journal recovered");
            let event = Event::JournalRecovered {
                bytes: *bytes,
                kept_in: kept_in.clone(),
            };
            let entry = Entry {
                session: None,
                event,
            };
            first.extend(encode(&entry, None)?);
        }
        let own = Self::start(segments, tip, &first)?;
        torn::recorded(directory, &torn).map_err(|error| JournalError::open(directory, error))?;
        Ok(own)
    }

    /// Starts the writer on a store, `first` being written before anything else.
    pub(super) fn start(
        store: impl Store,
        tip: Tip,
        first: &[Vec<u8>],
    ) -> Result<Self, JournalError> {
        let mut writer = Writer::new(store, tip);
        if !first.is_empty() {
            writer.commit(first)?;
        }
        let (queue, queued) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(queued))
            .map_err(|source| JournalError::Write {
                source: Arc::new(source),
            })?;
        Ok(Self {
            writer: Arc::new(Thread {
                queue: Some(queue),
                thread: Some(thread),
            }),
            known: Arc::default(),
        })
    }
}

impl JournalError {
    pub(super) fn open(path: &Path, source: io::Error) -> Self {
        Self::Open {
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }

    fn encode(error: &serde_json::Error) -> Self {
        Self::Encode {
            reason: error.to_string(),
        }
    }
}

struct Thread {
    queue: Option<mpsc::Sender<Append>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has already failed every append.
            let _ = thread.join();
        }
    }
}

fn encode(entry: &Entry, who: Option<&[u8]>) -> Result<Vec<Vec<u8>>, JournalError> {
    bounds::encode(entry, who.unwrap_or_default()).map_err(|error| JournalError::encode(&error))
}
