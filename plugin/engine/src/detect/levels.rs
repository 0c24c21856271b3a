//! Levels: how often a source calls its own records errors, and so how little one more of them says.
//!
//! The rules that read nothing but a record's level (`level_only`) say of a source that hardly ever has an error that
//! something is wrong. Of one that calls every tenth record an error they only say how it talks: their score then sinks, by
//! the width of a level for each power of ten above one in a hundred. Rules that know what the message means are not touched.

use super::weight_of_one;
use crate::record::Severity;

/// Share that a source is taken to have at first, and how many records' worth that assumption is.
const AT_FIRST: f32 = 0.005;
const ASSUMED: f32 = 200.0;
/// Share up to which a level is news.
const SELDOM: f32 = 0.01;
/// What each power of ten above it takes away: the width of a level.
const STEP: f32 = 0.15;
/// What a level word loses in a record whose own level is harmless.
const CONTRADICTED: f32 = 2.0 * STEP;

/// Shares of a source's recent records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Levels {
    /// Of level error or worse.
    pub(crate) errors: f32,
    /// Of level fatal.
    pub(crate) fatal: f32,
}

impl Default for Levels {
    fn default() -> Self {
        Levels { errors: AT_FIRST, fatal: AT_FIRST }
    }
}

impl Levels {
    /// Learns the level of the `records`-th record.
    pub(crate) fn learn(&mut self, severity: Option<Severity>, records: u64) {
        let alpha = weight_of_one(records, ASSUMED);
        let is = |least| f32::from(u8::from(severity >= Some(least)));
        self.errors += alpha * (is(Severity::Error) - self.errors);
        self.fatal += alpha * (is(Severity::Fatal) - self.fatal);
    }

    /// What the strength of a rule that reads nothing but the level loses because the source is known to talk like this.
    pub(crate) fn lost(&self, severity: Option<Severity>) -> f32 {
        // `DEBUG option: level = CRITICAL` is no more than it says.
        if severity.is_some_and(|own| own <= Severity::Info) {
            return CONTRADICTED;
        }
        let share = if severity == Some(Severity::Fatal) { self.fatal } else { self.errors };
        STEP * (share / SELDOM).max(1.0).log10()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one more error loses after so many records, of which each so-many-th was one.
    fn lost(records: u64, each: u64) -> f32 {
        let mut levels = Levels::default();
        for record in 0..records {
            let is_error = record % each == 0;
            levels.learn(Some(if is_error { Severity::Error } else { Severity::Info }), record);
        }
        levels.lost(Some(Severity::Error))
    }

    #[test]
    fn the_first_errors_of_a_source_count_in_full() {
        assert_eq!(lost(0, 1), 0.0);
        assert!(lost(1, 1) < 0.01, "the second record is an error too");
        assert_eq!(lost(5_000, 500), 0.0);
    }

    #[test]
    fn each_power_of_ten_takes_a_level() {
        let (tenth, all) = (lost(10_000, 10), lost(10_000, 1));
        assert!((tenth - STEP).abs() < 0.02 && (all - 2.0 * STEP).abs() < 0.01, "{tenth} {all}");
    }

    #[test]
    fn a_word_in_a_harmless_record_is_no_level() {
        let lost = |own| Levels::default().lost(own);
        assert_eq!(lost(Some(Severity::Debug)), CONTRADICTED);
        assert_eq!((lost(Some(Severity::Fatal)), lost(None)), (0.0, 0.0));
    }

    #[test]
    fn errors_are_no_habit_of_being_fatal() {
        let mut levels = Levels::default();
        (0..5_000).for_each(|record| levels.learn(Some(Severity::Error), record));
        assert_eq!(levels.lost(Some(Severity::Fatal)), 0.0);
        assert!(levels.errors > 0.95 && levels.fatal < AT_FIRST);
    }
}
