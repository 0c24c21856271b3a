//! Burst and drop: counts per window against their own history.
//!
//! History is an exponentially weighted mean and variance of counts per window. A count is odd when its tail
//! probability under a negative binomial with those moments (Poisson where the variance does not exceed the mean) is
//! below that of the configured number of standard deviations of a normal distribution.
//!
//! Public, as [`crate::Rate`], for those who count without the engine: nothing in here knows what is counted.
//!
//! ```
//! use oddline_engine::{Rate, Settings};
//!
//! let tail = Settings::default().tail();
//! let mut rate = Rate::since(0, 0);
//! for minute in 0..10 {
//!     rate.roll(minute);
//!     assert!(rate.add(12, tail).is_none());
//! }
//! rate.roll(10);
//! let odd = rate.add(90, tail).unwrap();
//! assert_eq!((odd.expected.round(), odd.actual), (12.0, 90.0));
//! ```

use statrs::distribution::{DiscreteCDF, NegativeBinomial, Poisson};

/// Weight of the newest window, once there are enough of them.
const ALPHA: f32 = 0.1;
/// Share of the largest count that is forgotten per window: half of it in about seven hours of minutes.
const FORGETTING: f32 = 1.0 / 600.0;
/// Windows of history below which nothing is odd.
const MIN_WINDOWS: u16 = 5;
/// A burst has at least this many records.
const MIN_BURST: u32 = 10;
/// The same, of what was never seen in a closed window: ten of something new are a new thing, not yet a burst of it.
const MIN_FIRST_BURST: u32 = 30;
/// A drop is told only of what had at least this many records per window.
const MIN_DROP: f32 = 10.0;

/// Counts of one template or source, in windows of equal length that the caller numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Number of the window that `count` belongs to.
    window: i64,
    pub(crate) count: u32,
    pub(crate) mean: f32,
    pub(crate) variance: f32,
    pub(crate) windows: u16,
    /// The largest count of a closed window, slowly forgotten: what comes in clumps is no burst at the size of a clump.
    largest: f32,
    /// The next report of a burst is due at this count; 0: at the first crossing.
    next_report: u32,
}

/// An odd count, in records per window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Odd {
    /// What is usual; of a burst, at most usual.
    pub expected: f64,
    /// What was counted.
    pub actual: f64,
}

impl Rate {
    /// A rate without records in a source that has been watched for `windows` windows.
    pub fn since(window: i64, windows: u16) -> Rate {
        Rate { window, windows, ..Rate::default() }
    }

    /// What a restart keeps: mean, variance, windows.
    pub(crate) fn saved(&self) -> (f32, f32, u16) {
        (self.mean, self.variance, self.windows)
    }

    /// And the largest count, that of the open window among them: what comes in clumps still does after a restart.
    pub(crate) fn saved_largest(&self) -> f32 {
        self.largest.max(self.count as f32)
    }

    /// A rate as it was saved; states of version 2 and older do not have the largest count.
    pub(crate) fn restored(
        window: i64,
        (mean, variance, windows): (f32, f32, u16),
        largest: Option<f32>,
    ) -> Rate {
        // Three deviations are a good guess.
        let largest = largest.unwrap_or_else(|| mean + 3.0 * variance.max(0.0).sqrt());
        Rate { window, mean, variance, windows, largest, ..Rate::default() }
    }

    /// Begins a window, with nothing counted and the same history: of what was restored, or is new.
    pub(crate) fn begin(&mut self, window: i64) {
        (self.window, self.count, self.next_report) = (window, 0, 0);
    }

    /// Closes windows up to `window`; gives the count of the last closed one if it was the one before. A clock that was set
    /// back by more than a window begins that window anew: it must not fill one that is still to come.
    pub fn roll(&mut self, window: i64) -> Option<u32> {
        let passed = window.saturating_sub(self.window);
        if passed <= 0 {
            if passed < -1 {
                self.begin(window);
            }
            return None;
        }
        let closed = self.count;
        self.learn(closed as f32);
        // Empty windows only move the mean down; past fifty nothing is left to move.
        for _ in 1..passed.min(50) {
            self.learn(0.0);
        }
        self.window = window;
        self.count = 0;
        self.next_report = 0;
        Some(if passed == 1 { closed } else { 0 })
    }

