//! What patterns cost on texts made against them: `cargo run --release -p oddline-engine --example hostile [-- MIN]`
//!
//! Takes nothing but the built-in rules. Prints steps a byte, time on the longest message that is looked at, rule and pattern
//! of those that take `MIN` steps or more, the dearest first; without `MIN` those that `oddline rules lint` calls slow.
#![expect(clippy::print_stdout, reason = "it is a program")]

use std::time::Instant;

use oddline_engine::rules::{
    Categories, MAX_PATTERN_BYTES, Rule, RuleSet, SLOW, Scratch, builtin_rules, worst,
};

/// The longest message that the engine looks at.
const LONGEST: usize = 64 << 10;

fn main() {
    let least: f64 = std::env::args().nth(1).and_then(|it| it.parse().ok()).unwrap_or(SLOW);
    let mut found = Vec::new();
    for rule in builtin_rules() {
        for pattern in std::iter::once(&rule.pattern).chain(&rule.unless).filter(|it| !it.is_empty()) {
            let Ok(cost) = worst(pattern) else { continue };
            found.push((cost.steps, micros(&rule, pattern, &cost.text), rule.name.clone(), pattern.clone()));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (all, longest) = (found.len(), found.iter().map(|(_, micros, ..)| *micros).max().unwrap_or(0));
    found.retain(|(steps, ..)| *steps >= least);
    for (steps, micros, name, pattern) in &found {
        println!("{steps:8.1} steps a byte {micros:6} us {name} {pattern:.MAX_PATTERN_BYTES$}");
    }
    println!("{} of {all} patterns; the longest search took {longest} us", found.len());
}

/// How long a set of this pattern alone takes on the text, repeated to the longest message: the best of three times, each
/// with nothing built yet.
fn micros(rule: &Rule, pattern: &str, text: &[u8]) -> u128 {
    let rule = Rule {
        pattern: pattern.to_owned(),
        fields: Vec::new(),
        unless: Vec::new(),
        when: None,
        ..rule.clone()
    };
    let set = RuleSet::compile(vec![rule]).set;
    let text: Vec<u8> = text.iter().copied().cycle().take(LONGEST).collect();
    let round = |_| {
        let mut scratch = Scratch::default();
        let start = Instant::now();
        set.best(text.as_slice().into(), Categories::ALL, |_| false, &mut scratch);
        start.elapsed().as_micros()
    };
    (0..3).map(round).min().unwrap_or(0)
}
