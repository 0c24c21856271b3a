//! Conditions on the message alone as one regex: takes an expression, gives the pattern that says the same.

use oddline_engine::rules::MAX_PATTERN_BYTES;

use crate::expression::{Expr, Op, Test};

/// The field that stands for the picked message.
const MESSAGE: &str = "message";

/// The regex, if the expression is a choice of texts in the message and fits into a pattern.
pub(crate) fn of_message(expr: &Expr) -> Option<String> {
    let alternatives: Option<Vec<String>> = match expr {
        Expr::Any(parts) => parts.iter().map(one).collect(),
        single => Some(vec![one(single)?]),
    };
    let regex = alternatives?.join("|");
    (regex.len() <= MAX_PATTERN_BYTES).then_some(regex)
}

fn one(expr: &Expr) -> Option<String> {
    let Expr::Test(Test { path, op }) = expr else { return None };
    let regex = match op {
        Op::Contains(text) if !text.is_empty() => regex_syntax::escape(text),
        Op::Matches(regex) => regex.clone(),
        _ => return None,
    };
    (path == MESSAGE).then_some(regex)
}
