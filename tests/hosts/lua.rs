//! Vector's `lua` transform, version 2, as a script and a native module see it: a Lua 5.4 that may load libraries, a
//! folder to search, hooks that are expressions; events go in and out as Vector 0.58 converts them.
//!
//! Whatever would make Vector lose an event (an error in a hook, a value that is none of its own) is a panic here.
//! `ODDLINE_LUA_MODULE` names the library, beside which the script of its hooks lies; `cargo xtask test` builds it.
#![allow(dead_code, reason = "every test uses the part it needs")]
#![expect(unsafe_code, reason = "a Lua that may load libraries is unsafe to make")]

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    rc::Rc,
};

use mlua::{Function, Lua, LuaOptions, StdLib, Table, Value as Held};
use serde_json::{Map, Value};

/// One transform.
pub(crate) struct Host {
    lua: Lua,
    hooks: Table,
    log: Rc<RefCell<Vec<String>>>,
}

/// The folder with the library and its script.
pub(crate) fn folder() -> PathBuf {
    let library = PathBuf::from(acceptance::built("ODDLINE_LUA_MODULE"));
    assert_eq!(library.file_name().unwrap(), "oddline.so", "Lua finds its entry by this name");
    library.parent().unwrap().to_owned()
}

/// A Lua as Vector makes it, with one folder to search.
pub(crate) fn lua(search: &Path) -> Lua {
    // SAFETY: the only library that is loaded is our own.
    let lua = unsafe { Lua::unsafe_new_with(StdLib::ALL_SAFE, LuaOptions::default()) };
    let package: Table = lua.globals().get("package").unwrap();
    let path: String = package.get("path").unwrap();
    package.set("path", format!("{}/?.lua;{path}", search.display())).unwrap();
    lua
}

impl Host {
    /// Starts a transform with these options; what Vector would say when it refuses to start.
    pub(crate) fn start(options: &Value) -> Result<Host, String> {
        Host::start_in(&folder(), options)
    }

    /// As [`Host::start`], with another folder to search.
    pub(crate) fn start_in(search: &Path, options: &Value) -> Result<Host, String> {
        let lua = lua(search);
        let log = Rc::new(RefCell::new(Vec::new()));
        let lines = Rc::clone(&log);
        let told = lua.create_function(move |_, line: String| {
            lines.borrow_mut().push(line);
            Ok(())
        });
        let set = into_lua(&lua, options);
        set.as_table().expect("options are an object").set("log", told.unwrap()).unwrap();
        let start: Function = lua.load("return require('oddline_hooks').start").eval().map_err(text)?;
        let hooks: Table = start.call(set).map_err(text)?;
        Ok(Host { lua, hooks, log })
    }

    /// The log of one event through `hooks.process`; what was emitted.
    pub(crate) fn process(&self, log: &Map<String, Value>) -> Vec<Value> {
        self.process_as(log, None)
    }

    /// As [`Host::process`], or with a tag of the script's own.
    pub(crate) fn process_as(&self, log: &Map<String, Value>, tag: Option<&str>) -> Vec<Value> {
        let log: Table = self
            .lua
            .create_table_from(log.iter().map(|(key, value)| (key.as_str(), into_lua(&self.lua, value))))
            .unwrap();
        let event = self.lua.create_table_from([("log", log)]).unwrap();
        self.pass(event, tag)
    }

    /// An event of Lua's own making through `hooks.process`.
    pub(crate) fn pass(&self, event: Table, tag: Option<&str>) -> Vec<Value> {
        self.emitted(|emit| match tag {
            None => self.hooks.get::<Function>("process").unwrap().call((event, emit)),
            Some(tag) => {
                let detector: Table = self.hooks.get("detector").unwrap();
                detector.get::<Function>("process").unwrap().call((detector, event, emit, tag))
            }
        })
    }

    /// One tick of the timer; what was emitted.
    pub(crate) fn tick(&self) -> Vec<Value> {
        self.emitted(|emit| self.hooks.get::<Function>("timer").unwrap().call(emit))
    }

