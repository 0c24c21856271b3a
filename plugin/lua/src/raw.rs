//! Takes a table, gives its fields where they lie in Lua's memory; takes tags, sets them in a table: one protected call
//! each, where a safe binding would make one for every field. The only file with unsafe code.
//!
//! An error of Lua's (it is out of memory) leaves a protected call by `longjmp`. So what runs in one owns nothing that
//! would have to be dropped: it fills what its caller owns. Must not know: what fields and tags mean.
#![expect(unsafe_code, reason = "Lua's C interface: each block says by which of its promises it holds")]

use std::{cell::OnceCell, cmp::Ordering, collections::BinaryHeap, ffi::c_int, ptr::NonNull, slice};

use mlua::{
    Lua, Table,
    ffi::{self, lua_State},
};
use oddline_codec::{MAX_FIELDS, TagName, TagStyle, TagValue, Tags};
use oddline_engine::{MAX_ITEMS, Profile};

/// A table with its fields by name.
#[derive(Debug)]
pub(crate) struct Fields {
    /// Keeps the texts alive.
    table: Table,
    fields: Vec<Field>,
    /// Whether `fields` has all that the table has.
    pub(crate) is_whole: bool,
}

/// One field. Its texts are those of the table that it was read from.
#[derive(Debug)]
pub(crate) struct Field {
    key: Text,
    pub(crate) value: Held,
}

/// A field's value.
#[derive(Debug)]
pub(crate) enum Held {
    Text(Text),
    /// A map, and its fields once somebody asked for them.
    Map(OnceCell<Option<Fields>>),
    Bool(bool),
    Int(i64),
    Float(f64),
    /// A list, and its elements once somebody asked for them.
    List(OnceCell<Option<Items>>),
    /// Nothing that Vector would put into an event.
    Opaque,
}

/// The first [`MAX_ITEMS`] elements of a list.
#[derive(Debug)]
pub(crate) struct Items {
    /// Keeps the texts alive.
    table: Table,
    items: Vec<Held>,
}

/// A text in Lua's memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text(NonNull<[u8]>);

impl Text {
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: Lua neither moves nor changes a text, and keeps it as long as a table has it. `Fields` holds the table,
        // and `event.rs` takes nothing out of it while keys are read: an edit comes last, and moves what is not ours.
        unsafe { self.0.as_ref() }
    }
}

impl Fields {
    /// A table's fields, at most the first [`MAX_FIELDS`] by name. Keys that are no text are none that Vector would keep.
    ///
    /// # Errors
    /// If Lua is out of memory.
    pub(crate) fn read(lua: &Lua, table: Table) -> mlua::Result<Fields> {
        let (mut fields, mut is_whole) = (BinaryHeap::new(), true);
        let each = |state: *mut lua_State| {
            // SAFETY: in a protected call, the table is at 1, and no more than three slots are used of the twenty that a
            // call has. `lua_next` may go on, since the table does not change and keys are not converted.
            unsafe {
                ffi::lua_pushnil(state);
                while ffi::lua_next(state, 1) != 0 {
                    if let Some(key) = text(state, -2) {
                        fields.push(Field { key, value: held(state, -1) });
                        if fields.len() > MAX_FIELDS {
                            fields.pop();
                            is_whole = false;
                        }
                    }
                    ffi::lua_pop(state, 1);
                }
            }
        };
        // SAFETY: the closure leaves the stack within its limits and owns nothing.
        unsafe { lua.exec_raw::<()>(&table, each) }?;
        Ok(Fields { table, fields: fields.into_sorted_vec(), is_whole })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter()
    }

    /// The value under a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Field> {
        let index = self.fields.binary_search_by(|field| field.key().cmp(key.as_bytes())).ok()?;
        self.fields.get(index)
    }

    /// The fields of a map in a field of this table.
    pub(crate) fn inner<'a>(&self, lua: &Lua, field: &'a Field) -> Option<&'a Fields> {
        let Held::Map(inner) = &field.value else { return None };
        let read = || Fields::read(lua, self.table.raw_get(lua.create_string(field.key()).ok()?).ok()?).ok();
        inner.get_or_init(read).as_ref()
    }

    /// The elements of a list in a field of this table.
    pub(crate) fn list<'a>(&self, lua: &Lua, field: &'a Field) -> Option<&'a Items> {
        let Held::List(list) = &field.value else { return None };
        let read = || Items::read(lua, self.table.raw_get(lua.create_string(field.key()).ok()?).ok()?).ok();
        list.get_or_init(read).as_ref()
    }

    /// The table itself.
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }
}

impl Items {
    /// A list's elements.
    ///
    /// # Errors
    /// If Lua is out of memory.
    fn read(lua: &Lua, table: Table) -> mlua::Result<Items> {
        let mut items = Vec::with_capacity(table.raw_len().min(MAX_ITEMS));
        let each = |state: *mut lua_State| {
            // SAFETY: in a protected call, the table is at 1, and one slot is used of the twenty that a call has. A raw
            // read by number neither calls back nor converts.
            unsafe {
                for number in (1..).take(ffi::lua_rawlen(state, 1).min(MAX_ITEMS)) {
                    ffi::lua_rawgeti(state, 1, number);
                    items.push(held(state, -1));
                    ffi::lua_pop(state, 1);
                }
            }
        };
        // SAFETY: the closure leaves the stack within its limits and owns nothing.
        unsafe { lua.exec_raw::<()>(&table, each) }?;
        Ok(Items { table, items })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Held)> {
        (1..).zip(&self.items)
    }

