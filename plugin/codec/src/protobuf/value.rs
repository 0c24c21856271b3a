//! Vector's values: what kind one is, the entries of a map, and a value as JSON. Nesting costs nothing but in
//! [`to_json`], which has a limit.

use super::wire::{Wire, fields};
use crate::Unreadable;

/// Deepest nesting of tags that are read; ours have two levels.
const MAX_JSON_DEPTH: usize = 8;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind<'a> {
    Bytes(&'a [u8]),
    Time(&'a [u8]),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// Its entries.
    Map(&'a [u8]),
    /// Its items.
    Array(&'a [u8]),
    Null,
    /// Of a newer version, or nothing at all.
    Other,
}

/// What kind a value is. Of several the last counts, as readers have it.
pub(super) fn kind(value: &[u8]) -> Result<Kind<'_>, Unreadable> {
    let mut found = Kind::Other;
    for field in fields(value) {
        let field = field?;
        found = match (field.number, field.value) {
            (1, Wire::Bytes(bytes)) => Kind::Bytes(bytes),
            (2, Wire::Bytes(time)) => Kind::Time(time),
            (4, Wire::Varint(number)) => Kind::Integer(number.cast_signed()),
            (5, Wire::Fixed64(bits)) => Kind::Float(f64::from_bits(bits)),
            (6, Wire::Varint(number)) => Kind::Bool(number != 0),
            (7, Wire::Bytes(map)) => Kind::Map(map),
            (8, Wire::Bytes(array)) => Kind::Array(array),
            (9, Wire::Varint(_)) => Kind::Null,
            (1..=9, _) => return Err(Unreadable { offset: field.start, reason: "value of another type" }),
            _ => found,
        };
    }
    Ok(found)
}

/// A key and its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    /// Where in the map it stands.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The entries of a map, which are its fields 1; other fields of the message are none.
pub(super) fn entries(map: &[u8]) -> impl Iterator<Item = Result<Entry<'_>, Unreadable>> {
    fields(map).filter_map(|field| {
        let field = match field {
            Ok(field) if field.number == 1 => field,
            Ok(_) => return None,
            Err(error) => return Some(Err(error)),
        };
        let mut entry = Entry { key: b"", value: b"", start: field.start, end: field.end };
        for part in fields(field.bytes().unwrap_or_default()) {
            match part {
                Ok(part) => match (part.number, part.value) {
                    (1, Wire::Bytes(key)) => entry.key = key,
                    (2, Wire::Bytes(value)) => entry.value = value,
                    _ => {}
                },
                Err(error) => {
                    let offset = field.start.saturating_add(error.offset);
                    return Some(Err(Unreadable { offset, ..error }));
                }
            }
        }
        Some(Ok(entry))
    })
}

/// A value as JSON: for tags, so times become null. None past the limit, and for what JSON does not have.
pub(super) fn to_json(value: &[u8]) -> Option<serde_json::Value> {
    json(value, MAX_JSON_DEPTH)
}

fn json(value: &[u8], depth: usize) -> Option<serde_json::Value> {
    let depth = depth.checked_sub(1)?;
    Some(match kind(value).ok()? {
        Kind::Bytes(text) => std::str::from_utf8(text).ok()?.into(),
        Kind::Integer(number) => number.into(),
        Kind::Float(number) => number.into(),
        Kind::Bool(truth) => truth.into(),
        Kind::Time(_) | Kind::Null | Kind::Other => serde_json::Value::Null,
        Kind::Map(map) => {
            let pair = |entry: Result<Entry<'_>, Unreadable>| {
                let entry = entry.ok()?;
                Some((std::str::from_utf8(entry.key).ok()?.to_owned(), json(entry.value, depth)?))
            };
            serde_json::Value::Object(entries(map).map(pair).collect::<Option<_>>()?)
        }
        Kind::Array(items) => {
            let item = |field: Result<super::Field<'_>, Unreadable>| json(field.ok()?.bytes_of(1)?, depth);
            serde_json::Value::Array(fields(items).map(item).collect::<Option<_>>()?)
        }
    })
}
