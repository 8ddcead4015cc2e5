//! Condition keys for tests.

use std::collections::BTreeMap;

use super::keys::{ConditionKeys, Facts};
use crate::aws::{Access, KeyValue, Resource};

/// Knows some keys; the others are unknown, or absent.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    values: BTreeMap<String, KeyValue>,
    absent: bool,
}

impl Known {
    pub(super) fn absent() -> Self {
        Self {
            absent: true,
            ..Self::default()
        }
    }

    pub(super) fn value(mut self, key: &str, value: KeyValue) -> Self {
        self.values.insert(key.to_ascii_lowercase(), value);
        self
    }

    pub(super) fn with(self, values: &[(&str, &str)]) -> Self {
        values.iter().fold(self, |known, (key, value)| {
            known.value(key, KeyValue::One((*value).to_owned()))
        })
    }
}

impl ConditionKeys for Known {
    fn value(&self, key: &str, _: &Access, _: &Resource) -> KeyValue {
        assert_eq!(key, key.to_ascii_lowercase());
        let otherwise = if self.absent {
            KeyValue::Absent
        } else {
            KeyValue::Unknown
        };
        self.values.get(key).cloned().unwrap_or(otherwise)
    }
}

/// Facts of keys by these names, in the order of their places.
pub(super) fn facts<R>(
    keys: &dyn ConditionKeys,
    names: &[&str],
    with: impl FnOnce(&Facts<'_>) -> R,
) -> R {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let access = Access {
        action: None,
        level: None,
        resources: Vec::new(),
    };
    with(&Facts::new(keys, &access, &Resource::Unknown, &names))
}
