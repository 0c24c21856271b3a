//! `oddline rules backtest`: what rules would have said about a log, and what another set of rules would change.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use oddline_engine::{
    Picker, RuleHit, Settings,
    rules::{Rule, RuleProblem, RuleSet, Scratch, Subject, severity_word},
};
use oddline_rulebook::conditions::Conditions;
use serde::Serialize;

use super::{Home, home};
use crate::commands::{
    lines::{Entry, Lines},
    print::{Format, harmless},
};
use crate::rule_files;

/// Lines read at a time.
const CHUNK: usize = 1_000;
/// First lines that are shown of each rule.
const SHOWN: usize = 3;
/// Longest line that is quoted whole, in bytes.
const QUOTED: usize = 512;
/// From this score on a rule flags a line on its own.
const FLAGS: f32 = 2.0;

/// Show what rules would have flagged in a log.
///
/// Lines that are JSON objects are read as records, others as messages. A line counts for the highest-scoring rule that
/// hits it, which is the one that its tag would name.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline rules backtest /var/log/syslog.1.gz
  oddline rules backtest app.json --compare candidate-rules.toml --format json")]
pub(super) struct Backtest {
    /// Logs: plain, .gz or .zst; `-` is standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Another set of your own rules: shows what changes with it.
    #[arg(long, value_name = "PATH")]
    compare: Option<PathBuf>,
    /// How results are written.
    #[arg(long, value_enum, default_value = "pretty")]
    format: Format,
    #[command(flatten)]
    home: Home,
}

/// One set of rules at work.
struct Judge {
    set: RuleSet,
    picker: Picker,
    conditions: Conditions,
    scratch: Scratch,
    rules: BTreeMap<Arc<str>, Rule>,
    problems: Vec<RuleProblem>,
}

/// A line that is shown.
#[derive(Clone, Debug, Serialize)]
struct Quoted {
    file: String,
    line: u64,
    text: String,
}

/// What one rule did.
#[derive(Debug, Default, Serialize)]
struct Count {
    rule: String,
    category: String,
    score: f32,
    severity: &'static str,
    /// Lines that would be tagged with it.
    lines: u64,
    /// Their share of all lines.
    share: f64,
    first: Vec<Quoted>,
}

/// What another set of rules changes.
#[derive(Debug, Default, Serialize)]
struct Change {
    /// Lines flagged only by the other set.
    new: u64,
    /// Lines flagged only by this one.
    gone: u64,
    /// Lines flagged by both, by rules of different names.
    other_rule: u64,
    /// Which rules took and lost lines: before, after.
    rules: BTreeMap<String, (u64, u64)>,
    first_new: Vec<Quoted>,
    first_gone: Vec<Quoted>,
}

#[derive(Debug, Serialize)]
struct Report {
    lines: u64,
    records: u64,
    hit: u64,
    flagged: u64,
    rules: Vec<Count>,
    conditions_failed: u64,
    change: Option<Change>,
    problems: Vec<String>,
}

impl Backtest {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let loaded = self.home.load()?;
        let mut judge = Judge::new(loaded.effective(), &loaded.settings, loaded.problems.clone());
        let mut other = match &self.compare {
            None => None,
            Some(path) => {
                let mut all: Vec<Rule> =
                    loaded.all.iter().filter(|rule| rule.is_builtin()).cloned().collect();
                let mut problems = Vec::new();
                home::read(path, &mut all, &mut problems)?;
                Some(Judge::new(rule_files::effective(&all), &loaded.settings, problems))
            }
        };
        let mut tally = Tally::default();
        for path in &self.files {
            tally.read(path, &mut judge, other.as_mut())?;
        }
        let report = tally.finish(&judge, other.as_ref());
        self.print(&report)
    }

    fn print(&self, report: &Report) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        if self.format == Format::Json {
            serde_json::to_writer(&mut out, report)?;
            return writeln!(out).context("standard output");
        }
        for count in &report.rules {
            let share = count.share * 100.0;
            writeln!(
                out,
                "{} lines ({share:.2} %) {} {} {}",
                count.lines, count.rule, count.score, count.severity
            )?;
            quote(&mut out, "    ", &count.first)?;
        }
        let (all, flagged) = (report.lines.max(1) as f64, report.flagged);
        writeln!(
            out,
            "{} of {} lines hit by a rule, {flagged} ({:.2} %) flagged by a rule alone",
            report.hit,
            report.lines,
            flagged as f64 / all * 100.0
        )?;
        if let Some(change) = &report.change {
            let Change { new, gone, other_rule, .. } = change;
            writeln!(
                out,
                "compared: {new} lines more are flagged, {gone} no longer, {other_rule} by another rule"
            )?;
            for (rule, (before, after)) in change.rules.iter().filter(|(_, (before, after))| before != after)
            {
                writeln!(out, "    {rule}: {before} -> {after} lines")?;
            }
            quote(&mut out, "  + ", &change.first_new)?;
            quote(&mut out, "  - ", &change.first_gone)?;
        }
        drop(out);
        if report.conditions_failed > 0 {
            let failed = report.conditions_failed;
            writeln!(io::stderr(), "{failed} times a `when` could not be evaluated, and counted as not met")?;
        }
        for problem in &report.problems {
            writeln!(io::stderr(), "left out: {}", harmless(problem)).context("standard error")?;
        }
        Ok(())
    }
}

