//! Nanoseconds per line and bytes per template of the whole engine, over the mixed lines of a folder of logs; and what a
//! structured record costs, with and without a list that a rule looks into.
//!
//! `ODDLINE_DATA` names the folder (default `../shared/data`); only `loghub2k/*/*_2k.log` is read. Prints one JSON line.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench reports on the terminal")]

#[path = "support/allocator.rs"]
#[expect(dead_code, reason = "shared with the other bench and a test, which use the rest")]
mod allocator;

use std::{path::PathBuf, sync::Arc, time::Instant};

use allocator::live;
use oddline_engine::{
    Engine, Record, Scalar, Settings, UnixNanos, Visitor,
    rules::{RuleSet, builtin_rules, parse},
};

/// Replays that are timed: so many that they outlast what else a busy machine does for a second.
const REPLAYS: usize = 100;

fn main() {
    let data = std::env::var_os("ODDLINE_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let systems = mixed(&data);
    if systems.is_empty() {
        eprintln!("skipped: no loghub2k/*/*_2k.log below {} (set ODDLINE_DATA)", data.display());
        return;
    }
    let lines: Vec<(String, Vec<u8>)> = systems;
    let bytes: usize = lines.iter().map(|(_, line)| line.len()).sum();
    let rules = Arc::new(RuleSet::builtin());

    let before = live();
    let mut engine = Engine::new(Settings::default(), Arc::clone(&rules));
    // Replays of the lines at 1 ms a line; the first learns, the fastest of the others counts.
    let mut now = 0i64;
    let mut best = f64::INFINITY;
    for replay in 0..=REPLAYS {
        let start = Instant::now();
        for (tag, line) in &lines {
            now += 1_000_000;
            std::hint::black_box(engine.observe(&Record::from_line(tag.as_bytes(), line), UnixNanos(now)));
        }
        if replay > 0 {
            best = best.min(start.elapsed().as_secs_f64());
        }
    }
    let templates = engine.counters().templates;
    let structured = [0, 5, 50].map(structured);
    let growth = growth_in_an_hour(&mut engine, &lines, &mut now);
    let per_template = bytes_per_template(&mut engine, now);
    let total = live() - before;
    println!(
        r#"{{"bench":"engine","lines":{},"mean_bytes":{},"ns_per_line":{:.0},"lines_per_second":{:.0},"templates":{templates},"growth_in_an_hour_bytes":{growth},"bytes_per_template":{per_template},"mib_with_20000_more":{:.1},"rules":{},"structured_ns":{:.0},"structured_with_list_of_5_ns":{:.0},"structured_with_list_of_50_ns":{:.0}}}"#,
        lines.len(),
        bytes / lines.len(),
        best * 1e9 / lines.len() as f64,
        lines.len() as f64 / best,
        total as f64 / f64::from(1 << 20),
        rules.len(),
        structured[0],
        structured[1],
        structured[2],
    );
}

/// Nanoseconds to pick and judge a record of an audit log with a list of so many elements, or none. One rule more than the
/// built-in ones looks into it.
fn structured(elements: usize) -> f64 {
    const RECORDS: usize = 20_000;
    let mut rules = builtin_rules();
    let own = "[[rules]]\nname = \"OWN\"\nfields = \"roles == 'owner'\"\n";
    rules.extend(parse("own.toml", own).rules);
    let rules = RuleSet::compile(rules).set;
    let mut engine = Engine::new(Settings::default(), Arc::new(rules));
    let picker = engine.picker();
    let texts: [(&[u8], &[u8]); 8] = [
        (b"message", b"policy was read by an account of the service"),
        (b"level", b"info"),
        (b"eventName", b"GetPolicyVersion"),
        (b"eventSource", b"iam.example.org"),
        (b"sourceIPAddress", b"203.0.113.9"),
        (b"userAgent", b"example-cli/2.1 Linux/6.1"),
        (b"region", b"eu-central-1"),
        (b"requestId", b"7b1c0a5e-1f2d-4c3b-8a9e-0d1f2e3c4b5a"),
    ];
    let mut best = f64::INFINITY;
    let mut now = 0i64;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..RECORDS {
            now += 1_000_000;
            let mut picking = picker.start(b"audit");
            for (key, text) in &texts {
                picking.scalar(key, Scalar::Text((*text).into()));
            }
            picking.scalar(b"status", Scalar::Int(200));
            if elements > 0 && picking.enter_list(b"roles") {
                (0..elements).for_each(|_| picking.item(Scalar::Text((&b"reader"[..]).into())));
                picking.leave();
            }
            std::hint::black_box(engine.observe(&picking.finish(), UnixNanos(now)));
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    best * 1e9 / RECORDS as f64
}

/// An hour of the same lines, fifty replays long: what is held at its end beyond what was held after the first replay.
fn growth_in_an_hour(engine: &mut Engine, lines: &[(String, Vec<u8>)], now: &mut i64) -> i64 {
    const IN_AN_HOUR: usize = 50;
    let step = 3_600_000_000_000 / (IN_AN_HOUR * lines.len()) as i64;
    let mut held = 0;
    for replay in 0..IN_AN_HOUR {
        for (tag, line) in lines {
            *now += step;
            engine.observe(&Record::from_line(tag.as_bytes(), line), UnixNanos(*now));
        }
        if replay == 0 {
            held = live() as i64;
        }
    }
    live() as i64 - held
}

/// What 20,000 more templates cost, in 20 sources: ten words each, a number in each, seen twenty times.
fn bytes_per_template(engine: &mut Engine, mut now: i64) -> usize {
    const MORE: usize = 20_000;
    let before = live();
    for template in 0..MORE {
        // Letters, because digits would be masked; two words differ, so that nothing is generalised.
        let word: String =
            template.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).chain(['x']).collect();
        let tag = format!("more-{}", template % 20);
        for value in 0..20 {
            now += 1_000;
            let line = format!("{word} is what {word} worker did with {value} of its parts");
            engine.observe(&Record::from_line(tag.as_bytes(), line.as_bytes()), UnixNanos(now));
        }
    }
    (live() - before) / MORE
}

/// The lines of all systems in turn, with the system's name as tag.
fn mixed(data: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(data.join("loghub2k"))
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|system| std::fs::read_dir(system.path()).into_iter().flatten().flatten())
        .map(|file| file.path())
        .filter(|path| path.to_string_lossy().ends_with("_2k.log"))
        .collect();
    files.sort();
    let mut systems: Vec<(String, Vec<Vec<u8>>)> = files
        .iter()
        .filter_map(|path| {
            let content = std::fs::read(path).ok()?;
            let lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            Some((path.file_stem()?.to_string_lossy().into_owned(), lines.map(<[u8]>::to_vec).collect()))
        })
        .collect();
    let longest = systems.iter().map(|(_, lines)| lines.len()).max().unwrap_or(0);
    let mut mixed = Vec::new();
    for index in 0..longest {
        for (name, lines) in &mut systems {
            if let Some(line) = lines.get_mut(index) {
                mixed.push((name.clone(), std::mem::take(line)));
            }
        }
    }
    mixed
}
