//! What the analysis needs from the outside, as traits in plain types. Adapters live in `backends`, `ingest` and `app`.

use std::{future::Future, pin::Pin, sync::Arc};

use oddline_engine::{Body, Record, RuleHit, Severity, Summary, TemplateId, Verdict};
use tokio::time::Instant;

use crate::events::Figure;

/// The answer of a port: boxed, so that ports are chosen at run time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BackendError>> + Send + 'a>>;

/// What a caller may do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Down, slow or overloaded: try again later.
    Unavailable,
    /// It is there and answers that it failed, at something in this call perhaps: others may do.
    Failed,
    /// It will refuse the same call again: do not retry.
    Rejected,
    /// It broke its contract (wrong dimension, NaN, not deterministic …): count and log.
    Bug,
}

/// A backend failed. The message names the backend, its address or file, and what was wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct BackendError {
    /// What a caller may do about it.
    pub kind: FailureKind,
    /// One line for an operator.
    pub message: String,
}

impl BackendError {
    /// It is down, slow or overloaded.
    pub fn unavailable(message: impl Into<String>) -> Self {
        BackendError { kind: FailureKind::Unavailable, message: message.into() }
    }

    /// It failed at the call.
    pub fn failed(message: impl Into<String>) -> Self {
        BackendError { kind: FailureKind::Failed, message: message.into() }
    }

    /// It refuses the call.
    pub fn rejected(message: impl Into<String>) -> Self {
        BackendError { kind: FailureKind::Rejected, message: message.into() }
    }

    /// It broke its contract.
    pub fn bug(message: impl Into<String>) -> Self {
        BackendError { kind: FailureKind::Bug, message: message.into() }
    }
}

/// Text to vector.
pub trait Embedder: Send + Sync {
    /// `<kind>/<model>`, e.g. `static/all-MiniLM-L6-v2-distilled-256`; part of the collection's name.
    fn name(&self) -> &str;
    /// Length of every vector.
    fn dimension(&self) -> usize;
    /// One unit-length vector per text, in order. At most [`MAX_EMBED_BATCH`] texts.
    fn embed<'a>(&'a self, texts: &'a [String]) -> Answer<'a, Vec<Vec<f32>>>;
    /// Calls that it works on at a time; more wait for their turn, and that is not held against it. 1 and more.
    fn at_once(&self) -> usize {
        usize::MAX
    }
}

/// Most texts in one call of [`Embedder::embed`].
pub const MAX_EMBED_BATCH: usize = 64;

/// A template that is known as normal.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Its id.
    pub id: TemplateId,
    /// Its text.
    pub text: Arc<str>,
    /// Its embedding, of unit length.
    pub vector: Vec<f32>,
}

/// A known template near a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// Its id.
    pub id: TemplateId,
    /// Its text.
    pub text: Arc<str>,
    /// Cosine to the query, -1..=1.
    pub similarity: f32,
}

/// The known-normal templates, searched by cosine. One index holds one embedder's vectors.
pub trait VectorIndex: Send + Sync {
    /// For logs and metrics, e.g. `embedded` or `qdrant http://…/oddline_static_256`.
    fn name(&self) -> &str;
    /// The `k` nearest known templates per query, most similar first; fewer if fewer are known.
    fn nearest<'a>(&'a self, queries: &'a [Vec<f32>], k: usize) -> Answer<'a, Vec<Vec<Neighbour>>>;
    /// Adds or replaces, durably.
    fn upsert(&self, known: Vec<Known>) -> Answer<'_, ()>;
    /// Forgets, durably. Unknown ids are ignored.
    fn remove<'a>(&'a self, ids: &'a [TemplateId]) -> Answer<'a, ()>;
    /// Up to `limit` known templates, ordered by id (used to calibrate the similarity threshold).
    fn sample(&self, limit: usize) -> Answer<'_, Vec<Known>>;
    /// How many are known.
    fn count(&self) -> Answer<'_, usize>;
}

