//! `oddline run`: the sidecar, until SIGTERM or SIGINT.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt};

use crate::{
    App,
    config::{Config, ConfigErrors, Sources, defaults_text},
    log,
};

/// Largest configuration file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Run the sidecar.
///
/// Settings come from the built-in defaults, a TOML file, the environment (ODDLINE__SECTION__KEY) and --set; later wins.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline run --print-defaults > oddline.toml
  oddline run --config oddline.toml
  ODDLINE__RETURN__ADDRESS=127.0.0.1:24225 oddline run --set analysis.deadline_ms=500")]
pub struct Run {
    #[command(flatten)]
    configured: Configured,
    /// Print every setting with its default and end.
    #[arg(long)]
    print_defaults: bool,
    /// Check the configuration and end.
    #[arg(long)]
    check: bool,
}

/// Where the configuration comes from; the same for every command that uses it.
#[derive(Clone, Debug, clap::Args)]
pub struct Configured {
    /// Configuration file; if not given: $XDG_CONFIG_HOME/oddline/oddline.toml, then /etc/oddline/oddline.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one thing; may be given more than once.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    settings: Vec<String>,
    /// Do not look into $XDG_CONFIG_HOME/oddline/rules, as is done where engine.rules names nothing.
    #[arg(long)]
    no_user_rules: bool,
}

impl Run {
    /// Runs the command.
    ///
    /// # Errors
    /// If the configuration is refused, or something it names cannot be used.
    pub async fn run(self) -> anyhow::Result<()> {
        if self.print_defaults {
            return io::stdout().write_all(defaults_text().as_bytes()).context("standard output");
        }
        let config = self.configured.load()?;
        if self.check {
            return writeln!(io::stdout(), "configuration is valid").context("standard output");
        }
        let filter =
            EnvFilter::try_new(&config.log).with_context(|| format!("run.log is `{}`", config.log))?;
        log::subscriber(filter, io::stderr).init();
        let (shutdown, now) = (CancellationToken::new(), CancellationToken::new());
        // Before anything is bound: whoever stops us early is heard.
        tokio::spawn(stop_on_signals([shutdown.clone(), now.clone()])?);
        let app = App::build(&config).await?;
        let at = app.addresses();
        tracing::info!(
            forward = at.forward.map(tracing::field::display),
            vector = at.vector.map(tracing::field::display),
            http = at.http.map(tracing::field::display),
            admin = at.admin.map(tracing::field::display),
            advice = %config.advice_dir.display(),
            embedder = config.embedder.kind,
            index = config.index.kind,
            "running"
        );
        tokio::select! {
            outcome = app.run(shutdown) => outcome,
            () = now.cancelled() => anyhow::bail!("ended by a second signal, without draining"),
        }
    }
}

impl Configured {
    /// The checked configuration.
    ///
    /// # Errors
    /// If the file cannot be read, or anything in any layer is refused; all faults are named.
    pub fn load(self) -> anyhow::Result<Config> {
        let environment: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let file = self.file(&environment)?;
        let mut config = Config::load(&Sources { file, environment, flags: self.settings })?;
        if !self.no_user_rules {
            config.rules = config.rules.or_usual();
        }
        Ok(config)
    }

    /// Name and text of the file to use.
    fn file(&self, environment: &[(String, String)]) -> anyhow::Result<Option<(String, String)>> {
        let variable =
            |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let home = variable("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = home.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".config")));
        let usual = home.map(|home| home.join("oddline/oddline.toml"));
        let usual = usual.into_iter().chain([PathBuf::from("/etc/oddline/oddline.toml")]);
        let Some(path) = self.config.clone().or_else(|| usual.into_iter().find(|path| path.is_file())) else {
            return Ok(None);
        };
        let text = configuration(&path);
        Ok(Some(
            text.map_err(|fault| ConfigErrors(vec![format!("configuration {}: {fault}", path.display())]))?,
        ))
    }
}

/// Name and text of a configuration file, or what is wrong with it as a file.
fn configuration(path: &Path) -> Result<(String, String), String> {
    let bytes = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(format!("has {bytes} bytes, more than the limit of {MAX_FILE_BYTES}"));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to();
        format!("byte {byte} is not UTF-8 text; save the file as UTF-8")
    })?;
    Ok((path.display().to_string(), text))
}

/// Cancels one token after the other, one for each signal.
fn stop_on_signals(tokens: [CancellationToken; 2]) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    Ok(async move {
        for token in tokens {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel();
        }
    })
}
