//! The rules of the VRL program, compiled and run by the `vrl` crate, beside the engine: the same best rule for every
//! example of the built-in rules, for generated messages and records, and whatever a rule file holds.

#[path = "hosts/vrl.rs"]
mod host;
#[path = "vrl_rules/hostile.rs"]
mod hostile;
#[path = "vrl_rules/same.rs"]
mod same;

use std::sync::Arc;

use host::Vrl;
use oddline_engine::{
    Engine, Mode, Options, Picker, Settings, UnixNanos, Visitor,
    rules::{Example, Rule, RuleSet},
};
use serde_json::{Map, Value, json};

/// What a program and the engine say of the same events.
struct Both {
    vrl: Vrl,
    set: Arc<RuleSet>,
    settings: Settings,
    picker: Picker,
}

impl Both {
    fn new(rules: Vec<Rule>, options: Options) -> Both {
        let settings = Settings::new(&options).unwrap();
        let program = oddline_vrl::program(&settings, &rules);
        assert_eq!(program.left_out, []);
        let set = Arc::new(RuleSet::compile(rules).set);
        let picker = Picker::new(&settings, &set);
        Both { vrl: compile(&program.text), set, settings, picker }
    }

    /// The best rule of the engine and of the program for an event, the first that either sees: the program has no memory.
    fn of(&self, event: &Map<String, Value>) -> (Option<String>, Option<String>) {
        let example = Example::Record(event.clone());
        let mut picking = self.picker.start(b"vector");
        example.walk(&mut picking as &mut dyn Visitor<'_>);
        let mut engine = Engine::new(self.settings.clone(), Arc::clone(&self.set));
        let rule = engine.observe(&picking.finish(), UnixNanos(1)).rule;
        (rule.map(|hit| hit.name.to_string()), found(&self.vrl, event))
    }

    fn same(&self, event: &Map<String, Value>) -> Option<String> {
        let (engine, program) = self.of(event);
        assert_eq!(program, engine, "{event:?}");
        engine
    }

    fn same_message(&self, message: &str) -> Option<String> {
        self.same(json!({"message": message}).as_object().unwrap())
    }
}

/// A program whose best rule shows in the metadata.
fn compile(text: &str) -> Vrl {
    let telling = format!(
        "{text}\nfound = split(rules_best, \"\\t\", limit: 9)\n%found = {{\"rule\": found[1], \
         \"score\": to_float(found[2]) ?? 0.0, \"category\": found[7], \"reason\": found[8]}}\n"
    );
    Vrl::compile(&telling)
        .unwrap_or_else(|faults| panic!("{}", faults.chars().take(2_000).collect::<String>()))
}

/// Everything that a program says of its best rule.
fn told(vrl: &Vrl, event: &Map<String, Value>) -> Value {
    vrl.json(Value::Object(event.clone())).1["found"].clone()
}

fn found(vrl: &Vrl, event: &Map<String, Value>) -> Option<String> {
    told(vrl, event)["rule"].as_str().map(str::to_owned)
}

/// Options of a program that asks no table.
fn inline() -> Options {
    Options { mode: Some(Mode::Inline), ..Options::default() }
}
