//! A record as JSON text, as the wasm filter gets it: serde_json must read, refuse and find in it what our reader does, the
//! same record as msgpack must get the same verdict, and tags change nothing else. What cannot be read is repaired.

use std::collections::BTreeMap;

use oddline_codec::{MARKER_KEY, MAX_DEPTH, MAX_FIELDS, TagStyle, json, msgpack};
use oddline_shell::{Json, Msgpack, Outcome};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    setup::{NOW, TAG, plugin},
    tags::{is_moved, is_readable},
    value::{Lines, Value},
};

/// Reads, tags and repairs a text.
pub fn check(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    read(text);
    let mut plugin = plugin(*choice);
    let style = plugin.style().clone();
    let mut out = Vec::new();
    match plugin.record::<Json>(TAG, text, NOW, &mut out) {
        // On the detour other keys are ours; what poses as the rest of them is moved on the way back.
        Outcome::Judged(verdict) if verdict.is_pending() => compare(text, &out, plugin.pending_style()),
        Outcome::Judged(_) => compare(text, &out, &style),
        Outcome::Returned => {
            let (came, went) = (pairs(text), pairs(&out));
            let kept = came.iter().filter(|(key, _)| key != MARKER_KEY);
            assert!(kept.eq(went.iter()), "a returned record stays as it is");
        }
        Outcome::Unread => {
            assert!(out.is_empty(), "nothing is written for what cannot be read");
            repair(*choice, text);
        }
    }
    same_verdict(*choice, text);
}

/// Our reader against serde_json's.
fn read(text: &[u8]) {
    let mut shown = Lines::default();
    let ours = json::walk(text, &mut shown).is_ok();
    // It reads what it skips without looking at halves of surrogate pairs, and without a limit on nesting.
    let theirs = serde_json::from_slice::<&RawValue>(text).is_ok_and(|value| value.get().starts_with('{'));
    assert!(theirs || !ours, "only what serde_json accepts is accepted");
    assert!(ours || !theirs || has_surrogate(text), "what serde_json accepts is accepted");
    let Ok(value) = serde_json::from_slice::<Value>(text) else { return };
    if ours && value.is_within(&mut (MAX_FIELDS - 1), MAX_DEPTH) {
        let mut expected = Lines::default();
        value.show(&mut expected);
        assert_eq!(shown, expected);
    }
}

fn has_surrogate(text: &[u8]) -> bool {
    text.windows(3).any(|part| part.eq_ignore_ascii_case(b"\\ud"))
}

fn compare(before: &[u8], after: &[u8], style: &TagStyle) {
    let (came, went) = (pairs(before), pairs(after));
    assert!(went.len() >= came.len(), "no pair is lost");
    for ((key, value), (to, written)) in came.iter().zip(&went) {
        assert_eq!(value, written, "values stay as they are written");
        if style.reserves(key.as_bytes()) {
            assert!(is_moved(key.as_bytes(), to.as_bytes(), style), "{key:?} -> {to:?}");
        } else {
            assert_eq!(key, to, "keys stay");
        }
    }
    let added = &went[came.len()..];
    assert!(added.iter().all(|(key, _)| style.reserves(key.as_bytes())));
    let (styled, nested) = (json::read_styled_tags(after, style), json::read_tags(after, &style.key));
    assert!(is_readable(styled, nested, !added.is_empty(), style));
    if !came.iter().any(|(key, _)| style.reserves(key.as_bytes())) {
        let kept = before.iter().rposition(|byte| *byte == b'}').expect("an object");
        let kept = before[..kept].trim_ascii_end();
        assert!(after.starts_with(kept), "what was there is there as it was written");
    }
}

/// The pairs of an object in their order, values as they are written.
fn pairs(text: &[u8]) -> Vec<(String, String)> {
    struct Pairs(Vec<(String, String)>);
    impl<'de> Deserialize<'de> for Pairs {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Pairs, D::Error> {
            struct Reader;
            impl<'de> serde::de::Visitor<'de> for Reader {
                type Value = Pairs;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                    let mut pairs = Vec::new();
                    while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                        pairs.push((key, value.get().to_owned()));
                    }
                    Ok(Pairs(pairs))
                }
            }
            deserializer.deserialize_map(Reader)
        }
    }
    let pairs = serde_json::from_slice::<Pairs>(text);
    pairs.unwrap_or_else(|error| panic!("{error}: {}", text.escape_ascii())).0
}

/// What cannot be read becomes an object that any parser reads, and that can be tagged.
fn repair(choice: u8, text: &[u8]) {
    let mut repaired = Vec::new();
    json::repair(text, &mut repaired);
    let value: serde_json::Value = serde_json::from_slice(&repaired)
        .unwrap_or_else(|error| panic!("{error}: {}", repaired.escape_ascii()));
    assert!(value.is_object());
    let mut out = Vec::new();
    assert_ne!(plugin(choice).record::<Json>(TAG, &repaired, NOW, &mut out), Outcome::Unread);
    assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
}

/// The same record in the other notation gets the same verdict.
fn same_verdict(choice: u8, text: &[u8]) {
    let Ok(value @ Value::Map(_)) = serde_json::from_slice::<Value>(text) else { return };
    // A number's digits are part of what is judged, and of a float only JSON keeps them.
    if value.has_floats() || text.windows(2).any(|part| part == b"-0") {
        return;
    }
    let packed = rmp_serde::to_vec(&value).expect("is plain data");
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let by_json = plugin(choice).record::<Json>(TAG, text, NOW, &mut left);
    let by_msgpack = plugin(choice).record::<Msgpack>(TAG, &packed, NOW, &mut right);
    if by_json == Outcome::Unread && has_surrogate(text) {
        return;
    }
    assert_eq!(by_json, by_msgpack);
    let style = plugin(choice).style().clone();
    assert_eq!(json::read_styled_tags(&left, &style), msgpack::read_styled_tags(&right, &style));
    // One that came twice counts by its last.
    let names = |pairs: Vec<(String, String)>| pairs.into_iter().collect::<BTreeMap<_, _>>().len();
    assert!(names(pairs(&left)) > 0 || matches!(value, Value::Map(pairs) if pairs.is_empty()));
}
