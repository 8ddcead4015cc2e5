//! Why a decision is what it is: every statement that speaks of an access, and what of it matches.

use super::{By, Policy, action, pairs};
use crate::aws::{Access, KeyValue, Resource};
use crate::policy::Effect;
use crate::policy::keys::{ConditionKeys, Facts};
use crate::policy::statement::Statement;
use crate::policy::truth::Truth;

/// What was decided on one access to one resource, and why.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The IAM action; `None`: not derivable.
    pub action: Option<String>,
    /// The resource.
    pub resource: Resource,
    /// The outcome for it.
    pub effect: Effect,
    /// What decided.
    pub decider: Decider,
    /// The statements that speak of the action, in the order in which they decide; those of limiting layers
    /// follow.
    pub statements: Vec<StatementTrace>,
}

/// What decided.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decider {
    /// A statement, by its label.
    Statement(String),
    /// A permissions boundary or a level of service control policies, none of whose statements allows.
    Limit(String),
    /// The request is not signed, and no statement names anonymous callers.
    Unsigned,
    /// The profile's default.
    Default,
}

/// One statement's part in it.
#[derive(Clone, Debug)]
pub struct StatementTrace {
    /// Its sid, or `#N`; behind the document's name, where it stands in one.
    pub label: String,
    /// Where it stands: `profile review`, `identity policy base.json`, …
    pub origin: String,
    /// What it says.
    pub effect: Effect,
    /// Whether its actions match.
    pub action: Truth,
    /// Whether its resources match.
    pub resource: Truth,
    /// Whether each of its conditions holds.
    pub conditions: Vec<ConditionTrace>,
    /// Whether it takes part in the decision: a deny or approve statement does wherever it could match.
    pub applies: bool,
}

/// One condition.
#[derive(Clone, Debug)]
pub struct ConditionTrace {
    /// As IAM spells it: `ForAnyValue:StringLike`.
    pub operator: String,
    /// As the statement has it.
    pub key: String,
    /// What the key is compared with, as the statement has it.
    pub wanted: Vec<String>,
    /// What is known of the key.
    pub found: KeyValue,
    /// Whether it holds.
    pub holds: Truth,
}

impl Policy {
    pub(in crate::policy) fn explain(
        &self,
        access: &[Access],
        keys: &dyn ConditionKeys,
    ) -> Vec<Trace> {
        pairs(access)
            .map(|(access, resource)| self.trace(access, resource, keys))
            .collect()
    }

    fn trace(&self, access: &Access, resource: &Resource, keys: &dyn ConditionKeys) -> Trace {
        let outcome = self.outcome(access, resource, keys);
        let facts = Facts::new(keys, access, resource, &self.keys);
        Trace {
            action: access.action.as_deref().map(str::to_owned),
            resource: resource.clone(),
            effect: outcome.effect,
            decider: match outcome.by {
                By::Statement(at) => Decider::Statement(self.ordered[at].label.to_string()),
                By::Limit(limit) => Decider::Limit(limit.name.clone()),
                By::Unsigned => Decider::Unsigned,
                By::Default => Decider::Default,
            },
            statements: self
                .statements()
                .filter_map(|statement| self.part(statement, access, resource, &facts))
                .collect(),
        }
    }

    /// `None` for a statement of other actions.
    fn part(
        &self,
        statement: &Statement,
        access: &Access,
        resource: &Resource,
        facts: &Facts<'_>,
    ) -> Option<StatementTrace> {
        let asked = action(access);
        let matched = statement.matches_action(asked);
        if matched == Truth::False {
            return None;
        }
        let document = statement.source.checked_sub(1);
        let origin = match document.and_then(|at| self.documents.get(at)) {
            Some(document) => format!("{} {}", document.kind.name(), document.path),
            None => format!("profile {}", self.profile),
        };
        let conditions = statement.conditions.iter().map(|condition| ConditionTrace {
            operator: condition.operator().to_string(),
            key: condition.key().to_owned(),
            wanted: condition
                .written()
                .iter()
                .map(ToString::to_string)
                .collect(),
            found: condition.found(facts).clone(),
            holds: condition.holds(facts),
        });
        Some(StatementTrace {
            label: statement.label.to_string(),
            origin,
            effect: statement.effect,
            action: matched,
            resource: statement.matches_resource(resource, facts),
            conditions: conditions.collect(),
            applies: statement.applies(asked, resource, facts),
        })
    }
}
