//! The whole judgement in one process, for `scan` and `check`: the engine as a plugin runs it, the analysis as the
//! sidecar runs it, and between them a function call instead of a network.
//!
//! Takes messages in order, gives final verdicts. Time is counted, not read: one millisecond a line, because a file says
//! nothing about when its lines came.

use std::sync::Arc;

use anyhow::Context;
use oddline_analyze::{
    Analyzer, Ports,
    ports::{Analysis, Embedder, Received, StateStore},
};
use oddline_backends::{
    check::Checked, embedded_index::EmbeddedIndex, sqlite::Sqlite, static_model::StaticModel,
};
use oddline_engine::{
    AdviceTable, Engine, Level, Options, Record, Settings, Status, UnixNanos, Verdict, mask::Masked,
    rules::RuleSet,
};

use crate::ports::SystemClock;

/// Lines judged together: their questionable templates share one batch.
pub const CHUNK: usize = 1_000;
/// Nanoseconds between two lines.
const STEP: i64 = 1_000_000;
/// All lines are one source: a baseline and the file scanned against it must share their statistics.
const TAG: &[u8] = b"scan";

/// Engine and analysis, joined.
#[derive(Debug)]
pub struct Offline {
    engine: Engine,
    analyzer: Arc<Analyzer>,
    now: i64,
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
        let folder = tempfile::tempdir().context("a temporary folder for the state cannot be made")?;
        let state: Arc<dyn StateStore> = Arc::new(Sqlite::open(&folder.path().join("oddline.db"))?);
        let embedder: Arc<dyn Embedder> = Arc::new(Checked::new(Arc::new(StaticModel::embedded()?)));
        let index =
            Arc::new(EmbeddedIndex::open(state.clone(), embedder.name(), embedder.dimension()).await?);
        let ports = Ports { embedder, index, state, clock: Arc::new(SystemClock) };
        let settings = Settings::new(options)?;
        let rules = Arc::new(RuleSet::builtin());
        let analyzer = Analyzer::open(
            oddline_analyze::Settings::default(),
            ports,
            Engine::new(settings.clone(), rules.clone()),
        )
        .await?;
        let mut offline = Offline::joined(settings, rules, Arc::new(analyzer));
        offline._state = Some(folder);
        Ok(offline)
    }

    /// A fresh engine before a given analysis.
    pub fn joined(settings: Settings, rules: Arc<RuleSet>, analyzer: Arc<Analyzer>) -> Offline {
        let mut engine = Engine::new(settings, rules);
        engine.set_detour(true);
        Offline { engine, analyzer, now: 0, has_baseline: false, _state: None }
    }

    /// `oddline/<version> rules:<hash>`, for tags.
    pub fn model(&self) -> &Arc<str> {
        self.engine.model()
    }

    /// The analysis, for teaching.
    pub fn analyzer(&self) -> &Analyzer {
        &self.analyzer
    }

    fn observe(&mut self, line: &[u8]) -> Verdict {
        self.now += STEP;
        self.engine.observe(&Record::from_line(TAG, line), UnixNanos(self.now))
    }

    /// Learns messages as normal. What is not among them is new from then on, each time it comes.
    ///
    /// # Errors
    /// If the analysis cannot learn.
    pub async fn learn(&mut self, lines: &[Vec<u8>]) -> anyhow::Result<usize> {
        for line in lines {
            self.observe(line);
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

    /// Judges messages in order; the answers are in the same order.
    pub async fn judge(&mut self, lines: &[Vec<u8>]) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> = lines.iter().map(|line| self.observe(line)).collect();
        let source: Arc<str> = String::from_utf8_lossy(TAG).into();
        let places: Vec<usize> = verdicts
            .iter()
            .enumerate()
            .filter(|(_, verdict)| verdict.is_pending())
            .map(|(at, _)| at)
            .collect();
        let pending: Vec<Received> = places
            .iter()
            .filter_map(|&at| verdicts.get(at))
            .map(|local| Received { source: source.clone(), local: local.clone() })
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
    pub async fn look_at(&mut self, lines: &[Vec<u8>]) -> Vec<Verdict> {
        let mut masked = Masked::default();
        let mut records = Vec::with_capacity(lines.len());
        for line in lines {
            let mut local = self.observe(line);
            if local.template.is_none() {
                masked.mask(line);
                local.template = Some(String::from_utf8_lossy(&masked.text).into());
            }
            local.status = Some(Status::Pending);
            records.push(Received { source: "check".into(), local });
        }
        self.analyzer.judge(records).await
    }

    async fn take_advice(&mut self) {
        if let Some(advice) = self.analyzer.advice().await {
            self.engine.set_advice(Arc::new(AdviceTable::new(advice)));
        }
    }
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
