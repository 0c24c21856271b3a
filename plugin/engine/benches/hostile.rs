//! The most that one record costs: lines of 64 KiB (as much of a message as is looked at) that somebody made to cost the most.
//! Takes every example of every built-in rule, over and over in one line, because what nearly matches costs the rules
//! most; and what costs masking, mining and entropy most. Prints one JSON line, and the slowest lines for people.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench reports on the terminal")]

use std::{hint::black_box, sync::Arc, time::Instant};

use oddline_engine::{
    Engine, Record, Settings, UnixNanos,
    rules::{Example, RuleSet, builtin_rules},
};

/// As much of a message as the engine looks at by default.
const BYTES: usize = 65_536;
/// Engines that each see every line once; of a line the fastest counts, because a busy machine only ever adds time.
const ENGINES: usize = 3;
/// Lines that are named.
const NAMED: usize = 10;

fn main() {
    let lines = lines();
    let rules = Arc::new(RuleSet::builtin());
    let mut fastest = vec![f64::INFINITY; lines.len()];
    for _ in 0..ENGINES {
        let mut engine = Engine::new(Settings::default(), Arc::clone(&rules));
        for (number, ((_, line), fastest)) in lines.iter().zip(&mut fastest).enumerate() {
            let record = Record::from_line(b"hostile", line);
            let start = Instant::now();
            black_box(engine.observe(&record, UnixNanos(number as i64 * 1_000_000)));
            *fastest = fastest.min(start.elapsed().as_secs_f64());
        }
    }
    let mean = fastest.iter().sum::<f64>() / lines.len() as f64;
    let mut slowest: Vec<(f64, &str)> =
        fastest.iter().zip(&lines).map(|(seconds, (name, _))| (*seconds, &**name)).collect();
    slowest.sort_by(|left, right| right.0.total_cmp(&left.0));
    for (seconds, name) in slowest.iter().take(NAMED) {
        eprintln!("{:.2} ms: {name}", seconds * 1e3);
    }
    println!(
        r#"{{"bench":"hostile","lines":{},"bytes":{BYTES},"mean_ms":{:.3},"slowest_ms":{:.3}}}"#,
        lines.len(),
        mean * 1e3,
        slowest.first().map_or(0.0, |first| first.0 * 1e3)
    );
}

/// Lines with their names.
fn lines() -> Vec<(String, Vec<u8>)> {
    let over_and_over = |part: &[u8]| part.iter().copied().cycle().take(BYTES).collect::<Vec<u8>>();
    let mut lines = Vec::new();
    let parts: [&[u8]; 32] = [
        b"a",
        b"a ",
        b"7",
        b"7 ",
        b"a1b2-",
        b"7f3c1-",
        b"0x7f3c1 ",
        b"\"",
        b"'\"",
        b"\"a",
        b"{",
        b"{\"a\":",
        b"[",
        b"=",
        b"a=",
        b"a=1,",
        b"1.1.",
        b"1.1.1.1 ",
        b"::",
        b"fe80::1 ",
        b"ab:cd:ef:",
        b"7b1c0a5e-1f2d-4c3b-8a9e-",
        b"\x1b[31m",
        b"\x1b",
        b"\xff",
        b"\0",
        b"\\",
        b"%2f",
        b"a@b.",
        b"http://a/",
        b"2026-11-21T10:00:",
        "数".as_bytes(),
    ];
    for part in parts {
        lines.push((format!("{:?} again and again", String::from_utf8_lossy(part)), over_and_over(part)));
    }
    // Different words each time: nothing that is remembered of one helps with the next.
    let words: Vec<u8> =
        (0..).flat_map(|n: u32| format!("w{} ", letters(n)).into_bytes()).take(BYTES).collect();
    lines.push(("words that all differ".to_owned(), words));
    let random: Vec<u8> =
        (0..BYTES as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    lines.push(("bytes at random".to_owned(), random));
    let mut all = Vec::new();
    for rule in builtin_rules() {
        for example in rule.matches.iter().chain(&rule.misses) {
            let Example::Message(text) = example else { continue };
            all.extend_from_slice(text.as_bytes());
            all.push(b' ');
            let name = format!("{} again and again: {text}", rule.name);
            lines.push((name, over_and_over(format!("{text} ").as_bytes())));
        }
    }
    let mixed = all.chunks(BYTES).map(|chunk| ("examples of many rules".to_owned(), chunk.to_vec()));
    lines.extend(mixed);
    lines
}

/// A number in letters; digits would be masked.
fn letters(number: u32) -> String {
    number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
}
