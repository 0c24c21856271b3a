//! Rule files that change while the native filter runs: what is taken, what is refused, and how both are told.

use std::fs;

use serde_json::{Value, json};

use super::{
    chunk::{event, records},
    eventually, native, only, start,
};

#[test]
fn rules_are_read_when_they_change_and_a_broken_file_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.toml");
    let rule =
        |name: &str| format!("[[rules]]\nname = \"{name}\"\npattern = \"purple elephant\"\nscore = 6.0\n");
    fs::write(&path, rule("PURPLE")).unwrap();
    let filter = start(&[("rules", dir.path().to_str().unwrap())]);
    let hit = || only(&filter, "app", "a purple elephant")["anomaly"]["rule"].clone();
    assert_eq!(hit(), "PURPLE");
    fs::write(&path, rule("VIOLET")).unwrap();
    eventually("the new rule applies", || (hit() == "VIOLET").then_some(()));
    fs::write(&path, "[[rules]]\nname = \"BROKEN\"\npattern = \"(\"\nscore = 6.0\n").unwrap();
    native::log();
    let told = eventually("the broken file is told", || {
        assert_eq!(hit(), "VIOLET");
        Some(native::log()).filter(|log| !log.is_empty())
    });
    let told = told.join("\n");
    assert!(told.contains("mine.toml:") && told.contains("BROKEN") && told.contains("stay in use"), "{told}");
    fs::write(&path, rule("MENDED") + "when = '.a == 1'\n" + &rule("LILAC")).unwrap();
    eventually("the mended file applies, without the rule that is not for here", || {
        (hit() == "LILAC").then_some(())
    });
    let told = native::log().join("\n");
    assert!(told.contains("rule MENDED: when: is VRL, which runs in the sidecar"), "{told}");
    fs::remove_file(&path).unwrap();
    eventually("removed rules are gone", || (hit() == Value::Null).then_some(()));
    native::log();
    drop(filter);
    let counters = native::log().pop().unwrap();
    assert!(counters.contains(" rules_reloaded=3 rules_refused=1"), "{counters}");
}

#[test]
fn rules_over_fields_apply_as_soon_as_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.toml");
    let rule = |path: &str| format!("[[rules]]\nname = \"SLOW\"\nfields = '{path} > 100'\nscore = 6\n");
    fs::write(&path, rule("took_ms")).unwrap();
    let filter = start(&[("rules", path.to_str().unwrap())]);
    let hit = |field: &str| {
        let record = json!({ "log": "GET /", "http": { (field): 101 }, (field): 101 });
        let body = rmp_serde::to_vec(&record).unwrap();
        let filtered = filter.filter("app", &event(1, b"\x80", &body)).expect("tagged");
        records(&filtered).remove(0)["anomaly"]["rule"].clone()
    };
    assert_eq!((hit("took_ms"), hit("wait_ms")), ("SLOW".into(), Value::Null));
    // Another field than before: what is picked from records changes with the rules.
    fs::write(&path, rule("http.wait_ms")).unwrap();
    eventually("the new field is looked at", || (hit("wait_ms") == "SLOW").then_some(()));
    assert_eq!(hit("took_ms"), Value::Null);
}
