//! Rule files with one rule a line, `NAME REGEX [score] [description]`: takes the text, gives rules and problems.
//!
//! `#` begins a comment line. A regex with blanks in it is quoted, `"…"` or `/…/`; inside the quotes, the quote sign itself
//! is written with a backslash before it, and every other backslash is the regex's own.

use std::sync::Arc;

use super::{DEFAULT_SCORE, MAX_DESCRIPTION_BYTES, Parsed, Rule, RuleProblem, check_name, score_of};

/// Reads one rule a line.
pub(super) fn parse(file: &Arc<str>, content: &str) -> Parsed {
    let mut parsed = Parsed::default();
    for (number, line) in (1..).zip(content.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match rule(file, number, line) {
            Ok(rule) => parsed.rules.push(rule),
            Err((key, reason)) => {
                let name =
                    line.split_whitespace().next().filter(|name| check_name(name).is_ok()).map(Arc::from);
                let problem = RuleProblem {
                    file: Arc::clone(file),
                    line: number,
                    rule: name,
                    key: key.to_owned(),
                    reason,
                };
                parsed.problems.push(problem);
            }
        }
    }
    parsed
}

fn rule(file: &Arc<str>, line: usize, text: &str) -> Result<Rule, (&'static str, String)> {
    let (name, rest) = split(text);
    check_name(name).map_err(|reason| ("name", reason))?;
    let (pattern, rest) = pattern(rest).map_err(|reason| ("pattern", reason))?;
    let (word, rest_after) = split(rest);
    // A first word that is no number is the description's, unless it looks like a number that is out of range.
    let (score, description) = match score_of(word) {
        Ok(score) => (score, rest_after),
        Err(reason) if word.parse::<f32>().is_ok() => return Err(("score", reason)),
        Err(_) => (DEFAULT_SCORE, rest),
    };
    if description.len() > MAX_DESCRIPTION_BYTES {
        let reason =
            format!("has {} bytes, more than the limit of {MAX_DESCRIPTION_BYTES}", description.len());
        return Err(("description", reason));
    }
    let mut rule = Rule::new(name, file, line);
    rule.pattern = pattern;
    rule.score = score;
    rule.description = Arc::from(description);
    Ok(rule)
}

/// The first word, and what follows it.
fn split(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

/// The regex, out of its quotes, and what follows it.
fn pattern(text: &str) -> Result<(String, &str), String> {
    let quote = match text.chars().next() {
        None => return Err("is missing; write `NAME REGEX [score] [description]`".to_owned()),
        Some(quote @ ('"' | '/')) => quote,
        Some(_) => {
            let (word, rest) = split(text);
            return Ok((word.to_owned(), rest));
        }
    };
    let mut pattern = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, char)) = chars.next() {
        if char == quote {
            let rest = text.get(at.saturating_add(1)..).unwrap_or_default();
            return Ok((pattern, rest.trim_start()));
        }
        if char != '\\' {
            pattern.push(char);
            continue;
        }
        match chars.next() {
            Some((_, next)) if next == quote => pattern.push(next),
            Some((_, next)) => pattern.extend(['\\', next]),
            None => pattern.push('\\'),
        }
    }
    Err(format!("begins with {quote} and has no closing {quote}"))
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    #[test]
    fn each_shape_of_line_is_read() {
        let parsed = parse(
            "my.rules",
            "# comment\n\nPLAIN foo.*bar\n  SCORED foo 7.5\nWORDED \"a \\\"b\\\" \\d+\" high two words\nSLASHED /a\\/b c/ 0\nTOLD foo two words\n",
        );
        assert_eq!(parsed.problems, []);
        let read: Vec<_> = parsed
            .rules
            .iter()
            .map(|rule| {
                format!("{}|{}|{}|{}|{}", rule.line, rule.name, rule.pattern, rule.score, rule.description)
            })
            .collect();
        assert_eq!(
            read,
            [
                "3|PLAIN|foo.*bar|2.5|",
                "4|SCORED|foo|7.5|",
                "5|WORDED|a \"b\" \\d+|4|two words",
                "6|SLASHED|a/b c|0|",
                "7|TOLD|foo|2.5|two words",
            ]
        );
    }

    #[test]
    fn faults_are_named_and_the_rest_loads() {
        let parsed = parse(
            "my.rules",
            "lower foo\nNOTHING\nOPEN \"foo\nHIGH foo 10.5\nNEGATIVE foo -1\nGOOD foo 10\n",
        );
        assert_eq!(parsed.rules.len(), 1);
        let found: Vec<_> = parsed.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "my.rules:1: name: `lower` is not a name in capitals, digits and `_`, such as DB_CONNECT_FAILED",
                "my.rules:2: rule NOTHING: pattern: is missing; write `NAME REGEX [score] [description]`",
                "my.rules:3: rule OPEN: pattern: begins with \" and has no closing \"",
                "my.rules:4: rule HIGH: score: 10.5 is not within 0..=10",
                "my.rules:5: rule NEGATIVE: score: -1 is not within 0..=10",
            ]
        );
    }
}
