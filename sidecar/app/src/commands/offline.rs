//! The whole judgement in one process, for `scan` and `check`: the engine as a plugin runs it, the analysis as the
//! sidecar runs it, and between them a function call instead of a network.
//!
//! Takes records in order, gives final verdicts. Time comes with the records, or is counted where nothing says when a
//! line came: one millisecond a line. The analysis lives in the same time.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use anyhow::Context;
use oddline_analyze::{
    Analyzer, Ports,
    ports::{Analysis, Clock, Embedder, Received, StateStore},
};
use oddline_backends::{
    check::Checked, embedded_index::EmbeddedIndex, sqlite::Sqlite, static_model::StaticModel,
};
use oddline_engine::{
    AdviceTable, Engine, Level, Options, Record, Settings, Status, UnixNanos, Verdict, mask::Masked,
    rules::RuleSet,
};

/// Lines judged together: their questionable templates share one batch.
pub const CHUNK: usize = 1_000;
/// Nanoseconds between two lines.
const STEP: i64 = 1_000_000;
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
    /// When; `None`: a millisecond after the one before.
    pub at: Option<UnixNanos>,
}

impl<'a> Timed<'a> {
    /// A line of a file.
    pub fn line(line: &'a [u8]) -> Timed<'a> {
        Timed { record: Record::from_line(TAG, line), at: None }
    }
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
    now: i64,
    clock: Arc<StreamClock>,
    has_baseline: bool,
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
        Offline { engine, analyzer, now: 0, clock, has_baseline: false, _state: None }
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

    fn observe(&mut self, timed: &Timed<'_>) -> Verdict {
        self.now = timed.at.map_or(self.now.saturating_add(STEP), |at| at.0);
        self.clock.0.store(self.now, Ordering::Relaxed);
        self.engine.observe(&timed.record, UnixNanos(self.now))
    }

    /// Learns records as normal. What is not among them is new from then on, each time it comes.
    ///
    /// # Errors
    /// If the analysis cannot learn.
    pub async fn learn(&mut self, records: impl IntoIterator<Item = Timed<'_>>) -> anyhow::Result<usize> {
        for record in records {
            self.observe(&record);
        }
        let mut taught = 0;
        loop {
            let summary = self.engine.take_summary(UnixNanos(self.now));
            if summary.templates.is_empty() {
                break;
            }
            let templates = summary.templates.into_iter().map(|row| (row.id, Arc::from(row.text))).collect();
            taught += self.analyzer.teach(templates).await?;
        }
        self.engine.end_baseline(UnixNanos(self.now));
        self.has_baseline = true;
        self.take_advice().await;
        Ok(taught)
    }

    /// Judges records in order, best [`CHUNK`] at a time; the answers are in the same order.
    pub async fn judge(&mut self, records: &[Timed<'_>]) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> = records.iter().map(|record| self.observe(record)).collect();
        let places: Vec<usize> = verdicts
            .iter()
            .enumerate()
            .filter(|(_, verdict)| verdict.is_pending())
            .map(|(at, _)| at)
            .collect();
        let pending: Vec<Received> = places
            .iter()
            .filter_map(|&at| verdicts.get(at).zip(records.get(at)))
            .map(|(local, timed)| Received { source: source(&timed.record), local: local.clone() })
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

    /// Judges messages that have no past: each visits the analysis, however quiet the engine is about it.
    pub async fn look_at(&mut self, records: &[Timed<'_>]) -> Vec<Verdict> {
        let mut masked = Masked::default();
        let mut received = Vec::with_capacity(records.len());
        for timed in records {
            let mut local = self.observe(timed);
            if local.template.is_none() {
                masked.mask(&timed.record.message);
                local.template = Some(String::from_utf8_lossy(&masked.text).into());
            }
            local.status = Some(Status::Pending);
            received.push(Received { source: source(&timed.record), local });
        }
        self.analyzer.judge(received).await
    }

    async fn take_advice(&mut self) {
        if let Some(advice) = self.analyzer.advice().await {
            self.engine.set_advice(Arc::new(AdviceTable::new(advice)));
        }
    }
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
