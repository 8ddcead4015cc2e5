//! What the journal is told of an exchange: the decision as it forms, and how it ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};
use tokio::task::JoinHandle;

use super::body::Progress;
use crate::aws::{self, Call, Confidence, Operation, Resource};
use crate::record::entry::{Access, Entry, Event, ExchangeCompleted, ExchangeDecided, Process};
use crate::record::journal::Journal;
use crate::session::SessionId;

/// Bytes of a path, or of any text the agent chose, that are recorded.
const TEXT_BYTES: usize = 1024;

/// A decision of which nothing is known yet but who called and what the request line says.
pub(super) fn undecided(
    exchange: String,
    process: Process,
    method: &str,
    path: &str,
) -> ExchangeDecided {
    ExchangeDecided {
        exchange,
        process,
        method: bounded(method),
        host: String::new(),
        path: bounded(path),
        service: None,
        operation: Vec::new(),
        access: Vec::new(),
        region: None,
        keys: Vec::new(),
        confidence: "unknown".to_owned(),
        decision: "deny".to_owned(),
        observed: None,
        statement: None,
        reason: String::new(),
        approval: None,
        authentication: None,
        presented_key: None,
        signing_key: None,
        assumed: Vec::new(),
    }
}

/// Writes down what was read from a request.
pub(super) fn describe(decided: &mut ExchangeDecided, call: &Call) {
    decided.service = call.service.map(str::to_owned);
    decided.operation = match &call.operation {
        Operation::Known(name) => vec![(*name).to_owned()],
        Operation::Ambiguous(names) => names.iter().map(|name| (*name).to_owned()).collect(),
        Operation::Unknown => Vec::new(),
    };
    decided.access = call.access.iter().map(recorded).collect();
    decided.region.clone_from(&call.region);
    let confidence = match call.confidence {
        Confidence::Exact => "exact",
        Confidence::Partial => "partial",
        Confidence::Unknown => "unknown",
    };
    confidence.clone_into(&mut decided.confidence);
}

fn recorded(access: &aws::Access) -> Access {
    let text = |resource: &Resource| match resource {
        Resource::Arn(arn) => Some(arn.clone()),
        Resource::Any => Some("*".to_owned()),
        Resource::Unknown => None,
    };
    Access {
        action: access.action.as_deref().map(str::to_owned),
        level: access.level.map(|it| it.name().to_owned()),
        resources: access.resources.iter().map(text).collect(),
    }
}

/// The first bytes of a text, whole characters.
pub(super) fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES)].to_owned()
}

/// Appends an entry, whether somebody waits for it or not: for what has no other reply to give than its end, and for
/// what is recorded also if the client leaves meanwhile.
pub(super) fn append_later(
    journal: &Journal,
    session: &SessionId,
    event: Event,
) -> Option<JoinHandle<()>> {
    let entry = Entry {
        session: Some(session.clone()),
        event,
    };
    let journal = journal.clone();
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        tracing::error!(?entry, "not recorded: the daemon is going down");
        return None;
    };
    UNWRITTEN.fetch_add(1, Ordering::Relaxed);
    Some(runtime.spawn(async move {
        if let Err(error) = journal.append(entry).await {
            tracing::error!(%error, "the journal failed; exchanges are refused until it works");
        }
        UNWRITTEN.fetch_sub(1, Ordering::Relaxed);
    }))
}

/// Entries that nobody waits for and that are not durable yet.
static UNWRITTEN: AtomicUsize = AtomicUsize::new(0);

/// Waits, `patience` at the most, until the ends of all exchanges are in the journal: for a daemon that is
/// about to end. Tasks that were just aborted hand theirs in a moment later, so it looks a few times.
pub async fn settle(patience: Duration) {
    let quiet = async {
        let mut looks = 0;
        while looks < 5 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            looks = if UNWRITTEN.load(Ordering::Relaxed) == 0 {
                looks + 1
            } else {
                0
            };
        }
    };
    if tokio::time::timeout(patience, quiet).await.is_err() {
        tracing::error!("the ends of some exchanges could not be recorded in time");
    }
}

