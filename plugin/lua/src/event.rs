//! Takes one log event as Vector hands it to Lua, gives its fields to a visitor, its tag, and the same table with tags.
//!
//! Fields are read in the order of their names, as Vector keeps them itself: Lua's own order differs from run to run,
//! and a verdict must not. Must not know: files, clocks, what a verdict means.

use std::borrow::Cow;

use mlua::{Lua, Table, Value};
use oddline_codec::{
    DETOUR_KEY, Edit, MARKER_KEY, MAX_DEPTH, MAX_FIELDS, TAG_KEY, TagStyle, Tags, Unreadable,
    detour::Obstacle, json, original_name,
};
use oddline_engine::{Profile, Scalar, Visitor};
use oddline_shell::Format;

use crate::{
    burden,
    raw::{Fields, Held, Items, write_tags},
};

/// Fields that name where an event came from, the most telling first; see [`Event::tag`].
const TAG_FIELDS: [&str; 7] =
    ["container_name", "service", "appname", "SYSTEMD_UNIT", "_SYSTEMD_UNIT", "file", "source_type"];
/// Longest tag; of a longer one this much counts.
pub const MAX_TAG_BYTES: usize = 256;
/// Deepest nesting of tags that are read; ours have two levels.
const MAX_TAG_DEPTH: usize = 4;

/// A log event in Lua's memory.
#[derive(Debug)]
pub struct Event {
    lua: Lua,
    fields: Fields,
}

impl Event {
    /// Reads the top level of an event's `log`.
    ///
    /// # Errors
    /// If it is a list, or Lua is out of memory.
    pub fn read(lua: &Lua, log: Table) -> Result<Event, Unreadable> {
        if log.raw_len() > 0 {
            return Err(Unreadable { offset: 0, reason: "a list, not a map" });
        }
        let fields = Fields::read(lua, log)
            .map_err(|_| Unreadable { offset: 0, reason: "Lua cannot show its fields" })?;
        Ok(Event { lua: lua.clone(), fields })
    }

    /// What Fluent Bit calls the tag: the first text of the fields that name where an event came from.
    pub fn tag(&self) -> &[u8] {
        let kubernetes = self.fields.get("kubernetes").and_then(|field| self.fields.inner(&self.lua, field));
        let container = kubernetes.and_then(|kubernetes| kubernetes.get("container_name"));
        let named = TAG_FIELDS.iter().filter_map(|name| self.fields.get(name));
        let mut texts = container.into_iter().chain(named).filter_map(|field| match &field.value {
            Held::Text(text) => Some(text.bytes()),
            _ => None,
        });
        // Vector shows null to Lua as an empty text.
        cut_tag(texts.find(|text| !text.is_empty()).unwrap_or(b"vector"))
    }

    /// What keeps the event from the detour, if anything does; its tags are part of it.
    pub fn obstacle(&self) -> Option<Obstacle> {
        burden::obstacle(self.log())
    }

    /// Marks the event for the sidecar.
    ///
    /// # Errors
    /// If Lua is out of memory.
    pub fn mark(&self, tag: &[u8]) -> mlua::Result<()> {
        self.log().raw_set(TAG_KEY, self.lua.create_string(tag)?)?;
        self.log().raw_set(DETOUR_KEY, true)
    }

    /// Puts other tags in the place of those of a pending event.
    ///
    /// # Errors
    /// If Lua is out of memory.
    pub fn retag(&self, style: &TagStyle, tags: &Tags) -> mlua::Result<()> {
        self.edit(&Edit { remove: &[&style.key], ..Edit::tag(style, tags) })
    }

    /// Makes an edit in the event, all else stays. Tags are set last and at once, so that a fault leaves none half done.
    ///
    /// # Errors
    /// If Lua is out of memory.
    pub fn edit(&self, edit: &Edit<'_>) -> mlua::Result<()> {
        for key in edit.remove {
            self.log().raw_remove(*key)?;
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
            self.log().raw_set(MARKER_KEY, marker)?;
        }
        edit.tags.map_or(Ok(()), |tags| self.write(edit.style, tags))
    }

    /// Takes tags off again.
    ///
    /// # Errors
    /// If Lua is out of memory.
    pub fn unwrite(&self, style: &TagStyle, tags: &Tags) -> mlua::Result<()> {
        if style.profile == Profile::Nested {
            return self.log().raw_remove(style.key.as_str());
        }
        style.entries(tags).try_for_each(|(name, _)| self.log().raw_remove(name.to_string()))
    }

    fn write(&self, style: &TagStyle, tags: &Tags) -> mlua::Result<()> {
        if style.writes(tags) { write_tags(&self.lua, self.log(), style, tags) } else { Ok(()) }
    }

    fn log(&self) -> &Table {
        self.fields.table()
    }

    fn has(&self, key: &str) -> bool {
        self.log().raw_get::<Value>(key).is_ok_and(|value| !value.is_nil())
    }

    fn move_field(&self, from: &str, to: &str) -> mlua::Result<()> {
        let value: Value = self.log().raw_get(from)?;
        if !value.is_nil() {
            self.log().raw_set(to, value)?;
            self.log().raw_remove(from)?;
        }
        Ok(())
    }

