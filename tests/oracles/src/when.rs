//! Conditions in VRL: refused in one plain line, or asked about a record within their steps.

use oddline_engine::{
    Scalar, Visitor as _,
    rules::{Rule, RuleSet},
};
use oddline_rulebook::when::{Condition, Gather};

/// Longest refusal, in bytes.
const MOST_TOLD: usize = 2_000;

/// Compiles a condition and asks it about a record with a little of everything.
pub fn check(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let condition = match Condition::compile(source) {
        Ok(condition) => condition,
        Err(error) => {
            assert!(!error.is_empty() && error.len() <= MOST_TOLD, "{} bytes: {error}", error.len());
            return assert!(!error.contains(char::is_control), "one plain line: {error:?}");
        }
    };
    let mut gather = Gather::default();
    gather.scalar(b"status", Scalar::Int(503));
    gather.scalar(b"took", Scalar::Float(0.5));
    gather.scalar(b"user", Scalar::Text(b"alice\xff".as_slice().into()));
    if gather.enter(b"http") {
        gather.scalar(b"path", Scalar::Text(b"/health".as_slice().into()));
        gather.leave();
    }
    let mut record = gather.finish(b"disk full");
    let first = condition.ask(&mut record);
    assert_eq!(condition.ask(&mut record), first, "asking changes nothing");
    // The engine leaves such a rule to hosts that can run it, and says so.
    let mut rule = Rule::new("WHEN", &"file.toml".into(), 1);
    rule.when = Some(source.to_owned());
    assert_eq!(RuleSet::compile(vec![rule]).left_out.len(), 1);
}
