//! Masks CBOR documents (Smithy RPC v2). Only masked items change; all others, their lengths and the order and
//! repetition of keys included, stay byte for byte.

use std::borrow::Cow;

use minicbor::Decoder;
use minicbor::data::Type;
use minicbor::decode::Error;
use zeroize::Zeroizing;

use super::edits::{Edits, Step};
use super::minted::{Form, Part, Spot};
use super::{Format, Kind, Layout, MaskError, Shape};

/// A time as a number of seconds since the epoch (RFC 8949, 3.4.2), as Smithy writes it.
const EPOCH: u64 = 1;
/// Tags of numbers: big ones, decimal fractions, big floats (RFC 8949, 3.4.3 and 3.4.4).
const NUMBERS: std::ops::RangeInclusive<u64> = 2..=5;

/// `masked-by-guard`, as text and as bytes.
const TEXT: &[u8] = b"\x6fmasked-by-guard";
const BLOB: &[u8] = b"\x4fmasked-by-guard";

/// Finds what is to be masked in `body`.
pub(super) fn mask<S: Shape>(
    layout: Layout<S>,
    body: &[u8],
    edits: &mut Edits<'_>,
) -> Result<(), MaskError> {
    let mut walk = Walk {
        decoder: Decoder::new(body),
        edits,
    };
    match layout {
        Layout::Payload { shape, class } if walk.edits.masks(class) => {
            walk.edits.note();
            walk.masked(Some(shape))?;
        }
        Layout::Payload { shape, .. } | Layout::Members { shape, .. } => walk.value(shape)?,
    }
    if walk.decoder.position() == body.len() {
        Ok(())
    } else {
        Err(walk.malformed("something follows its end"))
    }
}

/// A replacement, written. A kind of more than one item is that of an item whose type contradicts the model.
fn written(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Blob => BLOB,
        Kind::Boolean => b"\xf4",
        Kind::Number => b"\x00",
        Kind::Timestamp => b"\xc1\x00",
        Kind::String | Kind::Structure | Kind::List | Kind::Map => TEXT,
    }
}

struct Walk<'b, 'e, 'm> {
    decoder: Decoder<'b>,
    edits: &'e mut Edits<'m>,
}

