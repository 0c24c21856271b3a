//! Takes our own keys and values, appends them to JSON text, exactly as serde_json would. By hand, because most records
//! get the same three short values, and the way through serde's and fmt's traits cost a fifth of a record's time in the
//! interpreter that runs the wasm filter; what is out of the ordinary still goes that way. Must not know: records.

use std::fmt;

use serde::Serialize;

use super::scan::plain;
use crate::{
    profile::Name,
    tags::{Brief, Value},
};

/// Numbers below this, with at most three digits after the point, are written by hand.
const SIMPLE: f64 = 4e6;

/// The nested object of a record that is not flagged, from the colon on.
pub(super) fn brief(tags: &Brief<'_>, out: &mut Vec<u8>) {
    if tags.score.to_bits() == 0 {
        out.extend_from_slice(br#":{"score":0.0,"level":"none","template_id":""#);
    } else {
        out.extend_from_slice(br#":{"score":"#);
        number(tags.score, out);
        out.extend_from_slice(br#","level":"none","template_id":""#);
    }
    out.extend_from_slice(&tags.template_id.hex());
    out.push(b'"');
    if let Some((rule, in_full)) = tags.rule {
        out.extend_from_slice(br#","rule":"#);
        text(rule, out);
        if let Some((category, score)) = in_full {
            out.extend_from_slice(br#","category":"#);
            text(category, out);
            out.extend_from_slice(br#","rule_score":"#);
            number(score, out);
        }
    }
    out.push(b'}');
}

/// One of our values.
pub(super) fn value(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Number(wanted) => number(wanted, out),
        Value::Text(wanted) => text(wanted, out),
        Value::Id(id) => quoted([&id.hex()], out),
        Value::Flags(flags) => {
            let mut separator = b'[';
            for flag in flags.iter() {
                out.push(separator);
                quoted([flag.as_str().as_bytes()], out);
                separator = b',';
            }
            if flags.is_empty() {
                out.push(separator);
            }
            out.push(b']');
        }
    }
}

/// Any text, escaped where it must be.
pub(super) fn text(text: &str, out: &mut Vec<u8>) {
    if is_plain(text) { quoted([text.as_bytes()], out) } else { by_serde(text, out) }
}

/// A key in parts, as one string.
pub(super) fn name(name: Name<'_>, out: &mut Vec<u8>) {
    if name.0.iter().all(|part| is_plain(part)) {
        quoted(name.0.map(str::as_bytes), out);
    } else {
        by_serde(&Joined(name), out);
    }
}

fn is_plain(text: &str) -> bool {
    plain(text.as_bytes()).0 == text.len()
}

fn quoted<const N: usize>(parts: [&[u8]; N], out: &mut Vec<u8>) {
    out.push(b'"');
    parts.into_iter().for_each(|part| out.extend_from_slice(part));
    out.push(b'"');
}

/// The shortest digits that give the number back: three after the point, if that many give it back at all.
fn number(number: f64, out: &mut Vec<u8>) {
    let thousandths = (number * 1_000.0 + 0.5) as u32;
    let is_simple =
        number.is_sign_positive() && number < SIMPLE && f64::from(thousandths) / 1_000.0 == number;
    if !is_simple {
        return by_serde(&number, out);
    }
    by_digits(thousandths / 1_000, out);
    let (first, rest) = (thousandths / 100 % 10, thousandths % 100);
    out.extend_from_slice(&[b'.', digit(first)]);
    if rest > 0 {
        out.push(digit(rest / 10));
    }
    if rest % 10 > 0 {
        out.push(digit(rest % 10));
    }
}

fn by_digits(number: u32, out: &mut Vec<u8>) {
    if number < 10 { out.push(digit(number)) } else { by_serde(&number, out) }
}

fn digit(digit: u32) -> u8 {
    b'0' | digit as u8
}

/// A Vec takes all bytes and none of our values is a map with odd keys, so this cannot fail.
fn by_serde<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, value);
}

struct Joined<'a>(Name<'a>);

impl Serialize for Joined<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.0.iter().try_for_each(|part| f.write_str(part))
    }
}

#[cfg(test)]
mod tests {
    use oddline_engine::{Flag, Flags, TemplateId};
    use proptest::prelude::*;

    use super::*;

    fn same_as_serde(wanted: Value<'_>) {
        let mut out = Vec::new();
        value(wanted, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), serde_json::to_string(&wanted).unwrap());
    }

    #[test]
    fn values_are_as_serde_json_writes_them() {
        let odd =
            [-0.0, -0.41, 1e-7, 1.0 / 3.0, 0.0005, 1e15, 1e16, 3_999_999.999, 4e6, f64::NAN, f64::INFINITY];
        odd.into_iter().map(Value::Number).for_each(same_as_serde);
        for wanted in ["", "new message", "tab\t", "\"q\"", "é\u{7f}", "back\\slash", "\u{0}"] {
            same_as_serde(Value::Text(wanted));
        }
        same_as_serde(Value::Flags(Flags::default()));
        same_as_serde(Value::Flags([Flag::New, Flag::ErrorRate].into_iter().collect()));
        same_as_serde(Value::Id(TemplateId(0x0123_4567_89ab_cdef)));
    }

    #[test]
    fn names_are_joined_and_escaped() {
        let written = |parts| {
            let mut out = Vec::new();
            name(Name(parts), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(["event.", "", "reason"]), r#""event.reason""#);
        assert_eq!(written(["a\"", "_", "b"]), r#""a\"_b""#);
    }

    proptest! {
        #[test]
        fn numbers_are_as_serde_json_writes_them(thousandths in 0u32..=u32::MAX, any in any::<f64>()) {
            same_as_serde(Value::Number(f64::from(thousandths) / 1_000.0));
            same_as_serde(Value::Number(f64::from(thousandths % 1_001) / 1_000.0));
            same_as_serde(Value::Number(any));
        }
    }
}
