//! Where rules live: takes the configuration and the environment, gives the rules that count and the files to change.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use oddline_engine::{
    Settings,
    rules::{self, Rule, RuleProblem},
};
use oddline_rulebook::document::Document;

use crate::{
    commands::{Usage, run::Configured},
    rule_files::{self, Place},
};

/// The file in a folder of rules that changes go to.
const OWN_FILE: &str = "own.toml";

/// Which rules are meant.
#[derive(Debug, clap::Args)]
pub struct Home {
    /// Rules of your own: a file, or a folder of files (.toml, .rules, .txt) [default: engine.rules, else $XDG_CONFIG_HOME/oddline/rules].
    #[arg(long, value_name = "PATH")]
    rules: Option<PathBuf>,
    /// Leave the built-in rules out.
    #[arg(long)]
    no_builtin: bool,
    #[command(flatten)]
    configured: Configured,
}

/// All rules of an installation.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Where a user's rules lie, whether or not anything is there.
    pub(crate) path: PathBuf,
    /// The engine's settings.
    pub(crate) settings: Settings,
    /// Every rule, the built-in ones first.
    pub(crate) all: Vec<Rule>,
    /// What is wrong with the files.
    pub(crate) problems: Vec<RuleProblem>,
}

impl Home {
    /// Reads the rules.
    ///
    /// # Errors
    /// If the configuration is refused, or a path that was named cannot be read.
    pub(crate) fn load(&self) -> anyhow::Result<Loaded> {
        let config = self.configured.clone().load()?;
        let (settings, place) = (config.engine, config.rules);
        let named = self.rules.clone().or_else(|| settings.rules_path().map(PathBuf::from));
        let path = match &named {
            Some(path) => path.clone(),
            None => rule_files::usual_path().ok_or_else(|| {
                Usage("neither HOME nor XDG_CONFIG_HOME is set; name the rules with --rules PATH".to_owned())
            })?,
        };
        let with_builtin = settings.builtin_rules() && !self.no_builtin;
        let mut all = if with_builtin { rules::builtin_rules() } else { Vec::new() };
        let mut problems = Vec::new();
        let is_left_out = named.is_none() && place == Place::Nowhere;
        if path.exists() && !is_left_out {
            read(&path, &mut all, &mut problems)?;
        }
        Ok(Loaded { path, settings, all, problems })
    }
}

/// Reads the rules of a file or a folder of files.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read(path: &Path, all: &mut Vec<Rule>, problems: &mut Vec<RuleProblem>) -> anyhow::Result<()> {
    for mut parsed in rule_files::read(path).map_err(|error| anyhow::anyhow!("rules {error}"))? {
        all.append(&mut parsed.rules);
        problems.append(&mut parsed.problems);
    }
    Ok(())
}

impl Loaded {
    /// The rules that count, each name once: a user's in the place of a built-in one. One that only says `enabled =
    /// false` is the built-in rule, turned off.
    pub(crate) fn effective(&self) -> Vec<Rule> {
        rule_files::effective(&self.all)
    }

    /// The rule of this name.
    ///
    /// # Errors
    /// If there is none; names near it are given.
    pub(crate) fn find(&self, name: &str) -> anyhow::Result<Rule> {
        let rules = self.effective();
        if let Some(rule) = rules.iter().find(|rule| rule.name.eq_ignore_ascii_case(name)) {
            return Ok(rule.clone());
        }
        let near = rules
            .iter()
            .map(|rule| (strsim::damerau_levenshtein(&rule.name, &name.to_ascii_uppercase()), &rule.name))
            .min()
            // A third of the letters may be wrong; with more, anything is near.
            .filter(|(distance, _)| *distance <= (name.len() / 3).min(4));
        let hint = near.map_or(String::new(), |(_, near)| format!("; did you mean {near}?"));
        Err(Usage(format!("there is no rule {name}{hint}")).into())
    }

    /// The built-in rule of this name, as it ships.
    pub(crate) fn builtin(&self, name: &str) -> Option<&Rule> {
        self.all.iter().find(|rule| rule.is_builtin() && *rule.name == *name)
    }

    /// A user's rule of this name.
    pub(crate) fn own(&self, name: &str) -> Option<&Rule> {
        self.all.iter().find(|rule| !rule.is_builtin() && *rule.name == *name)
    }

    /// The file that new rules and changes of built-in ones go to.
    pub(crate) fn target(&self) -> PathBuf {
        let is_file = self.path.is_file() || !self.path.is_dir() && self.path.extension().is_some();
        if is_file { self.path.clone() } else { self.path.join(OWN_FILE) }
    }

    /// Changes a rule file: reads it, lets `change` at it, checks what it would be, replaces it whole.
    ///
    /// # Errors
    /// If it is in the text format, cannot be read or written, or would not be in order.
    pub(crate) fn change(
        &self,
        file: &Path,
        change: impl FnOnce(&mut Document) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let name = file.display();
        if !file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml")) {
            return Err(Usage(format!(
                "{name} is in the text format, which cannot say this; make it TOML first: oddline rules import {name} \
                 --output {}",
                file.with_extension("toml").display()
            ))
            .into());
        }
        let text = if file.exists() { rule_files::read_one(file)? } else { String::new() };
        let mut document = Document::read(&text).with_context(|| name.to_string())?;
        change(&mut document)?;
        let text = document.finish().with_context(|| name.to_string())?;
        replace(file, &text)
    }
}

/// Puts a text in the place of a file, whole or not at all; whoever reads it meanwhile sees the old one.
///
/// # Errors
/// Names the file that cannot be written.
pub(crate) fn replace(file: &Path, text: &str) -> anyhow::Result<()> {
    let failed = || format!("{} cannot be written", file.display());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(failed)?;
    let mut beside = tempfile::Builder::new().prefix(".rules-").tempfile_in(folder).with_context(failed)?;
    beside.write_all(text.as_bytes()).with_context(failed)?;
    let mode = fs::metadata(file).map(|old| old.permissions());
    beside.as_file().set_permissions(mode.unwrap_or_else(|_| readable())).with_context(failed)?;
    beside.as_file().sync_all().with_context(failed)?;
    beside.persist(file).with_context(failed)?;
    Ok(())
}

/// The shipper often runs as another user.
fn readable() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}
