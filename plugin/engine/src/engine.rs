//! One record through all steps: source, mask, template, statistics, rules, advice, verdict.

mod detour;
mod kind;
mod report;
mod sources;

use std::sync::Arc;

pub(crate) use self::sources::Sizes;
use self::{detour::Detour, kind::Kind};
use crate::{
    advice::{AdviceTable, Class, TemplateAdvice},
    aliases::Aliases,
    ansi,
    detect::{
        Signals,
        address::{Addresses, Standing},
        entropy::Table,
        sequence::{MAX_ALL_FLOWS, MAX_ALL_PAIRS},
        told::SELDOM,
    },
    mask::{Masked, Skeleton},
    memo::{Memo, Memos, Vacancy},
    memory::IdMap,
    pick::Picker,
    record::Record,
    rules::{RuleSet, Scratch, Subject},
    score::{self, Lost},
    settings::Settings,
    source::{Context, Placed, Source},
    summary::{Counters, Ending},
    verdict::{Flag, Level, RuleHit, TemplateId, Verdict},
};

/// Nanoseconds since the Unix epoch. Time is always an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixNanos(pub i64);

/// Strength of `new` from which an otherwise quiet record is worth the sidecar's look.
const WORTH_A_LOOK: f32 = 0.3;

/// The detector: a function of its settings, its state, the record and the time.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    picker: Arc<Picker>,
    rules: Arc<RuleSet>,
    kinds: Box<[Kind]>,
    model: Arc<str>,
    advice: Arc<AdviceTable>,
    pub(crate) sources: IdMap<Box<Source>>,
    pub(crate) sizes: Sizes,
    /// Before this time no source is idle, as far as is known.
    pub(crate) full_until: i64,
    /// Sources that there ever were.
    serials: u64,
    /// Flows remembered by all sources, and pairs of their kinds and steps.
    pub(crate) flows: usize,
    pub(crate) pairs: usize,
    /// Odd endings that nobody has asked for yet.
    endings: Vec<Ending>,
    pub(crate) aliases: Aliases,
    counters: Counters,
    detour: Detour,
    baseline: Option<i64>,
    tail: f64,
    table: Table,
    addresses: Addresses,
    /// The message without terminal colours.
    plain: Vec<u8>,
    skeleton: Skeleton,
    pub(crate) memos: Memos,
    masked: Masked,
    signals: Signals,
    scratch: Scratch,
}

impl Engine {
    /// An engine that has seen nothing.
    pub fn new(settings: Settings, rules: Arc<RuleSet>) -> Engine {
        Engine {
            picker: Arc::new(Picker::new(&settings, &rules)),
            kinds: Kind::of_all(&rules),
            model: model(&rules),
            rules,
            advice: Arc::default(),
            sources: IdMap::default(),
            sizes: Sizes::default(),
            full_until: i64::MIN,
            serials: 0,
            flows: 0,
            pairs: 0,
            endings: Vec::new(),
            aliases: Aliases::default(),
            counters: Counters::default(),
            detour: Detour::default(),
            baseline: None,
            tail: settings.tail(),
            table: Table::new(),
            addresses: Addresses::default(),
            plain: Vec::new(),
            skeleton: Skeleton::default(),
            memos: Memos::default(),
            masked: Masked::default(),
            signals: Signals::default(),
            scratch: Scratch::default(),
            settings,
        }
    }

    /// What it runs on.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Finds in a host's record what the engine looks at. Changes with the rules: ask for it again after
    /// [`Engine::set_rules`].
    pub fn picker(&self) -> Arc<Picker> {
        Arc::clone(&self.picker)
    }

    /// `oddline/<version> rules:<hash>`: what tags name as `model`.
    pub fn model(&self) -> &Arc<str> {
        &self.model
    }

    pub(crate) fn advice(&self) -> &Arc<AdviceTable> {
        &self.advice
    }

    /// The rules in force.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// Changes the rules; what was learned stays.
    pub fn set_rules(&mut self, rules: Arc<RuleSet>) {
        self.model = model(&rules);
        self.picker = Arc::new(Picker::new(&self.settings, &rules));
        self.kinds = Kind::of_all(&rules);
        self.rules = rules;
        self.memos.clear();
    }

