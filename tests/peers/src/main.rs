//! The engine beside what others offer for its parts, in one run: rounds take turns, the lowest of each counts.
//!
//! The engine whole, on one core and on two; the `drain3` crate's training and matching (template mining alone, without
//! masks, rules or statistics), and Python's Drain3 where it is installed; the rules alone, as they are and ten times as many;
//! `regex::RegexSet` over the same patterns. Lines are those of `loghub2k` below `ODDLINE_DATA` (default `../shared/data`); skips loudly without. What
//! Vector's `match_any` takes for all patterns belongs here too. Prints one JSON line.

#![expect(clippy::print_stderr, reason = "a bench reports on the terminal")]

mod python;

use std::{
    hint::black_box,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Instant,
};

use python::Python;

use oddline_engine::{
    Engine, Record, Settings, UnixNanos,
    rules::{Categories, Rule, RuleSet, Scratch, builtin_rules},
};

const ROUNDS: usize = 12;
/// How many times as many rules the second measurement of the rule stage has.
const TIMES: usize = 10;
/// `RegexSet` sees one line in so many (no multiple of the number of systems, so that it sees them all): for hundreds of
/// patterns it takes half a millisecond a line.
const SET_STEP: usize = 17;

struct Line {
    system: String,
    text: String,
}

/// What is timed beside the engine, by name.
type Case<'a> = (&'a str, Box<dyn FnMut() + 'a>);

