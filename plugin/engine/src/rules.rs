//! Rules: patterns that people wrote about messages worth a look, matched against every message in one pass.
//!
//! Takes the text of rule files and gives [`Rule`]s, a compiled [`RuleSet`], and every problem with its place. Must not
//! know files, reloading or hosts: shells read the files and hand the text over.
//!
//! A rule's pattern is matched without regard to ASCII case, on bytes, in time linear in the message. A single pass
//! over the message finds which rules can match at all (see [`set`]), so that hundreds of rules cost about as much as one.

mod category;
mod file;
mod finder;
mod literal;
mod pattern;
pub mod set;
mod text;

#[cfg(test)]
mod builtin_test;
#[cfg(test)]
mod limits_test;

use std::{fmt, sync::Arc};

pub use category::Categories;
pub use set::{Compiled, RuleSet, Scratch};

use crate::record::Severity;

/// Longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 1 << 10;
/// Most memory that one compiled pattern may take.
pub const MAX_COMPILED_BYTES: usize = 1 << 20;
/// Most memory that all patterns of a set may take.
pub const MAX_SET_BYTES: usize = 256 << 20;
/// Most rules in a set.
pub const MAX_RULES: usize = 10_000;
/// Largest rule file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 16 << 20;
/// Longest rule or category name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Longest description, in bytes.
pub const MAX_DESCRIPTION_BYTES: usize = 512;
/// Score of a rule that gives neither score nor severity.
pub const DEFAULT_SCORE: f32 = 2.5;
/// Category of a rule that gives none.
pub const DEFAULT_CATEGORY: &str = "custom";

/// One rule, as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name, e.g. `DB_CONNECT_FAILED`.
    pub name: Arc<str>,
    /// The pattern; empty only if the rule is disabled.
    pub pattern: String,
    /// Severity, 0 to 10.
    pub score: f32,
    /// What kind of program it is about, e.g. `application`.
    pub category: Arc<str>,
    /// One line for people.
    pub description: Arc<str>,
    /// Off rules are kept so that a user's file can turn a built-in rule off by its name.
    pub enabled: bool,
    /// The rule also hits records whose own level field says this.
    pub level: Option<Severity>,
    /// Messages that it must match.
    pub matches: Vec<String>,
    /// Messages that it must not match.
    pub misses: Vec<String>,
    /// The file it comes from, and the line there (1-based).
    pub file: Arc<str>,
    /// The line it begins on.
    pub line: usize,
}

impl Rule {
    /// Tries the rule on its own examples.
    pub fn check_examples(&self) -> Vec<RuleProblem> {
        if !self.enabled {
            return Vec::new();
        }
        let regex = match pattern::parse(&self.pattern)
            .and_then(|hir| pattern::compile(&[hir], MAX_COMPILED_BYTES))
        {
            Ok(regex) => regex,
            Err(reason) => return vec![RuleProblem::of(self, "pattern", reason)],
        };
        let wrong = |lines: &[String], wanted: bool, key, what| {
            let lines = lines.iter().filter(|line| regex.is_match(line.as_str()) != wanted);
            lines
                .map(|line| RuleProblem::of(self, key, format!("the pattern {what} `{line}`")))
                .collect::<Vec<_>>()
        };
        let mut problems = wrong(&self.matches, true, "match", "does not match its example");
        problems.extend(wrong(&self.misses, false, "miss", "matches its counter-example"));
        problems
    }

    /// Whether it ships with Oddline: such a rule gives way to a user's rule of the same name.
    pub fn is_builtin(&self) -> bool {
        self.file.starts_with(BUILTIN_PREFIX)
    }
}

/// What is wrong with a rule or a rule file. The rest of the file still loads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct RuleProblem {
    /// The file, as the caller named it.
    pub file: Arc<str>,
    /// The line, 1-based.
    pub line: usize,
    /// The rule's name, if it has one.
    pub rule: Option<Arc<str>>,
    /// The key or column concerned.
    pub key: String,
    /// What is wrong, and what to write instead.
    pub reason: String,
}

