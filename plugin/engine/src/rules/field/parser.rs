//! Reads a field expression: takes its text, gives its tree, or one line with the column of the fault. By hand, because
//! the grammar is a page long and its faults should be told in the words of a rule's author.

use super::{Expr, FieldPath, Literal, MAX_EXPRESSION_BYTES, MAX_EXPRESSION_DEPTH, Number, Op, Test};
use crate::rules::{pattern, suggestion};

const OPERATORS: [&str; 7] = ["exists", "missing", "in", "contains", "starts_with", "ends_with", "matches"];
const WORDS: [&str; 3] = ["and", "or", "not"];
const WANTED: &str = "==, !=, <, <=, >, >=, in, contains, starts_with, ends_with, matches, exists or missing";

/// Reads one expression.
///
/// # Errors
/// One line: the column, what is wrong, and what to write.
pub fn parse(text: &str) -> Result<Expr, String> {
    if text.len() > MAX_EXPRESSION_BYTES {
        return Err(format!(
            "has {} bytes, more than the limit of {MAX_EXPRESSION_BYTES}; write a list of shorter ones",
            text.len()
        ));
    }
    let mut parser = Parser { text, at: 0, depth: 0 };
    let expression = parser.any()?;
    parser.blanks();
    match parser.rest().chars().next() {
        None => Ok(expression),
        Some(')') => Err(parser.fault("`)` without a `(` before it")),
        Some('&') => Err(parser.fault("is not an operator; write `and`")),
        Some('|') => Err(parser.fault("is not an operator; write `or`")),
        Some(_) => Err(parser.fault("expected `and`, `or` or the end")),
    }
}

/// Whether a key needs no quotes in a path.
pub(super) fn is_plain_key(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|char| in_word(char) && char != '.') && !WORDS.contains(&key)
}

/// A text in quotes, as the parser reads it.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

