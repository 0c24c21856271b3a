//! New and rare: how surprising it is that a source says something it never, or hardly ever, said.
//!
//! The chance of a new shape is estimated as in Good and Turing's unseen-species problem, here with an exponentially
//! weighted share of records that were the first of their shape: a source that says something new every minute is not
//! surprising when it does so again, one that has said the same thirty things for a week is.

use super::{Signals, plain, weight_of_one};
use crate::{record::Severity, verdict::Flag};

/// A template seen at most this often is rare in a source past its warm-up.
const RARE_COUNT: u64 = 3;
/// Windows that must lie between two sightings of a rare template.
const RARE_GAP: i64 = 60;

/// The share of firsts among a source's recent records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Novelty {
    pub(crate) share: f32,
}

impl Default for Novelty {
    fn default() -> Self {
        Novelty { share: 1.0 }
    }
}

impl Novelty {
    /// Learns whether a record was the first of its shape; gives the share before it.
    pub(crate) fn learn(&mut self, first: bool, records: u64) -> f32 {
        let before = self.share;
        let alpha = weight_of_one(records, 1.0);
        self.share += alpha * (f32::from(u8::from(first)) - self.share);
        before
    }
}

/// A first of its shape. `nearest`: the share of its words that a known shape has in the same places.
#[cold]
pub(crate) fn new(signals: &mut Signals, share: f32, nearest: f32, severity: Option<Severity>) {
    let surprise = -share.max(1e-5).log10();
    // All firsts: 0, 10 %: .35, 1 %: .5, 0.1 % and fewer: .62. A near twin of something known is less surprising.
    let alone = (0.35 * surprise).min(0.2 + 0.15 * surprise).clamp(0.0, 0.62);
    let twin = if nearest >= 0.75 { 0.75 } else { 1.0 };
    let chance = match share {
        s if s >= 0.01 => format!("{:.0} % of recent records were", f64::from(s) * 100.0),
        s if s >= 0.0005 => format!("1 in {} records was", plain(f64::from(1.0 / s).round())),
        _ => "almost no record was".to_owned(),
    };
    signals.add(Flag::New, alone * twin * weight(severity), format!("new message ({chance} new here)"));
}

/// Not among what was declared normal, however often it came since.
#[cold]
pub(crate) fn not_in_baseline(signals: &mut Signals, nearest: f32, severity: Option<Severity>) {
    let twin = if (0.75..1.0).contains(&nearest) { 0.9 } else { 1.0 };
    let strength = (0.6 * twin * weight(severity)).max(0.51);
    signals.add(Flag::New, strength, "new message (not in the baseline)".to_owned());
}

/// What a message says of its own gravity: a new line of debugging is less of a finding than a new error.
fn weight(severity: Option<Severity>) -> f32 {
    match severity {
        Some(Severity::Trace | Severity::Debug | Severity::Info) => 0.87,
        Some(Severity::Warn) | None => 0.95,
        Some(Severity::Error | Severity::Fatal) => 1.0,
    }
}

/// A burst of what never came before is as much of a finding as it is grave: nothing says how much of it is usual, and a
/// service that is started anew writes out its options by the hundred.
pub(crate) fn first_burst(strength: f32, severity: Option<Severity>) -> f32 {
    match severity {
        Some(Severity::Trace | Severity::Debug | Severity::Info) => strength.min(0.5),
        Some(Severity::Warn) | None => strength.min(0.6),
        Some(Severity::Error | Severity::Fatal) => strength,
    }
}

/// A place that so many messages have filled is empty. The more there were, the less it is chance.
#[cold]
pub(crate) fn emptied(signals: &mut Signals, place: &str, filled: u64) {
    let strength = (0.6 + 0.05 * (filled as f32).log10()).clamp(0.65, 0.75);
    signals.add(
        Flag::Value,
        strength,
        format!("nothing where a value always stood ({filled} times): {place}"),
    );
}

/// Whether so few were seen before that one more may be rare.
pub(crate) fn may_be_rare(count: u64) -> bool {
    count <= RARE_COUNT
}

/// Known, but seen a few times only, and long ago.
pub(crate) fn rare(signals: &mut Signals, count: u64, gap_windows: i64) {
    if may_be_rare(count) && gap_windows >= RARE_GAP {
        let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
        signals.add(Flag::Rare, 0.35, format!("rare message (seen {times} before)"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firsts_in_a_settled_source_are_flagged_and_in_a_lively_one_not() {
        let strength = |share, nearest| {
            let mut signals = Signals::default();
            new(&mut signals, share, nearest, Some(Severity::Error));
            signals.strength_of(Flag::New)
        };
        assert!(strength(0.3, 0.0) < 0.5);
        assert!(strength(0.001, 0.0) > 0.6);
        assert!(strength(0.001, 0.8) < 0.5);
        let mut novelty = Novelty::default();
        (0..5_000).for_each(|record| _ = novelty.learn(record % 10 == 0, record));
        assert!((0.05..0.15).contains(&novelty.share));
    }

    #[test]
    fn rare_needs_few_sightings_and_a_long_gap() {
        let fires = |count, gap| {
            let mut signals = Signals::default();
            rare(&mut signals, count, gap);
            !signals.flags.is_empty()
        };
        assert!(fires(3, 60) && !fires(4, 60) && !fires(3, 59));
    }
}