fn main() -> anyhow::Result<()> {
    let data = std::env::var_os("ODDLINE_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let lines = mixed(&data)?;
    if lines.is_empty() {
        eprintln!("SKIPPED: no loghub2k/*/*_2k.log below {} (set ODDLINE_DATA)", data.display());
        return Ok(());
    }
    let texts: Vec<String> = lines.iter().map(|line| line.text.clone()).collect();
    let rules = builtin_rules();
    let patterns: Vec<&str> = rules
        .iter()
        .filter(|rule| rule.enabled && !rule.pattern.is_empty())
        .map(|rule| &*rule.pattern)
        .collect();
    let set = regex::bytes::RegexSetBuilder::new(&patterns)
        .case_insensitive(true)
        .unicode(false)
        .size_limit(256 << 20)
        .dfa_size_limit(64 << 20)
        .build()?;
    let one = Arc::new(RuleSet::builtin());
    let many = RuleSet::compile((0..TIMES).flat_map(|turn| varied(&rules, turn)).collect()).set;
    let matcher = drain3::train(&texts, mining()).map_err(|error| anyhow::anyhow!("drain3: {error:?}"))?;
    let mut engines = [(); 2].map(|()| Running::new(&one));
    let mut python = Python::start(&texts)?;
    if python.is_none() {
        eprintln!("SKIPPED: Python's Drain3, because there is no python3 that has it (pip install drain3)");
    }
    let mut best_of_python = [f64::INFINITY; 2];
    let (mut scratch, mut scratch_of_many) = (Scratch::default(), Scratch::default());

    let mut cases: Vec<Case<'_>> = vec![
        ("drain3_match", Box::new(|| texts.iter().for_each(|text| _ = black_box(matcher.match_id(text))))),
        ("drain3_train", Box::new(|| _ = black_box(drain3::train(&texts, mining())))),
        ("rules", Box::new(|| search(&one, &texts, &mut scratch))),
        ("rules_10x", Box::new(|| search(&many, &texts, &mut scratch_of_many))),
        (
            "regex_set",
            Box::new(|| {
                texts.iter().step_by(SET_STEP).for_each(|text| _ = black_box(set.matches(text.as_bytes())))
            }),
        ),
    ];
    let mut best = vec![f64::INFINITY; cases.len() + 2];
    for round in 0..ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        for (best, (_, case)) in best.iter_mut().skip(2).zip(&mut cases) {
            *best = best.min(seconds(case));
        }
        let [first, second] = &mut engines;
        let alone = seconds(|| first.run(&lines));
        let together = seconds(|| {
            thread::scope(|scope| {
                scope.spawn(|| first.run(&lines));
                second.run(&lines);
            });
        });
        for (best, seconds) in best.iter_mut().zip([alone, together]) {
            *best = best.min(seconds);
        }
        if let Some(python) = &mut python {
            let (training, matching) = python.turn()?;
            for (best, seconds) in best_of_python.iter_mut().zip([training, matching]) {
                *best = best.min(seconds);
            }
        }
    }
    let names = ["engine", "engine_two_cores"].into_iter().chain(cases.iter().map(|(name, _)| *name));
    let mut out = io::stdout().lock();
    write!(
        out,
        r#"{{"bench":"peers","lines":{},"rules":{},"rules_of_10x":{},"patterns":{}"#,
        lines.len(),
        one.len(),
        many.len(),
        patterns.len()
    )?;
    for (name, seconds) in names.zip(&best) {
        let each = match name {
            "engine_two_cores" => 2 * lines.len(),
            "regex_set" => lines.len().div_ceil(SET_STEP),
            _ => lines.len(),
        } as f64;
        write!(
            out,
            r#","{name}_lines_per_second":{:.0},"{name}_ns":{:.0}"#,
            each / seconds,
            seconds * 1e9 / each
        )?;
    }
    let time = |place: usize| best.get(place).copied().unwrap_or(f64::NAN);
    if let Some(python) = &python {
        let [training, matching] = best_of_python.map(|seconds| seconds * 1e9 / lines.len() as f64);
        write!(out, r#","drain3_python_train_ns":{training:.0},"drain3_python_match_ns":{matching:.0}"#)?;
        write!(out, r#","engine_over_drain3_python_match":{:.1}"#, best_of_python[1] / time(0))?;
        write!(out, r#","drain3_python":{:?}"#, python.version)?;
    }
    writeln!(
        out,
        r#","engine_over_drain3_match":{:.2},"rules_10x_over_rules":{:.2},"regex_set_over_rules":{:.2}}}"#,
        time(2) / time(0),
        time(5) / time(4),
        time(6) * SET_STEP as f64 / time(4)
    )?;
    Ok(())
}

/// Its defaults, but for the limits on lines, which some lines of the data exceed.
fn mining() -> drain3::Config {
    drain3::Config { max_bytes: 1 << 16, max_tokens: 1 << 12, ..drain3::Config::default() }
}

fn seconds(mut case: impl FnMut()) -> f64 {
    let start = Instant::now();
    case();
    start.elapsed().as_secs_f64()
}

fn search(rules: &RuleSet, texts: &[String], scratch: &mut Scratch) {
    for text in texts {
        black_box(rules.best(text.as_bytes().into(), Categories::ALL, |_| false, scratch));
    }
}

/// An engine and its clock, a millisecond a line.
struct Running {
    engine: Engine,
    now: i64,
}

impl Running {
    fn new(rules: &Arc<RuleSet>) -> Running {
        Running { engine: Engine::new(Settings::default(), Arc::clone(rules)), now: 0 }
    }

    fn run(&mut self, lines: &[Line]) {
        for line in lines {
            self.now += 1_000_000;
            let record = Record::from_line(line.system.as_bytes(), line.text.as_bytes());
            black_box(self.engine.observe(&record, UnixNanos(self.now)));
        }
    }
}

/// The rules under other names and about other words: letters move on by some places, vowels among vowels, so that words
/// stay words. What is no plain letter of the pattern (escapes, classes, groups, counts) stays.
fn varied(rules: &[Rule], turn: usize) -> Vec<Rule> {
    let vary = |rule: &Rule| Rule {
        name: format!("{}_{turn}", rule.name).into(),
        pattern: pattern(&rule.pattern, turn),
        unless: rule.unless.iter().map(|unless| pattern(unless, turn)).collect(),
        ..rule.clone()
    };
    rules.iter().map(|rule| if turn == 0 { rule.clone() } else { vary(rule) }).collect()
}

fn pattern(pattern: &str, turn: usize) -> String {
    const RINGS: [&str; 2] = ["aeiouy", "bcdfghjklmnpqrstvwxz"];
    let moved = |letter: char| {
        let place = |ring: &str| ring.find(letter).and_then(|place| ring.chars().cycle().nth(place + turn));
        RINGS.into_iter().find_map(place).unwrap_or(letter)
    };
    let (mut out, mut until, mut escaped, mut last) = (String::new(), None, false, ' ');
    for letter in pattern.chars() {
        let kept = escaped || until.is_some();
        out.push(if kept { letter } else { moved(letter) });
        if until.is_some_and(|ends: &str| ends.contains(letter)) && !escaped {
            until = None;
        } else if until.is_none() && !escaped {
            until = match (last, letter) {
                (_, '[') => Some("]"),
                (_, '{') => Some("}"),
                ('(', '?') => Some(":)"),
                _ => None,
            };
        }
        escaped = letter == '\\' && !escaped;
        last = letter;
    }
    out
}

/// The lines of all systems in turn.
fn mixed(data: &Path) -> io::Result<Vec<Line>> {
    let mut files = Vec::new();
    for system in std::fs::read_dir(data.join("loghub2k")).into_iter().flatten().flatten() {
        files
            .extend(std::fs::read_dir(system.path()).into_iter().flatten().flatten().map(|file| file.path()));
    }
    files.retain(|path| path.to_string_lossy().ends_with("_2k.log"));
    files.sort();
    let mut systems = Vec::new();
    for path in &files {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let content = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
        systems.push((name, content));
    }
    let mut rows: Vec<_> = systems.iter().map(|(name, content)| (name, content.lines())).collect();
    let mut lines = Vec::new();
    loop {
        let before = lines.len();
        for (name, row) in &mut rows {
            let next = row.by_ref().find(|text| !text.is_empty());
            lines.extend(next.map(|text| Line { system: (*name).clone(), text: text.to_owned() }));
        }
        if lines.len() == before {
            return Ok(lines);
        }
    }
}