/// What the sidecar remembers about a template.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateState {
    /// Its id.
    pub id: TemplateId,
    /// Its text.
    pub text: Arc<str>,
    /// What was judged last.
    pub class: oddline_engine::Class,
    /// The sidecar's score, 0..1.
    pub score: f32,
    /// Cosine to the nearest known-normal template when it was judged.
    pub similarity: Option<f32>,
    /// Text of that template.
    pub nearest: Option<Arc<str>>,
    /// Records counted over all plugins.
    pub seen: u64,
    /// Unix seconds of the first record.
    pub first_seen: u64,
    /// Unix seconds of the last record.
    pub last_seen: u64,
    /// Records on which a rule of medium severity or more fired.
    pub flagged_by_rule: u64,
    /// Unix seconds after which the class no longer counts.
    pub expires: Option<u64>,
}

/// Durable state of one sidecar.
pub trait StateStore: Send + Sync {
    /// All templates, most recently seen first. If there are more than `limit`: the exceptions, then those most recently
    /// seen, as many as that.
    fn load_templates(&self, limit: usize) -> Answer<'_, Vec<TemplateState>>;
    /// Adds or replaces rows, in one transaction.
    fn save_templates(&self, rows: Vec<TemplateState>) -> Answer<'_, ()>;
    /// Up to `limit` known vectors of a collection, ordered by id, from the first one behind an id on (the embedded index keeps
    /// its vectors here; all of them at once would take as much memory again).
    fn load_known<'a>(
        &'a self,
        collection: &'a str,
        behind: Option<TemplateId>,
        limit: usize,
    ) -> Answer<'a, Vec<Known>>;
    /// Adds or replaces known vectors, in one transaction.
    fn save_known<'a>(&'a self, collection: &'a str, rows: Vec<Known>) -> Answer<'a, ()>;
    /// Removes known vectors.
    fn remove_known<'a>(&'a self, collection: &'a str, ids: &'a [TemplateId]) -> Answer<'a, ()>;
    /// A counter that only grows, kept over restarts (e.g. the advice generation): adds one and gives the new value.
    fn next<'a>(&'a self, counter: &'a str) -> Answer<'a, u64>;
    /// A text kept under a name.
    fn note<'a>(&'a self, name: &'a str) -> Answer<'a, Option<String>>;
    /// Keeps a text under a name, instead of what was there.
    fn set_note<'a>(&'a self, name: &'a str, text: String) -> Answer<'a, ()>;
}

/// A key-value table in the shipper that advice is written to; see [`crate::rows`].
pub trait RowTable: Send + Sync {
    /// Writes the rows of one body, at most [`crate::rows::MAX_BODY_BYTES`] long. Gives a number that changes with the
    /// connection: over another one, it may be another table, and an empty one.
    fn write(&self, body: Vec<u8>) -> Answer<'_, u64>;
}

/// What a shipper has counted since it started, for those who ask; see [`crate::counts::pull`].
pub trait CountSource: Send + Sync {
    /// All totals.
    fn totals(&self) -> Answer<'_, Vec<Total>>;
}

/// Records of one template in one source since its shipper began to count them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// The template.
    pub id: TemplateId,
    /// Description of the source.
    pub source: Arc<str>,
    /// Whether these are the records that a rule of medium severity or more hit.
    pub rule_hit: bool,
    /// The records.
    pub records: u64,
}

/// Seconds and nanoseconds, injected so that tests own the time.
pub trait Clock: Send + Sync {
    /// Nanoseconds since the Unix epoch.
    fn unix_nanos(&self) -> i64;
}

/// One record that a plugin found questionable, in plain types.
#[derive(Clone, Debug)]
pub struct Received {
    /// Tag or route it came from, for limits per source.
    pub source: Arc<str>,
    /// The plugin's verdict; `template` and `template_id` are set.
    pub local: Verdict,
    /// When all of the batch that it came in had arrived: its deadline counts from here, however long others of the batch
    /// were waited for.
    pub arrived: Instant,
}

