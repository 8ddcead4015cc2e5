//! Masks JSON documents. Only masked values change; all else, whitespace, number forms and the order and
//! repetition of keys included, stays byte for byte.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::edits::{Edits, Step};
use super::minted::{Form, Part, Spot};
use super::{Format, Kind, Layout, MaskError, Shape, replacement};

/// Where HAL, which no model describes, has the resources that are the model's members otherwise.
const EMBEDDED: &str = "_embedded";

/// Finds what is to be masked in `text`.
pub(super) fn mask<S: Shape>(
    layout: Layout<S>,
    text: &str,
    edits: &mut Edits<'_>,
) -> Result<(), MaskError> {
    // Some operations answer with no document at all.
    if text.trim_ascii().is_empty() {
        return Ok(());
    }
    let root: &RawValue = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    let mut walk = Walk { text, edits };
    match layout {
        Layout::Payload { shape, class } if walk.edits.masks(class) => {
            walk.edits.note();
            walk.masked(root, Some(shape))
        }
        Layout::Payload { shape, .. } | Layout::Members { shape, .. } => walk.value(root, shape),
    }
}

struct Walk<'a, 'e, 'm> {
    text: &'a str,
    edits: &'e mut Edits<'m>,
}

impl<'a> Walk<'a, '_, '_> {
    /// Looks for members to mask in a value that is not masked itself.
    fn value<S: Shape>(&mut self, raw: &'a RawValue, shape: S) -> Result<(), MaskError> {
        match (shape.kind(), first(raw)) {
            (_, b'n') => Ok(()),
            (Kind::Structure, b'{') => {
                if shape.is_set() {
                    self.edits.begin_set()?;
                }
                self.entries(
                    raw,
                    &mut |walk, name, value| match shape.member(name, Format::Json) {
                        Some(target) => walk.target(Step::Member(name), value, target),
                        None if name == EMBEDDED => {
                            walk.edits.enter(Step::Member(name))?;
                            walk.edits.contradiction()
                        }
                        None => Ok(()),
                    },
                )?;
                if shape.is_set() {
                    self.edits.end_set()?;
                }
                Ok(())
            }
            (Kind::Map, b'{') => self.entries(raw, &mut |walk, _, value| match shape.element() {
                Some(target) => walk.target(Step::Value, value, target),
                None => Ok(()),
            }),
            (Kind::List, b'[') => self.elements(raw, &mut |walk, value| match shape.element() {
                Some(target) => walk.target(Step::Element, value, target),
                None => Ok(()),
            }),
            (Kind::Structure | Kind::Map | Kind::List, _) => self.edits.contradiction(),
            _ => Ok(()),
        }
    }

    fn target<S: Shape>(
        &mut self,
        step: Step<'_>,
        raw: &'a RawValue,
        (shape, class): (S, Option<super::Class>),
    ) -> Result<(), MaskError> {
        let left = self.edits.enter(step)?;
        if let Some(part) = shape.part() {
            self.take(part, raw)?;
        } else if !self.edits.masks(class) {
            self.value(raw, shape)?;
        } else if first(raw) != b'n' {
            self.edits.note();
            self.masked(raw, Some(shape))?;
        }
        self.edits.leave(left);
        Ok(())
    }

    /// Takes a part of credentials: text, or a time as a number.
    fn take(&mut self, part: Part, raw: &RawValue) -> Result<(), MaskError> {
        let text = match (first(raw), part) {
            (b'n', _) => return Ok(()),
            (b'"', _) => match serde_json::from_str::<String>(raw.get()) {
                Ok(text) => Zeroizing::new(text),
                Err(error) => return Err(malformed(&error)),
            },
            (b'-' | b'0'..=b'9', Part::Expiration(_)) => Zeroizing::new(raw.get().to_owned()),
            _ => return self.edits.contradiction(),
        };
        let spot = Spot {
            range: self.range(raw),
            text,
            form: Form::Quoted,
        };
        self.edits.take(part, spot)
    }

    fn range(&self, raw: &RawValue) -> Range<usize> {
        let start = raw.get().as_ptr().addr() - self.text.as_ptr().addr();
        start..start + raw.get().len()
    }

