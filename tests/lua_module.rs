//! The Lua module by its hooks, in a Lua as Vector makes it: tags, detour, copies, state, and what must not lose an event.
//!
//! That it judges as the other fronts do is in conformance.rs.

#[path = "hosts/lua.rs"]
mod lua;
#[path = "hosts/native.rs"]
mod native;

use std::{fs, path::Path};

use lua::Host;
use oddline_codec::{
    Edit, TagStyle, Tags,
    detour::{MAX_BYTES, MAX_LEVELS},
    json,
    marker::{self, Secret},
};
use oddline_engine::{Settings, Status};
use serde_json::{Map, Value, json};

const FAULT: &str = "CRITICAL: Failed to connect to primary database after 5 retries.";
const QUIET: &str = "INFO: User 'guest' logged in from IP 192.168.1.50";
/// When every test begins.
const NOW: i64 = 1_700_000_000_000_000_000;
const SECOND: i64 = 1_000_000_000;

fn start(options: Value) -> Host {
    native::hold_clock(Some(NOW));
    Host::start(&options).unwrap_or_else(|fault| panic!("{fault}"))
}

fn event(value: Value) -> Map<String, Value> {
    let Value::Object(event) = value else { panic!("an event is an object") };
    event
}

fn message(text: &str) -> Map<String, Value> {
    event(json!({"message": text, "source_type": "file", "file": "/var/log/app.log"}))
}

/// An advice directory as the sidecar leaves it at a time.
fn advice(dir: &Path, now: i64) -> String {
    fs::write(dir.join("secret"), Secret::file(&[7; 32])).unwrap();
    fs::write(dir.join("heartbeat"), now.to_string()).unwrap();
    dir.display().to_string()
}

#[test]
fn every_event_is_emitted_once_with_its_tags_and_nothing_else_changed() {
    let host = start(json!({}));
    for (text, level) in [(QUIET, "none"), (FAULT, "critical")] {
        let log = event(
            json!({"message": text, "host": "vm", "n": 3, "f": 0.5, "b": true, "list": [1, "two", [3]],
            "nested": {"deep": {"er": "x"}}, "empty": {}, "null": null}),
        );
        let mut passed = host.process(&log);
        assert_eq!(passed.len(), 1);
        let tags = passed[0]["anomaly"].take();
        assert_eq!(tags["level"], level);
        assert_eq!(tags["template_id"].as_str().unwrap().len(), 16);
        let mut expected = Value::Object(log);
        expected["anomaly"] = Value::Null;
        // Vector's own doing, with or without us.
        expected["null"] = "".into();
        assert_eq!(passed[0], expected);
    }
    assert_eq!(host.counter("records"), 2);
    assert_eq!(host.counter("flagged"), 1);
}

#[test]
fn what_is_no_log_event_passes() {
    let host = start(json!({}));
    for source in [
        "{metric = {name = 'x', counter = {value = 1}}}",
        "{}",
        "{log = 'text'}",
        "{log = {'a', 'list'}}",
        "{log = 7}",
    ] {
        let passed: Vec<Value> = host.pass(host.run(&format!("return {source}")), None);
        assert_eq!(passed.len(), 1, "{source}");
        assert!(passed[0].get("anomaly").is_none(), "{source}: {passed:?}");
    }
    assert_eq!(host.counter("unread"), 1, "the list");
    assert_eq!(host.counter("panics"), 0);
}

#[test]
fn profiles_and_annotate_are_those_of_the_other_shells() {
    let host = start(json!({"profile": "flat", "annotate": "flagged", "key": "odd", "detail": "minimal"}));
    assert_eq!(host.process(&message(QUIET)), [Value::Object(message(QUIET))]);
    let mut log = message(FAULT);
    log.insert("odd_score".into(), "mine".into());
    log.insert("odd_score_original".into(), 1.into());
    let passed = &host.process(&log)[0];
    assert_eq!(passed["odd_level"], "critical");
    assert_eq!(passed["odd_rule"], "DB_CONNECT_FAILED");
    assert_eq!(passed["odd_flags"], json!(["pattern"]));
    assert!(passed["odd_score"].is_f64());
    assert_eq!(passed["odd_score_original_2"], "mine");
    assert_eq!(passed["odd_score_original"], 1);
    assert!(passed.get("odd_template").is_none() && passed.get("odd").is_none(), "{passed}");
}

