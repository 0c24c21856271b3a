//! Which templates become known without being taught, and how fast any one source may make it so (poisoning: whoever
//! can write a log could otherwise teach us that an attack is normal).

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use oddline_engine::{Class, TemplateId};

use crate::{feedback::MAX_NAME_BYTES, head, ports::TemplateState, settings::Settings};

/// Sources with an allowance of their own; the rest share that of `_other`.
const MAX_SOURCES: usize = 10_000;
/// Templates that wait to be embedded and made known.
const MAX_WAITING: usize = 1_000;
const HOUR: u64 = 3_600;

/// A template that has earned its place and waits to be embedded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Earned {
    pub(crate) id: TemplateId,
    pub(crate) text: Arc<str>,
}

/// Decides who becomes known.
#[derive(Debug)]
pub(crate) struct Earning {
    least_records: u64,
    least_seconds: u64,
    per_source_hour: u32,
    /// Templates made known in `hour`, by source; bounded in number and in bytes, for names come from records.
    spent: HashMap<Arc<str>, u32>,
    hour: u64,
    waiting: VecDeque<Earned>,
}

/// What became of a template that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not yet, or known already.
    NotYet,
    /// It waits to be embedded.
    Waits,
    /// Its source has used up this hour's allowance.
    Refused,
}

impl Earning {
    pub(crate) fn new(settings: &Settings) -> Self {
        Earning {
            least_records: settings.earn_records,
            least_seconds: settings.earn_seconds,
            per_source_hour: settings.earn_per_source_hour,
            spent: HashMap::new(),
            hour: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Looks at a template after its counts have grown.
    pub(crate) fn consider(&mut self, row: &TemplateState, source: &str, now: u64) -> Outcome {
        let known = row.class == Class::Normal && row.similarity.is_none() && row.expires.is_none();
        let often = row.seen >= self.least_records;
        let long = row.last_seen.saturating_sub(row.first_seen) >= self.least_seconds;
        let excepted = row.class == Class::Exception && row.expires.is_none_or(|expires| now < expires);
        if known || !often || !long || row.flagged_by_rule > 0 || excepted {
            return Outcome::NotYet;
        }
        if self.waiting.iter().any(|waiting| waiting.id == row.id) {
            return Outcome::Waits;
        }
        if self.waiting.len() >= MAX_WAITING || !self.spend(source, now) {
            return Outcome::Refused;
        }
        self.waiting.push_back(Earned { id: row.id, text: row.text.clone() });
        Outcome::Waits
    }

    /// The templates to embed next.
    pub(crate) fn take(&mut self, limit: usize) -> Vec<Earned> {
        self.waiting.drain(..limit.min(self.waiting.len())).collect()
    }

    /// They could not be embedded: later.
    pub(crate) fn put_back(&mut self, earned: Vec<Earned>) {
        earned.into_iter().rev().for_each(|earned| self.waiting.push_front(earned));
    }

    fn spend(&mut self, source: &str, now: u64) -> bool {
        if self.hour != now / HOUR {
            self.hour = now / HOUR;
            self.spent.clear();
        }
        // Cut names that meet share an allowance.
        let source = head(source, MAX_NAME_BYTES);
        let source =
            if self.spent.contains_key(source) || self.spent.len() < MAX_SOURCES { source } else { "_other" };
        let spent = self.spent.entry(source.into()).or_default();
        let allowed = *spent < self.per_source_hour;
        *spent += u32::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Options;

    fn earning(per_source_hour: u64) -> Earning {
        let options = Options {
            earn_records: Some(10),
            earn_seconds: Some(60),
            earn_per_source_hour: Some(per_source_hour),
            ..Options::default()
        };
        Earning::new(&Settings::new(&options).unwrap())
    }

    fn row(text: &str) -> TemplateState {
        TemplateState {
            id: TemplateId::of(text),
            text: text.into(),
            class: Class::Anomalous,
            score: 0.6,
            similarity: Some(0.2),
            nearest: Some("x".into()),
            seen: 10,
            first_seen: 1_000,
            last_seen: 1_060,
            flagged_by_rule: 0,
            expires: Some(0),
        }
    }

    #[test]
    fn often_and_long_enough_and_never_flagged() {
        let mut earning = earning(100);
        let mut check = |row: TemplateState| earning.consider(&row, "app", 1_060);
        assert_eq!(check(TemplateState { seen: 9, ..row("a") }), Outcome::NotYet);
        assert_eq!(check(TemplateState { last_seen: 1_059, ..row("a") }), Outcome::NotYet);
        assert_eq!(check(TemplateState { flagged_by_rule: 1, seen: 10_000, ..row("a") }), Outcome::NotYet);
        assert_eq!(check(row("a")), Outcome::Waits);
        assert_eq!(check(row("a")), Outcome::Waits);
        assert_eq!(earning.take(10), [Earned { id: TemplateId::of("a"), text: "a".into() }]);
        assert!(earning.take(10).is_empty());
    }

    #[test]
    fn one_source_moves_the_known_set_only_so_fast_and_no_other_pays_for_it() {
        let mut earning = earning(3);
        let outcomes: Vec<_> =
            (0..30).map(|n| earning.consider(&row(&format!("noisy {n}")), "noisy", 1_060)).collect();
        assert!(outcomes[..3].iter().all(|outcome| *outcome == Outcome::Waits));
        assert!(outcomes[3..].iter().all(|outcome| *outcome == Outcome::Refused));
        assert_eq!(earning.consider(&row("quiet"), "quiet", 1_060), Outcome::Waits);
        assert_eq!(earning.consider(&row("noisy 3"), "noisy", 1_060 + HOUR), Outcome::Waits);
    }

    #[test]
    fn sources_and_waiting_templates_are_bounded() {
        let mut earning = earning(100_000);
        for number in 0..MAX_WAITING * 10 {
            earning.consider(&row(&format!("t{number}")), &format!("s{number}"), 1_060);
        }
        assert_eq!(earning.waiting.len(), MAX_WAITING);
        for number in 0..MAX_SOURCES * 2 {
            earning.spend(&format!("source {number}"), 1_060);
        }
        assert_eq!(earning.spent.len(), MAX_SOURCES + 1);
    }

    #[test]
    fn names_of_sources_are_bounded_at_the_limit_one_over_and_ten_times() {
        let mut earning = earning(2);
        for (bytes, allowed) in [(200, true), (201, true), (2_000, false)] {
            assert_eq!(earning.spend(&"s".repeat(bytes), 1_060), allowed, "{bytes}: cut names share");
        }
        assert_eq!(earning.spent.keys().map(|name| name.len()).collect::<Vec<_>>(), [200]);
    }
}