    /// Masks a value with everything below it. Where the model says nothing, its JSON type counts.
    fn masked<S: Shape>(&mut self, raw: &'a RawValue, shape: Option<S>) -> Result<(), MaskError> {
        let leaf = shape.map(S::kind).filter(|kind| !kind.is_aggregate());
        let was = first(raw);
        match (leaf, was) {
            (_, b'n') => {}
            (None, b'{') => self.entries(raw, &mut |walk, name, value| {
                let below = shape.and_then(|shape| match shape.kind() {
                    Kind::Map => shape.element(),
                    _ => shape.member(name, Format::Json),
                });
                walk.below(value, below.map(|(shape, _)| shape))
            })?,
            (None, b'[') => self.elements(raw, &mut |walk, value| {
                let below = shape.filter(|shape| shape.kind() == Kind::List);
                walk.below(value, below.and_then(S::element).map(|(shape, _)| shape))
            })?,
            (leaf, was) => self.replace(raw, was, leaf),
        }
        Ok(())
    }

    fn below<S: Shape>(&mut self, raw: &'a RawValue, shape: Option<S>) -> Result<(), MaskError> {
        let left = self.edits.enter(Step::Unnamed)?;
        self.masked(raw, shape)?;
        self.edits.leave(left);
        Ok(())
    }

    fn replace(&mut self, raw: &RawValue, was: u8, leaf: Option<Kind>) {
        let text = raw.get();
        let string = text.trim_matches('"');
        let kind = match (leaf, was) {
            (Some(kind), _) => kind,
            (None, b'"') => replacement::guess_string(string),
            (None, b't' | b'f') => Kind::Boolean,
            (None, _) => Kind::Number,
        };
        let with = replacement::of(kind, string);
        let quoted = match kind {
            Kind::Number | Kind::Boolean => false,
            Kind::Timestamp => was == b'"',
            _ => true,
        };
        let with = if quoted {
            Cow::Owned(format!("\"{with}\""))
        } else {
            Cow::Borrowed(with)
        };
        self.edits.replace(self.range(raw), with);
    }

    fn entries(
        &mut self,
        raw: &'a RawValue,
        visit: &mut dyn FnMut(&mut Self, &str, &'a RawValue) -> Result<(), MaskError>,
    ) -> Result<(), MaskError> {
        let mut stopped = None;
        let each = Each {
            visit: |name: &str, value| visit(self, name, value),
            stopped: &mut stopped,
        };
        let done = serde_json::Deserializer::from_str(raw.get()).deserialize_map(each);
        finish(stopped, done)
    }

    fn elements(
        &mut self,
        raw: &'a RawValue,
        visit: &mut dyn FnMut(&mut Self, &'a RawValue) -> Result<(), MaskError>,
    ) -> Result<(), MaskError> {
        let mut stopped = None;
        let each = Each {
            visit: |_: &str, value| visit(self, value),
            stopped: &mut stopped,
        };
        let done = serde_json::Deserializer::from_str(raw.get()).deserialize_seq(each);
        finish(stopped, done)
    }
}

fn finish(stopped: Option<MaskError>, done: serde_json::Result<()>) -> Result<(), MaskError> {
    match stopped {
        Some(error) => Err(error),
        None => done.map_err(|error| malformed(&error)),
    }
}

/// serde's message names what it met there, which may be a part of the body: only its kind and place go on.
fn malformed(error: &serde_json::Error) -> MaskError {
    let what = if error.is_eof() {
        "it ends too early"
    } else {
        "syntax error"
    };
    let reason = format!("{what}, line {} column {}", error.line(), error.column());
    MaskError::Malformed {
        format: "JSON",
        reason,
    }
}

/// The first byte tells a value's type; a `RawValue` has no whitespace in front.
fn first(raw: &RawValue) -> u8 {
    raw.get().as_bytes().first().copied().unwrap_or_default()
}

/// Visits the entries of an object or array one by one, each occurrence of a repeated key included.
struct Each<'s, F> {
    visit: F,
    stopped: &'s mut Option<MaskError>,
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de, F> Each<'_, F>
where
    F: FnMut(&str, &'de RawValue) -> Result<(), MaskError>,
{
    fn entry<E: serde::de::Error>(&mut self, name: &str, value: &'de RawValue) -> Result<(), E> {
        (self.visit)(name, value).map_err(|error| {
            *self.stopped = Some(error);
            E::custom("stopped")
        })
    }
}

impl<'de, F> Visitor<'de> for Each<'_, F>
where
    F: FnMut(&str, &'de RawValue) -> Result<(), MaskError>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(name)) = map.next_key()? {
            self.entry::<A::Error>(&name, map.next_value()?)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(value) = seq.next_element()? {
            self.entry::<A::Error>("", value)?;
        }
        Ok(())
    }
}
