//! Local verdict + standing of the template → final verdict. Pure: no clock, no state, no I/O.

use oddline_engine::{Flag, Level, RuleHit, Status, Verdict, score};

use crate::batch::Standing;

/// From this severity a rule outweighs a message's likeness to known ones: it is where a rule alone begins to flag.
/// "failed password" is very like "password changed", and likeness is the only thing that an embedding sees.
pub(crate) const RULE_OVER_LIKENESS: f32 = 2.0;
/// From this severity a rule outweighs even a message's being known; the plugin's engine sees it the same way.
pub(crate) const RULE_CRITICAL: f32 = score::RULE_OVER_KNOWN;
/// Where a score leaves level `none`.
const FLAGGED: f32 = 0.5;
/// Strength of being utterly unlike anything known: with nothing but novelty beside it, it reaches the middle of
/// `medium`; the rest takes a rule or statistics.
const UTTERLY_UNLIKE: f32 = 0.65;
/// Longest quotation of log text in a reason, in characters.
const QUOTED: usize = 96;

/// The final verdict on a record whose template stands like this; a similarity of `threshold` counts as like.
///
/// ```
/// use oddline_analyze::{batch::Standing, judge::judge};
/// use oddline_engine::{Level, Status, Verdict};
///
/// let local = Verdict { score: 0.55, level: Level::Low, ..Verdict::default() };
/// let nearest = "session opened for user <*>".into();
/// let verdict = judge(local, &Standing::Near { similarity: 0.41, nearest }, 0.6);
/// assert_eq!(verdict.status, Some(Status::Confirmed));
/// assert!(verdict.reason.unwrap().contains(r#"(nearest 0.41: "session opened for user <*>")"#));
/// ```
pub fn judge(local: Verdict, standing: &Standing, threshold: f32) -> Verdict {
    let rule = local.rule.as_ref().map_or(0.0, |rule| rule.score);
    let statistics = local.flags.iter().any(is_statistical) && local.score >= FLAGGED;
    let message = if local.flags.contains(Flag::New) { "new message" } else { "message" };
    match standing {
        Standing::Exception => cleared(local, "an operator has declared this message harmless".into()),
        Standing::Known if rule >= RULE_CRITICAL || statistics => {
            let known = Verdict { similarity: Some(1.0), nearest: local.template.clone(), ..local };
            confirmed(known, "known message".into())
        }
        Standing::Known => {
            let known = Verdict { similarity: Some(1.0), nearest: local.template.clone(), ..local };
            cleared(known, "known message".into())
        }
        Standing::Near { similarity, nearest } => {
            let quotation = format!("nearest {similarity:.2}: \"{}\"", quote(nearest));
            let looked_up =
                Verdict { similarity: Some(*similarity), nearest: Some(nearest.clone()), ..local };
            if *similarity >= threshold {
                let why = format!("{message}, like a known one ({quotation})");
                if rule >= RULE_OVER_LIKENESS || statistics {
                    confirmed(looked_up, why)
                } else {
                    cleared(looked_up, why)
                }
            } else {
                let mut unlike = looked_up;
                unlike.flags.insert(Flag::Semantic);
                unlike.score =
                    score::join([unlike.score.max(FLAGGED), unlikeness(*similarity, threshold)].into_iter());
                confirmed(unlike, format!("{message}, unlike anything known ({quotation})"))
            }
        }
        Standing::Alone => confirmed(local, format!("{message}; no known messages to compare it with yet")),
    }
}

/// A local verdict on which one more rule hits, which counts if it outweighs the one that the plugin found.
pub(crate) fn with_rule(local: Verdict, rule: RuleHit) -> Verdict {
    if local.rule.as_ref().is_some_and(|found| found.score >= rule.score) {
        return local;
    }
    let score = score::join([local.score, score::of_rule(rule.score)].into_iter());
    let told = format!("rule {}", rule.name);
    let reason = match local.reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("{reason}; {told}"),
        None => told,
    };
    let mut flags = local.flags;
    flags.insert(Flag::Pattern);
    Verdict { score, level: Level::of(score), flags, rule: Some(rule), reason: Some(reason), ..local }
}

/// The local verdict, given back because the sidecar could not judge; `why` names the cause.
pub(crate) fn skipped(local: Verdict, why: &str) -> Verdict {
    let reason = match local.reason.as_deref() {
        Some(reason) if !reason.is_empty() => format!("{reason}; sidecar: {why}"),
        _ => format!("sidecar: {why}"),
    };
    Verdict { status: Some(Status::Skipped), reason: Some(reason), level: Level::of(local.score), ..local }
}

fn confirmed(local: Verdict, why: String) -> Verdict {
    let score = local.score.clamp(FLAGGED, 1.0);
    let reason = Some(explain(why, &local));
    Verdict { score, level: Level::of(score), status: Some(Status::Confirmed), reason, ..local }
}

/// Below the mark, and ordered as before: what was more suspicious still is.
fn cleared(local: Verdict, why: String) -> Verdict {
    let score = local.score.clamp(0.0, 1.0) * score::CLEARED;
    let reason = Some(explain(why, &local));
    Verdict { score, level: Level::of(score), status: Some(Status::Cleared), reason, ..local }
}

/// Strength of being this far below the threshold: nothing at the threshold, rising smoothly and ever less.
fn unlikeness(similarity: f32, threshold: f32) -> f32 {
    let distance = ((threshold - similarity) / threshold.max(f32::EPSILON)).clamp(0.0, 1.0);
    UTTERLY_UNLIKE * distance * (2.0 - distance)
}

