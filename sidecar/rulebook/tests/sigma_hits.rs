//! Imported Sigma rules at work: each line of `sigma_hits.jsonl` has a rule, events that it must hit and near misses.
//!
//! Rules written for this test stand there as `sigma`. Those of the public repository stand as `rule`, a path below the
//! folder that ODDLINE_SIGMA names (a checkout of SigmaHQ/sigma); they are passed over, and it is said, without it.

use std::{collections::BTreeSet, env, fs, path::Path};

use oddline_engine::{
    Picker, Settings,
    rules::{self, Example, Rule, RuleSet, Scratch, Subject},
};
use oddline_rulebook::{document, import::Importing, sigma};
use serde_json::Value;

/// The rules that a Sigma file becomes, ready to match.
struct Imported {
    set: RuleSet,
    picker: Picker,
}

impl Imported {
    fn of(name: &str, text: &str) -> Imported {
        let imported = sigma::import(name, text, &Importing::default(), &mut BTreeSet::new());
        assert_eq!(imported.left_out, [], "{name}");
        let drafts: Vec<_> = imported.rules.into_iter().map(|taken| taken.draft).collect();
        let parsed = rules::parse("imported.toml", &document::write(&drafts, ""));
        let rules: Vec<Rule> = parsed.rules;
        let compiled = RuleSet::compile(rules);
        assert_eq!((parsed.problems, compiled.problems), (vec![], vec![]), "{name}");
        assert!(!compiled.set.is_empty(), "{name} gives no rule");
        let picker = Picker::new(&Settings::default(), &compiled.set);
        Imported { set: compiled.set, picker }
    }

    fn hits(&self, event: &Value) -> bool {
        let example = match event {
            Value::Object(fields) => Example::Record(fields.clone()),
            text => Example::Message(text.as_str().expect("an event is a text or an object").to_owned()),
        };
        let mut picking = self.picker.start(b"");
        example.walk(&mut picking);
        let record = picking.finish();
        let subject = Subject { message: &record.message, severity: record.severity, fields: &record.fields };
        !self.set.matches(subject, &mut Scratch::default()).is_empty()
    }
}

/// The cases whose rule stands under this key.
fn cases(key: &str) -> Vec<(String, Value)> {
    let lines = include_str!("sigma_hits.jsonl").lines();
    let read =
        lines.map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|it| panic!("{it}: {line}")));
    read.filter_map(|case| Some((case[key].as_str()?.to_owned(), case))).collect()
}

/// What the rule does not do as it should.
fn faults(name: &str, rule: &str, case: &Value) -> Vec<String> {
    let imported = Imported::of(name, rule);
    let events = |key: &str| case[key].as_array().unwrap_or_else(|| panic!("{name} has no {key}")).clone();
    assert!(!events("hit").is_empty() && !events("miss").is_empty(), "{name}");
    let missed = events("hit").into_iter().filter(|event| !imported.hits(event));
    let wrong = events("miss").into_iter().filter(|event| imported.hits(event));
    missed
        .map(|event| format!("{name} does not hit {event}"))
        .chain(wrong.map(|event| format!("{name} hits {event}")))
        .collect()
}

#[test]
fn every_modifier_hits_what_it_says() {
    let cases = cases("sigma");
    assert!(cases.len() >= 20, "{} cases", cases.len());
    let of = |(detection, case): &(String, Value)| {
        let text =
            format!("title: A title\nlogsource: {{product: linux}}\ndetection:\n{detection}\nlevel: high\n");
        faults(detection, &text, case)
    };
    assert_eq!(cases.iter().flat_map(of).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn rules_of_the_public_repository_hit_what_they_are_for() {
    let cases = cases("rule");
    let sources: BTreeSet<_> =
        cases.iter().filter_map(|(rule, _)| rule.rsplit_once('/')).map(|it| it.0).collect();
    assert!(cases.len() >= 40 && sources.len() >= 30, "{} rules of {} sources", cases.len(), sources.len());
    let Some(folder) = env::var_os("ODDLINE_SIGMA") else {
        assert!(
            env::var_os("ODDLINE_FULL_RUN").is_none(),
            "ODDLINE_SIGMA is not set, but ODDLINE_FULL_RUN is"
        );
        eprintln!("SKIPPED: ODDLINE_SIGMA names no checkout of SigmaHQ/sigma");
        return;
    };
    let of = |(rule, case): &(String, Value)| {
        let path = Path::new(&folder).join(rule);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        faults(rule, &text, case)
    };
    assert_eq!(cases.iter().flat_map(of).collect::<Vec<_>>(), Vec::<String>::new());
}