#[test]
fn wrong_options_are_refused_all_at_once_by_name() {
    let refused = |options: Value| Host::start(&options).err().expect("refused");
    let fault = refused(json!({"mode": "sideways", "sigma": 21, "treshold": 0.5, "threshold": "high",
        "message_paths": ["a,b"], "rules": {"file": "x"}, "label_paths": [1]}));
    for part in [
        "option `mode` is `sideways`; allowed: divert|copy|inline",
        "option `sigma` is `21`; allowed: 1..=20",
        "threshold",
        "treshold",
        "option `message_paths` is a table; allowed: text, number, true, false, or a list of texts without commas",
        "option `rules` is a table",
        "option `label_paths` is a table",
    ] {
        assert!(fault.contains(part), "{part}: {fault}");
    }
    let lua = lua::lua(&lua::folder());
    for (source, part) in
        [("'text'", "options are a string, not a table"), ("{'a'}", "an option has a integer")]
    {
        let source = format!(
            "return pcall(package.loadlib(package.searchpath('oddline_hooks', package.path)\
            :gsub('_hooks.lua', '.so'), 'luaopen_oddline')('oddline').new, {source})"
        );
        let (ok, fault): (bool, String) = lua.load(source).eval().unwrap();
        assert!(!ok && fault.contains(part), "{fault}");
    }
    // Lists, numbers and truth values as Lua has them.
    let host = start(json!({"message_paths": ["payload.text"], "sigma": 6.5, "builtin_rules": false,
        "severity_paths": [], "max_message_bytes": 256}));
    assert_eq!(host.counter("rules"), 0);
}

#[test]
fn a_library_that_cannot_be_loaded_keeps_vector_from_starting_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(lua::folder().join("oddline_hooks.lua"), dir.path().join("oddline_hooks.lua")).unwrap();
    let refused = |options: Value| Host::start_in(dir.path(), &options).err().expect("refused");
    let fault = refused(json!({}));
    let library = dir.path().join("oddline.so").display().to_string();
    assert!(
        fault.contains(&format!("cannot read {library}: put oddline.so beside oddline_hooks.lua")),
        "{fault}"
    );
    fs::write(&library, "not a library").unwrap();
    let fault = refused(json!({}));
    assert!(fault.contains("this Vector cannot load") && fault.contains("-musl archives"), "{fault}");
    let filter = acceptance::built("ODDLINE_NATIVE_FILTER");
    let fault = refused(json!({"module": filter}));
    assert!(fault.contains("is not Oddline's Lua module"), "{fault}");
    assert!(Host::start_in(dir.path(), &json!({"module": acceptance::built("ODDLINE_LUA_MODULE")})).is_ok());

    // Another Lua, and one that loads no libraries at all.
    for (change, part) in
        [("_VERSION = 'Lua 5.1'", "this is Lua 5.1"), ("package.loadlib = nil", "cannot load")]
    {
        let lua = lua::lua(&lua::folder());
        lua.load(change).exec().unwrap();
        let fault = lua.load("require('oddline_hooks').start {}").exec().unwrap_err().to_string();
        assert!(fault.contains(part), "{fault}");
    }
}

#[test]
fn questionable_events_are_marked_for_the_sidecar_while_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let host = start(json!({"advice_dir": advice(dir.path(), NOW), "profile": "ecs"}));
    let passed = host.process(&message(FAULT));
    assert_eq!(passed.len(), 1);
    assert_eq!(passed[0]["_oddline_detour"], true);
    assert_eq!(passed[0]["_oddline_tag"], "/var/log/app.log");
    // Nested and in full, whatever the user sees in the end.
    assert_eq!(passed[0]["anomaly"]["status"], "pending");
    assert_eq!(
        passed[0]["anomaly"]["template"],
        "CRITICAL: Failed to connect to primary database after <*> retries."
    );
    let quiet = &host.process(&message(QUIET))[0];
    assert!(quiet.get("_oddline_detour").is_none() && quiet.get("_oddline_tag").is_none(), "{quiet}");

    // The heartbeat is looked at once a second, by events or by the timer.
    native::hold_clock(Some(NOW + 4 * SECOND));
    let passed = &host.process(&message(FAULT))[0];
    assert_eq!(passed["anomaly.status"], "skipped");
    assert!(passed.get("_oddline_detour").is_none() && passed.get("anomaly").is_none(), "{passed}");
    fs::write(dir.path().join("heartbeat"), (NOW + 4 * SECOND).to_string()).unwrap();
    host.tick();
    assert_eq!(host.process(&message(FAULT))[0]["anomaly"]["status"], "pending");
    let log = host.log();
    assert!(log.iter().any(|line| line.starts_with("detour closed: no heartbeat in ")), "{log:?}");
    assert_eq!(log.iter().filter(|line| line.starts_with("detour open: ")).count(), 2, "{log:?}");
}

