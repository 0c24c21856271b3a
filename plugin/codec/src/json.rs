//! Takes the text of one JSON object, gives its fields, tags, and the text with tags spliced in. Numbers are not parsed
//! on the way: `1e999` and 40 digits leave as they came. Must not know: msgpack, hosts.

mod repair;

use std::{borrow::Cow, fmt};

use oddline_engine::{Profile, Scalar, Visitor};
use serde::{
    Deserializer as _, Serialize,
    de::{self, MapAccess},
};
use serde_json::value::RawValue;

pub use self::repair::repair;
use crate::{
    Edit, MARKER_KEY, MAX_DEPTH, MAX_FIELDS, TagStyle, Tags, Unreadable,
    edit::{Layout, Pair, Part},
};

/// Shows an object's fields to a visitor, at most [`MAX_FIELDS`] of them and [`MAX_DEPTH`] levels.
///
/// # Errors
/// If the text is not one whole JSON object; what has been shown until then is to be forgotten.
pub fn walk<'a>(text: &'a [u8], visitor: &mut dyn Visitor<'a>) -> Result<(), Unreadable> {
    let mut budget = MAX_FIELDS;
    fields(utf8(text)?, 1, &mut budget, visitor)
}

/// Recurses only as deep as [`MAX_DEPTH`], and only where the visitor enters.
fn fields<'a>(
    text: &'a str,
    depth: usize,
    budget: &mut usize,
    visitor: &mut dyn Visitor<'a>,
) -> Result<(), Unreadable> {
    object(text, &mut |key, value| {
        let Some(left) = budget.checked_sub(1) else { return Ok(()) };
        *budget = left;
        let key = unquoted(key)?;
        let scalar = match value.as_bytes() {
            [b'{', ..] if depth < MAX_DEPTH && visitor.enter(&key) => {
                fields(value, depth.saturating_add(1), budget, visitor)?;
                visitor.leave();
                return Ok(());
            }
            [b'{', ..] => return Ok(()),
            [b'"', ..] => Scalar::Text(unquoted(value)?),
            [b't', ..] => Scalar::Bool(true),
            [b'f', ..] => Scalar::Bool(false),
            [b'-' | b'0'..=b'9', ..] => match value.parse() {
                Ok(whole) => Scalar::Int(whole),
                Err(_) => value.parse().map_or(Scalar::Null, Scalar::Float),
            },
            _ => Scalar::Null,
        };
        visitor.scalar(&key, scalar);
        Ok(())
    })
}

/// Appends the object with an edit made: what stays is copied as it is written, spaces and escapes included.
///
/// # Errors
/// If the text is not one whole JSON object; `out` is then as it was.
pub fn splice(text: &[u8], edit: &Edit<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let whole = utf8(text)?;
    let plan = edit.plan(|each| pairs(whole, each))?;
    let (style, range) = (edit.style, plan.layout.pairs.clone());
    out.extend_from_slice(text.get(..range.start).unwrap_or_default());
    let start = out.len();
    plan.parts(text, |part| match part {
        Part::Bytes(bytes) => {
            // A pair's bytes begin with its comma: too much where all pairs before it left.
            let is_first = out.len() == start;
            let without = bytes.trim_ascii_start().strip_prefix(b",").filter(|_| is_first);
            out.extend_from_slice(without.unwrap_or(bytes));
        }
        Part::Key(key) => write(key, out),
    });
    let mut comma = if plan.kept() == 0 { "" } else { "," };
    let mut field = |key: &dyn fmt::Display, out: &mut Vec<u8>| {
        out.extend_from_slice(comma.as_bytes());
        comma = ",";
        write(&Shown(key), out);
        out.push(b':');
    };
    if let Some(tags) = edit.written_tags() {
        let mut shown =
            tags.fields(style.detail).map(|(field, value)| (style.name(field), style.rendered(field, value)));
        if style.profile == Profile::Nested {
            field(&style.key, out);
            let mut separator = b'{';
            for (name, value) in shown {
                out.push(separator);
                separator = b',';
                write(&Shown(&name), out);
                out.push(b':');
                write(&value, out);
            }
            out.push(b'}');
        } else {
            shown.by_ref().for_each(|(name, value)| {
                field(&name, out);
                write(&value, out);
            });
        }
    }
    if let Some(marker) = edit.marker {
        field(&MARKER_KEY, out);
        write(marker, out);
    }
    out.extend_from_slice(text.get(range.end..).unwrap_or_default());
    Ok(())
}

