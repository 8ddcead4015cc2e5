//! A journal line in a few words, for people.
//!
//! Agents chose many of the words. Each is quoted as a shell would have it unless all of it is plain, so that none can
//! be taken for another part of the row.

use std::fmt::Write as _;

use super::entry::{Event, ExchangeCompleted, ExchangeDecided, OwnCall, Process};
use super::read::Line;
use super::whole::WholeAccess;
use crate::session::Identity;
use crate::visible::quoted;

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
    /// What came of it.
    pub outcome: String,
    /// Why; behind everything else, as it may be whole sentences.
    pub reason: String,
    /// The person and the agent it was done for, where they are known; nothing of it is the agent's choice.
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
    if let Some(whole) = line.whole_access() {
        let WholeAccess {
            count,
            parts,
            recorded,
            ..
        } = whole;
        own.add(&format!(
            "{count} resources in all, {recorded} of them in the {parts} entries behind"
        ));
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
                self.reason = sentence(&detail);
            }
            Event::SessionEnded { cause } => {
                self.what.push_str("session ended");
                self.reason = cause;
            }
            Event::ExchangeDecided(decided) => self.fill_decided(*decided),
            Event::ExchangeAccess {
                exchange,
                part,
                access,
            } => {
                self.what = format!("{exchange} asks for, part {part}:");
                let resources = access.iter().flat_map(|it| &it.resources);
                let resources: Vec<&str> = resources.flatten().map(String::as_str).collect();
                self.add_resources(&resources);
            }
            Event::ExchangeCompleted(completed) => self.fill_completed(*completed),
            Event::DnsQuestion {
                name,
                kind,
                allowed,
                transport,
            } => {
                self.what = format!("dns {kind} {} over {transport}", quoted(&name));
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
                self.what = format!("connection {}:{port}", quoted(&host));
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
                self.fill_refused(process.as_ref(), name.as_deref(), &code, &detail);
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
                let of = arn.map_or("a principal that is not told".to_owned(), |arn| {
                    quoted(&arn)
                });
                self.what = format!("{exchange} minted {dummy_key} for {real_key} of {of}");
            }
            Event::OwnCall(call) => self.fill_own_call(&call),
            Event::CredentialsObtained { arn, real_key, .. } => {
                self.process = String::from("guard");
                self.what = format!("credentials {real_key} of {}", quoted(&arn));
            }
            Event::JournalRecovered { bytes, kept_in } => {
                self.what.push_str("journal recovered");
                self.add(&format!("{bytes} B of unfinished lines kept in {kept_in}"));
            }
        }
    }

    fn fill_refused(
        &mut self,
        process: Option<&Process>,
        name: Option<&str>,
        code: &str,
        detail: &str,
    ) {
        self.process = process.map_or("-".to_owned(), of);
        self.what = name.map_or(code.to_owned(), |name| format!("{code} {}", quoted(name)));
        self.decision = String::from("refuse");
        self.reason = sentence(detail);
    }

    fn fill_started(&mut self, identity: Identity, profile: &str) {
        self.what.push_str("session started:");
        self.add_words(&identity.command);
        self.reason = sentence(&identity.reason.unwrap_or_default());
        self.add(&quoted(&format!("{}@{}", identity.user, identity.host)));
        self.add(&format!("profile {}", quoted(profile)));
        for (key, value) in &identity.labels {
            self.add(&quoted(&format!("{key}={value}")));
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
        self.reason = sentence(&reason.unwrap_or_default());
        if let Some(approver) = approver {
            self.add(&format!("by {}", item(&approver)));
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
            self.add(&format!("role {}", quoted(&assumes.role)));
        }
    }

    fn fill_executed(&mut self, process: &Process) {
        self.process = of(process);
        let program = process.exe.as_deref();
        let program = program.map_or("a program".to_owned(), quoted);
        self.what = format!("exec {program}");
        if let Some(arguments) = process.argv.as_deref().and_then(|argv| argv.get(1..)) {
            self.add_words(arguments);
        }
        if let Some(parent) = process.parents.first() {
            self.add(&format!("by {}", parent.pid));
        }
    }

    fn fill_decided(&mut self, decided: ExchangeDecided) {
        self.process = of(&decided.process);
        let service = decided.service.as_deref().unwrap_or("unknown");
        let operation = match decided.operation.as_slice() {
            [] => "unknown".to_owned(),
            some => some.join("|"),
        };
        self.what = format!("{service}:{operation}");
        let resources: Vec<&str> = decided.resources().collect();
        self.add_resources(&resources);
        if decided.confidence == "unknown" {
            let ExchangeDecided {
                method, host, path, ..
            } = &decided;
            self.add_words([method, &format!("{host}{path}")]);
        }
        self.decision = match decided.observed {
            Some(observed) => format!("{} (observed: {observed})", decided.decision),
            None => decided.decision,
        };
        self.reason = sentence(&decided.reason);
        self.add(&decided.exchange);
        if let Some(approval) = decided.approval {
            self.add(&approval);
        }
    }

    fn fill_completed(&mut self, completed: ExchangeCompleted) {
        self.what = format!("response {}", completed.exchange);
        let status = completed
            .status
            .map_or("no response".to_owned(), |s| s.to_string());
        self.add(&status);
        for text in [completed.aws_error, completed.error].into_iter().flatten() {
            self.add(&item(&text));
        }
        self.add(&format!(
            "{} B sent, {} B received, {} ms",
            completed.bytes_sent, completed.bytes_received, completed.milliseconds
        ));
        if !completed.masked.is_empty() {
            let masked: Vec<String> = completed.masked.iter().map(|it| quoted(it)).collect();
            self.add(&format!("masked {}", masked.join(" ")));
        }
    }

    fn add_resources(&mut self, resources: &[&str]) {
        self.add_words(resources.iter().take(RESOURCES));
        if resources.len() > RESOURCES {
            let more = resources.len() - RESOURCES;
            // Writing to a string does not fail.
            let _ = write!(self.what, " and {more} more");
        }
    }

    fn add_words(&mut self, words: impl IntoIterator<Item = impl AsRef<str>>) {
        for word in words {
            self.what.push(' ');
            self.what.push_str(&quoted(word.as_ref()));
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
    format!("{}[{}]", quoted(&process.comm), process.pid)
}

/// A sentence, quoted where it could be taken for more than one part of a row.
fn sentence(text: &str) -> String {
    let plain = |c: char| c == ' ' || (c.is_ascii_graphic() && !";\\".contains(c));
    let one = text.chars().all(plain) && !text.contains("  ") && !text.starts_with(['\'', ' ']);
    if one { text.to_owned() } else { quoted(text) }
}

/// The same for one of several, between commas.
fn item(text: &str) -> String {
    if text.contains(',') {
        quoted(text)
    } else {
        sentence(text)
    }
}