fn in_word(char: char) -> bool {
    char.is_alphanumeric() || "_-./:@$%*+".contains(char)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

type Read<T> = Result<T, String>;

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn fault(&self, what: &str) -> String {
        let column = self.text.get(..self.at).unwrap_or_default().chars().count().saturating_add(1);
        let found: String = self.rest().chars().take(20).collect();
        let found = if found.is_empty() { "the end".to_owned() } else { format!("`{found}`") };
        format!("column {column}, at {found}: {what}")
    }

    fn step(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.step(rest.len().saturating_sub(rest.trim_start().len()));
    }

    /// Steps over a sign, if it is next.
    fn sign(&mut self, sign: &str) -> bool {
        self.blanks();
        let is_next = self.rest().starts_with(sign);
        if is_next {
            self.step(sign.len());
        }
        is_next
    }

    /// The word that is next, which may be empty. `..` ends a word, so that `500..599` is three tokens.
    fn peek_word(&self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|char| !in_word(char)).unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or_default();
        word.find("..").and_then(|dots| word.get(..dots)).unwrap_or(word)
    }

    fn keyword(&mut self, wanted: &str) -> bool {
        self.blanks();
        let word = self.peek_word();
        let is_next = word.eq_ignore_ascii_case(wanted);
        if is_next {
            self.step(word.len());
        }
        is_next
    }

    fn any(&mut self) -> Read<Expr> {
        let mut parts = vec![self.all()?];
        while self.keyword("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() > 1 { Expr::Any(parts) } else { parts.swap_remove(0) })
    }

    fn all(&mut self) -> Read<Expr> {
        let mut parts = vec![self.one()?];
        while self.keyword("and") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() > 1 { Expr::All(parts) } else { parts.swap_remove(0) })
    }

    fn one(&mut self) -> Read<Expr> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_EXPRESSION_DEPTH {
            return Err(self.fault(&format!("nested deeper than the limit of {MAX_EXPRESSION_DEPTH}")));
        }
        let expression = if self.keyword("not") {
            Expr::Not(Box::new(self.one()?))
        } else if self.sign("(") {
            let inner = self.any()?;
            if !self.sign(")") {
                return Err(self.fault("expected `and`, `or` or `)`"));
            }
            inner
        } else {
            Expr::Test(self.test()?)
        };
        self.depth = self.depth.saturating_sub(1);
        Ok(expression)
    }

    fn test(&mut self) -> Read<Test> {
        let path = self.path()?;
        let op = self.op()?;
        Ok(Test { path, op })
    }

    fn path(&mut self) -> Read<FieldPath> {
        self.blanks();
        if self.rest().starts_with('!') {
            return Err(self.fault("is not an operator; write `not`"));
        }
        let start = self.at;
        let mut keys = Vec::new();
        loop {
            if self.rest().starts_with('"') {
                keys.push(self.string()?);
            } else {
                let word = self.peek_word();
                let key = word.split('.').next().unwrap_or_default();
                if key.is_empty() {
                    return Err(self.fault("expected the name of a field"));
                }
                self.step(key.len());
                keys.push(key.to_owned());
            }
            if !self.rest().starts_with('.') {
                break;
            }
            self.step(1);
        }
        FieldPath::new(keys).map_err(|reason| {
            self.at = start;
            self.fault(&reason)
        })
    }

    fn op(&mut self) -> Read<Op> {
        self.blanks();
        let start = self.at;
        if let Some(sign) = ["==", "!=", "<=", ">=", "<", ">"].into_iter().find(|sign| self.sign(sign)) {
            return Ok(match sign {
                "==" => Op::Is(self.literal()?),
                "!=" => Op::IsNot(self.literal()?),
                "<=" => Op::AtMost(self.number()?),
                ">=" => Op::AtLeast(self.number()?),
                "<" => Op::Less(self.number()?),
                _ => Op::More(self.number()?),
            });
        }
        if self.rest().starts_with('=') {
            return Err(self.fault("is not an operator; write `==`"));
        }
        let word = self.peek_word();
        self.step(word.len());
        let op = match word.to_ascii_lowercase().as_str() {
            "exists" => Op::Exists,
            "missing" => Op::Missing,
            "in" => self.list()?,
            "contains" => Op::Contains(self.some_text()?),
            "starts_with" => Op::StartsWith(self.some_text()?),
            "ends_with" => Op::EndsWith(self.some_text()?),
            "matches" => {
                self.blanks();
                let at = self.at;
                let text = self.some_text()?;
                if let Err(reason) = pattern::parse(&text) {
                    self.at = at;
                    return Err(self.fault(&format!("the regex {reason}")));
                }
                Op::Matches(text)
            }
            other => {
                self.at = start;
                let near = suggestion(other, &OPERATORS);
                let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return Err(self.fault(&format!("expected {WANTED}{near}")));
            }
        };
        Ok(op)
    }

    /// `[a, "b c", 3]` or `500..599`.
    fn list(&mut self) -> Read<Op> {
        if !self.sign("[") {
            let low = self.number()?;
            if !self.sign("..") {
                return Err(self.fault("expected `..` and the last number of the range"));
            }
            let at = self.at;
            let high = self.number()?;
            if high < low {
                self.at = at;
                return Err(self.fault(&format!("the range ends before it begins, at {low}")));
            }
            return Ok(Op::Between(low, high));
        }
        let mut values = Vec::new();
        while !self.sign("]") {
            values.push(self.literal()?);
            if !self.sign(",") && !self.rest().trim_start().starts_with(']') {
                return Err(self.fault("expected `,` or `]`"));
            }
        }
        if values.is_empty() { Err(self.fault("the list is empty")) } else { Ok(Op::In(values)) }
    }

    fn literal(&mut self) -> Read<Literal> {
        self.blanks();
        if self.rest().starts_with(['"', '\'']) {
            return Ok(Literal { text: self.string()?, number: None });
        }
        let word = self.peek_word();
        if word.is_empty() {
            return Err(self.fault("expected a value; quote it unless it is a word or a number"));
        }
        self.step(word.len());
        Ok(Literal { text: word.to_owned(), number: Number::parse(word.as_bytes()) })
    }

    fn number(&mut self) -> Read<Number> {
        self.blanks();
        let word = self.peek_word();
        let number = Number::parse(word.as_bytes())
            .ok_or_else(|| self.fault("expected a number, such as 500 or 0.5"))?;
        self.step(word.len());
        Ok(number)
    }

    /// A text that is not empty.
    fn some_text(&mut self) -> Read<String> {
        self.blanks();
        let at = self.at;
        let text = self.literal()?.text;
        if text.is_empty() {
            self.at = at;
            return Err(self.fault("an empty text is in every text"));
        }
        Ok(text)
    }

    /// `"…"` with `\"`, `\\`, `\n`, `\t`, `\r`, or `'…'` as it is.
    fn string(&mut self) -> Read<String> {
        let start = self.at;
        let mut chars = self.rest().char_indices();
        let quote = chars.next().map_or('"', |(_, quote)| quote);
        let mut text = String::new();
        while let Some((at, char)) = chars.next() {
            if char == quote {
                self.step(at.saturating_add(1));
                return Ok(text);
            }
            if char != '\\' || quote == '\'' {
                text.push(char);
                continue;
            }
            text.push(match chars.next().map(|(_, escaped)| escaped) {
                Some(escaped @ ('"' | '\\')) => escaped,
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                _ => {
                    self.step(at);
                    return Err(self.fault(
                        "is not an escape; there are \\\" \\\\ \\n \\t \\r, and '…' takes text as it is",
                    ));
                }
            });
        }
        self.at = start;
        Err(self.fault(&format!("begins with {quote} and has no closing {quote}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str, wanted: &str) {
        let found = parse(text).expect_err(text);
        assert!(found.contains(wanted), "{text}: {found}");
    }

    #[test]
    fn every_operator_is_read() {
        let Expr::All(parts) = parse(
            r#"a exists and b.c missing and "cs-uri-query" == "x y" and d-e != -3 and f < 1.5 and g <= 2 and h > +3 and i >= 4
               and j in [a, "b c", 3] and k in 500..599 and l contains 'it is "so"' and m starts_with /health
               and n ends_with ".\"x\\" and o matches '\d+ ms' and not (p == 1 OR q == 2)"#,
        )
        .unwrap() else {
            panic!()
        };
        assert_eq!(parts.len(), 15);
        let Expr::Test(test) = &parts[2] else { panic!() };
        assert_eq!(
            (test.path.to_string().as_str(), test.path.keys()),
            ("cs-uri-query", &["cs-uri-query".to_owned()][..])
        );
        let Expr::Test(test) = &parts[9] else { panic!() };
        assert_eq!(test.op, Op::Between(Number::Int(500), Number::Int(599)));
        let Expr::Test(test) = &parts[12] else { panic!() };
        assert_eq!(test.op, Op::EndsWith(".\"x\\".to_owned()));
        assert!(matches!(&parts[14], Expr::Not(inner) if matches!(&**inner, Expr::Any(_))));
    }

    #[test]
    fn and_binds_closer_than_or() {
        let Expr::Any(parts) = parse("a == 1 and b == 2 or c == 3").unwrap() else { panic!() };
        assert!(matches!(&parts[0], Expr::All(both) if both.len() == 2));
    }

    #[test]
    fn a_path_is_written_as_it_is_read() {
        for path in ["a", "a.b-c", "\"a.b\".c", "\"a b\"", "\"not\"", "\"\\\"\\\\\""] {
            let Expr::Test(test) = parse(&format!("{path} exists")).unwrap() else { panic!() };
            assert_eq!(test.path.to_string(), path);
        }
    }

    #[test]
    fn faults_tell_the_column_and_what_to_write() {
        fault("status = 5", "column 8, at `= 5`: is not an operator; write `==`");
        fault("a == 1 && b == 2", "column 8, at `&& b == 2`: is not an operator; write `and`");
        fault("a == 1 || b == 2", "write `or`");
        fault("!a exists", "write `not`");
        fault("url startswith '/x'", "did you mean `starts_with`?");
        fault("url like '/x'", "column 5, at `like '/x'`: expected ==, !=");
        fault("status >= high", "expected a number");
        fault("status in 5", "expected `..`");
        fault("status in 9..5", "the range ends before it begins");
        fault("status in []", "the list is empty");
        fault("status in [1 2]", "expected `,` or `]`");
        fault("(a == 1", "expected `and`, `or` or `)`");
        fault("a == 1)", "`)` without a `(`");
        fault("a ==", "at the end: expected a value");
        fault("", "expected the name of a field");
        fault("a.", "expected the name of a field");
        fault("a == \"x", "begins with \" and has no closing \"");
        fault(r#"a == "\d""#, "is not an escape");
        fault("a contains ''", "an empty text is in every text");
        fault("a matches 'x(?=y)'", "the regex look-around");
        fault("é == 1 x", "column 8");
    }

    #[test]
    fn limits_at_one_over_and_ten_times() {
        let nested = |depth: usize| parse(&format!("{}a exists{}", "(".repeat(depth), ")".repeat(depth)));
        assert!(nested(MAX_EXPRESSION_DEPTH - 1).is_ok());
        for depth in [MAX_EXPRESSION_DEPTH, MAX_EXPRESSION_DEPTH * 10] {
            assert!(nested(depth).unwrap_err().contains("nested deeper than the limit of 32"));
        }
        let long = |bytes: usize| parse(&format!("a == \"{}\"", "x".repeat(bytes - 7)));
        assert!(long(MAX_EXPRESSION_BYTES).is_ok());
        for bytes in [MAX_EXPRESSION_BYTES + 1, MAX_EXPRESSION_BYTES * 10] {
            assert!(long(bytes).unwrap_err().contains("more than the limit of 16384"));
        }
        let steps = |steps: usize| parse(&format!("{} exists", vec!["a"; steps].join(".")));
        assert!(steps(8).is_ok());
        assert!(steps(9).unwrap_err().contains("9 steps, more than the limit of 8"));
        assert!(steps(80).unwrap_err().contains("80 steps"));
        let key = |bytes: usize| parse(&format!("{} exists", "a".repeat(bytes)));
        assert!(key(256).is_ok());
        assert!(key(257).unwrap_err().contains("257 bytes, more than the limit of 256"));
        assert!(key(2560).unwrap_err().contains("2560 bytes"));
    }
}
