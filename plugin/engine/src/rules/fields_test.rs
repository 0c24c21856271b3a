//! Rules over structured records: what each operator says of each kind of value, what picks the values, what bounds them.

use serde_json::{Value, json};

use super::{
    Categories, Example, MAX_FIELD_PATHS, RuleSet, Scratch, Subject,
    field::{self, Expr},
    parse,
};
use crate::{pick::Picker, settings::Settings};

/// The rules of a file that hit a record, best first.
fn hits(file: &str, record: &Value) -> Vec<String> {
    let parsed = parse("my.toml", file);
    assert_eq!(parsed.problems, []);
    let compiled = RuleSet::compile(parsed.rules);
    assert_eq!(compiled.problems, []);
    found(&compiled.set, record)
}

fn found(set: &RuleSet, record: &Value) -> Vec<String> {
    let example = match record {
        Value::Object(record) => Example::Record(record.clone()),
        other => Example::Message(other.as_str().unwrap().to_owned()),
    };
    let picker = Picker::new(&Settings::default(), set);
    let mut picking = picker.start(b"app");
    example.walk(&mut picking);
    let record = picking.finish();
    let subject = Subject { message: &record.message, severity: record.severity, fields: &record.fields };
    let mut scratch = Scratch::default();
    let all: Vec<String> =
        set.matches(subject, &mut scratch).iter().map(|hit| hit.name.to_string()).collect();
    let best = set.best(subject, Categories::ALL, |_| false, &mut scratch);
    assert_eq!(best.map(|hit| hit.name.to_string()).as_ref(), all.first());
    all
}

fn holds(expression: &str, record: &Value) -> bool {
    let file = format!("[[rules]]\nname = \"A\"\nfields = '''{expression}'''\n");
    !hits(&file, record).is_empty()
}

#[test]
fn operators_on_values() {
    let record = json!({
        "status": 503, "text": "404", "ratio": 0.5, "ok": true, "none": null, "list": [1], "path": "/Health/live",
        "http": { "method": "GET", "request": { "bytes": 10 } }, "cs-uri-query": "a=1", "k8s.pod": "web-1",
        "big": 9_007_199_254_740_993i64, "empty": "",
    });
    for yes in [
        "status == 503",
        "status >= 500",
        "status in 500..599",
        "status in [502, 503]",
        "status != 200",
        "status < 503.5",
        "status contains 50",
        "status == \"503\"",
        "text == 404",
        "text == 404.0",
        "text > 403",
        "ratio == 0.5",
        "ratio <= 0.5",
        "ok == true",
        "ok == TRUE",
        "ok exists",
        "none missing",
        "absent missing",
        "list exists",
        "list == 1",
        "list contains 1",
        "list in 1..2",
        "path starts_with /health",
        "path ends_with LIVE",
        "path contains lth/",
        "path matches '^/h.*live$'",
        "http exists",
        "http.method == get",
        "http.method in [put, \"get\"]",
        "http.request.bytes == 10",
        "\"cs-uri-query\" contains \"=\"",
        "cs-uri-query exists",
        "k8s.pod starts_with web",
        "big == 9007199254740993",
        "empty exists",
        "empty == \"\"",
        "not status == 200",
        "not (status missing)",
        "status == 1 or path contains health",
        "status == 503 and (path contains nothing or not absent exists)",
    ] {
        assert!(holds(yes, &record), "{yes}");
    }
    for no in [
        "status == 500",
        "status in 504..599",
        "status != 503",
        "status exists and status missing",
        "absent != 1",
        "none != 1",
        "none exists",
        "absent < 5",
        "list == 2",
        "list != 1",
        "list contains 2",
        "list missing",
        "list.inner exists",
        "path > 5",
        "ok > 0",
        "text == \"404.0\"",
        "big == 9007199254740992",
        "http == GET",
        "http.request missing",
        "empty contains x",
        "path matches '^health'",
        "not status == 503",
        "status == 503 and ratio == 0.4",
    ] {
        assert!(!holds(no, &record), "{no}");
    }
}

