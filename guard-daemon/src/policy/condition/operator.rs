//! The names of condition operators.

use std::cmp::Ordering;
use std::fmt;

/// An operator: what it compares and how.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(in crate::policy) struct Operator {
    /// `ForAllValues:` or `ForAnyValue:`.
    pub(in crate::policy) quantifier: Option<Quantifier>,
    pub(in crate::policy) kind: Kind,
    /// It holds where no value matches: `…Not…`.
    pub(in crate::policy) negated: bool,
    /// It holds, too, where the request has no such key: `…IfExists`.
    pub(in crate::policy) if_exists: bool,
}

/// For which values of a key an operator must hold.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(in crate::policy) enum Quantifier {
    All,
    Any,
}

/// What is compared.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(in crate::policy) enum Kind {
    StringEquals,
    StringEqualsIgnoreCase,
    StringLike,
    Number(Comparison),
    Date(Comparison),
    Bool,
    Binary,
    Address,
    /// `ArnEquals` and `ArnLike` are the same; the name is kept for people.
    ArnEquals,
    ArnLike,
    Null,
}

/// Which orders of the request's value to the policy's match.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(in crate::policy) enum Comparison {
    Equals,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Why an operator is not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OperatorError {
    /// IAM has none of this name.
    #[error(
        "is no condition operator; IAM's are String…, Numeric…, Date…, Bool, BinaryEquals, IpAddress, Arn… and Null, \
         such as StringEquals or NumericLessThanIfExists, with ForAllValues: or ForAnyValue: in front where needed"
    )]
    Unknown,
    /// `NullIfExists`, `ForAnyValue:Null`.
    #[error(
        "is not possible: Null tests whether a key exists, so it takes neither IfExists nor a set operator"
    )]
    Null,
}

/// Names without their negation, `…IfExists` and set operator.
const NAMES: &[(&str, Kind, bool)] = &[
    ("StringEquals", Kind::StringEquals, false),
    ("StringNotEquals", Kind::StringEquals, true),
    (
        "StringEqualsIgnoreCase",
        Kind::StringEqualsIgnoreCase,
        false,
    ),
    (
        "StringNotEqualsIgnoreCase",
        Kind::StringEqualsIgnoreCase,
        true,
    ),
    ("StringLike", Kind::StringLike, false),
    ("StringNotLike", Kind::StringLike, true),
    ("NumericEquals", Kind::Number(Comparison::Equals), false),
    ("NumericNotEquals", Kind::Number(Comparison::Equals), true),
    ("NumericLessThan", Kind::Number(Comparison::Less), false),
    (
        "NumericLessThanEquals",
        Kind::Number(Comparison::LessOrEqual),
        false,
    ),
    (
        "NumericGreaterThan",
        Kind::Number(Comparison::Greater),
        false,
    ),
    (
        "NumericGreaterThanEquals",
        Kind::Number(Comparison::GreaterOrEqual),
        false,
    ),
    ("DateEquals", Kind::Date(Comparison::Equals), false),
    ("DateNotEquals", Kind::Date(Comparison::Equals), true),
    ("DateLessThan", Kind::Date(Comparison::Less), false),
    (
        "DateLessThanEquals",
        Kind::Date(Comparison::LessOrEqual),
        false,
    ),
    ("DateGreaterThan", Kind::Date(Comparison::Greater), false),
    (
        "DateGreaterThanEquals",
        Kind::Date(Comparison::GreaterOrEqual),
        false,
    ),
    ("Bool", Kind::Bool, false),
    ("BinaryEquals", Kind::Binary, false),
    ("IpAddress", Kind::Address, false),
    ("NotIpAddress", Kind::Address, true),
    ("ArnEquals", Kind::ArnEquals, false),
    ("ArnNotEquals", Kind::ArnEquals, true),
    ("ArnLike", Kind::ArnLike, false),
    ("ArnNotLike", Kind::ArnLike, true),
    ("Null", Kind::Null, false),
];

impl Operator {
    /// Reads a name. AWS's own examples write operators in several cases, so case is not told apart.
    pub(in crate::policy) fn parse(text: &str) -> Result<Self, OperatorError> {
        let (quantifier, name) = match text.split_once(':') {
            None => (None, text),
            Some((set, name)) if set.eq_ignore_ascii_case("ForAllValues") => {
                (Some(Quantifier::All), name)
            }
            Some((set, name)) if set.eq_ignore_ascii_case("ForAnyValue") => {
                (Some(Quantifier::Any), name)
            }
            Some(_) => return Err(OperatorError::Unknown),
        };
        let known = |name: &str| {
            NAMES
                .iter()
                .find(|(known, ..)| known.eq_ignore_ascii_case(name))
        };
        let suffix = name
            .len()
            .checked_sub("IfExists".len())
            .and_then(|at| name.split_at_checked(at));
        let (found, if_exists) = match suffix {
            Some((base, suffix)) if suffix.eq_ignore_ascii_case("IfExists") => (known(base), true),
            _ => (known(name), false),
        };
        let &(_, kind, negated) = found.ok_or(OperatorError::Unknown)?;
        if kind == Kind::Null && (if_exists || quantifier.is_some()) {
            return Err(OperatorError::Null);
        }
        Ok(Self {
            quantifier,
            kind,
            negated,
            if_exists,
        })
    }

    /// Whether it compares ARNs.
    pub(in crate::policy) fn is_arn(self) -> bool {
        matches!(self.kind, Kind::ArnEquals | Kind::ArnLike)
    }

    /// The name it would have with its opposite meaning for a single value; `None` where IAM has none.
    #[cfg(test)]
    pub(in crate::policy) fn negation(self) -> Option<Self> {
        let negated = Self {
            negated: !self.negated,
            ..self
        };
        NAMES
            .iter()
            .any(|&(_, kind, not)| (kind, not) == (negated.kind, negated.negated))
            .then_some(negated)
    }

    /// All that IAM has, without set operators and `IfExists`.
    #[cfg(test)]
    pub(in crate::policy) fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, ..)| *name)
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = match self.quantifier {
            None => "",
            Some(Quantifier::All) => "ForAllValues:",
            Some(Quantifier::Any) => "ForAnyValue:",
        };
        let own = |&&(_, kind, negated): &&(&str, Kind, bool)| {
            (kind, negated) == (self.kind, self.negated)
        };
        let name = NAMES.iter().find(own).map_or("", |(name, ..)| name);
        let if_exists = if self.if_exists { "IfExists" } else { "" };
        write!(f, "{set}{name}{if_exists}")
    }
}

impl Comparison {
    /// Whether it holds of the order of the request's value to the policy's.
    pub(super) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equals => order.is_eq(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}