#[test]
fn in_copy_mode_the_event_flows_on_and_a_copy_visits_the_sidecar() {
    let dir = tempfile::tempdir().unwrap();
    for (profile, status) in [("nested", "/anomaly/status"), ("flat", "/anomaly_status")] {
        let host = start(json!({"advice_dir": advice(dir.path(), NOW), "mode": "copy", "profile": profile}));
        let mut log = message(FAULT);
        log.insert("anomaly".into(), "mine".into());
        let passed = host.process(&log);
        assert_eq!(passed.len(), 2, "{passed:?}");
        let [itself, copy] = &*passed else { unreachable!() };
        assert_eq!(itself.pointer(status).unwrap(), "inline", "{itself}");
        assert!(itself.get("_oddline_detour").is_none() && itself.get("_oddline_tag").is_none(), "{itself}");
        assert_eq!(copy["anomaly"]["status"], "pending");
        assert_eq!(copy["_oddline_detour"], true);
        assert!(copy.get("anomaly_status").is_none(), "{copy}");
        for passed in &passed {
            assert_eq!((&passed["anomaly_original"], &passed["message"]), (&"mine".into(), &FAULT.into()));
        }
        assert_eq!(host.process(&message(QUIET)).len(), 1);
    }
}

/// A field that gives its event so many levels.
fn deep(levels: usize, wrap: fn(Value) -> Value) -> Value {
    (1..levels).fold(json!("bottom"), |inner, _| wrap(inner))
}

fn object(inner: Value) -> Value {
    Value::Object(Map::from_iter([("in".to_owned(), inner)]))
}

fn list(inner: Value) -> Value {
    Value::Array(vec![1.into(), inner])
}

#[test]
fn what_vectors_sink_cannot_carry_stays_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut cases = vec![
        // The tags are part of what is sent.
        (json!("x".repeat(MAX_BYTES - 10_000)), None),
        (json!("x".repeat(MAX_BYTES)), Some("large")),
        (json!("x".repeat(10 * MAX_BYTES)), Some("large")),
        // As HTTP has them.
        (json!("\u{1}".repeat(MAX_BYTES / 6)), Some("large")),
    ];
    for wrap in [object, list] {
        let levels = [(MAX_LEVELS, None), (MAX_LEVELS + 1, Some("deep")), (10 * MAX_LEVELS, Some("deep"))];
        cases.extend(levels.map(|(levels, why)| (deep(levels, wrap), why)));
    }
    for (mode, profile, status, reason) in [
        ("divert", "nested", "/anomaly/status", "/anomaly/reason"),
        ("copy", "flat", "/anomaly_status", "/anomaly_reason"),
    ] {
        for (more, why) in &cases {
            let host =
                start(json!({"advice_dir": advice(dir.path(), NOW), "mode": mode, "profile": profile}));
            let mut log = message(FAULT);
            log.insert("more".into(), more.clone());
            let passed = host.process(&log);
            let last = passed.last().unwrap();
            assert!(passed.iter().all(|event| event["more"] == *more), "{mode} {why:?}");
            let counted = (host.counter("pending"), host.counter("skipped"));
            assert_eq!(counted, if why.is_some() { (0, 1) } else { (1, 0) }, "{mode} {why:?}");
            assert_eq!(last.get("_oddline_detour").is_none(), why.is_some(), "{mode} {why:?}");
            let Some(why) = why else {
                assert_eq!(last["anomaly"]["status"], "pending", "{mode}");
                continue;
            };
            assert_eq!(passed.len(), 1, "{mode} {why}: no copy");
            assert_eq!(last.pointer(status), Some(&"skipped".into()), "{mode} {why}");
            let reason = last.pointer(reason).unwrap().as_str().unwrap();
            let ending = format!("; too {why} for the detour, judged in the plugin alone");
            assert!(reason.contains("rule DB_CONNECT_FAILED") && reason.ends_with(&ending), "{reason}");
            assert_eq!((last.get("anomaly").is_some(), last.get("_oddline_tag")), (mode == "divert", None));
        }
    }
}

