//! Which categories of rules apply to an event: takes the option `rule_categories`, gives statements that set the local
//! `rules_for` to the categories that apply, of those that do not always do, each between two line ends. Knows no rule.

use oddline_engine::{
    Settings,
    rules::{Categories, PROGRAMS},
};

use crate::{pick, text};

/// The built-in categories; a user's own always apply.
const NAMES: [&str; 6] = ["system", "security", "network", "docker", "application", "media"];

/// How categories are chosen.
#[derive(Debug)]
pub(crate) struct Choice {
    /// Categories that do not apply to every event.
    varying: Vec<&'static str>,
    statements: String,
}

impl Choice {
    /// For these settings.
    pub(crate) fn new(settings: &Settings) -> Choice {
        let selection = settings.rule_categories();
        let base = Categories::SYSTEM.union(Categories::SECURITY);
        let programs: Vec<(&str, Categories)> = PROGRAMS
            .iter()
            .filter(|_| selection.knows_programs())
            .flat_map(|(names, categories)| names.iter().map(|name| (*name, categories.union(base))))
            .collect();
        let words: Vec<(&str, Categories)> =
            selection.words().iter().map(|(word, categories)| (word.as_str(), *categories)).collect();
        let applies = |name: &str, categories: &Categories| categories.intersects(Categories::of(name));
        let varying: Vec<&'static str> = NAMES
            .into_iter()
            .filter(|name| {
                let mut outcomes =
                    programs.iter().chain(&words).map(|(_, it)| it).cloned().chain([selection.rest()]);
                !outcomes.all(|outcome| applies(name, &outcome))
            })
            .collect();
        let mut branches: Vec<String> = Vec::new();
        for (known, boundary) in [(&words, "[0-9A-Za-z]"), (&programs, "[A-Za-z]")] {
            if known.is_empty() {
                continue;
            }
            let all: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
            let mut branch = format!("if {} {{\n    rules_for = \"\\n\"\n", has_word(&all, boundary));
            for name in &varying {
                let chosen: Vec<&str> =
                    known.iter().filter(|(_, it)| applies(name, it)).map(|(word, _)| *word).collect();
                branch.push_str(&format!(
                    "    if {} {{ rules_for = rules_for + \"{name}\\n\" }}\n",
                    has_word(&chosen, boundary)
                ));
            }
            branch.push('}');
            branches.push(branch);
        }
        let rest: String = varying
            .iter()
            .filter(|name| applies(name, &selection.rest()))
            .map(|name| format!("{name}\\n"))
            .collect();
        let statements =
            format!("rules_for = \"\\n{rest}\"\n{}{}\n", hint(settings), branches.join(" else "));
        Choice { statements: if varying.is_empty() { String::new() } else { statements }, varying }
    }

    /// The statements; they use `tag` and the event.
    pub(crate) fn statements(&self) -> &str {
        &self.statements
    }

    /// An expression: whether all apply.
    pub(crate) fn all(&self) -> String {
        let all: String = self.varying.iter().map(|name| format!("{name}\\n")).collect();
        format!(r#"rules_for == "\n{all}""#)
    }

    /// An expression: whether the category in a local applies; `None` if every one does.
    pub(crate) fn applies(&self, local: &str) -> Option<String> {
        let varying: Vec<String> = self.varying.iter().map(|name| text::string(name)).collect();
        (!varying.is_empty()).then(|| {
            format!(
                r#"(!includes([{}], {local}) || contains(rules_for, "\n" + {local} + "\n"))"#,
                varying.join(", ")
            )
        })
    }
}

/// An expression: whether one of the words stands in the hint, with none of the boundary's characters beside it.
fn has_word(words: &[&str], boundary: &str) -> String {
    if words.is_empty() {
        return "false".to_owned();
    }
    let mut choices = Vec::new();
    for word in words {
        let mut choice = String::new();
        for char in word.chars() {
            if char.is_ascii_alphabetic() {
                choice.push(char)
            } else {
                super::pattern::one(char, &mut choice)
            }
        }
        choices.push(choice);
    }
    let outside = boundary.replacen('[', "[^", 1);
    format!(r"match(rules_hint, {{r'(?:\A|{outside})(?i-u:{})(?:{outside}|\z)'}})", choices.join("|"))
}

/// Statements that put tag and labels into the hint, as the engine joins them. `encode_json` cannot fail, whatever Vector
/// knows of a field's type; the quotes that it adds are no part of a word.
fn hint(settings: &Settings) -> String {
    let mut out = String::from("rules_hint = \" \" + tag\n");
    let (plain, others): (Vec<&String>, Vec<&String>) =
        settings.label_paths().iter().partition(|path| pick::is_plain(path));
    let mut read = |paths: Vec<&String>| {
        for place in paths.into_iter().flat_map(|path| text::places(path)) {
            out.push_str(&format!(
                "if is_string({place}) {{ rules_hint = rules_hint + encode_json({place}) }}\n"
            ));
        }
        out.push_str("if shape == 1 {\n");
    };
    read(plain);
    read(others);
    out.truncate(out.len().saturating_sub("if shape == 1 {\n".len()));
    out + "}\n"
}
