//! Statements and their evaluation: which ones match an access, and which of those decides.
//!
//! What is unknown is matched by every deny and approve statement that could mean it, and by no allow
//! statement that would have to know it.

use std::collections::{BTreeMap, BTreeSet};

use super::pattern::{ActionPattern, Reading, ResourcePattern};
use super::{Decision, Effect};
use crate::aws::{Access, Resource};

/// Bytes of an action or ARN that a reason repeats; the journal has them whole.
const SHOWN: usize = 512;

/// A compiled statement.
#[derive(Debug)]
pub(super) struct Statement {
    /// Its `sid`, or `#N`.
    pub(super) label: String,
    pub(super) effect: Effect,
    pub(super) actions: Patterns<ActionPattern>,
    pub(super) resources: Patterns<ResourcePattern>,
}

/// A list of patterns, or everything but it.
#[derive(Debug)]
pub(super) enum Patterns<P> {
    In(Vec<P>),
    NotIn(Vec<P>),
}

/// All statements of a profile, indexed by the service they speak of.
#[derive(Debug)]
pub(super) struct Statements {
    /// Deny first, then approve, then allow, each in the order of the file: the first match decides.
    ordered: Vec<Statement>,
    /// Indexes into `ordered` of the statements that name a service, by service (lower case, sorted).
    services: Vec<(Box<str>, Vec<usize>)>,
    /// Indexes into `ordered` of the statements that may match any service.
    anywhere: Vec<usize>,
    default: Effect,
}

impl Statements {
    pub(super) fn new(mut ordered: Vec<Statement>, default: Effect) -> Self {
        // Stable: the file's order stays within an effect.
        ordered.sort_by_key(|statement| rank(statement.effect));
        let mut by_service: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut anywhere = Vec::new();
        for (at, statement) in ordered.iter().enumerate() {
            match statement.services() {
                None => anywhere.push(at),
                Some(services) => {
                    for service in services {
                        by_service.entry(service).or_default().push(at);
                    }
                }
            }
        }
        let services = by_service
            .into_iter()
            .map(|(service, at)| (service.into(), at))
            .collect();
        Self {
            ordered,
            services,
            anywhere,
            default,
        }
    }

    /// Decides: the strictest outcome over every access and resource, and of equally strict ones the first.
    /// An access without resources is one whose resource is unknown.
    pub(super) fn decide(&self, access: &[Access], profile: &str) -> Decision {
        let unknown = [Resource::Unknown];
        let mut worst: Option<Outcome<'_>> = None;
        for access in access {
            let action = access.action.as_deref();
            // An action without a service is none that a pattern can speak of.
            let split = action.and_then(|action| action.split_once(':'));
            let resources = if access.resources.is_empty() {
                &unknown
            } else {
                &access.resources[..]
            };
            for resource in resources {
                let statement = self.first_match(split, resource);
                let effect = statement.map_or_else(
                    || self.default(split.is_some()),
                    |statement| statement.effect,
                );
                if worst
                    .as_ref()
                    .is_none_or(|worst| rank(effect) < rank(worst.effect))
                {
                    worst = Some(Outcome {
                        effect,
                        statement,
                        action,
                        resource,
                    });
                }
                if effect == Effect::Deny {
                    break;
                }
            }
            if worst
                .as_ref()
                .is_some_and(|worst| worst.effect == Effect::Deny)
            {
                break;
            }
        }
        // No access at all is a reading gone wrong: nothing may run.
        worst.map_or_else(Decision::nothing, |worst| worst.decision(profile))
    }

    /// What holds where no statement matches. Nobody can mean to allow an action that nobody can name.
    fn default(&self, action_known: bool) -> Effect {
        match self.default {
            Effect::Allow if !action_known => Effect::Approve,
            default => default,
        }
    }

    fn first_match(&self, action: Option<(&str, &str)>, resource: &Resource) -> Option<&Statement> {
        let matches = |statement: &&Statement| {
            statement.matches_action(action) && statement.matches_resource(resource)
        };
        match action {
            None => self.ordered.iter().find(matches),
            Some((service, _)) => self.candidates(service).find(matches),
        }
    }

