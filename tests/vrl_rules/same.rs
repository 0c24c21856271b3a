//! The program finds what the engine finds.

use oddline_engine::{
    Options,
    advice::row::SIDECAR_KEY,
    rules::{Example, Rule, builtin_rules, parse},
};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Map, Value, json};

use crate::{Both, inline, told};

fn rules(text: &str) -> Vec<Rule> {
    let parsed = parse("mine.toml", text);
    assert_eq!(parsed.problems, []);
    parsed.rules
}

fn event(example: &Example) -> Map<String, Value> {
    match example {
        Example::Message(text) => json!({"message": text}).as_object().unwrap().clone(),
        Example::Record(record) => record.clone(),
    }
}

#[test]
fn every_example_of_the_built_in_rules_has_the_same_best_rule() {
    let builtin = builtin_rules();
    let both = Both::new(builtin.clone(), inline());
    let (mut examples, mut hits) = (0, 0);
    for example in builtin.iter().flat_map(|rule| rule.matches.iter().chain(&rule.misses)) {
        examples += 1;
        let event = event(example);
        let (_, program) = both.of(&event);
        // Into lists it does not look, as its README says: it finds what the engine finds where they are opaque.
        let (engine, _) = both.of(&without_lists(event.clone()));
        assert_eq!(program, engine, "{event:?}");
        hits += usize::from(program.is_some());
    }
    assert!(examples > 1_500 && hits > 700, "{examples} examples, {hits} hits");
}

/// The same without what stands in lists: they are there, and empty.
fn without_lists(mut event: Map<String, Value>) -> Map<String, Value> {
    for value in event.values_mut() {
        match value {
            Value::Array(list) => list.clear(),
            Value::Object(fields) => *fields = without_lists(std::mem::take(fields)),
            _ => {}
        }
    }
    event
}

