//! JSON records as the detour sees them: there is no metadata, so tag and marker are keys of the record. Each stands after
//! a comma, so that records one after the other are the inside of an array.

use std::borrow::Cow;

use oddline_codec::{Edit, MARKER_KEY, REFERENCE_KEY, TAG_KEY, TagStyle, Tags, Unreadable, json};
use oddline_engine::{Body, Visitor};
use serde_json::{Map, Value, value::RawValue};

use super::HTTP_TAG;
use crate::{
    detour::VERDICT_PREFIX,
    entry::{Content, Entry},
};

/// Deepest record that goes back among others. Vector's reader gives up at 128 levels, of which our array is one, and
/// refuses a whole body for one record.
const MAX_LEVELS: usize = 120;

/// A record of a request.
#[derive(Debug)]
pub(crate) struct JsonEntry<'a> {
    text: &'a [u8],
    tag: Option<Cow<'a, [u8]>>,
}

impl<'a> JsonEntry<'a> {
    pub(crate) fn new(record: &'a RawValue) -> Self {
        let text = record.get().as_bytes();
        JsonEntry { text, tag: json::read_text(text, TAG_KEY) }
    }
}

impl Entry for JsonEntry<'_> {
    fn content(&self) -> Content {
        if levels(self.text) > MAX_LEVELS { Content::Broken } else { Content::Record }
    }

    fn pass(&self, out: &mut Vec<u8>) {
        self.wrap(self.text, out);
    }

    fn body(&self) -> &[u8] {
        self.text
    }

    fn tag(&self) -> &[u8] {
        self.tag.as_deref().unwrap_or(HTTP_TAG.as_bytes())
    }

    /// JSON has no place that a log cannot write to: the key is believed.
    fn is_from_plugin(&self) -> bool {
        self.tag.is_some()
    }

    fn wrap(&self, body: &[u8], out: &mut Vec<u8>) {
        out.push(b',');
        out.extend_from_slice(body);
    }

    fn retag(&self, tag: &[u8], out: &mut Vec<u8>) {
        self.wrap(&json::with_text(self.text, TAG_KEY, tag).unwrap_or(self.text.to_vec()), out);
    }

    fn companion(&self, style: &TagStyle, tags: &Tags, route: &[u8], out: &mut Vec<u8>) {
        let time = json::read_text(self.text, "timestamp").map(|time| text(&time));
        let mut reference = Map::new();
        reference.insert("template_id".to_owned(), tags.template_id.to_string().into());
        reference.insert("tag".to_owned(), text(route));
        reference.extend(time.clone().map(|time| ("time".to_owned(), time)));
        let mut record = Map::new();
        record.insert(REFERENCE_KEY.to_owned(), reference.into());
        record.extend(time.map(|time| ("timestamp".to_owned(), time)));
        let record = Value::from(record).to_string();
        let mut tagged = Vec::new();
        // Our own object is readable.
        if json::splice(record.as_bytes(), &Edit::tag(style, tags), &mut tagged).is_ok()
            && let Ok(whole) = json::with_text(&tagged, TAG_KEY, &[VERDICT_PREFIX, route].concat())
        {
            self.wrap(&whole, out);
        }
    }

    fn walk<'b>(body: &'b [u8], visitor: &mut dyn Visitor<'b>) -> Result<(), Unreadable> {
        json::walk(body, visitor).map(drop)
    }

    fn walked<'b>(body: &'b [u8]) -> impl Body + 'b {
        json::Walked(body)
    }

    fn splice(body: &[u8], edit: &Edit<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        json::splice(body, edit, out)
    }

    fn pending_tags(body: &[u8], key: &str) -> Option<Tags> {
        json::read_tags(body, key)
    }

    fn styled_tags(body: &[u8], style: &TagStyle) -> Option<Tags> {
        json::read_styled_tags(body, style)
    }

    fn marker(body: &[u8]) -> Option<Cow<'_, [u8]>> {
        json::read_text(body, MARKER_KEY)
    }
}

/// How many objects and arrays are within each other in a text that is JSON.
fn levels(json: &[u8]) -> usize {
    let (mut open, mut deepest) = (0_usize, 0);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                while bytes.find(|byte| matches!(byte, b'"' | b'\\')) == Some(&b'\\')
                    && bytes.next().is_some()
                {}
            }
            b'{' | b'[' => open += 1,
            b'}' | b']' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}

fn text(bytes: &[u8]) -> Value {
    String::from_utf8_lossy(bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: usize) {
        serde_json::from_str::<Value>(json).unwrap();
        assert_eq!(levels(json.as_bytes()), expected, "{json}");
    }

    #[test]
    fn levels_are_counted_outside_of_strings() {
        check("7", 0);
        check("{}", 1);
        check(r#"{"a":[{"b":1}],"c":[]}"#, 3);
        check(r#"{"[[":"{{\"[[\\","\\\"":[]}"#, 2);
    }

    #[test]
    fn deeper_than_vector_reads_is_nobodys_record() {
        let deep = |levels: usize| format!("{}{{}}{}", r#"{"a":"#.repeat(levels - 1), "}".repeat(levels - 1));
        for (levels, is_record) in [(120, true), (121, false), (1_200, false)] {
            let text = deep(levels);
            let entry = JsonEntry::new(serde_json::from_str(&text).unwrap());
            assert_eq!(matches!(entry.content(), Content::Record), is_record, "{levels}");
        }
    }
}
