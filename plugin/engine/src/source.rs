//! Everything that is remembered about one source: its templates and its own usual behaviour.

use std::sync::Arc;

use crate::{
    detect::{
        Signals,
        block::Block,
        entropy::{Entropy, Table},
        error_rate::ErrorRate,
        levels::Levels,
        novelty::{self, Novelty},
        plain,
        rate::{Odd, Rate},
        repeat::Run,
        sequence::{self, OddFlow, Sequences},
        told::Told,
        value::{Outlier, Values},
    },
    mask::Masked,
    record::Severity,
    rules::Categories,
    settings::Settings,
    summary::Ending,
    template::{Miner, Placement, Seeds},
    verdict::{Flag, Level},
};

/// Times a template must have been seen before its numbers are worth a sketch.
const VALUES_FROM: u64 = 8;

/// One tag with its labels: statistics never cross its border.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: Arc<str>,
    /// Another one for each source that an engine ever had: one that is forgotten and comes again has another one.
    pub(crate) serial: u64,
    /// Which rules can concern it: all until its first record, restarts included.
    pub(crate) categories: Categories,
    pub(crate) first_seen: i64,
    pub(crate) last_seen: i64,
    pub(crate) records: u64,
    pub(crate) miner: Miner,
    pub(crate) rate: Rate,
    pub(crate) errors: ErrorRate,
    pub(crate) levels: Levels,
    pub(crate) entropy: Entropy,
    pub(crate) novelty: Novelty,
    run: Run,
    pub(crate) block: Block,
    /// Of addresses that tried too often.
    pub(crate) told: Told,
    /// Of sources whose messages carry ids.
    pub(crate) sequences: Option<Box<Sequences>>,
    window: i64,
    /// When it came back after a window without a record, or a restart: what was not seen since did not stay away alone.
    resumed: i64,
}

/// What the statistics need besides the source itself.
#[derive(Debug)]
pub(crate) struct Context<'c> {
    pub(crate) settings: &'c Settings,
    pub(crate) seeds: &'c Seeds,
    pub(crate) table: &'c Table,
    /// Tail probability from which a count is odd.
    pub(crate) tail: f64,
    pub(crate) now: i64,
    /// Number of the record.
    pub(crate) record: u64,
    /// Whether the engine as a whole may remember more flows, and more of what they have in common.
    pub(crate) has_room: bool,
    pub(crate) may_learn: bool,
    /// Until when everything was known as normal; what appeared later stays new.
    pub(crate) baseline: Option<i64>,
}

/// The template a record was placed in, and whether that is worth knowing elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub(crate) slot: u32,
    pub(crate) is_new: bool,
    /// The template generalised on this record.
    pub(crate) renamed: bool,
    pub(crate) severity: Option<Severity>,
}

impl Source {
    pub(crate) fn new(name: Arc<str>, now: i64) -> Source {
        Source {
            name,
            serial: 0,
            categories: Categories::ALL,
            first_seen: now,
            last_seen: now,
            records: 0,
            miner: Miner::default(),
            rate: Rate::default(),
            errors: ErrorRate::default(),
            levels: Levels::default(),
            entropy: Entropy::default(),
            novelty: Novelty::default(),
            run: Run::default(),
            block: Block::default(),
            told: Told::default(),
            sequences: None,
            window: i64::MIN,
            resumed: i64::MIN,
        }
    }

    /// Flows that are remembered, and pairs of their kinds and steps.
    pub(crate) fn flows(&self) -> (usize, usize) {
        self.sequences.as_ref().map_or((0, 0), |sequences| (sequences.len(), sequences.pairs()))
    }

    /// Whether no record of it has come yet, or since a restart.
    pub(crate) fn is_fresh(&self) -> bool {
        self.window == i64::MIN
    }

    /// Whether the source has been watched long enough for `new` to mean something.
    fn is_warm(&self, context: &Context<'_>) -> bool {
        self.records >= context.settings.warmup_records
            && context.now.saturating_sub(self.first_seen) >= context.settings.warmup_nanos
    }

    /// The number of the window in which it is now; most often that of the record before, which spares a division.
    fn window_of(&self, context: &Context<'_>) -> i64 {
        let nanos = context.settings.window_nanos;
        // The product is a time, unless the source is fresh; to ask whether it overflows is a call in WebAssembly.
        let passed = context.now.wrapping_sub(self.window.wrapping_mul(nanos));
        let is_same = (0..nanos).contains(&passed) && !self.is_fresh();
        if is_same { self.window } else { context.now.checked_div(nanos).unwrap_or_default() }
    }

