//! The native filter loaded as Fluent Bit loads it: properties, chunks, files that change, the detour, bad input.

#[path = "hosts/chunk.rs"]
mod chunk;
#[path = "hosts/native.rs"]
mod native;
#[path = "native_filter/rules.rs"]
mod rules;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use chunk::{event, line, lines, records};
use native::Native;
use oddline_codec::{
    Edit, TagStyle, Tags,
    marker::{self, Secret},
    msgpack,
};
use oddline_engine::{Advice, Class, Level, OPTIONS, Settings, Status, TemplateAdvice, TemplateId};
use serde_json::{Value, json};

const FAULT: &str = "CRITICAL: Failed to connect to primary database after 5 retries.";
const QUIET: &str = "INFO: User 'guest' logged in from IP 192.168.1.50";

fn start(properties: &[(&str, &str)]) -> Native {
    Native::start(properties).unwrap_or_else(|lines| panic!("{lines:?}"))
}

fn only(filter: &Native, tag: &str, text: &str) -> Value {
    let chunk = filter.filter(tag, &line(text.as_bytes())).expect("tags are added");
    records(&chunk).remove(0)
}

#[test]
fn the_map_names_every_option_with_its_meaning() {
    let map = native::config_map();
    assert_eq!(map.len(), OPTIONS.len());
    for (spec, (name, description)) in OPTIONS.iter().zip(map) {
        assert_eq!(spec.name, name);
        assert!(description.contains(spec.doc) && description.contains(spec.values), "{description}");
    }
}

#[test]
fn wrong_properties_are_refused_by_name() {
    let refused = |properties: &[(&str, &str)]| Native::start(properties).err().expect("refused").join("\n");
    assert!(refused(&[("treshold", "0.5")]).contains("unknown configuration property 'treshold'"));
    let both = refused(&[("sigma", "21"), ("mode", "sideways")]);
    assert!(both.contains("option `sigma` is `21`; allowed: 1..=20"), "{both}");
    assert!(both.contains("option `mode` is `sideways`; allowed: divert|copy|inline"), "{both}");
    assert!(Native::start(&[("sigma", "20")]).is_ok());
    native::log();
    assert!(refused(&[("sigma", "200")]).starts_with("error [filter:oddline] option `sigma`"));
}

#[test]
fn every_record_is_tagged_and_the_fault_is_explained() {
    let filter = start(&[]);
    let chunk = filter.filter("app", &lines([QUIET, FAULT])).unwrap();
    let found = records(&chunk);
    assert_eq!(found.len(), 2);
    assert_eq!((&found[0]["log"], &found[0]["anomaly"]["level"]), (&QUIET.into(), &"none".into()));
    assert_eq!(found[1]["anomaly"]["rule"], "DB_CONNECT_FAILED");
    assert_eq!(found[1]["anomaly"]["status"], "inline");
    assert_eq!(found[1]["anomaly"]["level"], "critical");
}

#[test]
fn a_chunk_without_change_is_left_alone() {
    let filter = start(&[("annotate", "flagged")]);
    assert_eq!(filter.filter("app", &lines([QUIET, QUIET])), None);
    assert!(filter.filter("app", &lines([QUIET, FAULT])).is_some());
    assert_eq!(filter.filter("app", b""), None);
}

#[test]
fn what_is_between_plugin_and_sidecar_is_left_alone() {
    let filter = start(&[]);
    for tag in ["oddline.pending.app", "oddline.summary.app", "oddline.verdict.app"] {
        assert_eq!(filter.filter(tag, &lines([FAULT])), None, "{tag}");
    }
    assert!(filter.filter("oddlines", &lines([FAULT])).is_some());
}

/// The bytes of a body without its map header, for both short and long headers.
fn pairs(body: &[u8]) -> &[u8] {
    match body[0] {
        0xde => &body[3..],
        0xdf => &body[5..],
        _ => &body[1..],
    }
}

