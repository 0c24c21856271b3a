//! Takes a Fluent Bit chunk or one msgpack body, gives events, fields, tags, and the body with tags spliced in.
//! Must not know: JSON, hosts.

mod cursor;
mod events;

use oddline_engine::{Body, MAX_ITEMS, Profile, Scalar, Visitor};

use self::cursor::{Cursor, Token};
pub use self::events::{Event, EventKind, Events, Malformed, events, write_head};
use crate::{
    Edit, MARKER_KEY, MAX_DEPTH, MAX_FIELDS, Outline, TagStyle, Tags, Unreadable,
    edit::{Layout, Pair, Part},
    profile::Name,
    summary::from_msgpack,
    tags::{Brief, Value},
};

/// Deepest nesting of tags that are read; ours have two levels.
const MAX_TAG_DEPTH: usize = 8;

/// Shows a body's fields to a visitor, at most [`MAX_FIELDS`] of them and [`MAX_DEPTH`] levels; gives where they lie.
/// Keys that are no text are left out.
///
/// # Errors
/// If the body is no map or is cut short; what has been shown until then is to be forgotten.
pub fn walk<'a>(body: &'a [u8], visitor: &mut dyn Visitor<'a>) -> Result<Outline, Unreadable> {
    let mut cursor = Cursor::new(body);
    let pairs = map(&mut cursor)?;
    let first = cursor.offset();
    let mut budget = MAX_FIELDS;
    fields(&mut cursor, pairs, 1, &mut budget, visitor)?;
    let is_whole = budget > 0 && cursor.is_at_end();
    let count = usize::try_from(pairs).unwrap_or(usize::MAX);
    Ok(Outline { layout: Layout { pairs: first..cursor.offset(), count }, is_whole })
}

/// A record that was walked once without a fault, to be walked again by others.
#[derive(Clone, Copy, Debug)]
pub struct Walked<'r>(pub &'r [u8]);

impl Body for Walked<'_> {
    fn walk<'a>(&'a self, visitor: &mut dyn Visitor<'a>) {
        // What has a fault after all is shown up to it.
        let _ = walk(self.0, visitor);
    }
}

fn map(cursor: &mut Cursor<'_>) -> Result<u32, Unreadable> {
    match cursor.token()? {
        Token::Map(pairs) => Ok(pairs),
        _ => Err(Unreadable { offset: 0, reason: "not a map" }),
    }
}

/// Recurses only as deep as [`MAX_DEPTH`].
fn fields<'a>(
    cursor: &mut Cursor<'a>,
    pairs: u32,
    depth: usize,
    budget: &mut usize,
    visitor: &mut dyn Visitor<'a>,
) -> Result<(), Unreadable> {
    for _ in 0..pairs {
        let Some(left) = budget.checked_sub(1) else { return Ok(()) };
        *budget = left;
        let Some(key) = key(cursor)? else {
            cursor.skip()?;
            continue;
        };
        let token = cursor.token()?;
        let value = match token {
            Token::Map(pairs) if depth < MAX_DEPTH && visitor.enter(key) => {
                fields(cursor, pairs, depth.saturating_add(1), budget, visitor)?;
                visitor.leave();
                continue;
            }
            Token::Map(pairs) => {
                cursor.skip_items(u64::from(pairs).saturating_mul(2))?;
                continue;
            }
            Token::Array(count) if depth < MAX_DEPTH && visitor.enter_list(key) => {
                items(cursor, count, depth.saturating_add(1), budget, visitor)?;
                visitor.leave();
                continue;
            }
            Token::Array(count) => {
                cursor.skip_items(count.into())?;
                Scalar::Opaque
            }
            leaf => scalar(leaf),
        };
        visitor.scalar(key, value);
    }
    Ok(())
}

/// The elements of a list, as deep as [`MAX_DEPTH`]; what lies beyond a limit is stepped over.
fn items<'a>(
    cursor: &mut Cursor<'a>,
    count: u32,
    depth: usize,
    budget: &mut usize,
    visitor: &mut dyn Visitor<'a>,
) -> Result<(), Unreadable> {
    for number in 0..count {
        if *budget == 0 {
            return Ok(());
        }
        if number as usize >= MAX_ITEMS {
            return cursor.skip_items(u64::from(count).saturating_sub(number.into()));
        }
        *budget = budget.saturating_sub(1);
        match cursor.token()? {
            Token::Map(pairs) if depth < MAX_DEPTH => {
                fields(cursor, pairs, depth.saturating_add(1), budget, visitor)?;
            }
            Token::Map(pairs) => cursor.skip_items(u64::from(pairs).saturating_mul(2))?,
            Token::Array(inner) if depth < MAX_DEPTH => {
                items(cursor, inner, depth.saturating_add(1), budget, visitor)?;
            }
            Token::Array(inner) => cursor.skip_items(inner.into())?,
            leaf => visitor.item(scalar(leaf)),
        }
    }
    Ok(())
}

