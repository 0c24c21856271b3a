//! The whole judgement in one process, for `scan` and `check`: the engine as a plugin runs it, the analysis as the
//! sidecar runs it, and between them a function call instead of a network.
//!
//! Takes records in order, gives final verdicts. Time comes with the records, or stands at the beginning of the lines, or
//! is counted where nothing says when a line came: one millisecond a line. The analysis lives in the same time.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use anyhow::Context;
use oddline_analyze::{
    Analyzer, Ports,
    ports::{Analysis, Clock, Conditions, Embedder, Received, StateStore},
};
use oddline_backends::{
    check::Checked, embedded_index::EmbeddedIndex, sqlite::Sqlite, static_model::StaticModel,
};
use oddline_engine::{
    AdviceTable, Engine, Level, Options, Record, RuleHit, Settings, Status, UnixNanos, Verdict, mask::Masked,
    rules::RuleSet,
};
use tokio::time::Instant;

use super::{lines::Entry, time::LineClock};

/// Lines judged together: their questionable templates share one batch.
pub const CHUNK: usize = 1_000;
/// All lines are one source: a baseline and the file scanned against it must share their statistics.
const TAG: &[u8] = b"scan";

/// Options for judging files. A file has no time to warm up: with a baseline everything counts from the first line,
/// without one after 300 lines.
pub fn options(baseline: bool) -> Options {
    Options {
        warmup_records: baseline.then_some(0),
        warmup_seconds: Some(0),
        divert_per_second: Some(100_000),
        max_templates_per_source: Some(100_000),
        ..Options::default()
    }
}

/// A record, and when it came if that is known.
#[derive(Clone, Debug)]
pub struct Timed<'a> {
    /// What came.
    pub record: Record<'a>,
    /// The line it was made of.
    pub line: &'a [u8],
    /// When; `None`: at the time that the line begins with, or else a millisecond after the one before.
    pub at: Option<UnixNanos>,
}