#[test]
fn times_metadata_groups_and_odd_values_stay_byte_for_byte() {
    let bodies: [&[u8]; 8] = [
        b"\x82\xa3log\xc4\x02hi\x01\xc0", // bin value, a key that is a number
        b"\x81\xa1x\xca\x7f\xc0\x00\x00", // NaN as a 32-bit float
        b"\x81\xa1x\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", // infinite
        b"\x81\xa3log\xa4a\xff\xfeb",     // not UTF-8
        b"\x81\xa3log\xa3a\x00b",         // NUL
        b"\x80",                          // empty
        b"\x82\xa3log\xa1a\xa3log\xa1b",  // the same key twice
        b"\x81\xa1e\xc7\x01\x05\x00",     // an ext value
    ];
    let mut chunk = event(u32::MAX, b"\x81\xa8metadata\x01", b"\x81\xa8resource\x80");
    let heads: [&[u8]; 2] = [b"\x92\xd7\x00\x65\x53\xf1\x00\x00\x00\x00\x07", b"\x92\x05"];
    for (index, body) in bodies.iter().enumerate() {
        chunk.extend_from_slice(&event(1_700_000_000, b"\x81\xa1k\x91\x01", body));
        chunk.extend_from_slice(heads[index % 2]);
        chunk.extend_from_slice(body);
    }
    chunk.extend_from_slice(&event(u32::MAX - 1, b"\x80", b"\x80"));
    let out = start(&[]).filter("otel", &chunk).unwrap();
    let (before, after): (Vec<_>, Vec<_>) =
        (msgpack::events(&chunk).collect(), msgpack::events(&out).collect());
    assert_eq!(before.len(), after.len());
    for (before, after) in before.into_iter().map(Result::unwrap).zip(after.into_iter().map(Result::unwrap)) {
        assert_eq!(before.head, after.head);
        if before.kind == msgpack::EventKind::Log {
            assert!(pairs(after.body).starts_with(pairs(before.body)), "{:x?}", after.body);
            assert!(after.body.len() > before.body.len(), "tagged");
        } else {
            assert_eq!(before.raw, after.raw);
        }
    }
}

#[test]
fn huge_records_are_tagged_and_whole() {
    let many = |fields: u32| {
        let mut body = b"\xdf".to_vec();
        body.extend_from_slice(&fields.to_be_bytes());
        for number in 0..fields {
            body.extend_from_slice(b"\xa6");
            body.extend_from_slice(format!("{number:06}").as_bytes());
            body.extend_from_slice(b"\xa1v");
        }
        event(1, b"\x80", &body)
    };
    let nested = |depth: usize| {
        let mut body = b"\x81\xa3log".to_vec();
        (0..depth).for_each(|_| body.extend_from_slice(b"\x81\xa1n"));
        body.push(0xc0);
        event(1, b"\x80", &body)
    };
    let mut cases = vec![line(&vec![b'a'; 1 << 20]), line(&vec![b' '; 10 << 20])];
    cases.extend([1_024, 1_025, 100_000].map(many));
    cases.extend([32, 33, 1_000, 100_000].map(nested));
    let filter = start(&[]);
    for chunk in cases {
        let out = filter.filter("app", &chunk).expect("tagged");
        let event = msgpack::events(&out).next().unwrap().unwrap();
        let before = msgpack::events(&chunk).next().unwrap().unwrap();
        assert!(pairs(event.body).starts_with(pairs(before.body)));
        assert!(msgpack::read_tags(event.body, "anomaly").is_some());
    }
}

