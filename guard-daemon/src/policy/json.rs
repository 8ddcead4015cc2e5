//! JSON → values with their places, strictly: no duplicate keys, and nothing after the end.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::{Misplaced, Problem};
use super::written::{Placed, Value};

/// Levels of a policy: document, statements, statement, condition, operator, values.
const DEPTH: usize = 8;

/// Reads a document.
pub(super) fn read(text: &str) -> Result<Placed<Value>, Misplaced> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| {
        let at = offset(text, error.line(), error.column());
        Misplaced(at..at, Problem::Json(without_place(&error)))
    })?;
    value(text, raw, DEPTH)
}

fn value(text: &str, raw: &RawValue, depth: usize) -> Result<Placed<Value>, Misplaced> {
    let it = raw.get();
    let start = start(text, raw);
    let at = start..start + it.len();
    let unreadable =
        |error: serde_json::Error| Misplaced(at.clone(), Problem::Json(without_place(&error)));
    let inner = |raw: &RawValue| match depth.checked_sub(1) {
        Some(depth) => value(text, raw, depth),
        None => Err(Misplaced(at.clone(), Problem::Depth)),
    };
    let value = match it.as_bytes().first() {
        Some(b'"') => Value::Text(serde_json::from_str(it).map_err(unreadable)?),
        Some(b'{') => {
            let Entries(entries) = serde_json::from_str(it).map_err(unreadable)?;
            let mut seen = HashSet::new();
            let mut table = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                let name: String = serde_json::from_str(key.get()).map_err(unreadable)?;
                let start = self::start(text, key);
                let key = Placed::new(start..start + key.get().len(), name);
                if !seen.insert(key.it.clone()) {
                    return Err(key.wrong(Problem::Repeated(key.it.clone())));
                }
                table.push((key, inner(value)?));
            }
            Value::Table(table)
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(it).map_err(unreadable)?;
            Value::List(elements.into_iter().map(inner).collect::<Result<_, _>>()?)
        }
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'n') => Value::Null,
        _ => Value::Number(it.to_owned()),
    };
    Ok(Placed::new(at, value))
}

/// Where a borrowed part of the text starts in it.
fn start(text: &str, part: &RawValue) -> usize {
    (part.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

/// The offset of a line and a column in bytes, both from 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before = text.split_inclusive('\n').take(line.saturating_sub(1));
    before.map(str::len).sum::<usize>() + column.saturating_sub(1)
}

/// The error's text without the place that it ends with: that is said in front.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text[..end].to_owned()
}

/// An object's entries, keys and values as they stand.
struct Entries<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(All)
    }
}