/// Takes the finished entry: appends it, but for tests.
type Recorder = Box<dyn FnOnce(ExchangeCompleted) + Send>;

/// Follows an allowed exchange to its end and records it exactly once: finished, failed, or, dropped
/// before either, left by its client.
pub(super) struct Completion {
    entry: ExchangeCompleted,
    started: Instant,
    sent: Arc<Progress>,
    record: Option<Recorder>,
}

impl Completion {
    /// Begins at the decision; `record` is given the entry.
    pub(super) fn new(exchange: String, record: Recorder) -> Self {
        let entry = ExchangeCompleted {
            exchange,
            status: None,
            aws_request_id: None,
            aws_error: None,
            bytes_sent: 0,
            bytes_received: 0,
            milliseconds: 0,
            masked: Vec::new(),
            error: None,
        };
        Self {
            entry,
            started: Instant::now(),
            sent: Arc::default(),
            record: Some(record),
        }
    }

    /// Is to be told how the request body fares.
    pub(super) fn sent(&self) -> Arc<Progress> {
        Arc::clone(&self.sent)
    }

    /// The head of the response came.
    pub(super) fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        let text = |name| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.map(bounded)
        };
        self.entry.status = Some(status.as_u16());
        self.entry.aws_request_id = text("x-amzn-requestid").or_else(|| text("x-amz-request-id"));
        if !status.is_success() {
            // restJson1: `Code`, `Code:URI` or `namespace#Code`.
            self.entry.aws_error = text("x-amzn-errortype").map(|code| {
                let code = code.split(':').next().unwrap_or_default();
                code.rsplit('#').next().unwrap_or_default().to_owned()
            });
        }
    }

    /// Bytes of the response body came.
    pub(super) fn received(&mut self, bytes: usize) {
        self.entry.bytes_received += bytes as u64;
    }

    /// Members were masked.
    pub(super) fn masked(&mut self, paths: Vec<String>) {
        self.entry.masked = paths;
    }

    /// All went well.
    pub(super) fn finish(&mut self) {
        self.end(None);
    }

    /// It failed: a stable code and one sentence. If its request body broke off, that is why.
    pub(super) fn fail(&mut self, code: &str, text: &str) {
        self.end(Some(format!("{code}: {text}")));
    }

    /// The exchange never was allowed: nothing is recorded.
    pub(super) fn disarm(mut self) {
        self.record = None;
    }

    fn end(&mut self, error: Option<String>) {
        let Some(record) = self.record.take() else {
            return;
        };
        let mut entry = self.entry.clone();
        entry.bytes_sent = self.sent.bytes();
        entry.milliseconds = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        entry.error = error.map(|told| match self.sent.error() {
            Some(error) => format!("{}: {error}", error.code()),
            None => told,
        });
        record(entry);
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.end(Some(
            "client-gone: the client went away before the response was complete".to_owned(),
        ));
    }
}

/// Records a refused exchange if it is dropped: its client went away while a person was asked.
pub(super) struct Abandoned(Option<(Journal, SessionId, ExchangeDecided)>);

impl Abandoned {
    /// Armed until `disarm`.
    pub(super) fn new(journal: &Journal, session: &SessionId, decided: &ExchangeDecided) -> Self {
        Self(Some((journal.clone(), session.clone(), decided.clone())))
    }

    /// The exchange goes on.
    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some((journal, session, mut decided)) = self.0.take() {
            "client-gone: the client went away while a person was asked"
                .clone_into(&mut decided.reason);
            append_later(
                &journal,
                &session,
                Event::ExchangeDecided(Box::new(decided)),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_is_durable_once_it_has_settled() {
        let directory = tempfile::tempdir().expect("a directory");
        let journal = Journal::open(directory.path()).expect("a journal");
        for _ in 0..50 {
            let event = Event::SessionEnded {
                cause: "exited".to_owned(),
            };
            append_later(&journal, &SessionId::random(), event);
        }
        settle(Duration::from_secs(10)).await;
        let written = crate::record::read::lines(directory.path()).expect("readable");
        assert_eq!(written.count(), 50);
    }
}
