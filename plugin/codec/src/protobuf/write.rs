//! A log with an edit made: entries that stay are copied byte for byte, and so is every field that is not known here.

use std::ops::Range;

use oddline_engine::Profile;

use super::{
    FIELDS, MARKER, METADATA, OLD_METADATA, OURS, ROOT, Root, TAG, metadata, only, root,
    value::{Kind, entries, kind},
    value_of,
    wire::{fields, put_bytes, put_double, put_head},
};
use crate::{
    Edit, PENDING_TAGS, REFERENCE_KEY, TagStyle, Tags, Unreadable,
    edit::{Layout, Pair, Piece},
    profile::Name,
    tags,
};

/// Whether a log goes on the detour; ours, and no longer true once it comes back.
const DETOUR: &str = "detour";

/// Appends the log with an edit made. With tags, its metadata changes too: what sent it on the detour leaves, and the
/// marker stands in there and not among the fields.
///
/// # Errors
/// If the log's root is no map, or it is cut short; `out` is then as it was.
pub fn splice(log: &[u8], edit: &Edit<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let root = root(log)?;
    let mut patches = Vec::new();
    let added = match root {
        Root::Log(map) => spliced(map, edit, &mut patches)?,
        Root::Value(field, map) => {
            let mut changes = Vec::new();
            let added = spliced(map, edit, &mut changes)?;
            let mut whole = Vec::with_capacity(map.len().saturating_add(added.len()));
            apply(map, changes, &mut whole);
            whole.extend_from_slice(&added);
            let mut value = Vec::new();
            put_bytes(7, &whole, &mut value);
            let mut bytes = Vec::new();
            put_bytes(ROOT, &value, &mut bytes);
            patches.push(Patch { at: field.start..field.end, bytes });
            Vec::new()
        }
    };
    let mut metadata = Vec::new();
    if edit.tags.is_some() {
        let set = edit.marker.map(|marker| (MARKER, marker.as_bytes()));
        metadata = mark(log, &[DETOUR, PENDING_TAGS, MARKER], set, &mut patches)?;
    }
    apply(log, patches, out);
    out.extend_from_slice(&added);
    out.extend_from_slice(&metadata);
    Ok(())
}

/// Appends the log with another tag in its metadata, and nothing else changed.
///
/// # Errors
/// If it is cut short, or its metadata is no map; `out` is then as it was.
pub fn retag(log: &[u8], tag: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let mut patches = Vec::new();
    let added = mark(log, &[TAG], Some((TAG, tag)), &mut patches)?;
    apply(log, patches, out);
    out.extend_from_slice(&added);
    Ok(())
}

/// Appends the log that goes beside a record in copy mode: its tags, under a tag of its own, and what they refer to: the
/// record's template, tag and, if it has one, `timestamp`, which is also the companion's.
pub fn companion(log: &[u8], style: &TagStyle, tags: &Tags, tag: [&[u8]; 2], out: &mut Vec<u8>) {
    let time = root(log).ok().and_then(|root| value_of(root.map(), "timestamp"));
    let mut reference = Vec::new();
    entry("template_id", &text(&tags.template_id.hex()), &mut reference);
    entry(TAG, &text(tag[1]), &mut reference);
    time.iter().for_each(|time| entry("time", time, &mut reference));
    entry(REFERENCE_KEY, &map(&reference), out);
    time.iter().for_each(|time| entry("timestamp", time, out));
    tag_entries(style, tags, out);
    let mut ours = Vec::new();
    entry(TAG, &text(&tag.concat()), &mut ours);
    let mut whole = Vec::new();
    entry(OURS, &map(&ours), &mut whole);
    put_bytes(METADATA, &full(&map(&whole)), out);
}

/// A part of a message and what takes its place.
struct Patch {
    at: Range<usize>,
    bytes: Vec<u8>,
}

/// Appends the message with its patches, which do not overlap.
fn apply(message: &[u8], mut patches: Vec<Patch>, out: &mut Vec<u8>) {
    patches.sort_by_key(|patch| patch.at.start);
    let mut at = 0;
    for patch in patches {
        out.extend_from_slice(message.get(at..patch.at.start).unwrap_or_default());
        out.extend_from_slice(&patch.bytes);
        at = patch.at.end;
    }
    out.extend_from_slice(message.get(at..).unwrap_or_default());
}

/// What changes among the entries of a map, and what is added to them.
fn spliced(map: &[u8], edit: &Edit<'_>, patches: &mut Vec<Patch>) -> Result<Vec<u8>, Unreadable> {
    let plan = edit.plan(|each| pairs(map, each))?;
    plan.pieces(|piece| match piece {
        Piece::Kept(_) => {}
        Piece::Dropped { pair } => patches.push(Patch { at: pair, bytes: Vec::new() }),
        Piece::Renamed { pair, name, .. } => {
            let bytes = map.get(pair.clone()).map(|pair| renamed(pair, name)).unwrap_or_default();
            patches.push(Patch { at: pair, bytes });
        }
    });
    let mut added = Vec::new();
    edit.written_tags().into_iter().for_each(|tags| tag_entries(edit.style, tags, &mut added));
    Ok(added)
}

/// An entry under another key; what else stands in it stays.
fn renamed(pair: &[u8], name: &str) -> Vec<u8> {
    let mut inner = Vec::new();
    put_bytes(1, name.as_bytes(), &mut inner);
    for field in fields(pair).flatten() {
        let entry = field.bytes().unwrap_or_default();
        for part in fields(entry).flatten().filter(|part| part.number != 1) {
            inner.extend_from_slice(entry.get(part.start..part.end).unwrap_or_default());
        }
    }
    let mut out = Vec::new();
    put_bytes(FIELDS, &inner, &mut out);
    out
}

