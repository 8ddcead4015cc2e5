//! CBOR bodies (Smithy RPC v2), read strictly: a key given twice is refused.

use std::borrow::Cow;

use minicbor::{
    Decoder,
    data::{Int, Type},
    decode::Error,
};

use super::value::{MOST, Parsed, Value, add, repeats};

/// Nesting beyond any model's.
const DEEPEST: usize = 64;

/// Reads a whole body.
pub(super) fn parse(body: &[u8]) -> Parsed<'_> {
    let mut decoder = Decoder::new(body);
    let mut count = MOST;
    match value(&mut decoder, DEEPEST, &mut count) {
        Ok(value) if decoder.position() == body.len() => Parsed::Value(value),
        Ok(_) | Err(Unreadable::Malformed) => Parsed::Malformed,
        Err(Unreadable::Repeated) => Parsed::Repeated,
    }
}

enum Unreadable {
    Malformed,
    Repeated,
}

impl From<Error> for Unreadable {
    fn from(_: Error) -> Self {
        Self::Malformed
    }
}

/// Reads a value. `count` is how many more there may be.
fn value<'a>(
    decoder: &mut Decoder<'a>,
    depth: usize,
    count: &mut usize,
) -> Result<Value<'a>, Unreadable> {
    let depth = depth.checked_sub(1).ok_or(Unreadable::Malformed)?;
    *count = count.checked_sub(1).ok_or(Unreadable::Malformed)?;
    Ok(match decoder.datatype()? {
        Type::Bool => Value::Flag(decoder.bool()?),
        Type::Null => {
            decoder.null()?;
            Value::Null
        }
        Type::Undefined => {
            decoder.undefined()?;
            Value::Null
        }
        Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::I8
        | Type::I16
        | Type::I32
        | Type::I64
        | Type::Int => {
            let number: Int = decoder.int()?;
            Value::Number(number.into())
        }
        Type::F16 => {
            decoder.skip()?;
            Value::Other
        }
        Type::F32 => {
            decoder.f32()?;
            Value::Other
        }
        Type::F64 => {
            decoder.f64()?;
            Value::Other
        }
        Type::Bytes => {
            decoder.bytes()?;
            Value::Other
        }
        Type::BytesIndef => {
            for piece in decoder.bytes_iter()? {
                piece?;
            }
            Value::Other
        }
        Type::String | Type::StringIndef => Value::Text(text(decoder)?),
        Type::Array | Type::ArrayIndef => {
            let mut left = decoder.array()?;
            let mut elements = Vec::new();
            while more(decoder, &mut left)? {
                let element = value(decoder, depth, count)?;
                add(&mut elements, element, count);
            }
            Value::List(elements)
        }
        Type::Map | Type::MapIndef => {
            let mut left = decoder.map()?;
            let mut members = Vec::new();
            while more(decoder, &mut left)? {
                let name = text(decoder)?;
                members.push((name, value(decoder, depth, count)?));
            }
            if repeats(&members) {
                return Err(Unreadable::Repeated);
            }
            Value::Object(members)
        }
        Type::Tag => {
            decoder.tag()?;
            value(decoder, depth, count)?;
            Value::Other
        }
        _ => return Err(Unreadable::Malformed),
    })
}

/// Whether another element follows; `left` is the announced number of them, if there is one.
fn more(decoder: &mut Decoder<'_>, left: &mut Option<u64>) -> Result<bool, Unreadable> {
    match left {
        Some(0) => Ok(false),
        Some(left) => {
            *left -= 1;
            Ok(true)
        }
        None if decoder.datatype()? == Type::Break => {
            decoder.set_position(decoder.position() + 1);
            Ok(false)
        }
        None => Ok(true),
    }
}

fn text<'a>(decoder: &mut Decoder<'a>) -> Result<Cow<'a, str>, Unreadable> {
    match decoder.datatype()? {
        Type::String => Ok(Cow::Borrowed(decoder.str()?)),
        Type::StringIndef => {
            let mut whole = String::new();
            for piece in decoder.str_iter()? {
                whole.push_str(piece?);
            }
            Ok(Cow::Owned(whole))
        }
        _ => Err(Unreadable::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_and_refuses() {
        // {"a": "x", "b": [1, {"c": null}], "t": 1(0)}, the list indefinite.
        let body = b"\xa3\x61a\x61x\x61b\x9f\x01\xa1\x61c\xf6\xff\x61t\xc1\x00";
        let Parsed::Value(value) = parse(body) else {
            panic!("valid")
        };
        assert_eq!(value.get("a").and_then(Value::text), Some("x"));
        let list = value.get("b").unwrap().elements();
        assert_eq!(list[0], Value::Number(1));
        assert_eq!(list[1].get("c"), Some(&Value::Null));
        assert_eq!(value.get("t"), Some(&Value::Other));
        // {_ "a": (_ "x", "y")}
        let Parsed::Value(value) = parse(b"\xbf\x61a\x7f\x61x\x61y\xff\xff") else {
            panic!("valid")
        };
        assert_eq!(value.get("a").and_then(Value::text), Some("xy"));
        assert_eq!(parse(b"\xa2\x61a\x01\x61a\x02"), Parsed::Repeated);
        for body in [
            &b""[..],
            b"\xa1\x61a",
            b"\xa0\xa0",
            b"\xa1\x01\x02",
            b"\x61\xff",
            b"\xbf\x61a\x01",
            b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xff",
        ] {
            assert_eq!(parse(body), Parsed::Malformed, "{body:x?}");
        }
        assert_eq!(parse(&vec![0x81; 100_000]), Parsed::Malformed);
    }

    #[test]
    fn values_are_counted() {
        let list =
            |element: &[u8], count| [b"\x9f", element.repeat(count).as_slice(), b"\xff"].concat();
        assert!(matches!(parse(&list(b"\x00", MOST - 1)), Parsed::Value(_)));
        for more in [
            list(b"\x00", MOST),
            list(b"\x80", MOST),
            list(b"\xa1\x61a\x00", MOST / 2),
        ] {
            assert_eq!(parse(&more), Parsed::Malformed);
        }
        let floats = list(b"\xf9\x3e\x00", 2 * MOST);
        let Parsed::Value(vector) = parse(&floats) else {
            panic!("numbers that are no names are not counted")
        };
        assert_eq!(vector.elements(), [Value::Other]);
    }

    proptest! {
        #[test]
        fn never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&body);
        }
    }
}
