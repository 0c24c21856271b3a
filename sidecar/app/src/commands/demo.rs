//! `oddline demo`: the main job with embedded defaults and nothing installed.
//!
//! A sidecar on free loopback ports and a shipper with our plugin, in one process: a stream of logs goes through the
//! plugin; questionable records go over Forward to the sidecar and come back judged; what arrives is printed.

mod generator;
mod shipper;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use oddline_analyze::ports::Clock;
use oddline_codec::{TagStyle, msgpack};
use oddline_engine::{Options, Record, Settings, UnixNanos, Verdict};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    lines::read_all,
    print::{Format, Printer},
};
use crate::{
    App,
    config::{Config, Sources},
    ports::SystemClock,
};
use generator::{DemoLine, Generator};
use shipper::{Shipped, Shipper, wait_for_sidecar};

/// Ordinary lines that the sidecar and the plugin learn before the stream is played.
const LEARNED: usize = 3_000;
/// Most bytes of an input: it is kept whole, twice.
const MAX_INPUT_BYTES: usize = 256 << 20;
/// Longest wait for records that are still on the detour at the end.
const LAST_WAIT: Duration = Duration::from_secs(10);
/// Time between two lines, for the statistics; they are played faster.
const STEP_NANOS: i64 = 200_000_000;

/// Show the main job: a stream with faults in it, annotated as it flows.
///
/// Nothing needs to be installed or running, and nothing is kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline demo
  oddline demo --json | jq 'select(.anomaly.level != \"none\")'
  oddline demo --input /var/log/syslog")]
pub struct Demo {
    /// Play this file (plain, .gz or .zst) instead of the built-in stream.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Print every record as one JSON line, as a backend would get it.
    #[arg(long)]
    json: bool,
}

/// What came out.
#[derive(Debug, Default)]
struct Tally {
    records: u64,
    returned: u64,
    statuses: BTreeMap<&'static str, u64>,
    levels: BTreeMap<&'static str, u64>,
}

impl Demo {
    /// Runs the command.
    ///
    /// # Errors
    /// If the input cannot be read, a loopback port cannot be had, or a record did not come back.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut generator = Generator::new(42);
        let (learned, lines) = match &self.input {
            None => {
                let learned: Vec<DemoLine> = (0..LEARNED).map(|_| generator.ordinary()).collect();
                (learned, generator.stream())
            }
            Some(path) => {
                let line = |text: Vec<u8>| DemoLine {
                    service: "input",
                    message: String::from_utf8_lossy(&text).into_owned(),
                };
                (
                    Vec::new(),
                    read_all(std::slice::from_ref(path), MAX_INPUT_BYTES)?.into_iter().map(line).collect(),
                )
            }
        };
        let folder = tempfile::tempdir().context("a temporary folder cannot be made")?;
        let advice = folder.path().join("advice");
        let returns = TcpListener::bind("127.0.0.1:0").await.context("no loopback port")?;
        let set = |name: &str, value: &str| format!("{name}={value}");
        let flags = vec![
            set("forward.listen", "127.0.0.1:0"),
            set("return.address", &returns.local_addr()?.to_string()),
            set("http.listen", ""),
            set("vector.listen", ""),
            set("admin.listen", ""),
            set("state.dir", &folder.path().join("state").display().to_string()),
            set("advice.dir", &advice.display().to_string()),
        ];
        let app = App::build(&Config::load(&Sources { file: None, environment: Vec::new(), flags })?).await?;
        let sidecar = app.addresses().forward.context("the sidecar has no forward listener")?;
        let taught =
            learned.iter().map(|line| Record::from_line(line.service.as_bytes(), line.message.as_bytes()));
        let known = app.analyzer().learn(taught).await?;

