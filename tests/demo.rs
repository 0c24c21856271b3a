//! The main job as a newcomer runs it: `oddline demo`, whole, as a process.

use std::process::Command;

use serde_json::Value;

fn demo(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(acceptance::built("ODDLINE_BIN"))
        .arg("demo")
        .args(arguments)
        .output()
        .expect("it starts");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn records(output: &str) -> Vec<Value> {
    output.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect()
}

fn find<'r>(records: &'r [Value], message: &str) -> &'r Value {
    let matching = |record: &&Value| record["message"].as_str().is_some_and(|text| text.contains(message));
    &records.iter().find(matching).unwrap_or_else(|| panic!("no record says {message}"))["anomaly"]
}

#[test]
fn the_founding_example_comes_out_right() {
    let (ended_well, output) = demo(&["--json"]);
    assert!(ended_well, "{output}");
    let records = records(&output);
    assert!(records.iter().all(|record| record["anomaly"]["score"].is_number()), "a record without tags");
    assert!(
        records.iter().all(|record| record["anomaly"]["status"] != "pending"),
        "a record never came back"
    );
    assert!(records.iter().all(|record| record.get("_oddline").is_none()), "a marker was left on a record");

    let login = find(&records, "User 'guest' logged in from IP 192.168.1.50");
    assert_eq!(login["level"], "none", "{login}");
    let failure = find(&records, "CRITICAL: Failed to connect to primary database after 5 retries.");
    assert_eq!(
        (&failure["level"], &failure["status"]),
        (&Value::from("critical"), &Value::from("confirmed"))
    );
    let reason = failure["reason"].as_str().expect("a reason");
    assert!(
        reason.contains("unlike anything known (nearest 0.") && reason.contains("rule DB_CONNECT_FAILED"),
        "{reason}"
    );
    let flags = |message| find(&records, message)["flags"].to_string();
    assert!(flags("answered 200 in 48211 ms").contains("value"));
    assert!(records.iter().any(|record| record["anomaly"]["flags"].to_string().contains("burst")));
}

#[test]
fn a_file_comes_out_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input.log");
    let lines: Vec<String> =
        (0..700).map(|index| format!("line {index} of the file \u{1b}[31mred\u{1b}[m")).collect();
    std::fs::write(&input, lines.join("\n")).expect("written");
    let (ended_well, output) = demo(&["--json", "--input", input.to_str().expect("UTF-8")]);
    assert!(ended_well, "{output}");
    let mut seen: Vec<String> = records(&output)
        .iter()
        .map(|record| record["message"].as_str().unwrap_or_default().to_owned())
        .collect();
    seen.sort();
    let mut expected = lines;
    expected.sort();
    assert_eq!(seen, expected);
}

#[test]
fn the_pretty_output_is_for_people_and_ends_with_a_summary() {
    let (ended_well, output) = demo(&[]);
    assert!(ended_well, "{output}");
    assert!(!output.contains('\u{1b}'), "no colours where no terminal is");
    assert!(output.contains("messages known as normal"));
    assert!(output.contains("records in, ") && output.contains("visited the sidecar"), "{output}");
}
