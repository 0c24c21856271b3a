//! `oddline rules new` and `edit`: by options, or in an editor.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use oddline_engine::rules;
use oddline_rulebook::{
    conditions::check_examples,
    document,
    draft::{Draft, Example, severity_score},
    when::Condition,
};

use super::{Home, change::told, home::Loaded};
use crate::commands::Usage;

/// What a rule says, as options; only what is given is set.
#[derive(Debug, Default, PartialEq, clap::Args)]
struct Keys {
    /// Regex on the message; case is ignored.
    #[arg(long, value_name = "REGEX")]
    pattern: Option<String>,
    /// Condition on fields, such as `status >= 500`; may be given more than once, then all must hold.
    #[arg(long, value_name = "EXPRESSION")]
    fields: Vec<String>,
    /// Regex on the message; if it matches, the rule does not hit.
    #[arg(long, value_name = "REGEX")]
    unless: Vec<String>,
    /// Condition in VRL, such as `.took > 1.5`: only for the sidecar and offline judging.
    #[arg(long, value_name = "VRL")]
    when: Option<String>,
    /// It reads nothing but how grave the program calls its own record, and counts the less the more usual that is; `=false`
    /// takes it back.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    level_only: Option<bool>,
    /// From 0 to 10.
    #[arg(long, conflicts_with = "severity")]
    score: Option<f32>,
    /// In words.
    #[arg(long, value_parser = ["low", "medium", "high", "critical"])]
    severity: Option<String>,
    /// What kind of program it is about.
    #[arg(long, value_name = "WORD")]
    category: Option<String>,
    /// What happened, in one line.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A free word; may be given more than once.
    #[arg(long = "tag", value_name = "WORD")]
    tags: Vec<String>,
    /// A message, or a record as a JSON object, that it must hit; may be given more than once.
    #[arg(long = "match", value_name = "EXAMPLE")]
    matches: Vec<String>,
    /// One that it must not hit.
    #[arg(long = "miss", value_name = "EXAMPLE")]
    misses: Vec<String>,
}

/// Add a rule.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline rules new PUMP_STOPPED --pattern 'pump \\d+ stopped' --severity critical --description 'a pump stands still' \\
      --match 'pump 7 stopped' --miss 'pump 7 started'
  oddline rules new SERVER_ERROR --fields 'status in 500..599' --match '{\"status\": 502}' --miss '{\"status\": 404}'")]
pub(super) struct New {
    /// Its name, in capitals.
    name: String,
    #[command(flatten)]
    keys: Keys,
    /// The rule file to put it into; own.toml in the folder of rules if not given.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    home: Home,
}

/// Change a rule; without options, in $EDITOR. A built-in rule is copied into your own rules, where it replaces the other.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline rules edit PUMP_STOPPED --score 7.5
  EDITOR=vi oddline rules edit PUMP_STOPPED")]
pub(super) struct Edit {
    /// The rule.
    name: String,
    #[command(flatten)]
    keys: Keys,
    #[command(flatten)]
    home: Home,
}

impl New {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let loaded = self.home.load()?;
        if let Some(known) = loaded.all.iter().find(|rule| *rule.name == *self.name) {
            let reason = format!(
                "{0} is there already ({1}:{2}); change it: oddline rules edit {0}",
                known.name, known.file, known.line
            );
            return Err(Usage(reason).into());
        }
        let mut draft = Draft::named(&self.name);
        self.keys.apply(&mut draft)?;
        let file = self.to.unwrap_or_else(|| loaded.target());
        put(&loaded, &file, &draft)?;
        told(&format!("{} is in {}", draft.name, file.display()))
    }
}

impl Edit {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let loaded = self.home.load()?;
        let rule = loaded.find(&self.name)?;
        let mut draft = Draft::from(&rule);
        if self.keys == Keys::default() {
            draft = in_editor(&draft)?;
        } else {
            self.keys.apply(&mut draft)?;
        }
        let file = match loaded.own(&rule.name) {
            Some(own) => PathBuf::from(&*own.file),
            None => loaded.target(),
        };
        put(&loaded, &file, &draft)?;
        told(&format!("{} is changed in {}", draft.name, file.display()))
    }
}

