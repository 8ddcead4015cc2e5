//! Evaluation: which statements match an access, and which of them decides.
//!
//! What is unknown is matched by every deny and approve statement that could mean it, and by no allow
//! statement that would have to know it. Boundaries and service control policies only limit: each of these
//! layers must allow, besides the identity's
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>).

mod explain;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use explain::{ConditionTrace, Decider, StatementTrace, Trace};

use super::index::Index;
use super::keys::{ConditionKeys, Facts};
use super::statement::{Action, Statement};
use super::{Decision, Effect, anonymous};
use crate::aws::{Access, Resource};

/// Bytes of an action or ARN that a reason repeats; the journal has them whole.
const SHOWN: usize = 512;

/// All statements in force.
#[derive(Debug)]
pub(super) struct Policy {
    profile: String,
    documents: Vec<Document>,
    /// All denials, the identity's approvals and the identity's allowances, in this order and each in the order
    /// of the files: the first that applies decides.
    ordered: Vec<Statement>,
    index: Index,
    /// What an allowance of each is explained with.
    allowed: Vec<Arc<str>>,
    limits: Vec<Limit>,
    default: Effect,
    allowed_by_default: Arc<str>,
    keys: Vec<String>,
}

/// A policy document that a profile names.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) path: String,
    pub(super) kind: Kind,
}

/// What a policy document is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Identity,
    Boundary,
    Scp,
}

/// A layer that must allow, too: a permissions boundary, or a level of service control policies.
#[derive(Debug)]
pub(super) struct Limit {
    /// `the permissions boundary boundary.json`.
    name: String,
    /// What it allows.
    statements: Vec<Statement>,
    index: Index,
}

impl Limit {
    pub(super) fn new(name: String, statements: Vec<Statement>) -> Self {
        Self {
            name,
            index: Index::new(&statements),
            statements,
        }
    }
}

/// What a policy is made of.
pub(super) struct Parts {
    pub(super) profile: String,
    pub(super) documents: Vec<Document>,
    /// Of the identity, and the denials of limits.
    pub(super) statements: Vec<Statement>,
    pub(super) limits: Vec<Limit>,
    pub(super) default: Effect,
    /// The condition keys that statements refer to by place.
    pub(super) keys: Vec<String>,
}

impl Policy {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            profile,
            documents,
            statements: mut ordered,
            limits,
            default,
            keys,
        } = parts;
        // Stable: the files' order stays within an effect.
        ordered.sort_by_key(|statement| rank(statement.effect));
        let mut policy = Self {
            index: Index::new(&ordered),
            allowed: Vec::new(),
            allowed_by_default: "".into(),
            profile,
            documents,
            ordered,
            limits,
            default,
            keys,
        };
        policy.allowed_by_default = format!("allowed by {}", policy.by_default()).into();
        let reason = |statement| format!("allowed by {}", policy.by(statement)).into();
        policy.allowed = policy.ordered.iter().map(reason).collect();
        policy
    }

    /// The condition keys, by the places that statements have.
    pub(super) fn keys(&self) -> &[String] {
        &self.keys
    }

    /// What holds where no statement matches.
    pub(super) fn default(&self) -> Effect {
        self.default
    }

    /// All statements.
    pub(super) fn statements(&self) -> impl Iterator<Item = &Statement> {
        let limits = self.limits.iter().flat_map(|limit| &limit.statements);
        self.ordered.iter().chain(limits)
    }

    /// Statements that decide together, with their index: those of the identity and all denials, and what each
    /// limit allows.
    pub(super) fn layers(&self) -> impl Iterator<Item = (&[Statement], &Index)> {
        let limits = self.limits.iter();
        let limits = limits.map(|limit| (limit.statements.as_slice(), &limit.index));
        std::iter::once((self.ordered.as_slice(), &self.index)).chain(limits)
    }

    /// The path of a document by a statement's number of it; `None`: the profile itself.
    pub(super) fn document(&self, source: usize) -> Option<&str> {
        let document = self.documents.get(source.checked_sub(1)?)?;
        Some(&document.path)
    }

    /// Decides: the strictest outcome over every access and resource, and of equally strict ones the first.
    /// An access without resources is one whose resource is unknown.
    pub(super) fn decide(&self, access: &[Access], keys: &dyn ConditionKeys) -> Decision {
        let mut worst: Option<Outcome<'_>> = None;
        for (access, resource) in pairs(access) {
            let outcome = self.outcome(access, resource, keys);
            if worst
                .as_ref()
                .is_none_or(|worst| rank(outcome.effect) < rank(worst.effect))
            {
                let denied = outcome.effect == Effect::Deny;
                worst = Some(outcome);
                if denied {
                    break;
                }
            }
        }
        // No access at all is a reading gone wrong: nothing may run.
        worst.map_or_else(Decision::nothing, |worst| self.decision(&worst))
    }

    /// Decides on one access to one resource.
    fn outcome<'a>(
        &'a self,
        access: &'a Access,
        resource: &'a Resource,
        keys: &dyn ConditionKeys,
    ) -> Outcome<'a> {
        let facts = Facts::new(keys, access, resource, &self.keys);
        let action = action(access);
        let first = first(&self.index, &self.ordered, action, resource, &facts);
        let (effect, by) = match first {
            Some(at) if self.ordered[at].effect == Effect::Deny => {
                (Effect::Deny, By::Statement(at))
            }
            _ if keys.is_anonymous() && !self.admits_anonymous(action, resource, &facts) => {
                (Effect::Deny, By::Unsigned)
            }
            first => {
                let closed = self.limits.iter().find(|limit| {
                    super::evaluate::first(
                        &limit.index,
                        &limit.statements,
                        action,
                        resource,
                        &facts,
                    )
                    .is_none()
                });
                match (closed, first) {
                    (Some(limit), _) => (Effect::Deny, By::Limit(limit)),
                    (None, Some(at)) => (self.ordered[at].effect, By::Statement(at)),
                    (None, None) => (self.by_default_on(action.is_some()), By::Default),
                }
            }
        };
        Outcome {
            effect,
            by,
            action: access.action.as_deref(),
            resource,
        }
    }

    fn admits_anonymous(&self, action: Action<'_>, resource: &Resource, facts: &Facts<'_>) -> bool {
        self.ordered.iter().any(|statement| {
            anonymous::admits(statement) && statement.applies(action, resource, facts)
        })
    }

    /// What holds where no statement matches. Nobody can mean to allow an action that nobody can name.
    fn by_default_on(&self, action_known: bool) -> Effect {
        match self.default {
            Effect::Allow if !action_known => Effect::Approve,
            default => default,
        }
    }

    fn decision(&self, outcome: &Outcome<'_>) -> Decision {
        let (statement, by) = match outcome.by {
            By::Statement(at) => {
                let statement = &self.ordered[at];
                if outcome.effect == Effect::Allow {
                    // The common case stays short: the journal entry names actions and resources anyway.
                    return Decision {
                        effect: Effect::Allow,
                        statement: Some(statement.label.clone()),
                        reason: self.allowed[at].clone(),
                    };
                }
                (Some(statement.label.clone()), self.by(statement))
            }
            By::Default if outcome.effect == Effect::Allow => {
                return Decision {
                    effect: Effect::Allow,
                    statement: None,
                    reason: self.allowed_by_default.clone(),
                };
            }
            By::Unsigned => {
                return Decision {
                    effect: Effect::Deny,
                    statement: None,
                    reason: anonymous::DENIED.into(),
                };
            }
            By::Default => (None, self.by_default()),
            By::Limit(limit) => (
                None,
                format!("{}, since no statement there surely allows it", limit.name),
            ),
        };
        let subject = outcome.subject();
        let reason = match outcome.effect {
            Effect::Allow => format!("allowed by {by}"),
            Effect::Deny => format!("{subject} is denied by {by}"),
            Effect::Approve => format!("{subject} needs a person's approval by {by}"),
        };
        Decision {
            effect: outcome.effect,
            statement,
            reason: reason.into(),
        }
    }

    /// Names a statement in a sentence.
    fn by(&self, statement: &Statement) -> String {
        let label = &statement.label;
        let Some(document) = statement
            .source
            .checked_sub(1)
            .and_then(|at| self.documents.get(at))
        else {
            return format!("statement {label} of profile {}", self.profile);
        };
        let sid = label
            .strip_prefix(document.path.as_str())
            .map_or(&**label, |rest| rest.trim_start_matches(':'));
        format!(
            "statement {sid} of the {} {}",
            document.kind.name(),
            document.path
        )
    }

    fn by_default(&self) -> String {
        format!(
            "the default of profile {}, since no statement matches",
            self.profile
        )
    }
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity policy",
            Self::Boundary => "permissions boundary",
            Self::Scp => "service control policy",
        }
    }
}