#[test]
fn of_a_list_any_element_will_do_and_paths_lead_through_lists() {
    let record = json!({
        "events": [
            { "name": "login", "parameters": [{ "name": "ip", "value": "10.0.0.4" }] },
            { "name": "2SV_DISABLE", "parameters": [{ "name": "mfa", "boolValue": false }, { "name": "n", "value": 7 }] },
            "a word",
        ],
        "matrix": [[1, 2], [3, [4]]], "empty": [], "nulls": [null], "k8s.names": ["web", "db"], "maps": [{}],
        "message": ["a", "b"], "log": "the message",
    });
    for yes in [
        "events.name == 2sv_disable",
        "events.name in [x, login]",
        "events.name matches '^2sv'",
        "events.name != login",
        "not events.name == logout",
        "events.parameters.value == 7",
        "events.parameters.value ends_with .4",
        "events.parameters.boolValue == false",
        "events == \"a word\"",
        "events exists",
        "matrix == 4",
        "matrix >= 4",
        "k8s.names == db",
        "empty exists",
        "nulls exists",
        "nulls != 1 or nulls exists",
        "maps exists",
        "maps.inner missing",
        "message == b",
        // Not one element for both: each condition looks for its own.
        "events.name == login and events.parameters.value == 7",
    ] {
        assert!(holds(yes, &record), "{yes}");
    }
    for no in [
        "events.name == logout",
        "events.name missing",
        "events.name > 5",
        "not events.name == login",
        "events.parameters == 7",
        "matrix == 5",
        "empty != 1",
        "nulls != 1",
        "events.other exists",
    ] {
        assert!(!holds(no, &record), "{no}");
    }
}

#[test]
fn what_is_kept_of_lists_is_bounded() {
    // The first 64 of a list, at the limit, one over and ten times.
    for (at, found) in [(63, true), (64, false), (640, false)] {
        let mut list = vec![0; 700];
        list[at] = 1;
        assert_eq!(holds("list == 1", &json!({ "list": list })), found, "{at}");
    }
    // 256 in all of a record.
    for (lists, found) in [(4, true), (5, false), (50, false)] {
        let mut record = json!({});
        for number in 0..lists {
            record[format!("l{number:02}")] = vec![number + 1 == lists; 64].into();
        }
        let asked: Vec<String> = (0..lists).map(|number| format!("l{number:02} == true")).collect();
        assert_eq!(holds(&asked.join(" or "), &record), found, "{lists} lists");
    }
}

#[test]
fn message_and_level_stand_in_for_fields_of_that_name() {
    assert!(holds("message contains refused", &json!("Connection REFUSED")));
    assert!(holds("message contains refused", &json!({ "log": "connection refused" })));
    assert!(holds("level == error", &json!({ "severity": "ERR", "log": "x" })));
    assert!(
        holds("level == err", &json!({ "level": "ERR", "log": "x" })),
        "a field of that name is read itself"
    );
    assert!(!holds("level == error", &json!("no level at all")));
    assert!(holds("level >= 40", &json!({ "level": 50, "msg": "x" })));
}

#[test]
fn pattern_fields_level_and_unless_together() {
    let file = r#"
        [[rules]]
        name = "SLOW"
        pattern = 'slow (query|request)'
        fields = ['ms > 100', 'not path starts_with "/admin"']
        unless = ['explained', 'planned']
        level = "fatal"
    "#;
    let hit = |log: &str, ms: i64, path: &str, level: &str| {
        !hits(file, &json!({ "log": log, "ms": ms, "path": path, "level": level })).is_empty()
    };
    assert!(hit("slow query", 101, "/", "info"));
    assert!(!hit("slow query", 100, "/", "info"));
    assert!(!hit("slow query", 101, "/ADMIN/x", "info"));
    assert!(!hit("slow query, explained", 101, "/", "info"));
    assert!(!hit("slow query, Planned", 101, "/", "info"));
    assert!(!hit("quick query", 101, "/", "info"));
    assert!(hit("quick query", 101, "/", "fatal"), "its level is as good as a match");
    assert!(!hit("quick query", 100, "/", "fatal"), "and the fields count all the same");
}

