//! Field expressions, such as `status >= 500 and not path starts_with "/health"`: takes the text of one, gives its tree
//! or the column and the reason why it is none. Bounded in size and depth. Evaluation is in `test`.

mod parser;
pub(super) mod test;

use std::fmt;

pub use parser::parse;

/// Longest expression, in bytes.
pub const MAX_EXPRESSION_BYTES: usize = 16 << 10;
/// Deepest nesting of parentheses and `not`.
pub const MAX_EXPRESSION_DEPTH: usize = 32;
/// Longest path, in bytes.
pub const MAX_PATH_BYTES: usize = 256;
/// Most steps of a path.
pub const MAX_PATH_STEPS: usize = 8;

/// Tests joined by `and`, `or` and `not`.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr<T = Test> {
    /// All of them hold.
    All(Vec<Expr<T>>),
    /// At least one of them holds.
    Any(Vec<Expr<T>>),
    /// It does not hold.
    Not(Box<Expr<T>>),
    /// One test of one field.
    Test(T),
}

/// One test of one field. A field that is missing fails every test but [`Op::Missing`].
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// Where the field is.
    pub path: FieldPath,
    /// What must be true of it.
    pub op: Op,
}

/// What can be asked of a field. Texts are compared without regard to ASCII case.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// It is there, and not null.
    Exists,
    /// It is not there, or null.
    Missing,
    /// It equals the value.
    Is(Literal),
    /// It is there and does not equal the value.
    IsNot(Literal),
    /// It equals one of the values.
    In(Vec<Literal>),
    /// It is a number below this one.
    Less(Number),
    /// It is a number, at most this one.
    AtMost(Number),
    /// It is a number above this one.
    More(Number),
    /// It is a number, at least this one.
    AtLeast(Number),
    /// It is a number between the two, both included.
    Between(Number, Number),
    /// It contains the text.
    Contains(String),
    /// It begins with the text.
    StartsWith(String),
    /// It ends with the text.
    EndsWith(String),
    /// The regex matches somewhere in it.
    Matches(String),
}

impl Op {
    /// How many values it compares with.
    fn values(&self) -> usize {
        if let Op::In(values) = self { values.len() } else { 1 }
    }
}

/// A value in an expression. Only one without quotes is also a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Literal {
    /// As written.
    pub text: String,
    /// As a number, if it is one.
    pub number: Option<Number>,
}

/// A number: whole numbers are compared exactly.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// A whole number.
    Int(i64),
    /// Any other.
    Float(f64),
}

impl Number {
    /// Reads digits with an optional sign and an optional fraction: `500`, `-0.25`. Nothing else is a number, so that
    /// words such as `1e5`, `inf` and `nan` stay words.
    pub fn parse(text: &[u8]) -> Option<Number> {
        let digits = match text {
            [b'-' | b'+', rest @ ..] => rest,
            all => all,
        };
        let mut parts = digits.splitn(2, |byte| *byte == b'.');
        let is_plain = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
        if !is_plain(parts.next()?) || !parts.next().is_none_or(is_plain) {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        text.parse().map(Number::Int).or_else(|_| text.parse().map(Number::Float)).ok()
    }

    /// As the nearest floating-point number.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(number) => number as f64,
            Number::Float(number) => number,
        }
    }
}

/// By value: 404 and 404.0 are the same.
impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        self.partial_cmp(other) == Some(std::cmp::Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Number::Int(left), Number::Int(right)) => Some(left.cmp(right)),
            (left, right) => left.as_f64().partial_cmp(&right.as_f64()),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Int(number) => write!(f, "{number}"),
            Number::Float(number) => write!(f, "{number}"),
        }
    }
}

/// The way to a field: the keys of the maps on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<String>);

impl FieldPath {
    /// A path of these keys.
    ///
    /// # Errors
    /// If there is none, one is empty, or they are too many or too long.
    pub fn new(keys: Vec<String>) -> Result<FieldPath, String> {
        let bytes = keys.iter().map(|key| key.len().saturating_add(1)).sum::<usize>().saturating_sub(1);
        if keys.is_empty() || keys.iter().any(String::is_empty) {
            Err("a path has an empty key".to_owned())
        } else if keys.len() > MAX_PATH_STEPS {
            Err(format!("a path has {} steps, more than the limit of {MAX_PATH_STEPS}", keys.len()))
        } else if bytes > MAX_PATH_BYTES {
            Err(format!("a path has {bytes} bytes, more than the limit of {MAX_PATH_BYTES}"))
        } else {
            Ok(FieldPath(keys))
        }
    }

    /// Its keys, from the outermost.
    pub fn keys(&self) -> &[String] {
        &self.0
    }

    /// Whether it is this one key.
    pub fn is(&self, key: &str) -> bool {
        matches!(self.0.as_slice(), [only] if only == key)
    }
}

/// As an expression has it: keys that are no plain words are quoted.
impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, key) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "." };
            if parser::is_plain_key(key) {
                write!(f, "{separator}{key}")?;
            } else {
                write!(f, "{separator}{}", parser::quoted(key))?;
            }
        }
        Ok(())
    }
}

impl<T> Expr<T> {
    /// The same tree with every test replaced; the first failure ends it.
    pub(super) fn try_map<U, E>(self, change: &mut impl FnMut(T) -> Result<U, E>) -> Result<Expr<U>, E> {
        // As deep as the parser's limit, no deeper.
        Ok(match self {
            Expr::Test(test) => Expr::Test(change(test)?),
            Expr::Not(inner) => Expr::Not(Box::new(inner.try_map(change)?)),
            Expr::All(parts) => {
                Expr::All(parts.into_iter().map(|part| part.try_map(change)).collect::<Result<_, E>>()?)
            }
            Expr::Any(parts) => {
                Expr::Any(parts.into_iter().map(|part| part.try_map(change)).collect::<Result<_, E>>()?)
            }
        })
    }

    /// Whether it holds, if `test` says which tests hold.
    pub(super) fn holds(&self, test: &mut impl FnMut(&T) -> bool) -> bool {
        match self {
            Expr::Test(one) => test(one),
            Expr::Not(inner) => !inner.holds(test),
            Expr::All(parts) => parts.iter().all(|part| part.holds(test)),
            Expr::Any(parts) => parts.iter().any(|part| part.holds(test)),
        }
    }
}
