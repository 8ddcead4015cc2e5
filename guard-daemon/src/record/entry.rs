//! What a journal entry says. docs/journal.md is the schema for readers; keep both true.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::session::{Identity, SessionId};

/// One journal entry, before the journal gives it a sequence number, a time and its place in the chain.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Entry {
    /// The session it belongs to; `None` for the daemon's own entries.
    pub session: Option<SessionId>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A session began.
    SessionStarted {
        /// Who runs it.
        identity: Identity,
        /// The profile's name.
        profile: String,
        /// SHA-256 of the profile's text, hexadecimal.
        profile_sha256: String,
    },
    /// A daemon picked up a session that an earlier one had started. In between the tree had no network.
    SessionResumed,
    /// A session ended.
    SessionEnded {
        /// Why: `exited`, `expired`, `detached`, `launcher-gone`, `daemon-stopped`, `recovered`, `tampered`.
        cause: String,
    },
    /// A decision on an exchange; durable before any byte of the request goes upstream.
    ExchangeDecided(Box<ExchangeDecided>),
    /// What an exchange asks for, where the entry of its decision had no room for it; written with that entry.
    ExchangeAccess {
        /// The exchange.
        exchange: String,
        /// From 1; `whole_access` of the decision says how many there are.
        part: u64,
        /// As in the decision; the next part goes on where this ends.
        access: Vec<Access>,
    },
    /// How an allowed exchange ended.
    ExchangeCompleted(Box<ExchangeCompleted>),
    /// A name was looked up.
    DnsQuestion {
        /// The name asked for, lower case, without the final dot.
        name: String,
        /// The record type (`A`, `AAAA`, …).
        kind: String,
        /// Whether it was answered.
        allowed: bool,
        /// `udp` or `tcp`.
        transport: String,
    },
    /// A process of the session executed a program.
    ProcessExecuted {
        /// The process, with the program's path and arguments.
        process: Process,
    },
    /// Executed programs that have no entry of their own, as there were too many at once.
    ProcessesUnrecorded {
        /// How many.
        count: u64,
    },
    /// A connection to a host that is not AWS, by name, passed through; `localhost` is the host's own
    /// loopback.
    ConnectionPassed {
        /// Who made it.
        process: Process,
        /// The allowed name.
        host: String,
        /// The port.
        port: u16,
    },
    /// A connection from outside to a published port of the session.
    ConnectionPublished {
        /// Who made it.
        peer: SocketAddr,
        /// Where it arrived on the host.
        host: SocketAddr,
        /// The session's port.
        port: u16,
    },
    /// A connection, datagram, socket or request that guard refused before it was an exchange.
    Refused {
        /// Who made it, where known.
        process: Option<Process>,
        /// Where it wanted to go, where known.
        destination: Option<SocketAddr>,
        /// The name it wanted, where known.
        host: Option<String>,
        /// A stable code; docs/journal.md lists them.
        code: String,
        /// One sentence for people.
        detail: String,
    },
    /// A person decided, or a hold ended.
    Approval {
        /// The approval.
        approval: String,
        /// `requested`, `approved`, `denied`, `expired`, `withdrawn`, `used`.
        state: String,
        /// Who decided: a user name and id; absent where nobody did.
        approver: Option<String>,
        /// What the approver said.
        reason: Option<String>,
    },
    /// The journal was found damaged or unfinished at start and was carried on from its last whole entry.
    JournalRecovered {
        /// Bytes that were set aside: of an unfinished last line, or from the first unwritten part of the last write on.
        bytes: u64,
        /// The file they were set aside in.
        kept_in: String,
    },
    /// Something about a session that its reviewers should know, and that nobody refused.
    Finding {
        /// A stable code; docs/journal.md lists them.
        code: String,
        /// One sentence for people.
        detail: String,
    },
    /// A metadata service gave a process of the session dummies; durable before it did. Once for each process and
    /// set.
    DummiesServed {
        /// The process.
        process: Process,
        /// `imds`, `ecs` or `pod-identity`.
        service: String,
        /// The access key id of the dummies.
        dummy_key: String,
    },
    /// An answer held temporary credentials, and the session got dummies for them; durable before it did.
    CredentialsMinted {
        /// The exchange.
        exchange: String,
        /// The access key id of the dummies.
        dummy_key: String,
        /// The real one, with which calls leave that are signed with the dummies.
        real_key: String,
        /// The ARN of the principal that they are of, where the answer told.
        #[serde(default)]
        arn: Option<String>,
        /// When both end.
        #[serde(with = "time::serde::rfc3339")]
        expiry: OffsetDateTime,
    },
    /// A call that guard itself makes for the session; durable before it leaves.
    OwnCall(OwnCall),
    /// The session's role has new credentials; durable before any call leaves with them.
    CredentialsObtained {
        /// The role's ARN.
        role: String,
        /// The assumed role's ARN, as CloudTrail has it.
        arn: String,
        /// The access key id.
        real_key: String,
        /// When they end.
        #[serde(with = "time::serde::rfc3339")]
        expiry: OffsetDateTime,
    },
}

/// A call that guard itself makes for a session.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct OwnCall {
    /// The service.
    pub service: String,
    /// The operation.
    pub operation: String,
    /// The host.
    pub host: String,
    /// The access key id that it leaves with; absent where nobody signs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_key: Option<String>,
    /// What it says of the session, where it assumes a role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assumes: Option<Box<Assumes>>,
}

