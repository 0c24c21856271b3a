//! Takes the text of one JSON object, gives its fields, tags, and the text with tags spliced in. Numbers are not parsed
//! on the way: `1e999` and 40 digits leave as they came. Must not know: msgpack, hosts.

mod repair;
mod scan;
mod write;

use std::borrow::Cow;

use oddline_engine::{Body, MAX_ITEMS, Profile, Scalar, Visitor};

pub use self::repair::repair;
use self::scan::Scan;
use crate::{
    Edit, MARKER_KEY, MAX_DEPTH, MAX_FIELDS, Outline, TagStyle, Tags, Unreadable,
    edit::{Layout, Pair, Part},
};

/// Shows an object's fields to a visitor, at most [`MAX_FIELDS`] of them and [`MAX_DEPTH`] levels; gives where they lie.
///
/// # Errors
/// If the text is not one whole JSON object; what has been shown until then is to be forgotten.
pub fn walk<'a>(text: &'a [u8], visitor: &mut dyn Visitor<'a>) -> Result<Outline, Unreadable> {
    let mut scan = Scan::new(text);
    let mut budget = MAX_FIELDS;
    let layout = fields(&mut scan, 1, &mut budget, visitor)?;
    scan.end()?;
    Ok(Outline { layout, is_whole: budget > 0 })
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

/// Recurses only as deep as [`MAX_DEPTH`], and only where the visitor enters.
fn fields<'a>(
    scan: &mut Scan<'a>,
    depth: usize,
    budget: &mut usize,
    visitor: &mut dyn Visitor<'a>,
) -> Result<Layout, Unreadable> {
    each_pair(scan, &mut |key, scan| {
        let Some(left) = budget.checked_sub(1) else { return scan.value().map(drop) };
        *budget = left;
        let key = unquoted(key, scan.is_escaped())?;
        match scan.token() {
            Some(b'"') => {
                let text = scan.quoted()?;
                visitor.scalar(&key, Scalar::Text(unquoted(text, scan.is_escaped())?));
            }
            Some(b'{') if depth < MAX_DEPTH && visitor.enter(&key) => {
                fields(scan, depth.saturating_add(1), budget, visitor)?;
                visitor.leave();
            }
            Some(b'[') if depth < MAX_DEPTH && visitor.enter_list(&key) => {
                items(scan, depth.saturating_add(1), budget, visitor)?;
                visitor.leave();
            }
            _ => {
                let value = scan.value()?;
                if !value.starts_with(b"{") {
                    visitor.scalar(&key, scalar(value, scan.is_escaped())?);
                }
            }
        }
        Ok(())
    })
}

/// The elements of a list, as deep as [`MAX_DEPTH`]; what lies beyond a limit is stepped over.
fn items<'a>(
    scan: &mut Scan<'a>,
    depth: usize,
    budget: &mut usize,
    visitor: &mut dyn Visitor<'a>,
) -> Result<(), Unreadable> {
    scan.require(b'[')?;
    let mut shown = 0;
    let mut more = scan.token() != Some(b']');
    while more {
        let is_shown = shown < MAX_ITEMS && *budget > 0;
        shown = shown.saturating_add(1);
        *budget = budget.saturating_sub(is_shown.into());
        match scan.token() {
            Some(b'{') if is_shown && depth < MAX_DEPTH => {
                fields(scan, depth.saturating_add(1), budget, visitor)?;
            }
            Some(b'[') if is_shown && depth < MAX_DEPTH => {
                items(scan, depth.saturating_add(1), budget, visitor)?;
            }
            _ => {
                let value = scan.value()?;
                if is_shown && !matches!(value, [b'{' | b'[', ..]) {
                    visitor.item(scalar(value, scan.is_escaped())?);
                }
            }
        }
        more = scan.token() == Some(b',');
        if more {
            scan.require(b',')?;
        }
    }
    scan.require(b']')
}

