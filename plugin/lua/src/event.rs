//! Takes one log event as Vector hands it to Lua, gives its fields to a visitor, its tag, and the same table with tags.
//!
//! Fields are read in the order of their names, as Vector keeps them itself: Lua's own order differs from run to run,
//! and a verdict must not. Must not know: files, clocks, what a verdict means.

use std::{cell::OnceCell, cmp::Ordering, collections::BinaryHeap};

use mlua::{BorrowedBytes, Lua, Table, Value};
use oddline_codec::{
    DETOUR_KEY, Edit, MARKER_KEY, MAX_DEPTH, MAX_FIELDS, TAG_KEY, TagStyle, TagValue, Tags, Unreadable, json,
    original_name,
};
use oddline_engine::{Profile, Scalar, Visitor};
use oddline_shell::Format;

/// Fields that name where an event came from, the most telling first; see [`Event::tag`].
const TAG_FIELDS: [&str; 7] =
    ["container_name", "service", "appname", "SYSTEMD_UNIT", "_SYSTEMD_UNIT", "file", "source_type"];
/// Longest tag; of a longer one this much counts.
pub const MAX_TAG_BYTES: usize = 256;
/// Deepest nesting of tags that are read; ours have two levels.
const MAX_TAG_DEPTH: usize = 4;

/// A log event in Lua's memory. Lua keeps its texts where they are as long as they are held here.
#[derive(Debug)]
pub struct Event {
    lua: Lua,
    log: Table,
    fields: Vec<Field>,
    /// Whether `fields` has all that Lua has.
    is_whole: bool,
    /// `.kubernetes.container_name`
    container: Option<BorrowedBytes>,
}

#[derive(Debug)]
struct Field {
    key: BorrowedBytes,
    value: Held,
}

#[derive(Debug)]
enum Held {
    Text(BorrowedBytes),
    /// A map, and its fields once somebody asked for them.
    Map(Table, OnceCell<Vec<Field>>),
    Bool(bool),
    Int(i64),
    Float(f64),
    /// A list, or nothing that Vector would put into an event.
    Opaque,
}

