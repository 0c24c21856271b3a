//! Field expressions against a record: takes an expression and where its paths' values stand, gives whether it holds, and
//! in which records it can hold at all. Evaluation allocates nothing and is linear in the values.

use std::{cmp::Ordering, fmt::Write as _};

use regex_syntax::hir::Hir;

use super::{Expr, FieldPath, Literal, Number, Op, Test};
use crate::{
    record::{Scalar, Severity},
    rules::{
        literal,
        pattern::{self, Matcher},
        set::Tries,
    },
};

/// Bytes of a field that are looked at.
const MAX_TEXT_BYTES: usize = 16 << 10;
/// Whole numbers up to this one are the same as text, as integer and as floating-point number.
const MAX_EXACT: i64 = 1 << 53;

/// The paths that a set of rules asks for, in the order of their slots.
#[derive(Clone, Debug, Default)]
pub(in crate::rules) struct Paths {
    /// Hash of the paths: values picked for other paths are not read.
    pub(in crate::rules) stamp: u64,
    pub(in crate::rules) paths: Vec<FieldPath>,
}

/// A record's values, and what stands in where it has no field `message` or `level`.
#[derive(Clone, Copy, Debug)]
pub(in crate::rules) struct View<'r> {
    pub(in crate::rules) values: &'r [Scalar<'r>],
    /// Elements of lists, each with the slot whose path leads to it.
    pub(in crate::rules) items: &'r [(usize, Scalar<'r>)],
    pub(in crate::rules) message: &'r [u8],
    pub(in crate::rules) severity: Option<Severity>,
}

/// A value, ready to be compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value<'r> {
    Opaque,
    Bool(bool),
    Number(Number),
    Text(&'r [u8]),
}

/// Which value a test reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) struct Slot {
    index: usize,
    stand_in: StandIn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StandIn {
    Nothing,
    Message,
    Severity,
}

impl Slot {
    pub(in crate::rules) fn new(index: usize, path: &FieldPath) -> Slot {
        let stand_in = match () {
            () if path.is("message") => StandIn::Message,
            () if path.is("level") => StandIn::Severity,
            () => StandIn::Nothing,
        };
        Slot { index, stand_in }
    }

    /// Whether it can have a value in a record that has none of the fields.
    pub(in crate::rules) fn has_stand_in(self) -> bool {
        self.stand_in != StandIn::Nothing
    }

    fn value<'r>(self, view: View<'r>) -> Option<Value<'r>> {
        let value = view.values.get(self.index).and_then(Value::of);
        value.or_else(|| self.stand_in_for(view))
    }

    /// What lists hold where the path leads.
    fn items<'r>(self, view: View<'r>) -> impl Iterator<Item = Value<'r>> {
        let of_slot = move |(slot, item): &'r (usize, Scalar<'r>)| {
            if *slot == self.index { Value::of(item) } else { None }
        };
        view.items.iter().filter_map(of_slot)
    }

    fn stand_in_for<'r>(self, view: View<'r>) -> Option<Value<'r>> {
        match self.stand_in {
            StandIn::Nothing => None,
            StandIn::Message => (!view.message.is_empty()).then_some(Value::Text(view.message)),
            StandIn::Severity => view.severity.map(|severity| Value::Text(severity.as_str().as_bytes())),
        }
    }

    /// Calls back with the value's text, numbers and truth values written out, and with the text of each element if it is
    /// a list; not called if there is no value.
    pub(in crate::rules) fn with_text(self, view: View<'_>, mut each: impl FnMut(&[u8])) {
        let value = self.value(view);
        if let Some(value) = value {
            value.with_text(&mut each);
        }
        if value == Some(Value::Opaque) {
            self.items(view).for_each(|item| item.with_text(&mut each));
        }
    }
}

impl<'r> Value<'r> {
    fn of(scalar: &'r Scalar<'r>) -> Option<Value<'r>> {
        Some(match scalar {
            Scalar::Null => return None,
            Scalar::Opaque => Value::Opaque,
            Scalar::Bool(value) => Value::Bool(*value),
            Scalar::Int(value) => Value::Number(Number::Int(*value)),
            Scalar::Float(value) => Value::Number(Number::Float(*value)),
            Scalar::Text(text) => Value::Text(text.get(..MAX_TEXT_BYTES).unwrap_or(text)),
        })
    }
}