#[test]
fn a_pattern_without_a_literal_is_filed_under_its_fields() {
    let file = "[[rules]]\nname = \"A\"\npattern = '\\d\\d:\\d\\d'\nfields = 'app == clock'\n";
    assert_eq!(hits(file, &json!({ "log": "12:34", "app": "Clock" })), ["A"]);
    assert!(hits(file, &json!({ "log": "12:34", "app": "other" })).is_empty());
    assert!(hits(file, &json!({ "log": "12-34", "app": "clock" })).is_empty());
}

#[test]
fn values_picked_for_other_rules_are_not_read() {
    let compile = |expression: &str| {
        let file = format!("[[rules]]\nname = \"A\"\nfields = '{expression}'\n");
        RuleSet::compile(parse("my.toml", &file).rules).set
    };
    let (before, after) = (compile("user == root"), compile("host == root"));
    let picker = Picker::new(&Settings::default(), &before);
    let example = Example::Record(json!({ "user": "root" }).as_object().unwrap().clone());
    let mut picking = picker.start(b"");
    example.walk(&mut picking);
    let record = picking.finish();
    let subject = Subject { message: &record.message, severity: None, fields: &record.fields };
    let mut scratch = Scratch::default();
    assert_eq!(before.matches(subject, &mut scratch).len(), 1);
    assert_eq!(after.matches(subject, &mut scratch).len(), 0);
}

#[test]
fn fields_at_the_limit_one_over_and_ten_times() {
    let file = |fields: usize| -> String {
        (0..fields).map(|n| format!("[[rules]]\nname = \"R{n}\"\nfields = 'f{n} == {n}'\n")).collect()
    };
    for (fields, problems) in
        [(MAX_FIELD_PATHS, 0), (MAX_FIELD_PATHS + 1, 1), (MAX_FIELD_PATHS * 10, MAX_FIELD_PATHS * 9)]
    {
        let compiled = RuleSet::compile(parse("my.toml", &file(fields)).rules);
        assert_eq!((compiled.set.len(), compiled.problems.len()), (fields.min(MAX_FIELD_PATHS), problems));
        assert_eq!(compiled.set.paths().len(), fields.min(MAX_FIELD_PATHS));
        if let Some(problem) = compiled.problems.first() {
            assert!(problem.to_string().contains("fields: asks for `f"), "{problem}");
            assert!(problem.to_string().ends_with("already ask for the limit of 256 fields"), "{problem}");
        }
    }
}

#[test]
fn rules_that_need_no_field_are_bounded() {
    let file = |rules: usize| -> String {
        (0..rules).map(|n| format!("[[rules]]\nname = \"R{n}\"\nfields = 'not f == {n}'\n")).collect()
    };
    for (rules, problems) in [(64, 0), (65, 1), (640, 576)] {
        let compiled = RuleSet::compile(parse("my.toml", &file(rules)).rules);
        assert_eq!((compiled.set.len(), compiled.problems.len()), (64, problems));
        if let Some(problem) = compiled.problems.first() {
            assert!(problem.to_string().contains("ask for one that exists"), "{problem}");
        }
    }
    assert!(holds("not user exists", &json!("nobody")));
}

#[test]
fn a_rule_with_vrl_is_left_out_and_named() {
    let rules = parse("my.toml", "[[rules]]\nname = \"A\"\npattern = 'abc'\nwhen = '.status >= 500'\n").rules;
    let compiled = RuleSet::compile(rules);
    assert_eq!((compiled.set.len(), compiled.problems.len()), (0, 0));
    let told = compiled.left_out[0].to_string();
    assert!(told.starts_with("my.toml:1: rule A: when: is VRL, which runs in the sidecar"), "{told}");
}

#[test]
fn hundreds_of_rules_over_one_field_find_what_each_alone_finds() {
    let words: Vec<String> = (0..500).map(|n| format!("/wp-{}/x{n}.php", "abcdefg".repeat(n % 3))).collect();
    let file: String = (0..500)
        .map(|n| format!("[[rules]]\nname = \"R{n:03}\"\nfields = 'url contains \"{}\"'\n", words[n]))
        .collect();
    let set = RuleSet::compile(parse("my.toml", &file).rules).set;
    for n in [0, 1, 255, 499] {
        let url = format!("GET /A{}?q", words[n].to_uppercase());
        assert_eq!(found(&set, &json!({ "url": url })), [format!("R{n:03}")]);
    }
    assert!(found(&set, &json!({ "url": "/index.html" })).is_empty());
    assert!(found(&set, &json!({ "uri": words[1] })).is_empty());
}

