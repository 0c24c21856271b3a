//! Nanoseconds to read one typical record, and to write its tags into it: msgpack as the native filter does, JSON as the wasm filter
//! does, and the same by serde_json, which rebuilds the record. Rounds take turns, the lowest of each counts. Prints one JSON line.

#![expect(clippy::print_stdout, reason = "a bench reports on the terminal")]

use std::{hint::black_box, time::Instant};

use oddline_codec::{Edit, Outline, TagStyle, Tags, json, msgpack};
use oddline_engine::{Annotate, Detail, Profile, Scalar, Verdict, Visitor};

const ROUNDS: usize = 7;
/// Records in a round.
const RECORDS: u32 = 100_000;

/// Adds up what it is shown, so that nothing is optimised away.
#[derive(Default)]
struct Total(usize);

impl<'a> Visitor<'a> for Total {
    fn enter(&mut self, _: &[u8]) -> bool {
        true
    }

    fn leave(&mut self) {}

    fn scalar(&mut self, key: &[u8], value: Scalar<'a>) {
        self.0 += key.len() + usize::from(matches!(value, Scalar::Text(_)));
    }
}

/// What is timed, by name: gets an empty buffer to write to.
type Case<'a> = (&'a str, &'a mut dyn FnMut(&mut Vec<u8>));

fn main() {
    let fields = [
        ("time", "2026-01-31T12:34:56.123456789Z"),
        ("stream", "stderr"),
        ("level", "warn"),
        (
            "log",
            "connection from 192.168.1.50:51432 to primary database refused after 5 retries (timeout 3000 ms, pool main, request 7f3a9c)",
        ),
        ("host", "node-17.eu-west.example.internal"),
    ];
    let text =
        format!("{{{}}}", fields.map(|(key, value)| format!("{key:?}:{value:?}")).join(",")).into_bytes();
    let body = packed(&fields);
    let style = TagStyle {
        key: "anomaly".into(),
        annotate: Annotate::All,
        detail: Detail::Full,
        profile: Profile::Nested,
    };
    let tags = Tags::of(&Verdict { score: 0.125, ..Verdict::default() }, &"oddline/0 rules:0".into());
    let edit = Edit::tag(&style, &tags);

    let msgpack_outline = walked(|total| msgpack::walk(&body, total).ok());
    let json_outline = walked(|total| json::walk(&text, total).ok());
    let mut out = Vec::new();
    let mut cases: [Case<'_>; 7] = [
        ("msgpack_read", &mut |_| _ = black_box(walked(|total| msgpack::walk(black_box(&body), total).ok()))),
        ("msgpack_append", &mut |out| {
            _ = black_box(msgpack::append(black_box(&body), &msgpack_outline, &style, &tags, out));
        }),
        ("msgpack_splice", &mut |out| _ = black_box(msgpack::splice(black_box(&body), &edit, out))),
        ("json_read", &mut |_| _ = black_box(walked(|total| json::walk(black_box(&text), total).ok()))),
        ("json_append", &mut |out| {
            _ = black_box(json::append(black_box(&text), &json_outline, &style, &tags, out));
        }),
        ("json_splice", &mut |out| _ = black_box(json::splice(black_box(&text), &edit, out))),
        ("serde_json", &mut |out| rebuild(black_box(&text), out)),
    ];
    let mut best = [f64::INFINITY; 7];
    for _ in 0..ROUNDS {
        for ((_, case), best) in cases.iter_mut().zip(&mut best) {
            let start = Instant::now();
            for _ in 0..RECORDS {
                out.clear();
                case(&mut out);
            }
            *best = best.min(start.elapsed().as_nanos() as f64 / f64::from(RECORDS));
        }
    }
    let names = cases.iter().map(|(name, _)| *name);
    let figures: String = names.zip(best).map(|(name, ns)| format!(r#","{name}_ns":{ns:.0}"#)).collect();
    let [.., json_read, json_append, _, serde_json] = best;
    println!(
        r#"{{"bench":"codec","json_bytes":{},"msgpack_bytes":{}{figures},"serde_json_over_json":{:.1}}}"#,
        text.len(),
        body.len(),
        serde_json / (json_read + json_append),
    );
}

/// A map of texts, each shorter than 256 bytes.
fn packed(fields: &[(&str, &str); 5]) -> Vec<u8> {
    let mut body = vec![0x85];
    for text in fields.iter().flat_map(|(key, value)| [key, value]) {
        body.push(0xd9);
        body.push(u8::try_from(text.len()).expect("a short text"));
        body.extend_from_slice(text.as_bytes());
    }
    body
}

/// Where the pairs lie, of a record that can be read.
fn walked(walk: impl FnOnce(&mut Total) -> Option<Outline>) -> Outline {
    let mut total = Total::default();
    let outline = walk(&mut total).expect("a sound record");
    black_box(total.0);
    outline
}

/// Reads the whole record, adds tags like ours and writes it anew.
fn rebuild(text: &[u8], out: &mut Vec<u8>) {
    let mut record: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(text).expect("a sound record");
    record.insert(
        "anomaly".into(),
        serde_json::json!({ "score": 0.125, "level": "none", "template_id": "0000000000000000" }),
    );
    serde_json::to_writer(out, &record).expect("memory takes it");
}
