//! Our records become the world's, and a guest's verdict becomes ours. What a guest says is input like any other: checked,
//! cut, and free of control characters.

use oddline_analyze::ports::{Leaf, Opinion, Seen};
use oddline_engine::{Flag, Flags, Level, RuleHit, Status, TemplateId, Verdict};

use crate::{
    bindings::exports::oddline::detector::detection as wit,
    limits::{MAX_NAME, MAX_REASON},
    sandbox::Fault,
};

/// Longest template that is taken, in characters.
const MAX_TEMPLATE: usize = 4_096;
/// Score from which a detector holds something against a record.
const FLAGGED: f32 = 0.5;

/// A record, looked at `now`.
pub(crate) fn entry(seen: Seen, now: i64) -> wit::Entry {
    let fields = seen.fields.into_iter().map(|(path, leaf)| wit::Field { path, value: value(leaf) });
    wit::Entry {
        time: now,
        tag: seen.tag,
        message: seen.message,
        severity: seen.severity.map(severity),
        fields: fields.collect(),
    }
}

fn value(leaf: Leaf) -> wit::Value {
    match leaf {
        Leaf::Null => wit::Value::None,
        Leaf::Bool(value) => wit::Value::Boolean(value),
        Leaf::Int(number) => wit::Value::Integer(number),
        Leaf::Float(number) => wit::Value::Decimal(number),
        Leaf::Text(text) => wit::Value::Text(text),
        Leaf::Other => wit::Value::Other,
    }
}

fn severity(severity: oddline_engine::Severity) -> wit::Severity {
    match severity {
        oddline_engine::Severity::Trace => wit::Severity::Trace,
        oddline_engine::Severity::Debug => wit::Severity::Debug,
        oddline_engine::Severity::Info => wit::Severity::Info,
        oddline_engine::Severity::Warn => wit::Severity::Warn,
        oddline_engine::Severity::Error => wit::Severity::Error,
        oddline_engine::Severity::Fatal => wit::Severity::Fatal,
    }
}

/// A guest's verdict, if it makes sense.
pub(crate) fn verdict(given: wit::Verdict) -> Result<Verdict, Fault> {
    let score = within("score", given.score, 0.0, 1.0)?;
    let rule = given.rule.map(|rule| {
        Ok(RuleHit {
            name: shown(&rule.name, MAX_NAME).into(),
            category: shown(&rule.category, MAX_NAME).into(),
            score: within("the score of a rule", rule.score, 0.0, 10.0)?,
        })
    });
    let level = Level::of(score);
    let is_flagged = level > Level::None;
    let cut = |text: &str| text.chars().take(MAX_TEMPLATE).collect::<String>();
    let (template_id, text) = match given.template {
        Some(template) => (TemplateId(template.id), cut(&template.text)),
        None => (TemplateId::default(), String::new()),
    };
    Ok(Verdict {
        score,
        level,
        template_id,
        status: is_flagged.then_some(Status::Inline),
        flags: flags(given.signals),
        rule: rule.transpose()?,
        template: (!text.is_empty()).then(|| text.into()),
        expected: given.expected.filter(|number| number.is_finite()),
        actual: given.actual.filter(|number| number.is_finite()),
        reason: (!given.reason.is_empty()).then(|| cut(&given.reason)),
        ..Verdict::default()
    })
}

fn within(what: &str, number: f32, least: f32, most: f32) -> Result<f32, Fault> {
    let is_within = (least..=most).contains(&number);
    is_within
        .then_some(number)
        .ok_or_else(|| Fault::Answer(format!("{what} is {number}, not within {least}..={most}")))
}

fn flags(signals: wit::Signals) -> Flags {
    let all = [
        (wit::Signals::PATTERN, Flag::Pattern),
        (wit::Signals::NEW, Flag::New),
        (wit::Signals::RARE, Flag::Rare),
        (wit::Signals::BURST, Flag::Burst),
        (wit::Signals::DROP, Flag::Drop),
        (wit::Signals::SILENCE, Flag::Silence),
        (wit::Signals::REPEAT, Flag::Repeat),
        (wit::Signals::ENTROPY, Flag::Entropy),
        (wit::Signals::VALUE, Flag::Value),
        (wit::Signals::ERROR_RATE, Flag::ErrorRate),
        (wit::Signals::SEMANTIC, Flag::Semantic),
        (wit::Signals::SEQUENCE, Flag::Sequence),
        (wit::Signals::MODEL, Flag::Model),
    ];
    all.into_iter().filter(|(signal, _)| signals.contains(*signal)).map(|(_, flag)| flag).collect()
}

/// What a detector of that name and weight holds against a record, if anything.
pub(crate) fn opinion(name: &str, weight: f32, verdict: &Verdict) -> Option<Opinion> {
    let score = verdict.score * weight;
    let reason = match verdict.reason.as_deref() {
        Some(reason) => format!("{name}: {}", shown(reason, MAX_REASON)),
        None => format!("{name} holds it for odd"),
    };
    (score >= FLAGGED).then_some(Opinion { score, reason })
}

/// For people: short, in one line.
pub(crate) fn shown(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(score: f32) -> wit::Verdict {
        wit::Verdict {
            score,
            signals: wit::Signals::VALUE | wit::Signals::ERROR_RATE,
            rule: None,
            template: None,
            expected: Some(f64::NAN),
            actual: Some(2.0),
            reason: "slow\n\u{1b}[2J".to_owned(),
        }
    }

    #[test]
    fn scores_out_of_range_are_refused() {
        assert_eq!(verdict(given(1.0)).unwrap().level, Level::Critical);
        assert_eq!(verdict(given(0.0)).unwrap().status, None);
        for score in [f32::NAN, f32::INFINITY, -0.01, 1.01, 10.0] {
            let words = format!("bad answer: score is {score}, not within 0..=1");
            assert_eq!(verdict(given(score)).unwrap_err().to_string(), words);
        }
        let rule = wit::RuleHit { name: "R".to_owned(), category: "c".to_owned(), score: f32::NAN };
        assert!(verdict(wit::Verdict { rule: Some(rule), ..given(0.5) }).is_err());
    }

    #[test]
    fn numbers_that_are_none_are_left_out_and_signals_kept() {
        let verdict = verdict(given(0.6)).unwrap();
        assert_eq!((verdict.expected, verdict.actual), (None, Some(2.0)));
        let flags: Vec<&str> = verdict.flags.iter().map(Flag::as_str).collect();
        assert_eq!(flags, ["value", "error_rate"]);
    }

    #[test]
    fn an_opinion_is_weighed_short_and_harmless() {
        let verdict = |score, reason: &str| {
            super::verdict(wit::Verdict { reason: reason.to_owned(), ..given(score) }).unwrap()
        };
        let held = opinion("slow-requests", 1.0, &verdict(0.5, "slow\n\u{1b}[2J")).unwrap();
        assert_eq!((held.score, held.reason.as_str()), (0.5, "slow-requests: slow  [2J"));
        assert_eq!(opinion("d", 0.5, &verdict(0.9, "")), None);
        assert_eq!(opinion("d", 0.5, &verdict(1.0, "")).unwrap().reason, "d holds it for odd");
        let long = opinion("d", 1.0, &verdict(1.0, &"x".repeat(1_000_000))).unwrap();
        assert_eq!(long.reason.len(), "d: ".len() + MAX_REASON);
    }
}
