//! Files that the sidecar and the filter leave for each other and for themselves: advice, learned state, the secret. What is
//! damaged is refused in one line and changes nothing; what is whole is taken, within the settings' bounds, and can be
//! written again.

use std::sync::Arc;

use oddline_codec::marker::{self, Secret};
use oddline_engine::{
    Advice, AdviceTable, Engine, Level, Record, STATE_VERSION, Status, TemplateId, UnixNanos,
    advice::ADVICE_VERSION, rules::RuleSet,
};

use crate::setup::{NOW, secret, settings};

/// Longest that a refusal may be: one line for an operator.
const MOST_TOLD: usize = 1_000;

/// The first byte says which file, and whether its header is made to fit: else no change would get past the checksum.
pub fn check(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    match choice & 7 {
        0 => advice(&framed("oddline-advice", ADVICE_VERSION, bytes)),
        1 => advice(bytes),
        2 => state(*choice, &framed("oddline-state", STATE_VERSION, bytes)),
        3 => state(*choice, &framed("oddline-state", 1, bytes)),
        4 => state(*choice, bytes),
        _ => secrets(bytes),
    }
}

/// A file as its writer frames it.
pub(crate) fn framed(word: &str, version: u32, body: &[u8]) -> Vec<u8> {
    let sum = twox_hash::XxHash3_64::oneshot(body);
    [format!("{word} {version} {sum:016x}\n").as_bytes(), body].concat()
}

fn told(refusal: &str) {
    assert!(!refusal.is_empty() && refusal.len() <= MOST_TOLD, "{} bytes: {refusal}", refusal.len());
    assert!(!refusal.contains(char::is_control), "one plain line: {refusal:?}");
}

fn advice(file: &[u8]) {
    let advice = match Advice::parse(file) {
        Ok(advice) => advice,
        Err(error) => return told(&error.to_string()),
    };
    let again = Advice::parse(&advice.to_bytes());
    // Numbers beyond what JSON can say are the one thing that does not come back.
    assert_eq!(again.as_ref().map(|it| it.templates.len()), Ok(advice.templates.len()));
    let mut engine = Engine::new(settings(0), Arc::new(RuleSet::default()));
    engine.set_advice(Arc::new(AdviceTable::new(advice)));
    use_it(&mut engine);
}

fn state(choice: u8, file: &[u8]) {
    let mut engine = Engine::new(settings(choice >> 3), Arc::new(RuleSet::default()));
    if let Err(error) = engine.restore(file) {
        told(&error.to_string());
        assert_eq!(engine.counters().sources, 0, "what is refused changes nothing");
    }
    let counters = engine.counters();
    assert!(counters.sources <= 5 && counters.templates <= 40, "{counters:?}");
    use_it(&mut engine);
    let saved = engine.snapshot();
    Engine::new(settings(choice >> 3), Arc::new(RuleSet::default()))
        .restore(&saved)
        .expect("what is taken can be saved and taken again");
}

/// Lives on with whatever it holds.
fn use_it(engine: &mut Engine) {
    let lines: [&[u8]; 4] =
        [b"user 7 logged in", b"disk full", b"request req-8f14e45fceea167a done in 12 ms", b""];
    for (number, line) in (0..).zip(lines.iter().cycle().take(24)) {
        let now = UnixNanos(NOW.0 + number * 31_000_000_000);
        let verdict = engine.observe(&Record::from_line(b"app", line), now);
        assert!((0.0..=1.0).contains(&verdict.score), "{}", verdict.score);
        assert!(verdict.expected.is_none_or(f64::is_finite) && verdict.actual.is_none_or(f64::is_finite));
    }
    let summary = engine.take_summary(NOW);
    assert!(summary.templates.len() <= 50);
    engine.take_endings(UnixNanos(NOW.0 + 1_000_000_000_000));
    let counters = engine.counters();
    assert!(counters.sources <= 5 && counters.templates <= 40, "{counters:?}");
}

fn secrets(file: &[u8]) {
    match Secret::parse(file) {
        Ok(key) => {
            let sign = |key| marker::sign(key, b"t", b"m", TemplateId(1), Level::Low, Status::Cleared);
            assert!(file.len() <= 65 && sign(&key).len() == 64);
        }
        Err(error) => told(&error.to_string()),
    }
    // As a marker it is forged.
    assert!(!marker::verify(&secret(), b"t", b"m", TemplateId(1), Level::Low, Status::Cleared, file));
}
