//! Rules looked over: takes all rules of an installation, gives what is wrong or questionable about each.
//!
//! What keeps a rule from working is an error; what makes it doubtful a warning. Nothing is judged by taste: every
//! finding names what was measured or the rule it collides with.

mod contradiction;
mod language;
mod letters;

use std::{collections::BTreeMap, fmt, sync::Arc};

use oddline_engine::{
    Picker, Settings,
    rules::{
        self, Categories, Example, Rule, RuleProblem, RuleSet, Scratch, Subject,
        field::{self, Expr, Op},
    },
};
use serde::Serialize;

use self::language::Language;
use crate::when::Condition;

/// A compiled pattern of more bytes is told.
const LARGE_BYTES: usize = 64 << 10;
/// A rule of medium severity or above that hits more of the ordinary lines is too general.
const MAX_NEUTRAL_HITS: usize = 1;
/// From this score on a rule should not hit ordinary lines.
const NOT_ORDINARY: f32 = 2.0;
/// Where a program says how grave a record is, as rules name it: a field of its own, or words of the message.
const LEVEL_PATHS: [&str; 4] = ["level", "severity", "PRIORITY", "message"];
/// Ordinary lines of ordinary programs, none of which is worth a look.
const NEUTRAL: &str = include_str!("lint/neutral.txt");

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// The rule cannot do what it is there for.
    Error,
    /// It works, but not as well as it could.
    Warning,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub weight: Weight,
    /// Which check found it, e.g. `shadowed`.
    pub check: &'static str,
    /// The file, as the caller named it.
    pub file: String,
    /// The line, 1-based.
    pub line: usize,
    /// The rule, if it is about one.
    pub rule: Option<String>,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = if self.weight == Weight::Error { "error" } else { "warning" };
        write!(f, "{}:{}: {weight}: {}: ", self.file, self.line, self.check)?;
        if let Some(rule) = &self.rule {
            write!(f, "{rule}: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// Looks all rules over. `problems` are those that reading their files gave; `about` says which rules are of interest
/// (all of them count as neighbours).
pub fn lint(rules: &[Rule], problems: &[RuleProblem], about: &dyn Fn(&Rule) -> bool) -> Vec<Finding> {
    let mut findings: Vec<Finding> = problems.iter().map(invalid).collect();
    let stripped: Vec<Rule> = rules.iter().map(|rule| Rule { when: None, ..rule.clone() }).collect();
    // A rule that is nothing but a condition has nothing to compile.
    let compiled = RuleSet::compile(
        stripped
            .iter()
            .filter(|it| !it.pattern.is_empty() || !it.fields.is_empty() || !it.enabled)
            .cloned()
            .collect(),
    );
    findings.extend(compiled.problems.iter().map(invalid));
    let set = Neighbours::new(compiled.set, rules);
    let builtin = rules::builtin_rules();
    for rule in rules.iter().filter(|rule| rule.enabled && about(rule)) {
        let mut look = Look { rule, findings: &mut findings };
        if compiled.problems.iter().any(|problem| problem.rule.as_ref() == Some(&rule.name)) {
            continue;
        }
        look.condition();
        look.examples();
        look.impossible();
        look.level_only(&builtin);
        look.cost();
        look.letters();
        look.neighbours(&set);
        look.told();
    }
    same_patterns(rules, about, &mut findings);
    findings.sort_by(|a, b| (&a.file, a.line, a.check).cmp(&(&b.file, b.line, b.check)));
    findings
}

fn invalid(problem: &RuleProblem) -> Finding {
    Finding {
        weight: Weight::Error,
        check: if problem.key == "name" && problem.reason.contains("already used") {
            "duplicate"
        } else {
            "invalid"
        },
        file: problem.file.to_string(),
        line: problem.line,
        rule: problem.rule.as_deref().map(str::to_owned),
        reason: format!("{}: {}", problem.key, problem.reason),
    }
}

/// One rule being looked at.
struct Look<'a> {
    rule: &'a Rule,
    findings: &'a mut Vec<Finding>,
}

impl Look<'_> {
    fn add(&mut self, weight: Weight, check: &'static str, reason: String) {
        self.findings.push(Finding {
            weight,
            check,
            file: self.rule.file.to_string(),
            line: self.rule.line,
            rule: Some(self.rule.name.to_string()),
            reason,
        });
    }

    fn condition(&mut self) {
        if let Some(when) = &self.rule.when
            && let Err(reason) = Condition::compile(when)
        {
            self.add(Weight::Error, "invalid", format!("when: {reason}"));
        }
    }

    fn examples(&mut self) {
        // With a condition in VRL only the whole decides; `test` runs that.
        if self.rule.when.is_none() {
            for problem in self.rule.check_examples() {
                self.add(Weight::Error, "example", format!("{}: {}", problem.key, problem.reason));
            }
        }
    }

    fn impossible(&mut self) {
        if let Some(reason) = contradiction::find(&self.rule.fields) {
            self.add(Weight::Error, "never-matches", format!("fields: {reason}"));
        }
        if self.rule.pattern.is_empty() {
            return;
        }
        let Some(pattern) = Language::of(&self.rule.pattern) else { return };
        if pattern.finds_anything() == Some(false) {
            let reason = "pattern: no text can match it; look at `^`, `$`, `\\b` and `\\B` in it".to_owned();
            self.add(Weight::Error, "never-matches", reason);
        }
        for unless in &self.rule.unless {
            let covered = Language::of(unless).and_then(|unless| pattern.is_within(&unless));
            if covered == Some(true) {
                let reason = format!("unless: `{unless}` matches wherever the pattern does");
                self.add(Weight::Error, "never-matches", reason);
            }
        }
    }

    fn cost(&mut self) {
        let in_fields: Vec<String> = self.rule.fields.iter().flat_map(|text| regexes(text)).collect();
        let patterns = std::iter::once(&self.rule.pattern).filter(|it| !it.is_empty());
        for pattern in patterns.chain(&self.rule.unless).chain(&in_fields) {
            let Ok(found) = rules::inspect(pattern) else { continue };
            if *pattern == self.rule.pattern && found.literals.is_empty() {
                let reason = "pattern: no text of three letters is in every match, so it is run on every message; name a \
                              word that must be there"
                    .to_owned();
                self.add(Weight::Warning, "slow", reason);
            }
            if found.compiled_bytes > LARGE_BYTES {
                let bytes = found.compiled_bytes;
                let reason =
                    format!("compiled, it takes {bytes} bytes; use smaller repetitions such as {{1,50}}");
                self.add(Weight::Warning, "slow", reason);
            }
            if let Ok(cost) = rules::worst(pattern)
                && cost.steps > rules::SLOW
            {
                let reason = format!(
                    "on texts made of pieces of what `{pattern}` matches, its automaton goes on building states: up to {:.0} times \
                     the work of one that settles; write {}",
                    cost.steps,
                    instead(pattern)
                );
                self.add(Weight::Warning, "slow", reason);
            }
        }
    }

    fn letters(&mut self) {
        for found in letters::doubled(&self.rule.pattern) {
            let reason =
                format!("pattern: case is ignored, so `{found}` says the same as one of its letters");
            self.add(Weight::Warning, "case", reason);
        }
    }

    fn neighbours(&mut self, set: &Neighbours<'_>) {
        let ordinary = set.ordinary(&self.rule.name);
        if self.rule.score >= NOT_ORDINARY && ordinary.len() > MAX_NEUTRAL_HITS {
            let reason = format!(
                "hits {} of {} ordinary lines, such as `{}`; ask for more, or give it a score below {NOT_ORDINARY}",
                ordinary.len(),
                NEUTRAL.lines().count(),
                ordinary.first().copied().unwrap_or_default()
            );
            self.add(Weight::Warning, "too-general", reason);
        }
        if let Some((other, is_certain)) = set.shadow(self.rule) {
            let what = if is_certain {
                "every message that it matches is matched"
            } else {
                "each of its examples is matched"
            };
            let reason = format!(
                "{what} by {} too, which scores {} and so is told instead; raise the score, or name what {} finds beyond it",
                other.name, other.score, self.rule.name
            );
            self.add(Weight::Warning, "shadowed", reason);
        }
    }

    /// A rule that knows more than the level does not wear off; one in the place of a rule that does was meant to.
    fn level_only(&mut self, builtin: &[Rule]) {
        let rule = self.rule;
        if rule.level_only {
            let mut asked = Vec::new();
            for expr in rule.fields.iter().filter_map(|text| field::parse(text).ok()) {
                paths(&expr, &mut asked);
            }
            let other = asked.iter().find(|path| !LEVEL_PATHS.contains(&path.as_str()));
            let asks = match (&rule.when, other) {
                (Some(_), _) => Some("for a condition in VRL".to_owned()),
                (None, other) => other.map(|path| format!("for {path}")),
            };
            if let Some(asks) = asks {
                let reason =
                    format!("level_only: the rule asks {asks} as well; without the key it does not wear off");
                self.add(Weight::Warning, "level-only", reason);
            }
        } else if !rule.is_builtin()
            && builtin.iter().any(|earlier| earlier.name == rule.name && earlier.level_only)
        {
            let reason = "level_only: the built-in rule of this name has it, and counts the less the more usual its level \
                          is in a source; write `level_only = true`, or give the rule a name of its own";
            self.add(Weight::Warning, "level-only", reason.to_owned());
        }
    }

    fn told(&mut self) {
        if self.rule.description.is_empty() {
            self.add(
                Weight::Warning,
                "undescribed",
                "description: is missing; say in a line what happened".to_owned(),
            );
        }
        if self.rule.matches.is_empty() || self.rule.misses.is_empty() {
            let reason =
                "match, miss: give lines that it must match, and a near one that it must not".to_owned();
            self.add(Weight::Warning, "untested", reason);
        }
    }
}