    /// The statements that may match a service's action, in order: two sorted lists, merged.
    fn candidates(&self, service: &str) -> impl Iterator<Item = &Statement> {
        let lower = || service.bytes().map(|b| b.to_ascii_lowercase());
        let found = self
            .services
            .binary_search_by(|(name, _)| name.bytes().cmp(lower()));
        let mut own = found.map_or(&[][..], |at| &self.services[at].1);
        let mut anywhere = &self.anywhere[..];
        std::iter::from_fn(move || {
            let list = match (own.first(), anywhere.first()) {
                (Some(a), Some(b)) if b < a => &mut anywhere,
                (None, _) => &mut anywhere,
                _ => &mut own,
            };
            let (&at, rest) = list.split_first()?;
            *list = rest;
            Some(&self.ordered[at])
        })
    }
}

impl Statement {
    /// The services that it speaks of, each once; `None` where it may match any.
    fn services(&self) -> Option<BTreeSet<&str>> {
        match &self.actions {
            Patterns::In(actions) => actions.iter().map(ActionPattern::service).collect(),
            Patterns::NotIn(_) => None,
        }
    }

    fn matches_action(&self, action: Option<(&str, &str)>) -> bool {
        let Some((service, name)) = action else {
            return self.effect != Effect::Allow
                && match &self.actions {
                    Patterns::In(_) => true,
                    Patterns::NotIn(actions) => !actions.iter().any(ActionPattern::is_any),
                };
        };
        let matches = |action: &ActionPattern| action.matches(service, name);
        match &self.actions {
            Patterns::In(actions) => actions.iter().any(matches),
            Patterns::NotIn(actions) => !actions.iter().any(matches),
        }
    }

    fn matches_resource(&self, resource: &Resource) -> bool {
        let allow = self.effect == Effect::Allow;
        match (resource, &self.resources) {
            // The reading that lets less through: an allow names little, an exception from it much.
            (Resource::Arn(arn), Patterns::In(resources)) => {
                let reading = if allow {
                    Reading::Narrow
                } else {
                    Reading::Wide
                };
                resources
                    .iter()
                    .any(|resource| resource.matches(arn, reading))
            }
            (Resource::Arn(arn), Patterns::NotIn(resources)) => {
                let reading = if allow {
                    Reading::Wide
                } else {
                    Reading::Narrow
                };
                !resources
                    .iter()
                    .any(|resource| resource.matches(arn, reading))
            }
            // As IAM does: the resource of an action that takes none is `*`.
            (Resource::Any, Patterns::In(resources)) => names_any(resources),
            (Resource::Any, Patterns::NotIn(resources)) => !names_any(resources),
            // An allow on `*` asks nothing of the resource and so has nothing to know.
            (Resource::Unknown, Patterns::In(resources)) => !allow || names_any(resources),
            (Resource::Unknown, Patterns::NotIn(resources)) => !allow && !names_any(resources),
        }
    }
}

fn names_any(resources: &[ResourcePattern]) -> bool {
    resources.iter().any(ResourcePattern::is_any)
}

/// The lower, the stricter.
fn rank(effect: Effect) -> u8 {
    match effect {
        Effect::Deny => 0,
        Effect::Approve => 1,
        Effect::Allow => 2,
    }
}

/// What decided, before it is put in words.
struct Outcome<'a> {
    effect: Effect,
    statement: Option<&'a Statement>,
    action: Option<&'a str>,
    resource: &'a Resource,
}

impl Outcome<'_> {
    fn decision(&self, profile: &str) -> Decision {
        let by = match self.statement {
            Some(statement) => format!("statement {} of profile {profile}", statement.label),
            None => format!("the default of profile {profile}, since no statement matches"),
        };
        let reason = match self.effect {
            // The common case stays short: the journal entry names actions and resources anyway.
            Effect::Allow => format!("allowed by {by}"),
            Effect::Deny => format!("{} is denied by {by}", self.subject()),
            Effect::Approve => format!("{} needs a person's approval by {by}", self.subject()),
        };
        Decision {
            effect: self.effect,
            statement: self.statement.map(|statement| statement.label.clone()),
            reason,
        }
    }

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
            reason: "the request names nothing that could be allowed".to_owned(),
        }
    }
}

/// The start of a text, whole characters only.
fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN)]
}

#[cfg(test)]
mod tests;