#[test]
fn what_is_no_event_passes_as_it_is() {
    let good = line(QUIET.as_bytes());
    let tails: [&[u8]; 6] = [
        b"\x92\x92\xd7\x00\0\0\0\x01\0\0\0\0\x80\x81\xa3lo", // cut short
        b"\x92\x05\xdf\xff\xff\xff\xff\xa1a\x01",            // a map that claims 4 thousand million pairs
        b"\x92\x05\x81\xa1a\xdb\xff\xff\xff\xff",            // a text that claims 4 GB
        b"\xc1\xc1\xc1",
        b"not msgpack",
        b"\x93\x05\x80\x80",
    ];
    let filter = start(&[]);
    for tail in tails {
        let out = filter.filter("app", &[&good, tail].concat()).unwrap();
        assert!(out.ends_with(tail), "{tail:x?}");
        assert_eq!(records(&out[..out.len() - tail.len()]).len(), 1);
        assert_eq!(filter.filter("app", tail), None, "nothing to change: {tail:x?}");
    }
    for body in [&b"\xa2hi"[..], b"\x93\x01\x02\x03", b"\xc0", b"\x07"] {
        assert_eq!(filter.filter("app", &event(1, b"\x80", body)), None, "{body:x?}");
    }
    drop(filter);
    assert!(
        native::log().last().unwrap().contains("unread=16 "),
        "six tails twice and four bodies are counted"
    );
}

#[test]
fn a_field_of_our_name_is_user_data_and_not_believed() {
    let body = b"\x83\xa3log\xa2hi\xa7anomaly\x81\xa6status\xa7pending\xafoddline_summary\x81\xa4kind\xa2v1";
    let out = start(&[]).filter("app", &event(1, b"\x80", body)).unwrap();
    let record = records(&out).remove(0);
    assert_eq!(record["anomaly_original"]["status"], "pending");
    assert_eq!(record["anomaly"]["level"], "none");
    assert_eq!(
        (&record["oddline_summary"], &record["oddline_summary_original"]["kind"]),
        (&Value::Null, &"v1".into())
    );
}

#[test]
fn threads_may_filter_at_the_same_time() {
    let filter = start(&[]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(records(&filter.filter("app", &lines([QUIET, FAULT])).unwrap()).len(), 2);
                }
            });
        }
    });
    drop(filter);
    assert!(native::log().last().unwrap().contains("records=400 "));
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Asks again until it is so, because files are looked at twice a second by another thread.
fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        std::thread::yield_now();
    }
}

struct AdviceDir(tempfile::TempDir);