    fn learn(&mut self, count: f32) {
        self.windows = self.windows.saturating_add(1);
        let alpha = ALPHA.max(1.0 / f32::from(self.windows));
        self.largest = count.max(self.largest * (1.0 - FORGETTING));
        let off = count - self.mean;
        self.mean += alpha * off;
        self.variance = (1.0 - alpha) * (self.variance + alpha * off * off);
    }

    /// Counts one record; an odd count is told at its first crossing and at each doubling.
    pub(crate) fn burst(&mut self, tail: f64) -> Option<Odd> {
        self.add(1, tail)
    }

    /// Whether nothing was counted before the window at hand.
    pub(crate) fn is_first(&self) -> bool {
        self.largest == 0.0
    }

    /// The number of the window that is open.
    pub(crate) fn window(&self) -> i64 {
        self.window
    }

    /// Records so far in the window.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Windows in which it has been watched.
    pub fn windows(&self) -> u16 {
        self.windows
    }

    /// The mean of the windows closed so far, once there are enough of them to judge by.
    pub fn expected(&self) -> Option<f64> {
        (self.windows >= MIN_WINDOWS).then_some(f64::from(self.mean))
    }

    /// Counts records; a count whose probability is below `tail` is told at its first crossing and at each doubling.
    #[inline]
    pub fn add(&mut self, records: u32, tail: f64) -> Option<Odd> {
        self.count = self.count.saturating_add(records);
        if self.count < MIN_BURST || self.windows < MIN_WINDOWS || self.count < self.next_report {
            return None;
        }
        self.judge(tail)
    }

    /// Whether the count is one to tell.
    fn judge(&mut self, tail: f64) -> Option<Odd> {
        let count = self.count;
        if self.largest == 0.0 && count < MIN_FIRST_BURST {
            return None;
        }
        let mean = f64::from(self.mean.max(0.5));
        // Cheap look before the tail is computed: nothing below three times the most that is usual is a burst anybody
        // wants to hear of.
        let usual = mean.max(f64::from(self.largest));
        if f64::from(count) < 3.0 * usual {
            return None;
        }
        if upper_tail(mean, f64::from(self.variance), u64::from(count)) >= tail {
            self.next_report = count.saturating_add(count / 8).saturating_add(1);
            return None;
        }
        self.next_report = count.saturating_mul(2);
        Some(Odd { expected: usual, actual: f64::from(count) })
    }

    /// Whether a closed window's count was too low to be chance. Call before the window is learned.
    pub fn drop(&self, count: u32, tail: f64) -> Option<Odd> {
        if self.windows < MIN_WINDOWS || self.mean < MIN_DROP || f64::from(count) > 0.2 * f64::from(self.mean)
        {
            return None;
        }
        let low = lower_tail(f64::from(self.mean), f64::from(self.variance), u64::from(count));
        (low < tail).then_some(Odd { expected: f64::from(self.mean), actual: f64::from(count) })
    }

    /// The count of the window that would close if it were `window` now.
    pub fn pending(&self, window: i64) -> Option<u32> {
        match window.saturating_sub(self.window) {
            ..=0 => None,
            1 => Some(self.count),
            _ => Some(0),
        }
    }

    /// Adds another rate of the same source, as templates merge.
    pub(crate) fn absorb(&mut self, other: &Rate) {
        // What each of them has counted is of its own last window, and its mean of the time up to that.
        let (window, mut other) = (self.window.max(other.window), *other);
        self.roll(window);
        other.roll(window);
        self.count = self.count.saturating_add(other.count);
        self.mean += other.mean;
        self.variance += other.variance;
        self.largest += other.largest;
        self.windows = self.windows.max(other.windows);
    }
}

/// P(X >= count).
fn upper_tail(mean: f64, variance: f64, count: u64) -> f64 {
    let below = count.saturating_sub(1);
    if let Some(binomial) = negative_binomial(mean, variance) {
        return binomial.sf(below);
    }
    Poisson::new(mean).map_or(1.0, |poisson| poisson.sf(below))
}

/// P(X <= count).
fn lower_tail(mean: f64, variance: f64, count: u64) -> f64 {
    if let Some(binomial) = negative_binomial(mean, variance) {
        return binomial.cdf(count);
    }
    Poisson::new(mean).map_or(1.0, |poisson| poisson.cdf(count))
}

fn negative_binomial(mean: f64, variance: f64) -> Option<NegativeBinomial> {
    let excess = variance - mean;
    (excess > mean * 0.05)
        .then(|| NegativeBinomial::new(mean * mean / excess, mean / variance).ok())
        .flatten()
}

