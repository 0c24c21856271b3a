//! The wasm filter under Fluent Bit's calling contract: the traps of that host are the cases here.

#[path = "hosts/wasi.rs"]
mod wasi;
#[path = "hosts/wasm.rs"]
mod wasm;

use std::fs;

use oddline_codec::{
    Edit, TagStyle, Tags, json,
    marker::{self, Secret},
};
use oddline_engine::{Advice, Class, Level, Settings, Status, Summary, TemplateAdvice, TemplateId};
use serde_json::{Value, json};
use wasm::Wasm;
use wasmparser::{Operator, Parser, Payload};

const FAULT: &str = "CRITICAL: Failed to connect to primary database after 5 retries.";
const QUIET: &str = "INFO: User 'guest' logged in from IP 192.168.1.50";
const SECOND: i64 = 1_000_000_000;
const START: i64 = 1_700_000_000 * SECOND;

fn line(text: &str) -> Vec<u8> {
    json!({"log": text}).to_string().into_bytes()
}

/// A directory with options and all that the sidecar leaves.
struct Dir(tempfile::TempDir);

impl Dir {
    fn new(options: &str) -> Dir {
        let dir = Dir(tempfile::tempdir().unwrap());
        let advice_dir = dir.0.path().to_str().unwrap();
        dir.write("oddline.toml", format!("advice_dir = \"{advice_dir}\"\n{options}").as_bytes());
        dir.write("secret", Secret::file(&[7; 32]).as_bytes());
        dir
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.path().join(name), bytes).unwrap();
    }

    /// An instance at a second after the start, with a fresh heartbeat.
    fn start(&self) -> Wasm {
        let mut wasm = Wasm::start(vec![self.0.path().to_owned()]);
        self.at(&mut wasm, 0);
        wasm
    }

    fn at(&self, wasm: &mut Wasm, seconds: i64) {
        self.write("heartbeat", (START + seconds * SECOND).to_string().as_bytes());
        wasm.set_clock(START + seconds * SECOND);
    }
}

#[test]
fn every_record_is_tagged_and_the_fault_is_explained() {
    let mut wasm = Wasm::start(Vec::new());
    let quiet = wasm.record("app", &line(QUIET));
    assert_eq!((&quiet["log"], &quiet["anomaly"]["level"]), (&QUIET.into(), &"none".into()));
    let fault = wasm.record("app", &line(FAULT));
    assert_eq!(fault["anomaly"]["rule"], "DB_CONNECT_FAILED");
    assert_eq!(fault["anomaly"]["status"], "inline");
    assert!(wasm.stderr().contains("all options have their defaults"));
}

#[test]
fn what_the_record_says_stays_as_it_was_written() {
    let mut wasm = Wasm::start(Vec::new());
    let text = r#"{ "n":1e999, "long":12345678901234567890123, "e":"\u0000\ud83d\ude00\/" , "n":1}"#;
    let answer = wasm.text("app", text.as_bytes());
    assert!(answer.starts_with(text.strip_suffix('}').unwrap()), "{answer}");
}

