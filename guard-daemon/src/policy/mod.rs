//! Decides: (request facts, profile) → decision, in IAM's own terms.
//!
//! Invariant: pure. No clock, file or socket is read here; the texts of a profile and of the policy documents
//! that it names come from `config`.
//!
//! `profile` reads TOML, `document` IAM's JSON; both write statements down as `written` has them, which compiles
//! them into `statement`s of `pattern`s and `condition`s. `index` finds those that could match, `evaluate` decides.

mod anonymous;
mod built_in;
mod condition;
mod credentials;
mod document;
mod evaluate;
mod index;
mod json;
mod keys;
mod length;
pub mod lint;
mod mask;
mod network;
mod pattern;
pub(crate) mod position;
mod problem;
mod profile;
mod reach;
#[cfg(test)]
mod sample;
mod session_policy;
mod statement;
mod text;
mod truth;
mod written;

use std::sync::Arc;

pub use anonymous::ANONYMOUS;
pub use built_in::{BUILT_IN, STANDARD, built_in};
pub use condition::{OperatorError, ValueError};
pub use credentials::{
    CredentialTerms, CredentialsError, GITLAB_VARIABLE, Role, SessionPolicyMode, WebIdentity,
    check_variable,
};
pub use evaluate::{ConditionTrace, Decider, StatementTrace, Trace};
pub use keys::{ConditionKeys, GUARD_KEYS, LABEL_KEYS, NothingKnown, label_of};
pub use length::{Length, LengthError};
pub use mask::Masked;
pub use network::HostError;
pub use pattern::PatternError;
pub use problem::{LARGEST_DOCUMENTS, LARGEST_PROFILE, PolicyError, Problem};
pub use reach::{Publish, Reach, ReachError, Temporary};
pub use session_policy::{Extent, NoSessionPolicy, SessionPolicy};
pub use text::TextError;
pub use truth::Truth;

pub(crate) use network::is_host_name;
pub(crate) use profile::is_name;

use crate::aws::Access;
use crate::mask::Class;

/// A profile's text with those of the policy documents that it names, as they were read.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The file's stem; the text may say another name.
    pub name: String,
    /// The profile itself: TOML.
    pub text: String,
    /// The documents, each once, in any order.
    #[serde(default)]
    pub documents: Vec<SourceDocument>,
}

/// A policy document: IAM's JSON.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct SourceDocument {
    /// As the profile names it.
    pub path: String,
    /// What is in it.
    pub text: String,
}

impl Source {
    /// A profile's text, without documents.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
            documents: Vec::new(),
        }
    }

    /// The paths of the policy documents that the text names, each once; relative ones start at the
    /// profile's directory.
    pub fn document_paths(&self) -> Result<Vec<String>, PolicyError> {
        profile::document_paths(&self.name, &self.text)
    }
}

/// A parsed profile: network allow list, statements, masks.
#[derive(Debug)]
pub struct Profile {
    name: String,
    sha256: String,
    hosts: network::AllowList,
    reach: Reach,
    mode: Mode,
    max_session: Option<Length>,
    masking: mask::Masking,
    credentials: CredentialTerms,
    policy: evaluate::Policy,
    condition_keys: Vec<String>,
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
    /// The deciding statement: its `sid`, or `#N` (from 1) where it has none, behind `DOCUMENT:` where it stands
    /// in a policy document. `None`: the default decided, or a limit without a statement that allows.
    pub statement: Option<Arc<str>>,
    /// One sentence for people, naming action, resource and statement. It may repeat bytes that the
    /// caller chose.
    pub reason: Arc<str>,
}

impl Profile {
    /// Parses a profile that names no policy documents; unknown keys, empty lists and bad patterns are errors.
    /// `name` is the file's stem; the text may say another.
    pub fn parse(name: &str, text: &str) -> Result<Self, PolicyError> {
        Self::load(&Source::new(name, text))
    }

    /// Parses a profile with its policy documents.
    pub fn load(source: &Source) -> Result<Self, PolicyError> {
        profile::parse(source)
    }

    /// How long its sessions may last at the most.
    pub fn max_session(&self) -> Option<Length> {
        self.max_session
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of its text, hexadecimal. With policy documents: of the lines `DIGEST` (its text's) and, for each
    /// document, `DIGEST  PATH`.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The condition keys that statements and variables use, in lower case and sorted.
    pub fn condition_keys(&self) -> &[String] {
        &self.condition_keys
    }

    /// Decides on a call. Every access must be allowed; deny beats approve beats allow.
    pub fn decide(&self, access: &[Access], keys: &dyn ConditionKeys) -> Decision {
        self.policy.decide(access, keys)
    }

    /// Why `decide` decides as it does: a trace for each access and resource.
    pub fn explain(&self, access: &[Access], keys: &dyn ConditionKeys) -> Vec<Trace> {
        self.policy.explain(access, keys)
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

    /// The role whose credentials its sessions use, as far as it says (`[credentials]`).
    pub fn credentials(&self) -> &CredentialTerms {
        &self.credentials
    }

    /// What AWS itself can enforce of it: an inline session policy for the role's credentials.
    pub fn session_policy(&self) -> Result<SessionPolicy, NoSessionPolicy> {
        session_policy::derive(self.mode, &self.policy)
    }

    /// Whether members of this class are masked in every answer.
    pub fn masks(&self, class: Class) -> bool {
        self.masking.always().contains(class)
    }

    /// The classes that are masked in the answer to a call.
    pub fn masked(&self, access: &[Access], keys: &dyn ConditionKeys) -> Masked {
        self.masking.of(access, keys, self.policy.keys())
    }
}
