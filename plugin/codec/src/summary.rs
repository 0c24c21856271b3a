//! Takes the summary of a plugin, gives the body of a summary record (msgpack), and back. Must not know: when and where
//! summaries travel.

use oddline_engine::Summary;
use serde::{Deserialize, Serialize};

use crate::{SUMMARY_KEY, msgpack};

/// Deepest nesting of a summary that is read; ours has four levels.
const MAX_SUMMARY_DEPTH: usize = 16;

/// Appends the body `{"oddline_summary": {...}}`; see [`msgpack::write_head`] for what goes before it.
pub fn summary_record(summary: &Summary, out: &mut Vec<u8>) {
    out.push(0x81);
    msgpack::write_text(SUMMARY_KEY, out);
    let start = out.len();
    if summary.serialize(&mut rmp_serde::Serializer::new(&mut *out).with_struct_map()).is_err() {
        // Not reached: a Vec takes all bytes and a summary is plain data. A whole record all the same.
        out.truncate(start);
        out.push(0xc0);
    }
}

/// The summary in a record's body, if it is one.
pub fn read_summary(body: &[u8]) -> Option<Summary> {
    let value = msgpack::value_of(body, SUMMARY_KEY)?;
    let summary: Summary = from_msgpack(value, MAX_SUMMARY_DEPTH)?;
    (summary.kind == "v1").then_some(summary)
}

pub(crate) fn from_msgpack<'a, T: Deserialize<'a>>(value: &'a [u8], depth: usize) -> Option<T> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(value);
    reader.set_max_depth(depth);
    T::deserialize(&mut reader).ok()
}

#[cfg(test)]
mod tests {
    use oddline_engine::{Alias, Counters, Ending, Level, TemplateCount, TemplateId};

    use super::*;

    fn alias(number: u64) -> Alias {
        Alias { old: TemplateId(number), new: TemplateId(number + 1), text: "user <*>".into() }
    }

    fn summary(templates: u64) -> Summary {
        Summary {
            kind: "v1".into(),
            time: 1_763_000_000,
            counters: Counters { records: 10, flagged: 1, ..Counters::default() },
            templates: (0..templates)
                .map(|number| TemplateCount {
                    id: TemplateId(number),
                    text: format!("user <*> logged in {number}"),
                    source: "app.web".into(),
                    count: number,
                    rule_hits: 0,
                })
                .collect(),
            endings: (0..templates.min(256)).map(ending).collect(),
            node: "edge-7".into(),
            aliases: (0..templates).map(alias).collect(),
        }
    }

    fn ending(number: u64) -> Ending {
        Ending {
            source: "app.web".into(),
            id: format!("req-{number}"),
            time: 1_763_000_000_000_000_000,
            template_id: TemplateId(number),
            template: "user <*> logged in".into(),
            score: 0.52,
            level: Level::Low,
            reason: "sequence ended: \"user <*> logged out\" is missing".into(),
            record: 0,
        }
    }

    #[test]
    fn summaries_come_back() {
        for templates in [0, 1, 1_000, 10_000] {
            let mut body = Vec::new();
            summary_record(&summary(templates), &mut body);
            assert_eq!(read_summary(&body), Some(summary(templates)));
        }
    }

    #[test]
    fn what_is_no_summary_is_none() {
        let mut body = Vec::new();
        summary_record(&Summary { kind: "v2".into(), ..summary(1) }, &mut body);
        assert_eq!(read_summary(&body), None);
        assert_eq!(read_summary(b"\x80"), None);
        assert_eq!(read_summary(b""), None);
        let mut deep = [b"\x81\xafoddline_summary", &[0x91; 100_000][..]].concat();
        deep.push(0xc0);
        assert_eq!(read_summary(&deep), None);
    }

    #[test]
    fn every_cut_is_none() {
        let mut body = Vec::new();
        summary_record(&summary(2), &mut body);
        for length in 0..body.len() {
            assert_eq!(read_summary(&body[..length]), None, "{length}");
        }
    }
}