impl RuleProblem {
    fn of(rule: &Rule, key: &str, reason: String) -> Self {
        let (file, name) = (Arc::clone(&rule.file), Some(Arc::clone(&rule.name)));
        RuleProblem { file, line: rule.line, rule: name, key: key.to_owned(), reason }
    }
}

impl fmt::Display for RuleProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if let Some(rule) = &self.rule {
            write!(f, "rule {rule}: ")?;
        }
        write!(f, "{}: {}", self.key, self.reason)
    }
}

/// A rule file, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// The rules that are well-formed (their patterns are judged by [`RuleSet::compile`]).
    pub rules: Vec<Rule>,
    /// What was left out, and why.
    pub problems: Vec<RuleProblem>,
}

/// Reads a rule file: TOML if its name ends in `.toml`, else one rule a line (`NAME REGEX [score] [description]`).
pub fn parse(file: &str, content: &str) -> Parsed {
    let name: Arc<str> = Arc::from(file);
    if content.len() > MAX_FILE_BYTES {
        let reason =
            format!("has {} bytes, more than the limit of {MAX_FILE_BYTES}; split it", content.len());
        let problem = RuleProblem { file: name, line: 1, rule: None, key: "file".to_owned(), reason };
        return Parsed { rules: Vec::new(), problems: vec![problem] };
    }
    match file.rsplit_once('.') {
        Some((_, ending)) if ending.eq_ignore_ascii_case("toml") => file::parse(&name, content),
        _ => text::parse(&name, content),
    }
}

const BUILTIN_PREFIX: &str = "builtin/";
const BUILTIN: [(&str, &str); 7] = [
    ("builtin/system.toml", include_str!("../../rules/system.toml")),
    ("builtin/system-hardware.toml", include_str!("../../rules/system-hardware.toml")),
    ("builtin/security.toml", include_str!("../../rules/security.toml")),
    ("builtin/network.toml", include_str!("../../rules/network.toml")),
    ("builtin/docker.toml", include_str!("../../rules/docker.toml")),
    ("builtin/application.toml", include_str!("../../rules/application.toml")),
    ("builtin/media.toml", include_str!("../../rules/media.toml")),
];

/// The rules that ship with Oddline, to be compiled together with a user's own.
pub fn builtin_rules() -> Vec<Rule> {
    BUILTIN.iter().flat_map(|(name, content)| parse(name, content).rules).collect()
}

/// The word for a rule's score: below 2 `low`, below 3.5 `medium`, below 5 `high`, else `critical`.
pub fn severity_word(score: f32) -> &'static str {
    match score {
        s if s < 2.0 => "low",
        s if s < 3.5 => "medium",
        s if s < 5.0 => "high",
        _ => "critical",
    }
}

/// The score that a severity word stands for, or a number from 0 to 10.
fn score_of(text: &str) -> Result<f32, String> {
    match text {
        "low" => Ok(1.0),
        "medium" => Ok(2.5),
        "high" => Ok(4.0),
        "critical" => Ok(6.0),
        number => match number.parse::<f32>() {
            Ok(score) if (0.0..=10.0).contains(&score) => Ok(score),
            Ok(score) => Err(format!("{score} is not within 0..=10")),
            Err(_) => {
                Err(format!("`{number}` is neither a number from 0 to 10 nor low, medium, high or critical"))
            }
        },
    }
}

/// A rule's name: the same letters in every tag, query and dashboard.
fn check_name(name: &str) -> Result<(), String> {
    let shape = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if name.len() > MAX_NAME_BYTES {
        Err(format!("has {} bytes, more than the limit of {MAX_NAME_BYTES}", name.len()))
    } else if !shape {
        Err(format!(
            "`{}` is not a name in capitals, digits and `_`, such as DB_CONNECT_FAILED",
            name.escape_debug()
        ))
    } else {
        Ok(())
    }
}
