//! The engine's verdict as the world's. What only the sidecar gives (status, similarity) has no place there.

use oddline_engine::Flag;

use crate::bindings::exports::oddline::detector::detection::{RuleHit, Signals, Template, Verdict};

/// The same verdict.
pub(crate) fn of(verdict: oddline_engine::Verdict) -> Verdict {
    let hit = |rule: oddline_engine::RuleHit| RuleHit {
        name: rule.name.to_string(),
        category: rule.category.to_string(),
        score: rule.score,
    };
    let text = verdict.template.as_deref().unwrap_or_default().to_owned();
    Verdict {
        score: verdict.score,
        signals: verdict.flags.iter().map(signal).fold(Signals::empty(), |all, one| all | one),
        rule: verdict.rule.map(hit),
        template: Some(Template { id: verdict.template_id.0, text }),
        expected: verdict.expected,
        actual: verdict.actual,
        reason: verdict.reason.unwrap_or_default(),
    }
}

fn signal(flag: Flag) -> Signals {
    match flag {
        Flag::Pattern => Signals::PATTERN,
        Flag::New => Signals::NEW,
        Flag::Rare => Signals::RARE,
        Flag::Burst => Signals::BURST,
        Flag::Drop => Signals::DROP,
        Flag::Silence => Signals::SILENCE,
        Flag::Repeat => Signals::REPEAT,
        Flag::Entropy => Signals::ENTROPY,
        Flag::Value => Signals::VALUE,
        Flag::ErrorRate => Signals::ERROR_RATE,
        Flag::Semantic => Signals::SEMANTIC,
        Flag::Sequence => Signals::SEQUENCE,
        Flag::Model => Signals::MODEL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_its_signal_in_the_same_place() {
        for (place, flag) in Flag::ALL.into_iter().enumerate() {
            assert_eq!(signal(flag).bits(), 1 << place, "{flag:?}");
        }
    }
}
