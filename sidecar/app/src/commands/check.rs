//! `oddline check`: one message, judged against the configured index and state.

use std::sync::Arc;

use oddline_engine::{Options, Settings};

use super::{
    offline::Offline,
    print::{Format, Printer},
    run::Configured,
};
use crate::{App, rule_files};

/// Judge one message.
///
/// It is judged by the rules, and by its meaning compared with what the configured index knows as normal.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline check \"CRITICAL: Failed to connect to primary database after 5 retries.\"
  oddline check --format json \"INFO: User 'guest' logged in\" | jq .anomaly.level")]
pub struct Check {
    /// The message.
    message: String,
    /// How the result is written.
    #[arg(long, value_enum, default_value = "pretty")]
    format: Format,
    #[command(flatten)]
    configured: Configured,
}

impl Check {
    /// Runs the command.
    ///
    /// # Errors
    /// If the configuration is refused or the backends fail.
    pub async fn run(self) -> anyhow::Result<()> {
        let config = self.configured.load()?.without_listeners();
        let app = App::build(&config).await?;
        // A message without a past: whatever is not known counts as new at once.
        let options = Options { warmup_records: Some(0), warmup_seconds: Some(0), ..Options::default() };
        let rules = rule_files::load(&config.engine);
        let mut offline = Offline::joined(Settings::new(&options)?, rules.set, Arc::clone(app.analyzer()))
            .with_conditions(rules.conditions);
        let message = self.message.as_bytes();
        let verdicts = offline.look_at_line(message).await;
        let printer = Printer::new(self.format, offline.model().clone());
        for verdict in &verdicts {
            printer.print(None, None, message, verdict)?;
        }
        Ok(())
    }
}