/// A leaf; of maps and lists, only that they are there.
fn scalar(token: Token<'_>) -> Scalar<'_> {
    match token {
        Token::Nil => Scalar::Null,
        Token::Map(_) | Token::Array(_) | Token::Ext(..) => Scalar::Opaque,
        Token::Bool(value) => Scalar::Bool(value),
        Token::Int(value) => Scalar::Int(value),
        Token::Big(value) => Scalar::Float(value as f64),
        Token::Float(value) => Scalar::Float(value),
        Token::Text(value) => Scalar::Text(value.into()),
    }
}

/// Steps over a key of any type; none if it is no text.
#[inline]
fn key<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, Unreadable> {
    match cursor.token()? {
        Token::Text(key) => Ok(Some(key)),
        Token::Array(items) => cursor.skip_items(items.into()).map(|()| None),
        Token::Map(pairs) => cursor.skip_items(u64::from(pairs).saturating_mul(2)).map(|()| None),
        _ => Ok(None),
    }
}

/// Appends the body with an edit made: pairs that stay are copied, and only the map's header is written anew.
///
/// # Errors
/// If the body is not one whole map; `out` is then as it was.
pub fn splice(body: &[u8], edit: &Edit<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let plan = edit.plan(|each| pairs(body, each))?;
    let (style, tags) = (edit.style, edit.written_tags());
    let added = tags.map_or(0, |tags| added(style, tags));
    let count = plan.kept().saturating_add(added).saturating_add(usize::from(edit.marker.is_some()));
    let count = u32::try_from(count).map_err(|_| Unreadable {
        offset: plan.layout.pairs.end,
        reason: "more pairs than a map can hold",
    })?;
    map_header(count, out);
    plan.parts(body, |part| match part {
        Part::Bytes(bytes) => out.extend_from_slice(bytes),
        Part::Key(key) => write_text(key, out),
    });
    tags.into_iter().for_each(|tags| append_tags(style, tags, out));
    if let Some(marker) = edit.marker {
        write_text(MARKER_KEY, out);
        write_text(marker, out);
    }
    Ok(())
}

/// Appends a body with tags added, without reading it again: for one that [`walk`] has shown to bring no key along that
/// [`TagStyle::reserves`]. `false`, and nothing appended, if the outline does not say enough for that.
pub fn append(body: &[u8], outline: &Outline, style: &TagStyle, tags: &Tags, out: &mut Vec<u8>) -> bool {
    let Some(pairs) = body.get(outline.layout.pairs.clone()).filter(|_| outline.is_whole) else {
        return false;
    };
    let tags = Some(tags).filter(|tags| style.writes(tags));
    let added = tags.map_or(0, |tags| added(style, tags));
    let Ok(count) = u32::try_from(outline.layout.count.saturating_add(added)) else { return false };
    map_header(count, out);
    out.extend_from_slice(pairs);
    tags.into_iter().for_each(|tags| append_tags(style, tags, out));
    true
}

/// How many pairs the tags are.
fn added(style: &TagStyle, tags: &Tags) -> usize {
    if style.profile == Profile::Nested { 1 } else { tags.count(style.detail) }
}

fn append_tags(style: &TagStyle, tags: &Tags, out: &mut Vec<u8>) {
    if style.profile == Profile::Nested {
        write_text(&style.key, out);
        if let Some(brief) = tags.brief(style.detail) {
            return write_brief(&brief, out);
        }
        map_header(u32::try_from(tags.count(style.detail)).unwrap_or_default(), out);
    }
    for (field, value) in tags.fields(style.detail) {
        write_name(style.name(field), out);
        write_value(style.rendered(field, value), out);
    }
}

fn pairs(body: &[u8], each: &mut dyn FnMut(Pair<'_>)) -> Result<Layout, Unreadable> {
    let mut cursor = Cursor::new(body);
    let count = map(&mut cursor)?;
    let first = cursor.offset();
    for _ in 0..count {
        let start = cursor.offset();
        let key = key(&mut cursor)?.unwrap_or_default();
        let key_span = start..cursor.offset();
        cursor.skip()?;
        each(Pair { key, start, key_span, end: cursor.offset() });
    }
    if !cursor.is_at_end() {
        return Err(cursor.unreadable("bytes after the map"));
    }
    Ok(Layout { pairs: first..cursor.offset(), count: usize::try_from(count).unwrap_or(usize::MAX) })
}

/// The tags under `key` as every profile carries them on the detour: nested. None if there are none, or none that could
/// be ours.
pub fn read_tags(body: &[u8], key: &str) -> Option<Tags> {
    from_msgpack(value_of(body, key)?, MAX_TAG_DEPTH)
}

/// The tags of a finished record, in whatever profile.
pub fn read_styled_tags(body: &[u8], style: &TagStyle) -> Option<Tags> {
    if style.profile == Profile::Nested {
        return read_tags(body, &style.key);
    }
    // Gathered into the nested form, from the same bytes.
    let (mut count, mut gathered) = (0u32, Vec::new());
    pairs(body, &mut |pair| {
        if let Some(field) = style.field(pair.key) {
            count = count.saturating_add(1);
            write_text(style.gathered(field), &mut gathered);
            gathered.extend_from_slice(body.get(pair.key_span.end..pair.end).unwrap_or_default());
        }
    })
    .ok()?;
    let mut map = Vec::new();
    map_header(count, &mut map);
    map.append(&mut gathered);
    from_msgpack(&map, MAX_TAG_DEPTH)
}

/// The marker on a record, if it has one; see [`crate::marker::verify`].
pub fn read_marker(body: &[u8]) -> Option<&[u8]> {
    match Cursor::new(value_of(body, MARKER_KEY)?).token() {
        Ok(Token::Text(marker)) => Some(marker),
        _ => None,
    }
}

/// The bytes of the value under a top-level key. Of several the last, since what we add stands last.
pub(crate) fn value_of<'a>(body: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut found = None;
    pairs(body, &mut |pair| {
        if pair.key == key.as_bytes() {
            found = body.get(pair.key_span.end..pair.end);
        }
    })
    .ok()?;
    found
}

fn map_header(count: u32, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = rmp::encode::write_map_len(out, count);
}

pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    let _ = rmp::encode::write_str(out, text);
}

