//! What one record costs through a component, beside the same engine called directly; prints one JSON line.
//!
//! `ODDLINE_DETECTOR` and `ODDLINE_EXAMPLE_DETECTOR` name the components; `cargo xtask bench` builds them. Each figure is
//! the least of several rounds, so that what else the machine does counts little.
#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::{path::Path, sync::Arc, time::Instant};

use oddline_analyze::ports::{Leaf, Seen};
use oddline_component_host::{Component, Detector, Runtime};
use oddline_engine::{Engine, Record, Settings, UnixNanos, rules::RuleSet};

const RECORDS: usize = 5_000;
const ROUNDS: usize = 12;
const SECOND: i64 = 1_000_000_000;

fn main() {
    let runtime = Runtime::new().expect("WebAssembly runs here");
    let path = |variable: &str| std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set"));
    let load = |path: &str| {
        let started = Instant::now();
        let component = Component::load(&runtime, Path::new(path)).expect("it loads");
        (component, started.elapsed().as_secs_f64() * 1e3)
    };
    let (ours, compile_ms) = load(&path("ODDLINE_DETECTOR"));
    let (example, example_compile_ms) = load(&path("ODDLINE_EXAMPLE_DETECTOR"));
    let started = Instant::now();
    let mut detector = Detector::start(&ours, &[]).expect("it starts");
    let start_ms = started.elapsed().as_secs_f64() * 1e3;
    let mut slow = Detector::start(&example, &[]).expect("it starts");

    let (messages, whole) = (records(false), records(true));
    let bytes: usize = messages.iter().map(|record| record.message.len()).sum();
    let mut engine = Engine::new(Settings::default(), Arc::new(RuleSet::builtin()));
    let native = least(|now| {
        for record in &messages {
            engine.observe(&Record::from_line(b"app", record.message.as_bytes()), UnixNanos(now));
        }
    });
    let one = observe(&mut detector, &messages);
    let with_fields = observe(&mut detector, &whole);
    let example = observe(&mut slow, &whole);
    let together = least_of(&messages, |records, now| {
        for some in records.chunks(100) {
            detector.observe_all(some.to_vec(), now).expect("it answers");
        }
    });
    println!(
        "{{\"bench\":\"component\",\"message_bytes\":{},\"native_ns\":{native:.0},\"observe_ns\":{one:.0},\
         \"observe_8_fields_ns\":{with_fields:.0},\"observe_all_100_ns\":{together:.0},\"example_8_fields_ns\":{example:.0},\
         \"compile_ms\":{compile_ms:.0},\"start_ms\":{start_ms:.0},\"example_compile_ms\":{example_compile_ms:.0}}}",
        bytes / messages.len()
    );
}

/// Nanoseconds per record of the fastest round.
fn least(mut round: impl FnMut(i64)) -> f64 {
    let time = |number: usize| {
        let started = Instant::now();
        round(number as i64 * SECOND);
        started.elapsed().as_nanos() as f64 / RECORDS as f64
    };
    (0..ROUNDS).map(time).fold(f64::INFINITY, f64::min)
}

/// The same, where each round uses records up; copying them does not count.
fn least_of(records: &[Seen], mut round: impl FnMut(Vec<Seen>, i64)) -> f64 {
    let time = |number: usize| {
        let copy = records.to_vec();
        let started = Instant::now();
        round(copy, number as i64 * SECOND);
        started.elapsed().as_nanos() as f64 / RECORDS as f64
    };
    (0..ROUNDS).map(time).fold(f64::INFINITY, f64::min)
}

fn observe(detector: &mut Detector, records: &[Seen]) -> f64 {
    least_of(records, |records, now| {
        for record in records {
            detector.observe(record, now).expect("it answers");
        }
    })
}

/// Lines of a small service, the same in every run; with what a shipper adds, or bare.
fn records(with_fields: bool) -> Vec<Seen> {
    let message = |number: usize| match number % 8 {
        0 => format!(
            "INFO: User 'user{}' logged in from IP 10.0.{}.{} after {} ms",
            number % 97,
            number % 7,
            number % 251,
            number % 400
        ),
        1 => format!(
            "DEBUG: cache hit for key session:{:08x} in shard {}",
            number * 2_654_435_761 % 0xffff_ffff,
            number % 16
        ),
        2 => format!(
            "INFO: GET /api/v1/orders/{} 200 {} bytes {} ms",
            number,
            number * 37 % 9_000,
            number % 90
        ),
        3 => format!("WARN: retrying request to payment-gateway, attempt {} of 5", number % 5 + 1),
        4 => format!(
            "INFO: worker {} finished job {} in {}.{} s",
            number % 12,
            number,
            number % 9,
            number % 10
        ),
        5 => "INFO: health check passed".to_owned(),
        6 => format!("INFO: committed transaction {} with {} rows to shop.orders", number * 13, number % 40),
        _ => format!(
            "ERROR: timeout after 30 s waiting for lock on table invoices held by pid {}",
            number % 30_000
        ),
    };
    let text = |path: &[&str], text: &str| {
        (path.iter().map(|key| (*key).to_owned()).collect(), Leaf::Text(text.to_owned()))
    };
    let record = |number: usize| {
        let message = message(number);
        let mut fields = Vec::new();
        if with_fields {
            fields = vec![
                text(&["log"], &message),
                text(&["stream"], "stdout"),
                text(&["level"], "info"),
                text(&["kubernetes", "namespace_name"], "shop"),
                text(&["kubernetes", "pod_name"], "orders-7c9f6d5b8-x2x4q"),
                text(&["kubernetes", "container_name"], "orders"),
                text(&["kubernetes", "host"], "node-3"),
                (vec!["duration_ms".to_owned()], Leaf::Int(number as i64 % 900)),
            ];
        }
        Seen { tag: "app".to_owned(), message, severity: None, fields }
    };
    (0..RECORDS).map(record).collect()
}
