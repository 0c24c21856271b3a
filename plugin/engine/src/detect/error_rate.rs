//! Error rate: the share of error records of a source, against its own history.
//!
//! Within a window, the number of records of severity error or worse is odd when its binomial tail under the usual share
//! is below that of the configured number of standard deviations.

use statrs::distribution::{Binomial, DiscreteCDF};

use super::Signals;
use crate::{record::Severity, verdict::Flag};

const ALPHA: f64 = 0.1;
const MIN_WINDOWS: u32 = 5;
/// Errors in a window below which nothing is odd.
const MIN_ERRORS: u32 = 5;
/// A share below this is taken as this: a source without errors so far may have a few.
const FLOOR: f64 = 0.002;

/// Shares of errors of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ErrorRate {
    pub(crate) share: f64,
    pub(crate) windows: u32,
    errors: u32,
    records: u32,
    next_report: u32,
}

impl ErrorRate {
    pub(crate) fn restored(share: f64, windows: u32) -> ErrorRate {
        ErrorRate { share, windows, ..ErrorRate::default() }
    }

    /// Closes the window, if it had records.
    pub(crate) fn roll(&mut self) {
        if self.records > 0 {
            self.windows = self.windows.saturating_add(1);
            let alpha = ALPHA.max(1.0 / f64::from(self.windows));
            self.share += alpha * (f64::from(self.errors) / f64::from(self.records) - self.share);
        }
        (self.errors, self.records, self.next_report) = (0, 0, 0);
    }

    /// Takes one record.
    pub(crate) fn observe(&mut self, severity: Option<Severity>, tail: f64, signals: &mut Signals) {
        self.records = self.records.saturating_add(1);
        if severity.is_some_and(|severity| severity >= Severity::Error) {
            self.count_error(tail, signals);
        }
    }

    fn count_error(&mut self, tail: f64, signals: &mut Signals) {
        self.errors = self.errors.saturating_add(1);
        let errors = self.errors;
        if self.windows < MIN_WINDOWS || errors < MIN_ERRORS || errors < self.next_report {
            return;
        }
        let share = self.share.max(FLOOR);
        let actual = f64::from(errors) / f64::from(self.records);
        if actual < 2.0 * share {
            return;
        }
        let chance = Binomial::new(share.min(1.0), u64::from(self.records))
            .map_or(1.0, |binomial| binomial.sf(u64::from(errors.saturating_sub(1))));
        if chance >= tail {
            return;
        }
        self.next_report = errors.saturating_mul(2);
        self.tell(actual, signals);
    }

    #[cold]
    fn tell(&self, actual: f64, signals: &mut Signals) {
        let words = format!(
            "errors are {:.1} % of this source's records, usually {:.1} %",
            actual * 100.0,
            self.share * 100.0
        );
        signals.add_measured(Flag::ErrorRate, 0.6, self.share, actual, words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::rate::tail_of;

    fn flagged(history: u32, errors_now: u32) -> usize {
        let mut rate = ErrorRate::default();
        let mut signals = Signals::default();
        for _ in 0..8 {
            for record in 0..100 {
                let severity = if record < history { Severity::Error } else { Severity::Info };
                rate.observe(Some(severity), tail_of(4.0), &mut signals);
            }
            rate.roll();
        }
        signals.clear();
        for record in 0..100 {
            let severity = if record % 100 < 100 - errors_now { Severity::Info } else { Severity::Fatal };
            rate.observe(Some(severity), tail_of(4.0), &mut signals);
        }
        signals.evidence.len()
    }

    #[test]
    fn more_errors_than_usual() {
        assert_eq!(flagged(0, 4), 0, "a few may happen");
        assert!(flagged(0, 20) >= 1);
        assert_eq!(flagged(30, 35), 0, "as usual");
        assert!(flagged(10, 60) >= 1);
    }
}
