//! Rules: patterns that people wrote about messages worth a look, matched against every message in one pass.
//!
//! Takes the text of rule files and gives [`Rule`]s, a compiled [`RuleSet`], and every problem with its place. Must not
//! know files, reloading or hosts: shells read the files and hand the text over.
//!
//! A rule's pattern is matched without regard to ASCII case, on bytes, in time linear in the message. A single pass
//! over the message finds which rules can match at all (see [`set`]), so that hundreds of rules cost about as much as one.

mod category;
mod compile;
mod cost;
pub mod field;
mod file;
mod finder;
mod inspect;
mod literal;
mod numerals;
mod outline;
mod pattern;
mod recall;
mod rule;
pub mod set;
mod text;

#[cfg(test)]
mod builtin_test;
#[cfg(test)]
mod fields_test;
#[cfg(test)]
mod hostile_test;
#[cfg(test)]
mod limits_test;
#[cfg(test)]
mod reach_test;

use std::sync::Arc;

pub use category::{Categories, PROGRAMS, Selection};
pub use compile::Compiled;
pub use cost::{Cost, SLOW, worst};
pub use finder::is_ordinary;
pub use inspect::{Inspection, inspect};
pub(crate) use recall::Known;
pub use rule::{Example, Rule, RuleProblem};
pub use set::{RuleSet, Scratch, Subject};

/// Longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 1 << 10;
/// Most memory that one compiled pattern may take.
pub const MAX_COMPILED_BYTES: usize = 1 << 20;
/// Most memory that all patterns of a set may take.
pub const MAX_SET_BYTES: usize = 256 << 20;
/// Most rules in a set.
pub const MAX_RULES: usize = 10_000;
/// Most fields that the rules of a set may ask for.
pub const MAX_FIELD_PATHS: usize = 256;
/// Largest rule file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 16 << 20;
/// Longest rule or category name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Longest description, in bytes.
pub const MAX_DESCRIPTION_BYTES: usize = 512;
/// Most expressions in `fields`, patterns in `unless`, or words in `tags` of one rule.
pub const MAX_LIST: usize = 32;
/// Longest condition in `when`, in bytes.
pub const MAX_WHEN_BYTES: usize = 4 << 10;
/// Most examples of each kind in one rule.
pub const MAX_EXAMPLES: usize = 100;
/// Score of a rule that gives neither score nor severity.
pub const DEFAULT_SCORE: f32 = 2.5;
/// Category of a rule that gives none.
pub const DEFAULT_CATEGORY: &str = "custom";

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
        return Parsed { rules: Vec::new(), problems: vec![RuleProblem::of_file(&name, 1, &reason)] };
    }
    // Some editors begin a file with a byte order mark.
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    if is_toml(file) { file::parse(&name, content) } else { text::parse(&name, content) }
}

/// Reads a rule file as it lies on disk. A line that is not UTF-8 is left out; a TOML file with one is left out whole.
/// After so many such lines as a list may be long the file is taken for no text, and its rest is not read.
pub fn parse_bytes(file: &str, content: &[u8]) -> Parsed {
    if let Ok(content) = std::str::from_utf8(content) {
        return parse(file, content);
    }
    let (name, mut text, mut problems): (Arc<str>, _, _) = (Arc::from(file), String::new(), Vec::new());
    for (number, line) in (1..).zip(content.split_inclusive(|byte| *byte == b'\n')) {
        match std::str::from_utf8(line) {
            Ok(line) => text.push_str(line),
            Err(error) => {
                let byte = error.valid_up_to().saturating_add(1);
                let reason = format!("byte {byte} of the line is not UTF-8 text; save the file as UTF-8");
                problems.push(RuleProblem::of_file(&name, number, &reason));
                text.push('\n');
            }
        }
        if problems.len() >= MAX_LIST {
            break;
        }
    }
    // Where a line is left out of a TOML file, what its neighbours mean is not certain.
    let mut parsed = if is_toml(file) { Parsed::default() } else { parse(file, &text) };
    parsed.problems.append(&mut problems);
    parsed.problems.sort_by_key(|problem| problem.line);
    parsed
}

fn is_toml(file: &str) -> bool {
    file.rsplit_once('.').is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("toml"))
}

const BUILTIN_PREFIX: &str = "builtin/";
const BUILTIN: &[(&str, &str)] = &[
    ("builtin/system.toml", include_str!("../../rules/system.toml")),
    ("builtin/system-hardware.toml", include_str!("../../rules/system-hardware.toml")),
    ("builtin/system-devices.toml", include_str!("../../rules/system-devices.toml")),
    ("builtin/system-upkeep.toml", include_str!("../../rules/system-upkeep.toml")),
    ("builtin/security.toml", include_str!("../../rules/security.toml")),
    ("builtin/security-logins.toml", include_str!("../../rules/security-logins.toml")),
    ("builtin/security-apps.toml", include_str!("../../rules/security-apps.toml")),
    ("builtin/security-audit.toml", include_str!("../../rules/security-audit.toml")),
    ("builtin/security-cloud.toml", include_str!("../../rules/security-cloud.toml")),
    ("builtin/security-products.toml", include_str!("../../rules/security-products.toml")),
    ("builtin/security-threats.toml", include_str!("../../rules/security-threats.toml")),
    ("builtin/security-saas.toml", include_str!("../../rules/security-saas.toml")),
    ("builtin/security-payloads.toml", include_str!("../../rules/security-payloads.toml")),
    ("builtin/security-web.toml", include_str!("../../rules/security-web.toml")),
    ("builtin/network.toml", include_str!("../../rules/network.toml")),
    ("builtin/network-links.toml", include_str!("../../rules/network-links.toml")),
    ("builtin/docker.toml", include_str!("../../rules/docker.toml")),
    ("builtin/docker-kubernetes.toml", include_str!("../../rules/docker-kubernetes.toml")),
    ("builtin/application.toml", include_str!("../../rules/application.toml")),
    ("builtin/application-build.toml", include_str!("../../rules/application-build.toml")),
    ("builtin/application-database.toml", include_str!("../../rules/application-database.toml")),
    ("builtin/application-runtime.toml", include_str!("../../rules/application-runtime.toml")),
    ("builtin/application-services.toml", include_str!("../../rules/application-services.toml")),
    ("builtin/media.toml", include_str!("../../rules/media.toml")),
    ("builtin/media-nas.toml", include_str!("../../rules/media-nas.toml")),
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

/// The one of the words that was probably meant.
fn suggestion<'w>(word: &str, words: &[&'w str]) -> Option<&'w str> {
    // Longer ones are no slip of the finger, and the comparison is quadratic.
    let word = (word.len() <= MAX_NAME_BYTES).then_some(word)?;
    let near = words.iter().map(|known| (strsim::damerau_levenshtein(known, word), *known)).min()?;
    (near.0 <= 3 && near.0 < word.len()).then_some(near.1)
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
