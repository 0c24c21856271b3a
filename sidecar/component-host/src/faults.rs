//! How often a detector may fail before it is turned off: so many faults within so much time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// When a detector is turned off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultLimit {
    /// So many faults
    pub faults: usize,
    /// within so much time.
    pub within: Duration,
}

/// The faults of one detector that still count.
#[derive(Debug)]
pub(crate) struct Faults {
    limit: FaultLimit,
    times: VecDeque<Instant>,
}

impl Faults {
    pub(crate) fn new(limit: FaultLimit) -> Faults {
        Faults { limit, times: VecDeque::new() }
    }

    /// Notes a fault; whether it was one too many.
    pub(crate) fn add(&mut self, now: Instant) -> bool {
        self.times.retain(|time| now.saturating_duration_since(*time) < self.limit.within);
        self.times.push_back(now);
        self.times.len() >= self.limit.faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_faults_close_together_count() {
        let minute = Duration::from_secs(60);
        let mut faults = Faults::new(FaultLimit { faults: 3, within: 10 * minute });
        let start = Instant::now();
        assert!(!faults.add(start));
        assert!(!faults.add(start + 5 * minute));
        assert!(!faults.add(start + 10 * minute), "the first one no longer counts");
        assert!(!faults.add(start + 15 * minute));
        assert!(faults.add(start + 16 * minute));
        assert!(faults.times.len() <= 3, "memory is bounded");
    }

    #[test]
    fn one_may_be_too_many() {
        let limit = FaultLimit { faults: 1, within: Duration::from_secs(1) };
        assert!(Faults::new(limit).add(Instant::now()));
    }
}
