//! Events of any shape: the program never fails, and what is not ours leaves as it came.

use std::collections::BTreeMap;

use oddline_engine::{Mode, Options, Profile, advice::row::SIDECAR_KEY};
use serde_json::json;
use vrl::value::Value;

use crate::{default_program, host::Vrl, program};

fn object(pairs: Vec<(&str, Value)>) -> Value {
    Value::Object(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

fn nothing() -> Value {
    Value::Object(BTreeMap::new())
}

fn odd_values() -> Vec<Value> {
    let deep = (0..40).fold(Value::from("bottom"), |inner, _| object(vec![("message", inner)]));
    vec![
        Value::Null,
        Value::from(7),
        Value::from_f64_or_zero(0.5),
        Value::from(true),
        Value::from(false),
        Value::from(""),
        Value::from(b"\xff\xfe broken \xc3 5".as_slice()),
        Value::from("x".repeat(200_000)),
        Value::from(vec![Value::Null, Value::from("text"), nothing()]),
        nothing(),
        deep,
        Value::Timestamp(Default::default()),
    ]
}

const KEYS: [&str; 14] = [
    "message",
    "log",
    "level",
    "severity",
    "PRIORITY",
    "kubernetes",
    "container_name",
    "service",
    "file",
    "anomaly",
    "anomaly_original",
    "_oddline",
    "_oddline_tag",
    "source_type",
];

#[test]
fn every_value_in_every_place_passes() {
    for open in [false, true] {
        let vrl = default_program();
        if open {
            vrl.open();
        }
        for key in KEYS {
            for value in odd_values() {
                let event = object(vec![(key, value.clone()), ("kept", Value::from(7))]);
                let (event, metadata) = vrl.run(event, nothing());
                let event = event.as_object().unwrap();
                assert_eq!(event["kept"], Value::from(7));
                let tags = event["anomaly"].as_object().unwrap();
                assert!(tags["score"].is_float() && tags["level"].is_bytes(), "{tags:?}");
                assert_eq!(tags["template_id"].to_str_lossy().unwrap().len(), 16);
                assert!(metadata.as_object().unwrap()["oddline"].as_object().unwrap()["tag"].is_bytes());
                if !(key.starts_with("anomaly") || open && key.starts_with("_oddline")) {
                    assert_eq!(event[key], value, "{key}");
                }
            }
        }
    }
}

#[test]
fn events_that_are_no_objects_keep_their_value() {
    let vrl = default_program();
    vrl.open();
    for value in odd_values().into_iter().filter(|value| !value.is_object()) {
        let (event, metadata) = vrl.run(value.clone(), nothing());
        assert_eq!(event, value);
        let oddline = metadata.as_object().unwrap()["oddline"].as_object().unwrap().clone();
        assert!(oddline["tags"].as_object().unwrap()["score"].is_float());
        assert_eq!(oddline.get("detour"), None);
    }
    let lost = "CRITICAL: Failed to connect to primary database after 5 retries.";
    let (event, metadata) = vrl.run(lost.into(), nothing());
    assert_eq!(event, lost.into());
    let metadata: serde_json::Value = metadata.try_into().unwrap();
    assert_eq!(metadata["oddline"]["tags"]["status"], "inline");
}

#[test]
fn odd_rows_are_no_reason_to_fail() {
    let vrl = default_program();
    for row in [
        json!(null),
        json!("text"),
        json!([1]),
        json!({"class": 7, "id": {}, "burst": "x", "drop": [], "expires": "never"}),
        json!({"class": "anomalous", "score": "high", "similarity": "near", "nearest": 5}),
        json!({"class": "normal", "burst": {"expected": null, "actual": {}}}),
        json!({"class": "normal", "burst": {"expected": 0, "actual": -1e308}, "similarity": []}),
    ] {
        for key in ["worker <*> is idle", SIDECAR_KEY] {
            vrl.put(key, row.clone());
        }
        let (event, _) = vrl.json(json!({"message": "worker 7 is idle"}));
        assert!(event["anomaly"]["level"].is_string(), "{row}: {event}");
    }
}

#[test]
fn random_events_never_fail() {
    let programs = [
        default_program(),
        program(&Options { mode: Some(Mode::Copy), profile: Some(Profile::Ecs), ..Options::default() }),
    ];
    let mut random = fastrand::Rng::with_seed(0x0dd1);
    for index in 0..1_000 {
        let vrl = &programs[index % 2];
        if index == 500 {
            programs.iter().for_each(Vrl::open);
        }
        let event = value(&mut random, 5);
        vrl.run(event, if random.bool() { nothing() } else { value(&mut random, 3) });
    }
}

fn value(random: &mut fastrand::Rng, depth: usize) -> Value {
    match random.u8(..if depth == 0 { 5 } else { 9 }) {
        0 => Value::from((0..random.usize(..60)).map(|_| random.u8(..)).collect::<Vec<_>>()),
        1 => Value::from((0..random.usize(..40)).map(|_| random.char(' '..'\u{2000}')).collect::<String>()),
        2 => Value::from(random.i64(..)),
        3 => Value::from_f64_or_zero(random.f64()),
        4 => Value::from(random.bool()),
        5 => Value::from((0..random.usize(..4)).map(|_| value(random, depth - 1)).collect::<Vec<_>>()),
        _ => {
            let more = ["oddline", "marker", "tag", "container_name", "other"];
            let pairs = (0..random.usize(..8)).map(|_| {
                let key = KEYS[random.usize(..KEYS.len())];
                let key = if random.bool() { key } else { more[random.usize(..more.len())] };
                (key, value(random, depth - 1))
            });
            object(pairs.collect())
        }
    }
}