/// What is done with an entry of a map or an array, at whose item the walk stands.
type Visit<'v, 'b, 'e, 'm> = dyn FnMut(&mut Walk<'b, 'e, 'm>, &str) -> Result<(), MaskError> + 'v;

impl<'b, 'e, 'm> Walk<'b, 'e, 'm> {
    /// Looks for members to mask in an item that is not masked itself.
    fn value<S: Shape>(&mut self, shape: S) -> Result<(), MaskError> {
        match (shape.kind(), self.next()?) {
            (_, Type::Null | Type::Undefined) => self.pass(),
            (Kind::Structure, Type::Map | Type::MapIndef) => {
                if shape.is_set() {
                    self.edits.begin_set()?;
                }
                self.entries(&mut |walk, name| match shape.member(name, Format::Json) {
                    Some(target) => walk.target(Step::Member(name), target),
                    None => walk.below(Self::pass),
                })?;
                if shape.is_set() {
                    self.edits.end_set()?;
                }
                Ok(())
            }
            (Kind::Map, Type::Map | Type::MapIndef) => {
                self.entries(&mut |walk, _| match shape.element() {
                    Some(target) => walk.target(Step::Value, target),
                    None => walk.below(Self::pass),
                })
            }
            (Kind::List, Type::Array | Type::ArrayIndef) => {
                self.elements(&mut |walk, _| match shape.element() {
                    Some(target) => walk.target(Step::Element, target),
                    None => walk.below(Self::pass),
                })
            }
            (Kind::Structure | Kind::Map | Kind::List, _) => self.edits.contradiction(),
            _ => self.pass(),
        }
    }

    fn target<S: Shape>(
        &mut self,
        step: Step<'_>,
        (shape, class): (S, Option<super::Class>),
    ) -> Result<(), MaskError> {
        let left = self.edits.enter(step)?;
        if let Some(part) = shape.part() {
            self.take(part)?;
        } else if !self.edits.masks(class) {
            self.value(shape)?;
        } else {
            if !matches!(self.next()?, Type::Null | Type::Undefined) {
                self.edits.note();
            }
            self.masked(Some(shape))?;
        }
        self.edits.leave(left);
        Ok(())
    }

    /// Takes a part of credentials: text, or a time.
    fn take(&mut self, part: Part) -> Result<(), MaskError> {
        let start = self.decoder.position();
        let text = match (self.next()?, part) {
            (Type::Null | Type::Undefined, _) => return self.pass(),
            (Type::String | Type::StringIndef, _) => Zeroizing::new(self.text()?.into_owned()),
            (Type::Tag, Part::Expiration(_)) => {
                if self.read(Decoder::tag)?.as_u64() != EPOCH {
                    return self.edits.contradiction();
                }
                self.number()?
            }
            (_, Part::Expiration(_)) => self.number()?,
            _ => return self.edits.contradiction(),
        };
        let spot = Spot {
            range: start..self.decoder.position(),
            text,
            form: Form::Cbor,
        };
        self.edits.take(part, spot)
    }

    /// A time is no half-precision number: the greatest is on the first day of 1970.
    fn number(&mut self) -> Result<Zeroizing<String>, MaskError> {
        let text = match self.next()? {
            Type::F32 => self.read(Decoder::f32)?.to_string(),
            Type::F64 => self.read(Decoder::f64)?.to_string(),
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => self.read(Decoder::u64)?.to_string(),
            _ => return self.edits.contradiction(),
        };
        Ok(Zeroizing::new(text))
    }

    /// Masks an item with everything below it. Where the model says nothing, its CBOR type counts.
    fn masked<S: Shape>(&mut self, shape: Option<S>) -> Result<(), MaskError> {
        let leaf = shape.map(S::kind).filter(|kind| !kind.is_aggregate());
        match (leaf, self.next()?) {
            (_, Type::Null | Type::Undefined) => self.pass(),
            (None, Type::Map | Type::MapIndef) => self.entries(&mut |walk, name| {
                let below = shape.and_then(|shape| match shape.kind() {
                    Kind::Map => shape.element(),
                    _ => shape.member(name, Format::Json),
                });
                walk.below(|walk| walk.masked(below.map(|(shape, _)| shape)))
            }),
            (None, Type::Array | Type::ArrayIndef) => self.elements(&mut |walk, _| {
                let below = shape.filter(|shape| shape.kind() == Kind::List);
                walk.below(|walk| walk.masked(below.and_then(S::element).map(|(shape, _)| shape)))
            }),
            (Some(kind), _) => self.replace(kind),
            (None, was) => {
                let kind = self.guess(was)?;
                self.replace(kind)
            }
        }
    }

    /// What an item is whose type no model tells.
    fn guess(&self, was: Type) -> Result<Kind, MaskError> {
        Ok(match was {
            Type::Bool => Kind::Boolean,
            Type::Bytes | Type::BytesIndef => Kind::Blob,
            Type::String | Type::StringIndef => Kind::String,
            Type::Tag => match self.decoder.clone().tag() {
                Ok(tag) if tag.as_u64() == EPOCH => Kind::Timestamp,
                Ok(tag) if NUMBERS.contains(&tag.as_u64()) => Kind::Number,
                Ok(_) => Kind::String,
                Err(error) => return Err(malformed(&error)),
            },
            _ => Kind::Number,
        })
    }

    fn replace(&mut self, kind: Kind) -> Result<(), MaskError> {
        let start = self.decoder.position();
        self.pass()?;
        let range = start..self.decoder.position();
        self.edits.put(range, written(kind));
        Ok(())
    }

    /// Passes over an item and everything below it.
    fn pass(&mut self) -> Result<(), MaskError> {
        match self.next()? {
            Type::Map | Type::MapIndef => self.entries(&mut |walk, _| walk.below(Self::pass)),
            Type::Array | Type::ArrayIndef => self.elements(&mut |walk, _| walk.below(Self::pass)),
            Type::Tag => {
                self.read(Decoder::tag)?;
                self.below(Self::pass)
            }
            Type::String | Type::StringIndef => self.text().map(drop),
            Type::BytesIndef => {
                let pieces = self.decoder.bytes_iter();
                for piece in pieces.map_err(|error| malformed(&error))? {
                    piece.map_err(|error| malformed(&error))?;
                }
                Ok(())
            }
            Type::Break | Type::Simple | Type::Unknown(_) => {
                Err(self.malformed("no item of RPC v2 begins there"))
            }
            _ => self.read(Decoder::skip),
        }
    }

    fn below(
        &mut self,
        visit: impl FnOnce(&mut Self) -> Result<(), MaskError>,
    ) -> Result<(), MaskError> {
        let left = self.edits.enter(Step::Unnamed)?;
        visit(self)?;
        self.edits.leave(left);
        Ok(())
    }

    fn entries(&mut self, visit: &mut Visit<'_, 'b, 'e, 'm>) -> Result<(), MaskError> {
        let mut left = self.read(Decoder::map)?;
        while self.more(&mut left)? {
            let name = match self.next()? {
                Type::String | Type::StringIndef => self.text()?,
                _ => return Err(self.malformed("a key is not text")),
            };
            visit(self, &name)?;
        }
        Ok(())
    }

    fn elements(&mut self, visit: &mut Visit<'_, 'b, 'e, 'm>) -> Result<(), MaskError> {
        let mut left = self.read(Decoder::array)?;
        while self.more(&mut left)? {
            visit(self, "")?;
        }
        Ok(())
    }

    /// Whether another element follows; `left` is the announced number of them, if there is one.
    fn more(&mut self, left: &mut Option<u64>) -> Result<bool, MaskError> {
        match left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if self.next()? == Type::Break => {
                self.decoder.set_position(self.decoder.position() + 1);
                Ok(false)
            }
            None => Ok(true),
        }
    }

    fn text(&mut self) -> Result<Cow<'b, str>, MaskError> {
        if self.next()? == Type::String {
            return self.read(Decoder::str).map(Cow::Borrowed);
        }
        let mut whole = String::new();
        let pieces = self.decoder.str_iter();
        for piece in pieces.map_err(|error| malformed(&error))? {
            whole.push_str(piece.map_err(|error| malformed(&error))?);
        }
        Ok(Cow::Owned(whole))
    }

    /// The type of the item the walk stands at.
    fn next(&self) -> Result<Type, MaskError> {
        self.decoder.datatype().map_err(|error| malformed(&error))
    }

    fn read<T>(
        &mut self,
        read: impl FnOnce(&mut Decoder<'b>) -> Result<T, Error>,
    ) -> Result<T, MaskError> {
        read(&mut self.decoder).map_err(|error| malformed(&error))
    }

    fn malformed(&self, what: &str) -> MaskError {
        MaskError::Malformed {
            format: "CBOR",
            reason: format!("{what}, byte {}", self.decoder.position()),
        }
    }
}

