//! What operators have said about rules and scores in general: part of the advice for every plugin and table. Bounded;
//! whoever sets it keeps it.

use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError},
};

use oddline_engine::advice::row::RulesRow;

use crate::{Analyzer, Shared};

/// Most rules that are silenced at a time.
pub const MAX_SILENCED_RULES: usize = 1_000;
/// Longest name of a silenced rule, in bytes.
const MAX_NAME_BYTES: usize = 200;
/// How far feedback may move scores.
const MAX_OFFSET: f32 = 0.5;

/// Feedback that is not about one template.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feedback {
    /// Rules that are silenced, with the Unix second until which (0: for ever).
    pub silenced_rules: BTreeMap<String, u64>,
    /// Added to every score before the level is read, -0.5..=0.5.
    pub threshold_offset: f32,
}

impl Feedback {
    fn bounded(self) -> Feedback {
        let names = self.silenced_rules.into_iter().filter(|(name, _)| name.len() <= MAX_NAME_BYTES);
        let offset = if self.threshold_offset.is_finite() { self.threshold_offset } else { 0.0 };
        Feedback {
            silenced_rules: names.take(MAX_SILENCED_RULES).collect(),
            threshold_offset: offset.clamp(-MAX_OFFSET, MAX_OFFSET),
        }
    }

    pub(crate) fn row(&self, now: u64) -> RulesRow {
        let silenced = self.silenced_rules.iter().filter(|(_, until)| **until == 0 || now < **until);
        RulesRow { silenced: silenced.map(|(name, _)| name.clone()).collect(), offset: self.threshold_offset }
    }
}

impl Shared {
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
        assert_eq!(feedback.row(99).silenced, ["FOR_EVER", "FOR_NOW"]);
        assert_eq!(feedback.row(100), RulesRow { silenced: vec!["FOR_EVER".into()], offset: -0.1 });
    }
}
