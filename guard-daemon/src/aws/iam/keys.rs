//! Condition keys that a request tells.

use std::borrow::Cow;

use super::{
    Asked, Reader, dynamodb,
    input::{At, Unclear},
    named,
    rules::LONGEST_VALUE,
    s3_keys,
};
use crate::aws::{
    Access, KeyValue,
    catalog::{self, Default, KeyRule, key},
    keys::{Keys, Limited, TypedTag},
};

/// What a tag's key comes after.
const REQUEST_TAG: &str = "aws:requesttag/";

/// The values of `wanted` keys, in lower case, for a call that asks for `access`. Keys that no request tells are
/// left out.
pub(super) fn read(
    asked: &Asked<'_>,
    readers: &[Reader<'_, '_>],
    access: &[Access],
    wanted: &[&str],
) -> Keys {
    let mut keys = Keys::default();
    for name in wanted {
        if *name == "aws:requestedregion" {
            let region = asked.region.map(|it| KeyValue::One(it.to_owned()));
            keys.push(name, region.unwrap_or(KeyValue::Unknown));
        } else if is_ours(name) {
            let value = if may_have(name, access) {
                value(asked, readers, name, &mut keys)
            } else {
                KeyValue::Absent
            };
            keys.push(name, value);
        }
    }
    keys
}

/// Keys that some actions list, but that come with the credentials of an instance, whatever the action.
const OF_CREDENTIALS: &[&str] = &["ec2:sourceinstancearn", "ssm:sourceinstancearn"];

/// Whether a request could tell it: a key of a service's, or of tags.
fn is_ours(name: &str) -> bool {
    match name.split_once(':') {
        Some(("aws", "tagkeys")) => true,
        Some(("aws", rest)) => rest.starts_with("requesttag/"),
        _ if OF_CREDENTIALS.contains(&name) => false,
        // When the others are there is not known, and so they are not surely absent.
        _ => catalog::condition_key(name).is_some_and(catalog::ConditionKey::is_listed),
    }
}

fn listed(name: &str, access: &[Access]) -> bool {
    let mut actions = access.iter().filter_map(|it| it.action.as_deref());
    actions.any(|it| catalog::action(it).is_some_and(|it| it.has_condition_key(name)))
}

/// Whether an action lists it, or might, as it is not known.
fn may_have(name: &str, access: &[Access]) -> bool {
    access.iter().any(|it| it.action.is_none()) || listed(name, access)
}

fn value(asked: &Asked<'_>, readers: &[Reader<'_, '_>], name: &str, keys: &mut Keys) -> KeyValue {
    let mut found: Option<KeyValue> = None;
    for reader in readers {
        let mut rules = reader.operation.keys().filter(|it| it.takes(name));
        let own = dynamodb::keys::value(*reader, name, &mut keys.scoped)
            .or_else(|| {
                let rule = rules.next()?;
                if rule.on().len() > 0 {
                    keys.limited.push(Limited {
                        key: name.to_owned(),
                        kinds: rule.on().collect(),
                    });
                }
                Some(reader.key(rule, name, &mut keys.typed))
            })
            .or_else(|| {
                let named = name == "secretsmanager:secretid";
                named.then(|| named::secret_id(*reader)).flatten()
            })
            .or_else(|| s3_keys::value(asked, reader.operation, name));
        let own = own.unwrap_or(KeyValue::Unknown);
        // Of operations that the wire does not tell apart, all must agree.
        match &found {
            Some(other) if *other != own => return KeyValue::Unknown,
            _ => found = Some(own),
        }
    }
    found.unwrap_or(KeyValue::Unknown)
}

impl KeyRule {
    /// Whether it reads this key, which is in lower case.
    pub(super) fn takes(self, name: &str) -> bool {
        match self.kind() {
            key::TAGS | key::ENTRIES | key::TYPED_TAGS => name.starts_with(self.key()),
            _ if self.key() == REQUEST_TAG => name.starts_with(REQUEST_TAG),
            _ => name == self.key(),
        }
    }
}

impl Reader<'_, '_> {
    fn key(self, rule: KeyRule, name: &str, typed: &mut Vec<TypedTag>) -> KeyValue {
        let wanted = name.get(rule.key().len()..).unwrap_or_default();
        let found = match rule.kind() {
            key::ONE | key::MANY => return self.values_of(rule),
            key::TAGS => self.tags(rule).map(|tags| entry(&tags, wanted)),
            key::ENTRIES => self.entries(rule).map(|tags| entry(&tags, wanted)),
            key::TAG_KEYS => self.tag_keys(rule).map(many),
            key::ENTRY_KEYS => self.texts(rule, 0).map(many),
            key::TYPED_TAGS | key::TYPED_TAG_KEYS => self.typed(rule, name, wanted, typed),
            _ => Err(Unclear),
        };
        found.unwrap_or(KeyValue::Unknown)
    }

    fn values_of(self, rule: KeyRule) -> KeyValue {
        let mut values = Vec::new();
        let mut clear = true;
        let many = rule.kind() == key::MANY;
        // Of one value every element must say the same; what it is for one that says nothing, the service decides.
        let given = self.values(rule.alternatives(), many, |it| match it {
            Some(text) if many || !values.contains(&text) => values.push(text),
            Some(_) => {}
            None => clear = false,
        });
        match (clear, values.len(), rule.kind()) {
            (true, 0, _) if given => KeyValue::Unknown,
            (true, 0, _) => match rule.absent() {
                Default::Absent => KeyValue::Absent,
                Default::Unknown => KeyValue::Unknown,
                Default::Value(text) => KeyValue::One(text.to_owned()),
            },
            (true, _, key::MANY) => KeyValue::Many(values),
            (true, 1, _) => values.pop().map_or(KeyValue::Unknown, KeyValue::One),
            _ => KeyValue::Unknown,
        }
    }