/// The fields that an expression asks for.
fn paths(expr: &Expr, out: &mut Vec<String>) {
    match expr {
        Expr::All(parts) | Expr::Any(parts) => parts.iter().for_each(|part| paths(part, out)),
        Expr::Not(part) => paths(part, out),
        Expr::Test(test) => out.push(test.path.to_string()),
    }
}

/// All rules together, and what they say about the ordinary lines.
struct Neighbours<'r> {
    set: RuleSet,
    picker: Picker,
    rules: BTreeMap<Arc<str>, &'r Rule>,
    ordinary: BTreeMap<Arc<str>, Vec<&'static str>>,
}

impl<'r> Neighbours<'r> {
    fn new(set: RuleSet, rules: &'r [Rule]) -> Neighbours<'r> {
        let picker = Picker::new(&Settings::default(), &set);
        let mut scratch = Scratch::default();
        let mut ordinary: BTreeMap<Arc<str>, Vec<&'static str>> = BTreeMap::new();
        for line in NEUTRAL.lines() {
            for hit in set.matches(Subject::from(line.as_bytes()), &mut scratch) {
                ordinary.entry(hit.name).or_default().push(line);
            }
        }
        let rules = rules.iter().map(|rule| (Arc::clone(&rule.name), rule)).collect();
        Neighbours { set, picker, rules, ordinary }
    }

    fn ordinary(&self, name: &str) -> &[&'static str] {
        self.ordinary.get(name).map_or(&[], Vec::as_slice)
    }

    /// A rule that is told instead of this one wherever this one hits, and whether that is certain or by its examples.
    fn shadow(&self, rule: &Rule) -> Option<(&'r Rule, bool)> {
        let mut scratch = Scratch::default();
        let mut common: Option<Vec<Arc<str>>> = None;
        for example in &rule.matches {
            let hits = self.hits(example, &mut scratch);
            common = Some(match common {
                None => hits,
                Some(before) => before.into_iter().filter(|name| hits.contains(name)).collect(),
            });
        }
        let others = common.into_iter().flatten().filter_map(|name| self.rules.get(&name).copied());
        let outranks = |other: &&Rule| {
            other.name != rule.name
                && (other.score > rule.score || (other.score == rule.score && other.name < rule.name))
                && is_consulted_wherever(other, rule)
        };
        let plain = |rule: &Rule| {
            rule.fields.is_empty() && rule.unless.is_empty() && rule.level.is_none() && rule.when.is_none()
        };
        let mut doubtful = None;
        for other in others.filter(outranks) {
            let certain = (plain(rule) && plain(other))
                .then(|| Language::of(&rule.pattern)?.is_within(&Language::of(&other.pattern)?))
                .flatten();
            match certain {
                Some(true) => return Some((other, true)),
                // It finds something of its own.
                Some(false) => {}
                None => doubtful = doubtful.or(Some((other, false))),
            }
        }
        // One or two examples that also say something else prove little.
        doubtful.filter(|_| rule.matches.len() > 2)
    }

    fn hits(&self, example: &Example, scratch: &mut Scratch) -> Vec<Arc<str>> {
        let mut picking = self.picker.start(b"");
        example.walk(&mut picking);
        let record = picking.finish();
        let subject = Subject { message: &record.message, severity: record.severity, fields: &record.fields };
        self.set.matches(subject, scratch).into_iter().map(|hit| hit.name).collect()
    }
}

/// Whether the other rule's category counts for every program that this one's counts for.
fn is_consulted_wherever(other: &Rule, rule: &Rule) -> bool {
    let always = Categories::SYSTEM.union(Categories::SECURITY);
    other.category == rule.category || Categories::of(&other.category).intersects(always)
}

/// Rules that are the same but for their names.
fn same_patterns(rules: &[Rule], about: &dyn Fn(&Rule) -> bool, findings: &mut Vec<Finding>) {
    let mut seen = BTreeMap::<_, &Rule>::new();
    for rule in rules.iter().filter(|rule| rule.enabled) {
        let key = (
            rule.pattern.to_lowercase(),
            rule.fields.as_slice(),
            rule.unless.as_slice(),
            rule.when.as_deref(),
        );
        if let Some(first) = seen.get(&key) {
            if about(rule) && first.name != rule.name {
                let reason =
                    format!("says the same as {} at {}:{}; delete one", first.name, first.file, first.line);
                Look { rule, findings }.add(Weight::Error, "duplicate", reason);
            }
            continue;
        }
        seen.insert(key, rule);
    }
}

/// The regexes in a field expression.
fn regexes(expression: &str) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), field::parse(expression).ok().into_iter().collect::<Vec<_>>());
    while let Some(expression) = open.pop() {
        match expression {
            Expr::All(parts) | Expr::Any(parts) => open.extend(parts),
            Expr::Not(inner) => open.push(*inner),
            Expr::Test(test) => {
                if let Op::Matches(regex) = test.op {
                    found.push(regex);
                }
            }
        }
    }
    found
}

/// What to write in place of the part that most likely makes a pattern slow: its longest counted repetition.
fn instead(pattern: &str) -> String {
    let counted = pattern.match_indices('{').filter_map(|(at, _)| {
        let (range, _) = pattern.get(at + 1..)?.split_once('}')?;
        let (least, most) = range.split_once(',')?;
        let before = pattern.get(..at)?;
        let atom = match before.rfind('[') {
            Some(start) if before.ends_with(']') => before.get(start..)?,
            _ if before.ends_with(')') => return None,
            _ if before.ends_with('.') && !before.ends_with("\\.") => ".",
            _ => before.get(before.rfind('\\')?..)?,
        };
        let sign = if least.parse::<u32>().ok()? == 0 { '*' } else { '+' };
        Some((most.parse::<u32>().unwrap_or(0), format!("`{atom}{sign}` for `{atom}{{{range}}}`")))
    });
    match counted.max_by_key(|(most, _)| *most) {
        Some((most, hint)) if most > 1 => {
            format!("{hint}, or `[^x]*` with a sign that cannot occur in between")
        }
        _ => "fewer alternatives, and the others as a rule of their own".to_owned(),
    }
}

#[cfg(test)]
mod tests;
