//! Rules with a condition in VRL, at work: takes records, gives the best of those rules that hits.
//!
//! The engine matches pattern and fields, as for every rule; only if they hit is the whole record gathered and the
//! condition asked. What cannot be evaluated does not hold, and is counted.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use oddline_engine::{
    Body, Picker, RuleHit, Settings, Visitor,
    rules::{Example, MAX_RULES, Rule, RuleProblem, RuleSet, Scratch, Subject},
};

use crate::when::{Answer, Condition, Gather, Whole};

/// An example, as a record.
struct Tried<'e>(&'e Example);

impl Body for Tried<'_> {
    fn walk<'a>(&'a self, visitor: &mut dyn Visitor<'a>) {
        self.0.walk(visitor);
    }
}

/// The rules with a condition, compiled.
#[derive(Debug)]
pub struct Conditions {
    set: RuleSet,
    picker: Picker,
    conditions: BTreeMap<Arc<str>, Condition>,
    /// Rules that are nothing but a condition.
    bare: Vec<(RuleHit, Condition)>,
    failed: AtomicU64,
}

impl Conditions {
    /// Compiles the rules that have a condition and are on; others are passed over. Faulty ones are left out and named.
    pub fn compile(rules: &[Rule], settings: &Settings) -> (Conditions, Vec<RuleProblem>) {
        let (mut problems, mut plain, mut bare) = (Vec::new(), Vec::new(), Vec::new());
        let mut conditions = BTreeMap::new();
        let conditioned = rules.iter().filter(|rule| rule.enabled);
        for (rule, when) in conditioned.filter_map(|rule| Some((rule, rule.when.as_deref()?))).take(MAX_RULES)
        {
            let condition = match Condition::compile(when) {
                Ok(condition) => condition,
                Err(reason) => {
                    problems.push(problem(rule, "when", reason));
                    continue;
                }
            };
            if rule.pattern.is_empty() && rule.fields.is_empty() {
                let (name, category) = (rule.name.clone(), rule.category.clone());
                bare.push((RuleHit { name, category, score: rule.score }, condition));
            } else {
                conditions.insert(rule.name.clone(), condition);
                plain.push(Rule { when: None, ..rule.clone() });
            }
        }
        bare.sort_by(|(a, _), (b, _)| b.score.total_cmp(&a.score).then_with(|| a.name.cmp(&b.name)));
        let compiled = RuleSet::compile(plain);
        problems.extend(compiled.problems);
        let picker = Picker::new(settings, &compiled.set);
        let set = compiled.set;
        (Conditions { set, picker, conditions, bare, failed: AtomicU64::new(0) }, problems)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.bare.is_empty()
    }

    /// How often a condition could not be evaluated.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Every rule that hits, best first.
    pub fn matches(&self, tag: &[u8], body: &dyn Body) -> Vec<RuleHit> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut picking = self.picker.start(tag);
        body.walk(&mut picking);
        let record = picking.finish();
        let subject = Subject { message: &record.message, severity: record.severity, fields: &record.fields };
        // The set is small, and few records come this way: its memory is not kept.
        let candidates = self.set.matches(subject, &mut Scratch::default());
        if candidates.is_empty() && self.bare.is_empty() {
            return Vec::new();
        }
        let mut gather = Gather::default();
        body.walk(&mut gather);
        let mut whole = gather.finish(&record.message);
        let mut hits: Vec<RuleHit> = candidates
            .into_iter()
            .filter(|hit| {
                self.conditions.get(&hit.name).is_some_and(|condition| self.holds(condition, &mut whole))
            })
            .collect();
        hits.extend(
            self.bare
                .iter()
                .filter(|(_, condition)| self.holds(condition, &mut whole))
                .map(|(hit, _)| hit.clone()),
        );
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.name.cmp(&b.name)));
        hits
    }

    fn holds(&self, condition: &Condition, whole: &mut Whole) -> bool {
        match condition.ask(whole) {
            Answer::Holds => true,
            Answer::Not => false,
            Answer::Failed => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }
}

