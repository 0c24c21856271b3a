//! Conditions on fields as VRL: takes the engine's expressions, gives boolean expressions that cannot fail.
//!
//! A value is read as text, and every comparison with a text is one regex: that is exact about ASCII case, knows `007` and
//! `7.0` for 7, and makes a list of two hundred words no dearer than one. What is no text, number or truth value reads as
//! an empty text, which no regex here matches but one for an empty literal: it is asked only of what is a value.

use oddline_engine::rules::field::{self, Expr, FieldPath, Literal, Number, Op, Test};

use super::pattern;
use crate::text::field as top;

/// A condition, ready to be written.
#[derive(Debug)]
pub(crate) struct Condition {
    /// The VRL expression.
    pub(crate) text: String,
    /// Expressions of which at least one is true where the condition holds; none: it may hold for any event.
    pub(crate) needs: Vec<String>,
    /// The names at the top level of an event of all fields that it reads.
    pub(crate) names: Vec<String>,
}

/// All of a rule's expressions, joined.
///
/// # Errors
/// What VRL cannot express.
pub(crate) fn condition(fields: &[String]) -> Result<Condition, String> {
    let parsed: Result<Vec<Expr>, String> = fields.iter().map(|text| field::parse(text)).collect();
    let whole = Expr::All(parsed?);
    let mut names = Vec::new();
    read(&whole, &mut names);
    Ok(Condition { text: write(&whole)?, needs: needs(&whole).unwrap_or_default(), names })
}

fn write(expression: &Expr) -> Result<String, String> {
    let join = |parts: &[Expr], sign: &str| -> Result<String, String> {
        let parts: Result<Vec<String>, String> = parts.iter().map(write).collect();
        Ok(format!("({})", parts?.join(sign)))
    };
    match expression {
        Expr::All(parts) => join(parts, " && "),
        Expr::Any(parts) => join(parts, " || "),
        Expr::Not(inner) => Ok(format!("!{}", write(inner)?)),
        Expr::Test(test) => self::test(test),
    }
}

/// Collects the names at the top level under which fields may be.
fn read(expression: &Expr, names: &mut Vec<String>) {
    match expression {
        Expr::All(parts) | Expr::Any(parts) => parts.iter().for_each(|part| read(part, names)),
        Expr::Not(inner) => read(inner, names),
        // These are there without a field.
        Expr::Test(test) if stand_in(&test.path).is_some() => {}
        Expr::Test(test) => {
            names.extend(test.path.keys().first().map(ToString::to_string));
            names.push(test.path.keys().join("."));
        }
    }
}

/// Where a value may be: nested and, for paths of several keys, under one literal key.
fn places(path: &FieldPath) -> Vec<String> {
    let nested = path.keys().iter().map(|key| top(key)).collect::<String>();
    match path.keys() {
        [_] => vec![nested],
        keys => vec![nested, top(&keys.join("."))],
    }
}

/// What stands in where the event has no such field.
fn stand_in(path: &FieldPath) -> Option<(&'static str, &'static str)> {
    if path.is("message") {
        Some(("message != \"\"", "message"))
    } else if path.is("level") {
        let word = "if severity == 0 { \"trace\" } else if severity == 1 { \"debug\" } else if severity == 2 { \"info\" } \
                    else if severity == 3 { \"warn\" } else if severity == 4 { \"error\" } else { \"fatal\" }";
        Some(("severity != null", word))
    } else {
        None
    }
}

/// True if there is a value.
fn there(path: &FieldPath) -> String {
    let places = places(path);
    let stand_in = stand_in(path).map(|(there, _)| there.to_owned());
    let all: Vec<String> = places.iter().map(|place| format!("{place} != null")).chain(stand_in).collect();
    format!("({})", all.join(" || "))
}

/// The value as text; empty if it is none. Where a field is in both places the texts are joined: an `if` would choose, and
/// cost Vector more time to compile than all else in a condition.
fn text(path: &FieldPath) -> String {
    let places = places(path);
    let all: Vec<String> = places.iter().map(|place| format!("(to_string({place}) ?? \"\")")).collect();
    let all = all.join(" + ");
    match stand_in(path) {
        // Only a block may hold an `if` inside an expression.
        Some((there, value)) => {
            let place = places.first().map_or("", String::as_str);
            format!("{{ if {place} != null {{ {all} }} else if {there} {{ {value} }} else {{ \"\" }} }}")
        }
        None if places.len() > 1 => format!("({all})"),
        None => all,
    }
}

