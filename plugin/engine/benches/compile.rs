//! How long the built-in rules take to read and compile, and what they keep in memory. Prints one JSON line.

#![expect(clippy::print_stdout, reason = "a bench reports on the terminal")]

#[path = "support/allocator.rs"]
#[expect(dead_code, reason = "shared with the other bench and a test, which use the rest")]
mod allocator;

use std::{hint::black_box, time::Instant};

use allocator::{live, take_peak};
use oddline_engine::rules::{Categories, Example, MAX_RULES, RuleSet, Scratch, builtin_rules, parse};

const ROUNDS: usize = 20;

fn main() {
    // The fastest round, because a busy machine only ever adds time.
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        black_box(RuleSet::compile(builtin_rules()));
        best = best.min(start.elapsed().as_secs_f64());
    }
    let before = live();
    take_peak();
    let set = RuleSet::builtin();
    let kept = live() - before;
    let peak = take_peak() - before;
    // Every rule is made to match, so that what matchers build on the way counts too.
    let mut scratch = Scratch::default();
    let used = live();
    let examples: Vec<Example> =
        builtin_rules().into_iter().flat_map(|rule| rule.matches.into_iter().chain(rule.misses)).collect();
    let held = live() - used;
    for example in &examples {
        if let Example::Message(text) = example {
            black_box(set.best(text.as_bytes().into(), Categories::ALL, |_| false, &mut scratch));
        }
    }
    let warm = live() - used - held;
    many();
    println!(
        r#"{{"bench":"rules","rules":{},"read_and_compile_ms":{:.1},"kept_kib":{},"peak_kib":{},"kib_more_once_all_have_matched":{}}}"#,
        set.len(),
        best * 1e3,
        kept >> 10,
        peak >> 10,
        warm >> 10,
    );
}

/// A file with as many rules as a set may have: half of them patterns, half conditions on one field.
fn many() {
    let file: String = (0..MAX_RULES)
        .map(|number| match number % 2 {
            0 => format!(
                "[[rules]]\nname = \"R{number}\"\npattern = 'unit{number} (failed|lost) after \\d+'\n"
            ),
            _ => format!("[[rules]]\nname = \"R{number}\"\nfields = 'url contains \"/p{number}/\"'\n"),
        })
        .collect();
    let before = live();
    let start = Instant::now();
    let compiled = RuleSet::compile(parse("many.toml", &file).rules);
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!((compiled.set.len(), compiled.problems.len()), (MAX_RULES, 0));
    println!(
        r#"{{"bench":"rules, as many as may be","rules":{MAX_RULES},"read_and_compile_ms":{:.0},"kept_mib":{:.1}}}"#,
        seconds * 1e3,
        (live() - before) as f64 / f64::from(1 << 20),
    );
}
