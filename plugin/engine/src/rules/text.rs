//! Rule files with one rule a line, `NAME REGEX [score] [description]`: takes the text, gives rules and problems.
//!
//! Columns are parted by blanks or tabs. `#` begins a comment line. The regex is quoted, `"…"` or `/…/`, or it is not:
//!
//! * Quoted, it ends at the next quote sign. The sign itself is written with a backslash before it; every other backslash
//!   is the regex's own. A word after it that is a number, or low, medium, high or critical, is the score.
//! * Not quoted, it may have blanks and ends before the first word that is a number: that is the score, and what follows is
//!   the description. Without such a word all of the line is the regex. So a description needs a score before it, and a
//!   regex with a number as a word of its own needs quotes.
//! * A regex that begins with `/` but has no other `/` with a blank or the line's end after it is not quoted.

use std::sync::Arc;

use super::{
    DEFAULT_SCORE, MAX_DESCRIPTION_BYTES, Parsed, Rule, RuleProblem, check_name, field::Number, score_of,
};

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
                let name = line.split_whitespace().next().filter(|name| check_name(name).is_ok());
                parsed.problems.push(RuleProblem::new(file, number, name, key, &reason));
            }
        }
    }
    parsed
}

fn rule(file: &Arc<str>, line: usize, text: &str) -> Result<Rule, (&'static str, String)> {
    let (name, rest) = split(text);
    check_name(name).map_err(|reason| ("name", reason))?;
    let quoted = quoted(rest).map_err(|reason| ("pattern", reason))?;
    let is_number = |word: &str| Number::parse(word.as_bytes()).is_some();
    let (pattern, score, description) = if let Some((pattern, rest)) = quoted {
        let (word, after) = split(rest);
        match score_of(word) {
            Ok(score) => (pattern, score, after),
            Err(reason) if is_number(word) => return Err(("score", reason)),
            Err(_) => (pattern, DEFAULT_SCORE, rest),
        }
    } else {
        match words(rest).find(|(_, word)| is_number(word)) {
            None => (rest.to_owned(), DEFAULT_SCORE, ""),
            Some((at, word)) => {
                let (pattern, rest) = rest.split_at_checked(at).unwrap_or((rest, ""));
                let score = score_of(word).map_err(|reason| {
                    ("score", format!("{reason}; if it belongs to the regex, quote that"))
                })?;
                (pattern.trim_end().to_owned(), score, split(rest).1)
            }
        }
    };
    if pattern.is_empty() {
        return Err(("pattern", "is missing; write `NAME REGEX [score] [description]`".to_owned()));
    }
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

/// Every word and where it begins.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_whitespace()
        .map(|word| ((word.as_ptr() as usize).saturating_sub(text.as_ptr() as usize), word))
}

