//! Condition keys: who knows their values, and what a profile asks for.

use std::cell::OnceCell;
use std::collections::HashMap;

use crate::aws::{Access, KeyValue, Resource};

/// Bytes of a condition key's name. Tag keys have up to 128 characters.
pub(super) const LONGEST_KEY: usize = 1024;

/// Bytes of a value that is looked at: tags have 256 characters, S3 prefixes 1,024 bytes, DynamoDB keys 2,048.
const LONGEST_VALUE: usize = 4096;

/// Values of a multivalued key that are looked at.
const MOST_VALUES: usize = 1024;

/// The condition keys of guard's own, as documentation writes them.
pub const GUARD_KEYS: &[&str] = &[
    "guard:AccessLevel",
    "guard:Agent",
    "guard:AgentInstance",
    "guard:AgentVersion",
    "guard:Cluster",
    "guard:DatabaseUser",
    "guard:Executable",
    "guard:Host",
    "guard:Human",
    "guard:HumanEmail",
    "guard:HumanIssuer",
    "guard:LoginUid",
    "guard:Operation",
    "guard:Reason",
    "guard:Service",
    "guard:Session",
    "guard:Uid",
    "guard:User",
];

/// What the keys of labels begin with: the label `team` is `guard:Label/team`.
pub const LABEL_KEYS: &str = "guard:Label/";

/// The label of a key, in any case, where it is one of a label.
pub fn label_of(key: &str) -> Option<&str> {
    let (start, label) = key.split_at_checked(LABEL_KEYS.len())?;
    (start.eq_ignore_ascii_case(LABEL_KEYS) && !label.is_empty()).then_some(label)
}

/// Whether a key, in any case, is one of guard's own that it does not have.
pub(super) fn is_no_guard_key(key: &str) -> bool {
    let own = key
        .get(..6)
        .is_some_and(|it| it.eq_ignore_ascii_case("guard:"));
    own && label_of(key).is_none() && !GUARD_KEYS.iter().any(|it| it.eq_ignore_ascii_case(key))
}

/// Knows the values of condition keys in the context of one request.
pub trait ConditionKeys {
    /// The value of a key, in lower case, for one access to one resource. What cannot be told is
    /// `KeyValue::Unknown`; `Absent` only where the key is surely not in IAM's request context.
    fn value(&self, key: &str, access: &Access, resource: &Resource) -> KeyValue;

    /// Whether nobody signed the request: only a statement that names anonymous callers then allows it.
    fn is_anonymous(&self) -> bool {
        false
    }
}

/// Knows no key: every condition on one is unknown.
#[derive(Clone, Copy, Debug, Default)]
pub struct NothingKnown;

impl ConditionKeys for NothingKnown {
    fn value(&self, _key: &str, _access: &Access, _resource: &Resource) -> KeyValue {
        KeyValue::Unknown
    }
}

/// A key by its place among those that a profile uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct KeyId(usize);

/// The keys that a profile uses, each once, in lower case.
#[derive(Debug, Default)]
pub(super) struct Keys {
    names: Vec<String>,
    places: HashMap<String, usize>,
}

impl Keys {
    pub(super) fn id(&mut self, name: &str) -> KeyId {
        let name = name.to_ascii_lowercase();
        if let Some(&at) = self.places.get(&name) {
            return KeyId(at);
        }
        let at = self.names.len();
        self.names.push(name.clone());
        self.places.insert(name, at);
        KeyId(at)
    }

    pub(super) fn into_names(self) -> Vec<String> {
        self.names
    }
}

/// What is known of one access to one resource. Each key is asked for once at most, and none before a
/// statement that could match needs it.
pub(super) struct Facts<'a> {
    keys: &'a dyn ConditionKeys,
    access: &'a Access,
    resource: &'a Resource,
    names: &'a [String],
    values: OnceCell<Box<[OnceCell<KeyValue>]>>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(
        keys: &'a dyn ConditionKeys,
        access: &'a Access,
        resource: &'a Resource,
        names: &'a [String],
    ) -> Self {
        Self {
            keys,
            access,
            resource,
            names,
            values: OnceCell::new(),
        }
    }

    /// The action as it is named; `None` where it is not known.
    pub(super) fn action(&self) -> Option<&'a str> {
        self.access.action.as_deref()
    }

    pub(super) fn value(&self, id: KeyId) -> &KeyValue {
        let values = self.values.get_or_init(|| {
            std::iter::repeat_with(OnceCell::new)
                .take(self.names.len())
                .collect()
        });
        values[id.0].get_or_init(|| {
            match self
                .keys
                .value(&self.names[id.0], self.access, self.resource)
            {
                // A set of no values is what IAM calls a missing key.
                KeyValue::Many(values) if values.is_empty() => KeyValue::Absent,
                value if is_bounded(&value) => value,
                _ => KeyValue::Unknown,
            }
        })
    }
}

/// The caller chooses values; what is out of all proportion costs no time and is not known.
fn is_bounded(value: &KeyValue) -> bool {
    match value {
        KeyValue::Absent | KeyValue::Unknown => true,
        KeyValue::One(value) => value.len() <= LONGEST_VALUE,
        KeyValue::Many(values) => {
            values.len() <= MOST_VALUES && values.iter().all(|value| value.len() <= LONGEST_VALUE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_own_keys_are_those_listed_and_labels() {
        for own in [
            "guard:User",
            "GUARD:humanemail",
            "guard:Label/team",
            "guard:label/a/b",
        ] {
            assert!(!is_no_guard_key(own), "{own}");
        }
        for none in [
            "guard:",
            "guard:Humen",
            "guard:Label",
            "guard:Label/",
            "guard:Labels/a",
        ] {
            assert!(is_no_guard_key(none), "{none}");
        }
        assert!(!is_no_guard_key("aws:PrincipalTag/guard"));
        assert_eq!(label_of("GUARD:label/Team"), Some("Team"));
        assert_eq!(label_of("guard:äabel/x"), None);
    }
}
