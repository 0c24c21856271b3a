//! One rule as it is written, its examples, and what can be wrong with it. Knows no file format.

use std::{fmt, sync::Arc};

use serde_json::Value;

use super::{
    BUILTIN_PREFIX, Compiled, DEFAULT_CATEGORY, DEFAULT_SCORE, MAX_NAME_BYTES, RuleSet, Scratch, Subject,
};
use crate::{
    pick::Picker,
    plain::plain,
    record::{MAX_ITEMS, Scalar, Severity, Visitor},
    settings::Settings,
};

/// Most of a reason that is told: patterns and examples in it may be long.
const MAX_REASON_BYTES: usize = 1_000;

/// One rule, as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name, e.g. `DB_CONNECT_FAILED`.
    pub name: Arc<str>,
    /// The pattern; empty if the rule has only [`Rule::fields`], or is disabled.
    pub pattern: String,
    /// Expressions over the record's fields, all of which must hold.
    pub fields: Vec<String>,
    /// Patterns of which none may match the message.
    pub unless: Vec<String>,
    /// A condition in VRL. Only hosts that can run VRL use such a rule: take the condition out, compile the rule, and
    /// test the condition when it hits. [`RuleSet::compile`](super::RuleSet::compile) leaves a rule that has one out.
    pub when: Option<String>,
    /// Severity, 0 to 10.
    pub score: f32,
    /// What kind of program it is about, e.g. `application`.
    pub category: Arc<str>,
    /// One line for people.
    pub description: Arc<str>,
    /// Off rules are kept so that a user's file can turn a built-in rule off by its name.
    pub enabled: bool,
    /// A record's own level that counts as if the pattern matched.
    pub level: Option<Severity>,
    /// It reads nothing but how grave the program calls its own record: the more usual that is in a source, the less it says.
    pub level_only: bool,
    /// Free words, such as `attack.t1110`. They have no effect on matching.
    pub tags: Vec<String>,
    /// What it must hit.
    pub matches: Vec<Example>,
    /// What it must not hit.
    pub misses: Vec<Example>,
    /// The file it comes from, and the line there (1-based).
    pub file: Arc<str>,
    /// The line it begins on.
    pub line: usize,
}

/// Something that a rule must, or must not, hit.
#[derive(Clone, Debug, PartialEq)]
pub enum Example {
    /// A message.
    Message(String),
    /// A structured record.
    Record(serde_json::Map<String, serde_json::Value>),
}

impl Example {
    /// Shows it to a visitor as a codec shows a record; a message stands under `message`.
    pub fn walk<'a>(&'a self, visitor: &mut dyn Visitor<'a>) {
        match self {
            Example::Message(text) => visitor.scalar(b"message", Scalar::Text(text.as_bytes().into())),
            Example::Record(record) => walk(record, visitor),
        }
    }
}

/// No deeper than the parser that read the record.
fn walk<'a>(record: &'a serde_json::Map<String, serde_json::Value>, visitor: &mut dyn Visitor<'a>) {
    for (key, value) in record {
        match value {
            Value::Object(inner) => {
                if visitor.enter(key.as_bytes()) {
                    walk(inner, visitor);
                    visitor.leave();
                }
            }
            Value::Array(list) if visitor.enter_list(key.as_bytes()) => {
                walk_list(list, visitor);
                visitor.leave();
            }
            leaf => visitor.scalar(key.as_bytes(), scalar(leaf)),
        }
    }
}

fn walk_list<'a>(list: &'a [Value], visitor: &mut dyn Visitor<'a>) {
    for element in list.iter().take(MAX_ITEMS) {
        match element {
            Value::Object(fields) => walk(fields, visitor),
            Value::Array(inner) => walk_list(inner, visitor),
            leaf => visitor.item(scalar(leaf)),
        }
    }
}

