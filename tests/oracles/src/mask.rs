//! Lines, masked and observed: masks are stable and bounded, templates have the id of their text, tables keep to their
//! settings, and a state that is saved, restored and saved again is the same.

use std::sync::Arc;

use oddline_engine::{
    Engine, Record, Settings, TemplateId, UnixNanos,
    mask::{MAX_MASKED_BYTES, MAX_QUOTED_BYTES, MAX_VALUES, Masked},
    rules::RuleSet,
};

use serde_json::Value as Json;

use crate::setup::{NOW, settings};

/// Nanoseconds between two lines, so that windows pass and rates are compared.
const STEP: i64 = 7_000_000_000;

/// Masks each line, and shows them to an engine one after the other.
pub fn check(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let settings = settings(*choice);
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    lines.iter().for_each(|line| stable(line));
    let mut engine = Engine::new(settings.clone(), Arc::new(RuleSet::default()));
    let mut again = Engine::new(settings.clone(), Arc::new(RuleSet::default()));
    for (number, line) in (0..).zip(&lines) {
        // What stands before a bar names the source.
        let bar = line.iter().position(|byte| *byte == b'|');
        let (tag, line) = bar.map_or((&b"app"[..], *line), |bar| (&line[..bar], &line[bar + 1..]));
        let now = UnixNanos(NOW.0 + number * STEP);
        let verdict = engine.observe(&Record::from_line(tag, line), now);
        assert!((0.0..=1.0).contains(&verdict.score));
        assert!(!verdict.is_flagged() || verdict.reason.is_some(), "what is flagged says why");
        if let Some(template) = &verdict.template {
            assert!(template.len() <= 4 * MAX_MASKED_BYTES, "{} bytes", template.len());
            assert_eq!(TemplateId::of(template), verdict.template_id, "{template}");
        }
        assert_eq!(again.observe(&Record::from_line(tag, line), now), verdict, "the same again");
    }
    bounded(&engine, &settings);
    saved(&engine, settings);
}

fn stable(line: &[u8]) {
    let (mut once, mut twice) = (Masked::default(), Masked::default());
    once.mask(line);
    assert!(once.text.len() <= MAX_MASKED_BYTES, "{} bytes", once.text.len());
    assert!(once.values().len() <= MAX_VALUES && once.values().iter().all(|value| value.is_finite()));
    assert!(once.ids().iter().all(|id| line.get(id.clone()).is_some_and(|id| !id.is_empty())));
    twice.mask(&once.text);
    // The three cases that the mask names: a quotation became short, a word hex, and a drawn line met a placeholder.
    let quotes = line.len() > MAX_QUOTED_BYTES && line.iter().any(|byte| b"\"'".contains(byte));
    let drawn = line.windows(4).any(|part| part == b"<<<<");
    let hex = line.windows(16).any(|part| part.iter().all(|byte| byte.is_ascii_hexdigit()));
    if !quotes && !drawn && !hex {
        let [once, twice] = [once, twice].map(|masked| masked.text.escape_ascii().to_string());
        assert_eq!(once, twice, "masking twice is masking once");
    }
}

fn bounded(engine: &Engine, settings: &Settings) {
    let counters = engine.counters();
    // One more source for those that share.
    assert!(counters.sources <= 5 && counters.templates <= 40, "{counters:?}");
    assert_eq!(settings.mode(), engine.settings().mode());
}

fn saved(engine: &Engine, settings: Settings) {
    let first = engine.snapshot();
    let mut restored = Engine::new(settings, engine.rules().clone());
    restored.restore(&first).expect("our own snapshot is read");
    let second = restored.snapshot();
    let body = |file: &[u8]| file.splitn(2, |byte| *byte == b'\n').last().map(serde_json::from_slice::<Json>);
    match (body(&first), body(&second)) {
        (Some(Ok(first)), Some(Ok(second))) => same(&first, &second),
        other => panic!("a snapshot is JSON: {other:?}"),
    }
}

/// Equal, but for the last digits of numbers, which serde_json rounds.
fn same(left: &Json, right: &Json) {
    match (left, right) {
        (Json::Array(left), Json::Array(right)) if left.len() == right.len() => {
            left.iter().zip(right).for_each(|(left, right)| same(left, right));
        }
        (Json::Object(left), Json::Object(right)) if left.len() == right.len() => {
            for ((key, left), (other, right)) in left.iter().zip(right) {
                assert_eq!(key, other);
                same(left, right);
            }
        }
        (Json::Number(left), Json::Number(right)) if left.is_f64() && right.is_f64() => {
            let [left, right] = [left, right].map(|number| number.as_f64().unwrap_or(f64::NAN));
            assert!((left - right).abs() <= left.abs() * 1e-12, "{left} is not {right}");
        }
        _ => assert_eq!(left, right),
    }
}
