//! Oddline for stock Vector: the text of a VRL program for a `remap` transform, generated from settings and rules.
//!
//! Takes [`Settings`] and [`Rule`]s, gives a [`Program`] that masks, matches, looks the template up in a `memory`
//! enrichment table and tags, as every other shell does. The program cannot fail at run time, whatever an event holds.
//! Must not know: files, the command line, how Vector is configured around it.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use oddline_engine::{Settings, rules::Rule};

mod rules;

/// A VRL expression of the names of the rules that are silenced now: an array of strings. It costs a look-up, so it is
/// for programs that have found a rule.
pub(crate) const SILENCED: &str = "[]";

/// A generated program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// The program's text, for the `source` of a `remap` transform.
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
    let section = rules::section(rules, settings);
    let _ = SILENCED;
    Program { text: section.text, left_out: section.left_out }
}
