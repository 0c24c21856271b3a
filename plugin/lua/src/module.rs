//! Takes Lua's calls, gives the module's table: the border between Lua and the detector, and the only place with a clock.
//!
//! Functions here do not raise errors: an error of this module's own binding would reach Vector, which has another copy of
//! it, without its text. They answer with values, and `module.lua` says the rest. Must not know: what an event holds.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{SystemTime, UNIX_EPOCH},
};

use mlua::{Lua, Table, UserData, UserDataRef, UserDataRefMut, Value};
use oddline_codec::{DETOUR_KEY, SUMMARY_KEY, TAG_KEY};
use oddline_engine::{Summary, UnixNanos};

use crate::{
    detector::{Detector, More},
    options,
};

/// The tag under which summaries travel.
const SUMMARY_TAG: &str = "oddline.summary.lua";
/// What `judge` answers for [`More`].
const COPY: u8 = 1;
const NOTICES: u8 = 2;

impl UserData for Detector {}

/// The module's table.
///
/// # Errors
/// If Lua is out of memory.
pub fn open(lua: &Lua) -> mlua::Result<Table> {
    let native = lua.create_table()?;
    native.set("COPY", COPY)?;
    native.set("new", lua.create_function(new)?)?;
    native.set("judge", lua.create_function(judge)?)?;
    native.set("copy", lua.create_function(copy)?)?;
    native.set("tick", lua.create_function(tick)?)?;
    native.set("stop", lua.create_function(stop)?)?;
    native.set("notices", lua.create_function(notices)?)?;
    native.set("failed", lua.create_function(failed)?)?;
    native.set("counters", lua.create_function(counters)?)?;
    lua.load(include_str!("module.lua")).set_name("=oddline").call((native, env!("CARGO_PKG_VERSION")))
}

type Core = UserDataRefMut<Detector>;

fn new(_: &Lua, options: Value) -> mlua::Result<(Option<Detector>, Option<String>)> {
    let table = match options {
        Value::Nil => None,
        Value::Table(table) => Some(table),
        other => return Ok((None, Some(format!("options are a {}, not a table", other.type_name())))),
    };
    Ok(match options::settings(table) {
        Ok(settings) => (Some(Detector::new(settings, now())), None),
        Err(faults) => (None, Some(faults)),
    })
}

fn judge(lua: &Lua, (mut core, log, tag): (Core, Value, Value)) -> mlua::Result<Option<u8>> {
    let tag = match &tag {
        Value::String(tag) => Some(tag.as_bytes()),
        _ => None,
    };
    // A metric has none, and passes.
    let Value::Table(log) = log else { return Ok(None) };
    let judged = catch_unwind(AssertUnwindSafe(|| core.judge(lua, log, tag.as_deref(), now())));
    Ok(match judged {
        Ok(more) => more.map(|more| if more == More::Copy { COPY } else { NOTICES }),
        Err(_) => {
            core.count_panic();
            Some(NOTICES)
        }
    })
}

fn copy(lua: &Lua, (mut core, log): (Core, Table)) -> mlua::Result<bool> {
    Ok(core.copy(lua, log))
}

/// A summary as an event for the sidecar, if it is time for one.
fn tick(lua: &Lua, mut core: Core) -> mlua::Result<Option<Table>> {
    core.tick(now()).map(|summary| summary_event(lua, &summary)).transpose()
}

fn stop(_: &Lua, mut core: Core) -> mlua::Result<()> {
    core.stop();
    Ok(())
}

fn notices(_: &Lua, mut core: Core) -> mlua::Result<Vec<String>> {
    Ok(core.notices())
}

fn failed(_: &Lua, mut core: Core) -> mlua::Result<()> {
    core.count_panic();
    Ok(())
}

fn counters(lua: &Lua, core: UserDataRef<Detector>) -> mlua::Result<Table> {
    let (counters, panics) = core.counters();
    let table = lua.create_table()?;
    if let Ok(serde_json::Value::Object(counters)) = serde_json::to_value(counters) {
        for (name, value) in counters {
            table.raw_set(name, value.as_u64())?;
        }
    }
    table.raw_set("panics", panics)?;
    Ok(table)
}

fn summary_event(lua: &Lua, summary: &Summary) -> mlua::Result<Table> {
    let value = serde_json::to_value(summary).unwrap_or_default();
    let log = lua.create_table_from([(SUMMARY_KEY, to_lua(lua, &value)?)])?;
    log.raw_set(TAG_KEY, SUMMARY_TAG)?;
    log.raw_set(DETOUR_KEY, true)?;
    lua.create_table_from([("log", log)])
}

/// Recurses as deep as a summary is: four levels.
fn to_lua(lua: &Lua, value: &serde_json::Value) -> mlua::Result<Value> {
    Ok(match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => Value::Boolean(*value),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(whole) => Value::Integer(whole),
            None => Value::Number(number.as_f64().unwrap_or_default()),
        },
        serde_json::Value::String(text) => Value::String(lua.create_string(text)?),
        serde_json::Value::Array(items) => {
            let items: Vec<Value> =
                items.iter().map(|item| to_lua(lua, item)).collect::<mlua::Result<_>>()?;
            Value::Table(lua.create_sequence_from(items)?)
        }
        serde_json::Value::Object(pairs) => {
            let table = lua.create_table_with_capacity(0, pairs.len())?;
            for (key, value) in pairs {
                table.raw_set(key.as_str(), to_lua(lua, value)?)?;
            }
            Value::Table(table)
        }
    })
}

fn now() -> UnixNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
