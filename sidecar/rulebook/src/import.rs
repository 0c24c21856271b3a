//! Rules in, whatever they are written in: takes files' texts, gives rules that the engine takes, and why the rest is not.

use std::collections::{BTreeMap, BTreeSet};

use oddline_engine::rules::{self, MAX_RULES, RuleSet};
use serde::Serialize;

use crate::{
    document,
    draft::{Draft, Imported, Remark, Taken},
    grok, sigma,
};

/// What a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Sigma, in YAML.
    Sigma,
    /// Grok patterns or expressions, one a line.
    Grok,
    /// `[[rules]]`.
    Toml,
    /// `NAME REGEX [score] [description]`, one a line.
    Text,
}

/// How rules are taken over.
#[derive(Clone, Debug)]
pub struct Importing {
    /// Put before each name, so that no built-in rule is replaced by accident.
    pub prefix: String,
    /// Category of the rules; none: what the file says or the language suggests.
    pub category: Option<String>,
    /// Names of fields in Sigma rules.
    pub names: sigma::Names,
}

impl Default for Importing {
    fn default() -> Self {
        Importing { prefix: "SIGMA_".to_owned(), category: None, names: sigma::Names::default() }
    }
}

/// The language of a file, by its ending, or by what it looks like; `None` if it looks like nothing known.
pub fn language(file: &str, text: &str) -> Option<Language> {
    let ending = file.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    match ending.as_str() {
        "yml" | "yaml" => Some(Language::Sigma),
        "toml" => Some(Language::Toml),
        "grok" | "pattern" | "patterns" => Some(Language::Grok),
        "rules" => Some(Language::Text),
        "" | "txt" | "conf" if text.contains("%{") => Some(Language::Grok),
        "" | "txt" | "conf" => Some(Language::Text),
        _ => None,
    }
}

/// Reads one file. `taken` are names in use; those given are added.
pub fn import(
    language: Language,
    file: &str,
    text: &str,
    importing: &Importing,
    taken: &mut BTreeSet<String>,
) -> Imported {
    match language {
        Language::Sigma => sigma::import(file, text, importing, taken),
        Language::Grok => grok::import(file, text, importing, taken),
        Language::Toml | Language::Text => own(language, file, text, importing, taken),
    }
}

/// Rules of our own formats: names are kept, and one that is taken is left out rather than renamed.
fn own(
    language: Language,
    file: &str,
    text: &str,
    importing: &Importing,
    taken: &mut BTreeSet<String>,
) -> Imported {
    let mut imported = Imported::default();
    // The engine goes by the ending.
    let ending = if language == Language::Toml { ".toml" } else { ".rules" };
    let parsed = rules::parse(&format!("{file}{ending}"), text);
    let remark = |line: usize, rule: Option<String>, reason: String| Remark {
        file: format!("{file}:{line}"),
        rule,
        source: None,
        reason,
    };
    for problem in parsed.problems {
        let rule = problem.rule.as_deref().map(str::to_owned);
        imported.left_out.push(remark(problem.line, rule, format!("{}: {}", problem.key, problem.reason)));
    }
    for rule in &parsed.rules {
        if !taken.insert(rule.name.to_string()) {
            let reason = "the name is in use; rename one of the two".to_owned();
            imported.left_out.push(remark(rule.line, Some(rule.name.to_string()), reason));
            continue;
        }
        let mut draft = Draft::from(rule);
        if let Some(category) = &importing.category {
            draft.category = Some(category.clone());
        }
        let source = if language == Language::Toml { "toml" } else { "text" }.to_owned();
        imported.rules.push(Taken { draft, file: file.to_owned(), source });
    }
    imported
}

/// Keeps only what the engine takes; what it refuses moves to what was left out, in its words.
pub fn settle(mut imported: Imported) -> Imported {
    if imported.rules.len() > MAX_RULES {
        let reason = format!(
            "{} rules are more than the limit of {MAX_RULES}; the rest is left out",
            imported.rules.len()
        );
        imported.rules.truncate(MAX_RULES);
        imported.left_out.push(Remark { file: "all files".to_owned(), rule: None, source: None, reason });
    }
    let drafts: Vec<Draft> = imported.rules.iter().map(|taken| taken.draft.clone()).collect();
    let mut parsed = rules::parse("import.toml", &document::write(&drafts, ""));
    // Conditions in VRL are judged where they can be run.
    parsed.rules.iter_mut().for_each(|rule| rule.when = None);
    let compiled = RuleSet::compile(parsed.rules);
    let mut refused: BTreeMap<String, String> = BTreeMap::new();
    for problem in parsed.problems.into_iter().chain(compiled.problems) {
        let Some(rule) = problem.rule else { continue };
        refused.entry(rule.to_string()).or_insert(format!("{}: {}", problem.key, problem.reason));
    }
    let (mut kept, mut left) = (Vec::new(), Vec::new());
    for taken in imported.rules {
        match refused.remove(&taken.draft.name) {
            None => kept.push(taken),
            Some(reason) => {
                let Taken { draft, file, source } = taken;
                left.push(Remark { file, rule: Some(draft.description), source: Some(source), reason });
            }
        }
    }
    imported.rules = kept;
    imported.left_out.append(&mut left);
    imported
}