    /// Changes the advice.
    pub fn set_advice(&mut self, advice: Arc<AdviceTable>) {
        self.aliases.reread(&advice);
        self.advice = advice;
    }

    /// Says whether the sidecar is there: `false` keeps questionable records in the stream, tagged `skipped`.
    pub fn set_detour(&mut self, open: bool) {
        self.detour.is_open = Some(open);
    }

    /// Whether the records that follow must stay where they are, detour or not: they belong to others around them.
    pub fn bar_detour(&mut self, barred: bool) {
        self.detour.is_barred = barred;
    }

    /// Declares that everything seen until `now` is what is normal: whatever appears later is `new` each time it comes.
    pub fn end_baseline(&mut self, now: UnixNanos) {
        self.baseline = Some(now.0);
    }

    /// What was done since the start.
    pub fn counters(&self) -> Counters {
        Counters {
            templates: self.sizes.total() as u64,
            sources: self.sources.len() as u64,
            rules: self.rules.len() as u64,
            ..self.counters
        }
    }

    /// For the shell's own counts: returned, forged, unread.
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// Judges one record and learns from it. Cannot fail; any bytes will do.
    pub fn observe(&mut self, record: &Record<'_>, now: UnixNanos) -> Verdict {
        self.observe_with(record, None, now)
    }

    /// As [`Engine::observe`], where the host has found a rule of its own that hits: the stronger of the two counts.
    pub fn observe_with(&mut self, record: &Record<'_>, also: Option<RuleHit>, now: UnixNanos) -> Verdict {
        self.counters.records = self.counters.records.saturating_add(1);
        let message = record.message.get(..self.settings.max_message_bytes).unwrap_or(&record.message);
        // Taken out for the call, because the plain text borrows it while the rest of the engine works.
        let mut buffer = std::mem::take(&mut self.plain);
        let verdict = self.observe_plain(record, &ansi::strip(message, &mut buffer), also, now);
        self.plain = buffer;
        verdict
    }

