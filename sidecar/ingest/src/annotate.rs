//! Local verdicts in, final tags out: what all ways in share. Knows neither; the bytes stay with them.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use oddline_analyze::ports::{Analysis, Received, Seen};
use oddline_codec::{TagStyle, Tags};
use oddline_engine::{Body, Picker, Status, Verdict};

/// Records that are judged together; also how often a long batch lets others run.
pub(crate) const GROUP: usize = 256;

/// What final tags are made with.
#[derive(Clone)]
pub struct Annotator {
    /// Judges.
    pub analysis: Arc<dyn Analysis>,
    /// How final tags are written.
    pub style: TagStyle,
    /// What changes when the rules do.
    pub screening: Screening,
}

/// What the ways in know of the rules; shared by all of them, and changed under way.
#[derive(Clone, Debug)]
pub struct Screening(Arc<RwLock<(Arc<Picker>, Arc<str>)>>);

impl Screening {
    /// Finds messages with a picker, made from the same settings as the plugins' so that markers verify; names a model in
    /// the tags of what is screened here.
    pub fn new(picker: Arc<Picker>, model: Arc<str>) -> Screening {
        Screening(Arc::new(RwLock::new((picker, model))))
    }

    /// Other rules are in force.
    pub fn set(&self, picker: Arc<Picker>, model: Arc<str>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = (picker, model);
    }

    pub(crate) fn picker(&self) -> Arc<Picker> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).0)
    }

    pub(crate) fn model(&self) -> Arc<str> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).1)
    }
}

impl Annotator {
    /// The final verdicts, in order. What is settled stays as it is; what is pending is judged.
    pub(crate) async fn judge(&self, records: Vec<Received>) -> Vec<Verdict> {
        let is_pending = |record: &&Received| record.local.is_pending();
        let pending: Vec<Received> = records.iter().filter(is_pending).cloned().collect();
        let judged = if pending.is_empty() { Vec::new() } else { self.analysis.judge(pending).await };
        let mut judged = judged.into_iter();
        let last = |Received { local, .. }: Received| {
            if local.is_pending() { judged.next().unwrap_or_else(|| unanswered(local)) } else { local }
        };
        records.into_iter().map(last).collect()
    }

    /// As [`Annotator::judge`], where detectors of the operator's own look at the records too, settled ones included.
    /// `see` is asked for them only if there are any; what it gives none for stays as it is.
    pub(crate) async fn judge_seen(
        &self,
        records: Vec<Received>,
        see: impl FnOnce() -> Vec<Option<Seen>>,
    ) -> Vec<Verdict> {
        if !self.analysis.looks() {
            return self.judge(records).await;
        }
        let mut seen = see();
        seen.resize(records.len(), None);
        let is_seen: Vec<bool> = seen.iter().map(Option::is_some).collect();
        let (shown, seen) =
            records.iter().zip(seen).filter_map(|(record, seen)| Some((record.clone(), seen?))).unzip();
        let mut judged = self.analysis.judge_seen(shown, seen).await.into_iter();
        let last = |(Received { local, .. }, is_seen): (Received, bool)| match is_seen.then(|| judged.next())
        {
            Some(Some(verdict)) => verdict,
            _ if local.is_pending() => unanswered(local),
            _ => local,
        };
        records.into_iter().zip(is_seen).map(last).collect()
    }

    /// A record of a tag as detectors see it, without the tags under `without`.
    pub(crate) fn see(&self, tag: &[u8], body: &dyn Body, without: &str) -> Seen {
        Seen::of(tag, &self.screening.picker(), body, without)
    }

    /// The tags of a final verdict. `model` is the one that judged locally, if it said so.
    pub(crate) fn tags(&self, verdict: &Verdict, model: Option<&Arc<str>>) -> Tags {
        Tags::of(verdict, model.unwrap_or(&self.screening.model()))
    }
}

/// An analysis that breaks its contract must not leave a record pending.
fn unanswered(local: Verdict) -> Verdict {
    Verdict {
        status: Some(Status::Skipped),
        reason: Some("sidecar: the analysis gave no answer".to_owned()),
        ..local
    }
}

impl fmt::Debug for Annotator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Annotator")
            .field("style", &self.style)
            .field("screening", &self.screening)
            .finish_non_exhaustive()
    }
}
