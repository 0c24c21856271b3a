//! Field expressions as they are written in rule files: takes a tree, gives its text. Knows nothing of where a tree is from.

use std::fmt;

/// What a segment of a path may consist of without quotes.
const BARE: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-@";

/// A condition on a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// All hold.
    All(Vec<Expr>),
    /// One holds.
    Any(Vec<Expr>),
    /// It does not hold.
    Not(Box<Expr>),
    /// One field.
    Test(Test),
}

/// A condition on one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// Where the field is; `message` is the picked message.
    pub path: String,
    /// What it must be.
    pub op: Op,
}

/// What a field must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// There.
    Exists,
    /// Not there.
    Missing,
    /// Compared with a value: `==`, `!=`, `<`, `<=`, `>`, `>=`.
    Compare(&'static str, Literal),
    /// One of these.
    In(Vec<Literal>),
    /// A text with this in it.
    Contains(String),
    /// A text that begins like this.
    StartsWith(String),
    /// A text that ends like this.
    EndsWith(String),
    /// A text in which this regex matches.
    Matches(String),
}

/// A value in an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// A text, compared without regard to ASCII case.
    Text(String),
    /// A number, as written.
    Number(String),
    /// True or false.
    Bool(bool),
}

impl Expr {
    /// A condition on a field.
    pub fn test(path: &str, op: Op) -> Expr {
        Expr::Test(Test { path: path.to_owned(), op })
    }

    /// All of these, flat; one alone is itself.
    pub fn all(parts: Vec<Expr>) -> Expr {
        let flat = parts.into_iter().flat_map(|part| match part {
            Expr::All(inner) => inner,
            other => vec![other],
        });
        single(unique(flat), Expr::All)
    }

    /// One of these, flat; equal paths compared with several values become one `in`.
    pub fn any(parts: Vec<Expr>) -> Expr {
        let flat = parts.into_iter().flat_map(|part| match part {
            Expr::Any(inner) => inner,
            other => vec![other],
        });
        let mut joined: Vec<Expr> = Vec::new();
        for part in unique(flat) {
            let Expr::Test(Test { path, op: Op::Compare("==", value) }) = &part else {
                joined.push(part);
                continue;
            };
            let same = joined.iter_mut().find_map(|earlier| match earlier {
                Expr::Test(Test { path: known, op }) if known == path => match op {
                    Op::In(_) | Op::Compare("==", _) => Some(op),
                    _ => None,
                },
                _ => None,
            });
            match same {
                Some(Op::In(values)) => values.push(value.clone()),
                Some(op) => {
                    let Op::Compare(_, first) = op.clone() else { continue };
                    *op = Op::In(vec![first, value.clone()]);
                }
                None => joined.push(part),
            }
        }
        single(joined, Expr::Any)
    }

    /// The opposite.
    #[expect(clippy::should_implement_trait, reason = "a sibling of `all` and `any`, not an operator")]
    pub fn not(part: Expr) -> Expr {
        match part {
            Expr::Not(inner) => *inner,
            Expr::Test(Test { path, op: Op::Exists }) => Expr::Test(Test { path, op: Op::Missing }),
            Expr::Test(Test { path, op: Op::Missing }) => Expr::Test(Test { path, op: Op::Exists }),
            other => Expr::Not(Box::new(other)),
        }
    }
}

fn unique(parts: impl Iterator<Item = Expr>) -> Vec<Expr> {
    let mut kept = Vec::new();
    for part in parts {
        if !kept.contains(&part) {
            kept.push(part);
        }
    }
    kept
}

fn single(mut parts: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Expr {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, Some(last)) => {
            parts.push(last);
            join(parts)
        }
        (_, None) => join(parts),
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, parts: &[Expr], word: &str| {
            for (place, part) in parts.iter().enumerate() {
                if place > 0 {
                    write!(f, " {word} ")?;
                }
                match part {
                    Expr::All(_) | Expr::Any(_) => write!(f, "({part})")?,
                    _ => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Expr::All(parts) => joined(f, parts, "and"),
            Expr::Any(parts) => joined(f, parts, "or"),
            Expr::Not(part) if matches!(**part, Expr::All(_) | Expr::Any(_)) => write!(f, "not ({part})"),
            Expr::Not(part) => write!(f, "not {part}"),
            Expr::Test(test) => write!(f, "{test}"),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = path(&self.path);
        match &self.op {
            Op::Exists => write!(f, "{path} exists"),
            Op::Missing => write!(f, "{path} missing"),
            Op::Compare(sign, value) => write!(f, "{path} {sign} {value}"),
            Op::In(values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                write!(f, "{path} in [{}]", values.join(", "))
            }
            Op::Contains(text) => write!(f, "{path} contains {}", quoted(text)),
            Op::StartsWith(text) => write!(f, "{path} starts_with {}", quoted(text)),
            Op::EndsWith(text) => write!(f, "{path} ends_with {}", quoted(text)),
            Op::Matches(regex) => write!(f, "{path} matches '{}'", regex.replace('\'', r"\x27")),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Text(text) => f.write_str(&quoted(text)),
            Literal::Number(number) => f.write_str(number),
            Literal::Bool(value) => write!(f, "{value}"),
        }
    }
}

/// A text in double quotes.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A dotted path; what is no plain word is quoted, segment by segment.
fn path(path: &str) -> String {
    let segment = |segment: &str| {
        let bare = !segment.is_empty() && segment.chars().all(|c| BARE.contains(c));
        if bare && !segment.starts_with(['-', '@']) { segment.to_owned() } else { quoted(segment) }
    };
    path.split('.').map(segment).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str, value: &str) -> Expr {
        Expr::test(path, Op::Compare("==", Literal::Text(value.to_owned())))
    }

    #[test]
    fn reads_like_a_sentence() {
        let expr = Expr::all(vec![
            Expr::any(vec![text("http.method", "PUT"), text("http.method", "DELETE"), text("verb", "x")]),
            Expr::all(vec![Expr::test("status", Op::Compare(">=", Literal::Number("500".to_owned())))]),
            Expr::not(Expr::any(vec![
                Expr::test("cs-uri query", Op::Contains("say \"a\\b\"".to_owned())),
                Expr::test("a", Op::Exists),
            ])),
            Expr::not(Expr::test("b", Op::Exists)),
        ]);
        assert_eq!(
            expr.to_string(),
            r#"(http.method in ["PUT", "DELETE"] or verb == "x") and status >= 500 and not ("cs-uri query" contains "say \"a\\b\"" or a exists) and b missing"#
        );
    }
}