fn scalar(value: &Value) -> Scalar<'_> {
    match value {
        Value::Null => Scalar::Null,
        Value::Bool(value) => Scalar::Bool(*value),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| number.as_f64().map_or(Scalar::Null, Scalar::Float), Scalar::Int)
        }
        Value::String(text) => Scalar::Text(text.as_bytes().into()),
        Value::Array(_) | Value::Object(_) => Scalar::Opaque,
    }
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Example::Message(text) => f.write_str(text),
            Example::Record(record) => {
                write!(f, "{}", serde_json::to_string(record).map_err(|_| fmt::Error)?)
            }
        }
    }
}

impl Rule {
    /// A rule of this name and place that has nothing but defaults, and no condition yet.
    pub fn new(name: &str, file: &Arc<str>, line: usize) -> Rule {
        Rule {
            name: Arc::from(name),
            pattern: String::new(),
            fields: Vec::new(),
            unless: Vec::new(),
            when: None,
            score: DEFAULT_SCORE,
            category: Arc::from(DEFAULT_CATEGORY),
            description: Arc::from(""),
            enabled: true,
            level: None,
            level_only: false,
            tags: Vec::new(),
            matches: Vec::new(),
            misses: Vec::new(),
            file: Arc::clone(file),
            line,
        }
    }

    /// Tries the rule, all but `when`, on its own examples.
    pub fn check_examples(&self) -> Vec<RuleProblem> {
        if !self.enabled {
            return Vec::new();
        }
        let Compiled { set, problems, .. } = RuleSet::compile(vec![Rule { when: None, ..self.clone() }]);
        if !problems.is_empty() {
            return problems;
        }
        let picker = Picker::new(&Settings::default(), &set);
        let mut scratch = Scratch::default();
        let mut hits = |example: &Example| {
            let mut picking = picker.start(b"");
            example.walk(&mut picking);
            let record = picking.finish();
            let subject =
                Subject { message: &record.message, severity: record.severity, fields: &record.fields };
            !set.matches(subject, &mut scratch).is_empty()
        };
        let mut found = Vec::new();
        for example in self.matches.iter().filter(|example| !hits(example)) {
            found.push(RuleProblem::of(
                self,
                "match",
                &format!("the rule does not hit its example `{example}`"),
            ));
        }
        for example in self.misses.iter().filter(|example| hits(example)) {
            found.push(RuleProblem::of(
                self,
                "miss",
                &format!("the rule hits its counter-example `{example}`"),
            ));
        }
        found
    }

    /// Whether it ships with Oddline: such a rule gives way to a user's rule of the same name.
    pub fn is_builtin(&self) -> bool {
        self.file.starts_with(BUILTIN_PREFIX)
    }
}

/// What is wrong with a rule or a rule file. The rest of the file still loads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct RuleProblem {
    /// The file, as the caller named it.
    pub file: Arc<str>,
    /// The line, 1-based.
    pub line: usize,
    /// The rule's name, if it has one.
    pub rule: Option<Arc<str>>,
    /// The key or column concerned.
    pub key: String,
    /// What is wrong, and what to write instead.
    pub reason: String,
}

impl RuleProblem {
    /// A problem at a place. Name, key and what the reason repeats may be any text of the file's: they come out plain, and
    /// no longer than a line for people.
    pub fn new(file: &Arc<str>, line: usize, rule: Option<&str>, key: &str, reason: &str) -> Self {
        RuleProblem {
            file: Arc::clone(file),
            line,
            rule: rule.map(|name| plain(name, MAX_NAME_BYTES).into()),
            key: if key.is_empty() { "\"\"".to_owned() } else { plain(key, MAX_NAME_BYTES) },
            reason: plain(reason, MAX_REASON_BYTES),
        }
    }

    pub(super) fn of_file(file: &Arc<str>, line: usize, reason: &str) -> Self {
        RuleProblem::new(file, line, None, "file", reason)
    }

    /// A problem of a rule, where that begins.
    pub fn of(rule: &Rule, key: &str, reason: &str) -> Self {
        RuleProblem::new(&rule.file, rule.line, Some(&rule.name), key, reason)
    }
}

impl fmt::Display for RuleProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if let Some(rule) = &self.rule {
            write!(f, "rule {rule}: ")?;
        }
        write!(f, "{}: {}", self.key, self.reason)
    }
}
