//! JSON bodies, read strictly: a member given twice is refused, because which one AWS takes is not known.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};

use super::value::{Parsed, Value, repeats};

/// Reads a whole body.
pub(super) fn parse(body: &[u8]) -> Parsed<'_> {
    match serde_json::from_slice(body) {
        Ok(value) => Parsed::Value(value),
        Err(error) if error.to_string().starts_with(REPEATED) => Parsed::Repeated,
        Err(_) => Parsed::Malformed,
    }
}

const REPEATED: &str = "repeated member";

struct Reader;

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Value<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value<'de>, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value<'de>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            elements.push(element);
        }
        Ok(Value::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value<'de>, A::Error> {
        let mut members: Vec<(Cow<'de, str>, Value<'de>)> = Vec::new();
        while let Some((Name(name), value)) = object.next_entry()? {
            members.push((name, value));
        }
        if repeats(&members) {
            return Err(de::Error::custom(REPEATED));
        }
        Ok(Value::Object(members))
    }
}

/// A name, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Text(text) => Ok(Name(text)),
            _ => Err(de::Error::custom("a name that is not text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_and_refuses() {
        let Parsed::Value(value) = parse(br#"{"a":"x","b":[{"c":"y\n"}],"n":1.5}"#) else {
            panic!("valid")
        };
        assert_eq!(value.get("a").and_then(Value::text), Some("x"));
        assert_eq!(
            value.get("b").unwrap().elements()[0]
                .get("c")
                .and_then(Value::text),
            Some("y\n")
        );
        assert_eq!(parse(br#"{"a":1,"a":2}"#), Parsed::Repeated);
        assert_eq!(parse(br#"{"b":[{"a":1,"\u0061":2}]}"#), Parsed::Repeated);
        assert_eq!(parse(b"{} {}"), Parsed::Malformed);
        assert_eq!(parse(b"{\"a\":\"\xff\"}"), Parsed::Malformed);
        assert_eq!(parse("[".repeat(100_000).as_bytes()), Parsed::Malformed);
    }

    proptest! {
        #[test]
        fn never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&body);
        }
    }
}