impl AdviceDir {
    fn new() -> AdviceDir {
        let dir = AdviceDir(tempfile::tempdir().unwrap());
        fs::write(dir.path().join("secret"), Secret::file(&[7; 32])).unwrap();
        dir.beat();
        dir
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn text(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// As the sidecar does it: a new file in the place of the old.
    fn replace(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path().join("new"), bytes).unwrap();
        fs::rename(self.path().join("new"), self.path().join(name)).unwrap();
    }

    fn beat(&self) {
        self.replace("heartbeat", format!("{}\n", now().as_nanos()).as_bytes());
    }
}

#[test]
fn a_questionable_record_goes_on_the_detour_while_the_sidecar_lives() {
    let dir = AdviceDir::new();
    let filter = start(&[("advice_dir", dir.text()), ("profile", "ecs")]);
    let record = only(&filter, "app", FAULT);
    assert_eq!(record["anomaly"]["status"], "pending", "nested, whatever the profile: {record}");
    dir.replace("heartbeat", b"1000000000\n");
    // Until then asking this often fills the detour, which is told apart by its reason.
    let record = eventually("the detour closes", || {
        let record = only(&filter, "app", FAULT);
        let absent = record["event.reason"].as_str().is_some_and(|reason| reason.contains("sidecar absent"));
        absent.then_some(record)
    });
    assert_eq!((&record["anomaly"], &record["anomaly.status"]), (&Value::Null, &"skipped".into()));
    eventually("the detour opens again", || {
        dir.beat();
        (only(&filter, "app", FAULT)["anomaly"]["status"] == "pending").then_some(())
    });
    let log = native::log().join("\n");
    assert!(log.contains("detour open") && log.contains("detour closed"), "{log}");
}

#[test]
fn without_a_secret_there_is_no_detour() {
    let dir = AdviceDir::new();
    fs::remove_file(dir.path().join("secret")).unwrap();
    assert_eq!(only(&start(&[("advice_dir", dir.text())]), "app", FAULT)["anomaly"]["status"], "skipped");
    dir.replace("secret", b"not a secret");
    assert_eq!(only(&start(&[("advice_dir", dir.text())]), "app", FAULT)["anomaly"]["status"], "skipped");
    let log = native::log().join("\n");
    assert!(log.contains("/secret: secret has 12 bytes, not 64 hex digits"), "{log}");
}

/// What the sidecar sends back.
fn returned(tag: &str, key: u8, profile: &str) -> Vec<u8> {
    let secret = Secret::parse(Secret::file(&[key; 32]).as_bytes()).unwrap();
    let mut options = oddline_engine::Options::default();
    options.set("profile", profile).unwrap();
    let style = TagStyle::of(&Settings::new(&options).unwrap());
    let (id, level, status) = (TemplateId(5), Level::High, Status::Confirmed);
    let marker = marker::sign(&secret, tag.as_bytes(), FAULT.as_bytes(), id, level, status);
    let tags = Tags { score: 0.85, level, template_id: id, status: Some(status), ..Tags::default() };
    let mut body = b"\x81\xa3log\xd9".to_vec();
    body.push(u8::try_from(FAULT.len()).unwrap());
    body.extend_from_slice(FAULT.as_bytes());
    let mut out = Vec::new();
    msgpack::splice(&body, &Edit { marker: Some(&marker), ..Edit::tag(&style, &tags) }, &mut out).unwrap();
    event(1, b"\x80", &out)
}

#[test]
fn a_record_that_comes_back_loses_its_marker_and_nothing_else() {
    let dir = AdviceDir::new();
    for profile in ["nested", "flat", "otel", "ecs"] {
        let filter = start(&[("advice_dir", dir.text()), ("profile", profile)]);
        let chunk = returned("app", 7, profile);
        let (before, after) =
            (records(&chunk).remove(0), records(&filter.filter("app", &chunk).unwrap()).remove(0));
        let mut expected = before.clone();
        assert!(expected.as_object_mut().unwrap().remove("_oddline").is_some());
        assert_eq!(after, expected, "{profile}");
        drop(filter);
        let log = native::log();
        assert!(
            log.last().unwrap().contains("records=0 flagged=0 pending=0 skipped=0 returned=1 forged=0"),
            "{log:?}"
        );
    }
}

#[test]
fn a_forged_marker_is_user_data_and_counted() {
    let dir = AdviceDir::new();
    let filter = start(&[("advice_dir", dir.text())]);
    let other = event(1, b"\x80", b"\x82\xa3log\xa2hi\xa8_oddline\x07");
    for (tag, chunk) in
        [("app", returned("app", 8, "nested")), ("other", returned("app", 7, "nested")), ("app", other)]
    {
        let before = records(&chunk).remove(0);
        let after = records(&filter.filter(tag, &chunk).unwrap()).remove(0);
        assert_eq!(after["_oddline"], Value::Null);
        assert_eq!(after["_oddline_original"], before["_oddline"]);
        assert_ne!(after["anomaly"]["status"], "confirmed", "analysed like any record");
    }
    drop(filter);
    assert!(native::log().last().unwrap().contains("returned=0 forged=3"));
}

#[test]
fn a_summary_ends_the_chunk_once_an_interval_is_over() {
    let dir = AdviceDir::new();
    let start_at = i64::try_from(now().as_nanos()).unwrap();
    native::hold_clock(Some(start_at));
    let filter = start(&[("advice_dir", dir.text()), ("summary_interval_seconds", "1")]);
    // Within the three seconds for which the first look at the heartbeat counts.
    let summary = |halves: i64| {
        native::hold_clock(Some(start_at + halves * 500_000_000));
        let chunk = filter.filter("app", &lines([QUIET])).unwrap();
        let last = msgpack::events(&chunk).last().unwrap().unwrap();
        oddline_codec::read_summary(last.body)
    };
    assert_eq!(summary(0), None);
    assert_eq!(summary(1), None);
    let found = summary(2).expect("due");
    assert_eq!((found.counters.records, found.templates[0].count), (3, 3));
    assert_eq!(found.templates[0].source, "app");
    assert_eq!(summary(2), None);
    assert_eq!(summary(4).expect("due again").templates[0].count, 2);
    assert_eq!(filter.filter("oddline.pending.app", &lines([QUIET])), None);
    native::hold_clock(None);
    assert!(native::log().iter().any(|line| line.contains("counters: records=3 ")));
}

#[test]
fn nothing_of_a_chunk_with_a_group_goes_on_the_detour() {
    let dir = AdviceDir::new();
    let start_at = i64::try_from(now().as_nanos()).unwrap();
    native::hold_clock(Some(start_at));
    let filter = start(&[("advice_dir", dir.text()), ("summary_interval_seconds", "1")]);
    let status =
        |chunk: &[u8]| records(&filter.filter("app", chunk).unwrap())[0]["anomaly"]["status"].clone();
    assert_eq!(status(&lines([FAULT])), "pending");
    native::hold_clock(Some(start_at + 1_500_000_000));
    let (begin, end) = (event(u32::MAX, b"\x80", b"\x80"), event(u32::MAX - 1, b"\x80", b"\x80"));
    for group in
        [[&*begin, &line(FAULT.as_bytes())].concat(), [&*begin, &line(FAULT.as_bytes()), &end].concat()]
    {
        let after = filter.filter("app", &group).unwrap();
        assert_eq!(records(&after).len(), 1, "no summary");
        let tags = &records(&after)[0]["anomaly"];
        assert_eq!((&tags["status"], &tags["rule"]), (&json!("skipped"), &json!("DB_CONNECT_FAILED")));
        assert!(
            tags["reason"]
                .as_str()
                .unwrap()
                .ends_with("in a group of the host (OTLP), judged in the plugin alone")
        );
    }
    // The next chunk is free to go, and carries the summary.
    let next = filter.filter("app", &lines([FAULT])).unwrap();
    assert_eq!((records(&next).len(), &records(&next)[0]["anomaly"]["status"]), (2, &json!("pending")));
    native::hold_clock(None);
}

#[test]
fn counters_are_told_each_minute_without_a_detour_too() {
    native::hold_clock(Some(1_700_000_000_000_000_000));
    let filter = start(&[]);
    let told = |seconds: i64| {
        native::hold_clock(Some((1_700_000_000 + seconds) * 1_000_000_000));
        filter.filter("app", &lines([QUIET])).unwrap();
        native::log().iter().filter(|line| line.contains("counters: ")).count()
    };
    // The last one is a clock that was set back.
    assert_eq!([0, 59, 60, 61, 119, 120, 1_000, 10].map(told), [0, 0, 1, 0, 0, 1, 1, 1]);
    native::hold_clock(None);
}

#[test]
fn advice_is_read_when_it_changes_and_a_bad_file_changes_nothing() {
    let dir = AdviceDir::new();
    let filter = start(&[("advice_dir", dir.text())]);
    let tags = &only(&filter, "app", FAULT)["anomaly"];
    let id = TemplateId::parse(tags["template_id"].as_str().unwrap()).unwrap();
    let row = TemplateAdvice {
        text: tags["template"].as_str().unwrap().to_owned(),
        class: Class::Exception,
        score: 0.0,
        similarity: None,
        nearest: None,
        rate: None,
        expires: None,
    };
    let good = Advice { templates: [(id, row)].into(), ..Advice::default() }.to_bytes();
    dir.replace("advice", &good);
    let level = || only(&filter, "app", FAULT)["anomaly"]["level"].clone();
    eventually("the exception applies", || (level() == "none").then_some(()));
    for (bad, part) in [
        (&good[..good.len() - 1], "checksum mismatch"),
        (b"oddline-advice 9 0000000000000000\n{}", "format version 9 is not the supported 1"),
        (b"", "no `oddline-advice <version> <checksum>` header line"),
    ] {
        dir.replace("advice", bad);
        native::log();
        let line = eventually("the bad file is told", || {
            level();
            native::log().into_iter().find(|line| line.contains(part))
        });
        assert!(line.contains("/advice: ") && line.ends_with("the last good one stays"), "{line}");
        assert_eq!(level(), "none", "{part}");
    }
}