fn quote(out: &mut impl Write, indent: &str, lines: &[Quoted]) -> io::Result<()> {
    for line in lines {
        writeln!(out, "{indent}{}:{}: {}", harmless(&line.file), line.line, harmless(&line.text))?;
    }
    Ok(())
}

impl Judge {
    fn new(rules: Vec<Rule>, settings: &Settings, mut problems: Vec<RuleProblem>) -> Judge {
        let (conditions, faulty) = Conditions::compile(&rules, settings);
        problems.extend(faulty);
        let plain: Vec<Rule> = rules.iter().filter(|rule| rule.when.is_none()).cloned().collect();
        let compiled = RuleSet::compile(plain);
        problems.extend(compiled.problems);
        let picker = Picker::new(settings, &compiled.set);
        let rules = rules.into_iter().map(|rule| (rule.name.clone(), rule)).collect();
        Judge { set: compiled.set, picker, conditions, scratch: Scratch::default(), rules, problems }
    }

    /// The rule that would be told, and whether the line is a record.
    fn best(&mut self, line: &[u8]) -> (Option<RuleHit>, bool) {
        let entry = Entry::of(line);
        let record = entry.record(&self.picker, b"");
        let subject = Subject { message: &record.message, severity: record.severity, fields: &record.fields };
        let categories = oddline_engine::rules::Categories::ALL;
        let plain = self.set.best(subject, categories, |_| false, &mut self.scratch);
        let conditioned = self.conditions.matches(b"", &entry).into_iter().next();
        let best = match (plain, conditioned) {
            (Some(a), Some(b)) => Some(if b.score > a.score { b } else { a }),
            (a, b) => a.or(b),
        };
        (best, entry.is_record())
    }
}

/// What was counted.
#[derive(Default)]
struct Tally {
    lines: u64,
    records: u64,
    hit: u64,
    flagged: u64,
    rules: BTreeMap<Arc<str>, (u64, Vec<Quoted>)>,
    change: Change,
}

impl Tally {
    fn read(&mut self, path: &Path, judge: &mut Judge, mut other: Option<&mut Judge>) -> anyhow::Result<()> {
        let file = path.display().to_string();
        let mut lines = Lines::open(path)?;
        loop {
            let chunk = lines.next(CHUNK)?;
            if chunk.is_empty() {
                return Ok(());
            }
            for line in chunk {
                let quoted = || Quoted {
                    file: file.clone(),
                    line: line.number,
                    text: String::from_utf8_lossy(line.text.get(..QUOTED).unwrap_or(&line.text)).into_owned(),
                };
                let (best, is_record) = judge.best(&line.text);
                self.lines += 1;
                self.records += u64::from(is_record);
                if let Some(hit) = &best {
                    self.hit += 1;
                    self.flagged += u64::from(hit.score >= FLAGS);
                    let (count, first) = self.rules.entry(hit.name.clone()).or_default();
                    *count += 1;
                    if first.len() < SHOWN {
                        first.push(quoted());
                    }
                }
                if let Some(other) = other.as_deref_mut() {
                    self.change.count(best.as_ref(), other.best(&line.text).0.as_ref(), quoted);
                }
            }
        }
    }

    fn finish(self, judge: &Judge, other: Option<&Judge>) -> Report {
        let mut rules: Vec<Count> = self
            .rules
            .into_iter()
            .map(|(name, (lines, first))| {
                let rule = judge.rules.get(&name);
                let score = rule.map_or(0.0, |rule| rule.score);
                Count {
                    rule: name.to_string(),
                    category: rule.map_or(String::new(), |rule| rule.category.to_string()),
                    score,
                    severity: severity_word(score),
                    lines,
                    share: lines as f64 / self.lines.max(1) as f64,
                    first,
                }
            })
            .collect();
        rules.sort_by(|a, b| b.lines.cmp(&a.lines).then_with(|| a.rule.cmp(&b.rule)));
        let judges = || std::iter::once(judge).chain(other);
        Report {
            lines: self.lines,
            records: self.records,
            hit: self.hit,
            flagged: self.flagged,
            rules,
            conditions_failed: judge.conditions.failed(),
            change: other.map(|_| self.change),
            problems: judges().flat_map(|judge| &judge.problems).map(ToString::to_string).collect(),
        }
    }
}

impl Change {
    fn count(&mut self, before: Option<&RuleHit>, after: Option<&RuleHit>, quoted: impl Fn() -> Quoted) {
        if let Some(hit) = before {
            self.rules.entry(hit.name.to_string()).or_default().0 += 1;
        }
        if let Some(hit) = after {
            self.rules.entry(hit.name.to_string()).or_default().1 += 1;
        }
        let flags = |hit: Option<&RuleHit>| hit.is_some_and(|hit| hit.score >= FLAGS);
        let (counter, first) = match (flags(before), flags(after)) {
            (false, true) => (&mut self.new, &mut self.first_new),
            (true, false) => (&mut self.gone, &mut self.first_gone),
            (true, true) => {
                let same = before.map(|hit| &hit.name) == after.map(|hit| &hit.name);
                self.other_rule += u64::from(!same);
                return;
            }
            (false, false) => return,
        };
        *counter += 1;
        if first.len() < SHOWN {
            first.push(quoted());
        }
    }
}
