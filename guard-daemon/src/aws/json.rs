//! JSON bodies, read strictly: a member given twice is refused, because which one AWS takes is not known.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};

/// A JSON value. Numbers are never names of resources, so their digits are not kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// Elements.
    List(Vec<Json<'a>>),
    /// Members, each name once.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
    /// Null, a boolean or a number.
    Other,
}

/// What reading a body gave.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Parsed<'a> {
    /// One value.
    Value(Json<'a>),
    /// Not JSON, or nested too deep: AWS may read it otherwise, so nothing is known.
    Malformed,
    /// A member is given twice.
    Repeated,
}

/// Reads a whole body.
pub(super) fn parse(body: &[u8]) -> Parsed<'_> {
    match serde_json::from_slice(body) {
        Ok(value) => Parsed::Value(value),
        Err(error) if error.to_string().starts_with(REPEATED) => Parsed::Repeated,
        Err(_) => Parsed::Malformed,
    }
}

impl<'a> Json<'a> {
    /// A member of an object.
    pub(super) fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.members()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// Text.
    pub(super) fn text(&self) -> Option<&str> {
        if let Json::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// A list's elements; none where this is no list.
    pub(super) fn elements(&self) -> &[Json<'a>] {
        if let Json::List(elements) = self {
            elements
        } else {
            &[]
        }
    }

    /// An object's members; none where this is no object.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        let members = if let Json::Object(members) = self {
            members.as_slice()
        } else {
            &[]
        };
        members.iter().map(|(name, value)| (name.as_ref(), value))
    }
}

const REPEATED: &str = "repeated member";

struct Reader;

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Json<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json<'de>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            elements.push(element);
        }
        Ok(Json::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json<'de>, A::Error> {
        let mut members: Vec<(Cow<'de, str>, Json<'de>)> = Vec::new();
        while let Some((Name(name), value)) = object.next_entry()? {
            members.push((name, value));
        }
        // Large objects are sorted by reference: the check stays n log n on bodies an agent chose.
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(de::Error::custom(REPEATED));
        }
        Ok(Json::Object(members))
    }
}

/// A name, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::Text(text) => Ok(Name(text)),
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
        assert_eq!(value.get("a").and_then(Json::text), Some("x"));
        assert_eq!(
            value.get("b").unwrap().elements()[0]
                .get("c")
                .and_then(Json::text),
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
