//! `oddline rules list` and `show`.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use oddline_engine::rules::{Rule, severity_word};
use oddline_rulebook::{
    document,
    draft::{Draft, Example},
};
use serde::Serialize;

use super::{Home, colours};
use crate::commands::{
    Usage,
    print::{Format, harmless},
};

/// List rules.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline rules list --enabled --min-score 5
  oddline rules list --search 'disk' --format json | jq '.[].name'")]
pub(super) struct List {
    #[command(flatten)]
    filter: Filter,
    /// How results are written.
    #[arg(long, value_enum, default_value = "pretty")]
    format: Format,
    #[command(flatten)]
    home: Home,
}

/// Which of the rules.
#[derive(Debug, clap::Args)]
pub(super) struct Filter {
    /// Of this category; may be given more than once.
    #[arg(long, value_name = "WORD")]
    category: Vec<String>,
    /// With this score or more.
    #[arg(long, value_name = "SCORE")]
    min_score: Option<f32>,
    /// Those that are on.
    #[arg(long)]
    enabled: bool,
    /// Those of your own.
    #[arg(long)]
    own: bool,
    /// With this text in name, description, pattern, fields or tags.
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
}

impl Filter {
    /// The score that was asked for.
    pub(super) fn least_score(&self) -> Option<f32> {
        self.min_score
    }

    /// A score out of range, or a category that no rule has, is a slip, not a choice.
    pub(super) fn check(&self, rules: &[Rule]) -> anyhow::Result<()> {
        if let Some(least) = self.min_score
            && !(0.0..=10.0).contains(&least)
        {
            return Err(Usage(format!("--min-score {least} is not within 0..=10")).into());
        }
        let known: BTreeSet<&str> = rules.iter().map(|rule| &*rule.category).collect();
        match self.category.iter().find(|word| !known.contains(word.as_str())) {
            None => Ok(()),
            Some(word) => {
                let known = known.into_iter().collect::<Vec<_>>().join(", ");
                Err(Usage(format!("--category {word}: no rule is of it; there are {known}")).into())
            }
        }
    }

    pub(super) fn lets_through(&self, rule: &Rule) -> bool {
        let sought = self.search.as_deref().map(str::to_lowercase);
        let holds = |text: &str| sought.as_deref().is_some_and(|sought| text.to_lowercase().contains(sought));
        (self.category.is_empty() || self.category.iter().any(|word| **word == *rule.category))
            && self.min_score.is_none_or(|least| rule.score >= least)
            && (!self.enabled || rule.enabled)
            && (!self.own || !rule.is_builtin())
            && (sought.is_none()
                || holds(&rule.name)
                || holds(&rule.description)
                || holds(&rule.pattern)
                || rule.fields.iter().chain(&rule.tags).any(|text| holds(text)))
    }
}

/// A rule, as JSON.
#[derive(Debug, Serialize)]
struct Listed<'r> {
    name: &'r str,
    category: &'r str,
    score: f32,
    severity: &'static str,
    enabled: bool,
    description: &'r str,
    pattern: Option<&'r str>,
    fields: &'r [String],
    unless: &'r [String],
    when: Option<&'r str>,
    level: Option<&'static str>,
    level_only: bool,
    tags: &'r [String],
    builtin: bool,
    file: &'r str,
    line: usize,
    examples: usize,
}

impl<'r> From<&'r Rule> for Listed<'r> {
    fn from(rule: &'r Rule) -> Listed<'r> {
        Listed {
            name: &rule.name,
            category: &rule.category,
            score: rule.score,
            severity: severity_word(rule.score),
            enabled: rule.enabled,
            description: &rule.description,
            pattern: (!rule.pattern.is_empty()).then_some(rule.pattern.as_str()),
            fields: &rule.fields,
            unless: &rule.unless,
            when: rule.when.as_deref(),
            level: rule.level.map(|level| level.as_str()),
            level_only: rule.level_only,
            tags: &rule.tags,
            builtin: rule.is_builtin(),
            file: &rule.file,
            line: rule.line,
            examples: rule.matches.len() + rule.misses.len(),
        }
    }
}

impl List {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let loaded = self.home.load()?;
        let rules = loaded.effective();
        self.filter.check(&rules)?;
        let chosen: Vec<&Rule> = rules.iter().filter(|rule| self.filter.lets_through(rule)).collect();
        let mut out = io::stdout().lock();
        if self.format == Format::Json {
            let listed: Vec<Listed<'_>> = chosen.into_iter().map(Listed::from).collect();
            serde_json::to_writer(&mut out, &listed).context("standard output")?;
            return writeln!(out).context("standard output");
        }
        let colour = colours(self.format);
        let width = chosen.iter().map(|rule| rule.name.len()).max().unwrap_or(0);
        for rule in &chosen {
            let style = if colour { style(rule) } else { Style::new() };
            let off = if rule.enabled { "" } else { " (off)" };
            writeln!(
                out,
                "{style}{:<width$}{style:#} {:>4} {:<8} {:<11} {}{off}",
                rule.name,
                rule.score,
                severity_word(rule.score),
                rule.category,
                harmless(&rule.description)
            )?;
        }
        drop(out);
        let (on, own) = (
            chosen.iter().filter(|it| it.enabled).count(),
            chosen.iter().filter(|it| !it.is_builtin()).count(),
        );
        writeln!(io::stderr(), "{} rules, {on} on, {own} your own ({})", chosen.len(), loaded.path.display())
            .context("standard error")?;
        for problem in &loaded.problems {
            writeln!(io::stderr(), "left out: {}", harmless(&problem.to_string()))
                .context("standard error")?;
        }
        Ok(())
    }
}

fn style(rule: &Rule) -> Style {
    match severity_word(rule.score) {
        _ if !rule.enabled => Style::new().dimmed(),
        "low" => Style::new(),
        "medium" => AnsiColor::Yellow.on_default(),
        "high" => AnsiColor::Red.on_default(),
        _ => AnsiColor::Red.on_default().bold(),
    }
}

/// Show one rule: as it is in its file, and where that is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline rules show OOM_KILL")]
pub(super) struct Show {
    /// The rule.
    name: String,
    /// How the result is written.
    #[arg(long, value_enum, default_value = "pretty")]
    format: Format,
    #[command(flatten)]
    home: Home,
}

/// One rule with all that belongs to it, as JSON.
#[derive(Debug, Serialize)]
struct Whole<'r> {
    #[serde(flatten)]
    listed: Listed<'r>,
    r#match: Vec<Example>,
    miss: Vec<Example>,
}

impl Show {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let loaded = self.home.load()?;
        let rule = loaded.find(&self.name)?;
        let draft = Draft::from(&rule);
        let mut out = io::stdout().lock();
        if self.format == Format::Json {
            let whole = Whole { listed: Listed::from(&rule), r#match: draft.matches, miss: draft.misses };
            serde_json::to_writer(&mut out, &whole).context("standard output")?;
            return writeln!(out).context("standard output");
        }
        let place = format!("{}:{}", rule.file, rule.line);
        write!(out, "{}", document::write(&[draft], &place)).context("standard output")
    }
}
