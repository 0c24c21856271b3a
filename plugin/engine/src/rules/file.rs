//! Rule files in TOML: takes a file's text, gives its rules and the place of every fault. Judges shape, not patterns.

use std::sync::Arc;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    DEFAULT_CATEGORY, Example, MAX_DESCRIPTION_BYTES, MAX_EXAMPLES, MAX_LIST, MAX_NAME_BYTES, MAX_WHEN_BYTES,
    Parsed, Rule, RuleProblem, check_name, field, score_of, suggestion,
};
use crate::record::Severity;

const TOP_KEYS: [&str; 2] = ["category", "rules"];
const RULE_KEYS: [&str; 15] = [
    "name",
    "pattern",
    "fields",
    "unless",
    "when",
    "score",
    "severity",
    "category",
    "description",
    "tags",
    "enabled",
    "level",
    "level_only",
    "match",
    "miss",
];

/// Reads `category = "…"` and `[[rules]]`.
pub(super) fn parse(file: &Arc<str>, content: &str) -> Parsed {
    let mut reader = Reader { file, lines: Lines::of(content), parsed: Parsed::default() };
    let (table, errors) = DeTable::parse_recoverable(content);
    let faults: Vec<usize> = errors.iter().map(|error| error.span().map_or(0, |span| span.start)).collect();
    for (error, at) in errors.iter().zip(&faults) {
        let at = *at;
        reader.problem(at, None, "file", format!("is not valid TOML: {}", error.message()));
    }
    let table = table.into_inner();
    let mut category: Arc<str> = Arc::from(DEFAULT_CATEGORY);
    for (key, value) in &table {
        match key.get_ref().as_ref() {
            "category" => match text(value).and_then(|text| check_category(&text)) {
                Ok(word) => category = word,
                Err(reason) => reader.problem(value.span().start, None, "category", reason),
            },
            "rules" => {}
            other => reader.problem(key.span().start, None, other, unknown(&TOP_KEYS)(other)),
        }
    }
    match table.get("rules").map(|rules| (rules.span().start, rules.get_ref())) {
        Some((_, DeValue::Array(rules))) => {
            for (index, rule) in rules.iter().enumerate() {
                // The parser guesses what a faulty value was meant to be; a guess is no rule.
                let next = rules.get(index.saturating_add(1)).map_or(usize::MAX, |next| next.span().start);
                if !faults.iter().any(|fault| (rule.span().start..next).contains(fault)) {
                    reader.rule(rule, &category);
                }
            }
        }
        Some((at, other)) => {
            reader.problem(at, None, "rules", format!("is a {}; write `[[rules]]`", other.type_str()));
        }
        None => {}
    }
    reader.parsed.problems.sort_by_key(|problem| problem.line);
    reader.parsed
}

struct Reader<'a> {
    file: &'a Arc<str>,
    lines: Lines,
    parsed: Parsed,
}

impl Reader<'_> {
    fn rule(&mut self, value: &Spanned<DeValue<'_>>, category: &Arc<str>) {
        let at = value.span().start;
        let DeValue::Table(table) = value.get_ref() else {
            return self.problem(
                at,
                None,
                "rules",
                "holds something that is not a table; write `[[rules]]`".to_owned(),
            );
        };
        let name = table.get("name").and_then(|name| text(name).ok()).map(Arc::<str>::from);
        let mut rule = Rule::new(name.as_deref().unwrap_or_default(), self.file, self.lines.at(at));
        rule.category = Arc::clone(category);
        let before = self.parsed.problems.len();
        for (key, value) in table {
            let word = key.get_ref().as_ref();
            if let Err(reason) = set(&mut rule, word, value) {
                let known = RULE_KEYS.contains(&word);
                let at = if known { value.span().start } else { key.span().start };
                self.problem(at, name.clone(), word, reason);
            }
        }
        if name.is_none() && !table.contains_key("name") {
            self.problem(at, None, "name", "is missing".to_owned());
        }
        let given = |key: &str| table.contains_key(key);
        if rule.enabled && !given("pattern") && !given("fields") && !given("when") {
            self.problem(
                at,
                name.clone(),
                "pattern",
                "is missing; a rule needs a pattern or fields".to_owned(),
            );
        }
        if given("level") && given("fields") && !given("pattern") {
            let reason = "stands in for a pattern, and there is none; write `level == error` into fields";
            self.problem(at, name.clone(), "level", reason.to_owned());
        }
        if table.contains_key("score") && table.contains_key("severity") {
            self.problem(at, name, "severity", "is given beside score; keep one of them".to_owned());
        }
        if self.parsed.problems.len() == before {
            self.parsed.rules.push(rule);
        }
    }

    fn problem(&mut self, at: usize, rule: Option<Arc<str>>, key: &str, reason: String) {
        let problem = RuleProblem::new(self.file, self.lines.at(at), rule.as_deref(), key, &reason);
        self.parsed.problems.push(problem);
    }
}

