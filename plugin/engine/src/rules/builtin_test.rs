//! The rules that ship: each on its own examples, and all together against running every pattern alone.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use proptest::prelude::*;

use super::{
    BUILTIN, Categories, Example, Rule, RuleSet, Scratch, Subject, builtin_rules, literal, parse,
    pattern::{self, Caches, Matcher},
};
use crate::record::Severity;

fn best(set: &RuleSet, message: &str) -> Option<(String, f32)> {
    let hit = set.best(message.as_bytes().into(), Categories::ALL, |_| false, &mut Scratch::default())?;
    Some((hit.name.to_string(), hit.score))
}

#[test]
fn files_are_without_fault_and_categories_are_the_files_names() {
    for (name, content) in BUILTIN {
        let parsed = parse(name, content);
        assert_eq!(parsed.problems, []);
        for rule in &parsed.rules {
            // A category may be spread over several files: `system.toml`, `system-hardware.toml`.
            let rest = name.strip_prefix(&format!("builtin/{}", rule.category)).unwrap_or("none");
            assert!(rest == ".toml" || rest.starts_with('-'), "{} is in {name}", rule.name);
            assert!(!rule.description.is_empty(), "{} has no description", rule.name);
        }
    }
    let compiled = RuleSet::compile(builtin_rules());
    assert_eq!(compiled.problems, []);
    assert!(compiled.set.len() >= 320);
}

#[test]
fn every_rule_holds_its_examples() {
    let mut problems = Vec::new();
    for rule in builtin_rules() {
        assert!(rule.matches.len() >= 2 && !rule.misses.is_empty(), "{} has too few examples", rule.name);
        problems.extend(rule.check_examples().iter().map(ToString::to_string));
    }
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn every_rule_has_literals_to_look_for() {
    let mut without = builtin_rules();
    without.retain(|rule| {
        !rule.pattern.is_empty() && literal::required(&pattern::parse(&rule.pattern).unwrap()).is_none()
    });
    let without: Vec<_> = without.iter().map(|rule| &*rule.name).collect();
    assert_eq!(without, Vec::<&str>::new(), "these have a branch without three letters");
}

#[test]
fn the_founding_example() {
    let set = RuleSet::builtin();
    let (name, score) =
        best(&set, "CRITICAL: Failed to connect to primary database after 5 retries.").unwrap();
    assert_eq!(name, "DB_CONNECT_FAILED");
    assert!(score >= 7.0);
    assert_eq!(best(&set, "INFO: User 'guest' logged in from IP 192.168.1.50"), None);
}

#[test]
fn a_records_own_level_counts_like_the_word_in_its_message() {
    let set = RuleSet::builtin();
    let mut scratch = Scratch::default();
    let mut hit = |severity, silent: &str| {
        let subject = Subject { severity, ..Subject::from(&b"worker ended"[..]) };
        let hit = set.best(subject, Categories::ALL, |name| name == silent, &mut scratch);
        hit.map(|hit| hit.name.to_string())
    };
    assert_eq!(hit(None, ""), None);
    assert_eq!(hit(Some(Severity::Info), ""), None);
    assert_eq!(hit(Some(Severity::Error), "").as_deref(), Some("SEVERITY_ERROR"));
    assert_eq!(hit(Some(Severity::Fatal), "").as_deref(), Some("SEVERITY_FATAL"));
    assert_eq!(hit(Some(Severity::Fatal), "SEVERITY_FATAL"), None);
}

#[test]
fn categories_and_silence_leave_rules_out() {
    let set = RuleSet::builtin();
    let mut scratch = Scratch::default();
    let message = &b"ERROR: deadlock detected"[..];
    let mut hit = |categories, silent: &str| {
        set.best(message.into(), categories, |name| name == silent, &mut scratch)
            .map(|hit| hit.name.to_string())
    };
    assert_eq!(hit(Categories::ALL, "").as_deref(), Some("DB_DEADLOCK"));
    assert_eq!(hit(Categories::from_hint(b"postgres").unwrap(), "").as_deref(), Some("DB_DEADLOCK"));
    assert_eq!(hit(Categories::from_hint(b"sshd").unwrap(), "").as_deref(), Some("SEVERITY_ERROR"));
    assert_eq!(hit(Categories::ALL, "DB_DEADLOCK").as_deref(), Some("SEVERITY_ERROR"));
    assert_eq!(hit(Categories::MEDIA, ""), None);
}

#[test]
fn the_hash_ignores_order_and_notices_every_change() {
    let rules = builtin_rules();
    let hash = |rules: Vec<Rule>| RuleSet::compile(rules).set.hash();
    let original = hash(rules.clone());
    assert_eq!(original, hash(rules.iter().rev().cloned().collect()));
    let changed: [fn(&mut Rule); 4] = [
        |rule| rule.score = 9.5,
        |rule| rule.pattern.push('x'),
        |rule| rule.category = Arc::from("ours"),
        |rule| rule.enabled = false,
    ];
    for change in changed {
        let mut rules = rules.clone();
        change(&mut rules[3]);
        assert_ne!(original, hash(rules));
    }
}

/// Messages made of the rules' own examples, cut and joined anywhere, with bytes that are not text between them.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let rules = builtin_rules();
    let examples = rules.iter().flat_map(|rule| rule.matches.iter().chain(&rule.misses));
    let lines: Vec<String> = examples
        .filter_map(|example| match example {
            Example::Message(text) => Some(text.clone()),
            Example::Record(_) => None,
        })
        .collect();
    let piece = prop_oneof![
        8 => (proptest::sample::select(lines), any::<(prop::sample::Index, prop::sample::Index, bool)>()).prop_map(
            |(line, (from, to, upper))| {
                let (from, to) = (from.index(line.len() + 1), to.index(line.len() + 1));
                let part = line.as_bytes()[from.min(to)..from.max(to)].to_vec();
                if upper { part.to_ascii_uppercase() } else { part }
            }
        ),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
        1 => Just(b"\n".to_vec()),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// Small patterns over few letters, so that literals, classes, repetitions and branches meet often.
fn small_pattern() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => "[ab]{1,5}",
        1 => Just("[a-c]".to_owned()),
        1 => Just("(?-i:AB)".to_owned()),
        1 => Just(r"\b".to_owned()),
        1 => Just(".".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            proptest::collection::vec(inner.clone(), 2..4)
                .prop_map(|parts| format!("(?:{})", parts.join("|"))),
            (inner, proptest::sample::select(vec!["?", "*", "+", "{2}", "{1,3}", "{0,2}"]))
                .prop_map(|(part, times)| format!("(?:{part}){times}")),
        ]
    })
}

