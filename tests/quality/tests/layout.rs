//! Any folder of the known layouts is measured, whatever it and its files are called; what is missing is told, what cannot
//! be read is named. Runs the program on small folders written here.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

/// One folder of every kind, under names that no data set has.
const FILES: [(&str, &str); 21] = [
    ("a/one.pass.log", "fetching 1\nbuilding 2\ndone\n"),
    ("a/one.fail.log", "fetching 3\nERROR no such symbol\ncontext of it\n"),
    ("a/one.labels.csv", "line,someone\n2,E\n3,C\n"),
    (
        "b/runs.csv",
        "run,fault_injected,failure,trigger_time_local\nr1,1,1,2020-01-01 00:00:01.000\nr2,0,0,\nr3,0,0,\nr4,1,0,\n",
    ),
    ("b/logs/r1.tsv", "api\t2020-01-01 00:00:00.000 1 INFO ok\napi\t2020-01-01 00:00:02.500 1 ERROR bad\n"),
    ("b/logs/r2.tsv", "api\t2020-01-01 00:01:00.000 1 INFO ok\n"),
    ("b/logs/r3.tsv", "api\t2020-01-01 00:02:00.000 1 INFO ok\napi\tno time\n"),
    ("b/logs/r4.tsv", "api\t2020-01-01 00:03:00.000 1 INFO ok\n"),
    (
        "c/rows.jsonl",
        "{\"line\":\"ERROR x\",\"level\":9,\"expect\":\"pass\",\"synthetic\":0}\n{\"line\":\"ok\",\"level\":2,\"expect\":\"pass\",\"synthetic\":0}\n{\"line\":\"ERROR y\",\"level\":1,\"expect\":\"fail\",\"synthetic\":0}\n",
    ),
    (
        "d/rows.jsonl",
        "{\"case\":\"p\",\"lines\":[\"ERROR from 192.0.2.1\"],\"alerts\":[{\"sources\":[\"192.0.2.1\"]}]}\n{\"case\":\"q\",\"lines\":[\"ok\"],\"alerts\":[]}\n",
    ),
    ("e/faults.json", "[{\"start\":\"2020-01-01T00:01:00\",\"end\":\"2020-01-01T00:02:00\",\"pod\":\"p\"}]"),
    (
        "e/day.jsonl",
        "{\"ts\":\"2020-01-01T00:01:30\",\"pod\":\"p\",\"line\":\"ERROR x\"}\n{\"ts\":\"2020-01-01T00:05:30\",\"pod\":\"p\",\"line\":\"ok\"}\n",
    ),
    (
        "f/part_train_with_anomalies.jsonl",
        "{\"block_id\":\"s1\",\"label\":0,\"templates\":[\"begin\",\"end\"]}\n",
    ),
    (
        "f/part_test.jsonl",
        "{\"block_id\":\"s2\",\"label\":1,\"templates\":[\"begin\",\"ERROR lost\"]}\n{\"block_id\":\"s3\",\"label\":0,\"templates\":[\"begin\",\"end\"]}\n",
    ),
    (
        "g/rows.jsonl",
        "{\"line\":\"ERROR x\",\"label\":1}\n{\"line\":\"ok\",\"label\":0}\n{\"line\":\"unknown\",\"label\":null}\n",
    ),
    (
        "h/rows.jsonl",
        "{\"event\":{\"message\":\"ERROR x\"},\"label\":1}\n{\"event\":{\"message\":\"ok\"},\"label\":0}\n",
    ),
    (
        "i/any.csv",
        "\"payload\",\"length\",\"attack_type\",\"label\"\n\"a, b\",\"4\",\"norm\",\"norm\"\n\"ERROR 1=1\",\"3\",\"sqli\",\"anom\"\n",
    ),
    ("j/attack_x.log", "ERROR a\nb\n"),
    ("j/site_unlabelled.log", "a\nb\n"),
    ("k/Sys/Sys_x.log", "in, 5\nout\n"),
    (
        "k/Sys/Sys_x.log_structured_corrected.csv",
        "LineId,Content,EventId,EventTemplate\n1,\"in, 5\",E1,\"in, <*>\"\n2,out,E2,out\n",
    ),
];

fn data(files: &[(&str, &str)]) -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = data.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    data
}

fn quality(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oddline-quality"));
    command.arg("--data").arg(data).args(["--format", "json", "--detector", "error-line,drain3"]);
    command.args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
}

/// A figure of the first detector that ran, which is the one of error lines.
fn figure(report: &Value, folder: &str, name: &str) -> Option<f64> {
    let of = |value: &'_ Value, key: &str, wanted: &str| value[key] == wanted;
    let set = report["sets"].as_array()?.iter().find(|set| of(set, "folder", folder))?;
    set["detectors"][0]["figures"].as_array()?.iter().find(|it| of(it, "name", name))?["value"].as_f64()
}

#[test]
fn every_layout_is_recognised_and_measured() {
    let data = data(&FILES);
    let output = quality(data.path(), &[]);
    let report = json(&output);
    assert!(output.status.success(), "{report}");
    for empty in ["skipped", "unreadable"] {
        assert!(report[empty].as_array().unwrap().is_empty(), "{report}");
    }
    for (folder, name, value) in [
        ("a", "lines, micro F1", 1.0),
        ("b", "failing runs with an alert", 1.0),
        ("b", "fault-free runs with an alert", 0.0),
        ("b", "seconds from trigger to alarm, mean", 1.5),
        ("c", "AUC, all parts", 1.0),
        ("d", "cases right", 1.0),
        ("d", "an alerting line names the source", 1.0),
        ("e", "faults found", 1.0),
        ("e", "false alerts per normal minute", 0.0),
        ("f", "sessions, F1", 1.0),
        ("g", "odd ones alerted", 1.0),
        ("h", "normal ones alerted", 0.0),
        ("i", "AUC", 1.0),
        ("j", "attack lines alerted, %", 50.0),
    ] {
        assert_eq!(figure(&report, folder, name), Some(value), "{folder}: {name}");
    }
    let sets = report["sets"].as_array().unwrap();
    let parsed = sets.iter().find(|set| set["set"] == "parsing").unwrap();
    assert_eq!(parsed["detectors"][1]["figures"][0]["value"], 1.0, "{parsed}");
    assert!(sets.iter().any(|set| set["set"] == "ordinary lines"), "one folder may be of two kinds");
}

#[test]
fn what_is_missing_is_told_and_what_is_broken_is_named() {
    let broken = data(&[
        ("good/rows.jsonl", "{\"line\":\"ERROR x\",\"label\":1}\n{\"line\":\"ok\",\"label\":0}\n"),
        ("bad/x.pass.log", "a\n"),
        ("bad/x.labels.csv", "line,a\n1,E\n"),
        ("other/notes.txt", "nothing of ours"),
    ]);
    let output = quality(broken.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let report = json(&output);
    assert_eq!(figure(&report, "good", "AUC"), Some(1.0), "the rest is measured");
    assert!(report["unreadable"][0].as_str().unwrap().contains("bad has no x.fail.log"), "{report}");
    let skipped = report["skipped"].to_string();
    assert!(
        skipped.contains("sessions: no folder of this kind") && skipped.contains("other: not a kind"),
        "{skipped}"
    );
}

#[test]
fn no_data_is_an_error_that_says_where_it_looked() {
    let output = quality(Path::new("/nowhere/at/all"), &["--set", "lines"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("ODDLINE_DATA") && error.contains("/nowhere/at/all"), "{error}");
}
