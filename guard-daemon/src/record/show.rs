//! A journal line in a few words, for people.
//!
//! The words are as they stand in the journal: whoever prints them escapes what a terminal obeys.

use super::entry::{Event, Process};
use super::read::Line;

/// Resources that are named; further ones are counted.
const RESOURCES: usize = 3;

/// What a line says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// The line's number.
    pub seq: u64,
    /// When it was written: UTC, milliseconds.
    pub time: String,
    /// The session, or `-`.
    pub session: String,
    /// `comm[pid]`, or `-`.
    pub process: String,
    /// What was done.
    pub what: String,
    /// `allow`, `deny`, `refuse`, an approval's state, or `-`.
    pub decision: String,
    /// Why.
    pub reason: String,
    /// What came of it.
    pub outcome: String,
}

/// Sums a line up; the error says why it is not a journal line.
pub fn summary(line: &Line) -> Result<Summary, String> {
    let link = line.link()?;
    let mut time = link.time;
    if let Some(short) = time.get(..23).map(|short| format!("{short}Z")) {
        time = short;
    }
    let mut own = Summary {
        seq: link.seq,
        time,
        session: link.session.unwrap_or_else(|| "-".to_owned()),
        process: "-".to_owned(),
        decision: "-".to_owned(),
        ..Summary::default()
    };
    if !link.intact {
        own.outcome = "CHANGED SINCE IT WAS WRITTEN".to_owned();
    }
    match line.entry() {
        Some(entry) => own.fill(entry.event),
        None => "an entry of a newer guard".clone_into(&mut own.what),
    }
    Ok(own)
}

impl Summary {
    fn fill(&mut self, event: Event) {
        match event {
            Event::SessionStarted {
                identity, profile, ..
            } => {
                self.what = format!("session started: {}", identity.command.join(" "));
                self.reason = identity.reason.unwrap_or_default();
                self.add(&format!(
                    "{}@{}, profile {profile}",
                    identity.user, identity.host
                ));
            }
            Event::SessionEnded { cause } => {
                "session ended".clone_into(&mut self.what);
                self.reason = cause;
            }
            Event::ExchangeDecided(decided) => {
                self.process = of(&decided.process);
                let service = decided.service.as_deref().unwrap_or("unknown");
                let operation = match decided.operation.as_slice() {
                    [] => "unknown".to_owned(),
                    some => some.join("|"),
                };
                self.what = format!("{service}:{operation}");
                for resource in decided.resources.iter().take(RESOURCES) {
                    self.what.push(' ');
                    self.what
                        .push_str(resource.as_deref().unwrap_or("unknown-resource"));
                }
                if decided.resources.len() > RESOURCES {
                    self.what += &format!(" and {} more", decided.resources.len() - RESOURCES);
                }
                if decided.confidence == "unknown" {
                    self.what += &format!(" {} {}{}", decided.method, decided.host, decided.path);
                }
                self.decision = decided.decision;
                self.reason = decided.reason;
                if let Some(approval) = decided.approval {
                    self.reason += &format!(" ({approval})");
                }
                self.add(&decided.exchange);
            }
            Event::ExchangeCompleted(completed) => {
                self.what = format!("response {}", completed.exchange);
                let status = completed
                    .status
                    .map_or("no response".to_owned(), |s| s.to_string());
                self.add(&status);
                for text in [completed.aws_error, completed.error].into_iter().flatten() {
                    self.add(&text);
                }
                self.add(&format!(
                    "{} B sent, {} B received, {} ms",
                    completed.bytes_sent, completed.bytes_received, completed.milliseconds
                ));
                if !completed.masked.is_empty() {
                    self.add(&format!("masked {}", completed.masked.join(" ")));
                }
            }
            Event::DnsQuestion {
                name,
                kind,
                allowed,
                transport,
            } => {
                self.what = format!("dns {kind} {name} over {transport}");
                self.decision = if allowed { "allow" } else { "deny" }.to_owned();
            }
            Event::ConnectionPassed {
                process,
                host,
                port,
            } => {
                self.process = of(&process);
                self.what = format!("connection {host}:{port}");
                "allow".clone_into(&mut self.decision);
            }
            Event::Refused {
                process,
                destination,
                host,
                code,
                detail,
            } => {
                self.process = process.as_ref().map_or("-".to_owned(), of);
                let name = host.or_else(|| destination.map(|address| address.to_string()));
                self.what = format!("{code} {}", name.unwrap_or_default())
                    .trim_end()
                    .to_owned();
                "refuse".clone_into(&mut self.decision);
                self.reason = detail;
            }
            Event::Approval {
                approval,
                state,
                approver,
                reason,
            } => {
                self.what = format!("approval {approval}");
                self.decision = state;
                self.reason = reason.unwrap_or_default();
                if let Some(approver) = approver {
                    self.add(&format!("by {approver}"));
                }
            }
            Event::JournalRecovered { bytes, kept_in } => {
                "journal recovered".clone_into(&mut self.what);
                self.add(&format!(
                    "{bytes} B of an unfinished line kept in {kept_in}"
                ));
            }
        }
    }

    fn add(&mut self, outcome: &str) {
        if !self.outcome.is_empty() {
            self.outcome.push_str(", ");
        }
        self.outcome.push_str(outcome);
    }
}

fn of(process: &Process) -> String {
    format!("{}[{}]", process.comm, process.pid)
}
