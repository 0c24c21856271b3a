//! What the built-in rules cost and find on real logs: `cargo run --release -p oddline-engine --example rules -- FILE…`
//!
//! Takes plain log files as arguments, gives nanoseconds per line over all of them, and for each file how many lines
//! each severity gets and by which rules.
#![expect(clippy::print_stdout, reason = "it is a program")]

use std::{collections::BTreeMap, env, fs, hint::black_box, time::Instant};

use oddline_engine::rules::{Categories, RuleSet, Scratch, severity_word};

const ROUNDS: usize = 50;

fn main() -> std::io::Result<()> {
    let set = RuleSet::builtin();
    let mut scratch = Scratch::default();
    let files: Vec<(String, Vec<u8>)> = env::args()
        .skip(1)
        .map(|path| fs::read(&path).map(|bytes| (path, bytes)))
        .collect::<Result<_, _>>()?;
    for (path, bytes) in &files {
        let mut words = BTreeMap::<&str, BTreeMap<String, usize>>::new();
        for line in bytes.split(|byte| *byte == b'\n') {
            if let Some(hit) = set.best(line.into(), Categories::ALL, |_| false, &mut scratch) {
                *words
                    .entry(severity_word(hit.score))
                    .or_default()
                    .entry(hit.name.to_string())
                    .or_default() += 1;
            }
        }
        println!("{path}");
        for (word, rules) in words {
            println!("  {word}: {} {rules:?}", rules.values().sum::<usize>());
        }
    }
    let lines: Vec<&[u8]> = files.iter().flat_map(|(_, bytes)| bytes.split(|byte| *byte == b'\n')).collect();
    let bytes: usize = lines.iter().map(|line| line.len()).sum();
    // The fastest round, because a busy machine only ever adds time.
    let round = |_| {
        let start = Instant::now();
        for line in &lines {
            black_box(set.best(black_box(*line).into(), Categories::ALL, |_| false, &mut scratch));
        }
        start.elapsed().as_nanos()
    };
    let nanos = (0..ROUNDS).map(round).min().unwrap_or(0) / lines.len().max(1) as u128;
    println!(
        "{} rules, {} lines of {} bytes: {nanos} ns a line",
        set.len(),
        lines.len(),
        bytes / lines.len().max(1)
    );
    Ok(())
}