    /// What happens when Vector stops.
    pub(crate) fn stop(self) -> Vec<String> {
        assert!(self.emitted(|emit| self.hooks.get::<Function>("shutdown").unwrap().call(emit)).is_empty());
        self.log()
    }

    /// Lines for the operator since the last call.
    pub(crate) fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.log.borrow_mut())
    }

    /// What the detector has counted.
    pub(crate) fn counter(&self, name: &str) -> i64 {
        let detector: Table = self.hooks.get("detector").unwrap();
        let counters: Table = detector.get::<Function>("counters").unwrap().call(detector).unwrap();
        counters.get(name).unwrap()
    }

    /// As [`Host::pass`], with an event that Vector itself would not take back.
    pub(crate) fn pass_unseen(&self, event: Table) {
        let emit = self.lua.create_function(|_, _: Table| Ok(())).unwrap();
        self.hooks.get::<Function>("process").unwrap().call::<()>((event, emit)).unwrap();
    }

    /// What the script gave for the hooks.
    pub(crate) fn hooks(&self) -> &Table {
        &self.hooks
    }

    /// Runs a piece of Lua in the transform, with an argument.
    pub(crate) fn call<T: mlua::FromLuaMulti>(&self, source: &str, argument: Table) -> T {
        self.lua.load(source).call(argument).unwrap()
    }

    /// Runs a piece of Lua in the transform.
    pub(crate) fn run<T: mlua::FromLuaMulti>(&self, source: &str) -> T {
        self.lua.load(source).eval().unwrap()
    }

    fn emitted(&self, call: impl FnOnce(Function) -> mlua::Result<()>) -> Vec<Value> {
        let emitted = Rc::new(RefCell::new(Vec::new()));
        let events = Rc::clone(&emitted);
        // Vector converts an event while it is emitted: what the script does to the table later is not in it.
        let emit = self.lua.create_function(move |_, event: Table| {
            let log = event.raw_get::<Held>("log")?;
            events.borrow_mut().push(if log.is_nil() { Value::Null } else { from_lua(&log) });
            Ok(())
        });
        call(emit.unwrap()).expect("an error in a hook loses the event");
        emitted.take()
    }
}

fn text(error: mlua::Error) -> String {
    error.to_string()
}

/// Null becomes an empty text, as Vector has it.
pub(crate) fn into_lua(lua: &Lua, value: &Value) -> Held {
    match value {
        Value::Null => Held::String(lua.create_string("").unwrap()),
        Value::Bool(value) => Held::Boolean(*value),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| Held::Number(number.as_f64().unwrap()), Held::Integer)
        }
        Value::String(text) => Held::String(lua.create_string(text).unwrap()),
        Value::Array(items) => {
            let items = items.iter().map(|item| into_lua(lua, item));
            Held::Table(lua.create_sequence_from(items).unwrap())
        }
        Value::Object(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| (key.as_str(), into_lua(lua, value)));
            Held::Table(lua.create_table_from(pairs).unwrap())
        }
    }
}

/// A table without a first item is an object, also an empty list; what is no value of Vector's loses the event.
fn from_lua(value: &Held) -> Value {
    match value {
        Held::Boolean(value) => (*value).into(),
        Held::Integer(value) => (*value).into(),
        Held::Number(value) => {
            assert!(!value.is_nan(), "NaN loses the event");
            (*value).into()
        }
        Held::String(text) => text.to_string_lossy().into(),
        Held::Table(list) if list.raw_len() > 0 => {
            list.sequence_values().map(|item| from_lua(&item.unwrap())).collect()
        }
        Held::Table(map) => {
            let pairs = map.pairs::<mlua::LuaString, Held>().map(Result::unwrap);
            pairs
                .map(|(key, value)| (key.to_str().expect("keys are UTF-8").to_owned(), from_lua(&value)))
                .collect()
        }
        other => panic!("a {} loses the event", other.type_name()),
    }
}
