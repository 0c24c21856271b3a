//! `oddline rules test` and `lint`.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use anyhow::Context;
use oddline_engine::rules::{Rule, RuleProblem};
use oddline_rulebook::{
    conditions::check_examples,
    lint::{Finding, Weight, lint},
};
use serde::Serialize;

use super::{Home, home};
use crate::commands::print::{Format, harmless};

/// Run rules' own examples.
///
/// Every line under `match` must be hit, every line under `miss` must not. Without arguments all rules are tried.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline rules test
  oddline rules test OOM_KILL my-rules.toml")]
pub(super) struct Test {
    /// Rules by name, or rule files.
    #[arg(value_name = "NAME|FILE")]
    which: Vec<String>,
    /// How results are written.
    #[arg(long, value_enum, default_value = "pretty")]
    format: Format,
    #[command(flatten)]
    home: Home,
}

/// What went wrong, as JSON.
#[derive(Debug, Serialize)]
struct Failure<'p> {
    file: &'p str,
    line: usize,
    rule: Option<&'p str>,
    key: &'p str,
    reason: &'p str,
}

#[derive(Debug, Serialize)]
struct Tested<'p> {
    rules: usize,
    examples: usize,
    failures: Vec<Failure<'p>>,
}

impl Test {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let loaded = self.home.load()?;
        let (mut rules, mut problems) = (Vec::new(), Vec::new());
        if self.which.is_empty() {
            rules = loaded.effective();
            problems.clone_from(&loaded.problems);
        }
        for which in &self.which {
            match as_file(which) {
                Some(file) => home::read(file, &mut rules, &mut problems)?,
                None => rules.push(loaded.find(which)?),
            }
        }
        let examples: usize = rules.iter().map(|rule| rule.matches.len() + rule.misses.len()).sum();
        problems.extend(rules.iter().flat_map(check_examples));
        let mut out = io::stdout().lock();
        if self.format == Format::Json {
            let failures = problems.iter().map(failure).collect();
            serde_json::to_writer(&mut out, &Tested { rules: rules.len(), examples, failures })?;
            writeln!(out).context("standard output")?;
        } else {
            for problem in &problems {
                writeln!(out, "{}", harmless(&problem.to_string())).context("standard output")?;
            }
            writeln!(out, "{} rules, {examples} examples, {} failed", rules.len(), problems.len())?;
        }
        drop(out);
        anyhow::ensure!(problems.is_empty(), "{} of the rules' examples failed", problems.len());
        Ok(())
    }
}

fn failure(problem: &RuleProblem) -> Failure<'_> {
    Failure {
        file: &problem.file,
        line: problem.line,
        rule: problem.rule.as_deref(),
        key: &problem.key,
        reason: &problem.reason,
    }
}

/// An argument that names a file rather than a rule.
fn as_file(argument: &str) -> Option<&Path> {
    let path = Path::new(argument);
    (argument.contains(['/', '.']) || path.is_file()).then_some(path)
}

/// Look rules over for what is wrong or doubtful.
///
/// Finds rules that are invalid, twice there, hidden by another, that can never match, are slow, too general, or lack a
/// description or examples. Exit code 1 if anything was found.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline rules lint
  oddline rules lint OOM_KILL
  oddline rules lint my-rules.toml --format json | jq '.[] | select(.weight == \"error\")'")]
pub(super) struct Lint {
    /// Rules by name, or rule files, which are looked at beside the built-in rules; all rules if none is named.
    #[arg(value_name = "NAME|FILE")]
    which: Vec<String>,
    /// How results are written.
    #[arg(long, value_enum, default_value = "pretty")]
    format: Format,
    #[command(flatten)]
    home: Home,
}

impl Lint {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let loaded = self.home.load()?;
        let (mut all, mut problems) = (loaded.all.clone(), loaded.problems.clone());
        // Names of rules, and files.
        let mut asked: BTreeSet<Arc<str>> = BTreeSet::new();
        let files: Vec<&Path> = self.which.iter().filter_map(|which| as_file(which)).collect();
        if !files.is_empty() {
            // Beside the built-in rules; a user's other files have their own turn.
            all.retain(Rule::is_builtin);
            problems.clear();
            let builtin = all.len();
            for file in &files {
                home::read(file, &mut all, &mut problems)?;
            }
            asked.extend(all.iter().skip(builtin).map(|rule| rule.file.clone()));
        }
        for name in self.which.iter().filter(|which| as_file(which).is_none()) {
            asked.insert(loaded.find(name)?.name);
        }
        let about =
            |rule: &Rule| self.which.is_empty() || asked.contains(&rule.file) || asked.contains(&rule.name);
        // What is twice there must be seen, so every rule goes in; a user's rule in the place of a built-in one is none.
        let own: BTreeSet<Arc<str>> =
            all.iter().filter(|it| !it.is_builtin()).map(|it| it.name.clone()).collect();
        all.retain(|rule| !(rule.is_builtin() && own.contains(&rule.name)));
        let mut findings = lint(&all, &problems, &about);
        if files.is_empty() && !self.which.is_empty() {
            // Whatever else does not load is not what was asked about.
            findings.retain(|finding| finding.rule.as_deref().is_some_and(|rule| asked.contains(rule)));
        }
        self.print(&findings, all.iter().filter(|rule| about(rule)).count())
    }

    fn print(&self, findings: &[Finding], rules: usize) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        if self.format == Format::Json {
            serde_json::to_writer(&mut out, findings)?;
            writeln!(out).context("standard output")?;
        } else {
            for finding in findings {
                writeln!(out, "{}", harmless(&finding.to_string())).context("standard output")?;
            }
        }
        drop(out);
        let errors = findings.iter().filter(|finding| finding.weight == Weight::Error).count();
        let warnings = findings.len() - errors;
        if findings.is_empty() {
            return writeln!(io::stderr(), "{rules} rules, nothing found").context("standard error");
        }
        anyhow::bail!("{rules} rules: {errors} errors, {warnings} warnings")
    }
}