    /// Takes one record: finds its template, if that is not known, learns from it, and collects what the statistics find odd.
    pub(crate) fn observe(
        &mut self,
        context: &Context<'_>,
        known: Option<u32>,
        masked: &Masked,
        message: &[u8],
        severity: Option<Severity>,
        signals: &mut Signals,
    ) -> Placed {
        let window = self.window_of(context);
        if self.is_fresh() {
            self.window = window;
            self.rate.begin(window);
            if context.now.saturating_sub(self.last_seen) > context.settings.window_nanos {
                self.resumed = context.now;
            }
            // Saved under a clock that ran ahead, it would be too young for anything until then.
            self.first_seen = self.first_seen.min(context.now);
        }
        if window > self.window {
            self.close_windows(context, window, signals);
        } else if window < self.window {
            // The clock was set back: what began later than now would not be old enough for anything until then.
            self.rate.roll(window);
            self.window = self.rate.window();
            self.first_seen = self.first_seen.min(context.now);
            self.resumed = self.resumed.min(context.now);
        }
        let warm = self.is_warm(context);
        let placement = match known {
            Some(slot) => Placement::known(slot),
            None => self.miner.place(&masked.text, context.settings.similarity, context.seeds, context.now),
        };
        if placement.renamed
            && let Some(sequences) = &mut self.sequences
        {
            self.miner.taken_in().iter().for_each(|slot| sequences.join(*slot, placement.slot));
        }
        let share = self.novelty.learn(placement.is_new, self.records);
        let template = self.miner.get(placement.slot);
        let appeared = template.map_or(context.now, |template| template.first_seen);
        let severity = severity.or(template.and_then(|template| template.severity));
        if !masked.says_something() {
            // A rule of dashes or a lone number is no message; `new` would say nothing about it.
        } else if context.baseline.is_some_and(|end| appeared > end) {
            novelty::not_in_baseline(signals, placement.nearest, severity);
        } else if placement.is_new && warm {
            novelty::new(signals, share, placement.nearest, severity);
        }
        if let Some(filled) = placement.filled_before {
            novelty::emptied(signals, self.miner.emptied(), filled);
        }
        self.records = self.records.saturating_add(1);
        self.last_seen = context.now;

        let windows = self.rate.windows;
        if let Some(template) = self.miner.get_mut(placement.slot) {
            if placement.is_new {
                template.rate = Rate::since(window, windows);
            } else if warm && novelty::may_be_rare(template.count) {
                let gap = context.now.saturating_sub(template.last_seen);
                let gap = gap.checked_div(context.settings.window_nanos).unwrap_or_default();
                novelty::rare(signals, template.count, gap);
            }
            template.rate.roll(window);
            let is_first = template.rate.is_first();
            if let Some(odd) = template.rate.burst(context.tail) {
                tell_burst(&odd, context.settings.window_nanos, is_first.then_some(severity), signals);
            }
            if !masked.values().is_empty() && template.count >= VALUES_FROM {
                let values = template.values.get_or_insert_with(|| Box::new(Values::default()));
                if let Some(outlier) = values.observe(masked.values()) {
                    tell_value(&outlier, signals);
                }
            }
            template.count = template.count.saturating_add(1);
            template.first_seen = template.first_seen.min(context.now);
            template.last_seen = context.now;
            template.since_summary = template.since_summary.saturating_add(1);

            let ended = self.run.observe(u64::from(placement.slot));
            self.run.judge(template.usual_run, self.records, message, signals);
            if let Some((slot, length)) = ended
                && let Some(ended) = self.miner.get_mut(slot as u32)
            {
                ended.usual_run = ended.usual_run.max(length);
            }
        }
        if !masked.ids().is_empty() {
            let sequences = self.sequences.get_or_insert_default();
            let line = sequence::Line {
                message,
                ids: masked.ids(),
                slot: placement.slot,
                is_new: placement.is_new,
                record: context.record,
                now: context.now,
                has_room: context.has_room,
                may_learn: context.may_learn,
            };
            sequences.observe(&line, signals);
        }
        self.block.observe(message, severity);
        let number = (self.records, known.is_some());
        self.entropy.observe(context.table, message, number, context.settings.sigma, signals);
        self.errors.observe(severity, context.tail, signals);
        self.rate.burst(0.0);
        Placed { slot: placement.slot, is_new: placement.is_new, renamed: placement.renamed, severity }
    }

    /// Forgets the template that was not seen for longest; says whether there was one.
    pub(crate) fn evict(&mut self) -> bool {
        let Some(slot) = self.miner.evict() else { return false };
        if let Some(sequences) = &mut self.sequences {
            sequences.forget(slot);
        }
        true
    }

