//! A rule on its way into a file: what an import makes, what an export writes, what a person enters.

use std::fmt;

use oddline_engine::{
    plain,
    rules::{self, MAX_DESCRIPTION_BYTES, MAX_NAME_BYTES, Rule},
};
use serde::Serialize;

/// Most of a reason that is told.
const MAX_TOLD_BYTES: usize = 1_000;

/// A rule as its file says it; only what differs from the defaults is written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Draft {
    /// Capitals, digits, `_`.
    pub name: String,
    /// Regex on the message.
    pub pattern: Option<String>,
    /// Conditions on fields; all must hold.
    pub fields: Vec<String>,
    /// Regexes on the message of which none may match.
    pub unless: Vec<String>,
    /// A condition in VRL.
    pub when: Option<String>,
    /// The record's own level that also hits.
    pub level: Option<String>,
    /// Whether it reads nothing but how grave the program calls its own record.
    pub level_only: bool,
    /// 0 to 10.
    pub score: f32,
    /// Category, if it is not the file's.
    pub category: Option<String>,
    /// One line for people.
    pub description: String,
    /// Free words.
    pub tags: Vec<String>,
    /// Whether it counts.
    pub enabled: bool,
    /// Records that it must match.
    pub matches: Vec<Example>,
    /// Records that it must not match.
    pub misses: Vec<Example>,
    /// Lines above it, without `#`.
    pub comments: Vec<String>,
}

/// An example in a rule file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Example {
    /// A message.
    Message(String),
    /// A record with fields.
    Record(serde_json::Map<String, serde_json::Value>),
}

/// What an import gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Imported {
    /// The rules.
    pub rules: Vec<Taken>,
    /// What was left out, and why.
    pub left_out: Vec<Remark>,
    /// What was taken over with a loss.
    pub notes: Vec<Remark>,
}

/// A rule that was taken over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Taken {
    /// The rule as it is now.
    #[serde(flatten)]
    pub draft: Draft,
    /// The file it comes from.
    pub file: String,
    /// The kind of log it is about, as `product/service` or the like.
    pub source: String,
}

/// What an import could not take over, or took over with a loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// The file.
    pub file: String,
    /// The rule in it, by the name it has there, if that is known.
    pub rule: Option<String>,
    /// The kind of log it is about, as `product/service` or the like.
    pub source: Option<String>,
    /// What cannot be expressed, and what to do.
    pub reason: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Name and reason repeat what the file says, whatever that is.
        write!(f, "{}: ", self.file)?;
        if let Some(rule) = &self.rule {
            write!(f, "{}: ", plain(rule, MAX_DESCRIPTION_BYTES))?;
        }
        f.write_str(&plain(&self.reason, MAX_TOLD_BYTES))
    }
}

impl Draft {
    /// A rule of this name with everything else at its default.
    pub fn named(name: &str) -> Draft {
        Draft {
            name: name.to_owned(),
            pattern: None,
            fields: Vec::new(),
            unless: Vec::new(),
            when: None,
            level: None,
            level_only: false,
            score: rules::DEFAULT_SCORE,
            category: None,
            description: String::new(),
            tags: Vec::new(),
            enabled: true,
            matches: Vec::new(),
            misses: Vec::new(),
            comments: Vec::new(),
        }
    }
}

impl From<rules::Example> for Example {
    fn from(example: rules::Example) -> Example {
        match example {
            rules::Example::Message(text) => Example::Message(text),
            rules::Example::Record(fields) => Example::Record(fields),
        }
    }
}

impl From<&Rule> for Draft {
    fn from(rule: &Rule) -> Draft {
        Draft {
            pattern: (!rule.pattern.is_empty()).then(|| rule.pattern.clone()),
            fields: rule.fields.clone(),
            unless: rule.unless.clone(),
            when: rule.when.clone(),
            tags: rule.tags.clone(),
            level: rule.level.map(|level| level.as_str().to_owned()),
            level_only: rule.level_only,
            score: rule.score,
            category: Some(rule.category.to_string()),
            description: rule.description.to_string(),
            enabled: rule.enabled,
            matches: rule.matches.iter().cloned().map(Example::from).collect(),
            misses: rule.misses.iter().cloned().map(Example::from).collect(),
            ..Draft::named(&rule.name)
        }
    }
}

/// The score that a severity word stands for in rule files.
pub fn severity_score(word: &str) -> Option<f32> {
    Some(match word {
        "low" => 1.0,
        "medium" => 2.5,
        "high" => 4.0,
        "critical" => 6.0,
        _ => return None,
    })
}

/// A rule's name made of any text: `Failed Sudo (root)` becomes `FAILED_SUDO_ROOT`. `prefix` comes first.
pub fn name_of(prefix: &str, text: &str) -> String {
    let mut name = prefix.to_owned();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_uppercase());
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    if !name.starts_with(|c: char| c.is_ascii_uppercase()) {
        name.insert_str(0, "RULE_");
    }
    // Room for a number, should two titles give one name.
    name.truncate(MAX_NAME_BYTES - 6);
    name.trim_end_matches('_').to_owned()
}

/// Makes a name that is not taken yet, by a number at its end, and takes it.
pub fn unique_name(name: &str, taken: &mut std::collections::BTreeSet<String>) -> String {
    let mut unique = name.to_owned();
    let mut number = 2u32;
    while !taken.insert(unique.clone()) {
        unique = format!("{name}_{number}");
        number = number.saturating_add(1);
    }
    unique
}

/// Any text as one line that fits into a description.
pub fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if line.len() + 1 + word.len() > MAX_DESCRIPTION_BYTES - 3 {
            line.push('…');
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_words_are_the_engines() {
        for word in ["low", "medium", "high", "critical"] {
            let text = format!("[[rules]]\nname = \"A\"\npattern = 'abc'\nseverity = \"{word}\"\n");
            assert_eq!(severity_score(word), Some(rules::parse("a.toml", &text).rules[0].score));
        }
    }

    #[test]
    fn any_title_makes_a_name() {
        assert_eq!(name_of("SIGMA_", "Failed Sudo (root)"), "SIGMA_FAILED_SUDO_ROOT");
        assert_eq!(name_of("", "7-zip — ünusual"), "RULE_7_ZIP_NUSUAL");
        assert_eq!(name_of("", &"long ".repeat(100)).len(), MAX_NAME_BYTES - 6);
        let mut taken = std::collections::BTreeSet::new();
        let names: Vec<String> = (0..3).map(|_| unique_name("A", &mut taken)).collect();
        assert_eq!(names, ["A", "A_2", "A_3"]);
    }

    #[test]
    fn any_text_makes_one_line() {
        assert_eq!(one_line("  two\n\n lines\u{7} of text\n"), "two lines of text");
        assert!(one_line(&"word ".repeat(1_000)).len() <= MAX_DESCRIPTION_BYTES);
        assert!(one_line(&"x".repeat(10_000)).len() <= MAX_DESCRIPTION_BYTES);
    }
}