fn test(test: &Test) -> Result<String, String> {
    let path = &test.path;
    let matches = |regex: &str| format!("match({}, {{r'{regex}'}})", text(path));
    let is_value = || {
        let opaque: Vec<String> =
            places(path).iter().map(|place| format!("is_object({place}) || is_array({place})")).collect();
        format!("{} && !({})", there(path), opaque.join(" || "))
    };
    let equals = |literals: &[Literal]| {
        let equal = matches(&equal(literals));
        let has_empty = literals.iter().any(|literal| literal.text.is_empty());
        if has_empty { format!("({equal} && {})", is_value()) } else { equal }
    };
    let compare = |sign: &str, number: &Number| {
        let (text, number) = (text(path), written(*number));
        format!("((to_float(strip_whitespace({text})) ?? 0.0) {sign} {number})")
    };
    let number = || matches(r"\A[\t\n\x0c\r ]*[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?[\t\n\x0c\r ]*\z");
    Ok(match &test.op {
        Op::Exists => there(path),
        Op::Missing => format!("!{}", there(path)),
        Op::Is(literal) => equals(std::slice::from_ref(literal)),
        Op::In(literals) => equals(literals),
        Op::IsNot(literal) => {
            format!("({} && !{})", is_value(), matches(&equal(std::slice::from_ref(literal))))
        }
        Op::Less(limit) => format!("({} && {})", number(), compare("<", limit)),
        Op::AtMost(limit) => format!("({} && {})", number(), compare("<=", limit)),
        Op::More(limit) => format!("({} && {})", number(), compare(">", limit)),
        Op::AtLeast(limit) => format!("({} && {})", number(), compare(">=", limit)),
        Op::Between(low, high) => {
            format!("({} && {} && {})", number(), compare(">=", low), compare("<=", high))
        }
        Op::Contains(part) => matches(&format!("(?i-u){}", escaped(part))),
        Op::StartsWith(part) => matches(&format!(r"(?i-u)\A{}", escaped(part))),
        Op::EndsWith(part) => matches(&format!(r"(?i-u){}\z", escaped(part))),
        Op::Matches(text) => matches(&pattern::translate_original(&pattern::parse(text)?)?),
    })
}

fn written(number: Number) -> String {
    let number = number.as_f64();
    if number.fract() == 0.0 { format!("{number:.1}") } else { format!("{number}") }
}

/// A regex for any of the literals: as text, and as a number however it is written.
fn equal(literals: &[Literal]) -> String {
    let mut texts: Vec<String> = literals.iter().map(|literal| escaped(&literal.text)).collect();
    texts.extend(literals.iter().filter(|literal| literal.number.is_some()).map(|it| decimal(&it.text)));
    format!(r"(?i-u)\A(?:{})\z", texts.join("|"))
}

/// A regex for all ways to write a number of digits with an optional sign and fraction.
fn decimal(text: &str) -> String {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let sign = match (is_negative, whole.is_empty() && fraction.is_empty()) {
        (_, true) => "[+-]?",
        (true, false) => "-",
        (false, false) => r"\+?",
    };
    let whole = if whole.is_empty() { "0+".to_owned() } else { format!("0*{whole}") };
    let fraction = if fraction.is_empty() { r"(?:\.0+)?".to_owned() } else { format!(r"\.{fraction}0*") };
    format!(r"[\t\n\x0c\r ]*{sign}{whole}{fraction}[\t\n\x0c\r ]*")
}

/// A text as a regex of itself, where case is ignored.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        if char.is_ascii_alphabetic() { out.push(char) } else { pattern::one(char, &mut out) }
    }
    // An empty text is a choice like any other.
    if out.is_empty() { "(?:)".to_owned() } else { out }
}

/// The fields of which one must be there, each as an expression; `None` if the expression may hold without any.
fn needs(expression: &Expr) -> Option<Vec<String>> {
    match expression {
        Expr::Test(Test { op: Op::Missing, .. }) => None,
        Expr::Test(test) => needs_of(&test.path),
        Expr::Not(inner) => match &**inner {
            Expr::Test(Test { op: Op::Missing, path }) => needs_of(path),
            _ => None,
        },
        // The fewest fields to look for.
        Expr::All(parts) => parts.iter().filter_map(needs).min_by_key(Vec::len),
        Expr::Any(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(needs(part)?);
            }
            all.sort_unstable();
            all.dedup();
            Some(all)
        }
    }
}

fn needs_of(path: &FieldPath) -> Option<Vec<String>> {
    // Message and level have stand-ins, so an event need not have the field.
    stand_in(path).is_none().then(|| places(path).iter().map(|place| format!("exists({place})")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_known_however_they_are_written() {
        assert_eq!(decimal("500"), r"[\t\n\x0c\r ]*\+?0*500(?:\.0+)?[\t\n\x0c\r ]*");
        assert_eq!(decimal("-00.50"), r"[\t\n\x0c\r ]*-0+\.50*[\t\n\x0c\r ]*");
        assert_eq!(decimal("0"), r"[\t\n\x0c\r ]*[+-]?0+(?:\.0+)?[\t\n\x0c\r ]*");
    }

    #[test]
    fn the_fewest_fields_are_looked_for() {
        let of = |text: &str| condition(&[text.to_owned()]).unwrap().needs;
        assert_eq!(of("a == 1 and (b == 2 or c == 3)"), [r#"exists(."a")"#]);
        assert_eq!(of("a.b == 1"), [r#"exists(."a"."b")"#, r#"exists(."a.b")"#]);
        assert_eq!(of("a missing"), [""; 0]);
        assert_eq!(of("not (a missing) and level == error"), [r#"exists(."a")"#]);
    }
}
