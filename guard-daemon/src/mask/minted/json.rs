//! Credentials in JSON answers.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Member, Members, Minting, Mints, contradiction};
use crate::mask::MaskError;
use crate::mask::json::malformed;

pub(super) fn find(minting: Minting, text: &str, mints: &mut Mints) -> Result<(), MaskError> {
    if text.trim_ascii().is_empty() {
        return Ok(());
    }
    let root: &RawValue = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    let walk = Walk { text, minting };
    let steps: Vec<_> = minting.steps().collect();
    walk.descend(root, &steps, mints)
}

struct Walk<'a> {
    text: &'a str,
    minting: Minting,
}

impl<'a> Walk<'a> {
    fn descend(
        &self,
        raw: &'a RawValue,
        steps: &[(&str, bool)],
        mints: &mut Mints,
    ) -> Result<(), MaskError> {
        if raw.get() == "null" {
            return Ok(());
        }
        let Some(((name, list), rest)) = steps.split_first() else {
            return self.structure(raw, mints);
        };
        let mut next = None;
        for (key, value) in self.entries(raw)? {
            // Some parsers take the first of a repeated member, some the last.
            if key == *name && next.replace(value).is_some() {
                return contradiction(self.minting);
            }
        }
        match next {
            Some(value) if *list && value.get() != "null" => {
                let elements: Vec<&RawValue> =
                    serde_json::from_str(value.get()).map_err(|error| malformed(&error))?;
                for element in elements {
                    self.descend(element, rest, mints)?;
                }
                Ok(())
            }
            Some(value) => self.descend(value, rest, mints),
            None => Ok(()),
        }
    }

    fn structure(&self, raw: &'a RawValue, mints: &mut Mints) -> Result<(), MaskError> {
        let mut members = Members::default();
        for (name, value) in self.entries(raw)? {
            let member = Member::named(&name);
            if matches!(member, Member::Other) || value.get() == "null" {
                continue;
            }
            let start = value.get().as_ptr().addr() - self.text.as_ptr().addr();
            let quoted = value.get().starts_with('"');
            let text = match (&member, quoted) {
                (_, true) => serde_json::from_str::<String>(value.get())
                    .map_err(|error| malformed(&error))?,
                (Member::Expiry, false) => value.get().to_owned(),
                (_, false) => return contradiction(self.minting),
            };
            let place = start + 1..start + value.get().len() - 1;
            if !members.take(&member, place, text) {
                return contradiction(self.minting);
            }
        }
        mints.add(members, self.minting)
    }

    fn entries(&self, raw: &'a RawValue) -> Result<Vec<(Cow<'a, str>, &'a RawValue)>, MaskError> {
        if !raw.get().starts_with('{') {
            return contradiction(self.minting);
        }
        serde_json::Deserializer::from_str(raw.get())
            .deserialize_map(Entries)
            .map_err(|error| malformed(&error))
    }
}

/// All entries of an object, repeated ones too.
struct Entries;

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(Key(name)) = map.next_key()? {
            entries.push((name, map.next_value()?));
        }
        Ok(entries)
    }
}
