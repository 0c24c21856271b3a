//! Which source a record belongs to, and who makes room for new ones and for new templates. Must not know what is found in
//! their messages.

use std::{cmp::Reverse, collections::BTreeSet};

use super::Engine;
use crate::{
    record::Record,
    source::{Placed, Source},
};

/// A source that was not heard of for this long makes room for a new one.
const IDLE_NANOS: i64 = 3_600_000_000_000;

/// How many templates each source holds.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    total: usize,
    /// Ties go to the smaller key, so that every shell evicts the same.
    by_size: BTreeSet<(usize, Reverse<u64>)>,
}

impl Sizes {
    /// Templates of all sources.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// The key of the source that holds the most.
    fn largest(&self) -> Option<u64> {
        self.by_size.last().map(|(_, key)| key.0)
    }

    /// A source holds `now` templates, and held `before`.
    #[cold]
    pub(crate) fn change(&mut self, key: u64, before: usize, now: usize) {
        self.total = self.total.saturating_add(now).saturating_sub(before);
        self.by_size.remove(&(before, Reverse(key)));
        if now > 0 {
            self.by_size.insert((now, Reverse(key)));
        }
    }
}

impl Engine {
    /// The key of a record's source, which exists afterwards.
    pub(super) fn source_key(&mut self, record: &Record<'_>, now: i64) -> u64 {
        let mut key = twox_hash::XxHash3_64::oneshot(record.tag);
        for (index, label) in record.labels.iter().enumerate().filter(|(_, label)| !label.is_empty()) {
            key = twox_hash::XxHash3_64::oneshot_with_seed(key.wrapping_add(index as u64), label);
        }
        match self.sources.get(&key) {
            Some(source) if !source.is_fresh() => key,
            Some(_) => self.greet(key, record),
            None => {
                let key = self.new_source(key, record, now);
                self.greet(key, record)
            }
        }
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
        self.add_source(key, Source::new(name.into(), now));
        key
    }

    /// Finds which rules can concern a source, by its first record, restarts included: its name is cut and does not tell. All can
    /// where many share it.
    #[cold]
    fn greet(&mut self, key: u64, record: &Record<'_>) -> u64 {
        if key != Engine::other_key()
            && let Some(source) = self.sources.get_mut(&key)
        {
            let hint: Vec<&[u8]> =
                std::iter::once(record.tag).chain(record.labels.iter().map(|label| &**label)).collect();
            source.categories = self.settings.rule_categories.of(&hint.join(&b'\n'));
        }
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
            self.add_source(key, Source::new("_other".into(), now));
        }
        key
    }

    fn forget(&mut self, key: u64) {
        if let Some(source) = self.sources.remove(&key) {
            self.sizes.change(key, source.miner.len(), 0);
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
        } else if self.sizes.total() > self.settings.max_templates {
            self.sizes.largest()
        } else {
            None
        };
        if let Some(victim) = victim
            && let Some(source) = self.sources.get_mut(&victim)
        {
            let (templates, (_, pairs)) = (source.miner.len(), source.flows());
            if !source.evict() {
                return;
            }
            self.pairs = self.pairs.saturating_add(source.flows().1).saturating_sub(pairs);
            self.sizes.change(victim, templates, source.miner.len());
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
        assert_eq!(engine.full_until, 90 * 60_000_000_000, "strangers before that look through no sources");
    }

    #[test]
    fn past_the_limit_the_source_that_holds_the_most_makes_room() {
        let options =
            Options { max_templates: Some(10), max_templates_per_source: Some(10), ..Options::default() };
        let mut engine = Engine::new(Settings::new(&options).unwrap(), Arc::new(RuleSet::default()));
        let tags = [b"a", b"b", b"c"];
        let sizes = |engine: &Engine| {
            let of = |tag: &[u8; 1]| {
                engine.sources.get(&twox_hash::XxHash3_64::oneshot(tag)).map(|it| it.miner.len())
            };
            tags.map(|tag| of(tag).unwrap_or_default())
        };
        // Messages that have nothing in common, each with an id under which it is the only step.
        let send = |engine: &mut Engine, tag: &[u8; 1]| {
            let number = engine.counters().records;
            let word = |shift: u64| char::from(b'a' + (number / shift % 26) as u8);
            let text = format!("{0}{1}{0}{1} req-1a2b3c4d5e6f{number:06}", word(1), word(26));
            engine.observe(&Record::from_line(tag, text.as_bytes()), UnixNanos(number as i64));
        };
        (0..7).for_each(|_| send(&mut engine, tags[0]));
        (0..3).for_each(|_| send(&mut engine, tags[1]));
        assert_eq!((sizes(&engine), engine.pairs), ([7, 3, 0], 10));
        (0..2).for_each(|_| send(&mut engine, tags[2]));
        assert_eq!((sizes(&engine), engine.sizes.total(), engine.pairs), ([5, 3, 2], 10, 10));
        (0..100).for_each(|at| send(&mut engine, tags[at % 3]));
        let kept = sizes(&engine);
        assert!(kept.iter().sum::<usize>() == 10 && kept.iter().max() <= Some(&5), "{kept:?}");
        assert_eq!((engine.sizes.total(), engine.pairs), (10, 10), "what went took its steps with it");
        assert_eq!(engine.sizes.by_size.len(), 3);
        // What is restored is counted too, and a source that is forgotten is not.
        let saved = engine.snapshot();
        engine.restore(&saved).unwrap();
        assert_eq!((sizes(&engine), engine.sizes.total()), (kept, 10));
        engine.forget(twox_hash::XxHash3_64::oneshot(tags[0]));
        assert_eq!((engine.sizes.total(), engine.sizes.by_size.len()), (10 - kept[0], 2));
        send(&mut engine, tags[1]);
        assert_eq!(engine.sizes.total(), 11 - kept[0]);
    }
}
