//! Where changes of an approval's state are written before they take effect.

use super::NotRecorded;
use crate::record::entry::{Entry, Event};
use crate::record::journal::Journal;
use crate::session::SessionId;

/// The journal, or what stands in for it in tests.
pub(super) enum Recorder {
    Journal(Journal),
    #[cfg(test)]
    Memory(super::tests::Memory),
}

/// A change of state.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    pub(super) approval: String,
    /// As `record::entry::Event::Approval` lists them.
    pub(super) state: &'static str,
    pub(super) approver: Option<String>,
    pub(super) reason: Option<String>,
}

impl Change {
    pub(super) fn new(approval: &str, state: &'static str) -> Self {
        Self {
            approval: approval.to_owned(),
            state,
            ..Self::default()
        }
    }
}

impl Recorder {
    /// Writes it durably.
    pub(super) async fn append(
        &self,
        session: &SessionId,
        change: Change,
    ) -> Result<(), NotRecorded> {
        let Change {
            approval,
            state,
            approver,
            reason,
        } = change;
        let event = Event::Approval {
            approval,
            state: state.to_owned(),
            approver,
            reason,
        };
        let entry = Entry {
            session: Some(session.clone()),
            event,
        };
        match self {
            Self::Journal(journal) => match journal.append(entry).await {
                Ok(_) => Ok(()),
                Err(error) => Err(NotRecorded(Box::new(error))),
            },
            #[cfg(test)]
            Self::Memory(memory) => memory.append(entry).await,
        }
    }
}
