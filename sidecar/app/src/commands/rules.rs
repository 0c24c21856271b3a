//! `oddline rules`: the rules of an installation, listed, tried, looked over, changed, brought in and given out.

mod backtest;
mod change;
mod edit;
mod home;
mod list;
mod transfer;
mod verify;

use std::io::{self, IsTerminal};

pub use home::Home;

use super::print::Format;

/// List, test and change rules, bring them in and give them out.
///
/// Rules of your own lie in the file or folder that the configuration names as `engine.rules`, else in
/// $XDG_CONFIG_HOME/oddline/rules. A rule of a built-in's name replaces it. Plugins read the same files: name them there
/// with the property `rules`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline rules list --category security --min-score 5
  oddline rules disable LOGIN_OK
  oddline rules new PUMP_STOPPED --pattern 'pump \\d+ stopped' --score 6 --match 'pump 7 stopped' --miss 'pump 7 started'
  oddline rules import sigma/rules/web --output web.toml
  oddline rules backtest /var/log/syslog.1.gz")]
pub struct Rules {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    List(list::List),
    Show(list::Show),
    Test(verify::Test),
    Lint(verify::Lint),
    Enable(change::Enable),
    Disable(change::Disable),
    New(edit::New),
    Edit(edit::Edit),
    Delete(change::Delete),
    Import(transfer::Import),
    Export(transfer::Export),
    Backtest(backtest::Backtest),
}

impl Rules {
    /// Runs the command.
    ///
    /// # Errors
    /// If rules cannot be read or written, a rule does not exist, or something was found wrong with them.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::List(list) => list.run(),
            Action::Show(show) => show.run(),
            Action::Test(test) => test.run(),
            Action::Lint(lint) => lint.run(),
            Action::Enable(enable) => enable.run(),
            Action::Disable(disable) => disable.run(),
            Action::New(new) => new.run(),
            Action::Edit(edit) => edit.run(),
            Action::Delete(delete) => delete.run(),
            Action::Import(import) => import.run(),
            Action::Export(export) => export.run(),
            Action::Backtest(backtest) => backtest.run(),
        }
    }
}

/// Whether to colour: where a person looks, and does not mind.
fn colours(format: Format) -> bool {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    format == Format::Pretty && wanted && io::stdout().is_terminal()
}