thread_local! {
    /// Each pattern's own matcher: hundreds of them, built once and not for every message.
    static MATCHERS: RefCell<HashMap<String, Matcher>> = RefCell::default();
}

fn matches(pattern: &str, message: &[u8]) -> bool {
    let build = || Matcher::new(&[pattern::parse(pattern).unwrap()], usize::MAX).unwrap();
    let mut caches = Caches::default();
    caches.belong_to(1, 1);
    MATCHERS.with_borrow_mut(|matchers| {
        caches.is_match(0, matchers.entry(pattern.to_owned()).or_insert_with(build), message, 0, usize::MAX)
    })
}

fn alone(rules: &[Rule], message: &[u8]) -> Vec<String> {
    let matching = rules.iter().filter(|rule| {
        let unless = rule.unless.iter().any(|pattern| matches(pattern, message));
        !rule.pattern.is_empty() && !unless && matches(&rule.pattern, message)
    });
    let mut names: Vec<String> = matching.map(|rule| rule.name.to_string()).collect();
    names.sort();
    names
}

fn together(set: &RuleSet, message: &[u8]) -> Vec<String> {
    let hits = set.matches(message.into(), &mut Scratch::default());
    let mut names: Vec<String> = hits.into_iter().map(|hit| hit.name.to_string()).collect();
    names.sort();
    names
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn the_builtin_set_finds_what_each_pattern_alone_finds(messages in proptest::collection::vec(message(), 1..8)) {
        static RULES: LazyLock<(Vec<Rule>, RuleSet)> = LazyLock::new(|| (builtin_rules(), RuleSet::builtin()));
        let (rules, set) = &*RULES;
        let mut scratch = Scratch::default();
        for message in &messages {
            prop_assert_eq!(together(set, message), alone(rules, message));
            let all = set.matches(message.as_slice().into(), &mut scratch);
            let best = set.best(message.as_slice().into(), Categories::ALL, |_| false, &mut scratch);
            prop_assert_eq!(best.as_ref(), all.first());
        }
    }

    #[test]
    fn any_set_finds_what_each_pattern_alone_finds(
        patterns in proptest::collection::vec(small_pattern(), 1..12),
        messages in proptest::collection::vec("[abcAB \n]{0,12}", 1..12),
    ) {
        let lines = patterns.iter().enumerate().map(|(number, pattern)| format!("R{number} /{pattern}/\n"));
        let rules = parse("x", &lines.collect::<String>()).rules;
        // Patterns that match the empty message are refused.
        let good: Vec<Rule> = rules.into_iter().filter(|rule| pattern::parse(&rule.pattern).is_ok()).collect();
        let compiled = RuleSet::compile(good.clone());
        prop_assert_eq!(compiled.problems, vec![]);
        for message in &messages {
            prop_assert_eq!(together(&compiled.set, message.as_bytes()), alone(&good, message.as_bytes()));
        }
    }
}

#[test]
fn the_rules_of_the_level_alone_are_marked() {
    let rules = builtin_rules();
    let marked = rules.iter().filter(|rule| rule.level_only).map(|rule| &*rule.name);
    assert_eq!(marked.collect::<Vec<_>>(), ["SEVERITY_FATAL", "SEVERITY_ERROR", "SEVERITY_WARNING"]);
    assert!(rules.iter().all(|rule| rule.level_only == rule.level.is_some()));
}