        let shutdown = CancellationToken::new();
        let running = tokio::spawn(app.run(shutdown.clone()));
        let options = Options {
            advice_dir: Some(advice.display().to_string()),
            warmup_seconds: Some(0),
            summary_interval_seconds: Some(0),
            ..Options::default()
        };
        let settings = Settings::new(&options)?;
        let style = TagStyle::of(&settings);
        let (mut shipper, shipped) = Shipper::new(settings, sidecar.to_string(), returns, shutdown.clone());
        wait_for_sidecar(&mut shipper, &advice, || UnixNanos(SystemClock.unix_nanos())).await?;
        let printer = Arc::new(Printer::new(
            if self.json { Format::Json } else { Format::Pretty },
            oddline_engine::Engine::new(Settings::default(), Arc::default()).model().clone(),
        ));
        if !self.json {
            say(&format!("sidecar on {sidecar}; {known} messages known as normal\n"))?;
        }
        let start = Instant::now();
        let expected = (learned.len() + lines.len()) as u64;
        let quiet = learned.len() as u64;
        let output = tokio::spawn(print(printer.clone(), style, self.json, shipped, quiet, expected));
        play(&mut shipper, &printer, learned, lines, !self.json && self.input.is_none()).await?;
        let tally = output.await??;
        let took = start.elapsed();
        shutdown.cancel();
        running.await??;
        if !self.json {
            say(&tally.summary(expected, took))?;
        }
        anyhow::ensure!(tally.records == expected, "{} of {expected} records arrived", tally.records);
        Ok(())
    }
}

/// Sends all lines through the shipper.
async fn play(
    shipper: &mut Shipper,
    printer: &Printer,
    learned: Vec<DemoLine>,
    lines: Vec<DemoLine>,
    slowly: bool,
) -> anyhow::Result<()> {
    let mut now = SystemClock.unix_nanos();
    let quiet = learned.len();
    for (index, line) in learned.into_iter().chain(lines).enumerate() {
        now += STEP_NANOS;
        if index % 16 == 0 {
            shipper.poll(UnixNanos(SystemClock.unix_nanos()));
            // No record carries them; what is printed is the template of the sequence's last one.
            for ending in shipper.endings(UnixNanos(now)) {
                let verdict = ending.verdict();
                let template = verdict.template.clone().unwrap_or_default();
                printer.print(None, None, template.as_bytes(), &verdict)?;
            }
        }
        let tag = format!("demo.{}", line.service);
        shipper.ship(&tag, body(&line), UnixNanos(now)).await?;
        if slowly && index >= quiet {
            // So that a person can follow it.
            tokio::time::sleep(Duration::from_millis(8)).await;
        }
    }
    Ok(())
}

/// The record as a tail input with a service label would have made it.
fn body(line: &DemoLine) -> Vec<u8> {
    let mut body = vec![0x82];
    for (key, value) in [("service", line.service), ("message", line.message.as_str())] {
        // Writing to a Vec cannot fail.
        let _ = rmp::encode::write_str(&mut body, key);
        let _ = rmp::encode::write_str(&mut body, value);
    }
    body
}

/// Prints what arrives until all of it is there, or nothing has come for a while.
async fn print(
    printer: Arc<Printer>,
    style: TagStyle,
    json: bool,
    mut shipped: mpsc::Receiver<Shipped>,
    quiet: u64,
    expected: u64,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    while tally.records < expected {
        let Ok(Some(record)) = tokio::time::timeout(LAST_WAIT, shipped.recv()).await else { break };
        let verdict = msgpack::read_styled_tags(&record.body, &style)
            .map(|tags| tags.into_verdict())
            .unwrap_or_default();
        let learning = tally.records < quiet && !verdict.is_flagged();
        tally.count(&record, &verdict);
        if learning {
            continue;
        }
        let value: serde_json::Value =
            rmp_serde::from_slice(&record.body).context("a record came back broken")?;
        if json {
            let mut out = io::stdout().lock();
            serde_json::to_writer(&mut out, &value)?;
            writeln!(out)?;
        } else {
            let text =
                |key: &str| value.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
            let message = format!("{:<9} {}", text("service"), text("message"));
            printer.print(None, None, message.as_bytes(), &verdict)?;
        }
    }
    Ok(tally)
}

impl Tally {
    fn count(&mut self, record: &Shipped, verdict: &Verdict) {
        self.records += 1;
        self.returned += u64::from(record.returned);
        *self.levels.entry(verdict.level.as_str()).or_default() += 1;
        if let Some(status) = verdict.status {
            *self.statuses.entry(status.as_str()).or_default() += 1;
        }
    }

    fn summary(&self, expected: u64, took: Duration) -> String {
        let list = |counts: &BTreeMap<&str, u64>| {
            counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
        };
        format!(
            "\n{expected} records in, {} out in {:.1} s; {} visited the sidecar\nlevels: {}\nverdicts: {}\n",
            self.records,
            took.as_secs_f32(),
            self.returned,
            list(&self.levels),
            list(&self.statuses),
        )
    }
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
}
