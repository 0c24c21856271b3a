//! Rules where an event holds what a line of text does not: nothing at all in a field, and bytes that are no UTF-8. The engine
//! says what is right.

use std::{borrow::Cow, sync::Arc};

use oddline_engine::{
    Engine, Mode, Options, Picker, Scalar, Settings, UnixNanos, Visitor,
    rules::{Example, Rule, RuleSet, builtin_rules, parse},
};
use serde_json::{Map, Value, json};

use crate::host::Vrl;

/// Program and engine for the same rules.
struct Both {
    vrl: Vrl,
    set: Arc<RuleSet>,
    settings: Settings,
}

impl Both {
    fn new(rules: Vec<Rule>) -> Both {
        let settings = Settings::new(&Options { mode: Some(Mode::Inline), ..Options::default() }).unwrap();
        let program = oddline_vrl::program(&settings, &rules);
        assert_eq!(program.left_out, []);
        let vrl = Vrl::compile(&program.text)
            .unwrap_or_else(|faults| panic!("{}", faults.chars().take(2_000).collect::<String>()));
        Both { vrl, set: Arc::new(RuleSet::compile(rules).set), settings }
    }

    fn of(text: &str) -> Both {
        let parsed = parse("mine.toml", text);
        assert_eq!(parsed.problems, []);
        Both::new(parsed.rules)
    }

    /// The rule that the engine finds in what is shown to it.
    fn engine<'a>(&self, show: impl FnOnce(&mut dyn Visitor<'a>)) -> Option<String> {
        let picker = Picker::new(&self.settings, &self.set);
        let mut picking = picker.start(b"vector");
        show(&mut picking);
        let mut engine = Engine::new(self.settings.clone(), Arc::clone(&self.set));
        engine.observe(&picking.finish(), UnixNanos(1)).rule.map(|hit| hit.name.to_string())
    }

    fn program(&self, event: vrl::value::Value) -> Option<String> {
        let (event, _) = self.vrl.run(event, vrl::value::Value::Object(Default::default()));
        let event: Value = event.try_into().unwrap();
        event["anomaly"]["rule"].as_str().map(str::to_owned)
    }

    /// Whether both find a rule in an event; the same one.
    fn hits(&self, event: &Map<String, Value>) -> bool {
        let example = Example::Record(event.clone());
        let engine = self.engine(|picking| example.walk(picking));
        assert_eq!(self.program(Value::Object(event.clone()).into()), engine, "{event:?}");
        engine.is_some()
    }

    /// The rule that both find in a message of any bytes.
    fn rule(&self, message: &[u8]) -> Option<String> {
        let engine = self.engine(|picking| picking.scalar(b"message", Scalar::Text(Cow::Borrowed(message))));
        let event = [("message".into(), vrl::value::Value::from(message))];
        let event = vrl::value::Value::Object(event.into_iter().collect());
        assert_eq!(self.program(event), engine, "{}", message.escape_ascii());
        engine
    }
}

#[test]
fn an_empty_text_is_only_what_is_a_text() {
    let users = [
        json!(null),
        json!(""),
        json!(" "),
        json!("root"),
        json!(0),
        json!(false),
        json!({}),
        json!({"name": ""}),
        json!([]),
    ];
    let mut events = vec![json!({"message": "calm"}), json!({"message": "calm", "a.user": ""})];
    events.extend(users.iter().map(|user| json!({"message": "calm", "user": user})));
    events.extend(users.iter().map(|user| json!({"message": "calm", "a": {"user": user}})));
    for (condition, wanted) in [
        ("user == \"\"", 1),
        ("user in [\"\", root]", 2),
        ("user != \"\"", 4),
        ("not user == \"\"", 19),
        ("not user in [root, \"\"]", 18),
        ("not user != \"\"", 16),
        ("a.user == \"\"", 2),
        ("a.user in [\"\", root]", 3),
        ("not a.user == \"\"", 18),
        ("message == \"\" or user == \"\"", 1),
        ("user == \"\" or user missing", 13),
    ] {
        // Alone, and behind a pattern, where nobody asks before whether the field is there.
        for pattern in ["", "pattern = 'calm'\n"] {
            let both = Both::of(&format!(
                "[[rules]]\nname = \"EMPTY\"\n{pattern}fields = '{condition}'\nscore = 5\n"
            ));
            let hits = events.iter().filter(|event| both.hits(event.as_object().unwrap())).count();
            assert_eq!(hits, wanted, "{condition} {pattern}");
        }
    }
}

#[test]
fn rules_reach_over_bytes_that_are_no_utf_8() {
    let both = Both::new(builtin_rules());
    for message in [
        &b"cannot connect (B\xFCro) to database main"[..],
        b"cannot connect (B\xFCro M\xFCnchen \xE4\xF6) to database main",
        "cannot connect (Büro) to database main".as_bytes(),
        "cannot connect (B\u{fffd}ro) to database main".as_bytes(),
        b"cannot connect (B\xFCro, B\xC3\xBCro) to database main",
        b"cannot connect (\xE2\x82) to database main",
    ] {
        assert_eq!(both.rule(message).as_deref(), Some("DB_CONNECT_FAILED"), "{}", message.escape_ascii());
    }
}

#[test]
fn bytes_that_are_no_utf_8_are_counted_as_the_engine_counts_them() {
    let both = Both::of(
        "[[rules]]\nname = \"NEAR\"\npattern = 'pump.{0,6}stuck'\nscore = 5\n\
         [[rules]]\nname = \"CASED\"\npattern = '(?-i:VALVE).{0,6}shut'\nscore = 5\n\
         [[rules]]\nname = \"KELVIN\"\npattern = 'kaputt'\nscore = 5\n",
    );
    for (between, hits) in [
        (&b"\xFC"[..], true),
        (b"\xFC\xFC\xFC\xFC", true),
        (b"\xFC\xFC\xFC\xFC\xFC", false),
        (b"\xC3\xA9\xFC\xFC", true),
        (b"\xC3\xA9\xFC\xFC\xFC", false),
        ("\u{fffd}".as_bytes(), true),
        ("\u{fffd}\u{fffd}".as_bytes(), false),
        // Shorter, and longer, in lower case than they are.
        ("\u{212a}".as_bytes(), true),
        ("\u{212a}\u{212a}".as_bytes(), false),
        ("\u{130}\u{130}".as_bytes(), true),
        (b"\xFC\xE2\x84\xAA", true),
        (b"\xFC\xE2\x84\xAA\xFC", false),
    ] {
        for (before, after, rule) in [("pump ", " stuck", "NEAR"), ("VALVE ", " shut", "CASED")] {
            let message = [before.as_bytes(), between, after.as_bytes()].concat();
            assert_eq!(both.rule(&message).as_deref(), hits.then_some(rule), "{}", message.escape_ascii());
        }
    }
    assert_eq!(both.rule("\u{212a}aputt".as_bytes()), None, "the Kelvin sign is no letter to the engine");
    assert_eq!(both.rule(b"valve \xFC shut"), None);
    assert_eq!(both.rule(b"Kaputt \xFC").as_deref(), Some("KELVIN"));
}