#[test]
fn the_tag_is_the_first_field_that_says_where_an_event_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let host = start(json!({"advice_dir": advice(dir.path(), NOW)}));
    let long = "ä".repeat(200);
    for (fields, tag) in [
        (json!({"kubernetes": {"container_name": "api"}, "service": "x"}), "api"),
        (json!({"kubernetes": {"container_name": 3}, "service": "x"}), "x"),
        (json!({"container_name": null, "appname": "cron", "file": "f"}), "cron"),
        (json!({"_SYSTEMD_UNIT": "ssh.service", "source_type": "journald"}), "ssh.service"),
        (json!({"source_type": "stdin"}), "stdin"),
        (json!({"source_type": 7}), "vector"),
        (json!({"service": long}), &long[..256]),
    ] {
        let mut log = event(fields);
        log.insert("message".into(), FAULT.into());
        assert_eq!(host.process(&log)[0]["_oddline_tag"], tag);
        assert_eq!(host.process_as(&log, Some("mine"))[0]["_oddline_tag"], "mine");
    }
}

#[test]
fn log_content_cannot_pose_as_ours() {
    let dir = tempfile::tempdir().unwrap();
    let host = start(json!({"advice_dir": advice(dir.path(), NOW)}));
    let keys = ["anomaly", "_oddline", "_oddline_detour", "_oddline_tag", "oddline_summary"];
    for (text, pending) in [(QUIET, false), (FAULT, true)] {
        let mut log = message(text);
        keys.iter().for_each(|key| drop(log.insert((*key).into(), "forged".into())));
        let passed = &host.process(&log)[0];
        for key in keys {
            assert_eq!(passed[format!("{key}_original")], "forged", "{passed}");
            assert_ne!(passed.get(key), Some(&"forged".into()), "{passed}");
        }
        assert_eq!(passed.get("_oddline_detour").is_some(), pending);
    }
    assert_eq!(host.counter("forged"), 2);
}

#[test]
fn what_comes_back_with_a_true_marker_is_not_judged_again() {
    let dir = tempfile::tempdir().unwrap();
    let host = start(json!({"advice_dir": advice(dir.path(), NOW), "profile": "flat"}));
    let style =
        TagStyle::of(&Settings::new(&serde_json::from_value(json!({"profile": "flat"})).unwrap()).unwrap());
    let tags = Tags { status: Some(Status::Confirmed), ..Tags::default() };
    let secret = Secret::parse(Secret::file(&[7; 32]).as_bytes()).unwrap();
    let sign = |status| {
        marker::sign(&secret, b"/var/log/app.log", FAULT.as_bytes(), tags.template_id, tags.level, status)
    };
    for (marker, is_true) in [(sign(Status::Confirmed), true), (sign(Status::Cleared), false)] {
        let mut body = Vec::new();
        let edit = Edit { marker: Some(&marker), ..Edit::tag(&style, &tags) };
        json::splice(&serde_json::to_vec(&message(FAULT)).unwrap(), &edit, &mut body).unwrap();
        let passed = &host.process(&serde_json::from_slice(&body).unwrap())[0];
        assert!(passed.get("_oddline").is_none());
        assert_eq!(passed.get("_oddline_detour").is_none(), is_true, "{passed}");
        assert_eq!(passed.get("anomaly").is_none(), is_true, "judged again only if forged: {passed}");
    }
    assert_eq!((host.counter("returned"), host.counter("forged")), (1, 1));
}