/// Events by the name of their first key, so that a heap keeps the first so many.
impl Ord for Field {
    fn cmp(&self, other: &Field) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl PartialOrd for Field {
    fn partial_cmp(&self, other: &Field) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Field {
    fn eq(&self, other: &Field) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Field {}

impl Event {
    /// Reads the top level of an event's `log`.
    ///
    /// # Errors
    /// If it is a list, or Lua is out of memory.
    pub fn read(lua: &Lua, log: Table) -> Result<Event, Unreadable> {
        if log.raw_len() > 0 {
            return Err(Unreadable { offset: 0, reason: "a list, not a map" });
        }
        let (fields, is_whole) =
            fields_of(&log).map_err(|_| Unreadable { offset: 0, reason: "Lua cannot show its fields" })?;
        let mut event = Event { lua: lua.clone(), log, fields, is_whole, container: None };
        if let Some(Held::Map(kubernetes, _)) = event.field("kubernetes")
            && let Ok(Value::String(name)) = kubernetes.raw_get("container_name")
        {
            event.container = Some(name.as_bytes());
        }
        Ok(event)
    }

    /// What Fluent Bit calls the tag: the first text of the fields that name where an event came from.
    pub fn tag(&self) -> &[u8] {
        let texts = TAG_FIELDS.iter().filter_map(|name| match self.field(name)? {
            Held::Text(text) => Some(&**text),
            _ => None,
        });
        let container = self.container.as_deref();
        // Vector shows null to Lua as an empty text.
        let tag = container.into_iter().chain(texts).find(|text| !text.is_empty()).unwrap_or(b"vector");
        cut_tag(tag)
    }

    /// Marks the event for the sidecar.
    ///
    /// # Errors
    /// If Lua is out of memory.
    pub fn mark(&self, tag: &[u8]) -> mlua::Result<()> {
        self.log.raw_set(TAG_KEY, self.lua.create_string(tag)?)?;
        self.log.raw_set(DETOUR_KEY, true)
    }

    /// Makes an edit in the event, all else stays. Tags are set last and at once, so that a fault leaves none half done.
    ///
    /// # Errors
    /// If Lua is out of memory.
    pub fn edit(&self, edit: &Edit<'_>) -> mlua::Result<()> {
        for key in edit.remove {
            self.log.raw_remove(*key)?;
        }
        for (from, to) in edit.rename {
            self.move_field(from, to)?;
        }
        if edit.tags.is_some() || edit.marker.is_some() {
            for name in edit.style.reserved() {
                let name = name.to_string();
                if self.has(&name) {
                    self.move_field(&name, &original_name(&name, |candidate| self.has(candidate)))?;
                }
            }
        }
        if let Some(marker) = edit.marker {
            self.log.raw_set(MARKER_KEY, marker)?;
        }
        edit.tags.map_or(Ok(()), |tags| self.write(edit.style, tags))
    }

    /// Takes tags off again.
    ///
    /// # Errors
    /// If Lua is out of memory.
    pub fn unwrite(&self, style: &TagStyle, tags: &Tags) -> mlua::Result<()> {
        if style.profile == Profile::Nested {
            return self.log.raw_remove(style.key.as_str());
        }
        style.entries(tags).try_for_each(|(name, _)| self.log.raw_remove(name.to_string()))
    }

    fn write(&self, style: &TagStyle, tags: &Tags) -> mlua::Result<()> {
        if !style.writes(tags) {
            return Ok(());
        }
        let nested = style.profile == Profile::Nested;
        let table = if nested {
            &self.lua.create_table_with_capacity(0, style.entries(tags).count())?
        } else {
            &self.log
        };
        for (name, value) in style.entries(tags) {
            let value = match value {
                TagValue::Number(number) => Value::Number(number),
                TagValue::Text(text) => Value::String(self.lua.create_string(text)?),
                TagValue::Id(id) => Value::String(self.lua.create_string(id.hex())?),
                TagValue::Flags(flags) => {
                    let words = flags.iter().map(|flag| flag.as_str());
                    Value::Table(self.lua.create_sequence_from(words)?)
                }
            };
            match name.whole() {
                Some(name) => table.raw_set(name, value)?,
                None => table.raw_set(name.to_string(), value)?,
            }
        }
        if nested { self.log.raw_set(style.key.as_str(), table) } else { Ok(()) }
    }

    fn field(&self, key: &str) -> Option<&Held> {
        let index = self.fields.binary_search_by(|field| (*field.key).cmp(key.as_bytes())).ok()?;
        self.fields.get(index).map(|field| &field.value)
    }

    fn has(&self, key: &str) -> bool {
        self.log.raw_get::<Value>(key).is_ok_and(|value| !value.is_nil())
    }

    fn move_field(&self, from: &str, to: &str) -> mlua::Result<()> {
        let value: Value = self.log.raw_get(from)?;
        if !value.is_nil() {
            self.log.raw_set(to, value)?;
            self.log.raw_remove(from)?;
        }
        Ok(())
    }

    /// What poses as ours, as JSON: read seldom, and then as every other front reads it.
    fn ours(&self, style: &TagStyle) -> Vec<u8> {
        let names = style.reserved().map(|name| name.to_string());
        let ours: serde_json::Map<String, serde_json::Value> = names
            .filter_map(|name| {
                let value = self.log.raw_get::<Value>(name.as_str()).ok()?;
                (!value.is_nil()).then(|| (name, to_json(&value, 1)))
            })
            .collect();
        serde_json::to_vec(&ours).unwrap_or_default()
    }
}

/// A tag within its limit, no character torn.
pub fn cut_tag(tag: &[u8]) -> &[u8] {
    let is_start = |at: usize| tag.get(at).is_none_or(|byte| byte & 0xc0 != 0x80);
    let end = (0..=MAX_TAG_BYTES).rev().find(|at| is_start(*at)).unwrap_or(MAX_TAG_BYTES);
    tag.get(..end).unwrap_or(tag)
}

/// A table's fields by name, at most the first [`MAX_FIELDS`]; and whether these are all. Other keys than texts are none
/// that Vector would keep.
fn fields_of(table: &Table) -> mlua::Result<(Vec<Field>, bool)> {
    let (mut fields, mut is_whole) = (BinaryHeap::new(), true);
    table.for_each(|key: Value, value: Value| {
        if let Value::String(key) = key {
            fields.push(Field { key: key.as_bytes(), value: Held::from(value) });
            if fields.len() > MAX_FIELDS {
                fields.pop();
                is_whole = false;
            }
        }
        Ok(())
    })?;
    Ok((fields.into_sorted_vec(), is_whole))
}

impl From<Value> for Held {
    fn from(value: Value) -> Held {
        match value {
            Value::String(text) => Held::Text(text.as_bytes()),
            Value::Table(table) if table.raw_len() == 0 => Held::Map(table, OnceCell::new()),
            Value::Boolean(value) => Held::Bool(value),
            Value::Integer(value) => Held::Int(value),
            Value::Number(value) => Held::Float(value),
            _ => Held::Opaque,
        }
    }
}

/// Recurses only as deep as [`MAX_DEPTH`], and only where the visitor enters.
fn walk<'a>(fields: &'a [Field], depth: usize, budget: &mut usize, visitor: &mut dyn Visitor<'a>) {
    for field in fields {
        let Some(left) = budget.checked_sub(1) else { return };
        *budget = left;
        let scalar = match &field.value {
            Held::Map(table, inner) => {
                if depth < MAX_DEPTH && visitor.enter(&field.key) {
                    let inner =
                        inner.get_or_init(|| fields_of(table).map(|(fields, _)| fields).unwrap_or_default());
                    walk(inner, depth.saturating_add(1), budget, visitor);
                    visitor.leave();
                }
                continue;
            }
            Held::Text(text) => Scalar::Text((&**text).into()),
            Held::Bool(value) => Scalar::Bool(*value),
            Held::Int(value) => Scalar::Int(*value),
            Held::Float(value) => Scalar::Float(*value),
            Held::Opaque => Scalar::Opaque,
        };
        visitor.scalar(&field.key, scalar);
    }
}

fn to_json(value: &Value, depth: usize) -> serde_json::Value {
    match value {
        Value::Boolean(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Number(value) => (*value).into(),
        Value::String(text) => text.to_string_lossy().into(),
        // Lua does not tell an empty list from an empty map; of our tags only a list can be empty.
        Value::Table(table) if table.is_empty() => serde_json::Value::Array(Vec::new()),
        Value::Table(list) if list.raw_len() > 0 && depth < MAX_TAG_DEPTH => list
            .sequence_values::<Value>()
            .flatten()
            .map(|value| to_json(&value, depth.saturating_add(1)))
            .collect(),
        Value::Table(map) if depth < MAX_TAG_DEPTH => {
            let pairs = map.pairs::<String, Value>().flatten();
            pairs.map(|(key, value)| (key, to_json(&value, depth.saturating_add(1)))).collect()
        }
        _ => serde_json::Value::Null,
    }
}

/// Events as Lua tables, changed in place.
#[derive(Debug)]
pub enum InPlace {}

impl Format for InPlace {
    type Body = Event;
    type Outline = ();
    type Out = ();

    fn walk<'a>(event: &'a Event, visitor: &mut dyn Visitor<'a>) -> Result<(), Unreadable> {
        walk(&event.fields, 1, &mut MAX_FIELDS.clone(), visitor);
        Ok(())
    }

    fn append(event: &Event, (): &(), style: &TagStyle, tags: &Tags, (): &mut ()) -> bool {
        event.is_whole && event.write(style, tags).is_ok()
    }

    fn splice(event: &Event, edit: &Edit<'_>, (): &mut ()) -> Result<(), Unreadable> {
        event.edit(edit).map_err(|_| Unreadable { offset: 0, reason: "Lua has no memory for tags" })
    }

    fn read_tags(event: &Event, style: &TagStyle) -> Option<Tags> {
        json::read_styled_tags(&event.ours(style), style)
    }
}
