//! Identifies as the gateway does, and writes down what it found.

use std::collections::HashSet;

use http::request::Parts;
use serde::Serialize;

use super::Answers;
use super::input::{Batch, LINE};
use super::request::{self, Described, Malformed};
use crate::aws::sigv4::{self, SigV4Error};
use crate::aws::{
    self, BodyView, Call, Confidence, Operation, Protocol, RequestView, Resource, Scope,
};
use crate::gateway::{self, IN_MEMORY};
use crate::visible::printable_json;

/// Identifies requests, one after another.
pub(super) struct Identifier {
    account: Option<String>,
    /// The head as it would arrive, kept for its memory.
    head: Vec<u8>,
}

/// Why there is no reading of a request.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    NotAdmitted(String),
    #[error(transparent)]
    Signature(#[from] SigV4Error),
    #[error(transparent)]
    Identify(#[from] aws::IdentifyError),
    #[error("the line is longer than {} MiB; leave the body out", LINE >> 20)]
    TooLong,
    #[error("the HAR document ends here: {0}")]
    Broken(String),
}

impl Identifier {
    pub(super) fn new(account: Option<String>) -> Self {
        Self {
            account,
            head: Vec::new(),
        }
    }

    /// One line for each request of the batch.
    pub(super) fn answer(&mut self, batch: &Batch) -> Answers {
        let mut answers = Answers {
            lines: Vec::new(),
            bad: 0,
        };
        match batch {
            Batch::Lines(lines, first) => {
                answers.lines.reserve(lines.len());
                for (line, number) in lines.split(|it| *it == b'\n').zip(*first..) {
                    if !line.trim_ascii().is_empty() {
                        answers.add(&self.read_line(line), number);
                    }
                }
            }
            Batch::Entry(entry, number) => {
                let read = request::of_entry(entry.get()).map_err(Refused::from);
                answers.add(&read.and_then(|it| self.read(&it, &[])), *number);
            }
            Batch::TooLong(number) => answers.add(&Err(Refused::TooLong), *number),
            Batch::Broken(why, number) => answers.add(&Err(Refused::Broken(why.clone())), *number),
        }
        answers
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(Call, Option<SigV4Error>), Refused> {
        self.read(&request::of_line(line)?, &[])
    }

    /// The call, and why its signature would not be taken.
    fn read(
        &mut self,
        described: &Described,
        wanted: &[&str],
    ) -> Result<(Call, Option<SigV4Error>), Refused> {
        let Described { parts, host, body } = described;
        gateway::check_described(parts, host, &mut self.head).map_err(Refused::NotAdmitted)?;
        let mut view = RequestView {
            method: &parts.method,
            host,
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            body: BodyView::Unread,
        };
        // A kind of signature that guard does not take hides nothing from those who read.
        let (presented, unsupported) = match sigv4::presented(&view) {
            Err(error @ SigV4Error::Unsupported(_)) => (None, Some(error)),
            presented => (presented?, None),
        };
        let scope = presented.as_ref().map(|it| Scope {
            region: &it.region,
            service: &it.service,
        });
        let body = body.as_deref().filter(|it| {
            it.is_empty() || it.len() <= IN_MEMORY && aws::needs_body(&view, scope, wanted)
        });
        view.body = body.map_or(BodyView::Unread, BodyView::Whole);
        let call = aws::identify(&view, scope, self.account.as_deref(), wanted)?;
        Ok((call, unsupported))
    }
}

/// The call that one line describes, with its host and head.
pub(in crate::cli) fn call(
    line: &[u8],
    account: Option<String>,
    wanted: &[&str],
) -> Result<(Call, String, Parts), String> {
    let described = request::of_line(line).map_err(|error| error.to_string())?;
    let read = Identifier::new(account).read(&described, wanted);
    let (call, _unsupported) = read.map_err(|error| error.to_string())?;
    Ok((call, described.host, described.parts))
}

impl Answers {
    fn add(&mut self, result: &Result<(Call, Option<SigV4Error>), Refused>, number: u64) {
        let start = self.lines.len();
        // A vector takes all that is written, and all keys are texts.
        let _ = match result {
            Ok((call, unsupported)) => {
                let mut answer = Answer::of(call);
                answer.warning = unsupported.as_ref().map(ToString::to_string);
                serde_json::to_writer(&mut self.lines, &answer)
            }
            Err(refused) => {
                self.bad += 1;
                let answer = Answer {
                    confidence: "unknown",
                    line: Some(number),
                    error: Some(refused.to_string()),
                    ..Answer::default()
                };
                serde_json::to_writer(&mut self.lines, &answer)
            }
        };
        let plain = |it: &u8| matches!(it, b' '..=b'~');
        if !self.lines[start..].iter().all(plain) {
            let shown = printable_json(&String::from_utf8_lossy(&self.lines[start..]));
            self.lines.truncate(start);
            self.lines.extend_from_slice(shown.as_bytes());
        }
        self.lines.push(b'\n');
    }
}

/// A line of output.
#[derive(Default, Serialize)]
struct Answer<'a> {
    service: Option<&'static str>,
    operation: Option<&'static str>,
    candidates: Vec<Candidate>,
    /// Each once; `None` where one is not derivable.
    actions: Vec<Option<&'a str>>,
    /// Each once; `None` where one is not derivable.
    resources: Vec<Option<&'a str>>,
    /// Which action is asked for on which resources.
    access: Vec<Access<'a>>,
    confidence: &'static str,
    protocol: Option<&'static str>,
    partition: Option<&'static str>,
    region: Option<&'a str>,
    /// Why the gateway would refuse what is read here all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Candidate {
    service: &'static str,
    operation: &'static str,
}

#[derive(Serialize)]
struct Access<'a> {
    action: Option<&'a str>,
    resources: Vec<Option<&'a str>>,
}