/// The regex, out of its quotes, and what follows it; `None` if it is not quoted.
fn quoted(text: &str) -> Result<Option<(String, &str)>, String> {
    let quote = match text.chars().next() {
        Some(quote @ ('"' | '/')) => quote,
        _ => return Ok(None),
    };
    let mut pattern = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, char)) = chars.next() {
        if char == quote {
            let rest = text.get(at.saturating_add(1)..).unwrap_or_default();
            let ends = rest.is_empty() || rest.starts_with(char::is_whitespace);
            return match quote {
                _ if ends => Ok(Some((pattern, rest.trim_start()))),
                '/' => Ok(None),
                _ => Err(format!(
                    "goes on after its closing {quote}; write \\{quote} for one inside the regex"
                )),
            };
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
    match quote {
        '/' => Ok(None),
        _ => Err(format!("begins with {quote} and has no closing {quote}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{parse, parse_bytes};

    /// Line, name, pattern, score and description of each rule.
    fn read(content: &str) -> Vec<String> {
        let parsed = parse("my.rules", content);
        assert_eq!(parsed.problems, []);
        let shown = |rule: &super::Rule| {
            format!("{}|{}|{}|{}|{}", rule.line, rule.name, rule.pattern, rule.score, rule.description)
        };
        parsed.rules.iter().map(shown).collect()
    }

    fn faults(content: &[u8]) -> (usize, Vec<String>) {
        let parsed = parse_bytes("my.rules", content);
        (parsed.rules.len(), parsed.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_quoted_regex_ends_at_its_quote() {
        assert_eq!(
            read(
                "# comment\n\nWORDED \"a \\\"b\\\" \\d+\" high two words\nSLASHED /a\\/b c/ 0\nTOLD \"foo 5 times\" two words\n\
                 BARE \"x 1\"\n"
            ),
            [
                "3|WORDED|a \"b\" \\d+|4|two words",
                "4|SLASHED|a/b c|0|",
                "5|TOLD|foo 5 times|2.5|two words",
                "6|BARE|x 1|2.5|"
            ]
        );
    }

    #[test]
    fn a_bare_regex_ends_before_the_first_number() {
        assert_eq!(
            read(
                "PLAIN foo.*bar\n  SCORED foo 7.5\nBLANKS out of memory\nTOLD failed login .* from 6 after 5 tries\n\
                 TABS\tlost  carrier\t3\tsome\tlink\nPATH /var/log is full 4\nDIR /var/ full 4\nWORD temperature high 4.5\n"
            ),
            [
                "1|PLAIN|foo.*bar|2.5|",
                "2|SCORED|foo|7.5|",
                "3|BLANKS|out of memory|2.5|",
                "4|TOLD|failed login .* from|6|after 5 tries",
                "5|TABS|lost  carrier|3|some\tlink",
                "6|PATH|/var/log is full|4|",
                "7|DIR|var|2.5|full 4",
                "8|WORD|temperature high|4.5|",
            ]
        );
    }

    #[test]
    fn byte_order_mark_and_carriage_returns_are_no_part_of_a_rule() {
        assert_eq!(
            read("\u{feff}FIRST foo 1 one\r\n\r\nSECOND bar\r\n"),
            ["1|FIRST|foo|1|one", "3|SECOND|bar|2.5|"]
        );
    }

    #[test]
    fn faults_are_named_and_the_rest_loads() {
        let (rules, found) = faults(
            b"lower foo\nNOTHING\nOPEN \"foo\nHIGH foo 10.5\nNEGATIVE foo -1\nCODE error 500 seen\nGLUED \"a\"b\n\
              ONLY 5\nQUOTED \"foo\" 11\nGOOD foo 10\n",
        );
        assert_eq!(rules, 1);
        assert_eq!(
            found,
            [
                "my.rules:1: name: `lower` is not a name in capitals, digits and `_`, such as DB_CONNECT_FAILED",
                "my.rules:2: rule NOTHING: pattern: is missing; write `NAME REGEX [score] [description]`",
                "my.rules:3: rule OPEN: pattern: begins with \" and has no closing \"",
                "my.rules:4: rule HIGH: score: 10.5 is not within 0..=10; if it belongs to the regex, quote that",
                "my.rules:5: rule NEGATIVE: score: -1 is not within 0..=10; if it belongs to the regex, quote that",
                "my.rules:6: rule CODE: score: 500 is not within 0..=10; if it belongs to the regex, quote that",
                "my.rules:7: rule GLUED: pattern: goes on after its closing \"; write \\\" for one inside the regex",
                "my.rules:8: rule ONLY: pattern: is missing; write `NAME REGEX [score] [description]`",
                "my.rules:9: rule QUOTED: score: 11 is not within 0..=10",
            ]
        );
    }

    #[test]
    fn a_line_that_is_not_utf8_is_left_out() {
        let (rules, found) = faults(b"GOOD foo\nBAD caf\xe9 closed\nALSO_GOOD bar\nlower x\n");
        assert_eq!(rules, 2);
        assert_eq!(
            found[0],
            "my.rules:2: file: byte 8 of the line is not UTF-8 text; save the file as UTF-8"
        );
        assert!(found[1].starts_with("my.rules:4: name: "), "{found:?}");
    }
}
