//! What a restart, and a clock that is set, must not make up: drops, bursts and new messages that nobody has caused.

use std::sync::Arc;

use oddline_engine::{Engine, Flag, Options, Record, Settings, UnixNanos, Verdict, rules::RuleSet};

const SECOND: i64 = 1_000_000_000;
/// The beginning of a window.
const START: i64 = 1_700_000_040;

fn engine() -> Engine {
    let options = Options { warmup_records: Some(50), warmup_seconds: Some(60), ..Options::default() };
    Engine::new(Settings::new(&options).unwrap(), Arc::new(RuleSet::builtin()))
}

fn see(engine: &mut Engine, message: &[u8], seconds: i64) -> Verdict {
    engine.observe(&Record::from_line(b"app", message), UnixNanos(seconds * SECOND))
}

fn restarted(engine: &Engine) -> Engine {
    let mut restarted = self::engine();
    restarted.restore(&engine.snapshot()).unwrap();
    restarted
}

/// A second of a steady source; what its statistics flag.
fn steady(engine: &mut Engine, second: i64) -> Vec<Flag> {
    let lines = [format!("job {second} finished"), format!("cache refreshed, {second} entries")];
    let seen = lines.iter().map(|line| see(engine, line.as_bytes(), second).flags);
    seen.flat_map(|flags| flags.iter().filter(|flag| *flag != Flag::Pattern).collect::<Vec<_>>()).collect()
}

#[test]
fn a_restart_within_a_window_is_no_drop() {
    for late in [1, 30, 50, 59] {
        let mut before = engine();
        (START..START + 600 + late)
            .for_each(|second| assert_eq!(steady(&mut before, second), [], "{second}"));
        let mut after = restarted(&before);
        for pause in [0, 90] {
            let from = START + 600 + late + pause;
            (from..from + 300)
                .for_each(|second| assert_eq!(steady(&mut after, second), [], "{late}: {second}"));
            after = restarted(&after);
        }
        // It has not gone blind: what stays away while the other goes on is missed.
        let from = START + 1_500;
        let missed = |second| see(&mut after, format!("job {second} finished").as_bytes(), second).flags;
        assert!((from..from + 600).map(missed).any(|flags| flags.contains(Flag::Drop)), "{late}");
    }
}

/// Without its largest counts, as a state was before there were any.
fn of_version_2(state: &[u8]) -> Vec<u8> {
    let (_, body) = std::str::from_utf8(state).unwrap().split_once('\n').unwrap();
    let mut body: serde_json::Value = serde_json::from_str(body).unwrap();
    for source in body["sources"].as_array_mut().unwrap() {
        source.as_object_mut().unwrap().remove("largest").unwrap();
        for template in source["templates"].as_array_mut().unwrap() {
            template.as_object_mut().unwrap().remove("largest").unwrap();
        }
    }
    let body = body.to_string();
    format!("oddline-state 2 {:016x}\n{body}", twox_hash::XxHash3_64::oneshot(body.as_bytes())).into_bytes()
}

#[test]
fn what_comes_in_clumps_is_no_burst_after_a_restart() {
    let clump = |engine: &mut Engine, hour: i64| {
        let mut flags = Vec::new();
        for minute in 0..60 {
            steady(engine, START + hour * 3_600 + minute * 60);
        }
        for number in 0..40 {
            let line = format!("rotated archive {number} of the night");
            flags.extend(see(engine, line.as_bytes(), START + hour * 3_600 + 3_599).flags.iter());
        }
        flags.contains(&Flag::Burst)
    };
    let mut before = engine();
    for hour in 0..6 {
        let burst = clump(&mut before, hour);
        assert!(!burst || hour == 0, "{hour}");
    }
    assert!(!clump(&mut restarted(&before), 6), "the clump that was under way counts too");
    for minute in 0..30 {
        steady(&mut before, START + 6 * 3_600 + minute * 60);
    }
    assert!(!clump(&mut restarted(&before), 6));
    let mut older = engine();
    older.restore(&of_version_2(&before.snapshot())).unwrap();
    assert_eq!(older.counters().templates, before.counters().templates);
}

#[test]
fn a_message_that_is_not_utf_8_is_known_after_a_restart() {
    let line = |number: i64| {
        [b"\xce\xf8\xe8\xe1\xea\xe0 \xef\xee\xe4\xea".as_slice(), format!(" {number}").as_bytes()].concat()
    };
    let mut before = engine();
    for second in 0..600 {
        steady(&mut before, START + second);
        see(&mut before, &line(second), START + second);
    }
    let templates = before.counters().templates;
    let mut after = restarted(&before);
    let known = see(&mut after, &line(7), START + 601);
    assert!(!known.flags.contains(Flag::New), "{known:?}");
    assert_eq!(after.counters().templates, templates);
    assert!(
        see(&mut after, b"\xe4\xf0\xf3\xe3\xee\xe5 \xf1\xeb\xee\xe2\xee", START + 602)
            .flags
            .contains(Flag::New)
    );
}

#[test]
fn a_clock_that_is_set_back_leaves_new_messages_new() {
    let mut engine = engine();
    let ahead = START + 8 * 3_600;
    (ahead..ahead + 600).for_each(|second| assert_eq!(steady(&mut engine, second), []));
    (START..START + 300).for_each(|second| assert_eq!(steady(&mut engine, second), [], "{second}"));
    let new = see(&mut engine, b"the third wheel fell off", START + 301);
    assert!(new.flags.contains(Flag::New), "{new:?}");
}
