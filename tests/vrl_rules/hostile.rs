//! Rule files that try to leave their place in the program.

use std::sync::Arc;

use oddline_engine::{Settings, rules::Rule};
use serde_json::json;

use crate::{compile, found, inline};

fn rule(name: &str, pattern: &str) -> Rule {
    Rule { pattern: pattern.to_owned(), ..Rule::new(name, &Arc::from("hostile.toml"), 1) }
}

fn hit(rules: &[Rule], message: &str) -> Option<String> {
    let program = oddline_vrl::program(&Settings::new(&inline()).unwrap(), rules);
    found(&compile(&program.text), json!({"message": message, "canary": true}).as_object().unwrap())
}

#[test]
fn no_text_leaves_its_literal() {
    for (pattern, message) in [
        ("it's broken", "it's broken"),
        (r"it\'s broken", "it's broken"),
        (r"back\\slash", r"back\slash"),
        (r"quote\\'\] del\(\.\)", r"quote\'] del(.)"),
        ("two\nlines", "two\nlines"),
        ("comment # '}\\) \"", "comment # '}) \""),
        (r"brace \{\{ x \}\} and \}", "brace {{ x }} and }"),
        (r"class[']\\\\", "class'\\\\"),
        ("nul\0byte", "nul\0byte"),
    ] {
        let mut hostile = rule("HOSTILE", pattern);
        hostile.description = Arc::from("\"\n}\ndel(.) # {{ message }} \\ ' \u{1a}");
        hostile.unless = vec!["'\\] }".to_owned()];
        assert_eq!(hit(&[hostile], message).as_deref(), Some("HOSTILE"), "{pattern}");
    }
}

#[test]
fn fields_of_any_name_are_only_fields() {
    let mut hostile = rule("HOSTILE", "");
    hostile.fields =
        vec![r#""a\"].b } del(.)" == "x'\"\\ }}" or "{{ y }}" exists or "it's" == 1"#.to_owned()];
    let program = oddline_vrl::program(&Settings::new(&inline()).unwrap(), &[hostile]);
    let vrl = compile(&program.text);
    for event in [json!({"a\"].b } del(.)": "x'\"\\ }}"}), json!({"{{ y }}": 0}), json!({"it's": 1})] {
        assert_eq!(found(&vrl, event.as_object().unwrap()).as_deref(), Some("HOSTILE"), "{event}");
    }
    assert_eq!(found(&vrl, json!({"message": "x"}).as_object().unwrap()), None);
}

#[test]
fn what_vrl_cannot_have_is_left_out_and_named() {
    let mut conditioned = rule("CONDITIONED", "pump");
    conditioned.when = Some(".x == 1".to_owned());
    let rules =
        [rule("PARTIAL", r"x[\x80-\x8f]y"), conditioned, rule("BROKEN", "(\n}"), rule("GOOD", "pump")];
    let program = oddline_vrl::program(&Settings::new(&inline()).unwrap(), &rules);
    let mut names: Vec<&str> = program.left_out.iter().map(|it| &*it.rule).collect();
    names.sort_unstable();
    assert_eq!(names, ["BROKEN", "CONDITIONED", "PARTIAL"]);
    for name in names {
        assert!(program.text.contains(&format!("# Left out: {name}: ")), "{name}");
    }
    assert_eq!(
        found(&compile(&program.text), json!({"message": "pump"}).as_object().unwrap()).as_deref(),
        Some("GOOD")
    );
}

#[test]
fn two_thousand_rules_and_long_patterns_load() {
    let mut many: Vec<Rule> = (0..2_000)
        .map(|n| rule(&format!("RULE_{n}"), &format!("pump number {n} of \\d+ (?:is|was) stuck")))
        .collect();
    many.extend((0..20).map(|n| rule(&format!("LONG_{n}"), &format!("{n}{}", "long'words ".repeat(92)))));
    assert_eq!(hit(&many, "the pump number 1234 of 7 is stuck").as_deref(), Some("RULE_1234"));
}