fn is_statistical(flag: Flag) -> bool {
    match flag {
        Flag::Burst
        | Flag::Drop
        | Flag::Silence
        | Flag::Repeat
        | Flag::Entropy
        | Flag::Value
        | Flag::ErrorRate
        | Flag::Sequence
        | Flag::Model => true,
        Flag::Pattern | Flag::New | Flag::Rare | Flag::Semantic => false,
    }
}

/// Our clause first, then what the plugin said beyond novelty, which ours replaces.
fn explain(mut why: String, local: &Verdict) -> String {
    for clause in local.reason.as_deref().unwrap_or_default().split("; ") {
        if !clause.is_empty() && !clause.starts_with("new message") {
            why.push_str("; ");
            why.push_str(clause);
        }
    }
    if let Some(rule) = &local.rule
        && !why.contains(&*rule.name)
    {
        why.push_str("; rule ");
        why.push_str(&rule.name);
    }
    why
}

/// Log text is hostile: what is quoted in a line for people is short and carries no control characters.
fn quote(text: &str) -> String {
    let mut quoted: String =
        text.chars().take(QUOTED).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(QUOTED).is_some() {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use oddline_engine::{Flags, RuleHit};

    use super::*;

    fn local(score: f32, flags: &[Flag]) -> Verdict {
        Verdict {
            score,
            level: Level::of(score),
            flags: flags.iter().copied().collect::<Flags>(),
            status: Some(Status::Pending),
            template: Some("the message".into()),
            ..Verdict::default()
        }
    }

    fn with_rule(score: f32) -> Verdict {
        let rule = RuleHit { name: "DB_CONNECT_FAILED".into(), category: "application".into(), score };
        let reason = Some("new message; rule DB_CONNECT_FAILED".into());
        Verdict { rule: Some(rule), reason, ..local(0.7, &[Flag::New, Flag::Pattern]) }
    }

    fn near(similarity: f32) -> Standing {
        Standing::Near { similarity, nearest: Arc::from("session opened for user <*>") }
    }

    #[test]
    fn the_reason_reads_as_promised() {
        let verdict = judge(with_rule(7.0), &near(0.41), 0.6);
        assert_eq!(
            verdict.reason.unwrap(),
            "new message, unlike anything known (nearest 0.41: \"session opened for user <*>\"); rule DB_CONNECT_FAILED"
        );
        assert!(verdict.flags.contains(Flag::Semantic));
    }

    #[test]
    fn likeness_clears_up_to_the_threshold_and_not_one_step_below() {
        let at = judge(local(0.6, &[Flag::New]), &near(0.6), 0.6);
        assert_eq!((at.status, at.level), (Some(Status::Cleared), Level::None));
        let below = judge(local(0.6, &[Flag::New]), &near(0.599), 0.6);
        assert_eq!((below.status, below.level), (Some(Status::Confirmed), Level::Low));
    }

    #[test]
    fn the_score_rises_with_the_distance_and_stays_one_scale() {
        let scores: Vec<f32> = (0..=60)
            .map(|step| judge(local(0.55, &[Flag::New]), &near(0.59 - step as f32 / 100.0), 0.6).score)
            .collect();
        assert!(scores.is_sorted() && scores[0] > 0.54 && scores[60] < 0.92, "{scores:?}");
        let both_signals = judge(with_rule(7.0), &near(0.1), 0.6).score;
        assert!(both_signals > scores[49] && both_signals <= 1.0);
    }

    #[test]
    fn rules_outweigh_likeness_by_severity() {
        let status = |rule, standing: &Standing| judge(with_rule(rule), standing, 0.6).status.unwrap();
        assert_eq!(status(1.9, &near(0.9)), Status::Cleared);
        assert_eq!(status(2.0, &near(0.9)), Status::Confirmed);
        assert_eq!(status(4.9, &Standing::Known), Status::Cleared);
        assert_eq!(status(5.0, &Standing::Known), Status::Confirmed);
        assert_eq!(status(9.0, &Standing::Exception), Status::Cleared);
    }

    #[test]
    fn statistics_keep_their_score_on_a_known_message() {
        let burst = judge(local(0.8, &[Flag::Burst]), &Standing::Known, 0.6);
        assert_eq!((burst.score, burst.status), (0.8, Some(Status::Confirmed)));
        let faint = judge(local(0.3, &[Flag::Burst]), &Standing::Known, 0.6);
        assert_eq!(faint.status, Some(Status::Cleared));
        let rare = judge(local(0.6, &[Flag::Rare]), &Standing::Known, 0.6);
        assert_eq!(rare.status, Some(Status::Cleared), "rarity is not a statistic of a known message");
    }

    #[test]
    fn with_nothing_known_the_local_verdict_stands() {
        let verdict = judge(local(0.6, &[Flag::New]), &Standing::Alone, 0.6);
        assert_eq!((verdict.score, verdict.similarity), (0.6, None));
        assert!(!verdict.flags.contains(Flag::Semantic));
    }

    #[test]
    fn quotations_are_short_and_without_control_characters() {
        let hostile =
            Standing::Near { similarity: 0.1, nearest: format!("\u{1b}[2J{}", "x".repeat(10_000)).into() };
        let reason = judge(local(0.6, &[Flag::New]), &hostile, 0.6).reason.unwrap();
        assert!(!reason.contains('\u{1b}') && reason.len() < 200, "{reason}");
    }

    #[test]
    fn skipped_keeps_the_local_verdict_and_says_why() {
        let skipped = skipped(with_rule(7.0), "no answer within 2 s");
        assert_eq!((skipped.score, skipped.status), (0.7, Some(Status::Skipped)));
        assert_eq!(
            skipped.reason.unwrap(),
            "new message; rule DB_CONNECT_FAILED; sidecar: no answer within 2 s"
        );
    }
}
