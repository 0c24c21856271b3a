//! Fluent Bit's `filter_wasm` as the module sees it: arguments are copied in through the exported `malloc`, each with a
//! NUL behind it; the answer is a NUL-terminated text that is copied out; then both arguments are freed.
//!
//! Whatever would make the shipper lose a record (a trap, NULL, an empty or invalid answer) is a panic here.
//! `ODDLINE_WASM_FILTER` names the module; `cargo xtask test` builds it and sets that.
#![allow(dead_code, reason = "every test uses the part it needs")]

use std::{path::PathBuf, sync::OnceLock};

use serde_json::Value;
use wasmtime::{Config, Engine, Instance, Linker, Memory, Module, Store, TypedFunc};

use super::wasi::{self, World};

type Filter = TypedFunc<(u32, u32, u32, u32, u32, u32), u32>;

/// One instance of the module.
pub(crate) struct Wasm {
    store: Store<World>,
    memory: Memory,
    malloc: TypedFunc<u32, u32>,
    free: TypedFunc<u32, ()>,
    filter: Filter,
}

fn module() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| {
        // What Fluent Bit's interpreter does not take.
        let mut config = Config::new();
        config.wasm_simd(false).wasm_relaxed_simd(false).wasm_tail_call(false);
        config.wasm_multi_memory(false).wasm_memory64(false);
        let engine = Engine::new(&config).expect("a usual configuration");
        Module::from_file(&engine, acceptance::built("ODDLINE_WASM_FILTER")).expect("the module loads")
    })
}

impl Wasm {
    /// Starts an instance with these `accessible_paths`.
    pub(crate) fn start(directories: Vec<PathBuf>) -> Wasm {
        let mut linker = Linker::new(module().engine());
        wasi::define(&mut linker).unwrap();
        let world = World::new(directories, 1_700_000_000_000_000_000);
        let mut store = Store::new(module().engine(), world);
        let instance: Instance = linker.instantiate(&mut store, module()).expect("every import is known");
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut store, "_initialize") {
            initialize.call(&mut store, ()).unwrap();
        }
        Wasm {
            memory: instance.get_memory(&mut store, "memory").expect("a memory"),
            // Without both, the host would put its own heap over the module's memory.
            malloc: instance.get_typed_func(&mut store, "malloc").expect("malloc is exported"),
            free: instance.get_typed_func(&mut store, "free").expect("free is exported"),
            filter: instance.get_typed_func(&mut store, "oddline_filter").expect("the filter is exported"),
            store,
        }
    }

    /// Sets the wall clock.
    pub(crate) fn set_clock(&mut self, nanos: i64) {
        self.store.data_mut().nanos = nanos;
    }

    /// What the module wrote to standard error since the last call.
    pub(crate) fn stderr(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.store.data_mut().stderr)).unwrap()
    }

    /// One record; the answer as text.
    pub(crate) fn text(&mut self, tag: &str, record: &[u8]) -> String {
        let (tag_at, record_at) = (self.copy_in(tag.as_bytes()), self.copy_in(record));
        let lengths = (tag.len() as u32, record.len() as u32);
        let arguments = (tag_at, lengths.0, 1_700_000_000, 0, record_at, lengths.1);
        let answer = self.filter.call(&mut self.store, arguments).expect("a trap deletes the record");
        assert_ne!(answer, 0, "NULL deletes the record");
        let memory = &self.memory.data(&self.store)[answer as usize..];
        let end = memory.iter().position(|byte| *byte == 0).expect("the answer ends within memory");
        let answer = String::from_utf8(memory[..end].to_vec()).expect("the answer is UTF-8");
        assert!(!answer.is_empty(), "an empty answer deletes the record");
        for pointer in [tag_at, record_at] {
            self.free.call(&mut self.store, pointer).unwrap();
        }
        answer
    }

    /// One record; the answer as a value.
    pub(crate) fn record(&mut self, tag: &str, record: &[u8]) -> Value {
        let answer = self.text(tag, record);
        let value: Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
        assert!(value.is_object(), "the host drops what is no object: {answer}");
        value
    }

    /// Calls the filter with raw arguments; the answer's pointer.
    pub(crate) fn raw(&mut self, arguments: (u32, u32, u32, u32, u32, u32)) -> u32 {
        self.filter.call(&mut self.store, arguments).expect("a trap deletes the record")
    }

    /// Bytes of memory that the instance holds.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory.data_size(&self.store)
    }

    fn copy_in(&mut self, bytes: &[u8]) -> u32 {
        let at = self.malloc.call(&mut self.store, bytes.len() as u32 + 1).unwrap();
        assert_ne!(at, 0, "malloc");
        self.memory.write(&mut self.store, at as usize, bytes).unwrap();
        self.memory.write(&mut self.store, at as usize + bytes.len(), &[0]).unwrap();
        at
    }
}
