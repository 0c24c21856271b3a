//! Vector's `remap` transform as a program sees it: an event with its metadata, and one `memory` enrichment table, whose
//! look-up function has Vector's signature. Compiled and run by the `vrl` crate.
//!
//! Whatever would make Vector drop an event or leave it untouched (an error at run time, an abort) is a panic here.
#![allow(dead_code, reason = "every test uses the part it needs")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use oddline_engine::advice::row::SIDECAR_KEY;
use vrl::{
    compiler::{
        CompileConfig, Context, Program, TargetValue, compile_with_external,
        prelude::*,
        state::{ExternalEnv, RuntimeState},
    },
    diagnostic::Formatter,
    value::{Secrets, Value},
};

type Rows = Arc<Mutex<BTreeMap<String, serde_json::Value>>>;

/// A compiled program and the table that it asks.
pub(crate) struct Vrl {
    program: Program,
    rows: Rows,
}

impl Vrl {
    /// Compiles a program for events of any shape.
    pub(crate) fn compile(text: &str) -> Result<Vrl, String> {
        Vrl::compile_for(text, Kind::any())
    }

    /// Compiles a program for events of a kind.
    pub(crate) fn compile_for(text: &str, event: Kind) -> Result<Vrl, String> {
        let rows = Rows::default();
        let mut functions = vrl::stdlib::all();
        functions.push(Box::new(LookUp(Arc::clone(&rows))));
        let external = ExternalEnv::new_with_kind(event, Kind::object(Collection::any()));
        let compiled = compile_with_external(text, &functions, &external, CompileConfig::default())
            .map_err(|faults| Formatter::new(text, faults).to_string())?;
        Ok(Vrl { program: compiled.program, rows })
    }

    /// Puts a row into the table.
    pub(crate) fn put(&self, key: &str, row: serde_json::Value) {
        self.rows.lock().unwrap().insert(key.to_owned(), row);
    }

    /// Says that a sidecar is there, by a heartbeat that is not going to be old.
    pub(crate) fn open(&self) {
        self.put(SIDECAR_KEY, serde_json::json!({"at": 4e9, "silenced": "", "offset": 0.0}));
    }

    /// One event; gives it and its metadata as they leave.
    pub(crate) fn run(&self, event: Value, metadata: Value) -> (Value, Value) {
        let mut target = TargetValue { value: event, metadata, secrets: Secrets::new() };
        let (mut state, zone) = (RuntimeState::default(), TimeZone::default());
        let mut context = Context::new(&mut target, &mut state, &zone);
        if let Err(error) = self.program.resolve(&mut context)
            && !matches!(error, ExpressionError::Return { .. })
        {
            panic!("{error}: the event is lost or left untouched");
        }
        (target.value, target.metadata)
    }

    /// One event under a tag, as JSON.
    pub(crate) fn judge(
        &self,
        tag: &str,
        record: &serde_json::Map<String, serde_json::Value>,
    ) -> serde_json::Value {
        let metadata = serde_json::json!({"oddline": {"tag": tag}});
        let record = serde_json::Value::Object(record.clone());
        let (event, _) = self.run(Value::from(record), Value::from(metadata));
        event.try_into().unwrap()
    }

    /// One event without metadata, as JSON.
    pub(crate) fn json(&self, event: serde_json::Value) -> (serde_json::Value, serde_json::Value) {
        let (event, metadata) = self.run(Value::from(event), Value::Object(BTreeMap::new()));
        (event.try_into().unwrap(), metadata.try_into().unwrap())
    }
}

/// `find_enrichment_table_records(table, condition)`, as far as programs use it.
#[derive(Clone, Debug)]
struct LookUp(Rows);

impl Function for LookUp {
    fn identifier(&self) -> &'static str {
        "find_enrichment_table_records"
    }

    fn usage(&self) -> &'static str {
        "Finds rows."
    }

    fn category(&self) -> &'static str {
        "enrichment"
    }

    fn return_kind(&self) -> u16 {
        kind::ARRAY
    }

    fn parameters(&self) -> &'static [Parameter] {
        const PARAMETERS: &[Parameter] = &[
            Parameter::required("table", kind::BYTES, "The table."),
            Parameter::required("condition", kind::OBJECT, "What the row must have."),
        ];
        PARAMETERS
    }

    fn examples(&self) -> &'static [Example] {
        &[]
    }

    fn compile(
        &self,
        state: &TypeState,
        _: &mut FunctionCompileContext,
        arguments: ArgumentList,
    ) -> Compiled {
        let table = arguments.required_literal("table", state)?;
        assert_eq!(table.try_bytes_utf8_lossy().unwrap(), "oddline", "the only table there is");
        Ok(Found { rows: Arc::clone(&self.0), condition: arguments.required_object("condition")? }.as_expr())
    }
}

#[derive(Clone, Debug)]
struct Found {
    rows: Rows,
    condition: BTreeMap<KeyString, expression::Expr>,
}

impl FunctionExpression for Found {
    fn resolve(&self, context: &mut Context) -> Resolved {
        let key = self.condition["key"].resolve(context)?;
        let key = key.try_bytes_utf8_lossy()?.into_owned();
        let rows = self.rows.lock().unwrap();
        let rows = rows.get(&key).map(|row| {
            let row = [("key", Value::from(key.as_str())), ("value", row.clone().into()), ("ttl", 60.into())];
            row.into_iter().map(|(name, value)| (KeyString::from(name), value)).collect::<Value>()
        });
        Ok(Value::Array(rows.into_iter().collect()))
    }

    fn type_def(&self, _: &TypeState) -> TypeDef {
        TypeDef::array(Collection::from_unknown(Kind::object(Collection::any()))).fallible()
    }
}
