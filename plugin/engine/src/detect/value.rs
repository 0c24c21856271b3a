//! Value outliers: a number far beyond anything that stood in its place before.
//!
//! Per place, a sketch with one bucket per power of two (a coarse DDSketch, Masson et al., VLDB 2019): enough to know
//! the range that a duration, a size or a count usually has. Numbers that mostly grow are counters and never odd.

use crate::mask::MAX_VALUES;

/// Observations below which nothing is odd.
const MIN_COUNT: u32 = 100;
/// Powers of two above the highest usual bucket from which a value is odd.
const MIN_OCTAVES: usize = 3;
/// A place whose usual values spread over more powers of two than this has no range to leave.
const MAX_SPREAD: usize = 8;

/// Sketches of the first numbers of a template.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    places: [Place; MAX_VALUES],
}

#[derive(Clone, Debug, Default)]
struct Place {
    count: u32,
    grew: u32,
    last: f64,
    /// Occupied powers of two: bit 0 for values below 1, bit n for 2^(n-1)..2^n. Two sightings make a bucket usual.
    once: u64,
    usual: u64,
    largest: f64,
}

/// A value that left its range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outlier {
    /// Largest value that was usual.
    pub(crate) largest: f64,
    pub(crate) value: f64,
    /// Powers of two between them.
    pub(crate) octaves: usize,
}

impl Values {
    /// Takes the numbers of one record; gives the one that left its range the farthest.
    pub(crate) fn observe(&mut self, values: &[f64]) -> Option<Outlier> {
        let odd = self.places.iter_mut().zip(values).filter_map(|(place, value)| place.observe(*value));
        odd.max_by_key(|outlier| outlier.octaves)
    }
}

/// The power of two below which a value is, at most 63; that of what is no number is the last.
fn bucket(value: f64) -> usize {
    // A logarithm takes ten times as long as to read the exponent.
    let exponent = (value.to_bits() >> (f64::MANTISSA_DIGITS - 1)) as usize & 0x7ff;
    if value < 1.0 { 0 } else { exponent.saturating_sub(1_022).min(63) }
}

impl Place {
    fn observe(&mut self, value: f64) -> Option<Outlier> {
        let bucket = bucket(value);
        let bit = 1u64 << bucket;
        let top = 63usize.saturating_sub(self.usual.leading_zeros() as usize);
        let spread = top.saturating_sub(self.usual.trailing_zeros() as usize);
        let counter = u64::from(self.grew) * 100 > u64::from(self.count) * 97;
        let octaves = bucket.saturating_sub(top);
        let odd = self.count >= MIN_COUNT
            && self.usual != 0
            && self.usual & bit == 0
            && octaves >= MIN_OCTAVES
            && spread <= MAX_SPREAD
            && !counter;
        let outlier = odd.then_some(Outlier { largest: self.largest, value, octaves });

        self.grew = self.grew.saturating_add(u32::from(value >= self.last));
        self.last = value;
        self.count = self.count.saturating_add(1);
        if self.count == u32::MAX {
            self.count /= 2;
            self.grew /= 2;
        }
        if self.once & bit != 0 {
            self.usual |= bit;
        }
        self.once |= bit;
        if !odd && value > self.largest {
            self.largest = value;
        }
        outlier
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_beyond_the_range_is_odd_the_first_time() {
        let mut values = Values::default();
        for index in 0..200 {
            assert_eq!(values.observe(&[20.0 + f64::from(index * 7 % 17)]), None);
        }
        assert_eq!(values.observe(&[100.0]), None, "a few times the usual is not far");
        let odd = values.observe(&[9_000.0]).unwrap();
        assert_eq!((odd.largest, odd.value), (100.0, 9_000.0));
    }

    #[test]
    fn counters_and_wide_ranges_are_never_odd() {
        let mut counter = Values::default();
        assert!((0..200).all(|index| counter.observe(&[f64::from(index)]).is_none()));
        assert_eq!(counter.observe(&[1e9]), None);
        let mut wide = Values::default();
        assert!((0..400).all(|index| wide.observe(&[f64::from(2u32.pow(index * 7 % 20))]).is_none()));
        assert_eq!(wide.observe(&[1e12]), None);
    }

    #[test]
    fn a_bucket_is_a_power_of_two() {
        let buckets = [-5.0, 0.0, 0.99, 1.0, 1.99, 2.0, 3.0, 4.0, 1e9, 1e300, f64::INFINITY, f64::NAN];
        assert_eq!(buckets.map(bucket), [0, 0, 0, 1, 1, 2, 2, 3, 30, 63, 63, 63]);
        assert_eq!(bucket(f64::from_bits(4f64.to_bits() - 1)), 2, "just below");
    }

    #[test]
    fn odd_numbers_do_not_panic() {
        let mut values = Values::default();
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e308] {
            values.observe(&[value; MAX_VALUES]);
        }
    }
}