/// Tries a rule, its condition included, on its own examples.
pub fn check_examples(rule: &Rule) -> Vec<RuleProblem> {
    if rule.when.is_none() || !rule.enabled {
        return rule.check_examples();
    }
    let (conditions, mut problems) = Conditions::compile(std::slice::from_ref(rule), &Settings::default());
    if !problems.is_empty() {
        return problems;
    }
    let hits = |example: &Example| !conditions.matches(b"", &Tried(example)).is_empty();
    let missed = rule.matches.iter().filter(|it| !hits(it));
    problems
        .extend(missed.map(|it| problem(rule, "match", format!("the rule does not hit its example `{it}`"))));
    let wrong = rule.misses.iter().filter(|it| hits(it));
    problems
        .extend(wrong.map(|it| problem(rule, "miss", format!("the rule hits its counter-example `{it}`"))));
    problems
}

fn problem(rule: &Rule, key: &str, reason: String) -> RuleProblem {
    RuleProblem::of(rule, key, &reason)
}

#[cfg(test)]
mod tests {
    use oddline_engine::rules::parse;

    use super::*;

    fn conditions(text: &str) -> (Conditions, Vec<String>) {
        let parsed = parse("my.toml", text);
        assert_eq!(parsed.problems, []);
        let (conditions, problems) = Conditions::compile(&parsed.rules, &Settings::default());
        (conditions, problems.iter().map(ToString::to_string).collect())
    }

    const FILE: &str = "[[rules]]\nname = \"SLOW\"\npattern = 'served'\nwhen = '.took > 1.0'\nscore = 3\n\
        match = [{ message = \"served\", took = 2.5 }]\nmiss = [\"served\", { message = \"served\", took = 0.5 }]\n\
        [[rules]]\nname = \"BARE\"\nwhen = '.status == 599'\nscore = 6\nmatch = [{ status = 599 }]\n\
        [[rules]]\nname = \"PLAIN\"\npattern = 'served'\n\
        [[rules]]\nname = \"OFF\"\npattern = 'served'\nwhen = 'true'\nenabled = false\n";

    fn record(json: &str) -> Example {
        Example::Record(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn pattern_and_condition_must_both_hold() {
        let (conditions, problems) = conditions(FILE);
        assert_eq!(problems, [""; 0]);
        let names = |json: &str| -> Vec<String> {
            conditions
                .matches(b"t", &Tried(&record(json)))
                .into_iter()
                .map(|hit| hit.name.to_string())
                .collect()
        };
        assert_eq!(names(r#"{"message":"served","took":2.5,"status":599}"#), ["BARE", "SLOW"]);
        assert_eq!(names(r#"{"message":"served","took":0.5}"#), [""; 0]);
        assert_eq!(names(r#"{"message":"other","took":2.5}"#), [""; 0]);
        assert_eq!(conditions.failed(), 0);
        assert_eq!(names(r#"{"message":"served","took":"long"}"#), [""; 0]);
        assert_eq!(conditions.failed(), 1);
    }

    #[test]
    fn examples_are_tried_with_the_condition() {
        let parsed = parse("my.toml", FILE);
        for rule in &parsed.rules {
            assert_eq!(check_examples(rule), []);
        }
        let wrong = FILE.replace("'.took > 1.0'", "'.took > 5.0'");
        let found = check_examples(&parse("my.toml", &wrong).rules[0]);
        assert!(
            found[0].to_string().starts_with("my.toml:1: rule SLOW: match: the rule does not hit"),
            "{found:?}"
        );
    }

    #[test]
    fn faults_have_their_place() {
        let (conditions, problems) = conditions("\n[[rules]]\nname = \"A\"\npattern = 'a'\nwhen = '.x >'\n");
        assert!(conditions.is_empty());
        assert!(problems[0].starts_with("my.toml:2: rule A: when: column"), "{problems:?}");
    }
}