impl<'a> Answer<'a> {
    fn of(call: &'a Call) -> Self {
        let access: Vec<Access<'_>> = call.access.iter().map(Access::of).collect();
        let operation = match call.operation {
            Operation::Known(name) => Some(name),
            Operation::Ambiguous(_) | Operation::Unknown => None,
        };
        let candidates = call.candidates.iter();
        let mut answer = Self {
            service: call.service,
            operation,
            candidates: candidates
                .map(|(service, operation)| Candidate { service, operation })
                .collect(),
            actions: Vec::with_capacity(access.len()),
            resources: Vec::with_capacity(access.len()),
            confidence: match call.confidence {
                Confidence::Exact => "exact",
                Confidence::Partial => "partial",
                Confidence::Unknown => "unknown",
            },
            protocol: Some(protocol(call.protocol)),
            partition: Some(call.partition),
            region: call.region.as_deref(),
            ..Self::default()
        };
        let (mut actions, mut resources) = (HashSet::new(), HashSet::new());
        for one in &access {
            if actions.insert(one.action) {
                answer.actions.push(one.action);
            }
            let new = one.resources.iter().filter(|it| resources.insert(**it));
            answer.resources.extend(new);
        }
        answer.access = access;
        answer
    }
}

impl<'a> Access<'a> {
    fn of(access: &'a aws::Access) -> Self {
        let resources = access.resources.iter().map(|it| match it {
            Resource::Arn(arn) => Some(arn.as_str()),
            Resource::Any => Some("*"),
            Resource::Unknown => None,
        });
        Self {
            action: access.action.as_deref(),
            resources: resources.collect(),
        }
    }
}

/// As Smithy calls them.
fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Json10 => "awsJson1_0",
        Protocol::Json11 => "awsJson1_1",
        Protocol::Query => "awsQuery",
        Protocol::Ec2 => "ec2Query",
        Protocol::RestJson => "restJson1",
        Protocol::RestXml | Protocol::S3 => "restXml",
        Protocol::Cbor => "rpcv2Cbor",
    }
}
