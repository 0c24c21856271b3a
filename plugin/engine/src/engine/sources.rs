//! Which source a record belongs to, and who makes room for new ones and for new templates. Must not know what is found in
//! their messages.

use super::Engine;
use crate::{
    record::Record,
    rules::Categories,
    source::{Placed, Source},
};

/// A source that was not heard of for this long makes room for a new one.
const IDLE_NANOS: i64 = 3_600_000_000_000;

impl Engine {
    /// The key of a record's source, which exists afterwards.
    pub(super) fn source_key(&mut self, record: &Record<'_>, now: i64) -> u64 {
        let mut key = twox_hash::XxHash3_64::oneshot(record.tag);
        for (index, label) in record.labels.iter().enumerate().filter(|(_, label)| !label.is_empty()) {
            key = twox_hash::XxHash3_64::oneshot_with_seed(key.wrapping_add(index as u64), label);
        }
        if self.sources.contains_key(&key) { key } else { self.new_source(key, record, now) }
    }

    #[cold]
    fn new_source(&mut self, key: u64, record: &Record<'_>, now: i64) -> u64 {
        if self.sources.len() >= self.settings.max_sources {
            // Looking through all of them is for when one of them may be idle, not for every record of a stranger.
            if now < self.full_until {
                return self.other_source(now);
            }
            let oldest = self.sources.iter().map(|(key, source)| (source.last_seen, *key)).min();
            match oldest {
                Some((last_seen, idle)) if now.saturating_sub(last_seen) >= IDLE_NANOS => self.forget(idle),
                Some((last_seen, _)) => {
                    self.full_until = last_seen.saturating_add(IDLE_NANOS);
                    return self.other_source(now);
                }
                None => return self.other_source(now),
            }
        }
        let name = source_name(record);
        let hint: Vec<&[u8]> =
            std::iter::once(record.tag).chain(record.labels.iter().map(|label| &**label)).collect();
        let categories = self.settings.rule_categories.of(&hint.join(&b'\n'));
        self.add_source(key, Source::new(name.into(), categories, now));
        key
    }

    /// Adds a source of its own serial number.
    pub(crate) fn add_source(&mut self, key: u64, mut source: Source) {
        self.serials = self.serials.saturating_add(1);
        source.serial = self.serials;
        self.sources.insert(key, Box::new(source));
    }

    /// The key of the source that all past the limit share (it cannot be that of a tag: it is checked like any other hash).
    pub(crate) fn other_key() -> u64 {
        twox_hash::XxHash3_64::oneshot_with_seed(0x0dd1, b"_other")
    }

    fn other_source(&mut self, now: i64) -> u64 {
        let key = Engine::other_key();
        if !self.sources.contains_key(&key) {
            self.add_source(key, Source::new("_other".into(), Categories::ALL, now));
        }
        key
    }

    fn forget(&mut self, key: u64) {
        if let Some(source) = self.sources.remove(&key) {
            self.templates = self.templates.saturating_sub(source.miner.len());
            let (flows, pairs) = source.flows();
            self.flows = self.flows.saturating_sub(flows);
            self.pairs = self.pairs.saturating_sub(pairs);
            self.counters.evicted = self.counters.evicted.saturating_add(source.miner.len() as u64);
        }
    }

    /// Renamed templates get their aliases. Evicts after a new template: within its own source first, then from the source that holds the most.
    #[cold]
    pub(super) fn keep_within_limits(&mut self, key: u64, placed: Placed) {
        if placed.renamed
            && let Some(source) = self.sources.get(&key)
            && let Some(template) = source.miner.get(placed.slot)
        {
            self.aliases.renamed(source.miner.renamed(), template.id, &template.text, &self.advice);
        }
        if !placed.is_new {
            return;
        }
        let own = self.sources.get(&key).map_or(0, |source| source.miner.len());
        let victim = if own > self.settings.max_templates_per_source {
            Some(key)
        } else if self.templates > self.settings.max_templates {
            // Ties go to the smaller key, so that every shell evicts the same.
            self.sources
                .iter()
                .map(|(key, source)| (source.miner.len(), std::cmp::Reverse(*key)))
                .max()
                .map(|(_, key)| key.0)
        } else {
            None
        };
        if let Some(victim) = victim
            && let Some(source) = self.sources.get_mut(&victim)
            && source.miner.evict().is_some()
        {
            self.templates = self.templates.saturating_sub(1);
            self.counters.evicted = self.counters.evicted.saturating_add(1);
        }
    }
}

/// `tag|label|label`, lossy and cut: for people only.
fn source_name(record: &Record<'_>) -> String {
    let parts = std::iter::once(record.tag).chain(record.labels.iter().map(|label| &**label));
    let name: Vec<_> = parts.filter(|part| !part.is_empty()).map(String::from_utf8_lossy).collect();
    name.join("|").chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Options, Settings, UnixNanos, rules::RuleSet};

    #[test]
    fn a_stranger_gets_the_place_of_an_idle_source_as_soon_as_there_is_one() {
        let options = Options { max_sources: Some(3), ..Options::default() };
        let mut engine = Engine::new(Settings::new(&options).unwrap(), Arc::new(RuleSet::default()));
        let mut is_kept = |tag: &str, minute: i64| {
            let record = Record::from_line(tag.as_bytes(), b"disk full");
            engine.observe(&record, UnixNanos(minute * 60_000_000_000));
            engine.sources.contains_key(&twox_hash::XxHash3_64::oneshot(tag.as_bytes()))
        };
        assert!(["a", "b", "c"].iter().all(|tag| is_kept(tag, 0)));
        assert!(is_kept("a", 30) && is_kept("b", 31));
        assert_eq!(
            [1, 59, 60, 61].map(|minute| is_kept("x", minute)),
            [false, false, true, true],
            "c is idle"
        );
        assert_eq!(
            [62, 89, 90, 91].map(|minute| is_kept("y", minute)),
            [false, false, true, true],
            "a is idle"
        );
        // A clock that was set back finds nobody idle, and forgets nobody.
        assert_eq!([0, 1].map(|minute| is_kept("z", minute)), [false, false]);
        assert!(is_kept("b", 2) && is_kept("x", 2) && is_kept("y", 2));
    }
}
