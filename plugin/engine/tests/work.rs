//! How much work `Engine::observe` does, counted and not timed: what it allocates for a record, and that this depends on
//! the record alone, not on how much was seen before.

#[path = "../benches/support/allocator.rs"]
#[expect(dead_code, reason = "shared with the benches, which use the rest")]
mod allocator;

use std::sync::{Arc, LazyLock};

use allocator::{Asked, asked};
use oddline_engine::{Engine, Options, Record, Settings, UnixNanos, Verdict, rules::RuleSet};

static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| Arc::new(RuleSet::builtin()));

/// An engine and its time.
struct World {
    engine: Engine,
    now: i64,
}

impl World {
    fn new() -> World {
        let options = Options { warmup_records: Some(0), warmup_seconds: Some(0), ..Options::default() };
        World { engine: Engine::new(Settings::new(&options).unwrap(), RULES.clone()), now: 0 }
    }

    fn observe(&mut self, tag: &str, line: &str) -> Verdict {
        self.now += 1_000_000;
        self.engine.observe(&Record::from_line(tag.as_bytes(), line.as_bytes()), UnixNanos(self.now))
    }

    /// What a line costs.
    fn cost(&mut self, tag: &str, line: &str) -> Asked {
        asked(|| {
            std::hint::black_box(self.observe(tag, line));
        })
    }
}

/// A word of letters for a number; numbers themselves are masked.
fn word(number: usize) -> String {
    number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
}

#[test]
fn an_ordinary_record_allocates_nothing() {
    let mut world = World::new();
    let lines: Vec<String> = (0..50_000)
        .map(|n| match n % 4 {
            0 => format!("GET /api/items/{n} 200 in {} ms", n % 90),
            1 => format!("session {n:x} of user number {} opened", n % 1_000),
            2 => format!("worker {} took job {n} from 10.0.{}.{}", n % 16, n % 256, n % 251),
            _ => format!("\"saved {n}\" to /var/lib/app/{n}.db at 2026-11-21T10:00:{:02}Z", n % 60),
        })
        .collect();
    lines[..30_000].iter().for_each(|line| drop(world.observe("app", line)));
    let mut costly = 0;
    for line in &lines[30_000..] {
        costly += u64::from(world.cost("app", line).times > 0);
    }
    // Windows that close and tables that double have to be paid for now and then, and once that a text, but for its numbers,
    // comes again: with an id of letters and digits in it, that may be late.
    assert!(costly <= 200, "{costly} of 20,000 records allocated");
}

#[test]
fn a_new_message_costs_the_same_however_many_were_seen_before() {
    let mut world = World::new();
    let line = |n: usize| format!("{} did {} with {} and was done", word(n), word(n / 7), word(n / 3));
    let mut over = |from: usize, to: usize| {
        let asked = asked(|| (from..to).for_each(|n| drop(world.observe("app", &line(n)))));
        asked.bytes / (to - from) as u64
    };
    // The source is at its limit of templates from 2,000 on, so that eviction is in it too.
    let early = over(0, 2_000);
    over(2_000, 8_000);
    let late = over(8_000, 10_000);
    assert!(late <= early + early / 2, "{early} bytes a new message at first, {late} later");
    assert!(early < 16_000, "{early}");
}

#[test]
fn what_is_allocated_grows_no_faster_than_the_record() {
    let of = |bytes: usize, filler: &str| {
        let mut world = World::new();
        // Twice, so that buffers have grown to what the first one of its size needs.
        let line = |end: &str| format!("{} {end}", filler.repeat(bytes / filler.len()));
        world.observe("app", &line("first"));
        world.cost("app", &line("second one")).bytes.max(1)
    };
    for filler in [
        "word ",
        "17 ",
        "a=b ",
        "\"q\" ",
        "/p/q/r ",
        "error: failed ",
        "10.0.0.1 ",
        "\u{1b}[1m",
        "x",
        "{\"a\":[",
    ] {
        let (small, large) = (of(8 << 10, filler), of(64 << 10, filler));
        assert!(large <= 12 * small, "{filler:?}: {small} bytes for 8 KiB, {large} for 64 KiB");
        let (at, beyond) = (of(64 << 10, filler), of(1 << 20, filler));
        assert!(beyond <= at + at / 4, "{filler:?}: past 64 KiB nothing is looked at: {at}, {beyond}");
    }
}