#[test]
fn a_long_hostile_field_is_read_in_bounded_work() {
    // Each contains-test restarts at every byte of such a text if it is searched naively.
    let needle = format!("{}b", "a".repeat(500));
    let file: String = (0..300)
        .map(|n| format!("[[rules]]\nname = \"R{n}\"\nfields = 'url contains \"{needle}{n}\"'\n"))
        .collect();
    let set = RuleSet::compile(parse("my.toml", &file).rules).set;
    let picker = Picker::new(&Settings::default(), &set);
    let record = json!({ "url": "a".repeat(1 << 20) });
    let example = Example::Record(record.as_object().unwrap().clone());
    let mut picking = picker.start(b"");
    example.walk(&mut picking);
    let record = picking.finish();
    let subject = Subject { message: b"x", severity: None, fields: &record.fields };
    let mut scratch = Scratch::default();
    assert_eq!(set.best(subject, Categories::ALL, |_| false, &mut scratch), None);
    assert_eq!(set.matches(subject, &mut scratch), []);
    // Each rule reads its field's first 16 KiB once.
    assert_eq!(scratch.bytes_read(), 300 * ((16 << 10) + 8));
}

#[test]
fn faults_in_a_file_name_line_and_key() {
    for (line, wanted) in [
        (
            "fields = 'status = 5'",
            "my.toml:3: rule A: fields: column 8, at `= 5`: is not an operator; write `==`",
        ),
        (
            "fields = ['a exists', 'b']",
            "my.toml:3: rule A: fields: item 2: column 2, at the end: expected ==",
        ),
        ("fields = 5", "my.toml:3: rule A: fields: is a integer, not a string or a list of strings"),
        ("field = 'a exists'", "my.toml:3: rule A: field: is not a key; did you mean `fields`?"),
        ("fields = 'a exists'\nlevel = 'error'", "my.toml:2: rule A: level: stands in for a pattern"),
        ("fields = 'a exists'\ntags = [1]", "my.toml:4: rule A: tags: is a integer, not a string"),
        ("fields = 'a exists'\nmatch = [1]", "my.toml:4: rule A: match: holds a integer"),
        ("description = 'x'", "my.toml:2: rule A: pattern: is missing; a rule needs a pattern or fields"),
    ] {
        let parsed = parse("my.toml", &format!("\n[[rules]]\n{line}\nname = \"A\"\n"));
        let told: Vec<String> = parsed.problems.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|told| told.starts_with(wanted)), "{line}: {told:?}");
    }
    let long = |items: usize| format!("[[rules]]\nname = \"A\"\nfields = {:?}\n", vec!["a exists"; items]);
    assert_eq!(parse("my.toml", &long(32)).problems, []);
    for items in [33, 320] {
        let told = parse("my.toml", &long(items)).problems[0].to_string();
        assert!(told.contains(&format!("has {items} items, more than the limit of 32")), "{told}");
    }
}

#[test]
fn examples_may_be_records() {
    let file = r#"
        [[rules]]
        name = "A"
        fields = 'status >= 500 and not path starts_with "/health"'
        match = [{ status = 502, path = "/x", took = 1.5, at = 2026-01-02T03:04:05Z, tags = [1] }]
        miss = [{ status = 502, path = "/health" }, "status 502", { status = 0x1f4, path = "/health" }]
    "#;
    let mut rule = parse("my.toml", file).rules.remove(0);
    assert_eq!(rule.check_examples(), []);
    std::mem::swap(&mut rule.matches, &mut rule.misses);
    let told: Vec<String> = rule.check_examples().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 4);
    assert!(
        told[0].ends_with(r#"match: the rule does not hit its example `{"path":"/health","status":502}`"#),
        "{told:?}"
    );
}

#[test]
fn a_bare_test_is_one_test() {
    assert!(matches!(field::parse("a exists"), Ok(Expr::Test(_))));
}