/// Puts one key's value into the rule.
fn set(rule: &mut Rule, key: &str, value: &Spanned<DeValue<'_>>) -> Result<(), String> {
    match key {
        "name" => check_name(&text(value)?)?,
        "pattern" => rule.pattern = text(value)?,
        "score" => rule.score = number(value).and_then(|number| score_of(&number))?,
        "severity" => {
            let word = text(value)?;
            if !["low", "medium", "high", "critical"].contains(&word.as_str()) {
                return Err(format!("`{word}` is none of low, medium, high, critical"));
            }
            rule.score = score_of(&word)?;
        }
        "category" => rule.category = check_category(&text(value)?)?,
        "description" => {
            let line = text(value)?;
            if line.len() > MAX_DESCRIPTION_BYTES || line.contains('\n') {
                return Err(format!("is not one line of at most {MAX_DESCRIPTION_BYTES} bytes"));
            }
            rule.description = Arc::from(line);
        }
        "enabled" => rule.enabled = truth(value)?,
        "level_only" => rule.level_only = truth(value)?,
        "level" => {
            let word = text(value)?;
            let level = Severity::parse(word.as_bytes());
            rule.level =
                Some(level.ok_or_else(|| format!("`{word}` is not a level such as warn, error or fatal"))?);
        }
        "fields" => {
            rule.fields = texts(value, MAX_LIST)?;
            for (number, expression) in (1..).zip(&rule.fields) {
                field::parse(expression).map_err(|reason| numbered(number, rule.fields.len(), &reason))?;
            }
        }
        "unless" => rule.unless = texts(value, MAX_LIST)?,
        "when" => {
            let condition = text(value)?;
            if condition.len() > MAX_WHEN_BYTES {
                return Err(format!(
                    "has {} bytes, more than the limit of {MAX_WHEN_BYTES}",
                    condition.len()
                ));
            }
            rule.when = Some(condition);
        }
        "tags" => {
            rule.tags = texts(value, MAX_LIST)?;
            if let Some(long) = rule.tags.iter().find(|tag| tag.len() > MAX_NAME_BYTES) {
                return Err(format!(
                    "has a word of {} bytes, more than the limit of {MAX_NAME_BYTES}",
                    long.len()
                ));
            }
        }
        "match" => rule.matches = examples(value)?,
        "miss" => rule.misses = examples(value)?,
        other => return Err(unknown(&RULE_KEYS)(other)),
    }
    Ok(())
}

fn unknown<'a>(known: &'a [&'a str]) -> impl Fn(&str) -> String + 'a {
    move |key| match suggestion(key, known) {
        Some(word) => format!("is not a key; did you mean `{word}`?"),
        None => format!("is not a key; there are {}", known.join(", ")),
    }
}

/// Says which item of a list is meant, where there are several.
fn numbered(number: usize, items: usize, reason: &str) -> String {
    if items > 1 { format!("item {number}: {reason}") } else { reason.to_owned() }
}

fn check_category(word: &str) -> Result<Arc<str>, String> {
    let shape = word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    if word.is_empty() || word.len() > MAX_NAME_BYTES || !shape {
        return Err(format!("is not a word of at most {MAX_NAME_BYTES} small letters, digits, `-` and `_`"));
    }
    Ok(Arc::from(word))
}

fn text(value: &Spanned<DeValue<'_>>) -> Result<String, String> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        other => Err(format!("is a {}, not a string", other.type_str())),
    }
}