/// A value that is no object; whether it is escaped is asked of a string only.
fn scalar(value: &[u8], is_escaped: bool) -> Result<Scalar<'_>, Unreadable> {
    Ok(match value {
        [b'"', ..] => Scalar::Text(unquoted(value, is_escaped)?),
        [b't', ..] => Scalar::Bool(true),
        [b'f', ..] => Scalar::Bool(false),
        [b'-' | b'0'..=b'9', ..] => {
            // Digits and signs.
            let number = std::str::from_utf8(value).unwrap_or_default();
            match number.parse() {
                Ok(whole) => Scalar::Int(whole),
                Err(_) => number.parse().map_or(Scalar::Null, Scalar::Float),
            }
        }
        [b'[', ..] => Scalar::Opaque,
        _ => Scalar::Null,
    })
}

/// Appends the object with an edit made: what stays is copied as it is written, spaces and escapes included.
///
/// # Errors
/// If the text is not one whole JSON object; `out` is then as it was.
pub fn splice(text: &[u8], edit: &Edit<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let plan = edit.plan(|each| pairs(text, each))?;
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
        Part::Key(key) => write::text(key, out),
    });
    let mut comma = plan.kept() > 0;
    if let Some(tags) = edit.written_tags() {
        append_tags(style, tags, comma, out);
        comma = true;
    }
    if let Some(marker) = edit.marker {
        if comma {
            out.push(b',');
        }
        write::text(MARKER_KEY, out);
        out.push(b':');
        write::text(marker, out);
    }
    out.extend_from_slice(text.get(range.end..).unwrap_or_default());
    Ok(())
}

/// Appends an object with tags added, without reading it again: for one that [`walk`] has shown to bring no key along
/// that [`TagStyle::reserves`]. `false`, and nothing appended, if the outline does not say enough for that.
pub fn append(text: &[u8], outline: &Outline, style: &TagStyle, tags: &Tags, out: &mut Vec<u8>) -> bool {
    let end = outline.layout.pairs.end;
    let (Some(head), Some(tail), true) = (text.get(..end), text.get(end..), outline.is_whole) else {
        return false;
    };
    out.extend_from_slice(head);
    if style.writes(tags) {
        append_tags(style, tags, outline.layout.count > 0, out);
    }
    out.extend_from_slice(tail);
    true
}

fn append_tags(style: &TagStyle, tags: &Tags, comma: bool, out: &mut Vec<u8>) {
    if comma {
        out.push(b',');
    }
    if style.profile != Profile::Nested {
        return append_fields(style, tags, out);
    }
    write::text(&style.key, out);
    if let Some(brief) = tags.brief(style.detail) {
        return write::brief(&brief, out);
    }
    out.extend_from_slice(b":{");
    append_fields(style, tags, out);
    out.push(b'}');
}

// Apart, because most records are not flagged.
#[inline(never)]
fn append_fields(style: &TagStyle, tags: &Tags, out: &mut Vec<u8>) {
    for (index, (field, value)) in tags.fields(style.detail).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write::name(style.name(field), out);
        out.push(b':');
        write::value(style.rendered(field, value), out);
    }
}

/// The tags under `key`, nested. None if there are none, or none that could be ours.
pub fn read_tags(text: &[u8], key: &str) -> Option<Tags> {
    serde_json::from_slice(value_of(text, key)?).ok()
}

/// The tags of a finished record, in whatever profile.
pub fn read_styled_tags(text: &[u8], style: &TagStyle) -> Option<Tags> {
    if style.profile == Profile::Nested {
        return read_tags(text, &style.key);
    }
    let mut gathered = vec![b'{'];
    object(text, &mut |key, value| {
        if let Some(field) = style.field(&unquoted(key, has_escape(key))?) {
            let comma: &[u8] = if gathered.len() > 1 { b"," } else { b"" };
            for part in [comma, b"\"", style.gathered(field).as_bytes(), b"\":", value] {
                gathered.extend_from_slice(part);
            }
        }
        Ok(())
    })
    .ok()?;
    gathered.push(b'}');
    serde_json::from_slice(&gathered).ok()
}

/// The marker on a record, if it has one; see [`crate::marker::verify`].
pub fn read_marker(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    read_text(text, MARKER_KEY)
}

