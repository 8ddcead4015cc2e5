//! Decides: (request facts, profile) → decision, in IAM's own terms.
//!
//! Invariant: pure. No clock, file or socket is read here; a profile's text comes from `config`.
//! `profile` parses, `pattern` and `network` match, `evaluate` decides. docs/policy.md is the reference.

mod evaluate;
mod network;
mod pattern;
mod profile;

pub use profile::{BUILT_IN, PolicyError, Profile};

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
