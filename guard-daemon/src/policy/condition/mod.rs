//! Conditions: IAM's operators on the values of condition keys.
//!
//! The rules for missing and multivalued keys are IAM's
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>,
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html>).

mod operator;
#[cfg(test)]
mod tests;
mod value;

pub use operator::OperatorError;
use operator::Quantifier;
pub(super) use operator::{Kind, Operator};
pub use value::ValueError;
use value::Values;

use super::keys::{Facts, KeyId, Keys};
use super::text::Language;
use super::truth::Truth;
use super::written::Placed;
use crate::aws::KeyValue;

/// One operator on one key. Those of a statement must all hold.
#[derive(Debug)]
pub(super) struct Condition {
    operator: Operator,
    id: KeyId,
    values: Values,
    /// Where the key stands in the statement's document, in bytes.
    at: usize,
    /// The key and the values as they were written, for people.
    key: Box<str>,
    written: Box<[Box<str>]>,
}

impl Condition {
    /// # Errors
    /// The place among the values, and what is wrong there.
    pub(super) fn new(
        operator: Operator,
        key: &Placed<&str>,
        written: Vec<Box<str>>,
        language: Language,
        keys: &mut Keys,
    ) -> Result<Self, (usize, ValueError)> {
        let values = Values::parse(operator.kind, &written, language, keys)?;
        Ok(Self {
            operator,
            id: keys.id(key.it),
            values,
            at: key.at.start,
            key: key.it.into(),
            written: written.into(),
        })
    }

    pub(super) fn operator(&self) -> Operator {
        self.operator
    }

    /// Where the key stands in the statement's document, in bytes.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// What the key is compared with, as it was written.
    pub(super) fn written(&self) -> &[Box<str>] {
        &self.written
    }

    /// What is known of the key.
    pub(super) fn found<'a>(&self, facts: &'a Facts<'_>) -> &'a KeyValue {
        facts.value(self.id)
    }

    pub(super) fn holds(&self, facts: &Facts<'_>) -> Truth {
        let found = self.found(facts);
        if let Values::Null { absent, present } = self.values {
            return match found {
                KeyValue::Unknown if absent && present => Truth::True,
                KeyValue::Unknown => Truth::Unknown,
                KeyValue::Absent => absent.into(),
                KeyValue::One(_) | KeyValue::Many(_) => present.into(),
            };
        }
        let one = |value: &String| self.holds_for(value, facts);
        match (self.operator.quantifier, found) {
            (_, KeyValue::Unknown) => Truth::Unknown,
            (_, KeyValue::Absent) => self.without_key(),
            // An empty text is a "null data set" to the set operators.
            (Some(quantifier), KeyValue::One(value)) if value.is_empty() => {
                (quantifier == Quantifier::All).into()
            }
            (_, KeyValue::One(value)) => one(value),
            (Some(Quantifier::All), KeyValue::Many(values)) => Truth::all(values.iter().map(one)),
            (Some(Quantifier::Any), KeyValue::Many(values)) => Truth::any(values.iter().map(one)),
            // "Multivalued context keys require a condition set operator"; what happens without one is not
            // documented.
            (None, KeyValue::Many(values)) => match Truth::any(values.iter().map(one)) {
                Truth::False => Truth::False,
                Truth::Unknown | Truth::True => Truth::Unknown,
            },
        }
    }

    /// What holds where the request has no such key.
    fn without_key(&self) -> Truth {
        let Operator {
            quantifier,
            negated,
            if_exists,
            ..
        } = self.operator;
        match quantifier {
            // `IfExists` is documented to hold here, and observed not to.
            Some(Quantifier::Any) if if_exists => Truth::Unknown,
            Some(Quantifier::Any) => Truth::False,
            Some(Quantifier::All) => Truth::True,
            None => (if_exists || negated).into(),
        }
    }

    fn holds_for(&self, value: &str, facts: &Facts<'_>) -> Truth {
        let matched = self.values.matches(value, facts);
        if self.operator.negated {
            matched.fails()
        } else {
            matched.holds()
        }
    }
}
