//! Evidence becomes one score: the only place where signals are weighed against each other.

use crate::{
    detect::{Evidence, Signals, address::Standing, told::STEP},
    verdict::{Flag, RuleHit},
};

/// What a rule's severity (0..10) alone scores: below 2 nothing is flagged; 2 is low, 3.5 medium, 5 high, 7 critical.
pub fn of_rule(severity: f32) -> f32 {
    const POINTS: [(f32, f32); 6] =
        [(0.0, 0.05), (2.0, 0.5), (3.5, 0.65), (5.0, 0.8), (7.0, 0.92), (10.0, 0.98)];
    let mut last = POINTS[0];
    for point in POINTS {
        if severity <= point.0 {
            let width = point.0 - last.0;
            let along = if width > 0.0 { (severity - last.0) / width } else { 1.0 };
            return last.1 + along.clamp(0.0, 1.0) * (point.1 - last.1);
        }
        last = point;
    }
    last.1
}

/// Joins independent evidence (noisy or): each piece takes away part of the doubt that the others leave.
///
/// Pieces after the strongest count for half of what they say alone, because signals of one record are seldom
/// independent: a new message that matches a rule is often new *because* it is an error.
pub fn join(strengths: impl Iterator<Item = f32>) -> f32 {
    let (mut strongest, mut doubt) = (0.0f32, 1.0f32);
    // What is no number says nothing.
    for strength in strengths.map(|strength| strength.clamp(0.0, 0.99)).filter(|strength| *strength > 0.0) {
        // Comparisons, because `min` and `max` of floats are calls where this is interpreted.
        let mut other = strength;
        if strength > strongest {
            (strongest, other) = (strength, strongest);
        }
        doubt *= 1.0 - other / 2.0;
    }
    1.0 - (1.0 - strongest) * doubt
}

/// Moves a raw score so that the user's threshold becomes 0.5, and adds the offset that feedback has moved it by. Has three
/// digits after the point, as it is written: level and score must not contradict one another there.
pub fn calibrate(raw: f32, threshold: f32, offset: f32) -> f32 {
    let scaled = if raw < threshold {
        0.5 * raw / threshold
    } else {
        0.5 + 0.5 * (raw - threshold) / (1.0 - threshold).max(1e-3)
    };
    // By a conversion, because each record takes this way and to round a float is a call.
    let thousandths = ((scaled + offset).clamp(0.0, 1.0) * 1_000.0 + 0.5) as u32;
    thousandths as f32 / 1_000.0
}

/// Severity from which a rule outweighs even a message's being known as normal.
pub const RULE_OVER_KNOWN: f32 = 5.0;
/// See [`is_habit`].
const HABIT_COUNT: u64 = 60;
/// See [`is_habit`]; an hour.
const HABIT_NANOS: i64 = 3_600_000_000_000;

/// A message that has been seen this often, and for so many nanoseconds, is a habit: rules below [`RULE_OVER_KNOWN`]
/// have said what they had to say (bursts and error rates tell when it grows).
pub fn is_habit(count: u64, nanos: i64) -> bool {
    count >= HABIT_COUNT && nanos >= HABIT_NANOS
}

/// What is left of a score that being known has cleared.
pub const CLEARED: f32 = 0.45;

/// What a rule scores on a message that is, or is not, known as normal: on a known one, only a grave rule counts in full.
pub fn of_rule_on(severity: f32, is_known: bool) -> f32 {
    let strength = of_rule(severity);
    if is_known && severity < RULE_OVER_KNOWN { strength * CLEARED } else { strength }
}

/// Where a raw score is worth flagging.
pub(crate) const FLAGGED: f32 = 0.5;
/// Where `medium` begins.
const MEDIUM: f32 = 0.65;
/// Severity from which a rule alone is critical.
const RULE_CRITICAL: f32 = 7.0;

/// What evidence loses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lost {
    /// Rules and what is unfamiliar: because they were told before.
    pub(crate) told: f32,
    /// A rule that reads nothing but a record's level: because the source says so all the time.
    pub(crate) level: f32,
}