/// Rules that the engine cannot run, because they ask about all of a record in a language of their own.
pub trait Conditions: Send + Sync + std::fmt::Debug {
    /// The highest-scoring of them that hits and is not silenced. Bounded work; what cannot be evaluated does not hit.
    fn best(&self, tag: &[u8], body: &dyn Body, is_silenced: &dyn Fn(&str) -> bool) -> Option<RuleHit>;
    /// How often one could not be evaluated.
    fn failed(&self) -> u64;
}

/// A record as detectors of an operator's own see it: in plain types, all of it, bounded; see [`crate::seen`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Tag or route it came from.
    pub tag: String,
    /// Its message.
    pub message: String,
    /// Its own level, if it says one.
    pub severity: Option<Severity>,
    /// Every leaf, with the keys that lead to it, in the order of the record.
    pub fields: Vec<(Vec<String>, Leaf)>,
}

/// A leaf of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Leaf {
    /// Null.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number; may be NaN or infinite.
    Float(f64),
    /// Text; what is no UTF-8 in it is replaced.
    Text(String),
    /// An array, or an empty object.
    Other,
}

/// What a detector holds against a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Opinion {
    /// 0.5 to 1: below that it holds nothing against it.
    pub score: f32,
    /// One short line without control characters; names the detector.
    pub reason: String,
}

/// Detectors of an operator's own, which look at every record that visits the sidecar.
pub trait Detectors: Send + Sync + std::fmt::Debug {
    /// One answer per record, in order, within a bounded time; `None`: nothing against it, or not in time. `now` is in
    /// nanoseconds since the Unix epoch.
    fn look(
        &self,
        records: Vec<Seen>,
        now: i64,
    ) -> Pin<Box<dyn Future<Output = Vec<Option<Opinion>>> + Send + '_>>;
    /// What is counted about them.
    fn figures(&self) -> Vec<Figure>;
}

/// What became of messages that were taught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// Templates among them.
    pub templates: usize,
    /// Templates known in all.
    pub known: usize,
}

/// The analysis, as those see it who teach and ask it while records flow.
pub trait Teacher: Send + Sync {
    /// Makes the templates of these records known.
    fn learn<'a>(&'a self, records: Vec<Record<'a>>) -> Answer<'a, Learned>;
    /// Judges one record as if it had no past; `body` is all of it, for rules that ask for it.
    fn check<'a>(&'a self, record: Record<'a>, body: &dyn Body) -> Answer<'a, Verdict>;
}

/// The analysis, as the ways in see it. It answers for every record, always, before the deadline.
pub trait Analysis: Send + Sync {
    /// The final verdicts, one per record, in order. None is waited for beyond the deadline, counted from
    /// [`Received::arrived`]: what comes later than that is answered at once, from memory or not at all. What could not be
    /// judged in time carries [`oddline_engine::Status::Skipped`] and a reason.
    fn judge(&self, records: Vec<Received>) -> Pin<Box<dyn Future<Output = Vec<Verdict>> + Send + '_>>;
    /// Whether there are detectors that want to see records: then [`Analysis::judge_seen`] is asked instead.
    fn looks(&self) -> bool {
        false
    }
    /// As [`Analysis::judge`], with every record as detectors see it. Records with a settled verdict may come too: they
    /// keep it, but for what detectors hold against them.
    fn judge_seen(
        &self,
        records: Vec<Received>,
        seen: Vec<Seen>,
    ) -> Pin<Box<dyn Future<Output = Vec<Verdict>> + Send + '_>> {
        let _ = seen;
        self.judge(records)
    }
    /// Runs the engine on a record that comes without a verdict (HTTP, check, scan).
    fn screen(&self, record: &Record<'_>) -> Verdict;
    /// As [`Analysis::screen`], with all of the record at hand for rules that ask for it.
    fn screen_whole(&self, record: &Record<'_>, body: &dyn Body) -> Verdict {
        let _ = body;
        self.screen(record)
    }
    /// The local verdict on a record that a plugin sends, with the rules that ask for all of the record; `without` is the
    /// key that its tags stand under.
    fn complete(&self, local: Verdict, tag: &[u8], body: &dyn Body, without: &str) -> Verdict {
        let _ = (tag, body, without);
        local
    }
    /// Takes a plugin's counts.
    fn summary(&self, summary: Summary);
}