fn truth(value: &Spanned<DeValue<'_>>) -> Result<bool, String> {
    match value.get_ref() {
        DeValue::Boolean(truth) => Ok(*truth),
        other => Err(format!("is a {}, not true or false", other.type_str())),
    }
}

/// One string, or a list of at most `limit`.
fn texts(value: &Spanned<DeValue<'_>>, limit: usize) -> Result<Vec<String>, String> {
    match value.get_ref() {
        DeValue::String(text) => Ok(vec![text.to_string()]),
        DeValue::Array(items) if items.len() > limit => {
            Err(format!("has {} items, more than the limit of {limit}", items.len()))
        }
        DeValue::Array(items) => items.iter().map(text).collect(),
        other => Err(format!("is a {}, not a string or a list of strings", other.type_str())),
    }
}

fn examples(value: &Spanned<DeValue<'_>>) -> Result<Vec<Example>, String> {
    let DeValue::Array(items) = value.get_ref() else {
        return Err(format!("is a {}, not a list of messages and records", value.get_ref().type_str()));
    };
    if items.len() > MAX_EXAMPLES {
        return Err(format!("has {} items, more than the limit of {MAX_EXAMPLES}", items.len()));
    }
    let example = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::String(text) => Ok(Example::Message(text.to_string())),
        DeValue::Table(_) => match json(item.get_ref())? {
            serde_json::Value::Object(record) => Ok(Example::Record(record)),
            _ => Err("holds a record that is none".to_owned()),
        },
        other => Err(format!("holds a {}; an example is a message or a record", other.type_str())),
    };
    items.iter().map(example).collect()
}

/// A TOML value as a record has it; as deep as the TOML parser lets it be.
fn json(value: &DeValue<'_>) -> Result<serde_json::Value, String> {
    use serde_json::Value;
    let odd = |number: &dyn std::fmt::Display| format!("holds {number}, which is no number of a log record");
    Ok(match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(value) => Value::from(*value),
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Integer(number) => {
            Value::from(i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| odd(number))?)
        }
        DeValue::Float(number) => {
            let float = number.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            Value::Number(float.ok_or_else(|| odd(number))?)
        }
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| json(item.get_ref())).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => {
            let pairs =
                table.iter().map(|(key, value)| Ok((key.get_ref().to_string(), json(value.get_ref())?)));
            Value::Object(pairs.collect::<Result<_, String>>()?)
        }
    })
}

fn number(value: &Spanned<DeValue<'_>>) -> Result<String, String> {
    match value.get_ref() {
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Float(number) => Ok(number.to_string()),
        other => Err(format!("is a {}, not a number from 0 to 10", other.type_str())),
    }
}

/// Where lines begin, to tell a byte's line.
struct Lines(Vec<usize>);

impl Lines {
    fn of(content: &str) -> Lines {
        Lines(memchr::memchr_iter(b'\n', content.as_bytes()).collect())
    }