/// What a rule still says that was told before and loses this much by it. An ordinary one sinks at most to just below where
/// it is flagged, so that it still ranks above what no rule minds. A grave one is told twice in full; then the incident is
/// known, and it stays two levels below its own: flagged, and `medium` if it is critical.
fn told(severity: f32, strength: f32, lost: f32) -> f32 {
    if severity < RULE_OVER_KNOWN {
        return strength.min((strength - lost).max(0.48 + 0.02 * strength));
    }
    let floor = if severity < RULE_CRITICAL { FLAGGED } else { MEDIUM };
    strength.min((strength - 2.0 * (lost - STEP).max(0.0)).max(floor + 0.02 * strength))
}

/// The raw score of a record's evidence and rule. Of what was told before, what is unfamiliar stays just flagged.
pub(crate) fn raw(signals: &Signals, rule: Option<&RuleHit>, is_known: bool, lost: Lost) -> f32 {
    let Lost { told: lost, level } = lost;
    let rule = rule.map(|rule| told(rule.score, (of_rule_on(rule.score, is_known) - level).max(0.0), lost));
    let strengths = signals.evidence.iter().map(|evidence| match evidence.flag {
        Flag::New | Flag::Semantic => evidence.strength.min((evidence.strength - lost).max(FLAGGED)),
        _ => evidence.strength,
    });
    join(strengths.chain(rule))
}

/// The raw score of a line about an address. Each attempt that came before brings it nearer to being flagged; what an
/// address that was told goes on to try is `low` until it is told again, and no more than that where it says nothing else.
/// Past the second telling it is no longer flagged: an attack of hours would fill the list of findings.
pub(crate) fn of_address(raw: f32, standing: Standing, is_refused_only: bool) -> f32 {
    const BELOW: f32 = 0.98 * FLAGGED;
    match standing {
        Standing::Nobody => raw,
        Standing::Near(share) => raw.max(raw + share * (BELOW - raw)),
        Standing::Told { share, is_first } => {
            let least = if is_first { FLAGGED + 0.1 * share } else { BELOW };
            let most = if is_refused_only { MEDIUM - 0.01 } else { 1.0 };
            raw.min(most).max(least)
        }
    }
}

/// Whether a rule says of a line about an address nothing but that it was turned away, or that it is an error.
pub(crate) fn is_refused_only(rule: &RuleHit, is_level_only: bool, is_refusal: bool) -> bool {
    rule.score < RULE_OVER_KNOWN && (is_level_only || is_refusal)
}

/// Whether a record is a finding of the kind that repeats: by rule, or by being unfamiliar. Statistics know by themselves
/// when to speak.
pub(crate) fn repeats(signals: &Signals, rule: Option<&RuleHit>) -> bool {
    rule.is_some_and(|rule| of_rule(rule.score) >= FLAGGED)
        || signals.strength_of(Flag::New).max(signals.strength_of(Flag::Semantic)) >= FLAGGED
}