#[test]
fn counts_travel_as_an_event_for_the_sidecar() {
    let dir = tempfile::tempdir().unwrap();
    let options = json!({"advice_dir": advice(dir.path(), NOW), "summary_interval_seconds": 10});
    let host = start(options);
    assert!(host.tick().is_empty());
    for _ in 0..3 {
        host.process(&message(QUIET));
    }
    let later = |seconds: i64| {
        native::hold_clock(Some(NOW + seconds * SECOND));
        fs::write(dir.path().join("heartbeat"), (NOW + seconds * SECOND).to_string()).unwrap();
        host.tick()
    };
    assert!(later(9).is_empty());
    let emitted = later(10);
    assert_eq!(emitted.len(), 1);
    let summary = &emitted[0]["oddline_summary"];
    assert_eq!((&summary["kind"], &summary["time"]), (&"v1".into(), &1_700_000_010.into()));
    assert_eq!(summary["counters"]["records"], 3);
    assert_eq!(summary["templates"][0]["count"], 3);
    assert_eq!(summary["templates"][0]["text"], "INFO: User '<*>' logged in from IP <*>");
    assert_eq!(
        (&emitted[0]["_oddline_detour"], &emitted[0]["_oddline_tag"]),
        (&true.into(), &"oddline.summary.lua".into())
    );
    assert!(later(20).is_empty(), "nothing came since");
}

#[test]
fn state_is_kept_over_a_restart_and_saved_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let options = json!({"state_file": path.display().to_string(), "state_interval_seconds": 5});
    let host = start(options.clone());
    host.process(&message(QUIET));
    host.process(&message(FAULT));
    // A shipper that is killed later on leaves what the interval saved.
    for seconds in 1..20 {
        native::hold_clock(Some(NOW + seconds * SECOND));
        host.tick();
    }
    assert!(path.is_file(), "saved by the timer");
    let restored = start(options.clone());
    assert!(restored.log()[0].starts_with("state_file: restored"));
    assert_eq!(restored.counter("templates"), 2);
    host.process(&message("something else altogether, in words"));
    let log = host.stop();
    assert!(log.last().unwrap().ends_with("rules_refused=0 panics=0"), "{log:?}");
    assert_eq!(start(options.clone()).counter("templates"), 3);

    fs::write(&path, "junk").unwrap();
    let host = start(options);
    let log = host.log();
    assert!(log[0].contains("/state: ") && log[0].ends_with("starting empty"), "{log:?}");
    assert_eq!(host.counter("templates"), 0);
    let host = start(json!({"state_file": "/dev/full/state"}));
    host.process(&message(QUIET));
    let log = host.stop().join("\n");
    assert!(log.contains("state_file /dev/full/state: not saved: "), "{log}");
}

#[test]
fn rules_of_the_users_own_are_taken_when_they_change() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.toml");
    let rule = |word: &str| format!("[[rules]]\nname = \"MINE\"\npattern = \"{word}\"\nscore = 8\n");
    fs::write(&file, rule("purple")).unwrap();
    let host = start(json!({"rules": file.display().to_string(), "builtin_rules": false}));
    assert_eq!(host.process(&message("a purple cow"))[0]["anomaly"]["rule"], "MINE");
    fs::write(&file, rule("orange-coloured")).unwrap();
    native::hold_clock(Some(NOW + SECOND));
    assert_eq!(host.process(&message("an orange-coloured cow"))[0]["anomaly"]["rule"], "MINE");
    assert_eq!(host.counter("rules_reloaded"), 1);
    fs::write(&file, "not rules").unwrap();
    native::hold_clock(Some(NOW + 2 * SECOND));
    host.tick();
    assert_eq!(host.counter("rules_refused"), 1);
    assert!(host.log().iter().any(|line| line.ends_with("the ones read before stay in use")));
}

#[test]
fn a_panic_passes_the_event_as_it_came_and_an_error_of_emit_is_the_hosts_own() {
    let host = start(json!({}));
    native::break_clock();
    for _ in 0..3 {
        assert_eq!(host.process(&message(FAULT)), [Value::Object(message(FAULT))]);
    }
    native::hold_clock(Some(NOW));
    assert_eq!(host.counter("panics"), 3);
    let log = host.log();
    assert_eq!(log.len(), 2, "the first and the second: {log:?}");
    assert!(
        log[0].starts_with("bug: a panic while judging, the event passed as it came (1 so far)"),
        "{log:?}"
    );
    assert_eq!(host.process(&message(FAULT))[0]["anomaly"]["rule"], "DB_CONNECT_FAILED");

    let lua = lua::lua(&lua::folder());
    let source = "local hooks, times = require('oddline_hooks').start {}, 0
        local ok, fault = pcall(hooks.process, {log = {message = 'x'}}, function() times = times + 1; error({own = true}) end)
        return ok, fault.own, times";
    let (ok, own, times): (bool, bool, i64) = lua.load(source).eval().unwrap();
    assert_eq!((ok, own, times), (false, true, 1));
}
