//! How sure a figure is: 95 % intervals from seeded bootstrap samples.
//!
//! A metric takes one weight a unit (a case, a run, a line). The figure itself has every weight 1; a sample has for each
//! unit how often it was drawn.

use fastrand::Rng;

/// Samples drawn.
const SAMPLES: usize = 500;
/// The same samples each time.
const SEED: u64 = 20_261_121;

/// A measured value and where it would fall on other data of the kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// `None` if there is nothing to measure it on.
    pub value: Option<f64>,
    /// 2.5 and 97.5 % of the samples.
    pub interval: Option<(f64, f64)>,
    /// On how many units.
    pub units: usize,
}

/// Measures on all units, and on samples of them.
pub fn estimate(units: usize, metric: impl Fn(&[f64]) -> Option<f64>) -> Estimate {
    // No minus before a nought.
    let value = metric(&vec![1.0; units]).map(|value| value + 0.0);
    let mut rng = Rng::with_seed(SEED);
    let mut weights = vec![0.0; units];
    let mut samples: Vec<f64> = Vec::with_capacity(SAMPLES);
    if units > 1 && value.is_some() {
        for _ in 0..SAMPLES {
            weights.fill(0.0);
            for _ in 0..units {
                weights[rng.usize(..units)] += 1.0;
            }
            samples.extend(metric(&weights));
        }
    }
    samples.sort_by(f64::total_cmp);
    let at = |share: f64| samples.get(((samples.len() as f64 - 1.0) * share).round() as usize).copied();
    Estimate { value, interval: at(0.025).zip(at(0.975)), units }
}

/// The share of units for which something holds.
pub fn share(holds: &[bool]) -> Estimate {
    estimate(holds.len(), |weights| {
        let total: f64 = weights.iter().sum();
        let held: f64 =
            holds.iter().zip(weights).filter(|(holds, _)| **holds).map(|(_, weight)| weight).sum();
        (total > 0.0).then(|| held / total)
    })
}

/// The mean over units; those without a value are left out.
pub fn mean(values: &[Option<f64>]) -> Estimate {
    estimate(values.len(), |weights| {
        let valued = || {
            values
                .iter()
                .zip(weights)
                .filter_map(|(value, weight)| Some((*value)?).map(|value| (value, *weight)))
        };
        let total: f64 = valued().map(|(_, weight)| weight).sum();
        (total > 0.0).then(|| valued().map(|(value, weight)| value * weight).sum::<f64>() / total)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_holds_the_value_and_narrows_with_more_units() {
        let half = |units: usize| share(&(0..units).map(|unit| unit % 2 == 0).collect::<Vec<_>>());
        let width = |estimate: Estimate| estimate.interval.map(|(low, high)| high - low).unwrap_or_default();
        let (few, many) = (half(20), half(2_000));
        assert_eq!((few.value, many.value), (Some(0.5), Some(0.5)));
        assert!(width(few) > 0.3 && width(many) < 0.06, "{few:?} {many:?}");
        assert_eq!(half(20), few, "the same samples each time");
    }

    #[test]
    fn nothing_to_measure_is_no_value() {
        assert_eq!(share(&[]).value, None);
        assert_eq!(mean(&[None, None]).value, None);
        assert_eq!(mean(&[Some(1.0), None, Some(3.0)]).value, Some(2.0));
        assert_eq!(share(&[true]).interval, None, "one unit says nothing of its spread");
    }
}