/// The tags under `key`, nested. None if there are none, or none that could be ours.
pub fn read_tags(text: &[u8], key: &str) -> Option<Tags> {
    serde_json::from_str(value_of(utf8(text).ok()?, key)?).ok()
}

/// The tags of a finished record, in whatever profile.
pub fn read_styled_tags(text: &[u8], style: &TagStyle) -> Option<Tags> {
    if style.profile == Profile::Nested {
        return read_tags(text, &style.key);
    }
    let mut gathered = String::from("{");
    object(utf8(text).ok()?, &mut |key, value| {
        if let Some(field) = style.field(&unquoted(key)?) {
            let comma = if gathered.len() > 1 { "," } else { "" };
            gathered.extend([comma, "\"", style.gathered(field), "\":", value]);
        }
        Ok(())
    })
    .ok()?;
    gathered.push('}');
    serde_json::from_str(&gathered).ok()
}

/// The marker on a record, if it has one; see [`crate::marker::verify`].
pub fn read_marker(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    unquoted(value_of(utf8(text).ok()?, MARKER_KEY)?).ok()
}

/// The text of the value under a top-level key. Of several the last, since what we add stands last.
fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut found = None;
    object(text, &mut |raw, value| {
        if *unquoted(raw)? == *key.as_bytes() {
            found = Some(value);
        }
        Ok(())
    })
    .ok()?;
    found
}

fn utf8(text: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(text)
        .map_err(|error| Unreadable { offset: error.valid_up_to(), reason: "invalid UTF-8" })
}

fn pairs(text: &str, each: &mut dyn FnMut(Pair<'_>)) -> Result<Layout, Unreadable> {
    let offset = |part: &str| (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let first = text.find('{').map_or(0, |brace| brace.saturating_add(1));
    let (mut count, mut start) = (0usize, first);
    object(text, &mut |key, value| {
        let (key_start, value_start) = (offset(key), offset(value));
        let end = value_start.saturating_add(value.len());
        let key_span = key_start..key_start.saturating_add(key.len());
        each(Pair { key: &unquoted(key)?, start, key_span, end });
        count = count.saturating_add(1);
        start = end;
        Ok(())
    })?;
    Ok(Layout { pairs: first..start, count })
}

type EachPair<'f, 'a> = dyn FnMut(&'a str, &'a str) -> Result<(), Unreadable> + 'f;

/// Calls back with every pair of an object, key and value as they are written. Nesting costs no stack.
fn object<'a>(text: &'a str, each: &mut EachPair<'_, 'a>) -> Result<(), Unreadable> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let mut outcome = Ok(());
    reader
        .deserialize_map(Pairs { each, outcome: &mut outcome })
        .and_then(|()| reader.end())
        .map_err(|error| Unreadable { offset: byte_offset(text, &error), reason: "not a JSON object" })?;
    outcome
}

fn byte_offset(text: &str, error: &serde_json::Error) -> usize {
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    lines.map(str::len).fold(error.column(), usize::saturating_add)
}

struct Pairs<'f, 'e, 'a> {
    each: &'f mut EachPair<'e, 'a>,
    outcome: &'f mut Result<(), Unreadable>,
}

impl<'a> de::Visitor<'a> for Pairs<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            if self.outcome.is_ok() {
                *self.outcome = (self.each)(key.get(), value.get());
            }
        }
        Ok(())
    }
}

/// The text of a JSON string; borrowed unless something is escaped. A lone surrogate is refused: many parsers do too.
fn unquoted(raw: &str) -> Result<Cow<'_, [u8]>, Unreadable> {
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(raw);
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner.as_bytes()));
    }
    serde_json::from_str::<String>(raw)
        .map(|text| Cow::Owned(text.into_bytes()))
        .map_err(|_| Unreadable { offset: 0, reason: "string with a lone surrogate" })
}

/// Writes any of our values; a Vec takes all bytes and none of them is a map with odd keys, so this cannot fail.
fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, value);
}

/// A key in parts, written as one string.
struct Shown<'a>(&'a dyn fmt::Display);

impl Serialize for Shown<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

#[cfg(test)]
mod tests;