    fn at(&self, byte: usize) -> usize {
        self.0.partition_point(|end| *end < byte).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    fn problems(content: &str) -> (usize, Vec<String>) {
        let parsed = parse("my.toml", content);
        (parsed.rules.len(), parsed.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_whole_rule_is_read() {
        let parsed = parse(
            "my.toml",
            "category = \"shop\"\n[[rules]]\nname = \"CARD_DECLINED\"\npattern = 'card .* declined'\nseverity = \"high\"\n\
             description = \"a payment\"\nlevel = \"ERROR\"\nmatch = [\"card 1 declined\"]\nmiss = [\"card\"]\n",
        );
        assert_eq!(parsed.problems, []);
        let rule = &parsed.rules[0];
        assert_eq!((&*rule.name, rule.score, &*rule.category, rule.line), ("CARD_DECLINED", 4.0, "shop", 2));
        assert_eq!(rule.level, Some(crate::record::Severity::Error));
        assert_eq!((rule.matches.len(), rule.misses.len()), (1, 1));
        assert_eq!(rule.check_examples(), []);
    }

    #[test]
    fn faults_are_named_with_their_place_and_the_rest_loads() {
        let (rules, found) = problems(
            "[[rules]]\nname = \"GOOD\"\npattern = 'abc'\n\n[[rules]]\nname = \"BAD\"\npatern = 'abc'\nscore = 11\n\n\
             [[rules]]\npattern = 'abc'\n\n[[rules]]\nname = \"lower\"\npattern = 3\n[[rules]]\nname = \"ALSO_GOOD\"\n\
             pattern = 'abc'\nscore = 2.5\n",
        );
        assert_eq!(rules, 2);
        assert_eq!(
            found,
            [
                "my.toml:5: rule BAD: pattern: is missing; a rule needs a pattern or fields",
                "my.toml:7: rule BAD: patern: is not a key; did you mean `pattern`?",
                "my.toml:8: rule BAD: score: 11 is not within 0..=10",
                "my.toml:10: name: is missing",
                "my.toml:14: rule lower: name: `lower` is not a name in capitals, digits and `_`, such as DB_CONNECT_FAILED",
                "my.toml:15: rule lower: pattern: is a integer, not a string",
            ]
        );
    }

    /// Found by fuzzing: a key, a name and an example may be anything that a string can hold.
    #[test]
    fn faults_are_told_in_one_plain_line() {
        let name = "N".repeat(3_000);
        let (_, found) = problems(&format!(
            "\"\" = 1\n\"a\\u001b[2J\\n\" = 2\n[[rules]]\nname = \"{name}\"\npattern = 'abc'\nseverity = \"b\\u0000{name}\"\n"
        ));
        assert!(found[0].starts_with("my.toml:1: \"\": is not a key"), "{found:?}");
        assert!(found[1].starts_with("my.toml:2: a\\u{1b}[2J\\n: is not a key"), "{found:?}");
        assert!(found[2].ends_with("has 3000 bytes, more than the limit of 64"), "{found:?}");
        assert!(found[3].contains(": severity: `b\\u{0}NNN") && found[3].len() < 1_200, "{found:?}");
        let example = "[[rules]]\nname = \"A\"\npattern = 'abc'\nmatch = [\"x\\u0007y\"]\n";
        let told = parse("my.toml", example).rules[0].check_examples();
        assert_eq!(
            told[0].to_string(),
            "my.toml:1: rule A: match: the rule does not hit its example `x\\u{7}y`"
        );
    }

    #[test]
    fn a_syntax_error_leaves_the_rules_around_it() {
        let (rules, found) = problems(
            "[[rules]]\nname = \"A\"\npattern = 'abc'\n[[rules]]\nname = \"B\"\npattern = 'abc\n\
             [[rules]]\nname = \"C\"\npattern = 'abc'\n",
        );
        assert_eq!(rules, 2, "{found:?}");
        assert!(found.iter().any(|problem| problem.starts_with("my.toml:6: ")), "{found:?}");
    }

    #[test]
    fn whether_a_rule_reads_the_level_only_is_true_or_false() {
        let parsed = parse("my.toml", "[[rules]]\nname = \"A\"\npattern = 'abc'\nlevel_only = true\n");
        assert!(parsed.problems.is_empty() && parsed.rules[0].level_only);
        for (keys, reason) in [
            ("level_only = \"yes\"", "level_only: is a string, not true or false"),
            ("levels_only = true", "levels_only: is not a key; did you mean `level_only`?"),
        ] {
            let (rules, found) = problems(&format!("[[rules]]\nname = \"A\"\npattern = 'abc'\n{keys}\n"));
            assert_eq!((rules, found), (0, vec![format!("my.toml:4: rule A: {reason}")]));
        }
    }

    #[test]
    fn scores_at_the_limit_and_beyond() {
        for (score, good) in [
            ("0", true),
            ("10", true),
            ("10.0", true),
            ("10.1", false),
            ("-1", false),
            ("100", false),
            ("nan", false),
        ] {
            let (rules, found) =
                problems(&format!("[[rules]]\nname = \"A\"\npattern = 'abc'\nscore = {score}\n"));
            assert_eq!(rules == 1, good, "{score}: {found:?}");
        }
        let (_, found) =
            problems("[[rules]]\nname = \"A\"\npattern = 'abc'\nscore = 1\nseverity = \"low\"\n");
        assert_eq!(found, ["my.toml:1: rule A: severity: is given beside score; keep one of them"]);
    }
}
