//! What a JSON or CBOR body says.

use std::borrow::Cow;

/// More values than a body has that a client of AWS sends: a full DynamoDB batch of 16 MB has them where every
/// attribute is a single letter.
pub(super) const MOST: usize = 500_000;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A whole number.
    Number(i128),
    /// A boolean.
    Flag(bool),
    /// Null: as if it were not given.
    Null,
    /// Elements.
    List(Vec<Value<'a>>),
    /// Members, each name once.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
    /// Any other number, bytes, or a time: never part of a name.
    Other,
}

/// What reading a body gave.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Parsed<'a> {
    /// One value.
    Value(Value<'a>),
    /// Malformed, nested too deep, or of more values than [`MOST`]: AWS may read it otherwise, so nothing is known.
    Malformed,
    /// A member is given twice.
    Repeated,
}

impl<'a> Value<'a> {
    /// A member of an object.
    pub(super) fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.members()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// Text.
    pub(super) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// A list's elements; none where this is no list.
    pub(super) fn elements(&self) -> &[Value<'a>] {
        if let Value::List(elements) = self {
            elements
        } else {
            &[]
        }
    }

    /// An object's members; none where this is no object.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        let members = if let Value::Object(members) = self {
            members.as_slice()
        } else {
            &[]
        };
        members.iter().map(|(name, value)| (name.as_ref(), value))
    }
}

/// Adds a list's element, which has been counted in `left`. Of several in a row that are no part of a name the first
/// stands for all, and they count once: a vector of numbers is as long as its client likes.
pub(super) fn add<'a>(elements: &mut Vec<Value<'a>>, element: Value<'a>, left: &mut usize) {
    if element == Value::Other && elements.last() == Some(&Value::Other) {
        *left += 1;
    } else {
        elements.push(element);
    }
}

/// Whether a name is there twice. Sorting keeps it n log n on bodies an agent chose.
pub(super) fn repeats(members: &[(Cow<'_, str>, Value<'_>)]) -> bool {
    if let [] | [_] = members {
        return false;
    }
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}
