//! The last things that were confirmed, and the last sequences that ended oddly, for people who ask what happened lately. Bounded in number and in bytes.

use std::{
    collections::VecDeque,
    sync::{Arc, MutexGuard, PoisonError},
};

use oddline_engine::{Level, TemplateId, Verdict};

use crate::{Shared, head};

/// Findings kept.
pub const MAX_FINDINGS: usize = 1_000;
/// Longest text kept of each, in bytes.
const MAX_TEXT_BYTES: usize = 1_024;

/// A confirmed verdict, or what is wrong with the end of a sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Unix seconds.
    pub at: u64,
    /// Where the record came from.
    pub source: Arc<str>,
    /// How bad.
    pub level: Level,
    /// The score.
    pub score: f32,
    /// The template's id.
    pub template_id: TemplateId,
    /// Its text, cut.
    pub template: Arc<str>,
    /// Why, cut.
    pub reason: Arc<str>,
    /// The rule that hit.
    pub rule: Option<Arc<str>>,
}

/// A ring of them.
#[derive(Debug, Default)]
pub(crate) struct Findings(VecDeque<Finding>);

impl Findings {
    fn add(&mut self, finding: Finding) {
        if self.0.len() >= MAX_FINDINGS {
            self.0.pop_front();
        }
        self.0.push_back(finding);
    }

    pub(crate) fn newest(&self, limit: usize) -> Vec<Finding> {
        self.0.iter().rev().take(limit).cloned().collect()
    }
}

impl Shared {
    pub(crate) fn findings_kept(&self) -> MutexGuard<'_, Findings> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keep_finding(&self, source: &Arc<str>, verdict: &Verdict) {
        let cut = |text: &str| -> Arc<str> { head(text, MAX_TEXT_BYTES).into() };
        let finding = Finding {
            at: self.now_seconds(),
            source: cut(source),
            level: verdict.level,
            score: verdict.score,
            template_id: verdict.template_id,
            template: cut(verdict.template.as_deref().unwrap_or_default()),
            reason: cut(verdict.reason.as_deref().unwrap_or_default()),
            rule: verdict.rule.as_ref().map(|rule| cut(&rule.name)),
        };
        self.findings_kept().add(finding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(at: u64) -> Finding {
        Finding {
            at,
            source: "app".into(),
            level: Level::Low,
            score: 0.5,
            template_id: TemplateId(at),
            template: "t".into(),
            reason: "r".into(),
            rule: None,
        }
    }

    #[test]
    fn the_newest_stay_at_the_limit_one_over_and_ten_times() {
        for count in [MAX_FINDINGS, MAX_FINDINGS + 1, 10 * MAX_FINDINGS] {
            let mut findings = Findings::default();
            (0..count as u64).for_each(|at| findings.add(finding(at)));
            let kept = findings.newest(usize::MAX);
            assert_eq!((kept.len(), kept[0].at), (MAX_FINDINGS, count as u64 - 1));
            assert_eq!(findings.newest(2).len(), 2);
        }
    }
}
