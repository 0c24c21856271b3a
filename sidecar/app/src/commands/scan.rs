//! `oddline scan`: files judged offline, as the plugin and the sidecar would have judged them.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context;
use oddline_engine::{Level, Settings};

use super::{
    lines::Lines,
    offline::{self, CHUNK, Offline},
    print::{Format, Printer},
    recent::Recent,
};
use crate::rule_files::{self, Place};

/// Judge log files offline.
///
/// Every line is judged by the rules, by the statistics of the lines before it, and by its meaning compared with what is
/// known as normal: with --baseline, the lines of a good run. No configuration is read, nor what `oddline learn` taught.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline scan /var/log/syslog
  oddline scan --baseline good-build.log failed-build.log.gz --min-level medium
  zcat app.log.gz | oddline scan - --format json | jq 'select(.anomaly.level == \"critical\")'")]
pub struct Scan {
    /// Files to judge: plain, .gz or .zst; `-` is standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<PathBuf>,
    /// Lines known as normal; may be given more than once.
    #[arg(long, value_name = "FILE")]
    baseline: Vec<PathBuf>,
    /// Show lines from this level on.
    #[arg(long, value_name = "LEVEL", default_value = "low", value_parser = ["none", "low", "medium", "high", "critical"])]
    min_level: String,
    /// Show every line, whatever its level.
    #[arg(long)]
    all: bool,
    /// Rules of your own beside the built-in ones: a file or a folder of files [default: $XDG_CONFIG_HOME/oddline/rules].
    #[arg(long, value_name = "PATH")]
    rules: Option<PathBuf>,
    /// Do not look into $XDG_CONFIG_HOME/oddline/rules: the same outcome for everyone.
    #[arg(long, conflicts_with = "rules")]
    no_user_rules: bool,
    /// How results are written.
    #[arg(long, value_enum, default_value = "pretty")]
    format: Format,
}

impl Scan {
    /// Runs the command.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub async fn run(self) -> anyhow::Result<()> {
        let least = if self.all { Level::None } else { Level::parse(&self.min_level).unwrap_or(Level::Low) };
        let options = offline::options(!self.baseline.is_empty());
        let place = match &self.rules {
            Some(path) => Place::Named(path.clone()),
            None if self.no_user_rules => Place::Nowhere,
            None => Place::Nowhere.or_usual(),
        };
        let rules = rule_files::in_force(&Settings::new(&options)?, &place)?;
        let mut offline =
            Offline::embedded_with(&options, rules.set).await?.with_conditions(rules.conditions);
        if !self.baseline.is_empty() {
            for path in &self.baseline {
                let mut lines = Lines::open(path)?;
                loop {
                    let batch = lines.next(CHUNK)?;
                    if batch.is_empty() {
                        break;
                    }
                    offline.watch_lines(&batch.into_iter().map(|line| line.text).collect::<Vec<_>>());
                }
            }
            offline.end_baseline().await?;
        }
        let printer = Printer::new(self.format, offline.model().clone());
        let (mut seen, mut shown) = (0u64, 0u64);
        let mut recent = Recent::default();
        for (file_number, path) in self.files.iter().enumerate() {
            let name = path.display().to_string();
            let file = (self.files.len() > 1).then_some(name.as_str());
            let mut lines = Lines::open(path)?;
            loop {
                let chunk = lines.next(CHUNK)?;
                if chunk.is_empty() {
                    break;
                }
                let (numbers, texts): (Vec<u64>, Vec<Vec<u8>>) =
                    chunk.into_iter().map(|line| (line.number, line.text)).unzip();
                let verdicts = offline.judge_lines(&texts).await;
                seen += texts.len() as u64;
                for ((number, text), verdict) in numbers.iter().zip(&texts).zip(&verdicts) {
                    if verdict.level >= least {
                        shown += 1;
                        lines.suspend(|| printer.print(file, Some(*number), text, verdict))?;
                    }
                }
                for (number, text) in numbers.into_iter().zip(texts) {
                    recent.push(file_number, number, text);
                }
                for late in offline.late().into_iter().filter(|late| late.verdict.level >= least) {
                    let template = late.verdict.template.clone().unwrap_or_default();
                    let line = recent.get(late.at);
                    let path = line
                        .and_then(|line| self.files.get(line.file))
                        .map(|path| path.display().to_string());
                    let file = path.as_deref().filter(|_| self.files.len() > 1);
                    // Where the line is gone, its template stands for it.
                    let text = line.map_or(template.as_bytes(), |line| &line.text);
                    shown += 1;
                    lines
                        .suspend(|| printer.print(file, line.map(|line| line.number), text, &late.verdict))?;
                }
            }
        }
        if self.format == Format::Pretty {
            // Not for the pipe: it is about the output, not of it.
            writeln!(io::stderr(), "{shown} of {seen} lines shown").context("standard error")?;
        }
        Ok(())
    }
}