impl<'a> Timed<'a> {
    /// A line of a file.
    pub fn line(line: &'a [u8]) -> Timed<'a> {
        Timed { record: Record::from_line(TAG, line), line, at: None }
    }
}

/// What shows only after a record was judged: its sequence ended there, and should not have.
#[derive(Clone, Debug)]
pub struct Late {
    /// The record: its place among all that were judged, from 0.
    pub at: u64,
    /// What its verdict would have been.
    pub verdict: Verdict,
}

/// The stream's own time, for the analysis.
#[derive(Debug, Default)]
struct StreamClock(AtomicI64);

impl Clock for StreamClock {
    fn unix_nanos(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Engine and analysis, joined.
#[derive(Debug)]
pub struct Offline {
    engine: Engine,
    analyzer: Arc<Analyzer>,
    time: LineClock,
    clock: Arc<StreamClock>,
    has_baseline: bool,
    /// Records that were learned and not judged.
    learned: u64,
    /// Rules that the engine cannot run.
    conditions: Option<Arc<dyn Conditions>>,
    /// Holds the state of an embedded run; removed with it.
    _state: Option<tempfile::TempDir>,
}

impl Offline {
    /// Embedded defaults, nothing kept: static embedder, index in memory, state in a temporary folder.
    ///
    /// # Errors
    /// If the temporary folder cannot be made, or the options are refused.
    pub async fn embedded(options: &Options) -> anyhow::Result<Offline> {
        Offline::embedded_with(options, Arc::new(RuleSet::builtin())).await
    }

    /// [`Offline::embedded`], with other rules than the built-in ones.
    ///
    /// # Errors
    /// As there.
    pub async fn embedded_with(options: &Options, rules: Arc<RuleSet>) -> anyhow::Result<Offline> {
        let folder = tempfile::tempdir().context("a temporary folder for the state cannot be made")?;
        let state: Arc<dyn StateStore> = Arc::new(Sqlite::open(&folder.path().join("oddline.db"))?);
        let embedder: Arc<dyn Embedder> = Arc::new(Checked::new(Arc::new(StaticModel::embedded()?)));
        let index =
            Arc::new(EmbeddedIndex::open(state.clone(), embedder.name(), embedder.dimension()).await?);
        let clock = Arc::<StreamClock>::default();
        let ports = Ports { embedder, index, state, clock: clock.clone() };
        let settings = Settings::new(options)?;
        let analyzer = Analyzer::open(
            oddline_analyze::Settings::default(),
            ports,
            Engine::new(settings.clone(), rules.clone()),
        )
        .await?;
        let mut offline = Offline::joined(settings, rules, Arc::new(analyzer));
        offline.clock = clock;
        offline._state = Some(folder);
        Ok(offline)
    }

    /// A fresh engine before a given analysis.
    pub fn joined(settings: Settings, rules: Arc<RuleSet>, analyzer: Arc<Analyzer>) -> Offline {
        let mut engine = Engine::new(settings, rules);
        engine.set_detour(true);
        let clock = Arc::default();
        let (time, has_baseline, learned) = (LineClock::default(), false, 0);
        Offline { engine, analyzer, time, clock, has_baseline, learned, conditions: None, _state: None }
    }

    /// The same with rules that the engine cannot run, for [`Offline::judge_lines`].
    #[must_use]
    pub fn with_conditions(self, conditions: Option<Arc<dyn Conditions>>) -> Offline {
        Offline { conditions, ..self }
    }

    /// `oddline/<version> rules:<hash>`, for tags.
    pub fn model(&self) -> &Arc<str> {
        self.engine.model()
    }

    /// The analysis, for teaching.
    pub fn analyzer(&self) -> &Analyzer {
        &self.analyzer
    }

    /// The engine, for what it knows of templates and for its picker.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// `also` is a rule that hits and that the engine cannot run.
    fn observe(&mut self, timed: &Timed<'_>, also: Option<RuleHit>) -> Verdict {
        match timed.at {
            Some(at) => self.time.set(at.0),
            None => self.time.tick(timed.line),
        }
        let now = self.time.now();
        self.clock.0.store(now.0, Ordering::Relaxed);
        self.engine.observe_with(&timed.record, also, now)
    }

    /// Learns records as normal. What is not among them is new from then on, each time it comes.
    ///
    /// # Errors
    /// If the analysis cannot learn.
    pub async fn learn(&mut self, records: impl IntoIterator<Item = Timed<'_>>) -> anyhow::Result<usize> {
        for record in records {
            self.observe(&record, None);
        }
        self.end_baseline().await
    }

    /// Sees lines of a baseline, JSON objects as records, which [`Offline::end_baseline`] learns.
    pub fn watch_lines(&mut self, lines: &[Vec<u8>]) {
        let picker = self.engine.picker();
        for line in lines {
            let timed = Timed { record: Entry::of(line).record(&picker, TAG), line, at: None };
            self.observe(&timed, None);
        }
    }

    /// Learns what was seen since the beginning as normal.
    ///
    /// # Errors
    /// If the analysis cannot learn.
    pub async fn end_baseline(&mut self) -> anyhow::Result<usize> {
        let mut taught = 0;
        loop {
            let summary = self.engine.take_summary(self.time.now());
            if summary.templates.is_empty() {
                break;
            }
            let templates = summary.templates.into_iter().map(|row| (row.id, Arc::from(row.text))).collect();
            taught += self.analyzer.teach(templates).await?;
        }
        self.engine.end_baseline(self.time.now());
        self.learned = self.engine.counters().records;
        self.has_baseline = true;
        self.take_advice().await;
        Ok(taught)
    }

    /// Judges records in order, best [`CHUNK`] at a time; the answers are in the same order.
    pub async fn judge(&mut self, records: &[Timed<'_>]) -> Vec<Verdict> {
        let local = records.iter().map(|record| self.observe(record, None)).collect();
        self.conclude(records, local).await
    }

    /// What has shown since the last call about records that were judged before: sequences that ended oddly. One that
    /// had its last record shortly before the end of the stream may still go on, and is not judged.
    pub fn late(&mut self) -> Vec<Late> {
        let endings = self.engine.take_endings(self.time.now()).into_iter();
        // Records are counted from 1; what was learned is nobody's line.
        let late = endings.filter_map(|ending| {
            let at = ending.record.checked_sub(self.learned + 1)?;
            Some(Late { at, verdict: ending.verdict() })
        });
        late.collect()
    }

    /// Judges lines in order, JSON objects as records: by all rules, those with a condition included.
    pub async fn judge_lines(&mut self, lines: &[Vec<u8>]) -> Vec<Verdict> {
        let picker = self.engine.picker();
        let entries: Vec<Entry<'_>> = lines.iter().map(|line| Entry::of(line)).collect();
        let records: Vec<Timed<'_>> = entries
            .iter()
            .zip(lines)
            .map(|(entry, line)| Timed { record: entry.record(&picker, TAG), line, at: None })
            .collect();
        let mut local = Vec::with_capacity(records.len());
        for (entry, record) in entries.iter().zip(&records) {
            let also =
                self.conditions.as_ref().and_then(|conditions| conditions.best(TAG, entry, &|_| false));
            local.push(self.observe(record, also));
        }
        self.conclude(&records, local).await
    }

    async fn conclude(&mut self, records: &[Timed<'_>], mut verdicts: Vec<Verdict>) -> Vec<Verdict> {
        let places: Vec<usize> = verdicts
            .iter()
            .enumerate()
            .filter(|(_, verdict)| verdict.is_pending())
            .map(|(at, _)| at)
            .collect();
        let pending: Vec<Received> = places
            .iter()
            .filter_map(|&at| verdicts.get(at).zip(records.get(at)))
            .map(|(local, timed)| Received {
                source: source(&timed.record),
                local: local.clone(),
                arrived: Instant::now(),
            })
            .collect();
        if !pending.is_empty() {
            let judged = self.analyzer.judge(pending).await;
            for (at, verdict) in places.into_iter().zip(judged) {
                if let Some(slot) = verdicts.get_mut(at) {
                    *slot = if self.has_baseline { beside_baseline(slot, verdict) } else { verdict };
                }
            }
            self.take_advice().await;
        }
        verdicts
    }

    /// Judges records that have no past: each visits the analysis, however quiet the engine is about it.
    pub async fn look_at(&mut self, records: &[Timed<'_>]) -> Vec<Verdict> {
        let received =
            records.iter().map(|timed| questionable(self.observe(timed, None), &timed.record)).collect();
        self.analyzer.judge(received).await
    }

    async fn take_advice(&mut self) {
        if let Some(advice) = self.analyzer.advice().await {
            self.engine.set_advice(Arc::new(AdviceTable::new(advice)));
        }
    }
}

/// A local verdict that is to be looked into, whatever it says.
fn questionable(local: Verdict, record: &Record<'_>) -> Received {
    let masked = || {
        let mut masked = Masked::default();
        masked.mask(&record.message);
        String::from_utf8_lossy(&masked.text).into()
    };
    let template = Some(local.template.clone().unwrap_or_else(masked));
    let local = Verdict { template, status: Some(Status::Pending), ..local };
    Received { source: source(record), local, arrived: Instant::now() }
}

fn source(record: &Record<'_>) -> Arc<str> {
    String::from_utf8_lossy(record.tag).into()
}

/// With a baseline, likeness does not clear: who gives one wants to hear of what is not in it. What is more like it comes
/// later in the ranking.
fn beside_baseline(local: &Verdict, judged: Verdict) -> Verdict {
    if judged.status != Some(Status::Cleared) || judged.similarity.is_none_or(|similarity| similarity >= 1.0)
    {
        return judged;
    }
    let unlike = 1.0 - judged.similarity.unwrap_or_default().clamp(0.0, 1.0);
    let score = 0.5 + (local.score - 0.5).max(0.0) * (0.5 + unlike / 2.0);
    Verdict { score, level: Level::of(score), status: Some(Status::Confirmed), ..judged }
}

#[cfg(test)]
mod tests {
    use oddline_engine::Flag;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    /// Jobs that follow each other, a second a line: of so many steps each.
    fn jobs(steps: impl IntoIterator<Item = usize>, start: i64) -> Vec<(i64, String)> {
        let names = ["begin job", "copy data of job", "close job"];
        let jobs = steps.into_iter().enumerate();
        let lines = jobs.flat_map(|(job, steps)| names.iter().take(steps).map(move |name| (job, *name)));
        lines
            .enumerate()
            .map(|(at, (job, name))| {
                (start + at as i64 * SECOND, format!("{name} job_{:08x}f{start:x}", 0x1000_0000 + job * 7))
            })
            .collect()
    }

    fn timed(lines: &[(i64, String)]) -> Vec<Timed<'_>> {
        lines
            .iter()
            .map(|(at, line)| Timed { at: Some(UnixNanos(*at)), ..Timed::line(line.as_bytes()) })
            .collect()
    }

    #[tokio::test]
    async fn what_shows_late_is_told_of_the_line_that_it_is_about() {
        let mut offline = Offline::embedded_with(&options(true), Arc::default()).await.unwrap();
        let learned = jobs(std::iter::repeat_n(3, 1_000), SECOND);
        offline.learn(timed(&learned)).await.unwrap();
        assert_eq!(offline.late().len(), 0);

        let steps: Vec<usize> = (0..40).map(|job| if job == 20 { 2 } else { 3 }).collect();
        let judged = jobs(steps, learned.last().unwrap().0 + SECOND);
        let (first, rest) = judged.split_at(62);
        let verdicts = offline.judge(&timed(first)).await;
        assert!(verdicts.iter().all(|verdict| !verdict.flags.contains(Flag::Sequence)));
        assert_eq!(offline.late().len(), 0, "nobody knows yet that nothing more comes");
        offline.judge(&timed(rest)).await;
        let late = offline.late();
        assert_eq!(late.len(), 1, "{late:?}");
        assert_eq!((late[0].at, late[0].verdict.level), (61, Level::Low), "the second line of job 20");
        assert!(late[0].verdict.reason.as_deref().unwrap().contains("have \"close job <*>\""), "{late:?}");
        assert_eq!(offline.late().len(), 0, "told once");
    }

    #[tokio::test]
    async fn what_is_still_open_at_the_end_and_what_was_learned_is_not_judged() {
        let mut offline = Offline::embedded_with(&options(true), Arc::default()).await.unwrap();
        let mut learned = vec![3; 1_000];
        learned.push(1);
        let learned = jobs(learned, SECOND);
        offline.learn(timed(&learned)).await.unwrap();
        let judged = jobs([3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 1], learned.last().unwrap().0 + SECOND);
        offline.judge(&timed(&judged)).await;
        assert_eq!(offline.late().len(), 0);
    }
}
