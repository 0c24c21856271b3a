//! Conditions in VRL (`when`): takes their text, gives programs that say yes or no to a record. Knows no rule.
//!
//! VRL is compiled without its standard library, which is large and can read files, ask the network and spawn work: the
//! few functions that a condition needs are in `functions`. A condition is one expression. It reads the record and
//! nothing else, has no variables and no loops, and gets a budget of steps, so that its cost is bounded by its own size
//! and the record's.

mod functions;
mod scan;

use std::{collections::BTreeMap, ops::ControlFlow};

use oddline_engine::{Scalar, Visitor, plain, rules::MAX_WHEN_BYTES};
use vrl::{
    compiler::{
        CompileConfig, Program, TargetValueRef, TimeZone, TypeState, compile_with_state,
        runtime::Runtime,
        state::{ExternalEnv, LocalEnv},
    },
    diagnostic::DiagnosticList,
    prelude::NotNan,
    value::{KeyString, Secrets, Value},
};

/// Most of what the compiler says that is told: it repeats the source.
const MAX_TOLD_BYTES: usize = 1_000;
/// Steps that one evaluation may take: a condition of the greatest length has fewer.
const MAX_STEPS: u32 = 20_000;
/// Put around a condition whose evaluation can fail: a failure then shows as null.
const GUARD: (&str, &str) = ("({\n", "\n}) ?? null");

/// A condition, compiled.
pub struct Condition(Program);

/// What a condition says about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It holds.
    Holds,
    /// It does not.
    Not,
    /// It could not be evaluated, e.g. a text was compared with a number: as good as not, and counted.
    Failed,
}

impl Condition {
    /// Compiles and type-checks.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn compile(source: &str) -> Result<Condition, String> {
        if source.len() > MAX_WHEN_BYTES {
            let bytes = source.len();
            return Err(format!(
                "has {bytes} bytes, more than the limit of {MAX_WHEN_BYTES}; split the rule"
            ));
        }
        scan::one_expression(source)?;
        let program = program(source).or_else(|first| {
            // It may only be that it can fail; then a failure is an answer, too.
            let guarded = format!("{}{source}{}", GUARD.0, GUARD.1);
            program(&guarded).map_err(|_| first)
        })?;
        let result = program.final_type_info().result;
        let mut kind = result.kind().clone();
        kind.remove_null();
        if !kind.is_boolean() {
            return Err("may give something else than true or false; compare it with a value".to_owned());
        }
        Ok(Condition(program))
    }

    /// Asks it about a record.
    pub fn ask(&self, record: &mut Whole) -> Answer {
        let mut steps = 0u32;
        let mut control = || {
            steps = steps.saturating_add(1);
            if steps > MAX_STEPS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut target = TargetValueRef {
            value: &mut record.value,
            metadata: &mut record.metadata,
            secrets: &mut record.secrets,
        };
        let outcome =
            Runtime::default().resolve_with_control(&mut target, &self.0, &TimeZone::default(), &mut control);
        match outcome {
            Ok(Value::Boolean(true)) => Answer::Holds,
            Ok(Value::Boolean(false)) => Answer::Not,
            _ => Answer::Failed,
        }
    }
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Condition").finish_non_exhaustive()
    }
}

fn program(source: &str) -> Result<Program, String> {
    let mut config = CompileConfig::default();
    config.set_read_only();
    let state = TypeState { local: LocalEnv::default(), external: ExternalEnv::default() };
    match compile_with_state(source, &functions::all(), &state, config) {
        Ok(compiled) => Ok(compiled.program),
        Err(diagnostics) => Err(told(source, &diagnostics)),
    }
}