impl Keys {
    fn apply(self, draft: &mut Draft) -> anyhow::Result<()> {
        if let Some(score) = self.score {
            draft.score = score;
        }
        if let Some(word) = self.severity {
            draft.score = severity_score(&word).unwrap_or(draft.score);
        }
        draft.pattern = self.pattern.or(draft.pattern.take());
        draft.when = self.when.or(draft.when.take());
        draft.category = self.category.or(draft.category.take());
        draft.level_only = self.level_only.unwrap_or(draft.level_only);
        if let Some(description) = self.description {
            draft.description = description;
        }
        for (given, kept) in
            [(self.fields, &mut draft.fields), (self.unless, &mut draft.unless), (self.tags, &mut draft.tags)]
        {
            if !given.is_empty() {
                *kept = given;
            }
        }
        for (given, kept) in [(self.matches, &mut draft.matches), (self.misses, &mut draft.misses)] {
            if !given.is_empty() {
                *kept = given.into_iter().map(example).collect::<anyhow::Result<_>>()?;
            }
        }
        Ok(())
    }
}

/// A JSON object is a record, anything else a message.
fn example(text: String) -> anyhow::Result<Example> {
    if !text.trim_start().starts_with('{') {
        return Ok(Example::Message(text));
    }
    match serde_json::from_str(&text) {
        Ok(fields) => Ok(Example::Record(fields)),
        Err(error) => {
            Err(Usage(format!("`{text}` begins like a record and is no JSON object: {error}")).into())
        }
    }
}

/// Puts a rule into a file, if it holds its own examples there and its condition is sound.
fn put(loaded: &Loaded, file: &Path, draft: &Draft) -> anyhow::Result<()> {
    if let Some(when) = &draft.when {
        Condition::compile(when).map_err(|reason| Usage(format!("when: {reason}")))?;
    }
    let alone = rules::parse("rule.toml", &document::write(std::slice::from_ref(draft), ""));
    let wrong: Vec<String> = alone
        .problems
        .iter()
        .cloned()
        .chain(alone.rules.iter().flat_map(check_examples))
        .map(|problem| format!("{}: {}", problem.key, problem.reason))
        .collect();
    if !wrong.is_empty() {
        return Err(Usage(format!("{} is not taken:\n{}", draft.name, wrong.join("\n"))).into());
    }
    loaded.change(file, |document| Ok(document.put(draft)?))
}

/// Lets a person change a copy; what comes back must be one rule of the same name.
fn in_editor(draft: &Draft) -> anyhow::Result<Draft> {
    let editor =
        ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    let editor = editor
        .ok_or_else(|| Usage("EDITOR is not set; set it, or say what to change by options".to_owned()))?;
    let copy =
        tempfile::Builder::new().prefix("rule-").suffix(".toml").tempfile().context("a copy to edit")?;
    fs::write(
        copy.path(),
        document::write(std::slice::from_ref(draft), "Save and leave the editor to take the rule over."),
    )
    .context("a copy to edit")?;
    // The variable may hold arguments, as in `code --wait`.
    let status = Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(copy.path())
        .status()
        .with_context(|| format!("{editor} cannot be started"))?;
    anyhow::ensure!(status.success(), "{editor} ended with {status}; nothing is changed");
    let text = fs::read_to_string(copy.path()).context("the edited copy")?;
    let parsed = rules::parse("rule.toml", &text);
    if let Some(problem) = parsed.problems.first() {
        let (_, kept) = copy.keep().context("the edited copy")?;
        return Err(
            Usage(format!("{problem}; nothing is changed, your text is in {}", kept.display())).into()
        );
    }
    match parsed.rules.as_slice() {
        [rule] if *rule.name == *draft.name => Ok(Draft::from(rule)),
        rules => Err(Usage(format!(
            "the copy holds {} rules, wanted is {} alone; nothing is changed",
            rules.len(),
            draft.name
        ))
        .into()),
    }
}
