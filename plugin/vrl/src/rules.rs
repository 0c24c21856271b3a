//! The part of the program that finds the best rule. Takes rules and settings, gives its text and what was left out.
//! Must not know masking, advice or tags.
//!
//! The frame sets before it, as locals of the program: `message` (string, without terminal colours, at most
//! `max_message_bytes` long), `severity` (integer from 0, trace, to 5, fatal, in the order of
//! [`Severity`](oddline_engine::Severity), or null), `tag` (string). This part may use the expression [`crate::silenced`],
//! and leaves as locals `rule` (string or null), `rule_score` (float), `rule_category` (string), `rule_description` (string).

use oddline_engine::{Settings, rules::Rule};

use crate::LeftOut;

/// The part of the program, and what it does not do.
#[derive(Debug, Default)]
pub(crate) struct Section {
    /// Statements.
    pub(crate) text: String,
    /// Rules that are not in it.
    pub(crate) left_out: Vec<LeftOut>,
}

/// Writes the part of the program.
pub(crate) fn section(_rules: &[Rule], _settings: &Settings) -> Section {
    Section::default()
}
