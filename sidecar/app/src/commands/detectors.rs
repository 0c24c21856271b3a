//! `oddline detectors`: a component of one's own, tried before it looks at real records.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context;
use oddline_analyze::ports::{Clock, Seen};
use oddline_component_host::{Detector, Runtime, Spec};
use oddline_engine::{Level, Picker, Settings, Verdict, rules::RuleSet};

use super::{
    Usage,
    lines::{Entry, Lines},
    print::harmless,
};
use crate::ports::SystemClock;

/// Lines that are read at a time.
const AT_A_TIME: usize = 1_000;

/// Try detectors of your own.
///
/// A detector is a WebAssembly component of the world in wit/. The sidecar runs those that are listed under
/// [[detectors.files]] in its configuration.
#[derive(Debug, clap::Args)]
pub struct Detectors {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Check(Check),
}

/// Load a component as the sidecar would, say what it is, and let it judge lines.
///
/// Exit code 0: it loads, and answers for every line; 1: it is refused or fails; 64: bad usage.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline detectors check slow-requests.wasm
  oddline detectors check slow-requests.wasm --option limit_ms=500 access.log.gz
  journalctl -o json | oddline detectors check mine.wasm -")]
struct Check {
    /// The component.
    #[arg(value_name = "COMPONENT")]
    file: PathBuf,
    /// Lines to judge: JSON objects or text, .gz and .zst too; `-` is standard input.
    #[arg(value_name = "LOG")]
    log: Option<PathBuf>,
    /// An option of the component; may be given several times.
    #[arg(long = "option", value_name = "NAME=VALUE")]
    options: Vec<String>,
    /// The tag that the lines have.
    #[arg(long, default_value = "check")]
    tag: String,
}

impl Detectors {
    /// Runs the command.
    ///
    /// # Errors
    /// If the component is refused or fails, or the lines cannot be read.
    pub async fn run(self) -> anyhow::Result<()> {
        let Action::Check(check) = self.action;
        // It computes for as long as the component does.
        tokio::task::block_in_place(|| check.run())
    }
}

impl Check {
    fn run(self) -> anyhow::Result<()> {
        let options = self.options.iter().map(|option| {
            let pair = option.split_once('=').filter(|(name, _)| !name.is_empty());
            let pair = pair.map(|(name, value)| (name.to_owned(), value.to_owned()));
            pair.ok_or_else(|| Usage(format!("--option: `{option}` is not NAME=VALUE")))
        });
        let options = options.collect::<Result<_, _>>()?;
        let name = self.file.display().to_string();
        let runtime = Runtime::new().map_err(anyhow::Error::msg).context("WebAssembly cannot be run here")?;
        let spec = Spec { name: name.clone(), path: self.file, weight: 1.0, options };
        let mut detector = Detector::open(&runtime, &spec).with_context(|| name.clone())?;
        let mut out = io::stdout().lock();
        writeln!(out, "{}", harmless(&detector.description()))?;
        let Some(log) = self.log else { return Ok(()) };

        let picker = Picker::new(&Settings::default(), &RuleSet::default());
        let mut lines = Lines::open(&log)?;
        let (mut records, mut odd, mut failed) = (0u64, 0u64, 0u64);
        loop {
            let some = lines.next(AT_A_TIME)?;
            if some.is_empty() {
                break;
            }
            for line in some {
                records += 1;
                let seen = Seen::of(self.tag.as_bytes(), &picker, &Entry::of(&line.text), "");
                match detector.observe(seen, SystemClock.unix_nanos()) {
                    Ok(verdict) if verdict.level > Level::None => {
                        odd += 1;
                        writeln!(out, "line {}: {}", line.number, told(&verdict))?;
                    }
                    Ok(_) => {}
                    Err(fault) => {
                        failed += 1;
                        writeln!(out, "line {}: failed: {fault}", line.number)?;
                    }
                }
            }
        }
        writeln!(out, "{records} lines, {odd} odd, {failed} failed")?;
        anyhow::ensure!(failed == 0, "{name} failed on {failed} of {records} lines");
        Ok(())
    }
}

fn told(verdict: &Verdict) -> String {
    let reason = harmless(verdict.reason.as_deref().unwrap_or("no reason given"));
    format!("{:.3} {}  {reason}", verdict.score, verdict.level.as_str())
}
