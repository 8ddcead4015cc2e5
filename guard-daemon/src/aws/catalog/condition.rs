//! Condition keys, as the Service Authorization Reference has them.

use super::{
    action::{in_any_case, names},
    schema::{ArchivedConditionKey, key_type},
    tables, text,
};

/// A condition key of a service's.
#[derive(Clone, Copy, Debug)]
pub struct ConditionKey(&'static ArchivedConditionKey);

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
    /// An address.
    Address,
    /// An ARN.
    Arn,
    /// Several texts.
    Strings,
    /// Several of `true` and `false`.
    Bools,
    /// Several ARNs.
    Arns,
}

/// A service's condition key, by its name in any case; of tags and entries by the whole name
/// (`ec2:ResourceTag/team`). AWS's global keys (`aws:…`) are not among them.
pub fn condition_key(name: &str) -> Option<ConditionKey> {
    let keys = &tables().condition_keys;
    if let Ok(place) = keys.binary_search_by(|it| in_any_case(text(it.name), name)) {
        return keys.get(place).map(ConditionKey);
    }
    let service = name.get(..=name.find(':')?)?;
    let first = keys.partition_point(|it| in_any_case(text(it.name), service).is_lt());
    let is_own = |it: &&ArchivedConditionKey| {
        let own = text(it.name).get(..service.len());
        own.is_some_and(|it| it.eq_ignore_ascii_case(service))
    };
    keys.get(first..)?
        .iter()
        .take_while(is_own)
        .find(|it| names(text(it.name), name))
        .map(ConditionKey)
}

impl ConditionKey {
    /// Its name, as the reference spells it, with `${…}` for what varies.
    pub fn name(self) -> &'static str {
        text(self.0.name)
    }

    /// Its type; `None` where the reference has more than one.
    pub fn kind(self) -> Option<KeyType> {
        Some(match self.0.kind.to_native() {
            key_type::STRING => KeyType::String,
            key_type::NUMERIC => KeyType::Numeric,
            key_type::DATE => KeyType::Date,
            key_type::BOOL => KeyType::Bool,
            key_type::ADDRESS => KeyType::Address,
            key_type::ARN => KeyType::Arn,
            key_type::STRINGS => KeyType::Strings,
            key_type::BOOLS => KeyType::Bools,
            key_type::ARNS => KeyType::Arns,
            _ => return None,
        })
    }

    /// Whether some action lists it. What none lists comes with credentials, or the reference does not say when it
    /// is there.
    pub fn is_listed(self) -> bool {
        self.0.listed.to_native() != 0
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;

    #[test]
    fn found_by_any_spelling() {
        let keys = &tables().condition_keys;
        let all: Vec<&str> = keys.iter().map(|it| text(it.name)).collect();
        assert!(all.len() > 1_500);
        assert!(all.is_sorted_by(|one, other| in_any_case(one, other) == Ordering::Less));
        for name in all {
            let found = condition_key(&name.to_ascii_uppercase()).unwrap();
            assert_eq!(found.name(), name);
        }
        let entry = condition_key("kms:encryptioncontext:app").unwrap();
        assert!(entry.name().contains("${"));
        for name in ["s3:prefixes", "nothing:a", "s3", "", "aws:sourceip", "é:ü"] {
            assert!(condition_key(name).is_none(), "{name}");
        }
    }

    #[test]
    fn types() {
        for (name, kind) in [
            ("s3:prefix", KeyType::String),
            ("s3:max-keys", KeyType::Numeric),
            ("ec2:Encrypted", KeyType::Bool),
            ("ec2:CreateDate", KeyType::Date),
            ("ec2:Vpc", KeyType::Arn),
            ("dynamodb:LeadingKeys", KeyType::Strings),
            ("ec2:FisTargetArns", KeyType::Arns),
            ("ec2:ResourceTag/team", KeyType::String),
        ] {
            assert_eq!(condition_key(name).unwrap().kind(), Some(kind), "{name}");
        }
        // The reference has it as one text and as several.
        assert_eq!(condition_key("identitystore:UserId").unwrap().kind(), None);
        assert!(condition_key("ec2:Vpc").unwrap().is_listed());
        assert!(
            !condition_key("lambda:SourceFunctionArn")
                .unwrap()
                .is_listed()
        );
    }
}
