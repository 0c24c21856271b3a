//! Takes a batch of Vector's events in protobuf or the body of one log, gives events, fields, tags, and the body with tags
//! spliced in. Metadata is the event's own and no log content: `oddline` in there says where a record comes from and
//! carries the marker. Must not know: gRPC, who sends.
//!
//! ```text
//! batch   = { 1: event }*          event = { 1: log } | { 2: metric } | { 3: trace }
//! log     = { 1: entry* | 2: value, 3: value (metadata, as older versions read it), 4: { 1: value, .. } (metadata) }
//! value   = { 1: bytes } | { 2: time } | { 4: integer } | { 5: float } | { 6: bool } | { 7: map } | { 8: array } | { 9: null }
//! map     = { 1: entry }*          entry = { 1: key, 2: value }          array = { 1: value }*
//! ```
//!
//! A log's fields are the entries in 1; where there is a 2, that counts and 1 does not.

mod check;
mod count;
mod events;
mod summary;
mod value;
mod wire;
mod write;

use oddline_engine::{Body, MAX_ITEMS, Profile, Scalar, Visitor};
use serde::Deserialize;

pub use self::{
    count::{Count, read_count, whole_count},
    events::{Event, EventKind, Events, events},
    summary::read_summary,
    write::{companion, retag, splice},
};
use self::{
    value::{Kind, entries, kind, to_json},
    wire::{Field, fields},
};
use crate::{MAX_DEPTH, MAX_FIELDS, TAG_KEY, TagStyle, Tags, Unreadable};

/// A log's fields.
const FIELDS: u32 = 1;
/// A log's root, where it is written as one value.
const ROOT: u32 = 2;
/// A log's metadata for older readers.
const OLD_METADATA: u32 = 3;
/// A log's metadata; its value is field 1.
const METADATA: u32 = 4;
/// Our object in a log's metadata, and what stands in there.
const OURS: &str = "oddline";
const TAG: &str = "tag";
const MARKER: &str = "marker";

/// Shows a log's fields to a visitor, at most [`MAX_FIELDS`] of them and [`MAX_DEPTH`] levels.
///
/// # Errors
/// If the log's root is no map, or it is cut short; what has been shown until then is to be forgotten.
pub fn walk<'a>(log: &'a [u8], visitor: &mut dyn Visitor<'a>) -> Result<(), Unreadable> {
    let mut budget = MAX_FIELDS;
    visit(root(log)?.map(), 1, &mut budget, visitor)
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
fn visit<'a>(
    map: &'a [u8],
    depth: usize,
    budget: &mut usize,
    visitor: &mut dyn Visitor<'a>,
) -> Result<(), Unreadable> {
    for entry in entries(map) {
        let entry = entry?;
        let Some(left) = budget.checked_sub(1) else { return Ok(()) };
        *budget = left;
        let value = match kind(entry.value)? {
            Kind::Map(inner) if depth < MAX_DEPTH && visitor.enter(entry.key) => {
                visit(inner, depth.saturating_add(1), budget, visitor)?;
                visitor.leave();
                continue;
            }
            Kind::Map(_) => continue,
            Kind::Array(list) if depth < MAX_DEPTH && visitor.enter_list(entry.key) => {
                items(list, depth.saturating_add(1), budget, visitor)?;
                visitor.leave();
                continue;
            }
            leaf => scalar(leaf),
        };
        visitor.scalar(entry.key, value);
    }
    Ok(())
}

/// The elements of a list, as deep as [`MAX_DEPTH`]; what lies beyond a limit is not looked at.
fn items<'a>(
    list: &'a [u8],
    depth: usize,
    budget: &mut usize,
    visitor: &mut dyn Visitor<'a>,
) -> Result<(), Unreadable> {
    for element in fields(list).take(MAX_ITEMS) {
        let Some(value) = element?.bytes_of(1) else { continue };
        let Some(left) = budget.checked_sub(1) else { return Ok(()) };
        *budget = left;
        match kind(value)? {
            Kind::Map(inner) if depth < MAX_DEPTH => visit(inner, depth.saturating_add(1), budget, visitor)?,
            Kind::Array(inner) if depth < MAX_DEPTH => {
                items(inner, depth.saturating_add(1), budget, visitor)?
            }
            Kind::Map(_) | Kind::Array(_) => {}
            leaf => visitor.item(scalar(leaf)),
        }
    }
    Ok(())
}

