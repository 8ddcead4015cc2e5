//! TOML values with the places of all that is in them.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use crate::policy::written::{Placed, Value};

impl<T> From<Spanned<T>> for Placed<T> {
    fn from(spanned: Spanned<T>) -> Self {
        Self::new(spanned.span(), spanned.into_inner())
    }
}

// By hand: an untagged enum would lose the elements' places.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, number, boolean, list or table; quote dates")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Number(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Number(value.to_string()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
                let mut list = Vec::new();
                while let Some(element) = elements.next_element::<Spanned<Value>>()? {
                    list.push(element.into());
                }
                Ok(Value::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut table: Vec<(Placed<String>, Placed<Value>)> = Vec::new();
                while let Some((key, value)) =
                    map.next_entry::<Spanned<String>, Spanned<Value>>()?
                {
                    table.push((key.into(), value.into()));
                }
                // The parser sorts by key.
                table.sort_by_key(|(key, _)| key.at.start);
                Ok(Value::Table(table))
            }
        }

        deserializer.deserialize_any(Any)
    }
}
