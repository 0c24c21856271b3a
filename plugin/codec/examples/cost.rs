//! Prints what reading and tagging one typical record costs, in nanoseconds: `cargo run --release --example cost`.

use std::{hint::black_box, time::Instant};

use oddline_codec::{Edit, TagStyle, Tags, json, msgpack};
use oddline_engine::{Annotate, Detail, Profile, Scalar, Verdict, Visitor};

const ROUNDS: u32 = 2_000_000;

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

#[expect(clippy::print_stdout, reason = "a program for people")]
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
    let mut body = vec![0x85];
    for text in fields.iter().flat_map(|(key, value)| [key, value]) {
        body.push(0xd9);
        body.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        body.extend_from_slice(text.as_bytes());
    }
    let text =
        format!("{{{}}}", fields.map(|(key, value)| format!("{key:?}:{value:?}")).join(",")).into_bytes();
    let style = TagStyle {
        key: "anomaly".into(),
        annotate: Annotate::All,
        detail: Detail::Full,
        profile: Profile::Nested,
    };
    let tags = Tags::of(&Verdict { score: 0.125, ..Verdict::default() }, &"oddline/0 rules:0".into());
    let edit = Edit::tag(&style, &tags);
    let mut out = Vec::new();
    let mut run = |name: &str, size: usize, once: &dyn Fn(&mut Vec<u8>)| {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            out.clear();
            once(&mut out);
            black_box(&out);
        }
        println!("{name:<28} {size} bytes {:>7.0} ns", start.elapsed().as_nanos() as f64 / f64::from(ROUNDS));
    };
    run("msgpack walk", body.len(), &|_| {
        let mut total = Total::default();
        let _ = msgpack::walk(black_box(&body), &mut total);
        black_box(total.0);
    });
    run("msgpack splice, quiet tags", body.len(), &|out| {
        let _ = msgpack::splice(black_box(&body), &edit, out);
    });
    run("json walk", text.len(), &|_| {
        let mut total = Total::default();
        let _ = json::walk(black_box(&text), &mut total);
        black_box(total.0);
    });
    run("json splice, quiet tags", text.len(), &|out| {
        let _ = json::splice(black_box(&text), &edit, out);
    });
}
