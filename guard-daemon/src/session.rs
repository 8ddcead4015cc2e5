//! A session: one confined process tree with an identity, a profile and credentials.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::broker::{BearerToken, Issued, Source};
use crate::gateway::Share;
use crate::gateway::upstream::Upstream;
use crate::intercept::metadata::Lent;
use crate::intercept::names::Names;
use crate::policy::Profile;
use crate::term::Term;
use crate::visible::quoted;

/// Names a session: 16 lower-case hexadecimal digits, random, unique on the host.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct SessionId(String);

impl SessionId {
    /// Draws a new random identifier.
    pub fn random() -> Self {
        let mut bytes = [0; 8];
        // aws-lc's generator cannot fail once seeded; a zero identifier would only collide, and
        // creating the session's cgroup refuses a collision.
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        Self(hex::encode(bytes))
    }

    /// Reads an identifier, as from a file name; `None` unless it has the form `random` makes.
    pub fn parse(text: &str) -> Option<Self> {
        let hexadecimal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == 16 && text.bytes().all(hexadecimal)).then(|| Self(text.to_owned()))
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who runs the session: as the host knows it, and for whom and as what, as far as that was said.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Identity {
    /// The invoking user's numeric id.
    pub uid: u32,
    /// The invoking user's name, or the number where the host knows no name.
    pub user: String,
    /// `/proc/self/loginuid` of the process that started the session, where one is set.
    pub loginuid: Option<u32>,
    /// The host's name.
    pub host: String,
    /// Why the session runs, as its starter said (`--reason`).
    pub reason: Option<String>,
    /// The command line of the confined command.
    pub command: Vec<String>,
    /// The person that an OpenID provider vouched for; verified, never claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub human: Option<Human>,
    /// The agent, as its starter named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// What the starter labelled it with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A person, or a workload that acts for one, as an OpenID provider names it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Human {
    /// The provider (`iss`).
    pub issuer: String,
    /// Its name for the person (`sub`).
    pub subject: String,
    /// The e-mail address, where the provider says that it is verified.
    pub email: Option<String>,
}

/// The address, where it is verified; else the provider's name for the person, which is nobody's address however it is
/// written: one that could be taken for an address has the provider with it. Each word is quoted unless it is plain.
impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = &self.subject;
        match &self.email {
            Some(email) => f.write_str(&quoted(email)),
            None if subject.is_ascii() && !subject.contains('@') => f.write_str(&quoted(subject)),
            None => write!(f, "subject {} at {}", quoted(subject), quoted(&self.issuer)),
        }
    }
}

/// An agent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Agent {
    /// What it is called.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
    /// Which of several running ones.
    pub instance: Option<String>,
}

/// Everything an exchange needs to know of the session it belongs to.
pub struct Session {
    /// The session's name.
    pub id: SessionId,
    /// Who runs it.
    pub identity: Identity,
    /// The policy in force.
    pub profile: Arc<Profile>,
    /// Until when it lasts.
    pub term: Term,
    /// What the confined tree signs with.
    pub issued: Issued,
    /// Where the credentials come from that leave this host.
    pub credentials: Source,
    /// The bearer token that leaves this host in the place of the session's.
    pub bearer: Option<BearerToken>,
    /// The way out, with its connection pools.
    pub upstream: Arc<Upstream>,
    /// What its request bodies hold of the daemon's memory and disk.
    pub bodies: Share,
    /// Who was given which dummies by a metadata service.
    pub lent: Lent,
    /// Which name each synthetic address stands for.
    pub names: Names,
    /// Numbers its exchanges.
    pub exchanges: Exchanges,
}

impl Session {
    /// Names another exchange: unique on the host, also if an earlier daemon served the session.
    pub fn next_exchange(&self) -> String {
        let number = self.exchanges.last.fetch_add(1, Ordering::Relaxed) + 1;
        match self.exchanges.generation {
            0 => format!("{}-{number}", self.id),
            generation => format!("{}-{generation}.{number}", self.id),
        }
    }
}

/// Numbers a session's exchanges.
#[derive(Debug, Default)]
pub struct Exchanges {
    generation: u32,
    last: AtomicU64,
}

impl Exchanges {
    /// Those of a session that earlier daemons served before, `generation` times.
    pub fn of_generation(generation: u32) -> Self {
        Self {
            generation,
            last: AtomicU64::new(0),
        }
    }
}