/// One line of English, strongest evidence first.
pub(crate) fn reason(signals: &Signals, rule: Option<&RuleHit>, description: Option<&str>) -> String {
    let mut parts: Vec<&Evidence> = signals.evidence.iter().collect();
    parts.sort_by(|left, right| right.strength.total_cmp(&left.strength));
    let mut reason = String::new();
    for part in parts {
        if !reason.is_empty() {
            reason.push_str("; ");
        }
        reason.push_str(&part.words);
    }
    if let Some(rule) = rule {
        if !reason.is_empty() {
            reason.push_str("; ");
        }
        reason.push_str("rule ");
        reason.push_str(&rule.name);
        if let Some(description) = description.filter(|text| !text.is_empty()) {
            reason.push_str(" (");
            reason.push_str(description);
            reason.push(')');
        }
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Level;

    #[test]
    fn rule_severities_map_to_levels() {
        let level = |severity| Level::of(of_rule(severity));
        assert_eq!(level(0.0), Level::None);
        assert_eq!(level(1.9), Level::None);
        assert_eq!(level(2.0), Level::Low);
        assert_eq!(level(3.5), Level::Medium);
        assert_eq!(level(5.0), Level::High);
        assert_eq!(level(7.0), Level::Critical);
        assert_eq!(level(10.0), Level::Critical);
        assert_eq!(level(f32::NAN), Level::Critical, "never from a checked rule file");
    }

    #[test]
    fn evidence_is_joined_in_any_order_and_what_is_no_number_says_nothing() {
        let joined = |strengths: &[f32]| join(strengths.iter().copied());
        assert_eq!(joined(&[]), 0.0);
        assert_eq!(joined(&[0.5]), 0.5);
        assert_eq!([joined(&[2.0]), joined(&[-1.0, 0.5])], [0.99, 0.5]);
        assert!((joined(&[0.5, 0.4]) - 0.6).abs() < 1e-6);
        assert_eq!(joined(&[0.4, 0.5]), joined(&[0.5, 0.4]));
        assert_eq!(joined(&[f32::NAN, 0.5, f32::NAN, 0.4]), joined(&[0.5, 0.4]));
    }

    #[test]
    fn a_grave_rule_is_told_twice_in_full_and_then_two_levels_below_its_own() {
        let levels = |severity: f32| -> Vec<Level> {
            (0..6)
                .map(|doublings| Level::of(told(severity, of_rule(severity), doublings as f32 * STEP)))
                .collect()
        };
        assert_eq!(levels(4.0)[..3], [Level::Medium, Level::Low, Level::None]);
        assert_eq!(levels(6.0), [Level::High, Level::High, Level::Low, Level::Low, Level::Low, Level::Low]);
        assert_eq!(levels(10.0)[..2], [Level::Critical; 2]);
        assert_eq!(levels(10.0)[2..], [Level::Medium; 4]);
    }

    #[test]
    fn attempts_of_an_address_come_nearer_and_are_low_once_it_is_told() {
        let of = |raw, standing| of_address(raw, standing, true);
        assert_eq!(of(0.4, Standing::Nobody), 0.4);
        assert_eq!(of(0.4, Standing::Near(0.0)), 0.4);
        assert!((0.4..FLAGGED).contains(&of(0.4, Standing::Near(0.5))));
        assert!(of(0.4, Standing::Near(1.0)) < FLAGGED && of(0.7, Standing::Near(1.0)) == 0.7);
        let told = |share, is_first| Standing::Told { share, is_first };
        for raw in [0.1, 0.55, 0.7] {
            assert_eq!(Level::of(of(raw, told(1.0, true))), Level::Low);
        }
        assert_eq!(Level::of(of(0.1, told(1.0, false))), Level::None, "an attack of hours");
        assert_eq!(of_address(0.85, told(0.5, true), false), 0.85, "it did something else");
    }

    #[test]
    fn evidence_adds_up_but_never_to_certainty() {
        let join = |strengths: &[f32]| join(strengths.iter().copied());
        assert_eq!(join(&[]), 0.0);
        assert!((join(&[0.6]) - 0.6).abs() < 1e-6);
        assert!(join(&[0.6, 0.5]) > 0.65 && join(&[0.6, 0.5]) < 0.75);
        assert!((join(&[0.5, 0.6]) - join(&[0.6, 0.5])).abs() < 1e-6, "order does not matter");
        assert!(join(&[0.99; 20]) <= 1.0);
    }

    #[test]
    fn the_threshold_is_where_half_is() {
        assert_eq!(calibrate(0.5, 0.5, 0.0), 0.5);
        assert_eq!(calibrate(0.7, 0.7, 0.0), 0.5);
        assert!(calibrate(0.6, 0.7, 0.0) < 0.5 && calibrate(0.6, 0.3, 0.0) > 0.5);
        assert_eq!((calibrate(1.0, 0.9, 0.0), calibrate(0.0, 0.1, 0.0)), (1.0, 0.0));
        assert_eq!(calibrate(0.9, 0.5, 0.5), 1.0);
        // As they are written, with three digits: a score of 0.5 is not without a level.
        for (raw, written, level) in
            [(0.4994, 0.499, Level::None), (0.49978, 0.5, Level::Low), (0.649_96, 0.65, Level::Medium)]
        {
            assert_eq!((calibrate(raw, 0.5, 0.0), Level::of(calibrate(raw, 0.5, 0.0))), (written, level));
        }
    }
}
