//! `oddline learn`: messages known as normal, for the configured vector index and state.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context;
use oddline_backends::running::Running;

use super::{
    lines::{Entry, Line, Lines},
    run::Configured,
    server::{Server, sent},
};
use crate::{App, config::Config};

/// Lines taught at a time.
const CHUNK: usize = 10_000;
/// The same where a running sidecar is asked, and bytes of one request: far below what it takes at once.
const SENT_CHUNK: usize = 1_000;
const SENT_BYTES: usize = 2 << 20;
/// The tag that lines have while they are learned.
const TAG: &[u8] = b"learn";

/// Teach messages that are known as normal.
///
/// Each file's lines, JSON objects among them as records, are mined for templates; the templates become known to the
/// configured index and state. A sidecar that runs on that state, or at --server, is asked to learn them instead.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline learn /var/log/app/last-week.log.gz
  oddline learn --config /etc/oddline/oddline.toml good-*.log
  oddline learn --server http://127.0.0.1:24286 good.log")]
pub struct Learn {
    /// Files: plain, .gz or .zst; `-` is standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    configured: Configured,
}

/// What was learned.
#[derive(Default)]
struct Sum {
    lines: usize,
    templates: usize,
    known: usize,
}

impl Learn {
    /// Runs the command.
    ///
    /// # Errors
    /// If the configuration is refused, a file cannot be read, or the backends fail.
    pub async fn run(self) -> anyhow::Result<()> {
        let config = self.configured.load()?;
        let Sum { lines, templates, known } = match self.server.running(&config)? {
            Some(running) => ask(&running, &self.files).await?,
            None => learn(config, &self.files).await?,
        };
        writeln!(io::stdout(), "{templates} templates learned from {lines} lines; {known} known in all")
            .context("standard output")
    }
}

/// Learns here.
async fn learn(config: Config, files: &[PathBuf]) -> anyhow::Result<Sum> {
    let app = App::build(&config.without_listeners()).await?;
    let (picker, mut sum) = (app.analyzer().picker(), Sum::default());
    for path in files {
        let mut input = Lines::open(path)?;
        loop {
            let chunk = input.next(CHUNK)?;
            if chunk.is_empty() {
                break;
            }
            sum.lines += chunk.len();
            let records = chunk.iter().map(|line| Entry::of(&line.text).record(&picker, TAG));
            sum.templates += app.analyzer().learn(records).await?;
        }
    }
    sum.known = app.analyzer().known().await?;
    anyhow::ensure!(app.analyzer().close().await, "the state could not be saved in full");
    Ok(sum)
}

/// Has it learned by a running sidecar.
async fn ask(running: &Running, files: &[PathBuf]) -> anyhow::Result<Sum> {
    let mut sum = Sum::default();
    for path in files {
        let mut input = Lines::open(path)?;
        loop {
            let lines = input.next(SENT_CHUNK)?;
            if lines.is_empty() {
                break;
            }
            for chunk in pieces(&lines) {
                let messages: Vec<_> = chunk.iter().map(|line| sent(&line.text)).collect::<Result<_, _>>()?;
                let taught = running.learn(&messages).await?;
                sum.lines += chunk.len();
                sum.templates += taught.templates;
                sum.known = taught.known;
            }
        }
    }
    Ok(sum)
}

/// Runs of lines that are not too large together.
fn pieces(lines: &[Line]) -> impl Iterator<Item = &[Line]> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |line: &&Line| {
            bytes += line.text.len();
            bytes <= SENT_BYTES
        };
        let (piece, after) = rest.split_at_checked(rest.iter().take_while(fits).count().max(1))?;
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_hold_lines_up_to_their_bytes_and_one_at_least() {
        let lines = |sizes: &[usize]| -> Vec<Line> {
            sizes.iter().map(|size| Line { number: 1, text: vec![b'x'; *size] }).collect()
        };
        let counts = |sizes: &[usize]| pieces(&lines(sizes)).map(<[Line]>::len).collect::<Vec<_>>();
        assert_eq!(counts(&[]), [0usize; 0]);
        assert_eq!(counts(&[SENT_BYTES / 2; 5]), [2, 2, 1]);
        assert_eq!(counts(&[SENT_BYTES]), [1]);
        assert_eq!(counts(&[1, SENT_BYTES, 1]), [1, 1, 1]);
        assert_eq!(counts(&[10 * SENT_BYTES, 1]), [1, 1]);
    }
}
