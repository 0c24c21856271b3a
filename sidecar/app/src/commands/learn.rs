//! `oddline learn`: messages known as normal, for the configured vector index and state.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context;
use oddline_engine::Record;

use super::{lines::Lines, run::Configured};
use crate::App;

/// Lines taught at a time.
const CHUNK: usize = 10_000;

/// Teach messages that are known as normal.
///
/// Each file's lines are mined for templates; the templates become known to the configured index and state. Stop the
/// sidecar first if it keeps them in the embedded index: its state belongs to one process at a time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline learn /var/log/app/last-week.log.gz
  oddline learn --config /etc/oddline/oddline.toml good-*.log")]
pub struct Learn {
    /// Files: plain, .gz or .zst; `-` is standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    configured: Configured,
}

impl Learn {
    /// Runs the command.
    ///
    /// # Errors
    /// If the configuration is refused, a file cannot be read, or the backends fail.
    pub async fn run(self) -> anyhow::Result<()> {
        let config = self.configured.load()?.without_listeners();
        let app = App::build(&config).await?;
        let (mut lines, mut templates) = (0, 0);
        for path in &self.files {
            let mut input = Lines::open(path)?;
            loop {
                let chunk = input.next(CHUNK)?;
                if chunk.is_empty() {
                    break;
                }
                lines += chunk.len();
                let records = chunk.iter().map(|line| Record::from_line(b"learn", &line.text));
                templates += app.analyzer().learn(records).await?;
            }
        }
        let known = app.analyzer().known().await?;
        anyhow::ensure!(app.analyzer().close().await, "the state could not be saved in full");
        writeln!(io::stdout(), "{templates} templates learned from {lines} lines; {known} known in all")
            .context("standard output")
    }
}
