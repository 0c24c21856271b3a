//! The similarity from which a message counts as like a known one: not a constant, but what the known messages
//! themselves show. Pure arithmetic; the caller fetches the sample and decides when.

/// Known templates looked at.
pub(crate) const SAMPLE: usize = 500;
/// The threshold as long as nothing is known.
pub const PRIOR: f32 = 0.6;
/// Weight of the prior, in templates.
const PRIOR_WEIGHT: f32 = 50.0;
/// Share of known templates that may lie further from their nearest neighbour than the threshold.
const QUANTILE: f32 = 0.1;
/// Whatever the sample says, the threshold stays within these: below one half two messages share a subject at most, and
/// a known set of all different messages would else call anything alike.
const BOUNDS: (f32, f32) = (0.5, 0.85);

/// The threshold, given each known template's similarity to the nearest *other* known one (leave one out).
///
/// A message that belongs to the same population falls below the low quantile of this distribution about as rarely as
/// a known one does. Few known templates say little, so the quantile is shrunk towards the prior by their number.
///
/// ```
/// use oddline_analyze::calibrate::threshold;
///
/// assert_eq!(threshold(&mut []), 0.6);
/// assert!(threshold(&mut vec![0.95; 1_000]) > 0.84);
/// ```
pub fn threshold(nearest_other: &mut [f32]) -> f32 {
    nearest_other.sort_by(f32::total_cmp);
    let count = nearest_other.len() as f32;
    let rank = ((count - 1.0).max(0.0) * QUANTILE).round() as usize;
    let quantile = nearest_other.get(rank).copied().unwrap_or(PRIOR);
    let shrunk = (count * quantile + PRIOR_WEIGHT * PRIOR) / (count + PRIOR_WEIGHT);
    if shrunk.is_finite() { shrunk.clamp(BOUNDS.0, BOUNDS.1) } else { PRIOR }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_known_the_more_the_more_there_are() {
        let high = |count| threshold(&mut vec![0.8; count]);
        assert!(high(1) < 0.61 && high(50) > 0.69 && high(50) < 0.71 && high(2_000) > 0.79);
    }

    #[test]
    fn one_stray_template_moves_nothing() {
        let mut most = vec![0.8; 99];
        most.push(0.0);
        assert!((threshold(&mut most) - threshold(&mut [0.8; 99])).abs() < 0.01);
    }

    #[test]
    fn stays_in_bounds_whatever_comes() {
        assert_eq!(threshold(&mut vec![-1.0; 10_000]), 0.5);
        assert_eq!(threshold(&mut vec![1.0; 10_000]), 0.85);
        assert_eq!(threshold(&mut [f32::NAN; 3]), PRIOR);
    }
}
