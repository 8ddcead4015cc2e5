//! Decides: (request facts, profile) → decision, in IAM's own terms.
//!
//! Invariant: pure. No clock, file or socket is read here; a profile's text comes from `config`.

use crate::aws::Access;

/// A parsed profile: network allow list, statements, masks.
#[derive(Debug)]
pub struct Profile {}

/// What a statement says, or the outcome of evaluation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Goes through.
    Allow,
    /// Is refused.
    Deny,
    /// Waits for a person.
    Approve,
}

/// What was decided, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    /// The outcome.
    pub effect: Effect,
    /// The deciding statement's `sid`, or `#N` (from 1) where it has none; `None`: the default decided.
    pub statement: Option<String>,
    /// One sentence for people, naming action, resource and statement.
    pub reason: String,
}

/// Why a profile was not accepted; the text names file position and remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {}

impl Profile {
    /// Parses a profile; unknown keys, empty lists and bad patterns are errors.
    pub fn parse(_name: &str, _text: &str) -> Result<Self, PolicyError> {
        unimplemented!("contract")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        unimplemented!("contract")
    }

    /// SHA-256 of its text, hexadecimal.
    pub fn sha256(&self) -> &str {
        unimplemented!("contract")
    }

    /// Decides on a call. Every access must be allowed; deny beats approve beats allow.
    pub fn decide(&self, _access: &[Access]) -> Decision {
        unimplemented!("contract")
    }

    /// Whether a host that is not AWS may be reached by name and port.
    pub fn allows_host(&self, _host: &str, _port: u16) -> bool {
        unimplemented!("contract")
    }

    /// Whether a name may be resolved: some port of it is allowed.
    pub fn allows_name(&self, _host: &str) -> bool {
        unimplemented!("contract")
    }

    /// Whether members of this class are masked.
    pub fn masks(&self, _class: crate::mask::Class) -> bool {
        unimplemented!("contract")
    }
}