    fn observe_plain(
        &mut self,
        record: &Record<'_>,
        message: &[u8],
        also: Option<RuleHit>,
        now: UnixNanos,
    ) -> Verdict {
        self.signals.clear();
        let key = self.source_key(record, now.0);
        let Some(source) = self.sources.get_mut(&key) else { return Verdict::default() };
        let has_skeleton = self.skeleton.take(message);
        let (memo, vacancy) =
            if has_skeleton { self.memos.find(source.serial, &self.skeleton) } else { (None, None) };
        // Where this message is the exception, what is remembered stays.
        let fits = memo.is_none_or(|memo| self.masked.recall(&memo.masked, &self.skeleton, message));
        let vacancy = vacancy.filter(|_| fits);
        let memo = memo.filter(|memo| fits && source.miner.recognise(memo.slot, memo.id));
        if memo.is_none() {
            self.masked.mask(message);
        }
        let context = Context {
            settings: &self.settings,
            seeds: &self.advice.seeds,
            table: &self.table,
            tail: self.tail,
            now: now.0,
            record: self.counters.records,
            has_room: self.flows < MAX_ALL_FLOWS,
            may_learn: self.pairs < MAX_ALL_PAIRS,
            baseline: self.baseline,
        };
        let (templates, (flows, pairs)) = (source.miner.len(), source.flows());
        let placed = source.observe(
            &context,
            memo.map(|memo| memo.slot),
            &self.masked,
            message,
            record.severity,
            &mut self.signals,
        );
        if source.miner.len() != templates {
            self.sizes.change(key, templates, source.miner.len());
        }
        let now_known = source.flows();
        self.flows = self.flows.saturating_add(now_known.0).saturating_sub(flows);
        self.pairs = self.pairs.saturating_add(now_known.1).saturating_sub(pairs);
        let ending = if self.masked.ids().is_empty() { None } else { source.end_some(now.0) };

        let silenced = &self.advice.silenced_rules;
        let seconds = u64::try_from(now.0 / 1_000_000_000).unwrap_or_default();
        let is_silenced =
            |name: &str| silenced.get(name).is_some_and(|until| *until == 0 || seconds < *until);
        let subject = Subject { message, severity: placed.severity, fields: &record.fields };
        let known = memo.and_then(|memo| {
            memo.rules.iter().find(|known| self.rules.holds(known, message, &self.skeleton))
        });
        let was_searched = known.is_none();
        let known = known.map(|known| (known, &self.skeleton));
        let rule = self.rules.best_of(subject, source.categories, known, is_silenced, &mut self.scratch);
        let kind = |number: u32| self.kinds.get(number as usize).copied().unwrap_or_default();
        let rule = rule.map(|(number, hit)| (Some(number), kind(number), hit));
        let also = also
            .filter(|also| !is_silenced(&also.name))
            .map(|also| (None, Kind::of(&also, &self.rules), also));
        let rule = match (rule, also) {
            (Some(rule), Some(also)) if also.2.score > rule.2.score => Some(also),
            (rule, also) => rule.or(also),
        };
        let was_known = memo.is_some();
        let mut standing = Standing::default();
        if let Some((number, own, _)) = &rule {
            self.signals.flags.insert(Flag::Pattern);
            let time = (now.0, self.settings.window_nanos);
            // A refusal that is written as an error is one all the same.
            let is_wanted = |number: u32, name: &str| kind(number).family.counts() && !is_silenced(name);
            let under = number.filter(|_| !own.family.counts());
            let under =
                under.and_then(|number| self.rules.next_best(subject, number, is_wanted, &mut self.scratch));
            let family = under.map_or(*own, kind).family;
            standing =
                self.addresses.observe((key, &mut source.told), family, message, time, &mut self.signals);
        }
        let rule = rule.map(|(_, kind, hit)| (hit, kind));
        let verdict = self.judge((key, placed), (rule, standing), seconds, now.0);
        if let Some(source) = self.sources.get_mut(&key) {
            source.block.close(verdict.level > Level::None, placed.severity, message);
            source.levels.learn(placed.severity, source.records);
        }
        if let Some(vacancy) = vacancy.filter(|_| was_searched) {
            self.remember(vacancy, (key, placed.slot), message, was_known);
        }
        if placed.renamed || placed.is_new {
            self.keep_within_limits(key, placed);
        }
        if let Some(ending) = ending {
            self.tell(ending, seconds);
        }
        verdict
    }

    /// Remembers what was found of the message at hand for those of its skeleton, as far as it holds for all of them. Of a known one,
    /// that is what rules found, now and then.
    #[cold]
    fn remember(&mut self, vacancy: Vacancy, (key, slot): (u64, u32), message: &[u8], is_known: bool) {
        let Some(source) = self.sources.get(&key) else { return };
        let mut rules = || self.rules.keep(message, source.categories, &self.skeleton, &mut self.scratch);
        if is_known {
            if self.memos.searched(vacancy) {
                self.memos.add(vacancy, rules());
            }
            return;
        }
        let Some(template) = source.miner.get(slot) else { return };
        let memo = self
            .masked
            .keep(&self.skeleton)
            .map(|masked| Memo::new(vacancy, &self.skeleton, (slot, template.id), masked, rules()));
        self.memos.put(vacancy, memo);
    }