fn pairs(map: &[u8], each: &mut dyn FnMut(Pair<'_>)) -> Result<Layout, Unreadable> {
    let mut count = 0usize;
    for entry in entries(map) {
        let entry = entry?;
        count = count.saturating_add(1);
        each(Pair { key: entry.key, start: entry.start, key_span: entry.start..entry.start, end: entry.end });
    }
    Ok(Layout { pairs: 0..map.len(), count })
}

/// What changes in the metadata, both as it is read now and as it was, and what is added where there is none yet.
fn mark(
    log: &[u8],
    remove: &[&str],
    set: Option<(&str, &[u8])>,
    patches: &mut Vec<Patch>,
) -> Result<Vec<u8>, Unreadable> {
    let mut has_full = false;
    for field in fields(log) {
        let field = field?;
        let mut bytes = Vec::new();
        match (field.number, field.bytes()) {
            (OLD_METADATA, Some(value)) => put_bytes(OLD_METADATA, &marked(value, remove, set)?, &mut bytes),
            (METADATA, Some(message)) => {
                has_full = true;
                let mut inner = Vec::new();
                match only(message, 1)? {
                    Some(value) => {
                        inner.extend_from_slice(message.get(..value.start).unwrap_or_default());
                        put_bytes(1, &marked(value.bytes().unwrap_or_default(), remove, set)?, &mut inner);
                        inner.extend_from_slice(message.get(value.end..).unwrap_or_default());
                    }
                    None => {
                        inner.extend_from_slice(message);
                        put_bytes(1, &marked(b"", remove, set)?, &mut inner);
                    }
                }
                put_bytes(METADATA, &inner, &mut bytes);
            }
            _ => continue,
        }
        patches.push(Patch { at: field.start..field.end, bytes });
    }
    let mut added = Vec::new();
    if !has_full && set.is_some() {
        // Where there is the new one, the old one is not read: it takes its content along.
        let mut old = Vec::new();
        put_bytes(7, metadata(log)?.unwrap_or_default(), &mut old);
        put_bytes(METADATA, &full(&marked(&old, remove, set)?), &mut added);
    }
    Ok(added)
}

/// A metadata value with our object in it changed.
fn marked(value: &[u8], remove: &[&str], set: Option<(&str, &[u8])>) -> Result<Vec<u8>, Unreadable> {
    let not_a_map = Unreadable { offset: 0, reason: "metadata is not a map" };
    let whole = match kind(value)? {
        Kind::Map(whole) => whole,
        Kind::Other | Kind::Null => b"",
        _ => return Err(not_a_map),
    };
    let mut kept = Vec::new();
    for entry in entries(value_of(whole, OURS).map_or(Ok(&b""[..]), our_map)?) {
        let entry = entry?;
        if !remove.iter().any(|name| name.as_bytes() == entry.key) {
            put_pair(entry.key, entry.value, &mut kept);
        }
    }
    set.iter().for_each(|(name, bytes)| entry(name, &text(bytes), &mut kept));
    let mut patches = Vec::new();
    for found in entries(whole) {
        let found = found?;
        if found.key == OURS.as_bytes() {
            patches.push(Patch { at: found.start..found.end, bytes: Vec::new() });
        }
    }
    let mut changed = Vec::new();
    apply(whole, patches, &mut changed);
    if !kept.is_empty() {
        entry(OURS, &map(&kept), &mut changed);
    }
    Ok(map(&changed))
}

/// The entries of our object. Something else in its place is not ours and gives way.
fn our_map(value: &[u8]) -> Result<&[u8], Unreadable> {
    Ok(if let Kind::Map(map) = kind(value)? { map } else { b"" })
}

fn tag_entries(style: &TagStyle, tags: &Tags, out: &mut Vec<u8>) {
    let mut whole = Vec::new();
    for (field, value) in tags.fields(style.detail) {
        let Name(parts) = style.name(field);
        put_pair(parts.concat().as_bytes(), &rendered(style.rendered(field, value)), &mut whole);
    }
    if style.profile == Profile::Nested {
        entry(&style.key, &map(&whole), out);
    } else {
        out.append(&mut whole);
    }
}

fn rendered(value: tags::Value<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        tags::Value::Number(number) => put_double(5, number, &mut out),
        tags::Value::Text(wanted) => return text(wanted.as_bytes()),
        tags::Value::Id(id) => return text(&id.hex()),
        tags::Value::Flags(flags) => {
            let mut items = Vec::new();
            flags.iter().for_each(|flag| put_bytes(1, &text(flag.as_str().as_bytes()), &mut items));
            put_bytes(8, &items, &mut out);
        }
    }
    out
}

fn text(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().saturating_add(4));
    put_bytes(1, bytes, &mut out);
    out
}

fn map(entries: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len().saturating_add(4));
    put_bytes(7, entries, &mut out);
    out
}

/// A metadata message with this value.
fn full(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len().saturating_add(4));
    put_bytes(1, value, &mut out);
    out
}

fn entry(key: &str, value: &[u8], out: &mut Vec<u8>) {
    put_pair(key.as_bytes(), value, out);
}

fn put_pair(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let mut head = Vec::with_capacity(key.len().saturating_add(16));
    put_bytes(1, key, &mut head);
    put_head(2, value.len(), &mut head);
    put_head(FIELDS, head.len().saturating_add(value.len()), out);
    out.extend_from_slice(&head);
    out.extend_from_slice(value);
}
