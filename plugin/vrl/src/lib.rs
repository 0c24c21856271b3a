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
    let scores: Vec<f32> = enabled.iter().map(|rule| rule.score).collect();
    let section = rules::section(rules, settings);
    let engine = Engine::new(settings.clone(), Arc::new(RuleSet::compile(rules.to_vec()).set));
    let parts = [
        START.to_owned(),
        pick::fields(settings, !levels.is_empty()),
        BEGIN.to_owned(),
        format!("  model = {}\n", text::string(engine.model())),
        pick::message(settings),
        mask::section(),
        pick::level_word(&levels),
        RULES.to_owned(),
        section.text,
        advice::section(settings),
        tags::prepare(settings),
        verdict::section(settings, &scores, &tags::flagged(settings)),
        tags::quiet(settings),
        tags::BARE.to_owned(),
        "}\n".to_owned(),
    ];
    Program { text: parts.concat(), left_out: section.left_out }
}

/// Locals whose type must stay open: what Vector may know of an event's fields would make some statements an error.
const START: &str = r"tag = null
message = null
severity = null
whole = null
bare = false
mine = !exists(%oddline.marker)
if mine {
";

/// An event that comes back from the sidecar has a marker, and passes untouched.
const BEGIN: &str = r"}
if mine {
";

const RULES: &str = r#"  # The strongest rule that hits.
  rule = null
  rule_score = 0.0
  rule_category = ""
  rule_description = ""
"#;