/// The first fault in one line, with its column.
fn told(source: &str, diagnostics: &DiagnosticList) -> String {
    let Some(fault) = diagnostics.errors().into_iter().next() else {
        return "is not valid VRL".to_owned();
    };
    let label = fault.labels().iter().find(|label| label.primary).or_else(|| fault.labels().first());
    let at = label.map_or(0, |label| label.span.start());
    let column = source.get(..at).map_or(1, |before| before.chars().count() + 1);
    let mut text = format!("column {column}: {}", fault.message());
    for label in fault.labels() {
        if !label.message.is_empty() && !text.contains(&label.message) {
            text.push_str("; ");
            text.push_str(&label.message);
        }
    }
    plain(&text.split_whitespace().collect::<Vec<_>>().join(" "), MAX_TOLD_BYTES)
}

/// A whole record, as conditions see it.
#[derive(Debug)]
pub struct Whole {
    value: Value,
    metadata: Value,
    secrets: Secrets,
}

impl Whole {
    /// The record of these fields.
    pub fn of(fields: BTreeMap<KeyString, Value>) -> Whole {
        Whole {
            value: Value::Object(fields),
            metadata: Value::Object(BTreeMap::new()),
            secrets: Secrets::default(),
        }
    }
}

/// Builds a [`Whole`] from what a codec shows. Lists are not shown, and are null.
#[derive(Debug, Default)]
pub struct Gather {
    root: BTreeMap<KeyString, Value>,
    /// Maps that are being filled, with their keys.
    open: Vec<(KeyString, BTreeMap<KeyString, Value>)>,
}

impl Gather {
    /// The record; `message` is what was picked as the message, for records that have no field of that name.
    pub fn finish(mut self, message: &[u8]) -> Whole {
        while !self.open.is_empty() {
            self.close();
        }
        if !self.root.contains_key("message") && !message.is_empty() {
            self.root.insert("message".into(), text(message));
        }
        Whole::of(self.root)
    }

    fn map(&mut self) -> &mut BTreeMap<KeyString, Value> {
        self.open.last_mut().map_or(&mut self.root, |(_, map)| map)
    }

    fn close(&mut self) {
        if let Some((key, map)) = self.open.pop() {
            self.map().insert(key, Value::Object(map));
        }
    }
}

impl<'a> Visitor<'a> for Gather {
    fn enter(&mut self, key: &[u8]) -> bool {
        self.open.push((String::from_utf8_lossy(key).as_ref().into(), BTreeMap::new()));
        true
    }

    fn leave(&mut self) {
        self.close();
    }

    fn scalar(&mut self, key: &[u8], value: Scalar<'a>) {
        let value = match value {
            Scalar::Bool(value) => Value::Boolean(value),
            Scalar::Int(value) => Value::Integer(value),
            Scalar::Float(value) => NotNan::new(value).map_or(Value::Null, Value::Float),
            Scalar::Text(value) => text(&value),
            _ => Value::Null,
        };
        let key: KeyString = String::from_utf8_lossy(key).as_ref().into();
        // The first of several, as everywhere.
        self.map().entry(key).or_insert(value);
    }
}