    /// Looks at a few flows more for their ending; gives one that ended oddly.
    pub(crate) fn end_some(&mut self, now: i64) -> Option<Ending> {
        let odd = self.sequences.as_mut()?.end_some(now)?;
        self.ending(&odd)
    }

    /// Looks at all flows; gives those that ended oddly.
    pub(crate) fn end_all(&mut self, now: i64) -> Vec<Ending> {
        let odd: Vec<_> = self.sequences.iter_mut().flat_map(|sequences| sequences.end_all(now)).collect();
        odd.iter().filter_map(|odd| self.ending(odd)).collect()
    }

    /// An odd ending in words; `None` if its last step is not known any more.
    #[cold]
    fn ending(&self, odd: &OddFlow) -> Option<Ending> {
        let last = self.miner.get(odd.last)?;
        let (missing, given) = odd.missing();
        let missing = self.miner.get(missing)?;
        let short = |text: &str| -> String { text.chars().take(120).collect() };
        let given = given.and_then(|given| self.miner.get(given)).map(|given| short(&given.text));
        Some(Ending {
            source: self.name.to_string(),
            id: odd.id.clone(),
            time: odd.seen,
            template_id: last.id,
            template: last.text.to_string(),
            score: sequence::STRENGTH,
            level: Level::None,
            reason: odd.words(&short(&last.text), &short(&missing.text), given.as_deref()),
            record: odd.record,
        })
    }

    /// Closes windows: this is when it shows that a steady message stayed away.
    #[cold]
    fn close_windows(&mut self, context: &Context<'_>, window: i64, signals: &mut Signals) {
        let total = self.rate.pending(window).unwrap_or_default();
        // If the source as a whole went quiet, no single message did (that is silence, which is seen from outside).
        let lively = f64::from(total) >= 0.5 * f64::from(self.rate.mean);
        if window.saturating_sub(self.window) > 1 {
            self.resumed = context.now;
        } else if lively && self.rate.windows > 0 {
            let resumed = self.resumed;
            let odd = self.miner.values_mut().filter(|template| template.last_seen >= resumed);
            let odd = odd.filter_map(|template| {
                let count = template.rate.pending(window)?;
                if template.is_missing && count == 0 {
                    return None;
                }
                let Some(odd) = template.rate.drop(count, context.tail) else {
                    template.is_missing = false;
                    return None;
                };
                // It is told once, and what stopped with it is told with the most frequent of them.
                let is_news = !std::mem::replace(&mut template.is_missing, true);
                is_news.then(|| (odd, Arc::clone(&template.text)))
            });
            if let Some((odd, text)) = odd.max_by(|left, right| left.0.expected.total_cmp(&right.0.expected))
            {
                let minute = 60e9 / context.settings.window_nanos.max(1) as f64;
                let (expected, actual) = (odd.expected * minute, odd.actual * minute);
                let text: String = text.chars().take(80).collect();
                let words = format!(
                    "missing before this record: \"{text}\" came {} times a minute, usually {}",
                    plain(actual),
                    plain(expected)
                );
                signals.add_measured(Flag::Drop, 0.55, expected, actual, words);
            }
        }
        self.rate.roll(window);
        self.errors.roll();
        self.window = window;
    }
}

/// `first`: the severity of what burst, if it never came before.
#[cold]
fn tell_burst(odd: &Odd, window_nanos: i64, first: Option<Option<Severity>>, signals: &mut Signals) {
    let minute = 60e9 / window_nanos.max(1) as f64;
    let (expected, actual) = (odd.expected * minute, odd.actual * minute);
    // Twenty times the usual is medium; a handful where next to nothing is usual is not.
    let times = odd.actual / odd.expected.max(2.0);
    let strength = (0.5 + 0.115 * times.log10()).clamp(0.5, 0.75) as f32;
    let strength = first.map_or(strength, |severity| novelty::first_burst(strength, severity));
    let words = format!("burst: {} a minute, usually at most {}", plain(actual), plain(expected));
    signals.add_measured(Flag::Burst, strength, expected, actual, words);
}

#[cold]
fn tell_value(outlier: &Outlier, signals: &mut Signals) {
    let strength = (0.5 + 0.03 * outlier.octaves as f32).min(0.75);
    let words = format!("value {} where at most {} is usual", plain(outlier.value), plain(outlier.largest));
    signals.add_measured(Flag::Value, strength, outlier.largest, outlier.value, words);
}
