//! A record in the order in which it is written, read by serde: the second opinion on what a codec shows.

use std::fmt;

use oddline_engine::{MAX_ITEMS, Scalar, Visitor};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor as Reader},
    ser::SerializeMap,
};

/// What both JSON and msgpack can hold.
#[derive(Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Value {
    /// Whether a codec shows all of it, with every list entered.
    pub(crate) fn is_within(&self, fields: &mut usize, depth: usize) -> bool {
        let mut take = |value: &Value| {
            *fields = fields.wrapping_sub(1);
            *fields < usize::MAX / 2 && value.is_within(fields, depth.wrapping_sub(1))
        };
        match self {
            Value::Map(pairs) => depth > 0 && pairs.iter().all(|(_, value)| take(value)),
            Value::List(items) => depth > 0 && items.len() <= MAX_ITEMS && items.iter().all(take),
            _ => depth < usize::MAX / 2,
        }
    }

    /// Whether any number in it may be written in several ways.
    pub(crate) fn has_floats(&self) -> bool {
        match self {
            Value::Float(_) => true,
            Value::List(items) => items.iter().any(Value::has_floats),
            Value::Map(pairs) => pairs.iter().any(|(_, value)| value.has_floats()),
            _ => false,
        }
    }

    /// Shows the fields of a map as a codec should.
    pub(crate) fn show(&self, lines: &mut Lines) {
        let Value::Map(pairs) = self else { return };
        for (key, value) in pairs {
            let key = key.as_bytes();
            match value {
                Value::Map(_) => {
                    lines.enter(key);
                    value.show(lines);
                    lines.leave();
                }
                Value::List(items) => {
                    lines.enter_list(key);
                    items.iter().for_each(|item| item.show_item(lines));
                    lines.leave();
                }
                leaf => lines.scalar(key, leaf.scalar()),
            }
        }
    }

    fn show_item(&self, lines: &mut Lines) {
        match self {
            Value::Map(_) => self.show(lines),
            Value::List(items) => items.iter().for_each(|item| item.show_item(lines)),
            leaf => lines.item(leaf.scalar()),
        }
    }

    fn scalar(&self) -> Scalar<'_> {
        match self {
            Value::Null => Scalar::Null,
            Value::Bool(value) => Scalar::Bool(*value),
            Value::Int(value) => Scalar::Int(*value),
            Value::Float(value) => Scalar::Float(*value),
            Value::Text(text) => Scalar::Text(text.as_bytes().into()),
            Value::List(_) | Value::Map(_) => Scalar::Opaque,
        }
    }
}

/// What a visitor is shown, as lines to compare. Numbers are told to twelve digits: serde_json rounds the last ones.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Lines(Vec<String>);

impl<'a> Visitor<'a> for Lines {
    fn enter(&mut self, key: &[u8]) -> bool {
        self.0.push(format!("{} {{", key.escape_ascii()));
        true
    }

    fn enter_list(&mut self, key: &[u8]) -> bool {
        self.0.push(format!("{} [", key.escape_ascii()));
        true
    }

    fn item(&mut self, value: Scalar<'a>) {
        self.0.push(told(&value));
    }

    fn leave(&mut self) {
        self.0.push("}".to_owned());
    }

    fn scalar(&mut self, key: &[u8], value: Scalar<'a>) {
        self.0.push(format!("{} {}", key.escape_ascii(), told(&value)));
    }
}

fn told(value: &Scalar<'_>) -> String {
    match value {
        Scalar::Float(number) if *number == 0.0 => "Int(0)".to_owned(),
        Scalar::Float(number) => format!("{number:.12e}"),
        other => format!("{other:?}"),
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(items) => serializer.collect_seq(items),
            Value::Map(pairs) => {
                let mut map = serializer.serialize_map(Some(pairs.len()))?;
                pairs.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        struct Any;
        impl<'de> Reader<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Int(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Float(value))
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Value::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Value, A::Error> {
                let mut map = Vec::new();
                while let Some(pair) = pairs.next_entry()? {
                    map.push(pair);
                }
                Ok(Value::Map(map))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
