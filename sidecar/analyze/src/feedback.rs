//! What operators have said about rules and scores in general: part of the advice for every plugin and table. Bounded,
//! and kept over restarts.

use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError},
};

use oddline_engine::advice::row::SidecarRow;
use serde::{Deserialize, Serialize};

use crate::{
    Analyzer, Shared,
    ports::{BackendError, StateStore},
};

/// Most rules that are silenced at a time.
pub const MAX_SILENCED_RULES: usize = 1_000;
/// Longest name of a silenced rule, in bytes.
pub const MAX_NAME_BYTES: usize = 200;
/// The name under which it is saved, and the version that is written and read.
const NOTE: &str = "feedback";
const VERSION: u32 = 1;
/// How far feedback may move scores.
const MAX_OFFSET: f32 = 0.5;

/// Feedback that is not about one template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feedback {
    /// Rules that are silenced, with the Unix second until which (0: for ever).
    pub silenced_rules: BTreeMap<String, u64>,
    /// Added to every score before the level is read, -0.5..=0.5.
    pub threshold_offset: f32,
}

/// As it is saved.
#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    #[serde(flatten)]
    rest: serde_json::Value,
}

/// What was saved, or nothing yet.
pub(crate) async fn load(state: &dyn StateStore) -> Result<Feedback, BackendError> {
    let Some(text) = state.note(NOTE).await? else { return Ok(Feedback::default()) };
    let unreadable = |why: String| BackendError::rejected(format!("state: note `{NOTE}`: {why}"));
    let saved: Saved = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    if saved.version != VERSION {
        let found = saved.version;
        return Err(unreadable(format!("version {found} is not the supported {VERSION}")));
    }
    let feedback: Feedback =
        serde_json::from_value(saved.rest).map_err(|error| unreadable(error.to_string()))?;
    Ok(feedback.bounded())
}

impl Feedback {
    /// Adds a rule; a further one past the limit is refused in words.
    pub(crate) fn silence(&mut self, rule: &str, expires: Option<u64>) -> Result<(), String> {
        if self.silenced_rules.len() >= MAX_SILENCED_RULES && !self.silenced_rules.contains_key(rule) {
            return Err(format!("{MAX_SILENCED_RULES} rules are silenced, which is the limit; delete some"));
        }
        self.silenced_rules.insert(rule.to_owned(), expires.unwrap_or(0));
        Ok(())
    }

    pub(crate) fn forget_expired(&mut self, now: u64) {
        self.silenced_rules.retain(|_, until| *until == 0 || now < *until);
    }

    fn bounded(self) -> Feedback {
        let names = self.silenced_rules.into_iter().filter(|(name, _)| name.len() <= MAX_NAME_BYTES);
        let offset = if self.threshold_offset.is_finite() { self.threshold_offset } else { 0.0 };
        Feedback {
            silenced_rules: names.take(MAX_SILENCED_RULES).collect(),
            threshold_offset: offset.clamp(-MAX_OFFSET, MAX_OFFSET),
        }
    }

    /// What it says to a shipper's table, written `at` a Unix second.
    pub(crate) fn row(&self, at: f64, now: u64) -> SidecarRow {
        let silenced = self.silenced_rules.iter().filter(|(_, until)| **until == 0 || now < **until);
        let silenced = SidecarRow::join(silenced.map(|(name, _)| name.as_str()));
        SidecarRow { at, silenced, offset: self.threshold_offset }
    }
}

impl Analyzer {
    /// As [`Analyzer::set_feedback`], and saved first: what cannot be saved is not taken.
    pub(crate) async fn keep_feedback(
        &self,
        change: impl FnOnce(&mut Feedback) -> Result<(), crate::operate::Refused>,
    ) -> Result<(), crate::operate::Refused> {
        let _saving = self.shared.saving_notes.lock().await;
        let mut feedback = self.shared.feedback().clone();
        feedback.forget_expired(self.shared.now_seconds());
        change(&mut feedback)?;
        let bug = |error: serde_json::Error| BackendError::bug(format!("feedback: {error}"));
        let rest = serde_json::to_value(&feedback).map_err(bug)?;
        let text = serde_json::to_string(&Saved { version: VERSION, rest }).map_err(bug)?;
        self.shared.state.set_note(NOTE, text).await?;
        self.set_feedback(feedback);
        Ok(())
    }
}

impl Shared {
    /// Whether an operator has silenced the rule, now.
    pub(crate) fn is_silenced(&self, rule: &str) -> bool {
        let now = self.now_seconds();
        self.feedback().silenced_rules.get(rule).is_some_and(|until| *until == 0 || now < *until)
    }

    pub(crate) fn feedback(&self) -> MutexGuard<'_, Feedback> {
        self.feedback.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Analyzer {
    /// Sets what holds for all templates from the next advice on: the first 1,000 rules, an offset within its range.
    pub fn set_feedback(&self, feedback: Feedback) {
        *self.shared.feedback() = feedback.bounded();
        self.shared.templates().change(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silenced(count: usize) -> Feedback {
        let rules = (0..count).map(|number| (format!("RULE_{number:05}"), 0)).collect();
        Feedback { silenced_rules: rules, ..Feedback::default() }
    }

    #[test]
    fn bounded_at_the_limit_one_over_and_ten_times() {
        for (given, kept) in [(1_000, 1_000), (1_001, 1_000), (10_000, 1_000)] {
            assert_eq!(silenced(given).bounded().silenced_rules.len(), kept);
        }
        let offset = |threshold_offset| {
            Feedback { threshold_offset, ..Feedback::default() }.bounded().threshold_offset
        };
        assert_eq!([offset(0.5), offset(0.51), offset(-5.0), offset(f32::NAN)], [0.5, 0.5, -0.5, 0.0]);
        let long = Feedback { silenced_rules: [("X".repeat(201), 0)].into(), ..Feedback::default() };
        assert!(long.bounded().silenced_rules.is_empty());
    }

    #[test]
    fn a_rule_is_silenced_until_its_second() {
        let rules = [("FOR_EVER".to_owned(), 0), ("FOR_NOW".to_owned(), 100)].into();
        let feedback = Feedback { silenced_rules: rules, threshold_offset: -0.1 };
        assert_eq!(feedback.row(0.0, 99).silenced, "\tFOR_EVER\tFOR_NOW\t");
        let row = SidecarRow { at: 1.5, silenced: "\tFOR_EVER\t".into(), offset: -0.1 };
        assert_eq!(feedback.row(1.5, 100), row);
    }
}