/// Only the kind of an error and its place go on.
fn malformed(error: &Error) -> MaskError {
    let what = if error.is_end_of_input() {
        "it ends too early"
    } else {
        "syntax error"
    };
    let reason = match error.position() {
        Some(at) => format!("{what}, byte {at}"),
        None => what.to_owned(),
    };
    MaskError::Malformed {
        format: "CBOR",
        reason,
    }
}

#[cfg(test)]
mod tests {
    use minicbor::Encoder;
    use proptest::prelude::*;

    use super::super::edits::DEPTH;
    use super::super::toy::Toy;
    use super::super::{Class, mask_document};
    use super::*;
    use crate::aws::Protocol;

    const MEMBERS: Layout<Toy> = Layout::Members {
        shape: Toy::Output,
        wrappers: 0,
    };

    fn masked(body: &[u8]) -> Result<(Vec<u8>, Vec<String>), MaskError> {
        let credentials = |class| class == Class::Credential;
        let masked = mask_document(MEMBERS, Protocol::Cbor, body, &credentials)?;
        Ok(masked.map_or((body.to_vec(), Vec::new()), |masked| {
            (masked.body.to_vec(), masked.paths)
        }))
    }

    /// Items as `{`, `[`, `}`, `]` of unknown length, numbers, and text; what begins with `0x` is written as it is.
    fn cbor(items: &str) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new());
        for item in items.split_whitespace() {
            if let Some(bytes) = item.strip_prefix("0x") {
                encoder.writer_mut().extend(hex::decode(bytes).unwrap());
                continue;
            }
            match (item, item.parse::<i64>()) {
                ("{", _) => encoder.begin_map(),
                ("[", _) => encoder.begin_array(),
                ("}" | "]", _) => encoder.end(),
                ("true", _) => encoder.bool(true),
                ("null", _) => encoder.null(),
                (_, Ok(number)) => encoder.i64(number),
                _ => encoder.str(item),
            }
            .unwrap();
        }
        encoder.into_writer()
    }

    #[test]
    fn items_are_replaced_where_they_stand() {
        for (body, expected, paths) in [
            ("{ }", "{ }", &[][..]),
            ("0xa0", "0xa0", &[]),
            ("null", "null", &[]),
            ("{ Secret s }", "{ Secret masked-by-guard }", &["Secret"]),
            // A map of one entry that says so, a text in pieces, keys in pieces.
            (
                "0xa1 0x7f6353656363726574ff 0x7f61736174ff",
                "0xa1 0x7f6353656363726574ff masked-by-guard",
                &["Secret"],
            ),
            // All else stays: lengths that could be shorter, half, single and double floats, bignums, bytes.
            (
                "{ a 0x1b0000000000000001 b 0xf93e00 c 0xfa3fc00000 d 0xfb3ff8000000000000 e 0xc249010000000000000000 \
                 f 0x4101 g 0x5f41014102ff h 0xf7 i [ 1 { j k } ] Secret s }",
                "{ a 0x1b0000000000000001 b 0xf93e00 c 0xfa3fc00000 d 0xfb3ff8000000000000 e 0xc249010000000000000000 \
                 f 0x4101 g 0x5f41014102ff h 0xf7 i [ 1 { j k } ] Secret masked-by-guard }",
                &["Secret"],
            ),
            // Each occurrence.
            (
                "{ Secret s secret s Secret t }",
                "{ Secret masked-by-guard secret s Secret masked-by-guard }",
                &["Secret"],
            ),
            // By the model's types.
            (
                "{ Binary 0x420102 Pin 1234 Flag true When 0xc1fb41d9000000000000 }",
                "{ Binary 0x4f6d61736b65642d62792d6775617264 Pin 0 Flag 0xf4 When 0xc100 }",
                &["Binary", "Pin", "Flag", "When"],
            ),
            // Not what the model says, but nothing is left of it.
            (
                "{ Secret { a s } Secret [ s ] Secret 0xc16173 }",
                "{ Secret masked-by-guard Secret masked-by-guard Secret masked-by-guard }",
                &["Secret"],
            ),
            (
                "{ Secret null Credentials 0xf7 Parameters null Email a@b }",
                "{ Secret null Credentials 0xf7 Parameters null Email a@b }",
                &[],
            ),
            (
                "{ Parameters [ { Name n Value v } null { Value w } ] Secrets { a s b null } Tokens 0x82 t u }",
                "{ Parameters [ { Name n Value masked-by-guard } null { Value masked-by-guard } ] \
                 Secrets { a masked-by-guard b null } Tokens 0x82 masked-by-guard masked-by-guard }",
                &["Parameters[].Value", "Secrets.*", "Tokens[]"],
            ),
            // Masked whole: by the model where it speaks, else by type; names stay.
            (
                "{ Credentials { SecretAccessKey s Expiration 1 X [ 1 y { z true } ] B 0x4100 D 0xc11a00000001 \
                 E 0xc24101 F 0xd8206147 } }",
                "{ Credentials { SecretAccessKey masked-by-guard Expiration 0xc100 X [ 0 masked-by-guard { z 0xf4 } ] \
                 B 0x4f6d61736b65642d62792d6775617264 D 0xc100 E 0 F masked-by-guard } }",
                &["Credentials"],
            ),
        ] {
            let (after, found) =
                masked(&cbor(body)).unwrap_or_else(|error| panic!("{body}: {error}"));
            assert_eq!(hex::encode(after), hex::encode(cbor(expected)), "{body}");
            assert_eq!(found, paths, "{body}");
        }
    }

    #[test]
    fn what_cannot_be_masked_for_sure_is_an_error_that_quotes_nothing() {
        let nested =
            |levels: usize| format!("{{ x {} {} }}", "[ ".repeat(levels), "] ".repeat(levels));
        for (body, expected) in [
            ("", "it ends too early"),
            ("{ Secret hunter2", "it ends too early"),
            ("0xa2 Secret hunter2", "it ends too early"),
            ("0xa1 Secret hunter2 0", "something follows its end"),
            ("0xa1 1 hunter2", "a key is not text"),
            ("{ Secret 0x62ffff }", "syntax error"),
            ("{ Secret 0x7f4161ff }", "syntax error"),
            ("{ a 0x5f6161ff }", "syntax error"),
            ("{ a 0xe0 }", "no item of RPC v2"),
            ("{ a 0xfc }", "no item of RPC v2"),
            ("{ Secret }", "no item of RPC v2"),
            ("0x9bffffffffffffffff", "Contradiction"),
            ("{ a 0xbbffffffffffffffff }", "a key is not text"),
            ("{ a 0x9bffffffffffffffff }", "no item of RPC v2"),
            ("[ Secret hunter2 ]", "Contradiction"),
            ("{ Parameters hunter2 }", "Contradiction"),
            (&nested(DEPTH + 1), "TooDeep"),
        ] {
            let error = masked(&cbor(body)).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(said.contains(expected), "{body}: {said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        assert!(masked(&cbor(&nested(DEPTH))).is_ok());
    }

    #[test]
    fn a_replacement_is_the_text_of_every_format() {
        let text = super::super::replacement::TEXT;
        assert_eq!(Decoder::new(TEXT).str().unwrap(), text);
        assert_eq!(Decoder::new(BLOB).bytes().unwrap(), text.as_bytes());
    }

    proptest! {
        #[test]
        fn never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = masked(&body);
        }

        #[test]
        fn whatever_is_changed_in_an_answer_it_stays_a_document(
            at in 0usize..90,
            with in prop::collection::vec(any::<u8>(), 0..4),
            cut in 0usize..4,
        ) {
            let body = cbor("{ Parameters [ { Name n Value hunter2hunter2 } ] Secrets { a hunter2hunter2 } Tree { Left { } } }");
            let at = at.min(body.len());
            let end = (at + cut).min(body.len());
            let changed = [&body[..at], &with, &body[end..]].concat();
            if let Ok((after, _)) = masked(&changed) {
                let mut decoder = Decoder::new(&after);
                prop_assert!(decoder.skip().is_ok());
                prop_assert_eq!(decoder.position(), after.len());
            }
        }
    }
}