impl Value<'_> {
    fn with_text<T>(self, each: impl FnOnce(&[u8]) -> T) -> T {
        let mut written = Written::default();
        match self {
            Value::Text(text) => each(text),
            Value::Bool(value) => each(if value { b"true" } else { b"false" }),
            Value::Number(number) => {
                // A number too long for the buffer is cut, in every shell at the same digit.
                let _ = write!(written, "{number}");
                each(written.text())
            }
            Value::Opaque => each(b""),
        }
    }

    fn number(self) -> Option<Number> {
        match self {
            Value::Number(number) => Some(number),
            Value::Text(text) if text.len() <= 64 => Number::parse(text.trim_ascii()),
            _ => None,
        }
    }

    fn equals(self, literal: &Literal) -> bool {
        match (self, literal.number) {
            (Value::Opaque, _) => false,
            (Value::Number(number), Some(wanted)) => number == wanted,
            (Value::Text(text), Some(wanted)) => {
                text.eq_ignore_ascii_case(literal.text.as_bytes())
                    || self.number().is_some_and(|number| number == wanted)
            }
            _ => self.with_text(|text| text.eq_ignore_ascii_case(literal.text.as_bytes())),
        }
    }
}

/// Room for a number's digits, because evaluation must not allocate.
#[derive(Default)]
struct Written {
    bytes: [u8; 32],
    len: usize,
}

impl Written {
    fn text(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl std::fmt::Write for Written {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            let Some(slot) = self.bytes.get_mut(self.len) else { return Err(std::fmt::Error) };
            *slot = byte;
            self.len = self.len.saturating_add(1);
        }
        Ok(())
    }
}

/// A test, ready to run.
#[derive(Debug)]
pub(in crate::rules) struct Check {
    slot: Slot,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Op(Op),
    Contains(Needle),
    /// The number of a matcher of the set.
    Matches(u32),
}

impl Check {
    /// Prepares a test whose path has this slot; `matcher` takes a pattern into the set and gives its number.
    pub(in crate::rules) fn new(
        test: Test,
        slot: Slot,
        matcher: &mut impl FnMut(&Hir) -> Result<u32, String>,
    ) -> Result<Check, String> {
        let kind = match test.op {
            Op::Contains(text) => Kind::Contains(Needle::new(&text)),
            Op::Matches(text) => Kind::Matches(matcher(&pattern::parse(&text)?)?),
            other => Kind::Op(other),
        };
        Ok(Check { slot, kind })
    }

    pub(in crate::rules) fn holds(&self, view: View<'_>, matchers: &[Matcher], tries: &mut Tries) -> bool {
        match self.slot.value(view) {
            None => matches!(self.kind, Kind::Op(Op::Missing)),
            // Of a list, any element will do.
            Some(Value::Opaque) if !matches!(self.kind, Kind::Op(Op::Exists | Op::Missing)) => {
                self.slot.items(view).any(|item| self.holds_of(item, matchers, tries))
            }
            Some(value) => self.holds_of(value, matchers, tries),
        }
    }

    fn holds_of(&self, value: Value<'_>, matchers: &[Matcher], tries: &mut Tries) -> bool {
        let compare = |number: &Number, wanted: &[Ordering]| {
            value
                .number()
                .and_then(|value| value.partial_cmp(number))
                .is_some_and(|found| wanted.contains(&found))
        };
        use Ordering::{Equal, Greater, Less};
        match &self.kind {
            Kind::Contains(needle) => value.with_text(|text| tries.spend(text.len()) && needle.is_in(text)),
            Kind::Matches(matcher) => value.with_text(|text| tries.is_match(matchers, *matcher, text)),
            Kind::Op(op) => {
                tries.spend(op.values().saturating_mul(8))
                    && match op {
                        Op::Exists => true,
                        Op::Missing => false,
                        Op::Is(literal) => value.equals(literal),
                        Op::IsNot(literal) => value != Value::Opaque && !value.equals(literal),
                        Op::In(literals) => literals.iter().any(|literal| value.equals(literal)),
                        Op::Less(number) => compare(number, &[Less]),
                        Op::AtMost(number) => compare(number, &[Less, Equal]),
                        Op::More(number) => compare(number, &[Greater]),
                        Op::AtLeast(number) => compare(number, &[Greater, Equal]),
                        Op::Between(low, high) => {
                            compare(low, &[Greater, Equal]) && compare(high, &[Less, Equal])
                        }
                        Op::StartsWith(wanted) => value.with_text(|text| {
                            text.get(..wanted.len())
                                .is_some_and(|head| head.eq_ignore_ascii_case(wanted.as_bytes()))
                        }),
                        Op::EndsWith(wanted) => value.with_text(|text| {
                            let start = text.len().checked_sub(wanted.len());
                            start
                                .and_then(|start| text.get(start..))
                                .is_some_and(|tail| tail.eq_ignore_ascii_case(wanted.as_bytes()))
                        }),
                        // Prepared above.
                        Op::Contains(_) | Op::Matches(_) => false,
                    }
            }
        }
    }
}