    fn judge(
        &mut self,
        (key, placed): (u64, Placed),
        (rule, standing): (Option<(RuleHit, Kind)>, Standing),
        seconds: u64,
        now: i64,
    ) -> Verdict {
        let Some(source) = self.sources.get_mut(&key) else { return Verdict::default() };
        let (block, levels) = (source.block, source.levels);
        let (rule, kind) = rule.map_or_else(Default::default, |(rule, kind)| (Some(rule), kind));
        let Some(template) = source.miner.get_mut(placed.slot) else { return Verdict::default() };
        let template_id = template.id;
        let is_habit = score::is_habit(template.count, now.saturating_sub(template.first_seen));
        if rule.as_ref().is_some_and(|rule| rule.score >= 2.0) {
            template.rule_hits = template.rule_hits.saturating_add(1);
        }
        let advice = &self.advice;
        let former = || advice.get(self.aliases.former(template_id)?, seconds);
        let row = advice.get(template_id, seconds).or_else(former);
        let quiet = |score| Verdict { score, template_id, ..Verdict::default() };
        let is_known = row.is_some_and(|row| row.class == Class::Normal && row.similarity.is_none());
        match row.map(|row| row.class) {
            Some(Class::Exception) => return quiet(0.0),
            // To be like a known message is enough where the known ones are a sample, and not where they are a baseline.
            Some(Class::Normal) if self.baseline.is_some() && !is_known => {}
            Some(Class::Normal) => self.signals.settle(),
            Some(Class::Anomalous) => {
                self.signals.settle();
                let words = row.map(semantic_words).unwrap_or_default();
                let strength = row.map_or(0.0, |row| row.score);
                self.signals.add(Flag::Semantic, strength, words);
            }
            None => {}
        }
        let standing = if is_known { Standing::Nobody } else { standing };
        let is_known = is_known || is_habit;
        let mut lost = Lost::default();
        if kind.is_level_only {
            lost.level = levels.lost(placed.severity);
        }
        if score::repeats(&self.signals, rule.as_ref()) {
            let name = rule.as_ref().map_or(&b""[..], |rule| rule.name.as_bytes());
            let told = template.told.get_or_insert_default();
            lost.told =
                told.again(twox_hash::XxHash3_64::oneshot(name), SELDOM, now, self.settings.window_nanos);
        }
        let mut raw = score::raw(&self.signals, rule.as_ref(), is_known, lost);
        if let Some(rule) = &rule {
            raw = score::of_address(
                raw,
                standing,
                score::is_refused_only(rule, kind.is_level_only, kind.family.is_refusal),
            );
        }
        if raw < score::FLAGGED && block.judge(&mut self.signals) {
            // Shown with it, and no graver than it is by itself.
            raw = score::FLAGGED;
        }
        let score = score::calibrate(raw, self.settings.threshold, self.advice.threshold_offset);
        let level = Level::of(score);
        let curious = self.signals.strength_of(Flag::New) >= WORTH_A_LOOK;
        if level == Level::None && !(curious && row.is_none()) {
            return Verdict { rule, flags: self.signals.flags, ..quiet(score) };
        }
        let (status, note) = self.detour.way(&self.settings, &mut self.counters, level, row, now);
        let Some(status) = status else {
            return Verdict { rule, flags: self.signals.flags, ..quiet(score) };
        };
        if level > Level::None {
            self.counters.flagged = self.counters.flagged.saturating_add(1);
        }
        let reason = self.reason(rule.as_ref(), note);
        let text = self.sources.get(&key).and_then(|source| source.miner.get(placed.slot));
        Verdict {
            score,
            level,
            template_id,
            status: Some(status),
            flags: self.signals.flags,
            rule,
            template: text.map(|template| Arc::clone(&template.text)),
            similarity: row.and_then(|row| row.similarity),
            nearest: row.and_then(|row| row.nearest.as_deref()).map(Arc::from),
            expected: self.signals.expected,
            actual: self.signals.actual,
            reason: Some(reason),
        }
    }

    /// Why the record at hand is flagged, in words.
    #[cold]
    fn reason(&self, rule: Option<&RuleHit>, note: Option<&str>) -> String {
        let description = rule.and_then(|rule| self.rules.description(rule));
        let mut reason = score::reason(&self.signals, rule, description);
        if let Some(note) = note {
            reason.push_str("; ");
            reason.push_str(note);
        }
        reason
    }

    /// The id that a template has now, if it generalised since.
    pub fn current_id(&self, id: TemplateId) -> TemplateId {
        self.aliases.current(id)
    }
}

fn model(rules: &RuleSet) -> Arc<str> {
    format!("oddline/{} rules:{:08x}", env!("CARGO_PKG_VERSION"), rules.hash() >> 32).into()
}

fn semantic_words(row: &TemplateAdvice) -> String {
    let nearest: String = row.nearest.iter().flat_map(|text| text.chars()).take(80).collect();
    match row.similarity {
        Some(similarity) if !nearest.is_empty() => {
            format!("unlike anything known (nearest {similarity:.2}: \"{nearest}\")")
        }
        _ => "unlike anything known".to_owned(),
    }
}
