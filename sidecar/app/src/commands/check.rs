//! `oddline check`: one message, judged against the configured index and state.

use std::sync::Arc;

use anyhow::Context;
use oddline_backends::running::Running;
use oddline_codec::Tags;
use oddline_engine::Verdict;

use super::{
    lines::Entry,
    print::{Format, Printer},
    run::Configured,
    server::{Server, sent},
};
use crate::{App, config::Config};

/// Judge one message.
///
/// It is judged by the rules, and by its meaning compared with what the configured index knows as normal; a JSON object
/// is judged as a record. A sidecar that runs on the configured state, or at --server, is asked instead.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline check \"CRITICAL: Failed to connect to primary database after 5 retries.\"
  oddline check --format json \"INFO: User 'guest' logged in\" | jq .anomaly.level
  oddline check --server http://127.0.0.1:24286 '{\"message\":\"disk full\",\"level\":\"error\"}'")]
pub struct Check {
    /// The message.
    message: String,
    /// How the result is written.
    #[arg(long, value_enum, default_value = "pretty")]
    format: Format,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    configured: Configured,
}

impl Check {
    /// Runs the command.
    ///
    /// # Errors
    /// If the configuration is refused or the backends fail.
    pub async fn run(self) -> anyhow::Result<()> {
        let config = self.configured.load()?;
        let message = self.message.as_bytes();
        let (verdict, model) = match self.server.running(&config)? {
            Some(running) => ask(&running, message).await?,
            None => judge(config, message).await?,
        };
        Ok(Printer::new(self.format, model).print(None, None, message, &verdict)?)
    }
}

/// Judges here.
async fn judge(config: Config, message: &[u8]) -> anyhow::Result<(Verdict, Arc<str>)> {
    let app = App::build(&config.without_listeners()).await?;
    let (analyzer, entry) = (app.analyzer(), Entry::of(message));
    let picker = analyzer.picker();
    let verdict = analyzer.check(entry.record(&picker, b"check"), &entry).await?;
    Ok((verdict, analyzer.model()))
}

/// Has it judged by a running sidecar.
async fn ask(running: &Running, message: &[u8]) -> anyhow::Result<(Verdict, Arc<str>)> {
    let mut record = running.check(&sent(message)?).await?;
    let tags = record.get_mut("anomaly").map(serde_json::Value::take).unwrap_or_default();
    let tags: Tags = serde_json::from_value(tags).context("the sidecar's answer has no tags as expected")?;
    let model = tags.model.clone().unwrap_or_default();
    Ok((tags.into_verdict(), model))
}
