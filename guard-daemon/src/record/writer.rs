//! The one thread that writes the journal: takes all entries that wait, writes them at once, makes them
//! durable with one `fdatasync`, and only then answers.

use std::io;
use std::sync::Arc;

use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};

use super::chain::{LINE_BYTES, OVERHEAD_BYTES, Tip};
use super::journal::JournalError;
use super::segment::Store;
use super::whole;

/// Entries and bytes of one group at the most: bounds the memory, and how long the first waits.
const GROUP_ENTRIES: usize = 1024;
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of one write: the last of a group may be a long one.
pub(super) const WRITE_BYTES: usize =
    GROUP_BYTES + GROUP_ENTRIES * OVERHEAD_BYTES + whole::MOST_BYTES;

/// An encoded entry with those that go on with it, and who waits for them.
pub(super) struct Append {
    pub(super) entries: Vec<Vec<u8>>,
    pub(super) answer: oneshot::Sender<Result<u64, JournalError>>,
}

pub(super) struct Writer<S> {
    store: S,
    /// The end of the durable chain.
    tip: Tip,
    buffer: Vec<u8>,
    /// Set once `fdatasync` has failed.
    failed: Option<Arc<io::Error>>,
}

impl<S: Store> Writer<S> {
    pub(super) fn new(store: S, tip: Tip) -> Self {
        Self {
            store,
            tip,
            buffer: Vec::new(),
            failed: None,
        }
    }

    /// Writes until every handle is gone.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Append>) {
        let mut entries = Vec::new();
        let mut answers = Vec::new();
        while let Some(first) = queue.blocking_recv() {
            let mut bytes = 0;
            let mut next = Some(first);
            while let Some(append) = next {
                answers.push((entries.len() as u64, append.answer));
                for entry in append.entries {
                    bytes += entry.len();
                    entries.push(entry);
                }
                let room = entries.len() < GROUP_ENTRIES && bytes < GROUP_BYTES - LINE_BYTES;
                next = room.then(|| queue.try_recv().ok()).flatten();
            }
            let first = self.commit(&entries);
            entries.clear();
            for (at, answer) in answers.drain(..) {
                // Whoever asked may have gone; the entry stands all the same.
                let _ = answer.send(first.clone().map(|first| first + at));
            }
        }
    }

    /// Makes a group durable and returns its first entry's number. On an error none of it is in the
    /// journal.
    pub(super) fn commit(&mut self, entries: &[Vec<u8>]) -> Result<u64, JournalError> {
        if let Some(error) = &self.failed {
            return Err(JournalError::Failed {
                source: Arc::clone(error),
            });
        }
        let write_error = |source: io::Error| JournalError::Write {
            source: Arc::new(source),
        };
        // A part of an earlier group may still stand there: without this the chain would not be whole.
        self.store.rollback().map_err(write_error)?;
        let now = OffsetDateTime::now_utc();
        let mut tip = self.tip;
        self.buffer.clear();
        for entry in entries {
            tip.extend(&mut self.buffer, now, entry);
        }
        if let Err(error) = self.store.write(&self.buffer) {
            tracing::error!(%error, "the journal could not be written; requests are refused");
            let _ = self.store.rollback();
            return Err(write_error(error));
        }
        if let Err(error) = self.store.sync() {
            // After a failed fdatasync the kernel may have dropped the data and yet report success for
            // the next one, so nothing that this process could do would prove anything.
            tracing::error!(%error, "the journal could not be made durable; guard must be restarted");
            let _ = self.store.rollback();
            let error = Arc::new(error);
            self.failed = Some(Arc::clone(&error));
            return Err(JournalError::Failed { source: error });
        }
        let first = self.tip.seq + 1;
        self.tip = tip;
        Ok(first)
    }
}
