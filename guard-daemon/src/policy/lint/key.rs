//! The types of condition keys.

use super::Lint;
use crate::policy::condition::{Condition, Kind};

/// The type of a condition key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyType {
    /// Text.
    String,
    /// A number.
    Numeric,
    /// A time.
    Date,
    /// `true` or `false`.
    Bool,
    /// Bytes.
    Binary,
    /// An address.
    Address,
    /// An ARN.
    Arn,
    /// Several texts.
    Strings,
    /// Several ARNs.
    Arns,
}

/// AWS's global keys that are not plain text, in lower case
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>).
const GLOBAL: &[(&str, KeyType)] = &[
    ("aws:currenttime", KeyType::Date),
    ("aws:ec2instancesourceprivateipv4", KeyType::Address),
    ("aws:epochtime", KeyType::Date),
    ("aws:multifactorauthage", KeyType::Numeric),
    ("aws:multifactorauthpresent", KeyType::Bool),
    ("aws:principalarn", KeyType::Arn),
    ("aws:principalisawsservice", KeyType::Bool),
    ("aws:principalorgpaths", KeyType::Strings),
    ("aws:principalservicenameslist", KeyType::Strings),
    ("aws:resourceorgpaths", KeyType::Strings),
    ("aws:securetransport", KeyType::Bool),
    ("aws:sourcearn", KeyType::Arn),
    ("aws:sourceip", KeyType::Address),
    ("aws:sourceorgpaths", KeyType::Strings),
    ("aws:tagkeys", KeyType::Strings),
    ("aws:tokenissuetime", KeyType::Date),
    ("aws:viaawsservice", KeyType::Bool),
    ("aws:vpcsourceip", KeyType::Address),
];

/// The type of a global key, by its name in lower case.
pub(super) fn global(key: &str) -> Option<KeyType> {
    let found = GLOBAL.binary_search_by_key(&key, |&(name, _)| name);
    found.ok().map(|at| GLOBAL[at].1)
}

/// Whether a name, in lower case, is that of a key, which may have `${…}` for what varies.
pub(super) fn is_of(name: &str, key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    match lower.split_once("${") {
        Some((start, _)) => name.starts_with(start),
        None => name == lower,
    }
}

impl KeyType {
    /// What of a condition does not fit the type.
    pub(super) fn check(self, condition: &Condition) -> Option<Lint> {
        let operator = condition.operator();
        let fits = match operator.kind {
            Kind::Null => return None,
            Kind::StringEquals | Kind::StringEqualsIgnoreCase | Kind::StringLike => {
                matches!(self, Self::String | Self::Strings | Self::Arn | Self::Arns)
            }
            Kind::Number(_) => self == Self::Numeric,
            // Epoch time may be compared as a number, but is a time.
            Kind::Date(_) => self == Self::Date,
            Kind::Bool => self == Self::Bool,
            Kind::Binary => self == Self::Binary,
            Kind::Address => self == Self::Address,
            Kind::ArnEquals | Kind::ArnLike => matches!(self, Self::Arn | Self::Arns),
        };
        let key = condition.key().to_owned();
        if !fits {
            let is = self.is();
            let operator = operator.to_string();
            return Some(Lint::Operator { operator, key, is });
        }
        let several = matches!(self, Self::Strings | Self::Arns);
        (several && operator.quantifier.is_none()).then(|| Lint::SetOperator {
            operator: operator.to_string(),
            key,
        })
    }

    fn is(self) -> &'static str {
        match self {
            Self::String => "is text",
            Self::Numeric => "is a number",
            Self::Date => "is a time",
            Self::Bool => "is true or false",
            Self::Binary => "is bytes",
            Self::Address => "is an address",
            Self::Arn => "is an ARN",
            Self::Strings => "is a list of texts",
            Self::Arns => "is a list of ARNs",
        }
    }
}
