//! What goes on the detour and what stays: an event that is too deep or too large for Vector's sink is never sent there.

use oddline_codec::detour::{MAX_BYTES, MAX_LEVELS};
use oddline_engine::{Mode, Options, Settings, rules::parse};
use serde_json::{Value, json};
use vrl::value::{Kind, kind::Collection};

use crate::host::Vrl;

/// A rule hits it.
const LOST: &str = "the pump is lost";
/// Nothing but that the sidecar does not know it.
const NEW: &str = "worker is idle";

/// A program of one rule, with a sidecar that is there.
fn open(options: Options) -> Vrl {
    let rules = parse("mine.toml", "[[rules]]\nname = \"LOST\"\npattern = 'lost'\nscore = 9\n").rules;
    let program = oddline_vrl::program(&Settings::new(&options).unwrap(), &rules);
    let vrl = Vrl::compile(&program.text).unwrap_or_else(|faults| panic!("{faults}"));
    vrl.open();
    vrl
}

/// One for each way to the sidecar.
fn both() -> [Vrl; 2] {
    [Mode::Divert, Mode::Copy].map(|mode| open(Options { mode: Some(mode), ..Options::default() }))
}

/// Sends an event with metadata of its own, and says why it stays: empty if it goes.
fn stays(vrl: &Vrl, event: &Value, metadata: &Value) -> String {
    let (passed, metadata) = vrl.run(event.clone().into(), metadata.clone().into());
    let (passed, metadata): (Value, Value) = (passed.try_into().unwrap(), metadata.try_into().unwrap());
    let (tags, oddline) = (&passed["anomaly"], &metadata["oddline"]);
    if oddline.get("detour").is_some() {
        let pending = oddline.get("pending").unwrap_or(tags);
        assert_eq!(pending["status"], "pending", "{tags}");
        return String::new();
    }
    assert_eq!(oddline.get("pending"), None);
    assert_eq!((&tags["status"], &tags["rule"]), (&json!("skipped"), &json!("LOST")), "{tags}");
    for (key, value) in event.as_object().unwrap() {
        assert!(passed[key] == *value, "{key} stays as it came");
    }
    tags["reason"].as_str().unwrap().rsplit("; ").next().unwrap().to_owned()
}

const DEEP: &str = "too deep for the detour, judged in the plugin alone";
const LARGE: &str = "too large for the detour, judged in the plugin alone";

/// An event of so many levels, itself among them.
fn deep(message: &str, levels: usize, wrap: fn(Value) -> Value) -> Value {
    let inner = (1..levels).fold(json!("bottom"), |inner, _| wrap(inner));
    json!({"message": message, "deep": inner, "half": 0.1, "list": [[], {}, [{}]]})
}

fn object(inner: Value) -> Value {
    let mut object = json!({"beside": 1});
    object["in"] = inner;
    object
}

fn list(inner: Value) -> Value {
    Value::Array(vec![Value::Null, inner])
}

#[test]
fn what_is_too_deep_stays() {
    for vrl in both() {
        for wrap in [object, list] {
            for (levels, why) in [(MAX_LEVELS, ""), (MAX_LEVELS + 1, DEEP), (10 * MAX_LEVELS, DEEP)] {
                assert_eq!(stays(&vrl, &deep(LOST, levels, wrap), &json!({})), why, "{levels}");
                let metadata = deep("", levels, wrap);
                assert_eq!(stays(&vrl, &json!({"message": LOST}), &metadata), why, "{levels} in metadata");
            }
        }
        // Brackets alone are no levels.
        let flat = json!({"message": LOST, "text": "[[{{".repeat(1_000), "list": vec![json!([{}]); 1_000]});
        assert_eq!(stays(&vrl, &flat, &json!({})), "");
    }
}

#[test]
fn what_is_too_large_stays() {
    let rest = json!({"message": LOST, "pad": ""}).to_string().len() + "[,{},{}]".len();
    for vrl in both() {
        for (bytes, why) in [(MAX_BYTES, ""), (MAX_BYTES + 1, LARGE), (10 * MAX_BYTES, LARGE)] {
            let event = json!({"message": LOST, "pad": "x".repeat(bytes - rest)});
            assert_eq!(stays(&vrl, &event, &json!({})), why, "{bytes}");
        }
        // As HTTP has it: a control character takes six bytes.
        for (count, why) in [((MAX_BYTES - rest) / 6, ""), (MAX_BYTES / 6, LARGE)] {
            let event = json!({"message": LOST, "pad": "\u{1}".repeat(count)});
            assert_eq!(stays(&vrl, &event, &json!({})), why, "{count} control characters");
        }
        // As gRPC has it: metadata is there twice.
        for (bytes, why) in [(MAX_BYTES / 2 - rest, ""), (MAX_BYTES / 2, LARGE)] {
            let metadata = json!({"pad": "x".repeat(bytes)});
            assert_eq!(stays(&vrl, &json!({"message": LOST}), &metadata), why, "{bytes} of metadata");
        }
    }
}

#[test]
fn what_is_not_flagged_stays_without_a_word() {
    for vrl in both() {
        let (_, metadata) = vrl.json(deep(NEW, MAX_LEVELS, object));
        assert_eq!(metadata["oddline"]["detour"], true);
        let (event, metadata) = vrl.json(deep(NEW, MAX_LEVELS + 1, object));
        assert_eq!((metadata["oddline"].get("detour"), metadata["oddline"].get("pending")), (None, None));
        let tags = &event["anomaly"];
        assert_eq!((&tags["level"], tags.get("status")), (&json!("none"), None), "{tags}");
    }
}

#[test]
fn a_copy_has_its_tags_under_the_key_of_the_options() {
    let vrl = open(Options { mode: Some(Mode::Copy), key: Some("odd.key".to_owned()), ..Options::default() });
    let (event, metadata) = vrl.json(json!({"message": LOST}));
    assert_eq!(
        (&event["odd.key"]["status"], &metadata["oddline"]["key"]),
        (&json!("inline"), &json!("odd.key"))
    );
    // What a configuration makes of it.
    let copied = ". = set!(., [%oddline.key], del(%oddline.pending))\n";
    let copied = Vrl::compile_for(copied, Kind::object(Collection::any())).unwrap();
    let (event, metadata) = copied.run(event.into(), metadata.into());
    let (event, metadata): (Value, Value) = (event.try_into().unwrap(), metadata.try_into().unwrap());
    assert_eq!((&event["odd.key"]["status"], &event["message"]), (&json!("pending"), &json!(LOST)));
    assert_eq!(metadata["oddline"].get("pending"), None);
    // Elsewhere it is not needed.
    let vrl = open(Options { mode: Some(Mode::Divert), ..Options::default() });
    let (_, metadata) = vrl.json(json!({"message": LOST}));
    assert_eq!((&metadata["oddline"]["detour"], metadata["oddline"].get("key")), (&json!(true), None));
}
