//! What the analysis counts. Business code says what happened in one line; `serve` exports every figure under its name.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use oddline_engine::{Ending, Status};

use crate::{feedback::MAX_NAME_BYTES, head};

/// Upper bounds of the latency histogram, in seconds.
pub const LATENCY_BOUNDS: [f64; 12] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0];

/// Most rules that are counted by name; the rest is `_other`.
const MAX_RULE_SERIES: usize = 1_999;

/// Why a record was given back unjudged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipCause {
    /// Its deadline passed.
    Deadline,
    /// The queue was full.
    Overload,
    /// The embedder failed.
    Embedder,
    /// The vector index failed.
    Index,
    /// The sidecar was stopping.
    Stopped,
    /// The record's source had its share of the queue already.
    Share,
}

/// One figure: its name, what it means, and its value now.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Metric name without the `oddline_` prefix, e.g. `records_received`.
    pub name: Cow<'static, str>,
    /// What it counts.
    pub help: &'static str,
    /// One label, if the figure is split by it.
    pub label: Option<(&'static str, String)>,
    /// Whether it only grows.
    pub counter: bool,
    /// Its value.
    pub value: u64,
}

/// Counters and one histogram; all plain atomics.
#[derive(Debug, Default)]
pub struct Events {
    received: AtomicU64,
    cached: AtomicU64,
    joined: AtomicU64,
    confirmed: AtomicU64,
    cleared: AtomicU64,
    skipped: [AtomicU64; 6],
    embedded: AtomicU64,
    looked_up: AtomicU64,
    taught: AtomicU64,
    earned: AtomicU64,
    earn_refused: AtomicU64,
    summaries: AtomicU64,
    endings: AtomicU64,
    state_errors: AtomicU64,
    latency: [AtomicU64; LATENCY_BOUNDS.len() + 1],
    latency_micros: AtomicU64,
    /// Held for one look-up. Names come with records, so they are bounded, in number and in bytes.
    rule_hits: Mutex<BTreeMap<Arc<str>, u64>>,
}

impl Events {
    pub(crate) fn record_received(&self) {
        self.received.fetch_add(1, Relaxed);
    }

    pub(crate) fn answered_from_memory(&self) {
        self.cached.fetch_add(1, Relaxed);
    }

    pub(crate) fn joined_a_waiting_template(&self) {
        self.joined.fetch_add(1, Relaxed);
    }

    pub(crate) fn record_judged(&self, status: Option<Status>) {
        match status {
            Some(Status::Confirmed) => self.confirmed.fetch_add(1, Relaxed),
            Some(Status::Cleared) => self.cleared.fetch_add(1, Relaxed),
            _ => 0,
        };
    }