#[test]
fn invalid_json_is_repaired_tagged_and_counted() {
    let dir = Dir::new("summary_interval_seconds = 1");
    let mut wasm = dir.start();
    for (broken, field, value) in [
        (&br#"{"log":"a","n":nan}"#[..], "n", Value::Null),
        (br#"{"log":"a","n":-inf}"#, "n", Value::Null),
        (br#"{"log":"a",5:"x"}"#, "5", "x".into()),
        (br#"{"log":"cut sho"#, "log", "cut sho".into()),
        (b"{\"log\":\"a\xff\xfeb\"}", "log", "a\u{fffd}\u{fffd}b".into()),
        (b"{\"log\":\"a\x01b\"}", "log", "a\u{1}b".into()),
        (b"\"text\"", "message", "\"text\"".into()),
        (b"[1,2]", "message", "[1,2]".into()),
        (b"", "message", "".into()),
        (b"\0\0", "message", "".into()),
    ] {
        let record = wasm.record("app", broken);
        assert_eq!(record[field], value, "{}", String::from_utf8_lossy(broken));
        assert!(record["anomaly"]["score"].is_number(), "{record}");
    }
    dir.at(&mut wasm, 2);
    let carrier = wasm.record("app", &line(FAULT));
    assert_eq!(carrier["oddline_summary"]["counters"]["unread"], 10);
}

#[test]
fn empty_and_huge_records_pass_whole() {
    let mut wasm = Wasm::start(Vec::new());
    assert!(wasm.record("", b"{}")["anomaly"]["score"].is_number());
    let long = wasm.record("app", &line(&"a".repeat(1 << 20)));
    assert_eq!(long["log"].as_str().unwrap().len(), 1 << 20);
    let long = wasm.record("app", &line(&"a b".repeat(10 << 20)));
    assert_eq!(long["log"].as_str().unwrap().len(), 30 << 20);
    for fields in [1_024, 1_025, 100_000] {
        let object: serde_json::Map<_, _> = (0..fields).map(|field| (field.to_string(), 1.into())).collect();
        let record = wasm.record("app", &serde_json::to_vec(&object).unwrap());
        assert_eq!(record.as_object().unwrap().len(), fields + 1);
    }
    for depth in [32, 33, 1_000, 10_000] {
        let text = format!("{{\"log\":{}1{}}}", "{\"n\":".repeat(depth), "}".repeat(depth));
        let answer = wasm.text("app", text.as_bytes());
        assert!(
            answer.starts_with(text.strip_suffix('}').unwrap()) && answer.contains("\"anomaly\":"),
            "{depth}"
        );
    }
}

#[test]
fn odd_pointers_are_answered_with_a_record() {
    let mut wasm = Wasm::start(Vec::new());
    for arguments in [
        (0, 5, 0, 0, 0, 0),
        (0, 0, 0, 0, 0, 7),
        (8, u32::MAX, 0, 0, u32::MAX, 10),
        (0, 0, 0, 0, 16, u32::MAX),
    ] {
        assert_ne!(wasm.raw(arguments), 0);
    }
    assert_eq!(wasm.record("app", &line(QUIET))["log"], QUIET);
}

#[test]
fn memory_does_not_grow_with_records() {
    let mut wasm = Wasm::start(Vec::new());
    let mut feed = |rounds: u32| {
        for round in 0..rounds {
            wasm.record("app", &line(&format!("job {round} took {} ms", round * 7)));
        }
        wasm.memory_bytes()
    };
    let warm = feed(500);
    assert_eq!(feed(5_000), warm);
}

#[test]
fn a_wrong_configuration_is_told_once_and_records_pass() {
    let dir = Dir::new("sigma = 200\n");
    let mut wasm = dir.start();
    for second in 0..5 {
        dir.at(&mut wasm, second * 2);
        assert_eq!(wasm.text("app", &line(FAULT)), String::from_utf8(line(FAULT)).unwrap());
        assert_eq!(wasm.record("app", b"{\"n\":nan}"), json!({"n": null}), "still valid for the host");
    }
    let told = wasm.stderr();
    assert_eq!(told.matches("option `sigma` is `200`; allowed: 1..=20").count(), 1, "{told}");
    assert!(told.contains("/oddline.toml: "), "{told}");
    dir.write("oddline.toml", b"key = \"verdict\"\n");
    dir.at(&mut wasm, 20);
    assert_eq!(wasm.record("app", &line(FAULT))["verdict"]["rule"], "DB_CONNECT_FAILED");
}

#[test]
fn advice_rules_and_heartbeat_are_looked_at_once_a_second() {
    let dir = Dir::new("summary_interval_seconds = 0\n");
    let rules = dir.0.path().join("mine.toml");
    let rule = "[[rules]]\nname = \"PURPLE\"\npattern = \"purple elephant\"\nscore = 6.0\n";
    dir.write("mine.toml", rule.as_bytes());
    let advice_dir = dir.0.path().to_str().unwrap().to_owned();
    dir.write(
        "oddline.toml",
        format!("advice_dir = \"{advice_dir}\"\nrules = \"{}\"", rules.display()).as_bytes(),
    );
    let mut wasm = dir.start();
    let fault = wasm.record("app", &line(FAULT));
    assert_eq!(fault["anomaly"]["status"], "pending");
    assert_eq!(wasm.record("app", &line("a purple elephant"))["anomaly"]["rule"], "PURPLE");

    wasm.set_clock(START + 5 * SECOND);
    assert_eq!(wasm.record("app", &line(FAULT))["anomaly"]["status"], "skipped", "the heartbeat is 5 s old");

    let id = TemplateId::parse(fault["anomaly"]["template_id"].as_str().unwrap()).unwrap();
    let row = TemplateAdvice {
        text: fault["anomaly"]["template"].as_str().unwrap().to_owned(),
        class: Class::Exception,
        score: 0.0,
        similarity: None,
        nearest: None,
        rate: None,
        expires: None,
    };
    let advice = Advice { templates: [(id, row)].into(), ..Advice::default() }.to_bytes();
    dir.write("advice", &advice);
    dir.write("mine.toml", b"[[rules]]\nname = 5");
    dir.at(&mut wasm, 6);
    assert_eq!(wasm.record("app", &line(FAULT))["anomaly"]["level"], "none");
    assert_eq!(
        wasm.record("app", &line("a purple elephant"))["anomaly"]["rule"],
        "PURPLE",
        "the last good rules stay"
    );
    dir.write("advice", &advice[..advice.len() - 1]);
    dir.at(&mut wasm, 8);
    assert_eq!(wasm.record("app", &line(FAULT))["anomaly"]["level"], "none");
    let told = wasm.stderr();
    assert!(told.contains("/advice: checksum mismatch") && told.contains("mine.toml:"), "{told}");
}

#[test]
fn what_is_between_plugin_and_sidecar_is_left_alone() {
    let mut wasm = Wasm::start(Vec::new());
    assert_eq!(wasm.text("oddline.pending.app", &line(FAULT)), String::from_utf8(line(FAULT)).unwrap());
    assert_eq!(wasm.record("oddline.pending.app", b"{a:nan}"), json!({"a": null}));
}

fn returned(tag: &str, key: u8) -> Vec<u8> {
    let secret = Secret::parse(Secret::file(&[key; 32]).as_bytes()).unwrap();
    let (id, level, status) = (TemplateId(5), Level::High, Status::Confirmed);
    let marker = marker::sign(&secret, tag.as_bytes(), FAULT.as_bytes(), id, level, status);
    let tags = Tags { score: 0.85, level, template_id: id, status: Some(status), ..Tags::default() };
    let style = TagStyle::of(&Settings::default());
    let mut out = Vec::new();
    json::splice(&line(FAULT), &Edit { marker: Some(&marker), ..Edit::tag(&style, &tags) }, &mut out)
        .unwrap();
    out
}

#[test]
fn a_record_that_comes_back_loses_its_marker_and_a_forged_one_is_user_data() {
    let dir = Dir::new("");
    let mut wasm = dir.start();
    let back = wasm.record("app", &returned("app", 7));
    assert_eq!(back["anomaly"]["status"], "confirmed");
    assert_eq!(back.as_object().unwrap().len(), 2, "{back}");
    for (tag, key) in [("app", 8), ("other", 7)] {
        let forged = wasm.record(tag, &returned("app", key));
        assert_eq!(forged["anomaly_original"]["status"], "confirmed");
        assert_ne!(forged["anomaly"]["status"], "confirmed");
        assert!(forged["_oddline"].is_null() && forged["_oddline_original"].is_string());
    }
}

#[test]
fn the_summary_rides_on_a_record_of_the_detour() {
    let dir = Dir::new("summary_interval_seconds = 2\n");
    let mut wasm = dir.start();
    let at = |wasm: &mut Wasm, seconds: i64, text: &str| {
        dir.at(wasm, seconds);
        let record = wasm.record("app", &line(text));
        let summary: Option<Summary> = serde_json::from_value(record["oddline_summary"].clone()).ok();
        (record["anomaly"]["status"].clone(), summary)
    };
    for _ in 0..3 {
        assert_eq!(at(&mut wasm, 0, QUIET).1, None);
    }
    assert_eq!(at(&mut wasm, 0, FAULT), ("pending".into(), None));
    assert_eq!(at(&mut wasm, 2, QUIET).1, None, "due, but a questionable record may still come");
    let (status, summary) = at(&mut wasm, 3, FAULT);
    assert_eq!(status, "pending");
    assert_eq!(summary.unwrap().counters.records, 5);
    // And if none comes, a quiet one is sent.
    assert_eq!(at(&mut wasm, 5, QUIET).1, None);
    let (status, summary) = at(&mut wasm, 7, QUIET);
    assert_eq!((status, summary.is_some()), ("pending".into(), true));
    assert_eq!(at(&mut wasm, 7, QUIET).1, None);
}

#[test]
fn no_summary_where_the_detour_would_not_take_it_along() {
    for mode in ["copy", "inline"] {
        let dir = Dir::new(&format!("summary_interval_seconds = 1\nmode = \"{mode}\"\n"));
        let mut wasm = dir.start();
        for second in 0..10 {
            dir.at(&mut wasm, second);
            for text in [QUIET, FAULT] {
                assert!(wasm.record("app", &line(text))["oddline_summary"].is_null(), "{mode}");
            }
        }
    }
}

#[test]
fn our_names_in_a_record_are_not_believed() {
    let mut wasm = Wasm::start(Vec::new());
    let record =
        wasm.record("app", br#"{"log":"hi","anomaly":{"status":"pending"},"oddline_summary":{"kind":"v1"}}"#);
    assert_eq!(record["anomaly_original"]["status"], "pending");
    assert_eq!(record["anomaly"]["level"], "none");
    assert!(
        record["oddline_summary"].is_null() && record["oddline_summary_original"].is_object(),
        "{record}"
    );
}

/// The interpreter runs `local.tee` as an instruction of its own, so `cargo xtask` takes it out of what it delivers.
#[test]
fn the_delivered_module_is_rewritten_for_the_interpreter() {
    let module = fs::read(acceptance::built("ODDLINE_WASM_FILTER")).unwrap();
    let (mut sets, mut tees) = (0, 0);
    for payload in Parser::new(0).parse_all(&module) {
        if let Payload::CodeSectionEntry(body) = payload.unwrap() {
            for operator in body.get_operators_reader().unwrap() {
                match operator.unwrap() {
                    Operator::LocalSet { .. } => sets += 1,
                    Operator::LocalTee { .. } => tees += 1,
                    _ => {}
                }
            }
        }
    }
    assert!(sets > 10_000 && tees == 0, "{sets} sets, {tees} tees");
}
