//! The summary that plugins report at an interval, so that the sidecar's baselines cover all records while only the
//! questionable ones travel.

use serde::{Deserialize, Serialize};

use crate::verdict::TemplateId;

/// Most templates in one summary; the busiest first, the rest waits for the next one.
pub const MAX_SUMMARY_TEMPLATES: usize = 1_000;

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
    pub templates: Vec<TemplateCount>,
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
    /// Questionable records that stayed because the detour was closed or full.
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
    /// Rules in force now.
    pub rules: u64,
    /// Times that changed rule files were taken.
    pub rules_reloaded: u64,
    /// Times that changed rule files did not check out, so that the rules before them stayed.
    pub rules_refused: u64,
}
