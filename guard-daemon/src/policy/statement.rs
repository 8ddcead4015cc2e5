//! A compiled statement, and whether it matches an access.

use std::sync::Arc;

use super::Effect;
use super::condition::Condition;
use super::keys::Facts;
use super::pattern::{ActionPattern, ResourcePattern};
use super::text::Match;
use super::truth::Truth;
use crate::aws::Resource;

/// A compiled statement.
#[derive(Debug)]
pub(super) struct Statement {
    /// How decisions name it: its sid, or `#N`; behind the document's name, where it stands in one.
    pub(super) label: Arc<str>,
    /// Its document: the place among the profile's documents, from 1; 0: the profile itself.
    pub(super) source: usize,
    /// Where it starts in its document, in bytes.
    pub(super) at: usize,
    /// Whether its language has policy variables.
    pub(super) variables: bool,
    pub(super) effect: Effect,
    pub(super) actions: Patterns<ActionPattern>,
    pub(super) resources: Patterns<ResourcePattern>,
    pub(super) conditions: Box<[Condition]>,
}

/// A list of patterns, or everything but it.
#[derive(Debug)]
pub(super) struct Patterns<P> {
    pub(super) except: bool,
    /// At least one.
    pub(super) list: Vec<Listed<P>>,
}

/// A pattern, and where it was written.
#[derive(Debug)]
pub(super) struct Listed<P> {
    pub(super) text: Box<str>,
    /// In bytes, in the statement's document.
    pub(super) at: usize,
    pub(super) pattern: P,
}

/// An action in two parts, `service` and `Name`; `None` where it is not known.
pub(super) type Action<'a> = Option<(&'a str, &'a str)>;

impl Statement {
    /// Whether it takes part in the decision: an allow only where it surely matches, a deny or approve
    /// wherever it could.
    pub(super) fn applies(
        &self,
        action: Action<'_>,
        resource: &Resource,
        facts: &Facts<'_>,
    ) -> bool {
        let least = self.least();
        self.matches_action(action) >= least
            && self.matches_resource(resource, facts) >= least
            && self
                .conditions
                .iter()
                .all(|condition| condition.holds(facts) >= least)
    }

    /// How sure a match must be.
    pub(super) fn least(&self) -> Truth {
        match self.effect {
            Effect::Allow => Truth::True,
            Effect::Deny | Effect::Approve => Truth::Unknown,
        }
    }

    pub(super) fn matches_action(&self, action: Action<'_>) -> Truth {
        let Patterns { except, list } = &self.actions;
        let listed = match action {
            Some((service, name)) => list
                .iter()
                .any(|action| action.pattern.matches(service, name))
                .into(),
            // Even of `*`, as an allow: nobody can mean to allow what nobody can name.
            None if *except && list.iter().any(|action| action.pattern.is_any()) => Truth::True,
            None => Truth::Unknown,
        };
        if *except { !listed } else { listed }
    }

    pub(super) fn matches_resource(&self, resource: &Resource, facts: &Facts<'_>) -> Truth {
        let Patterns { except, list } = &self.resources;
        let any = || list.iter().any(|resource| resource.pattern.is_any());
        match resource {
            Resource::Arn(arn) => {
                let each = list
                    .iter()
                    .map(|resource| resource.pattern.matches(arn, facts));
                let listed = Match::any(each);
                if *except {
                    listed.fails()
                } else {
                    listed.holds()
                }
            }
            // As IAM does: the resource of an action that takes none is `*`.
            Resource::Any => Truth::from(any() != *except),
            // `*` asks nothing of the resource and so has nothing to know.
            Resource::Unknown if any() => Truth::from(!*except),
            Resource::Unknown => Truth::Unknown,
        }
    }
}
