//! Events that nobody means well with, through the Lua module: what a limit leaves out still passes, and an event is
//! emitted once whatever it holds.

#[path = "hosts/lua.rs"]
mod lua;

use lua::Host;
use mlua::Table;
use serde_json::{Map, Value, json};

const FAULT: &str = "CRITICAL: Failed to connect to primary database after 5 retries.";
/// Fields of one event that are looked at.
const MAX_FIELDS: usize = 1_024;
/// Levels that are looked at.
const MAX_DEPTH: usize = 32;

fn start(options: Value) -> Host {
    Host::start(&options).unwrap_or_else(|fault| panic!("{fault}"))
}

fn only(passed: Vec<Value>) -> Value {
    assert_eq!(passed.len(), 1, "{passed:?}");
    passed.into_iter().next().unwrap()
}

/// An event that a piece of Lua makes.
fn made(host: &Host, source: &str) -> Value {
    only(host.pass(host.run::<Table>(source), None))
}

#[test]
fn fields_past_the_limit_are_left_alone_by_name_and_pass() {
    let host = start(json!({}));
    for count in [MAX_FIELDS - 1, MAX_FIELDS, MAX_FIELDS + 1, 10 * MAX_FIELDS] {
        // "zmessage" is no path of the engine's: the longest text is the message, if it is within the limit.
        let mut log: Map<String, Value> =
            (0..count - 1).map(|n| (format!("field{n:05}"), n.into())).collect();
        log.insert("zmessage".into(), FAULT.into());
        let passed = only(host.process(&log));
        let seen = passed["anomaly"]["rule"] == "DB_CONNECT_FAILED";
        assert_eq!(seen, count <= MAX_FIELDS, "{count}");
        assert_eq!(passed.as_object().unwrap().len(), count + 1, "{count}");
        // By name, not in the order of the day.
        let mut log: Map<String, Value> = (0..count).map(|n| (format!("field{n:05}"), n.into())).collect();
        log.insert("aaa".into(), FAULT.into());
        log.insert("zzz".into(), format!("{FAULT} and much longer than the other").into());
        log.insert("anomaly".into(), "mine".into());
        for _ in 0..3 {
            let passed = only(host.process(&log));
            assert_eq!(passed["anomaly"]["rule"], "DB_CONNECT_FAILED", "{count}");
            assert_eq!(passed["anomaly_original"], "mine", "found past the limit too");
        }
    }
}

#[test]
fn keys_that_pose_as_ours_behind_a_map_that_takes_all_that_is_looked_at_are_found() {
    for options in [json!({}), json!({"annotate": "flagged"})] {
        let host = start(options);
        for count in [MAX_FIELDS - 2, MAX_FIELDS - 1, MAX_FIELDS, 10 * MAX_FIELDS] {
            // A map that a rule looks into comes before all else by its name.
            let inside: Map<String, Value> = (0..count).map(|n| (format!("f{n}"), n.into())).collect();
            let passed = only(host.process(json!({
                "Actor": inside, "_oddline": "m", "_oddline_detour": true, "anomaly": "mine", "message": FAULT,
                "oddline_summary": {"kind": "v1"},
            }).as_object().unwrap()));
            for (key, was) in
                [("_oddline", json!("m")), ("_oddline_detour", json!(true)), ("anomaly", json!("mine"))]
            {
                assert_eq!(passed[format!("{key}_original")], was, "{count}");
            }
            assert!(passed.get("_oddline_detour").is_none() && passed.get("_oddline").is_none(), "{count}");
        }
    }
}

#[test]
fn nesting_past_the_limit_is_left_alone_and_passes() {
    let nested = |depth: usize| {
        format!(
            "local deep = {{message = '{FAULT}'}}
            for _ = 2, {depth} do deep = {{a = deep}} end
            return {{log = deep}}"
        )
    };
    // Paths have at most eight steps; what is deeper is passed on unseen.
    for (depth, seen) in [
        (1, true),
        (7, true),
        (8, true),
        (9, false),
        (MAX_DEPTH, false),
        (MAX_DEPTH + 1, false),
        (10 * MAX_DEPTH, false),
    ] {
        let path = if depth <= 8 {
            [vec!["a"; depth - 1], vec!["message"]].concat().join(".")
        } else {
            "message".into()
        };
        let host = start(json!({"message_paths": [path]}));
        // The converter of this test recurses; ours does not beyond its limit.
        let passed = made(&host, &nested(depth));
        assert_eq!(passed["anomaly"]["rule"] == "DB_CONNECT_FAILED", seen, "{depth}");
        let mut at = &passed;
        for _ in 1..depth {
            at = &at["a"];
        }
        assert_eq!(at["message"], FAULT, "{depth}");
    }
}