    fn texts(self, rule: KeyRule, path: usize) -> Result<Vec<String>, Unclear> {
        let mut found = Vec::new();
        let path = rule.path(path).ok_or(Unclear)?;
        self.input.find(self.operation, path, &mut found)?;
        found.iter().map(text).collect()
    }

    fn tags(self, rule: KeyRule) -> Result<Vec<(String, String)>, Unclear> {
        let mut elements = Vec::new();
        let path = rule.path(0).ok_or(Unclear)?;
        self.input.find(self.operation, path, &mut elements)?;
        tags_in(&elements, rule, 1)
    }

    fn tag_keys(self, rule: KeyRule) -> Result<Vec<String>, Unclear> {
        let mut elements = Vec::new();
        let path = rule.path(0).ok_or(Unclear)?;
        self.input.find(self.operation, path, &mut elements)?;
        elements
            .iter()
            .map(|it| within(it, rule, 1)?.ok_or(Unclear))
            .collect()
    }

    fn entries(self, rule: KeyRule) -> Result<Vec<(String, String)>, Unclear> {
        let keys = self.texts(rule, 0)?;
        let values = self.texts(rule, 1)?;
        if keys.len() != values.len() {
            return Err(Unclear);
        }
        Ok(keys.into_iter().zip(values).collect())
    }

    /// Tags by the type of resource they are for. What all of them have is the value whatever the resource.
    fn typed(
        self,
        rule: KeyRule,
        name: &str,
        wanted: &str,
        typed: &mut Vec<TypedTag>,
    ) -> Result<KeyValue, Unclear> {
        let mut elements = Vec::new();
        let path = rule.path(0).ok_or(Unclear)?;
        self.input.find(self.operation, path, &mut elements)?;
        let mut all = Vec::with_capacity(elements.len());
        for element in &elements {
            let kind = within(element, rule, 1)?.ok_or(Unclear)?;
            let mut inner = Vec::new();
            let path = rule.path(2).ok_or(Unclear)?;
            element.find(path, &mut inner)?;
            let tags = tags_in(&inner, rule, 3)?;
            let value = if rule.kind() == key::TYPED_TAGS {
                entry(&tags, wanted)
            } else {
                many(tags.into_iter().map(|it| it.0).collect())
            };
            all.push(TypedTag {
                key: name.to_owned(),
                kind,
                value,
            });
        }
        let Some(first) = all.first() else {
            return Ok(KeyValue::Absent);
        };
        let value = if all.iter().all(|it| it.value == first.value) {
            first.value.clone()
        } else {
            KeyValue::Unknown
        };
        typed.append(&mut all);
        Ok(value)
    }
}

/// Keys and values of elements; `first` and the next path of the rule lead to them.
fn tags_in(
    elements: &[At<'_>],
    rule: KeyRule,
    first: usize,
) -> Result<Vec<(String, String)>, Unclear> {
    let mut tags = Vec::with_capacity(elements.len());
    for element in elements {
        let key = within(element, rule, first)?.ok_or(Unclear)?;
        // A tag without a value has the empty one.
        let value = within(element, rule, first + 1)?;
        tags.push((key, value.unwrap_or_default()));
    }
    Ok(tags)
}

fn within(element: &At<'_>, rule: KeyRule, path: usize) -> Result<Option<String>, Unclear> {
    let mut found = Vec::new();
    let path = rule.path(path).ok_or(Unclear)?;
    element.find(path, &mut found)?;
    match found.as_slice() {
        [] => Ok(None),
        [one] => text(one).map(Some),
        _ => Err(Unclear),
    }
}

fn text(at: &At<'_>) -> Result<String, Unclear> {
    let text = at
        .text()
        .filter(|it| it.len() <= LONGEST_VALUE)
        .ok_or(Unclear)?;
    Ok(Cow::into_owned(text))
}

/// The value of a tag or entry, `wanted` being a condition key's name, in which ASCII letters are in lower case. It
/// must be the only one, as names of condition keys are the same in any case. Which other letters IAM takes for the
/// same is not documented: a name that is the wanted one only then makes the value unknown.
pub(super) fn entry(entries: &[(String, String)], wanted: &str) -> KeyValue {
    let same = |name: &str| {
        let could_be = name.eq_ignore_ascii_case(wanted)
            || !(name.is_ascii() && wanted.is_ascii()) && folded(name).eq(folded(wanted));
        could_be.then(|| name.eq_ignore_ascii_case(wanted))
    };
    let mut found = entries.iter().filter_map(|it| Some((same(&it.0)?, &it.1)));
    match (found.next(), found.next()) {
        (None, _) => KeyValue::Absent,
        (Some((true, one)), None) => KeyValue::One(one.clone()),
        _ => KeyValue::Unknown,
    }
}

/// The letters that are the same in any case by any of Unicode's rules: `K` (Kelvin), `ſ` and `İ` are `k`, `s` and `i`.
fn folded(name: &str) -> impl Iterator<Item = char> {
    name.chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .filter(|it| *it != DOT_ABOVE)
}

/// What the lower case of `İ` has behind its `i`.
const DOT_ABOVE: char = '\u{307}';

/// All of them; a key without a value is absent.
fn many(values: Vec<String>) -> KeyValue {
    if values.is_empty() {
        KeyValue::Absent
    } else {
        KeyValue::Many(values)
    }
}
