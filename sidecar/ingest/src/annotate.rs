//! Local verdicts in, final tags out: what Forward and HTTP share. Knows neither; the bytes stay with them.

use std::{fmt, sync::Arc};

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
    /// Finds the message; made from the same settings as the plugins' so that markers verify.
    pub picker: Arc<Picker>,
    /// How final tags are written.
    pub style: TagStyle,
    /// The tag `model` of what is screened here.
    pub model: Arc<str>,
}

impl Annotator {
    /// The final verdicts, in order. What is settled stays as it is; what is pending is judged.
    pub(crate) async fn judge(&self, source: &Arc<str>, locals: Vec<Verdict>) -> Vec<Verdict> {
        let received = |local: &Verdict| Received { source: Arc::clone(source), local: local.clone() };
        let pending: Vec<Received> = locals.iter().filter(|local| local.is_pending()).map(received).collect();
        if pending.is_empty() {
            return locals;
        }
        let mut judged = self.analysis.judge(pending).await.into_iter();
        let last = |local: Verdict| {
            if local.is_pending() { judged.next().unwrap_or_else(|| unanswered(local)) } else { local }
        };
        locals.into_iter().map(last).collect()
    }

    /// As [`Annotator::judge`], where detectors of the operator's own look at the records too, settled ones included.
    /// `see` is asked for them only if there are any; what it gives none for stays as it is.
    pub(crate) async fn judge_seen(
        &self,
        source: &Arc<str>,
        locals: Vec<Verdict>,
        see: impl FnOnce() -> Vec<Option<Seen>>,
    ) -> Vec<Verdict> {
        if !self.analysis.looks() {
            return self.judge(source, locals).await;
        }
        let mut seen = see();
        seen.resize(locals.len(), None);
        let is_seen: Vec<bool> = seen.iter().map(Option::is_some).collect();
        let received = |local: &Verdict| Received { source: Arc::clone(source), local: local.clone() };
        let (records, seen) =
            locals.iter().zip(seen).filter_map(|(local, seen)| Some((received(local), seen?))).unzip();
        let mut judged = self.analysis.judge_seen(records, seen).await.into_iter();
        let last = |(local, is_seen): (Verdict, bool)| match is_seen.then(|| judged.next()) {
            Some(Some(verdict)) => verdict,
            _ if local.is_pending() => unanswered(local),
            _ => local,
        };
        locals.into_iter().zip(is_seen).map(last).collect()
    }

    /// A record of a tag as detectors see it, without the tags under `without`.
    pub(crate) fn see(&self, tag: &[u8], body: &dyn Body, without: &str) -> Seen {
        Seen::of(tag, &self.picker, body, without)
    }

    /// The tags of a final verdict. `model` is the one that judged locally, if it said so.
    pub(crate) fn tags(&self, verdict: &Verdict, model: Option<&Arc<str>>) -> Tags {
        Tags::of(verdict, model.unwrap_or(&self.model))
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
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}
