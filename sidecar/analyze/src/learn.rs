//! Learning what operators show as normal: records are mined for templates by an engine of their own, beside the one that
//! screens, so that nothing else that flows meanwhile becomes known with them.

use std::{collections::BTreeSet, sync::Arc};

use oddline_engine::{Body, Engine, Record, UnixNanos, Verdict};

use crate::{
    Analyzer,
    ports::{Answer, BackendError, Learned, Teacher},
    publish::Ground,
    seeds,
};

/// Lines learned between two looks at the engine's templates: fewer than it holds per source.
const LEARNED_AT_ONCE: usize = 1_000;
/// Seconds for which the engine is kept after it was last used: who teaches a file does it piece by piece.
const KEPT_SECONDS: u64 = 60;

/// The engine that learns.
#[derive(Debug)]
pub(crate) struct Learner {
    engine: Engine,
    used: u64,
}

impl Learner {
    /// Whether nobody has needed it for a while.
    pub(crate) fn is_idle(&self, now: u64) -> bool {
        now.saturating_sub(self.used) > KEPT_SECONDS
    }
}

impl Analyzer {
    /// Runs records through the engine and makes their templates known. Gives the number of templates.
    ///
    /// # Errors
    /// As [`Analyzer::teach`].
    pub async fn learn<'a>(
        &self,
        records: impl IntoIterator<Item = Record<'a>>,
    ) -> Result<usize, BackendError> {
        let shared = &self.shared;
        let mut learning = shared.learning.lock().await;
        let (mut taught, mut known) = (BTreeSet::new(), 0);
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() {
            let now = shared.clock.unix_nanos();
            if learning.is_none() {
                *learning = Some(Learner { engine: seeds::engine(shared).await?, used: 0 });
            }
            let Some(learner) = learning.as_mut() else { break };
            learner.used = shared.now_seconds();
            for record in records.by_ref().take(LEARNED_AT_ONCE) {
                learner.engine.observe(&record, UnixNanos(now));
            }
            loop {
                let summary = learner.engine.take_summary(UnixNanos(now));
                if summary.templates.is_empty() {
                    break;
                }
                let fresh = summary
                    .templates
                    .into_iter()
                    .filter(|template| taught.insert(template.id))
                    .map(|template| (template.id, Arc::from(template.text)))
                    .collect();
                known += shared.make_known(fresh, Ground::Taught).await?;
            }
        }
        drop(learning);
        shared.events.templates_taught(known);
        shared.calibrate().await;
        Ok(known)
    }
}

impl Teacher for Analyzer {
    fn learn<'a>(&'a self, records: Vec<Record<'a>>) -> Answer<'a, Learned> {
        Box::pin(async move {
            let templates = Analyzer::learn(self, records).await?;
            Ok(Learned { templates, known: self.known().await? })
        })
    }

    fn check<'a>(&'a self, record: Record<'a>, body: &dyn Body) -> Answer<'a, Verdict> {
        Box::pin(Analyzer::check(self, record, body))
    }
}
