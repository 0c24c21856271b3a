//! Takes one log, gives the summary of a plugin that emits it as an event of its own. Must not know: when they travel.

use oddline_engine::{FROM_PLUGIN, Summary};
use serde::Deserialize;

use super::{root, value::to_json, value_of};
use crate::SUMMARY_KEY;

/// The summary in a log, if it is one.
pub fn read_summary(log: &[u8]) -> Option<Summary> {
    let value = to_json(value_of(root(log).ok()?.map(), SUMMARY_KEY)?)?;
    Summary::deserialize(value).ok().filter(|summary| summary.kind == FROM_PLUGIN)
}

#[cfg(test)]
mod tests {
    use oddline_engine::{Alias, Counters, Ending, Level, TemplateCount, TemplateId};
    use serde_json::{Value, json};

    use super::*;
    use crate::protobuf::wire::put_bytes;

    /// A value as Vector writes it.
    fn encoded(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        match value {
            Value::String(text) => put_bytes(1, text.as_bytes(), &mut out),
            Value::Number(number) if number.is_f64() => {
                out.push(5 << 3 | 1);
                out.extend(number.as_f64().unwrap().to_le_bytes());
            }
            Value::Number(number) => {
                let mut left = number.as_u64().unwrap();
                out.push(4 << 3);
                while left >= 0x80 {
                    out.push(left as u8 | 0x80);
                    left >>= 7;
                }
                out.push(left as u8);
            }
            Value::Array(items) => {
                let mut inner = Vec::new();
                items.iter().for_each(|item| put_bytes(1, &encoded(item), &mut inner));
                put_bytes(8, &inner, &mut out);
            }
            Value::Object(pairs) => put_bytes(7, &entries(pairs), &mut out),
            other => panic!("{other}"),
        }
        out
    }

    fn entries(pairs: &serde_json::Map<String, Value>) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, value) in pairs {
            let mut entry = Vec::new();
            put_bytes(1, key.as_bytes(), &mut entry);
            put_bytes(2, &encoded(value), &mut entry);
            put_bytes(1, &entry, &mut out);
        }
        out
    }

    fn alias(number: u64) -> Alias {
        Alias { old: TemplateId(number), new: TemplateId(number + 1), text: "user <*>".into() }
    }

    fn summary(templates: u64) -> Summary {
        let template = |number| TemplateCount {
            id: TemplateId(number),
            text: "user <*> logged in".into(),
            source: "app".into(),
            count: number,
            rule_hits: 0,
        };
        let ending = |number| Ending {
            source: "app".into(),
            id: "req-7".into(),
            time: number as i64,
            template_id: TemplateId(number),
            template: "user <*> logged in".into(),
            score: 0.5,
            level: Level::Low,
            reason: "sequence ended".into(),
            record: 0,
        };
        Summary {
            kind: FROM_PLUGIN.into(),
            time: 1_763_000_000,
            counters: Counters { records: 10, ..Counters::default() },
            templates: (0..templates).map(template).collect(),
            endings: (0..templates.min(256)).map(ending).collect(),
            node: "edge-7".into(),
            aliases: (0..templates).map(alias).collect(),
        }
    }

    fn log(summary: &Value) -> Vec<u8> {
        entries(json!({"_oddline_detour": 1, SUMMARY_KEY: summary}).as_object().unwrap())
    }

    #[test]
    fn summaries_come_back() {
        for templates in [1, 2, 1_000, 10_000] {
            let written = serde_json::to_value(summary(templates)).unwrap();
            assert_eq!(read_summary(&log(&written)), Some(summary(templates)));
        }
    }

    #[test]
    fn what_is_no_summary_is_none() {
        let whole = log(&serde_json::to_value(summary(2)).unwrap());
        for length in 0..whole.len() {
            assert_eq!(read_summary(&whole[..length]), None, "{length}");
        }
        for other in [json!("text"), json!({}), json!({"kind": "v2", "time": 1, "templates": []}), json!([1])]
        {
            assert_eq!(read_summary(&log(&other)), None);
        }
        let mut deep = json!("x");
        (0..100).for_each(|_| deep = json!([deep]));
        assert_eq!(read_summary(&log(&deep)), None);
    }
}
