//! JSON bodies, read strictly: a member given twice is refused, because which one AWS takes is not known.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};

use super::value::{MOST, Parsed, Value, add, repeats};

/// Reads a whole body.
pub(super) fn parse(body: &[u8]) -> Parsed<'_> {
    let mut left = MOST;
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = Reader(&mut left).deserialize(&mut json);
    match value.and_then(|value| json.end().map(|()| value)) {
        Ok(value) => Parsed::Value(value),
        Err(error) if error.to_string().starts_with(REPEATED) => Parsed::Repeated,
        Err(_) => Parsed::Malformed,
    }
}

const REPEATED: &str = "repeated member";

/// Reads a value; holds how many more there may be.
struct Reader<'l>(&'l mut usize);

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        let left = self.0.checked_sub(1);
        *self.0 = left.ok_or_else(|| de::Error::custom("too many values"))?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
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
        while let Some(element) = list.next_element_seed(Reader(self.0))? {
            add(&mut elements, element, self.0);
        }
        Ok(Value::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value<'de>, A::Error> {
        let mut members: Vec<(Cow<'de, str>, Value<'de>)> = Vec::new();
        while let Some(name) = object.next_key_seed(Name)? {
            members.push((name, object.next_value_seed(Reader(self.0))?));
        }
        if repeats(&members) {
            return Err(de::Error::custom(REPEATED));
        }
        Ok(Value::Object(members))
    }
}

/// Reads a name, borrowed where it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        match Reader(&mut 1).deserialize(deserializer)? {
            Value::Text(text) => Ok(text),
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

    #[test]
    fn values_are_counted() {
        let list = |element: &str, count| format!("[{}0]", element.repeat(count));
        let most = list("0,", MOST - 2);
        assert!(matches!(parse(most.as_bytes()), Parsed::Value(_)));
        for more in [
            list("0,", MOST - 1),
            list("[],", MOST),
            list("{\"a\":0},", MOST / 2),
        ] {
            assert_eq!(parse(more.as_bytes()), Parsed::Malformed);
        }
        let floats = list("0.5,", 2 * MOST);
        let Parsed::Value(vector) = parse(floats.as_bytes()) else {
            panic!("numbers that are no names are not counted")
        };
        assert_eq!(vector.elements(), [Value::Other, Value::Number(0)]);
    }

    proptest! {
        #[test]
        fn never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&body);
        }
    }
}
