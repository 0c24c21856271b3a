//! The summary that plugins report at an interval, so that the sidecar's baselines cover all records while only the
//! questionable ones travel.

use serde::{Deserialize, Serialize};

use crate::verdict::{Flag, Level, Status, TemplateId, Verdict};

/// Most templates in one summary; the busiest first, the rest waits for the next one.
pub const MAX_SUMMARY_TEMPLATES: usize = 1_000;
/// Most templates of which one summary says that they generalised.
pub const MAX_SUMMARY_ALIASES: usize = 1_000;
/// Most odd endings that wait to be told; further ones are counted and not told.
pub const MAX_ENDINGS: usize = 256;

/// [`Summary::kind`] of a plugin that runs the engine: it tells bursts and drops itself.
pub const FROM_PLUGIN: &str = "v1";
/// [`Summary::kind`] of a shipper that only counts (Vector's metrics): the sidecar tells bursts and drops for it.
pub const BARE_COUNTS: &str = "counts";

/// What one plugin instance saw since its last summary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Who counted: [`FROM_PLUGIN`] (what configurations match on) or [`BARE_COUNTS`].
    pub kind: String,
    /// Unix seconds of the interval's end.
    pub time: u64,
    /// Counters since the plugin's start.
    pub counters: Counters,
    /// Templates with records in the interval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<TemplateCount>,
    /// Sequences that were found to have ended oddly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endings: Vec<Ending>,
    /// The node it counts on; empty: not told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// Templates that generalised, in the order in which they did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<Alias>,
}

/// A template's new name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The id it had.
    pub old: TemplateId,
    /// The id it has.
    pub new: TemplateId,
    /// Its text now.
    pub text: String,
}

impl Summary {
    /// Whether it has nothing to say but counters.
    pub fn is_empty(&self) -> bool {
        self.templates.is_empty() && self.endings.is_empty() && self.aliases.is_empty()
    }
}

/// A sequence (the records that share an id) that ended without what nearly all of its kind have. It is no record's
/// verdict: that nothing more came shows only later, when the last record is long gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// Description of the source.
    pub source: String,
    /// The id that its records share.
    pub id: String,
    /// Nanoseconds since the Unix epoch: when its last record came.
    pub time: i64,
    /// The last record's template.
    pub template_id: TemplateId,
    /// Its text.
    pub template: String,
    /// 0..1, calibrated as a record's score is.
    pub score: f32,
    /// [`Level::of`] the score.
    pub level: Level,
    /// One line of English.
    pub reason: String,
    /// Which record the last one was: how many the engine had observed with it.
    #[serde(skip)]
    pub record: u64,
}

impl Ending {
    /// What would have been said of the last record, had it been known when it came.
    pub fn verdict(self) -> Verdict {
        Verdict {
            score: self.score,
            level: self.level,
            template_id: self.template_id,
            status: Some(Status::Inline),
            flags: [Flag::Sequence].into_iter().collect(),
            template: Some(self.template.into()),
            reason: Some(self.reason),
            ..Verdict::default()
        }
    }
}

/// Records of one template in one source since the last summary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateCount {
    /// Its id.
    pub id: TemplateId,
    /// Its text; empty in bare counts: whoever reads them knows it by id, or not at all.
    pub text: String,
    /// Description of the source.
    pub source: String,
    /// Records since the last summary.
    pub count: u64,
    /// Of these, records on which a rule of medium severity or more fired.
    pub rule_hits: u64,
}

/// What a plugin has done since its start. Every name is also the name of a metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Records observed.
    pub records: u64,
    /// Records of level low or above.
    pub flagged: u64,
    /// Records sent on the detour.
    pub pending: u64,
    /// Flagged records that stayed because the detour was closed, full, or not for such as them.
    pub skipped: u64,
    /// Records that came back from the detour.
    pub returned: u64,
    /// Records that carried a marker which did not verify: forged, or a loop that was cut.
    pub forged: u64,
    /// Records that passed unread because their bytes were not understood.
    pub unread: u64,
    /// Templates held now.
    pub templates: u64,
    /// Templates evicted.
    pub evicted: u64,
    /// Sources held now.
    pub sources: u64,
    /// Sequences found to have ended oddly.
    pub endings: u64,
    /// Of these, those that nobody was told of, because too many were waiting.
    pub endings_untold: u64,
    /// Rules in force now.
    pub rules: u64,
    /// Times that changed rule files were taken.
    pub rules_reloaded: u64,
    /// Times that changed rule files did not check out, so that the rules before them stayed.
    pub rules_refused: u64,
}