    /// The fields of a map that is an element, by its number.
    pub(crate) fn inner<'a>(&self, lua: &Lua, number: usize, held: &'a Held) -> Option<&'a Fields> {
        let Held::Map(inner) = held else { return None };
        inner.get_or_init(|| Fields::read(lua, self.table.raw_get(number).ok()?).ok()).as_ref()
    }

    /// The elements of a list that is an element, by its number.
    pub(crate) fn list<'a>(&self, lua: &Lua, number: usize, held: &'a Held) -> Option<&'a Items> {
        let Held::List(list) = held else { return None };
        list.get_or_init(|| Items::read(lua, self.table.raw_get(number).ok()?).ok()).as_ref()
    }
}

impl Field {
    pub(crate) fn key(&self) -> &[u8] {
        self.key.bytes()
    }
}

/// By name, so that a heap keeps the first so many.
impl Ord for Field {
    fn cmp(&self, other: &Field) -> Ordering {
        self.key().cmp(other.key())
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

/// The text at a place of the stack, if one is there.
///
/// # Safety
/// There is a value at the place.
unsafe fn text(state: *mut lua_State, at: c_int) -> Option<Text> {
    // SAFETY: as the caller promises. A text is not converted, so nothing is allocated.
    unsafe {
        if ffi::lua_type(state, at) != ffi::LUA_TSTRING {
            return None;
        }
        let mut bytes = 0;
        let start = ffi::lua_tolstring(state, at, &raw mut bytes);
        Some(Text(NonNull::from(slice::from_raw_parts(start.cast::<u8>(), bytes))))
    }
}

/// The value at a place of the stack.
///
/// # Safety
/// There is a value at the place.
unsafe fn held(state: *mut lua_State, at: c_int) -> Held {
    // SAFETY: as the caller promises; nothing here is converted or allocated.
    unsafe {
        match ffi::lua_type(state, at) {
            ffi::LUA_TSTRING => text(state, at).map_or(Held::Opaque, Held::Text),
            ffi::LUA_TTABLE if ffi::lua_rawlen(state, at) == 0 => Held::Map(OnceCell::new()),
            ffi::LUA_TTABLE => Held::List(OnceCell::new()),
            ffi::LUA_TBOOLEAN => Held::Bool(ffi::lua_toboolean(state, at) != 0),
            ffi::LUA_TNUMBER if ffi::lua_isinteger(state, at) != 0 => {
                Held::Int(ffi::lua_tointeger(state, at))
            }
            ffi::LUA_TNUMBER => Held::Float(ffi::lua_tonumber(state, at)),
            _ => Held::Opaque,
        }
    }
}

/// Sets tags in a table, as an object under the style's key or one by one.
///
/// # Errors
/// If Lua is out of memory; an object is then not in the table at all.
pub(crate) fn write_tags(lua: &Lua, table: &Table, style: &TagStyle, tags: &Tags) -> mlua::Result<()> {
    let nested = style.profile == Profile::Nested;
    let all = |state: *mut lua_State| {
        // SAFETY: in a protected call, the table is at 1, and at most six slots are used of the twenty that a call has.
        // Borrowed values only: nothing is to be dropped if an error of Lua's ends the call here.
        unsafe {
            if nested {
                push(state, style.key.as_bytes());
                let fields = c_int::try_from(style.entries(tags).count()).unwrap_or_default();
                ffi::lua_createtable(state, 0, fields);
            }
            let target = if nested { 3 } else { 1 };
            for (name, value) in style.entries(tags) {
                push_name(state, name);
                push_value(state, value);
                ffi::lua_rawset(state, target);
            }
            if nested {
                ffi::lua_rawset(state, 1);
            }
        }
    };
    // SAFETY: the closure leaves the stack within its limits and owns nothing.
    unsafe { lua.exec_raw::<()>(table, all) }
}

/// # Safety
/// In a protected call, with a slot free.
unsafe fn push(state: *mut lua_State, text: &[u8]) {
    // SAFETY: Lua copies that many bytes.
    unsafe { ffi::lua_pushlstring(state, text.as_ptr().cast(), text.len()) };
}

/// # Safety
/// In a protected call, with three slots free.
unsafe fn push_name(state: *mut lua_State, name: TagName<'_>) {
    // SAFETY: as the caller promises.
    unsafe {
        if let Some(word) = name.whole() {
            push(state, word.as_bytes());
        } else {
            name.parts().iter().for_each(|part| push(state, part.as_bytes()));
            ffi::lua_concat(state, 3);
        }
    }
}

/// # Safety
/// In a protected call, with two slots free.
unsafe fn push_value(state: *mut lua_State, value: TagValue<'_>) {
    // SAFETY: as the caller promises.
    unsafe {
        match value {
            TagValue::Number(number) => ffi::lua_pushnumber(state, number),
            TagValue::Text(text) => push(state, text.as_bytes()),
            TagValue::Id(id) => push(state, &id.hex()),
            TagValue::Flags(flags) => {
                ffi::lua_createtable(state, c_int::try_from(flags.len()).unwrap_or_default(), 0);
                for (flag, at) in flags.iter().zip(1..) {
                    push(state, flag.as_str().as_bytes());
                    ffi::lua_rawseti(state, -2, at);
                }
            }
        }
    }
}
