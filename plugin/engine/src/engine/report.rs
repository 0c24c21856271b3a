//! What an engine hands out besides verdicts: counts per template, and sequences that ended oddly. Must not know: when
//! it is asked, and where the answers travel.

use std::{cmp::Reverse, sync::Arc};

use super::{Engine, UnixNanos};
use crate::{
    advice::Class,
    score,
    summary::{Ending, FROM_PLUGIN, MAX_ENDINGS, MAX_SUMMARY_TEMPLATES, Summary, TemplateCount},
    verdict::{Level, TemplateId},
};

impl Engine {
    /// Counts per template since the last summary, the busiest first; what did not fit waits for the next one.
    pub fn take_summary(&mut self, now: UnixNanos) -> Summary {
        // Texts are copied of those that are told only: there may be a hundred times as many.
        let mut due: Vec<(Reverse<u32>, u64, TemplateId, u32)> = Vec::new();
        for (key, source) in &self.sources {
            let counted = source.miner.slots().filter(|(_, template)| template.since_summary > 0);
            due.extend(
                counted.map(|(slot, template)| (Reverse(template.since_summary), *key, template.id, slot)),
            );
        }
        if due.len() > MAX_SUMMARY_TEMPLATES {
            due.select_nth_unstable(MAX_SUMMARY_TEMPLATES);
            due.truncate(MAX_SUMMARY_TEMPLATES);
        }
        let mut counts: Vec<TemplateCount> = Vec::with_capacity(due.len());
        for (_, key, _, slot) in due {
            let Some(source) = self.sources.get_mut(&key) else { continue };
            let name = Arc::clone(&source.name);
            let Some(template) = source.miner.get_mut(slot) else { continue };
            counts.push(TemplateCount {
                id: template.id,
                text: template.text.to_string(),
                source: name.to_string(),
                count: u64::from(std::mem::take(&mut template.since_summary)),
                rule_hits: u64::from(std::mem::take(&mut template.rule_hits)),
            });
        }
        counts.sort_by(|left, right| {
            (right.count, &left.source, left.id).cmp(&(left.count, &right.source, right.id))
        });
        let time = u64::try_from(now.0 / 1_000_000_000).unwrap_or_default();
        let endings = self.take_endings(now);
        let counters = self.counters();
        let (node, aliases) = (self.settings.node().to_owned(), self.aliases.take_untold());
        Summary { kind: FROM_PLUGIN.to_owned(), time, counters, templates: counts, endings, node, aliases }
    }

    /// Keeps an odd ending until it is asked for, if it is flagged and there is room.
    #[cold]
    pub(super) fn tell(&mut self, ending: Ending, seconds: u64) {
        let row = self.advice.get(ending.template_id, seconds);
        if row.is_some_and(|row| row.class == Class::Exception) {
            return;
        }
        let score = score::calibrate(ending.score, self.settings.threshold, self.advice.threshold_offset);
        let level = Level::of(score);
        if level == Level::None {
            return;
        }
        self.counters.endings = self.counters.endings.saturating_add(1);
        if self.endings.len() >= MAX_ENDINGS {
            self.counters.endings_untold = self.counters.endings_untold.saturating_add(1);
            return;
        }
        self.endings.push(Ending { score, level, ..ending });
    }

    /// Sequences that were found to have ended oddly since the last call, the earliest found first. What is quiet for long
    /// enough by now is found too, whether or not records still come.
    pub fn take_endings(&mut self, now: UnixNanos) -> Vec<Ending> {
        // In an order that does not depend on how the map is laid out.
        let mut keys: Vec<u64> = self.sources.keys().copied().collect();
        keys.sort_unstable();
        let seconds = u64::try_from(now.0 / 1_000_000_000).unwrap_or_default();
        for key in keys {
            let found = self.sources.get_mut(&key).map(|source| source.end_all(now.0)).unwrap_or_default();
            found.into_iter().for_each(|ending| self.tell(ending, seconds));
        }
        std::mem::take(&mut self.endings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        detect::sequence::{MAX_ALL_FLOWS, MAX_ALL_PAIRS},
        options::Options,
        record::Record,
        rules::RuleSet,
        settings::Settings,
    };

    #[test]
    fn what_sequences_remember_is_bounded_over_all_sources_and_given_back() {
        let options = Options { max_sources: Some(40), ..Options::default() };
        let mut engine = Engine::new(Settings::new(&options).unwrap(), Arc::new(RuleSet::default()));
        let letters = |number: usize| -> String {
            let digits = number.to_string();
            digits.bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
        };
        let observe = |engine: &mut Engine, source: usize, number: usize, now: i64| {
            // Each line is a template of its own, and belongs to two flows of two kinds.
            let word = letters(number);
            let line = format!("{word}x y{word} z{word} job_{number:08x}f00 run_{number:08x}f00");
            let tag = format!("source{source}");
            engine.observe(&Record::from_line(tag.as_bytes(), line.as_bytes()), UnixNanos(now));
        };
        let mut most = (0, 0);
        for number in 0..40 * 1_900 {
            observe(&mut engine, number % 40, number / 40, number as i64);
            most = (most.0.max(engine.flows), most.1.max(engine.pairs));
        }
        assert_eq!(most, (MAX_ALL_FLOWS, MAX_ALL_PAIRS));
        let held = engine.sources.values().map(|source| source.flows());
        let held = held.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert_eq!((engine.flows, engine.pairs), held, "the sums are true");
        // A source that makes way for another gives back what it held.
        observe(&mut engine, 40, 0, 3_600_000_000_000 * 2);
        assert!(engine.flows < MAX_ALL_FLOWS && engine.pairs < MAX_ALL_PAIRS);
        let (before, sizes) = (engine.pairs, engine.snapshot().len());
        assert!(sizes < 24 << 20, "{sizes} bytes of state");
        engine.restore(&engine.snapshot()).unwrap();
        let pairs: usize = engine.sources.values().map(|source| source.flows().1).sum();
        assert_eq!((engine.flows, engine.pairs), (0, pairs), "flows are not kept over a restart");
        assert!((before / 2..=before).contains(&pairs), "habits are: {pairs} of {before}");
    }
}