/// What STS is told of a session that assumes a role.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Assumes {
    /// The role's ARN.
    pub role: String,
    /// The role session's name.
    pub session_name: String,
    /// The source identity, where one is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_identity: Option<String>,
    /// The session tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// SHA-256 of the session policy, hexadecimal, where one goes along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_sha256: Option<String>,
}

/// The process that made a connection.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Process {
    /// Process id in the host's pid namespace.
    pub pid: u32,
    /// User id.
    pub uid: u32,
    /// The kernel's name for the task (15 bytes at the most).
    pub comm: String,
    /// The executable; `None` where the process was gone when it was looked at.
    pub exe: Option<String>,
    /// The command line, secrets redacted, bounded.
    pub argv: Option<Vec<String>>,
    /// When it started: nanoseconds since the host's boot, rounded down to a clock tick (10 ms), as in
    /// `/proc/PID/stat`. With `pid` it names the process.
    #[serde(default)]
    pub started: Option<u64>,
    /// Its parents, nearest first, at most eight.
    #[serde(default)]
    pub parents: Vec<Parent>,
}

/// A parent of a process.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Parent {
    /// Process id in the host's pid namespace.
    pub pid: u32,
    /// The executable, where it is known.
    pub exe: Option<String>,
}

/// A decision on an exchange.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ExchangeDecided {
    /// Names the exchange: the session's id, a hyphen, a counter.
    pub exchange: String,
    /// Who made the call.
    pub process: Process,
    /// The request method.
    pub method: String,
    /// The checked host.
    pub host: String,
    /// The raw path, without query; a query that comes with it by mistake is never written.
    #[serde(serialize_with = "without_query")]
    pub path: String,
    /// The service, if known.
    pub service: Option<String>,
    /// The operation, if known; several where the wire does not tell them apart.
    pub operation: Vec<String>,
    /// What IAM is asked for.
    #[serde(default)]
    pub access: Vec<Access>,
    /// The region, if known.
    pub region: Option<String>,
    /// The condition keys that the profile uses, but for `aws:ResourceAccount` and `guard:AccessLevel`, which
    /// `access` tells.
    #[serde(default)]
    pub keys: Vec<Key>,
    /// `exact`, `partial` or `unknown`.
    pub confidence: String,
    /// `allow`, `deny`.
    pub decision: String,
    /// `approve`, `deny`: what would have been decided, had the session not only observed.
    #[serde(default)]
    pub observed: Option<String>,
    /// The statement's id (or its number) that decided; absent for the profile's default.
    pub statement: Option<String>,
    /// One sentence for people.
    pub reason: String,
    /// The approval that allowed or refused it.
    pub approval: Option<String>,
    /// How the request was authenticated, where not by a signature in its header: `url` (a presigned one), `bearer`,
    /// `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<String>,
    /// The access key id that the request was signed with, as received.
    pub presented_key: Option<String>,
    /// The access key id that it leaves with.
    pub signing_key: Option<String>,
    /// Where credentials come from that calls of the session minted: those calls, the first of them made with the
    /// session's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<Assumed>,
}

/// A call that minted credentials.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Assumed {
    /// Its exchange.
    pub exchange: String,
    /// The operation, as `service:Operation`.
    pub operation: String,
    /// The ARN of the principal that the credentials are of, where the answer told.
    #[serde(default)]
    pub arn: Option<String>,
}

impl ExchangeDecided {
    /// The actions, each once.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        let mut seen = HashSet::new();
        self.access
            .iter()
            .map(|it| it.action.as_deref().unwrap_or("unknown action"))
            .filter(move |it| seen.insert(*it))
    }

    /// The resources, each once.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        let mut seen = HashSet::new();
        self.access
            .iter()
            .flat_map(|it| &it.resources)
            .map(|it| it.as_deref().unwrap_or("unknown resource"))
            .filter(move |it| seen.insert(*it))
    }
}

/// What was known of a condition key.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Key {
    /// The key, in lower case.
    #[serde(default)]
    pub key: String,
    /// Its values; empty for a key that is absent, `null` for one that is not known.
    #[serde(default)]
    pub values: Option<Vec<String>>,
}

/// One IAM action and what it is asked for on.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Access {
    /// The action; `null` where it is not known.
    #[serde(default)]
    pub action: Option<String>,
    /// Its access level, as the Service Authorization Reference names it; `null` where it is not known.
    #[serde(default)]
    pub level: Option<String>,
    /// Resource ARNs; `*` where the action takes none, `null` for unknown.
    #[serde(default)]
    pub resources: Vec<Option<String>>,
}

/// How an exchange ended.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ExchangeCompleted {
    /// The exchange.
    pub exchange: String,
    /// HTTP status; absent where no response came.
    pub status: Option<u16>,
    /// `x-amzn-requestid` or `x-amz-request-id`.
    pub aws_request_id: Option<String>,
    /// The AWS error code, where the response is an error and says so.
    pub aws_error: Option<String>,
    /// Body bytes sent upstream.
    pub bytes_sent: u64,
    /// Body bytes received from upstream.
    pub bytes_received: u64,
    /// From the decision to the last byte, in milliseconds.
    pub milliseconds: u64,
    /// Paths of masked members (`Credentials.SecretAccessKey`), never values.
    pub masked: Vec<String>,
    /// Why it failed, where it did (`upstream-connect`, `client-gone`, …) with a sentence.
    pub error: Option<String>,
}

/// Writes a path up to where a query begins: queries carry presigned signatures and tokens.
fn without_query<S: serde::Serializer>(path: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(path.split(['?', '#']).next().unwrap_or_default())
}