/// The one-sided tail probability of `sigma` standard deviations.
pub(crate) fn tail_of(sigma: f64) -> f64 {
    statrs::function::erf::erfc(sigma / std::f64::consts::SQRT_2) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rate with this many windows of these counts, and the window after them.
    fn history(counts: &[u32]) -> (Rate, i64) {
        let mut rate = Rate::default();
        let mut window = 0;
        for count in counts {
            (0..*count).for_each(|_| _ = rate.burst(0.0));
            window += 1;
            rate.roll(window);
        }
        (rate, window)
    }

    #[test]
    fn clumps_are_no_bursts_at_their_usual_size() {
        let mut rate = Rate::since(0, 10);
        let mut window = 0;
        // Thirty records every fifth window, as a nightly job or a page with many requests writes them.
        let clump = |rate: &mut Rate, window: i64, count: u32| {
            rate.roll(window);
            (0..count).filter(|_| rate.burst(1e-3).is_some()).count() > 0
        };
        clump(&mut rate, window, 30);
        for _ in 0..10 {
            window += 5;
            assert!(!clump(&mut rate, window, 30), "window {window}");
        }
        assert!(clump(&mut rate, window + 5, 120), "four times as many are");
    }

    #[test]
    fn a_burst_is_told_once_and_at_each_doubling() {
        let (mut rate, _) = history(&[10, 12, 9, 11, 10, 8, 12]);
        let told: Vec<u32> = (1..=200).filter(|_| rate.burst(tail_of(4.0)).is_some()).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!((20..=40).contains(&told[0]) && told[1] == told[0] * 2, "{told:?}");
    }

    #[test]
    fn ordinary_noise_is_no_burst() {
        let (mut rate, _) = history(&[10, 40, 5, 22, 31, 2, 18]);
        assert!((0..45).all(|_| rate.burst(tail_of(4.0)).is_none()));
        let (mut fresh, _) = history(&[1, 1, 1, 1]);
        assert!((0..100).all(|_| fresh.burst(tail_of(4.0)).is_none()), "too little history");
    }

    #[test]
    fn a_drop_needs_a_steady_past() {
        let (rate, _) = history(&[60, 62, 58, 61, 60, 59]);
        assert!(rate.drop(0, tail_of(4.0)).is_some());
        assert!(rate.drop(45, tail_of(4.0)).is_none());
        let (rate, _) = history(&[60, 0, 58, 0, 60, 0]);
        assert!(rate.drop(0, tail_of(4.0)).is_none());
    }

    #[test]
    fn long_gaps_forget() {
        let (mut rate, window) = history(&[100; 10]);
        rate.roll(window + 1_000_000);
        assert!(rate.mean < 1.0, "{}", rate.mean);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_burst() {
        for back in [1, 2, 20, 1_000_000] {
            let (mut rate, last) = history(&[12; 10]);
            let mean = rate.mean;
            let mut told = 0;
            // Ten windows with as much in each as ever.
            for window in (0..10).map(|passed| last + 1 - back + passed) {
                assert!(rate.roll(window).is_none_or(|closed| closed <= 24), "{back}");
                told += (0..12).filter(|_| rate.burst(tail_of(4.0)).is_some()).count();
            }
            assert_eq!(told, 0, "{back}");
            assert!((rate.mean - mean).abs() < 4.0, "{back}: {} {mean}", rate.mean);
        }
    }

    #[test]
    fn rates_of_other_windows_are_added_as_they_would_be_now() {
        let steady = |from: i64, to: i64| {
            let mut rate = Rate::since(from, 0);
            for window in from..to {
                rate.roll(window);
                rate.add(60, tail_of(4.0));
            }
            rate
        };
        // One was not seen for fifty windows, the other comes every window, whichever takes in the other.
        let (old, young) = (steady(0, 50), steady(40, 100));
        for (mut rate, other) in [(old, young), (young, old)] {
            rate.absorb(&other);
            assert_eq!(rate.count(), 60, "that of the open window");
            rate.roll(100);
            assert!((55.0..66.0).contains(&rate.mean), "{}", rate.mean);
            rate.roll(101);
            assert!(rate.drop(0, tail_of(4.0)).is_some());
        }
        // Both come every window.
        let mut both = steady(0, 100);
        both.absorb(&steady(0, 100));
        assert_eq!((both.count(), both.mean.round()), (120, 120.0));
    }
}
