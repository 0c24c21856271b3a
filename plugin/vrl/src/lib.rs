//! Oddline for stock Vector: the text of a VRL program for a `remap` transform, generated from settings and rules.
//!
//! Takes [`Settings`] and [`Rule`]s, gives a [`Program`] that masks, matches, looks the template up in a `memory`
//! enrichment table and tags, as every other shell does. The program cannot fail at run time, whatever an event holds.
//! Must not know: files, the command line, how Vector is configured around it.
//!
//! The way of an event is the list of files: `pick` (tag, message, severity) → `mask` → `rules` → `advice` (what the
//! sidecar knows) → `verdict` → `tags`. Each gives statements that take and leave locals of the program.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use oddline_engine::{
    Engine, Settings, Severity,
    rules::{Rule, RuleSet},
};

mod advice;
mod mask;
mod pick;
mod rules;
mod tags;
mod text;
mod verdict;

pub(crate) use advice::silenced;

/// A generated program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// The program's text, for a file that the `remap` transform reads.
    pub text: String,
    /// Rules that VRL cannot express; also named in comments of the program.
    pub left_out: Vec<LeftOut>,
}

/// A rule that is not in the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name.
    pub rule: Arc<str>,
    /// Why.
    pub reason: String,
}

/// Writes the program.
pub fn program(settings: &Settings, rules: &[Rule]) -> Program {
    let enabled: Vec<&Rule> = rules.iter().filter(|rule| rule.enabled).collect();
    let levels: Vec<Severity> = enabled.iter().filter_map(|rule| rule.level).collect();
    // A condition may ask for it too; one that only has the word in it costs little.
    let asks_for_level = enabled.iter().any(|rule| rule.fields.iter().any(|field| field.contains("level")));
    let section = rules::section(rules, settings);
    let engine = Engine::new(settings.clone(), Arc::new(RuleSet::compile(rules.to_vec()).set));
    let parts = [
        MARKER.to_owned(),
        pick::section(settings, &section.names),
        mask::PREPARE.to_owned(),
        "# The strongest rule that hits.\n".to_owned(),
        advice::unasked(settings).to_owned(),
        section.early,
        mask::section(),
        pick::severity(settings, !levels.is_empty() || asks_for_level),
        pick::level_word(&levels),
        section.text,
        advice::section(settings),
        tags::prepare(settings),
        verdict::section(settings, &tags::quiet(settings), &tags::told(settings, engine.model())),
    ];
    Program { text: parts.concat(), left_out: section.left_out }
}

/// An event that comes back from the sidecar has a marker, and passes untouched. Logs cannot write metadata.
const MARKER: &str = "if exists(%oddline.marker) {
  return .
}
";