/// A leaf; of maps and lists, only that they are there.
fn scalar(kind: Kind<'_>) -> Scalar<'_> {
    match kind {
        Kind::Bytes(text) => Scalar::Text(text.into()),
        Kind::Integer(value) => Scalar::Int(value),
        Kind::Float(value) => Scalar::Float(value),
        Kind::Bool(value) => Scalar::Bool(value),
        Kind::Map(_) | Kind::Array(_) | Kind::Time(_) | Kind::Other => Scalar::Opaque,
        Kind::Null => Scalar::Null,
    }
}

/// Where a log's fields are.
#[derive(Clone, Copy, Debug)]
enum Root<'a> {
    /// Entries of the log itself.
    Log(&'a [u8]),
    /// Entries of the map that this field of the log is.
    Value(Field<'a>, &'a [u8]),
}

impl<'a> Root<'a> {
    /// The message whose entries they are.
    fn map(self) -> &'a [u8] {
        match self {
            Root::Log(map) | Root::Value(_, map) => map,
        }
    }
}

fn root(log: &[u8]) -> Result<Root<'_>, Unreadable> {
    let Some(field) = only(log, ROOT)? else { return Ok(Root::Log(log)) };
    match kind(field.bytes().unwrap_or_default())? {
        Kind::Map(map) => Ok(Root::Value(field, map)),
        _ => Err(Unreadable { offset: field.start, reason: "not a map" }),
    }
}

/// The one field of this number. That a reader would merge several of them is true and seen nowhere.
fn only(message: &[u8], number: u32) -> Result<Option<Field<'_>>, Unreadable> {
    let mut found = None;
    for field in fields(message) {
        let field = field?;
        if field.number == number {
            if field.bytes().is_none() || found.is_some() {
                return Err(Unreadable { offset: field.start, reason: "field of another type or twice" });
            }
            found = Some(field);
        }
    }
    Ok(found)
}

/// The tags under `key` as every profile carries them on the detour: nested. None if there are none, or none that could
/// be ours.
pub fn read_tags(log: &[u8], key: &str) -> Option<Tags> {
    Tags::deserialize(to_json(value_of(root(log).ok()?.map(), key)?)?).ok()
}

/// The tags of a finished record, in whatever profile.
pub fn read_styled_tags(log: &[u8], style: &TagStyle) -> Option<Tags> {
    if style.profile == Profile::Nested {
        return read_tags(log, &style.key);
    }
    let mut gathered = serde_json::Map::new();
    for entry in entries(root(log).ok()?.map()) {
        let entry = entry.ok()?;
        if let Some(field) = style.field(entry.key) {
            gathered.insert(style.gathered(field).to_owned(), to_json(entry.value)?);
        }
    }
    Tags::deserialize(serde_json::Value::Object(gathered)).ok()
}

/// The tag that a log's metadata names, or, where a host cannot write that, its own key [`TAG_KEY`].
pub fn read_tag(log: &[u8]) -> Option<&[u8]> {
    let own = || text(value_of(root(log).ok()?.map(), TAG_KEY)?);
    read_metadata(log, TAG).or_else(own)
}

/// The marker in a log's metadata, if it has one; see [`crate::marker::verify`].
pub fn read_marker(log: &[u8]) -> Option<&[u8]> {
    read_metadata(log, MARKER)
}

fn read_metadata<'a>(log: &'a [u8], key: &str) -> Option<&'a [u8]> {
    match kind(value_of(metadata(log).ok()??, OURS)?).ok()? {
        Kind::Map(ours) => text(value_of(ours, key)?),
        _ => None,
    }
}

fn text(value: &[u8]) -> Option<&[u8]> {
    if let Ok(Kind::Bytes(text)) = kind(value) { Some(text) } else { None }
}

/// The map that a log's metadata is.
fn metadata(log: &[u8]) -> Result<Option<&[u8]>, Unreadable> {
    let value = match only(log, METADATA)? {
        Some(full) => only(full.bytes().unwrap_or_default(), 1)?,
        None => only(log, OLD_METADATA)?,
    };
    let Some(value) = value else { return Ok(None) };
    match kind(value.bytes().unwrap_or_default())? {
        Kind::Map(map) => Ok(Some(map)),
        _ => Ok(None),
    }
}

/// The value under a key. Of several the last, since that is the one that counts.
fn value_of<'a>(map: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut found = None;
    for entry in entries(map) {
        let entry = entry.ok()?;
        if entry.key == key.as_bytes() {
            found = Some(entry.value);
        }
    }
    found
}
