//! `oddline vrl` as people run it: what it writes is a program that tags, a file is replaced whole, and what is wrong is
//! named and ends with another code than success.

#[path = "hosts/vrl.rs"]
mod vrl;

use std::{
    fs,
    process::{Command, Output},
};

use serde_json::json;

fn oddline(arguments: &[&str]) -> Output {
    Command::new(acceptance::built("ODDLINE_BIN")).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_it_writes_compiles_and_tags() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("mine.rules");
    fs::write(&rules, "PUMP_STOPPED \"pump stopped\" 6 \"no water\"\n").unwrap();
    let output = oddline(&["vrl", "--mode", "inline", "--rules", rules.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
    let program = vrl::Vrl::compile(&String::from_utf8(output.stdout).unwrap()).unwrap();
    let (event, _) = program.json(json!({"message": "the pump stopped at 17:03"}));
    assert_eq!(event["anomaly"]["rule"], "PUMP_STOPPED");
    assert_eq!(event["anomaly"]["template"], "the pump stopped at <*>");
    assert!(event["anomaly"]["reason"].as_str().unwrap().contains("no water"), "{event}");
    let (event, _) = program.json(json!({"message": "CRITICAL: Failed to connect to primary database"}));
    assert_eq!(event["anomaly"]["rule"], "DB_CONNECT_FAILED", "the built-in rules are in it too");
}

#[test]
fn a_folder_gives_all_its_rule_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("a.rules", "PUMP_STOPPED \"pump stopped\" 6\n");
    write("b.toml", "[[rules]]\nname = \"VALVE_STUCK\"\npattern = \"valve stuck\"\nscore = 6\n");
    write("notes.md", "no rule (");
    let named = folder.path().to_str().unwrap();
    let output = oddline(&["vrl", "--mode", "inline", "--rules", named]);
    assert!(output.status.success(), "{}", said(&output));
    let program = vrl::Vrl::compile(&String::from_utf8(output.stdout).unwrap()).unwrap();
    for (message, rule) in [("pump stopped", "PUMP_STOPPED"), ("valve stuck", "VALVE_STUCK")] {
        assert_eq!(program.json(json!({ "message": message })).0["anomaly"]["rule"], rule);
    }
    write("c.rules", "DOOR_OPEN \"(\" 6\n");
    let output = oddline(&["vrl", "--check", "--rules", named]);
    let named = format!("{}:1: rule DOOR_OPEN: pattern: ", folder.path().join("c.rules").display());
    assert!(!output.status.success() && said(&output).contains(&named), "{}", said(&output));
}

#[test]
fn a_file_is_replaced_whole_and_options_are_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let (file, options) = (folder.path().join("oddline.vrl"), folder.path().join("options.toml"));
    fs::write(&file, "an older program").unwrap();
    fs::write(&options, "builtin_rules = false\nkey = \"odd\"\nmode = \"inline\"\n").unwrap();
    let paths = [file.to_str().unwrap(), options.to_str().unwrap()];
    let output = oddline(&["vrl", "--options", paths[1], "--output", paths[0]]);
    assert!(output.status.success(), "{}", said(&output));
    let program = vrl::Vrl::compile(&fs::read_to_string(&file).unwrap()).unwrap();
    let (event, _) = program.json(json!({"message": "CRITICAL: Failed to connect to primary database"}));
    assert!(event["odd"]["score"].is_number() && event["odd"]["rule"].is_null(), "{event}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside it");
}

#[test]
fn what_is_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let options = folder.path().join("options.toml");
    fs::write(&options, "mode = \"sideways\"\n").unwrap();
    let refused = [
        (vec!["vrl", "--options", options.to_str().unwrap()], "sideways"),
        (vec!["vrl", "--rules", "/nowhere/at/all.rules"], "/nowhere/at/all.rules"),
        (vec!["vrl", "--mode", "upwards"], "upwards"),
        (vec!["vrl", "--output", "/nowhere/at/all.vrl"], "/nowhere/at/all.vrl"),
    ];
    for (arguments, named) in refused {
        let output = oddline(&arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(said(&output).contains(named), "{arguments:?}: {}", said(&output));
        assert!(output.stdout.is_empty(), "{arguments:?} wrote a program all the same");
    }
}
