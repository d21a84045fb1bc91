//! JSON in which no name is doubled: two readers of a doubled name could see two things.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// A value; none if an object of it, however deep, has a name twice.
pub(super) struct Unique(pub(super) Option<Value>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique(Some(Value::Null)))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Unique, E> {
        Ok(Unique(Some(value.into())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Unique, E> {
        Ok(Unique(Some(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Unique, E> {
        Ok(Unique(Some(value.into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Unique, E> {
        Ok(Unique(Some(value.into())))
    }

    fn visit_str<E>(self, value: &str) -> Result<Unique, E> {
        Ok(Unique(Some(value.into())))
    }

    fn visit_string<E>(self, value: String) -> Result<Unique, E> {
        Ok(Unique(Some(value.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Unique, A::Error> {
        let mut list = Some(Vec::new());
        while let Some(Unique(value)) = seq.next_element()? {
            list = list.zip(value).map(|(mut list, value)| {
                list.push(value);
                list
            });
        }
        Ok(Unique(list.map(Value::Array)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
        let mut object = Some(Map::new());
        while let Some((name, Unique(value))) = map.next_entry()? {
            object = object.zip(value).and_then(|(mut object, value)| {
                object.insert(name, value).is_none().then_some(object)
            });
        }
        Ok(Unique(object.map(Value::Object)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_name_twice_is_no_value_and_all_else_is_itself() {
        let read = |text: &str| serde_json::from_str::<Unique>(text).map(|unique| unique.0);
        for text in [
            r#"{"a": [1, -1, 1.5, null, true, "x", {"b": {}, "c": []}], "b": "\u00e9"}"#,
            "[]",
            "\"x\"",
            "18446744073709551615",
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(read(text).unwrap(), Some(value), "{text}");
        }
        for text in [
            r#"{"a": 1, "a": 1}"#,
            r#"[{"a": {"b": [{"c": 1, "\u0063": 2}]}}]"#,
        ] {
            assert_eq!(read(text).unwrap(), None, "{text}");
        }
        assert!(read("{").is_err());
    }
}