    /// What poses as ours, as JSON: read seldom, and then as every other front reads it.
    fn ours(&self, style: &TagStyle) -> Vec<u8> {
        let names = style.reserved().map(|name| name.to_string());
        let ours: serde_json::Map<String, serde_json::Value> = names
            .filter_map(|name| {
                let value = self.log().raw_get::<Value>(name.as_str()).ok()?;
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

/// Recurses only as deep as [`MAX_DEPTH`], and only where the visitor enters.
fn walk<'a>(lua: &Lua, fields: &'a Fields, depth: usize, budget: &mut usize, visitor: &mut dyn Visitor<'a>) {
    for field in fields.iter() {
        let Some(left) = budget.checked_sub(1) else { return };
        *budget = left;
        let scalar = match &field.value {
            Held::Map(_) => {
                if depth < MAX_DEPTH && visitor.enter(field.key()) {
                    if let Some(inner) = fields.inner(lua, field) {
                        walk(lua, inner, depth.saturating_add(1), budget, visitor);
                    }
                    visitor.leave();
                }
                continue;
            }
            Held::List(_) if depth < MAX_DEPTH && visitor.enter_list(field.key()) => {
                if let Some(list) = fields.list(lua, field) {
                    walk_list(lua, list, depth.saturating_add(1), budget, visitor);
                }
                visitor.leave();
                continue;
            }
            leaf => scalar(leaf),
        };
        visitor.scalar(field.key(), scalar);
    }
}

/// The elements of a list, as deep as [`MAX_DEPTH`].
fn walk_list<'a>(
    lua: &Lua,
    list: &'a Items,
    depth: usize,
    budget: &mut usize,
    visitor: &mut dyn Visitor<'a>,
) {
    let deeper = depth.saturating_add(1);
    for (number, held) in list.iter() {
        let Some(left) = budget.checked_sub(1) else { return };
        *budget = left;
        match held {
            Held::Map(_) | Held::List(_) if depth >= MAX_DEPTH => {}
            Held::Map(_) => {
                if let Some(inner) = list.inner(lua, number, held) {
                    walk(lua, inner, deeper, budget, visitor);
                }
            }
            Held::List(_) => {
                if let Some(inner) = list.list(lua, number, held) {
                    walk_list(lua, inner, deeper, budget, visitor);
                }
            }
            leaf => visitor.item(scalar(leaf)),
        }
    }
}

/// A leaf; of maps and lists, only that they are there.
fn scalar(held: &Held) -> Scalar<'_> {
    match held {
        Held::Text(text) => Scalar::Text(text.bytes().into()),
        Held::Bool(value) => Scalar::Bool(*value),
        Held::Int(value) => Scalar::Int(*value),
        Held::Float(value) => Scalar::Float(*value),
        Held::Map(_) | Held::List(_) | Held::Opaque => Scalar::Opaque,
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
    /// Whether all fields were shown.
    type Outline = bool;
    type Out = ();

    fn walk<'a>(event: &'a Event, visitor: &mut dyn Visitor<'a>) -> Result<bool, Unreadable> {
        let mut budget = MAX_FIELDS;
        walk(&event.lua, &event.fields, 1, &mut budget, visitor);
        Ok(budget > 0 && event.fields.is_whole)
    }

    fn unseen_marker<'a>(event: &'a Event, is_whole: &bool) -> Option<Cow<'a, [u8]>> {
        if *is_whole {
            return None;
        }
        let marker = event.log().raw_get::<mlua::LuaString>(MARKER_KEY).ok()?;
        Some(marker.as_bytes().to_vec().into())
    }

    fn append(event: &Event, is_whole: &bool, style: &TagStyle, tags: &Tags, (): &mut ()) -> bool {
        *is_whole && event.write(style, tags).is_ok()
    }

    fn splice(event: &Event, edit: &Edit<'_>, (): &mut ()) -> Result<(), Unreadable> {
        event.edit(edit).map_err(|_| Unreadable { offset: 0, reason: "Lua has no memory for tags" })
    }

    fn read_tags(event: &Event, style: &TagStyle) -> Option<Tags> {
        json::read_styled_tags(&event.ours(style), style)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_cut_at_the_limit_and_between_characters() {
        for (length, kept) in [(0, 0), (MAX_TAG_BYTES, MAX_TAG_BYTES), (MAX_TAG_BYTES + 1, MAX_TAG_BYTES)] {
            assert_eq!(cut_tag("x".repeat(length).as_bytes()).len(), kept);
        }
        let text = format!("{}ü", "x".repeat(MAX_TAG_BYTES - 1));
        assert_eq!(cut_tag(text.as_bytes()).len(), MAX_TAG_BYTES - 1);
        // No text at all: then there is no character to keep whole.
        assert!(cut_tag(&[0x80; 10 * MAX_TAG_BYTES]).len() <= MAX_TAG_BYTES);
    }

    #[test]
    fn fields_are_shown_by_name_and_maps_only_to_who_enters() {
        struct Seen(Vec<String>);
        impl<'a> Visitor<'a> for Seen {
            fn enter(&mut self, key: &[u8]) -> bool {
                self.0.push(format!("{{{}", key.escape_ascii()));
                key == b"in"
            }

            fn leave(&mut self) {
                self.0.push("}".to_owned());
            }

            fn scalar(&mut self, key: &[u8], value: Scalar<'a>) {
                self.0.push(format!("{}={value:?}", key.escape_ascii()));
            }
        }
        let lua = Lua::new();
        let log = lua.load(
            "return {z = 1, a = true, list = {1}, ['in'] = {y = 0.5, x = {}}, out = {q = 1}, [3] = 'no'}",
        );
        let event = Event::read(&lua, log.eval().unwrap()).unwrap();
        let mut seen = Seen(Vec::new());
        InPlace::walk(&event, &mut seen).unwrap();
        assert_eq!(seen.0.join(" "), "a=Bool(true) {in {x y=Float(0.5) } list=Opaque {out z=Int(1)");
    }
}
