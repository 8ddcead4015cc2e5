//! Which classes of response members are masked: the profile's, and those that mask statements add for
//! some calls.

use super::evaluate::{action, pairs};
use super::keys::{ConditionKeys, Facts};
use super::statement::Statement;
use crate::aws::Access;
use crate::mask::Class;

/// A set of classes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Masked(u8);

impl Masked {
    /// Whether members of this class are masked.
    pub fn contains(self, class: Class) -> bool {
        self.0 & Self::bit(class) != 0
    }

    /// These and another one.
    pub fn with(self, class: Class) -> Self {
        Self(self.0 | Self::bit(class))
    }

    fn bit(class: Class) -> u8 {
        1 << class as u8
    }
}

impl FromIterator<Class> for Masked {
    fn from_iter<I: IntoIterator<Item = Class>>(classes: I) -> Self {
        Self(
            classes
                .into_iter()
                .fold(0, |set, class| set | Self::bit(class)),
        )
    }
}

/// A mask statement: classes that are masked in the answers to what it matches.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) statement: Statement,
    pub(super) classes: Masked,
}

/// What a profile masks.
#[derive(Debug)]
pub(super) struct Masking {
    always: Masked,
    rules: Vec<Rule>,
}

impl Masking {
    pub(super) fn new(always: Masked, rules: Vec<Rule>) -> Self {
        Self { always, rules }
    }

    pub(super) fn always(&self) -> Masked {
        self.always
    }

    /// The statements of `[mask]`.
    pub(super) fn statements(&self) -> impl Iterator<Item = &Statement> {
        self.rules.iter().map(|rule| &rule.statement)
    }

    /// What is masked in the answer to a call: all that a statement which could match any part of it says.
    pub(super) fn of(
        &self,
        access: &[Access],
        keys: &dyn ConditionKeys,
        names: &[String],
    ) -> Masked {
        let mut masked = self.always;
        if self.rules.is_empty() {
            return masked;
        }
        for (access, resource) in pairs(access) {
            let facts = Facts::new(keys, access, resource, names);
            let action = action(access);
            for rule in &self.rules {
                if masked.0 | rule.classes.0 != masked.0
                    && rule.statement.applies(action, resource, &facts)
                {
                    masked.0 |= rule.classes.0;
                }
            }
        }
        masked
    }
}