fn write_name(name: Name<'_>, out: &mut Vec<u8>) {
    // A call to copy nothing takes as long as one that copies a word.
    if let Some(word) = name.whole() {
        return write_text(word, out);
    }
    let _ = rmp::encode::write_str_len(out, u32::try_from(name.len()).unwrap_or_default());
    name.0.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
}

/// The nested object of a record that is not flagged: its keys as they are encoded.
fn write_brief(tags: &Brief<'_>, out: &mut Vec<u8>) {
    let number = |key: &[u8], number: f64, out: &mut Vec<u8>| {
        out.extend_from_slice(key);
        out.extend_from_slice(&number.to_be_bytes());
    };
    map_header(u32::try_from(tags.count()).unwrap_or_default(), out);
    number(b"\xa5score\xcb", tags.score, out);
    out.extend_from_slice(b"\xa5level\xa4none\xabtemplate_id\xb0");
    out.extend_from_slice(&tags.template_id.hex());
    if let Some((rule, in_full)) = tags.rule {
        out.extend_from_slice(b"\xa4rule");
        write_text(rule, out);
        if let Some((category, score)) = in_full {
            out.extend_from_slice(b"\xa8category");
            write_text(category, out);
            number(b"\xaarule_score\xcb", score, out);
        }
    }
}

fn write_value(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Number(number) => {
            let _ = rmp::encode::write_f64(out, number);
        }
        Value::Text(text) => write_text(text, out),
        Value::Id(id) => {
            let _ = rmp::encode::write_str_len(out, 16);
            out.extend_from_slice(&id.hex());
        }
        Value::Flags(flags) => {
            let _ = rmp::encode::write_array_len(out, u32::try_from(flags.len()).unwrap_or_default());
            flags.iter().for_each(|flag| write_text(flag.as_str(), out));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
