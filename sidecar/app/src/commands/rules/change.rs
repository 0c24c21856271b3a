//! `oddline rules enable`, `disable` and `delete`.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context;
use oddline_engine::rules::Rule;
use oddline_rulebook::{document::Setting, draft::Draft};

use super::{Home, home::replace};
use crate::{
    commands::Usage,
    rule_files::{self, says_only_off},
};

/// Turn a rule on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline rules enable LOGIN_OK")]
pub(super) struct Enable {
    /// The rule.
    name: String,
    #[command(flatten)]
    home: Home,
}

/// Turn a rule off; it stays listed and can be turned on again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline rules disable LOGIN_OK")]
pub(super) struct Disable {
    /// The rule.
    name: String,
    #[command(flatten)]
    home: Home,
}

/// Delete a rule of your own.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline rules delete PUMP_STOPPED")]
pub(super) struct Delete {
    /// The rule.
    name: String,
    #[command(flatten)]
    home: Home,
}

impl Enable {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let loaded = self.home.load()?;
        let rule = loaded.find(&self.name)?;
        if rule.enabled {
            return told(&format!("{} is on already", rule.name));
        }
        let file = PathBuf::from(&*rule.file);
        let only_off = loaded.own(&rule.name).is_some_and(says_only_off);
        if only_off && loaded.builtin(&rule.name).is_none() {
            return Err(Usage(format!("{} has no pattern to turn on; edit it", rule.name)).into());
        }
        loaded.change(&file, |document| {
            match only_off {
                true => document.delete(&rule.name)?,
                false => document.set(&rule.name, "enabled", None)?,
            }
            Ok(())
        })?;
        told(&format!("{} is on ({})", rule.name, file.display()))
    }
}

impl Disable {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let loaded = self.home.load()?;
        let rule = loaded.find(&self.name)?;
        if !rule.enabled {
            return told(&format!("{} is off already", rule.name));
        }
        let file = match loaded.own(&rule.name) {
            Some(own) => PathBuf::from(&*own.file),
            None => loaded.target(),
        };
        loaded.change(&file, |document| {
            match document.contains(&rule.name) {
                true => document.set(&rule.name, "enabled", Some(Setting::Bool(false)))?,
                false => document.put(&Draft { enabled: false, ..Draft::named(&rule.name) })?,
            }
            Ok(())
        })?;
        told(&format!("{} is off ({})", rule.name, file.display()))
    }
}

impl Delete {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let loaded = self.home.load()?;
        let rule = loaded.find(&self.name)?;
        let Some(own) = loaded.own(&rule.name) else {
            let reason = format!(
                "{0} is built in and cannot be deleted; turn it off: oddline rules disable {0}",
                rule.name
            );
            return Err(Usage(reason).into());
        };
        let file = PathBuf::from(&*own.file);
        if file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml")) {
            loaded.change(&file, |document| Ok(document.delete(&own.name)?))?;
        } else {
            delete_line(own)?;
        }
        let again = if loaded.builtin(&rule.name).is_some() { "; the built-in one counts again" } else { "" };
        told(&format!("{} is deleted from {}{again}", rule.name, file.display()))
    }
}

/// Takes a rule out of a file in the text format: its line, and nothing else.
fn delete_line(rule: &Rule) -> anyhow::Result<()> {
    let file = PathBuf::from(&*rule.file);
    let text = rule_files::read_one(&file)?;
    let kept: String = text
        .split_inclusive('\n')
        .enumerate()
        .filter(|(number, _)| number + 1 != rule.line)
        .map(|(_, line)| line)
        .collect();
    replace(&file, &kept)
}

pub(super) fn told(text: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{text}").context("standard output")
}