/// The string under a top-level key.
pub fn read_text<'a>(text: &'a [u8], key: &str) -> Option<Cow<'a, [u8]>> {
    let value = value_of(text, key)?;
    value.starts_with(b"\"").then(|| unquoted(value, has_escape(value)).ok()).flatten()
}

/// The object with a string under a key, and nothing else under it.
///
/// # Errors
/// If the text is not one whole JSON object.
pub fn with_text(text: &[u8], key: &str, value: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let mut out = vec![b'{'];
    pairs(text, &mut |pair| {
        if pair.key != key.as_bytes() {
            let bytes = text.get(pair.key_span.start..pair.end).unwrap_or_default();
            out.extend_from_slice(bytes);
            out.push(b',');
        }
    })?;
    write::text(key, &mut out);
    out.push(b':');
    write::text(&String::from_utf8_lossy(value), &mut out);
    out.push(b'}');
    Ok(out)
}

/// The text of the value under a top-level key. Of several the last, since what we add stands last.
fn value_of<'a>(text: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut found = None;
    object(text, &mut |raw, value| {
        if *unquoted(raw, has_escape(raw))? == *key.as_bytes() {
            found = Some(value);
        }
        Ok(())
    })
    .ok()?;
    found
}

fn pairs(text: &[u8], each: &mut dyn FnMut(Pair<'_>)) -> Result<Layout, Unreadable> {
    let offset = |part: &[u8]| (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let mut scan = Scan::new(text);
    let mut start = None;
    let layout = each_pair(&mut scan, &mut |key, scan| {
        let key_start = offset(key);
        let key_span = key_start..key_start.saturating_add(key.len());
        let key = unquoted(key, scan.is_escaped())?;
        scan.value()?;
        // Pairs abut: the first begins behind the brace, each other one with its comma.
        let first = || text.iter().position(|byte| *byte == b'{').map_or(0, |brace| brace.saturating_add(1));
        each(Pair { key: &key, start: start.unwrap_or_else(first), key_span, end: scan.at() });
        start = Some(scan.at());
        Ok(())
    })?;
    scan.end()?;
    Ok(layout)
}

/// Calls back with every pair of an object, key and value as they are written. Nesting costs no stack.
fn object<'a>(
    text: &'a [u8],
    each: &mut dyn FnMut(&'a [u8], &'a [u8]) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    let mut scan = Scan::new(text);
    each_pair(&mut scan, &mut |key, scan| each(key, scan.value()?))?;
    scan.end()
}

type EachPair<'f, 'a> = dyn FnMut(&'a [u8], &mut Scan<'a>) -> Result<(), Unreadable> + 'f;

/// Steps over an object; calls back before each value, with its key as it is written. The callback steps over the value.
fn each_pair<'a>(scan: &mut Scan<'a>, each: &mut EachPair<'_, 'a>) -> Result<Layout, Unreadable> {
    scan.require(b'{')?;
    let start = scan.at();
    let (mut count, mut end) = (0usize, start);
    let mut more = scan.token() != Some(b'}');
    while more {
        each(scan.key()?, scan)?;
        count = count.saturating_add(1);
        end = scan.at();
        more = scan.token() == Some(b',');
        if more {
            scan.require(b',')?;
        }
    }
    scan.require(b'}')?;
    Ok(Layout { pairs: start..end, count })
}

fn has_escape(raw: &[u8]) -> bool {
    raw.contains(&b'\\')
}

/// The text of a JSON string; borrowed unless something is escaped. A lone surrogate is refused: many parsers do too.
fn unquoted(raw: &[u8], is_escaped: bool) -> Result<Cow<'_, [u8]>, Unreadable> {
    let inner = raw.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(raw);
    if !is_escaped {
        return Ok(Cow::Borrowed(inner));
    }
    serde_json::from_slice::<String>(raw)
        .map(|text| Cow::Owned(text.into_bytes()))
        .map_err(|_| Unreadable { offset: 0, reason: "string with a lone surrogate" })
}

#[cfg(test)]
mod tests;