#[test]
fn a_table_that_holds_itself_ends() {
    let host = start(json!({"message_paths": ["a.a.a.a.a.a.a.message"], "label_paths": []}));
    let ok: bool = host.run(
        "local event = {log = {message = 'x'}}; event.log.a = event.log; _G.itself = event; return true",
    );
    assert!(ok);
    let detector = host.hooks().get::<Table>("detector").unwrap();
    let source = "local detector = ...; local times = 0
        detector:process(_G.itself, function() times = times + 1 end)
        return times, _G.itself.log.anomaly.level";
    let (times, level): (i64, String) = host.call(source, detector);
    assert_eq!((times, &*level), (1, "none"));
    assert_eq!(host.counter("panics"), 0);
}

#[test]
fn keys_and_values_of_every_type_pass() {
    let host = start(json!({}));
    let passed = made(
        &host,
        "return {log = {message = 'CRITICAL: Failed to connect to primary database after 5 retries.',
            level = 3, yes = true, no = false, small = -9223372036854775807 - 1, huge = 1e308, inf = math.huge,
            nothing = '', list = {1, 'two'}, map = {}}}",
    );
    assert_eq!(passed["anomaly"]["rule"], "DB_CONNECT_FAILED");
    assert_eq!((&passed["small"], &passed["yes"]), (&i64::MIN.into(), &true.into()));
    // What Vector would not take from us either stays in the table for it to refuse.
    for odd in [
        "[true] = 1",
        "[1.5] = 2",
        "[-1] = 3",
        "[{}] = 4",
        "nan = 0/0",
        "f = print",
        "t = coroutine.create(print)",
    ] {
        let source = format!("local log = {{message = '{FAULT}', {odd}}}; return {{log = log}}");
        let event = host.run::<Table>(&source);
        let log = event.get::<Table>("log").unwrap();
        let fields = log.pairs::<mlua::Value, mlua::Value>().count();
        host.pass_unseen(event);
        assert_eq!(
            log.get::<Table>("anomaly").unwrap().get::<String>("rule").unwrap(),
            "DB_CONNECT_FAILED",
            "{odd}"
        );
        assert_eq!(log.pairs::<mlua::Value, mlua::Value>().count(), fields + 1, "{odd}");
    }
    // A number as a message is none; a text of digits is.
    assert_eq!(made(&host, "return {log = {message = 7}}")["anomaly"]["level"], "none");
    assert_eq!(host.counter("panics") + host.counter("unread"), 0);
}

#[test]
fn binary_and_huge_texts_pass_whole() {
    let host = start(json!({}));
    let event = host.run::<Table>(
        "local all = {}; for byte = 0, 255 do all[#all + 1] = string.char(byte) end
        return {log = {message = table.concat(all), ['k\\xff\\0'] = '\\xc3'}}",
    );
    let log = event.get::<Table>("log").unwrap();
    host.pass_unseen(event);
    let message = log.get::<mlua::LuaString>("message").unwrap();
    assert!(message.as_bytes().iter().copied().eq(0..=255));
    assert_eq!(log.get::<Table>("anomaly").unwrap().get::<String>("level").unwrap(), "none");

    for size in [65_536, 65_537, 655_360, 8 << 20] {
        let source = format!("return {{log = {{message = ('x'):rep({size} - 70) .. ' {FAULT} tail'}}}}");
        let passed = made(&host, &source);
        let text = passed["message"].as_str().unwrap();
        assert!(text.len() >= size && text.ends_with("tail"), "{size}");
        // Only what lies in the first 64 KiB is looked at.
        assert_eq!(passed["anomaly"]["rule"] == "DB_CONNECT_FAILED", size <= 65_537, "{size}");
    }
    let long_key = "k".repeat(1 << 20);
    let mut log = Map::from_iter([(long_key.clone(), FAULT.into())]);
    log.insert("service".into(), "s".repeat(1 << 20).into());
    let passed = only(host.process(&log));
    assert_eq!(passed[&long_key], FAULT);
    assert_eq!(host.counter("panics"), 0);
}

#[test]
fn a_field_whose_other_names_are_taken_finds_a_free_one() {
    for count in [1, 2, 1_000] {
        // A new one each time, because what is told for the third time is told more softly.
        let host = start(json!({}));
        let mut log: Map<String, Value> =
            (2..=count).map(|n| (format!("anomaly_original_{n}"), n.into())).collect();
        log.insert("message".into(), FAULT.into());
        log.insert("anomaly".into(), json!({"level": "none"}));
        log.insert("anomaly_original".into(), 1.into());
        let passed = only(host.process(&log));
        assert_eq!(passed["anomaly"]["level"], "critical");
        assert_eq!(passed[format!("anomaly_original_{}", count + 1)], json!({"level": "none"}));
        assert_eq!(passed.as_object().unwrap().len(), log.len() + 1);
    }
}

#[test]
fn the_module_survives_its_own_collection() {
    for _ in 0..3 {
        let host = start(json!({}));
        host.process(&Map::from_iter([("message".to_owned(), FAULT.into())]));
        let source =
            "local detector = ...; detector = nil; for _ = 1, 5 do collectgarbage() end; return true";
        let detector = host.hooks().get::<Table>("detector").unwrap();
        assert!(host.call::<bool>(source, detector));
        // With the Lua the library goes; whatever of it still ran would crash here.
        drop(host);
    }
}
