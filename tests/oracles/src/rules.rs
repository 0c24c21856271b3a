//! Rule files of every kind: each fault is named by file, line and key in one plain line, what is taken keeps to the limits
//! and can be matched, and what is imported is taken back by the engine from the file that it is written into.

use std::collections::BTreeSet;

use oddline_engine::rules::{
    self, Categories, MAX_DESCRIPTION_BYTES, MAX_EXAMPLES, MAX_LIST, MAX_NAME_BYTES, MAX_PATTERN_BYTES, Rule,
    RuleProblem, RuleSet, Scratch, Subject, inspect,
};
use oddline_rulebook::{
    document::{self, Document},
    draft::Remark,
    import::{self, Importing, Language},
};

/// Longest that one fault may be told, in bytes.
const MOST_TOLD: usize = 2_000;
/// Examples that are tried: each compiles its rule anew.
const MOST_EXAMPLES: usize = 8;

/// The first byte says which kind of file it is.
pub fn check(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    match choice & 3 {
        0 => native("file.toml", bytes),
        1 => native("file.rules", bytes),
        2 => imported(Language::Sigma, "file.yml", &text),
        _ => imported(Language::Grok, "file.grok", &text),
    }
}

fn native(file: &str, bytes: &[u8]) {
    let parsed = rules::parse_bytes(file, bytes);
    let lines = bytes.split(|byte| *byte == b'\n').count();
    parsed.problems.iter().for_each(|problem| told(problem, file, lines));
    parsed.rules.iter().for_each(within_limits);
    let count = parsed.rules.len();
    for rule in parsed.rules.iter().filter(|rule| rule.enabled).take(MOST_EXAMPLES) {
        if rule.matches.len() + rule.misses.len() <= MOST_EXAMPLES {
            rule.check_examples().iter().for_each(|problem| told(problem, file, lines));
        }
        if let Err(reason) = inspect(&rule.pattern) {
            plain(&reason);
        }
    }
    let compiled = RuleSet::compile(parsed.rules);
    compiled.problems.iter().chain(&compiled.left_out).for_each(|problem| told(problem, file, lines));
    assert!(compiled.set.len() <= count);
    for message in [bytes, b"", b"failed to connect to primary database", &[b'a'; 300]] {
        matched(&compiled.set, message);
    }
    edited(&String::from_utf8_lossy(bytes));
}

fn told(problem: &RuleProblem, file: &str, lines: usize) {
    let text = problem.to_string();
    assert!(text.starts_with(&format!("{file}:{}: ", problem.line)), "{text}");
    assert!((1..=lines).contains(&problem.line), "line {} of {lines}: {text}", problem.line);
    assert!(!problem.key.is_empty() && !problem.reason.is_empty(), "{text}");
    plain(&text);
}

fn plain(text: &str) {
    assert!(text.len() <= MOST_TOLD, "{} bytes: {text}", text.len());
    assert!(!text.contains(char::is_control), "one plain line: {text:?}");
}

fn within_limits(rule: &Rule) {
    assert!(rule.name.len() <= MAX_NAME_BYTES && rule.category.len() <= MAX_NAME_BYTES);
    assert!(rule.description.len() <= MAX_DESCRIPTION_BYTES);
    assert!(rule.fields.len().max(rule.unless.len()).max(rule.tags.len()) <= MAX_LIST);
    assert!(rule.matches.len().max(rule.misses.len()) <= MAX_EXAMPLES);
    assert!((0.0..=10.0).contains(&rule.score), "{}", rule.score);
}

fn matched(set: &RuleSet, message: &[u8]) {
    let mut scratch = Scratch::default();
    let all = set.matches(Subject::from(message), &mut scratch);
    let best = set.best(Subject::from(message), Categories::ALL, |_| false, &mut scratch);
    assert!(best.is_none() || best.as_ref() == all.first(), "the best is the first of all");
    let silenced = set.best(Subject::from(message), Categories::ALL, |_| true, &mut scratch);
    assert_eq!(silenced, None);
}

/// A file that an operator's program changes stays one, or is refused.
fn edited(text: &str) {
    let Ok(mut document) = Document::read(text) else { return };
    let parsed = rules::parse("file.toml", text);
    for rule in parsed.rules.iter().take(2) {
        assert!(document.contains(&rule.name));
        document.delete(&rule.name).expect("it is there");
    }
    let Ok(left) = document.finish() else { return };
    let names: BTreeSet<_> =
        rules::parse("file.toml", &left).rules.into_iter().map(|rule| rule.name).collect();
    for rule in parsed.rules.iter().take(2) {
        // Of several with one name only the first has left, whether it was sound or not.
        let told = |text: &str| text.matches(&*rule.name).count();
        assert!(!names.contains(&rule.name) || told(text) > 1, "{} is still there", rule.name);
    }
}

fn imported(language: Language, file: &str, text: &str) {
    let mut taken = BTreeSet::new();
    let imported = import::settle(import::import(language, file, text, &Importing::default(), &mut taken));
    imported.left_out.iter().chain(&imported.notes).for_each(|remark| named(remark, file));
    let drafts: Vec<_> = imported.rules.iter().map(|taken| taken.draft.clone()).collect();
    let written = document::write(&drafts, "imported");
    let parsed = rules::parse("out.toml", &written);
    assert_eq!(parsed.problems, [], "{written}");
    assert_eq!(parsed.rules.len(), drafts.len(), "{written}");
    for (rule, draft) in parsed.rules.iter().zip(&drafts) {
        within_limits(rule);
        assert!(rule.pattern.len() <= MAX_PATTERN_BYTES);
        let same = *rule.name == *draft.name
            && rule.pattern == draft.pattern.as_deref().unwrap_or_default()
            && rule.fields == draft.fields
            && rule.unless == draft.unless;
        assert!(same, "{rule:?} is not {draft:?}");
    }
    let compiled = RuleSet::compile(parsed.rules);
    assert_eq!(compiled.problems, [], "{written}");
    matched(&compiled.set, text.as_bytes());
}

fn named(remark: &Remark, file: &str) {
    assert!(remark.file.starts_with(file) && !remark.reason.is_empty(), "{remark}");
    plain(&remark.to_string());
}
