//! Condition keys: what a request says of them.

use super::{Access, Resource, catalog};

/// What is known of one condition key in the context of one request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyValue {
    /// The key is surely not in the request's context: what IAM calls a missing key.
    Absent,
    /// Whether it is there, or with which value, is not derivable.
    Unknown,
    /// A single-valued key.
    One(String),
    /// A multivalued key, in the request's order; may be empty.
    Many(Vec<String>),
}

/// The condition keys that a request tells.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Keys {
    all: Vec<(String, KeyValue)>,
    /// Tags that are for resources of one type.
    pub(super) typed: Vec<TypedTag>,
    /// Keys that only resources of some types have from the request; others have them from elsewhere.
    pub(super) limited: Vec<Limited>,
    /// Values that differ by action and resource.
    pub(super) scoped: Vec<Scoped>,
}

/// The types of resources that a request tells a key of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Limited {
    /// The key, in lower case.
    pub(super) key: String,
    /// What the resource in an ARN starts with (`volume`).
    pub(super) kinds: Vec<&'static str>,
}

/// A key's value in the context of one action on one resource.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Scoped {
    /// The key, in lower case.
    pub(super) key: String,
    /// The action's whole name.
    pub(super) action: String,
    /// What it is asked for.
    pub(super) resource: Resource,
    /// Its value.
    pub(super) value: KeyValue,
}

/// A key's value for resources of one type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct TypedTag {
    /// The key, in lower case.
    pub(super) key: String,
    /// What the resource in the ARN starts with (`instance`).
    pub(super) kind: String,
    /// Its value.
    pub(super) value: KeyValue,
}

impl Keys {
    pub(super) fn push(&mut self, key: &str, value: KeyValue) {
        self.all.push((key.to_owned(), value));
    }

    /// Keys in lower case with their values, whatever action and resource they are asked for.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &KeyValue)> {
        self.all.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of a key, in lower case, in the context of one action on one resource. `None` where no request
    /// tells it.
    ///
    /// IAM has a key in the context only of actions, and of those resource types, that list it; guard's own are not
    /// IAM's.
    pub fn value(&self, key: &str, access: &Access, resource: &Resource) -> Option<KeyValue> {
        let (_, value) = self.all.iter().find(|it| it.0 == key)?;
        if key == "aws:requestedregion" || key.starts_with("guard:") {
            return Some(value.clone());
        }
        let action = access.action.as_deref().and_then(catalog::action);
        let listed = match (action, resource) {
            (None, _) => return Some(KeyValue::Unknown),
            (Some(action), Resource::Arn(arn)) => action.has_condition_key_on(key, arn),
            (Some(action), _) => action.has_condition_key(key),
        };
        if !listed {
            return Some(KeyValue::Absent);
        }
        let mut scoped = self.scoped.iter().filter(|it| it.key == key).peekable();
        if scoped.peek().is_some() {
            let mut own = scoped.filter(|it| {
                Some(it.action.as_str()) == access.action.as_deref() && it.resource == *resource
            });
            let own = own.next().map(|it| it.value.clone());
            return Some(own.unwrap_or(KeyValue::Unknown));
        }
        let kind = match resource {
            Resource::Arn(arn) => kind(arn),
            _ => None,
        };
        if let Some(limit) = self.limited.iter().find(|it| it.key == key)
            && !kind.is_some_and(|it| limit.kinds.contains(&it))
        {
            return Some(KeyValue::Unknown);
        }
        let mut typed = self.typed.iter().filter(|it| it.key == key).peekable();
        let (Some(_), Resource::Arn(_)) = (typed.peek(), resource) else {
            return Some(value.clone());
        };
        let mut own = typed.filter(|it| Some(it.kind.as_str()) == kind);
        Some(match (own.next(), own.next()) {
            (None, _) => KeyValue::Absent,
            (Some(one), None) => one.value.clone(),
            _ => KeyValue::Unknown,
        })
    }
}

/// What the resource in an ARN starts with, up to its first `/`.
fn kind(arn: &str) -> Option<&str> {
    arn.splitn(6, ':').nth(5)?.split('/').next()
}
