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
        let from = START + 600 + late + 90 + 300;
        let told = drops(&mut after, from..from + 1_200, |second| vec![format!("job {second} finished")]);
        assert_eq!(told.len(), 1, "{late}: once, however long it stays away: {told:?}");
        let mut again = restarted(&after);
        let told =
            drops(&mut again, from + 1_200..from + 2_400, |second| vec![format!("job {second} finished")]);
        assert!(told.is_empty(), "{late}: over a restart too: {told:?}");
    }
}

/// When messages were told to stay away in a stream.
fn drops(engine: &mut Engine, seconds: std::ops::Range<i64>, lines: impl Fn(i64) -> Vec<String>) -> Vec<i64> {
    let mut is_told = |second: i64| {
        let seen = lines(second).into_iter().map(|line| see(engine, line.as_bytes(), second).flags);
        seen.filter(|flags| flags.contains(Flag::Drop)).count() > 0
    };
    seconds.filter(|second| is_told(*second)).collect()
}

/// A job that begins with one message for twenty minutes and goes on with two others.
fn job(second: i64, began: i64) -> Vec<String> {
    match second - began {
        ..1_200 => vec![format!("reading part {second}")],
        _ => vec![format!("writing part {second}"), format!("checked part {second} of the archive")],
    }
}

#[test]
fn what_a_source_has_not_said_yet_since_it_came_back_does_not_stay_away() {
    for restarts in [false, true] {
        let mut engine = engine();
        for night in 0..4 {
            let began = START + night * 86_400;
            let told = drops(&mut engine, began..began + 1_200, |second| job(second, began));
            assert!(told.is_empty(), "{night}: {told:?}");
            // What it has said stays away from here on, as every night; the others do so a window later still.
            let told = drops(&mut engine, began + 1_200..began + 3_600, |second| job(second, began));
            assert!(told.len() <= 1, "{told:?}");
            if restarts {
                engine = restarted(&engine);
            }
        }
        // Two stop at once: it is one finding.
        let began = START + 4 * 86_400;
        drops(&mut engine, began..began + 3_600, |second| job(second, began));
        let told =
            drops(&mut engine, began + 3_600..began + 6_000, |second| vec![format!("reading part {second}")]);
        assert_eq!(told.len(), 1, "{told:?}");
        // And both are missed again once they have come again.
        drops(&mut engine, began + 6_000..began + 6_600, |second| job(second, began));
        drops(&mut engine, began + 6_600..began + 7_800, |second| job(second, began + 5_400));
        let told =
            drops(&mut engine, began + 7_800..began + 9_000, |second| vec![format!("reading part {second}")]);
        assert_eq!(told.len(), 1, "{told:?}");
    }
}

#[test]
fn a_state_of_a_clock_that_ran_ahead_does_not_keep_new_messages_quiet() {
    let mut before = engine();
    (START + 86_400..START + 87_000).for_each(|second| drop(steady(&mut before, second)));
    let mut after = restarted(&before);
    (START..START + 120).for_each(|second| drop(steady(&mut after, second)));
    assert!(see(&mut after, b"reactor scrammed", START + 120).flags.contains(Flag::New));
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