/// Lines as machines write them, put together from the rules' own words: most nearly hit something.
#[test]
fn generated_lines_have_the_same_best_rule() {
    let builtin = builtin_rules();
    let words: Vec<String> = builtin
        .iter()
        .flat_map(|rule| rule.matches.iter().chain(&rule.misses))
        .filter_map(|example| if let Example::Message(text) = example { Some(text) } else { None })
        .flat_map(|text| text.split(' ').map(str::to_owned))
        .chain(["é", "日本", "ERROR", "error", "", "\u{1a}", "'"].map(str::to_owned))
        .collect();
    let both = Both::new(builtin, inline());
    let mut runner =
        TestRunner::new_with_rng(Config::with_cases(1_500), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let line = prop::collection::vec((0..words.len(), 1..5usize), 1..8);
    let mut hits = 0;
    for _ in 0..1_500 {
        let parts = line.new_tree(&mut runner).unwrap().current();
        // Runs of neighbours, so that phrases stay whole.
        let text: Vec<&str> = parts
            .iter()
            .flat_map(|(at, length)| words.iter().skip(*at).take(*length).map(String::as_str))
            .collect();
        hits += usize::from(both.same_message(&text.join(" ")).is_some());
    }
    assert!(hits > 100, "{hits} hits");
}

#[test]
fn bytes_are_counted_as_the_engine_counts_them() {
    let both = Both::new(
        rules(
            "[[rules]]\nname = \"NEAR\"\npattern = 'pump.{0,6}stuck'\n[[rules]]\nname = \"WORD\"\npattern = '\\bvalve\\b'\n\
               [[rules]]\nname = \"FOREIGN\"\npattern = 'störung'\nunless = 'übung'\n",
        ),
        inline(),
    );
    for (message, wanted) in [
        ("pump 日 stuck", Some("NEAR")),
        ("pump 日本 stuck", None),
        ("pump éé stuck", Some("NEAR")),
        ("pump ééé stuck", None),
        ("pump 😀 stuck", Some("NEAR")),
        ("évalveé", Some("WORD")),
        ("Eine STöRUNG", Some("FOREIGN")),
        ("Eine störung zur übung", None),
    ] {
        assert_eq!(both.same_message(message).as_deref(), wanted, "{message}");
    }
}

#[test]
fn conditions_levels_and_exceptions_hold_as_in_the_engine() {
    let text = r#"
[[rules]]
name = "SLOW"
pattern = 'served'
fields = 'took > 1.5 and not path starts_with "/health"'
score = 5
[[rules]]
name = "BAD"
fields = 'status in 500..599 or http.status in [503, "gone", -1.50] or b.c != 7'
score = 4
[[rules]]
name = "FATAL"
pattern = 'meltdown'
unless = 'drill'
level = "fatal"
score = 3
[[rules]]
name = "ABSENT"
fields = 'x missing and y exists'
score = 2
[[rules]]
name = "TEXT"
fields = """note contains "A'b" or note ends_with "}}" or note matches '^[0-9]+$' or level == error or message == hello"""
score = 1
"#;
    let both = Both::new(rules(text), inline());
    let events = [
        json!({"message": "served", "took": 2, "path": "/x"}),
        json!({"message": "served", "took": 2.5}),
        json!({"message": "served", "took": "2.5"}),
        json!({"message": "served", "took": 2, "path": "/HEALTH/1"}),
        json!({"message": "x", "status": 500}),
        json!({"message": "x", "status": " 599.0 "}),
        json!({"message": "x", "status": "5e2"}),
        json!({"message": "x", "status": true}),
        json!({"message": "x", "http": {"status": "GONE"}}),
        json!({"message": "x", "http.status": 503.0}),
        json!({"message": "x", "http": {"status": "-1.5"}}),
        json!({"message": "x", "http": 5}),
        json!({"message": "x", "b": {"c": 7}}),
        json!({"message": "x", "b": {"c": "007.00"}}),
        json!({"message": "x", "b": {"c": 8}}),
        json!({"message": "x", "b": {"c": {"d": 1}}}),
        json!({"message": "x", "b": {"c": null}}),
        json!({"message": "meltdown"}),
        json!({"message": "meltdown drill"}),
        json!({"message": "calm", "level": "crit"}),
        json!({"message": "calm drill", "level": "crit"}),
        json!({"message": "calm", "PRIORITY": 0}),
        json!({"message": "calm", "level": "ERR"}),
        json!({"message": "y", "y": 0}),
        json!({"message": "y", "y": false}),
        json!({"message": "y", "y": 0, "x": 0}),
        json!({"message": "y", "note": "say a'B"}),
        json!({"message": "y", "note": "{{x}}"}),
        json!({"message": "y", "note": 77}),
        json!({"message": "y", "note": "77x"}),
        json!({"log": "Hello"}),
        json!({"message": "hello there"}),
    ];
    let hits = events.iter().filter(|it| both.same(it.as_object().unwrap()).is_some()).count();
    assert_eq!(hits, 18);
    // What the program leaves out, as its README says.
    let list = json!({"message": "served", "took": [2]});
    assert_eq!(both.of(list.as_object().unwrap()), (Some("SLOW".to_owned()), None));
}

#[test]
fn a_source_has_the_rules_of_its_categories() {
    let builtin = builtin_rules();
    let categories = ["auto", "shop-1=media", "*=system+network"].map(str::to_owned).to_vec();
    let both = Both::new(builtin.clone(), Options { rule_categories: Some(categories), ..inline() });
    let mut seen = std::collections::BTreeSet::new();
    for rule in builtin.iter().step_by(3) {
        let Some(Example::Message(message)) = rule.matches.first() else { continue };
        for label in ["nginx", "su", "SHOP-1", "shop-10", "x.postgres:17", "nginxé", "\"redis\"", ""] {
            let event = json!({"message": message, "container_name": label, "app": {"name": "plex"}});
            seen.insert(both.same(event.as_object().unwrap()).is_some());
        }
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn the_best_rule_is_told_whole_and_a_silenced_one_is_not() {
    let text = "[[rules]]\nname = \"FIRST\"\npattern = 'pump'\nscore = 7.25\ncategory = \"shop\"\ndescription = \"it's \\\"so\\\" {{ bad }}\"\n\
                [[rules]]\nname = \"SECOND\"\npattern = 'pump stuck'\nscore = 2\n";
    let both = Both::new(rules(text), Options::default());
    let event = json!({"message": "pump stuck"}).as_object().unwrap().clone();
    assert_eq!(
        told(&both.vrl, &event),
        json!({"rule": "FIRST", "score": 7.25, "category": "shop", "reason": "rule FIRST (it's \"so\" {{ bad }})"})
    );
    both.vrl.put(SIDECAR_KEY, json!({"silenced": "\tFIRST\t"}));
    assert_eq!(told(&both.vrl, &event)["rule"], "SECOND");
    both.vrl.put(SIDECAR_KEY, json!({"silenced": "\tFIRST\tSECOND\t"}));
    assert_eq!(told(&both.vrl, &event)["rule"], json!(null));
}