    pub(crate) fn record_skipped(&self, cause: SkipCause) {
        self.skipped[cause as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn templates_embedded(&self, count: usize) {
        self.embedded.fetch_add(count as u64, Relaxed);
    }

    pub(crate) fn templates_looked_up(&self, count: usize) {
        self.looked_up.fetch_add(count as u64, Relaxed);
    }

    pub(crate) fn templates_taught(&self, count: usize) {
        self.taught.fetch_add(count as u64, Relaxed);
    }

    pub(crate) fn templates_earned(&self, count: usize) {
        self.earned.fetch_add(count as u64, Relaxed);
    }

    pub(crate) fn earning_refused(&self) {
        self.earn_refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn summary_received(&self) {
        self.summaries.fetch_add(1, Relaxed);
    }

    /// Sequences that ended oddly: no record of theirs can say so any more, so it is said here.
    pub(crate) fn sequences_ended(&self, endings: &[Ending]) {
        self.endings.fetch_add(endings.len() as u64, Relaxed);
        for Ending { source, level, reason, .. } in endings {
            // Escaped: names and templates come from logs.
            tracing::info!(?source, level = level.as_str(), ?reason, "a sequence ended oddly");
        }
    }

    pub(crate) fn rule_hit(&self, rule: &Arc<str>) {
        let mut hits = self.rule_hits.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = hits.len() >= MAX_RULE_SERIES;
        let name = head(rule, MAX_NAME_BYTES);
        match hits.get_mut(name) {
            Some(count) => *count += 1,
            None if is_full => *hits.entry("_other".into()).or_default() += 1,
            None => {
                let name = if name.len() < rule.len() { name.into() } else { rule.clone() };
                hits.insert(name, 1);
            }
        }
    }

    pub(crate) fn state_not_saved(&self, error: &crate::ports::BackendError) {
        if self.state_errors.fetch_add(1, Relaxed).is_power_of_two() {
            tracing::warn!(%error, "state is not saved; verdicts go on, and saving is tried again");
        }
    }

    pub(crate) fn answered_after(&self, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        let bucket = LATENCY_BOUNDS.partition_point(|bound| *bound < seconds);
        self.latency[bucket].fetch_add(1, Relaxed);
        self.latency_micros.fetch_add(elapsed.as_micros().try_into().unwrap_or(u64::MAX), Relaxed);
    }

    /// Seconds spent in all, and records per bucket of [`LATENCY_BOUNDS`] (the last one: above all bounds).
    pub fn latency(&self) -> (f64, [u64; LATENCY_BOUNDS.len() + 1]) {
        (
            self.latency_micros.load(Relaxed) as f64 / 1e6,
            std::array::from_fn(|at| self.latency[at].load(Relaxed)),
        )
    }

    /// Records given back unjudged for this cause.
    pub fn skipped(&self, cause: SkipCause) -> u64 {
        self.skipped[cause as usize].load(Relaxed)
    }

    /// All counters.
    pub fn figures(&self) -> Vec<Figure> {
        let plain = |name: &'static str, help, value: &AtomicU64| Figure {
            name: name.into(),
            help,
            label: None,
            counter: true,
            value: value.load(Relaxed),
        };
        let mut figures = vec![
            plain("records_received", "Questionable records that came in", &self.received),
            plain("records_cached", "Records whose template already had a standing", &self.cached),
            plain("records_joined", "Records that waited for an answer already under way", &self.joined),
            plain("records_confirmed", "Records judged anomalous", &self.confirmed),
            plain("records_cleared", "Records judged normal", &self.cleared),
            plain("templates_embedded", "Templates turned into a vector", &self.embedded),
            plain("templates_looked_up", "Templates compared with the known ones", &self.looked_up),
            plain("templates_taught", "Templates an operator taught", &self.taught),
            plain("templates_earned", "Templates that became known by being seen often", &self.earned),
            plain(
                "templates_earn_refused",
                "Templates held back by the hourly cap of their source",
                &self.earn_refused,
            ),
            plain("summaries_received", "Summaries from plugins", &self.summaries),
            plain("sequences_ended", "Sequences of records with one id that ended oddly", &self.endings),
            plain("state_errors", "Failed attempts to save state", &self.state_errors),
        ];
        let causes = [
            (SkipCause::Deadline, "deadline"),
            (SkipCause::Overload, "overload"),
            (SkipCause::Embedder, "embedder"),
            (SkipCause::Index, "index"),
            (SkipCause::Stopped, "stopped"),
            (SkipCause::Share, "share"),
        ];
        figures.extend(causes.map(|(cause, word)| Figure {
            label: Some(("cause", word.to_owned())),
            ..plain("records_skipped", "Records given back unjudged", &self.skipped[cause as usize])
        }));
        let hits = self.rule_hits.lock().unwrap_or_else(PoisonError::into_inner);
        figures.extend(hits.iter().map(|(rule, count)| Figure {
            name: "rule_hits".into(),
            help: "Records judged here on which the rule hit",
            label: Some(("rule", rule.to_string())),
            counter: true,
            value: *count,
        }));
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rules_are_bounded_at_the_limit_one_over_and_ten_times() {
        let events = Events::default();
        for bytes in [200, 201, 2_000] {
            events.rule_hit(&"r".repeat(bytes).into());
        }
        let hits = events.rule_hits.lock().unwrap();
        let hits: Vec<_> = hits.iter().map(|(rule, count)| (rule.len(), *count)).collect();
        assert_eq!(hits, [(200, 3)], "cut names that meet are added up");
    }
}
