//! The two forms of a body with several JSON records: an array, or a record a line. Text in, records' texts out.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// How records follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One JSON array.
    Array,
    /// One JSON object a line.
    Lines,
}

/// Why a body is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("body has more than {0} records (http_records)")]
    TooMany(usize),
    #[error("{0}")]
    Invalid(String),
}

impl Form {
    /// The form of a content type; parameters are ignored.
    pub(super) fn of(content_type: &str) -> Option<Form> {
        let name = content_type.split(';').next().unwrap_or_default().trim();
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("application/json") {
            Some(Form::Array)
        } else if ["application/x-ndjson", "application/ndjson", "application/jsonl"].into_iter().any(is) {
            Some(Form::Lines)
        } else {
            None
        }
    }

    /// The content type of the answer.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Form::Array => "application/json",
            Form::Lines => "application/x-ndjson",
        }
    }

    /// What stands before the first record ...
    pub(super) fn begin(self, out: &mut Vec<u8>) {
        if self == Form::Array {
            out.push(b'[');
        }
    }

    /// ... before each of them ...
    pub(super) fn between(self, is_first: bool, out: &mut Vec<u8>) {
        if !is_first {
            out.push(if self == Form::Array { b',' } else { b'\n' });
        }
    }

    /// ... and after the last.
    pub(super) fn end(self, has_records: bool, out: &mut Vec<u8>) {
        match self {
            Form::Array => out.push(b']'),
            Form::Lines if has_records => out.push(b'\n'),
            Form::Lines => {}
        }
    }
}

/// The records of a body, each as it is written.
pub(super) fn split(form: Form, text: &[u8], limit: usize) -> Result<Vec<&RawValue>, BodyError> {
    let mut records = Vec::new();
    match form {
        Form::Array => {
            let mut reader = serde_json::Deserializer::from_slice(text);
            let read =
                AtMost { limit, records: &mut records }.deserialize(&mut reader).and_then(|()| reader.end());
            if records.len() > limit {
                return Err(BodyError::TooMany(limit));
            }
            read.map_err(|error| {
                BodyError::Invalid(format!("body is not an array of JSON objects: {error}"))
            })?;
        }
        Form::Lines => {
            let lines = text.split(|byte| *byte == b'\n').enumerate();
            for (number, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
                if records.len() == limit {
                    return Err(BodyError::TooMany(limit));
                }
                let record = serde_json::from_slice(line.trim_ascii());
                records.push(
                    record.map_err(|error| BodyError::Invalid(format!("line {}: {error}", number + 1)))?,
                );
            }
        }
    }
    Ok(records)
}

/// Reads an array but stops at a number of elements, so that a body of `0,0,0,…` costs little.
struct AtMost<'r, 'a> {
    limit: usize,
    records: &'r mut Vec<&'a RawValue>,
}

impl<'a> DeserializeSeed<'a> for AtMost<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for AtMost<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(record) = elements.next_element()? {
            self.records.push(record);
            if self.records.len() > self.limit {
                return Err(A::Error::custom("too many"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(form: Form, text: &str, expected: &str) {
        let read = split(form, text.as_bytes(), 3);
        let shown = read
            .map_or_else(|e| e.to_string(), |all| all.iter().map(|r| r.get()).collect::<Vec<_>>().join("|"));
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn records_keep_their_text() {
        check(Form::Array, r#" [ {"a" : 1.0} , {"b":"\u0041"}]"#, r#"{"a" : 1.0}|{"b":"\u0041"}"#);
        check(Form::Lines, "{\"a\" : 1}\r\n\n {\"b\":2}", r#"{"a" : 1}|{"b":2}"#);
        check(Form::Array, "[]", "");
        check(Form::Lines, "", "");
    }

    #[test]
    fn refuses_by_place_and_limit() {
        check(Form::Array, "[1,2,3]", "1|2|3");
        check(Form::Array, "[1,2,3,4]", "body has more than 3 records (http_records)");
        check(Form::Lines, &"{}\n".repeat(3), "{}|{}|{}");
        check(Form::Lines, &"{}\n".repeat(30), "body has more than 3 records (http_records)");
        check(Form::Lines, "{}\n{\n", "line 2: EOF while parsing an object at line 1 column 1");
        check(
            Form::Array,
            "[{}",
            "body is not an array of JSON objects: EOF while parsing a list at line 1 column 3",
        );
        check(
            Form::Array,
            "{}",
            "body is not an array of JSON objects: invalid type: map, expected an array at line 1 column 0",
        );
    }

    #[test]
    fn content_types() {
        assert_eq!(Form::of("application/json; charset=utf-8"), Some(Form::Array));
        assert_eq!(Form::of("Application/X-NDJSON"), Some(Form::Lines));
        assert_eq!(Form::of("text/plain"), None);
        assert_eq!(Form::of(""), None);
    }
}
