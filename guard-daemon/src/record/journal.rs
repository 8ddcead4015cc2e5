//! Appends entries durably, in order, with group commit.

use std::path::Path;

use super::entry::Entry;

/// A handle on the journal's writer; clones share it.
#[derive(Clone)]
pub struct Journal {}

/// Why an entry could not be made durable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {}

impl Journal {
    /// Opens the journal in `directory` (made, mode 0700), carrying on its chain.
    pub fn open(_directory: &Path) -> Result<Self, JournalError> {
        unimplemented!("contract")
    }

    /// Appends an entry and returns its sequence number once it is on stable storage.
    pub async fn append(&self, _entry: Entry) -> Result<u64, JournalError> {
        unimplemented!("contract")
    }
}
