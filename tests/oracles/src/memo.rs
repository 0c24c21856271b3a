//! What an engine remembers of lines that differ in their numbers only, against an engine that remembers nothing: the same
//! verdicts for each line again and again with other numbers, with the rules that ship or with an input's own.

use std::sync::{Arc, LazyLock};

use oddline_engine::{Engine, Record, UnixNanos, rules::RuleSet};

use crate::setup::{NOW, rules_of, settings};

/// Times that each line is shown: what comes twice is remembered, and asked for from then on.
const ROUNDS: usize = 4;
/// Most lines: with all rounds fewer records than it takes until randomness is judged, which is looked at less often where a line
/// is known.
const MOST_LINES: usize = 12;
/// Nanoseconds between two lines.
const STEP: i64 = 1_000_000_000;

static BUILTIN: LazyLock<Arc<RuleSet>> = LazyLock::new(|| Arc::new(RuleSet::builtin()));

/// The first byte says how the engines are set up and whose rules: those that ship, or, from 128 on, those that stand before the
/// first NUL, one a line.
pub fn check(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let (rules, text) = if *choice < 128 { (Arc::clone(&BUILTIN), rest) } else { own(rest) };
    let settings = settings(*choice);
    let mut remembers = Engine::new(settings.clone(), Arc::clone(&rules));
    let mut forgets = Engine::new(settings, Arc::clone(&rules));
    let mut now = NOW;
    for round in 0..ROUNDS {
        for line in text.split(|byte| *byte == b'\n').take(MOST_LINES) {
            let line = with_other_numbers(line, round);
            let record = Record::from_line(b"app", &line);
            now = UnixNanos(now.0 + STEP);
            // With other rules nothing of what was found holds any more; that they are the same is not asked.
            forgets.set_rules(Arc::clone(&rules));
            let expected = forgets.observe(&record, now);
            assert_eq!(remembers.observe(&record, now), expected, "round {round}: {}", line.escape_ascii());
        }
    }
}

/// An input's own rules, and what is behind them.
fn own(input: &[u8]) -> (Arc<RuleSet>, &[u8]) {
    let end = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let (patterns, text) = input.split_at(end);
    let rules = rules_of(&String::from_utf8_lossy(patterns));
    (Arc::new(RuleSet::compile(rules).set), text.get(1..).unwrap_or_default())
}

/// The line with other digits in the later rounds, and in every other one of these with more of them here and there.
fn with_other_numbers(line: &[u8], round: usize) -> Vec<u8> {
    let mut changed = Vec::with_capacity(line.len());
    for (at, byte) in line.iter().enumerate() {
        if !byte.is_ascii_digit() {
            changed.push(*byte);
            continue;
        }
        let digit = (usize::from(byte - b'0') + round * (1 + at % 7)) % 10;
        let times = if round % 2 == 1 && (at + round).is_multiple_of(5) { 2 } else { 1 };
        changed.extend(std::iter::repeat_n(b'0' + digit as u8, times));
    }
    changed
}