/// Every access with each of its resources.
pub(super) fn pairs(access: &[Access]) -> impl Iterator<Item = (&Access, &Resource)> {
    const UNKNOWN: &[Resource] = &[Resource::Unknown];
    access.iter().flat_map(|access| {
        let resources = match access.resources.as_slice() {
            [] => UNKNOWN,
            resources => resources,
        };
        resources.iter().map(move |resource| (access, resource))
    })
}

/// An action without a service is none that a pattern can speak of.
pub(super) fn action(access: &Access) -> Action<'_> {
    access.action.as_deref()?.split_once(':')
}

/// The place of the first statement that applies.
fn first(
    index: &Index,
    statements: &[Statement],
    action: Action<'_>,
    resource: &Resource,
    facts: &Facts<'_>,
) -> Option<usize> {
    let mut first: Option<usize> = None;
    index.visit(facts.action(), resource, &mut |places| {
        for &at in places {
            let at = at as usize;
            if first.is_some_and(|first| first <= at) {
                break;
            }
            if statements[at].applies(action, resource, facts) {
                first = Some(at);
                break;
            }
        }
    });
    first
}

/// The lower, the stricter.
pub(super) fn rank(effect: Effect) -> u8 {
    match effect {
        Effect::Deny => 0,
        Effect::Approve => 1,
        Effect::Allow => 2,
    }
}

/// What decided, before it is put in words.
struct Outcome<'a> {
    effect: Effect,
    by: By<'a>,
    action: Option<&'a str>,
    resource: &'a Resource,
}

#[derive(Clone, Copy)]
enum By<'a> {
    /// By its place in the order.
    Statement(usize),
    Limit(&'a Limit),
    /// Nobody signed it.
    Unsigned,
    Default,
}

impl Outcome<'_> {
    fn subject(&self) -> String {
        let action = self
            .action
            .map_or("an action that guard does not know", shown);
        match self.resource {
            Resource::Arn(arn) => format!("{action} on {}", shown(arn)),
            Resource::Any => action.to_owned(),
            Resource::Unknown => format!("{action} on a resource that the request does not tell"),
        }
    }
}

impl Decision {
    fn nothing() -> Self {
        Self {
            effect: Effect::Deny,
            statement: None,
            reason: "the request names nothing that could be allowed".into(),
        }
    }
}

/// The start of a text, whole characters only.
fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN)]
}
