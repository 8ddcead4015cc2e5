//! A journal line in a few words, for people.
//!
//! The words are as they stand in the journal: whoever prints them escapes what a terminal obeys.

use std::fmt::Write as _;

use super::entry::{Event, ExchangeCompleted, ExchangeDecided, OwnCall, Process};
use super::read::Line;
use crate::session::Identity;

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
    /// The person and the agent it was done for, where they are known.
    pub who: String,
}

/// Sums a line up; the error says why it is not a journal line.
pub fn summary(line: &Line) -> Result<Summary, String> {
    let place = line.link()?;
    let mut time = place.time;
    if let Some(short) = time.get(..23).map(|short| format!("{short}Z")) {
        time = short;
    }
    let mut own = Summary {
        seq: place.seq,
        time,
        session: place.session.unwrap_or_else(|| "-".to_owned()),
        process: "-".to_owned(),
        decision: "-".to_owned(),
        who: line.who().map(|who| who.to_string()).unwrap_or_default(),
        ..Summary::default()
    };
    if !place.intact {
        own.outcome.push_str("CHANGED SINCE IT WAS WRITTEN");
    }
    match line.entry() {
        Some(entry) => own.fill(entry.event),
        None => own.what.push_str("an entry of a newer guard"),
    }
    Ok(own)
}

impl Summary {
    fn fill(&mut self, event: Event) {
        match event {
            Event::SessionStarted {
                identity, profile, ..
            } => self.fill_started(identity, &profile),
            Event::SessionResumed => self.what.push_str("session resumed"),
            Event::Finding { code, detail } => {
                self.what = format!("finding {code}");
                self.reason = detail;
            }
            Event::SessionEnded { cause } => {
                self.what.push_str("session ended");
                self.reason = cause;
            }
            Event::ExchangeDecided(decided) => self.fill_decided(*decided),
            Event::ExchangeCompleted(completed) => self.fill_completed(*completed),
            Event::DnsQuestion {
                name,
                kind,
                allowed,
                transport,
            } => {
                self.what = format!("dns {kind} {name} over {transport}");
                self.decision = String::from(if allowed { "allow" } else { "deny" });
            }
            Event::ProcessExecuted { process } => self.fill_executed(&process),
            Event::ProcessesUnrecorded { count } => {
                self.what = format!("{count} more programs executed, not recorded one by one");
            }
            Event::ConnectionPassed {
                process,
                host,
                port,
            } => {
                self.process = of(&process);
                self.what = format!("connection {host}:{port}");
                self.decision = String::from("allow");
            }
            Event::ConnectionPublished { peer, host, port } => {
                self.what =
                    format!("connection from {peer} by {host} to the session's port {port}");
                self.decision = String::from("allow");
            }
            Event::Refused {
                process,
                destination,
                host,
                code,
                detail,
            } => {
                let name = host.or_else(|| destination.map(|address| address.to_string()));
                self.fill_refused(process.as_ref(), name.as_deref(), &code, detail);
            }
            Event::Approval {
                approval,
                state,
                approver,
                reason,
            } => self.fill_approval(&approval, state, approver, reason),
            Event::DummiesServed {
                process,
                service,
                dummy_key,
            } => {
                self.process = of(&process);
                self.what = format!("{service} gave out {dummy_key}");
            }
            Event::CredentialsMinted {
                exchange,
                dummy_key,
                real_key,
                arn,
                ..
            } => {
                let of = arn.as_deref().unwrap_or("a principal that is not told");
                self.what = format!("{exchange} minted {dummy_key} for {real_key} of {of}");
            }
            Event::OwnCall(call) => self.fill_own_call(&call),
            Event::CredentialsObtained { arn, real_key, .. } => {
                self.process = String::from("guard");
                self.what = format!("credentials {real_key} of {arn}");
            }
            Event::JournalRecovered { bytes, kept_in } => {
                self.what.push_str("journal recovered");
                self.add(&format!(
                    "{bytes} B of an unfinished line kept in {kept_in}"
                ));
            }
        }
    }

    fn fill_refused(
        &mut self,
        process: Option<&Process>,
        name: Option<&str>,
        code: &str,
        detail: String,
    ) {
        self.process = process.map_or("-".to_owned(), of);
        self.what = name.map_or(code.to_owned(), |name| format!("{code} {name}"));
        self.decision = String::from("refuse");
        self.reason = detail;
    }

    fn fill_started(&mut self, identity: Identity, profile: &str) {
        self.what = format!("session started: {}", identity.command.join(" "));
        self.reason = identity.reason.unwrap_or_default();
        self.add(&format!(
            "{}@{}, profile {profile}",
            identity.user, identity.host
        ));
        for (key, value) in &identity.labels {
            self.add(&format!("{key}={value}"));
        }
    }

    fn fill_approval(
        &mut self,
        approval: &str,
        state: String,
        approver: Option<String>,
        reason: Option<String>,
    ) {
        self.what = format!("approval {approval}");
        self.decision = state;
        self.reason = reason.unwrap_or_default();
        if let Some(approver) = approver {
            self.add(&format!("by {approver}"));
        }
    }

    fn fill_own_call(&mut self, call: &OwnCall) {
        self.process = String::from("guard");
        let OwnCall {
            service,
            operation,
            host,
            ..
        } = call;
        self.what = format!("{service}:{operation} at {host}, guard's own call");
        if let Some(assumes) = &call.assumes {
            self.add(&format!("role {}", assumes.role));
        }
    }

    fn fill_executed(&mut self, process: &Process) {
        self.process = of(process);
        let program = process.exe.as_deref().unwrap_or("a program");
        self.what = format!("exec {program}");
        if let Some(arguments) = process.argv.as_deref().and_then(|argv| argv.get(1..)) {
            for argument in arguments {
                self.what.push(' ');
                self.what.push_str(argument);
            }
        }
        if let Some(parent) = process.parents.first() {
            self.add(&format!("by {}", parent.pid));
        }
    }

    // Writing to a string does not fail.
    fn fill_decided(&mut self, decided: ExchangeDecided) {
        self.process = of(&decided.process);
        let service = decided.service.as_deref().unwrap_or("unknown");
        let operation = match decided.operation.as_slice() {
            [] => "unknown".to_owned(),
            some => some.join("|"),
        };
        self.what = format!("{service}:{operation}");
        let resources: Vec<&str> = decided.resources().collect();
        for resource in resources.iter().take(RESOURCES) {
            self.what.push(' ');
            self.what.push_str(resource);
        }
        if resources.len() > RESOURCES {
            let more = resources.len() - RESOURCES;
            let _ = write!(self.what, " and {more} more");
        }
        if decided.confidence == "unknown" {
            let ExchangeDecided {
                method, host, path, ..
            } = &decided;
            let _ = write!(self.what, " {method} {host}{path}");
        }
        self.decision = match decided.observed {
            Some(observed) => format!("{} (observed: {observed})", decided.decision),
            None => decided.decision,
        };
        self.reason = decided.reason;
        if let Some(approval) = decided.approval {
            let _ = write!(self.reason, " ({approval})");
        }
        self.add(&decided.exchange);
    }

    fn fill_completed(&mut self, completed: ExchangeCompleted) {
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
