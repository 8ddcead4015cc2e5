//! Decides: (request facts, profile) → decision, in IAM's own terms.
//!
//! Invariant: pure. No clock, file or socket is read here; a profile's text comes from `config`.

mod evaluate;
mod network;
mod pattern;
pub(crate) mod position;
mod profile;
mod reach;

pub use network::HostError;
pub use pattern::PatternError;
pub use profile::{LARGEST_PROFILE, PolicyError, Problem};
pub use reach::{Publish, Reach, ReachError, Temporary};

pub(crate) use network::is_host_name;
pub(crate) use profile::is_name;

use crate::aws::Access;
use crate::mask::Class;

/// The text of the profile `default`, for hosts that have none of their own.
pub const BUILT_IN_DEFAULT: &str = include_str!("default.toml");

/// A parsed profile: network allow list, statements, masks.
#[derive(Debug)]
pub struct Profile {
    name: String,
    sha256: String,
    hosts: network::AllowList,
    reach: Reach,
    masked: Vec<Class>,
    mode: Mode,
    statements: evaluate::Statements,
}

/// What a statement says, or the outcome of evaluation.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Goes through.
    Allow,
    /// Is refused.
    Deny,
    /// Waits for a person.
    Approve,
}

/// What decisions do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They hold.
    #[default]
    Enforce,
    /// They are recorded; the call goes through.
    Observe,
}

/// What was decided, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    /// The outcome.
    pub effect: Effect,
    /// The deciding statement's `sid`, or `#N` (from 1) where it has none; `None`: the default decided.
    pub statement: Option<String>,
    /// One sentence for people, naming action, resource and statement. It may repeat bytes that the
    /// caller chose.
    pub reason: String,
}

impl Profile {
    /// Parses a profile; unknown keys, empty lists and bad patterns are errors. `name` is the file's stem;
    /// the text may say another.
    pub fn parse(name: &str, text: &str) -> Result<Self, PolicyError> {
        profile::parse(name, text)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of its text, hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Decides on a call. Every access must be allowed; deny beats approve beats allow.
    pub fn decide(&self, access: &[Access]) -> Decision {
        self.statements.decide(access, &self.name)
    }

    /// Whether a host that is not AWS may be reached by name and port.
    pub fn allows_host(&self, host: &str, port: u16) -> bool {
        self.hosts.allows(host, port)
    }

    /// Whether a name may be resolved: some port of it is allowed.
    pub fn allows_name(&self, host: &str) -> bool {
        self.hosts.allows_name(host)
    }

    /// What of the host itself the session may reach and see.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Whether decisions hold, or are recorded only.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether members of this class are masked.
    pub fn masks(&self, class: Class) -> bool {
        self.masked.contains(&class)
    }
}