fn text(bytes: &[u8]) -> Value {
    Value::Bytes(bytes.to_vec().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Whole {
        let mut gather = Gather::default();
        gather.scalar(b"status", Scalar::Int(502));
        gather.scalar(b"took", Scalar::Float(1.5));
        gather.scalar(b"log", Scalar::Text(b"GET /admin".as_slice().into()));
        assert!(gather.enter(b"http"));
        gather.scalar(b"method", Scalar::Text(b"GET".as_slice().into()));
        gather.scalar(b"client", Scalar::Text(b"10.1.2.3".as_slice().into()));
        gather.leave();
        gather.finish(b"GET /admin")
    }

    fn ask(source: &str) -> Result<Answer, String> {
        Ok(Condition::compile(source)?.ask(&mut record()))
    }

    #[test]
    fn conditions_hold_or_do_not() {
        for (source, answer) in [
            (".status >= 500", Answer::Holds),
            (".status == 502 && .http.method != \"POST\"", Answer::Holds),
            (".status < 500", Answer::Not),
            (".absent == null", Answer::Holds),
            ("exists(.http.method) && !exists(.http.path)", Answer::Holds),
            ("contains(.message, \"/admin\")", Answer::Holds),
            ("contains(.message, \"/ADMIN\", case_sensitive: false)", Answer::Holds),
            ("contains(string!(.message), \"/ADMIN\")", Answer::Not),
            ("starts_with(.log, \"GET\") && ends_with(.log, \"admin\")", Answer::Holds),
            ("match(.log, r'^GET\\s+/\\w+$')", Answer::Holds),
            ("match_any(.log, [r'^PUT', r'admin$'])", Answer::Holds),
            ("includes([\"GET\", \"HEAD\"], .http.method)", Answer::Holds),
            ("ip_cidr_contains(\"10.0.0.0/8\", .http.client)", Answer::Holds),
            ("ip_cidr_contains(\"10.2.0.0/16\", .http.client)", Answer::Not),
            ("downcase(.http.method) == \"get\" && length(.http.method) == 3", Answer::Holds),
            ("to_float(.took) > 1.0 && to_int(\"7\") == 7", Answer::Holds),
            ("is_string(.log) && is_integer(.status) && is_null(.x) && is_object(.http)", Answer::Holds),
            ("if .status == 502 { true } else { false }", Answer::Holds),
        ] {
            assert_eq!(ask(source), Ok(answer), "{source}");
        }
    }

    #[test]
    fn what_cannot_be_evaluated_does_not_hold() {
        for source in
            [".log > 5", ".absent > 5", "contains(.status, \"x\")", "to_int(.log) > 1", ".status / 0 > 1"]
        {
            assert_eq!(ask(source), Ok(Answer::Failed), "{source}");
        }
    }

    #[test]
    fn faults_are_found_when_it_is_compiled() {
        for (source, wanted) in [
            (".status >=", "column 11: syntax error"),
            (".status", "may give something else than true or false"),
            ("\"text\"", "may give something else than true or false"),
            (".status = 5", "column 9: `=` would set something; a condition only reads: write `==`"),
            ("x = 1; x == 1", "column 3: `=` would set something"),
            (
                ".a * 5 > 3",
                "column 4: `*` is not available, because it also repeats texts; divide the other side instead",
            ),
            ("nosuch(.a)", "column 1: call to undefined function"),
            ("get_env_var(\"HOME\") == \"x\"", "column 1: call to undefined function"),
            ("del(.a) == 1", "column 1: call to undefined function"),
            ("", "is empty"),
        ] {
            let found = ask(source).unwrap_err();
            assert!(found.starts_with(wanted), "{source}: {found}");
        }
        for bytes in [MAX_WHEN_BYTES + 1, MAX_WHEN_BYTES * 10] {
            let source = format!(".a == \"{}\"", "x".repeat(bytes - 8));
            assert!(ask(&source).unwrap_err().contains("more than the limit"));
        }
        let source = format!(".a == \"{}\"", "x".repeat(MAX_WHEN_BYTES - 8));
        assert_eq!(ask(&source), Ok(Answer::Not));
        let nested = format!("{}true{}", "(".repeat(1_000), ")".repeat(1_000));
        assert!(ask(&nested).unwrap_err().contains("nested"), "{nested}");
    }

    /// Found by fuzzing: the compiler repeats what it stumbles over.
    #[test]
    fn a_fault_is_told_in_one_plain_line() {
        let told = Condition::compile(".message == \"a\\\0\"").unwrap_err();
        assert!(told.contains("invalid escape") && !told.contains(char::is_control), "{told:?}");
    }

    #[test]
    fn signs_within_texts_and_comments_are_only_text() {
        assert_eq!(ask(".log == \"a = b * c\""), Ok(Answer::Not));
        assert_eq!(ask("match(.log, r'a=b*') # a = b\n"), Ok(Answer::Not));
        assert_eq!(ask(".log == s'a = \"b'"), Ok(Answer::Not));
    }
}
