//! The one pass that finds which of many rules hit, against asking `regex` for every single pattern: over the rules that
//! ship, and over whatever patterns an input brings along.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use oddline_engine::rules::{Categories, Rule, RuleSet, Scratch, Subject, builtin_rules};
use regex::bytes::{Regex, RegexBuilder};

use crate::setup::rules_of;

/// Longest message: over it, many rules may use up what they may read in all.
const MOST_MESSAGE: usize = 4 << 10;
/// Of the rules that ship, one in so many is asked for itself on one message; all of them take a millisecond.
const SHARE: usize = 16;

struct Plain {
    name: Arc<str>,
    pattern: Regex,
    unless: Vec<Regex>,
}

struct Rules {
    set: RuleSet,
    plain: Vec<Plain>,
}

static BUILTIN: LazyLock<Rules> = LazyLock::new(|| {
    let mut rules = builtin_rules();
    rules.retain(|rule| rule.fields.is_empty() && !rule.pattern.is_empty());
    rules.iter_mut().for_each(|rule| rule.level = None);
    Rules::of(rules)
});

impl Rules {
    /// Those of the rules that the engine takes.
    fn of(mut rules: Vec<Rule>) -> Rules {
        let compiled = RuleSet::compile(rules.clone());
        let refused: BTreeSet<_> = compiled.problems.into_iter().filter_map(|problem| problem.rule).collect();
        rules.retain(|rule| rule.enabled && !refused.contains(&rule.name));
        Rules { set: compiled.set, plain: rules.iter().map(Plain::of).collect() }
    }
}

impl Plain {
    fn of(rule: &Rule) -> Plain {
        Plain {
            name: Arc::clone(&rule.name),
            pattern: regex(&rule.pattern),
            unless: rule.unless.iter().map(|pattern| regex(pattern)).collect(),
        }
    }

    fn hits(&self, message: &[u8]) -> bool {
        self.pattern.is_match(message) && !self.unless.iter().any(|unless| unless.is_match(message))
    }
}

fn regex(pattern: &str) -> Regex {
    let mut builder = RegexBuilder::new(pattern);
    // The engine's own limits have let it pass.
    builder.case_insensitive(true).unicode(false).size_limit(64 << 20).dfa_size_limit(8 << 20);
    builder.build().unwrap_or_else(|error| panic!("`{pattern}` is a pattern to the engine only: {error}"))
}

/// The first byte says whose rules: those that ship, and which of them are asked for one by one; or, from 128 on, those
/// that stand before the first NUL, one a line.
pub fn check(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    if *choice < 128 {
        let message = &rest[..rest.len().min(MOST_MESSAGE)];
        let asked = BUILTIN.plain.iter().skip(usize::from(*choice) % SHARE).step_by(SHARE);
        return compare(&BUILTIN, asked, message);
    }
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let Ok(patterns) = std::str::from_utf8(&rest[..end]) else { return };
    let message = rest.get(end + 1..).unwrap_or_default();
    let rules = Rules::of(rules_of(patterns));
    compare(&rules, rules.plain.iter(), &message[..message.len().min(MOST_MESSAGE)]);
}

fn compare<'r>(rules: &'r Rules, asked: impl Iterator<Item = &'r Plain>, message: &[u8]) {
    let mut scratch = Scratch::default();
    let found = rules.set.matches(Subject::from(message), &mut scratch);
    let names: BTreeSet<&str> = found.iter().map(|hit| &*hit.name).collect();
    for plain in asked {
        assert_eq!(
            names.contains(&*plain.name),
            plain.hits(message),
            "{} `{}` on {}",
            plain.name,
            plain.pattern,
            message.escape_ascii()
        );
    }
    for hit in &found {
        let plain = rules.plain.iter().find(|plain| plain.name == hit.name).expect("one of the rules");
        assert!(plain.hits(message), "{} `{}` on {}", hit.name, plain.pattern, message.escape_ascii());
    }
    let best = rules.set.best(Subject::from(message), Categories::ALL, |_| false, &mut scratch);
    assert_eq!(best.as_ref(), found.first(), "the best is the first of all on {}", message.escape_ascii());
}