/// A text to look for without regard to ASCII case, in time linear in the text looked at (Knuth, Morris and Pratt).
#[derive(Debug)]
struct Needle {
    lower: Box<[u8]>,
    /// For each length matched so far: how much of it still counts after a byte that does not fit.
    fall_back: Box<[u16]>,
}

impl Needle {
    fn new(text: &str) -> Needle {
        let lower = text.to_ascii_lowercase().into_bytes().into_boxed_slice();
        let mut fall_back = vec![0u16; lower.len()];
        let mut matched = 0u16;
        for index in 1..lower.len() {
            while matched > 0 && lower.get(index) != lower.get(usize::from(matched)) {
                matched = fall_back.get(usize::from(matched).saturating_sub(1)).copied().unwrap_or(0);
            }
            if lower.get(index) == lower.get(usize::from(matched)) {
                matched = matched.saturating_add(1);
            }
            if let Some(slot) = fall_back.get_mut(index) {
                *slot = matched;
            }
        }
        Needle { lower, fall_back: fall_back.into_boxed_slice() }
    }

    fn is_in(&self, text: &[u8]) -> bool {
        let mut matched = 0usize;
        for byte in text {
            let byte = byte.to_ascii_lowercase();
            while matched > 0 && self.lower.get(matched) != Some(&byte) {
                matched = self.fall_back.get(matched.saturating_sub(1)).copied().unwrap_or(0).into();
            }
            if self.lower.get(matched) == Some(&byte) {
                matched = matched.saturating_add(1);
            }
            if matched == self.lower.len() {
                return true;
            }
        }
        false
    }
}

/// What a record must have for an expression to be able to hold.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::rules) enum Needs {
    /// Nothing: it may hold for any record.
    Nothing,
    /// At least one of these.
    OneOf(Vec<Need>),
}

/// A value in a slot, or a value with this lower-case text in it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::rules) struct Need {
    pub(in crate::rules) slot: Slot,
    pub(in crate::rules) text: Option<Vec<u8>>,
}

impl Needs {
    /// The needs of an expression whose paths have their slots.
    pub(in crate::rules) fn of(expression: &Expr<(Slot, Test)>) -> Needs {
        match expression {
            Expr::Test((slot, test)) => Needs::of_test(test, *slot),
            Expr::Not(inner) => match &**inner {
                Expr::Test((slot, Test { op: Op::Missing, .. })) => {
                    Needs::OneOf(vec![Need { slot: *slot, text: None }])
                }
                _ => Needs::Nothing,
            },
            // Any of the parts' needs will do; the one that the fewest records meet is the best.
            Expr::All(parts) => {
                parts.iter().map(Needs::of).max_by_key(Needs::worth).unwrap_or(Needs::Nothing)
            }
            Expr::Any(parts) => {
                let mut all = Vec::new();
                for part in parts {
                    match Needs::of(part) {
                        Needs::Nothing => return Needs::Nothing,
                        Needs::OneOf(needs) => all.extend(needs),
                    }
                }
                Needs::OneOf(all)
            }
        }
    }

    fn of_test(test: &Test, slot: Slot) -> Needs {
        let texts: Option<Vec<Vec<u8>>> = match &test.op {
            Op::Missing => return Needs::Nothing,
            Op::Is(literal) => of_literal(literal).map(|text| vec![text]),
            Op::In(literals) => literals.iter().map(of_literal).collect(),
            Op::Contains(text) | Op::StartsWith(text) | Op::EndsWith(text) => {
                literal::of_text(text).map(|text| vec![text])
            }
            Op::Matches(text) => {
                pattern::parse(text).ok().and_then(|hir| Some(literal::required(&hir)?.texts))
            }
            _ => None,
        };
        let there = || vec![Need { slot, text: None }];
        let of = |text| Need { slot, text: Some(text) };
        Needs::OneOf(texts.map_or_else(there, |texts| texts.into_iter().map(of).collect()))
    }

    /// Texts are better than a field's being there, and that is better than nothing; then longer is better.
    fn worth(&self) -> (u8, usize) {
        match self {
            Needs::Nothing => (0, 0),
            Needs::OneOf(needs) => {
                let shortest =
                    needs.iter().map(|need| need.text.as_ref().map_or(0, Vec::len)).min().unwrap_or(0);
                (1, shortest)
            }
        }
    }
}

/// The text that every value equal to this literal contains, if that is long enough to look for.
fn of_literal(value: &Literal) -> Option<Vec<u8>> {
    match value.number {
        None => literal::of_text(&value.text),
        // As text, the number may have zeros and a sign around it, but never other digits.
        Some(Number::Int(number)) if number.unsigned_abs() < MAX_EXACT.unsigned_abs() => {
            literal::of_text(&number.unsigned_abs().to_string())
        }
        Some(_) => None,
    }
}
