//! Vector's events: what the codec reads and edits by hand is what prost reads and writes.

mod properties;
#[path = "../vector_event/mod.rs"]
mod vector_event;

use oddline_codec::{
    Edit, MAX_DEPTH, MAX_FIELDS, TagStyle, Tags,
    protobuf::{self, Count, EventKind},
};
use oddline_engine::{
    Annotate, Detail, Flag, Level, Profile, Scalar, Status, TemplateCount, TemplateId, Verdict, Visitor,
};
use prost::Message;
use vector_event::{
    Event, EventWrapper, Kind, Log, Metric, Number, PushEventsRequest, Timestamp, Trace, Value, array, float,
    integer, map, text, truth,
};

const PROFILES: [Profile; 4] = [Profile::Nested, Profile::Flat, Profile::Otel, Profile::Ecs];

fn style(profile: Profile) -> TagStyle {
    TagStyle { key: "anomaly".into(), annotate: Annotate::All, detail: Detail::Full, profile }
}

fn tags() -> Tags {
    let verdict = Verdict {
        score: 0.9,
        level: Level::High,
        template_id: TemplateId(0xabc),
        status: Some(Status::Confirmed),
        flags: [Flag::New, Flag::Semantic].into_iter().collect(),
        template: Some("odd <*>".into()),
        similarity: Some(0.25),
        reason: Some("new \"message\"".into()),
        ..Verdict::default()
    };
    Tags::of(&verdict, &"oddline/1 rules:2".into())
}

/// A pending log as the remap sends it.
fn pending() -> Log {
    let tags = map([
        ("score", float(0.7)),
        ("level", text("medium")),
        ("template_id", text("0000000000000abc")),
        ("status", text("pending")),
        ("flags", array(vec![text("new")])),
        ("template", text("odd <*>")),
        ("similarity", integer(0)),
    ]);
    let time = Value { kind: Some(Kind::Timestamp(Timestamp { seconds: 1_763_000_000, nanos: 7 })) };
    let fields = [("anomaly", tags), ("message", text("odd one")), ("n", integer(-3)), ("timestamp", time)];
    let ours =
        map([("tag", text("app")), ("detour", truth()), ("pending", map([])), ("template_id", text("x"))]);
    Log::new(fields, [("oddline", ours), ("vector", map([("deep", array(vec![float(1.5), truth()]))]))])
}

fn spliced(log: &Log, edit: &Edit<'_>) -> Log {
    let mut out = Vec::new();
    protobuf::splice(&log.encode_to_vec(), edit, &mut out).unwrap();
    Log::decode(&*out).unwrap()
}

#[derive(Default)]
struct Seen(Vec<String>, Vec<String>);

impl<'a> Visitor<'a> for Seen {
    fn enter(&mut self, key: &[u8]) -> bool {
        self.1.push(String::from_utf8_lossy(key).into_owned());
        true
    }

    fn enter_list(&mut self, key: &[u8]) -> bool {
        self.1.push(format!("{}[]", String::from_utf8_lossy(key)));
        true
    }

    fn item(&mut self, value: Scalar<'a>) {
        self.0.push(match value {
            Scalar::Text(text) => format!("{}={}", self.1.join("."), String::from_utf8_lossy(&text)),
            other => format!("{}={other:?}", self.1.join(".")),
        });
    }

    fn leave(&mut self) {
        self.1.pop();
    }

    fn scalar(&mut self, key: &[u8], value: Scalar<'a>) {
        let path = [self.1.join("."), String::from_utf8_lossy(key).into_owned()].join(".");
        self.0.push(match value {
            Scalar::Text(text) => format!("{path}={}", String::from_utf8_lossy(&text)),
            other => format!("{path}={other:?}"),
        });
    }
}

fn seen(log: &[u8]) -> Vec<String> {
    let mut seen = Seen::default();
    protobuf::walk(log, &mut seen).unwrap();
    seen.0
}

#[test]
fn both_ways_to_write_a_log_are_read_alike() {
    let log = pending();
    let expected = [
        ".message=odd one",
        ".n=Int(-3)",
        ".timestamp=Opaque",
        "anomaly.flags[]=new",
        "anomaly.level=medium",
        "anomaly.score=Float(0.7)",
        "anomaly.similarity=Int(0)",
        "anomaly.status=pending",
        "anomaly.template=odd <*>",
        "anomaly.template_id=0000000000000abc",
    ];
    for log in [log.clone(), log.rooted()] {
        let bytes = log.encode_to_vec();
        let mut found = seen(&bytes);
        found.sort();
        assert_eq!(found, expected);
        let tags = protobuf::read_tags(&bytes, "anomaly").unwrap();
        assert_eq!((tags.score, tags.status, tags.level), (0.7, Some(Status::Pending), Level::Medium));
        assert_eq!((tags.template_id, tags.similarity), (TemplateId(0xabc), Some(0.0)));
        assert_eq!(protobuf::read_tag(&bytes), Some(&b"app"[..]));
        assert_eq!(protobuf::read_marker(&bytes), None);
    }
}

#[test]
fn a_log_whose_metadata_cannot_be_written_says_its_tag_itself() {
    let log = Log::new([("_oddline_tag", text("lua"))], []);
    assert_eq!(protobuf::read_tag(&log.encode_to_vec()), Some(&b"lua"[..]));
    let both = Log::new([("_oddline_tag", text("lua"))], [("oddline", map([("tag", text("vrl"))]))]);
    assert_eq!(protobuf::read_tag(&both.encode_to_vec()), Some(&b"vrl"[..]));
    assert_eq!(protobuf::read_tag(&Log::default().encode_to_vec()), None);
}

#[test]
fn pending_tags_give_way_to_final_ones_in_every_profile() {
    for profile in PROFILES {
        let (style, tags) = (style(profile), tags());
        for log in [pending(), pending().rooted()] {
            let edit = Edit { remove: &["anomaly"], marker: Some("m1"), ..Edit::tag(&style, &tags) };
            let done = spliced(&log, &edit);
            assert_eq!(protobuf::read_styled_tags(&done.encode_to_vec(), &style), Some(tags.clone()));
            assert_eq!(protobuf::read_marker(&done.encode_to_vec()), Some(&b"m1"[..]));
            let ours = map([("marker", text("m1")), ("tag", text("app")), ("template_id", text("x"))]);
            assert_eq!(done.meta(&["oddline"]), Some(&ours));
            assert_eq!(done.metadata.as_ref().unwrap().at(&["oddline"]), Some(&ours), "for older readers");
            // All else is as it was.
            assert_eq!(done.meta(&["vector"]), log.meta(&["vector"]));
            let (full, was) = (done.metadata_full.clone().unwrap(), log.metadata_full.clone().unwrap());
            assert_eq!((full.secrets, full.source_event_id), (was.secrets, was.source_event_id));
            for key in ["message", "n", "timestamp"] {
                assert_eq!(done.root().at(&[key]), log.root().at(&[key]));
            }
            assert_eq!(done.root().at(&["anomaly"]).is_some(), profile == Profile::Nested);
        }
    }
}

#[test]
fn what_poses_as_ours_is_moved_and_its_value_kept() {
    let log = Log::new(
        [
            ("anomaly", text("mine")),
            ("anomaly_original", integer(1)),
            ("_oddline", truth()),
            ("", text("no key")),
        ],
        [],
    );
    for log in [log.clone(), log.rooted()] {
        let done = spliced(&log, &Edit::tag(&style(Profile::Nested), &tags())).root();
        assert_eq!(done.at(&["anomaly_original_2"]), Some(&text("mine")));
        assert_eq!(done.at(&["anomaly_original"]), Some(&integer(1)));
        assert_eq!(done.at(&["_oddline_original"]), Some(&truth()));
        assert_eq!(done.at(&["anomaly", "status"]), Some(&text("confirmed")));
        assert_eq!(done.at(&[""]), Some(&text("no key")));
    }
}

#[test]
fn a_marker_finds_its_place_in_whatever_metadata_there_is() {
    let edit =
        |log: &Log| spliced(log, &Edit { marker: Some("m1"), ..Edit::tag(&style(Profile::Nested), &tags()) });
    let none = Log { metadata: None, metadata_full: None, ..pending() };
    assert_eq!(edit(&none).meta(&["oddline", "marker"]), Some(&text("m1")));
    let old = Log { metadata_full: None, ..pending() };
    assert_eq!(edit(&old).meta(&["vector"]), pending().meta(&["vector"]), "the old one's content went along");
    let mut odd = pending();
    odd.metadata_full.as_mut().unwrap().value = Some(map([("oddline", text("no map"))]));
    assert_eq!(edit(&odd).meta(&["oddline"]), Some(&map([("marker", text("m1"))])));
    odd.metadata_full.as_mut().unwrap().value = None;
    assert_eq!(edit(&odd).meta(&["oddline"]), Some(&map([("marker", text("m1"))])));
    // Metadata that is no map at all is nothing that can be edited.
    odd.metadata_full.as_mut().unwrap().value = Some(truth());
    let mut out = b"before".to_vec();
    protobuf::splice(&odd.encode_to_vec(), &Edit::tag(&style(Profile::Nested), &tags()), &mut out)
        .unwrap_err();
    assert_eq!(out, b"before");
}

#[test]
fn another_tag_and_companions() {
    let bytes = pending().encode_to_vec();
    let mut out = Vec::new();
    protobuf::retag(&bytes, b"oddline.loop.app", &mut out).unwrap();
    let mut expected = pending();
    let loops = |value: &mut Value| {
        let Some(Kind::Map(map)) = &mut value.kind else { panic!("no map") };
        let Some(Kind::Map(ours)) = &mut map.fields.get_mut("oddline").unwrap().kind else {
            panic!("no map")
        };
        ours.fields.insert("tag".into(), text("oddline.loop.app"));
    };
    loops(expected.metadata.as_mut().unwrap());
    loops(expected.metadata_full.as_mut().unwrap().value.as_mut().unwrap());
    assert_eq!(Log::decode(&*out).unwrap(), expected);

    for log in [pending(), pending().rooted()] {
        let mut out = Vec::new();
        let style = style(Profile::Nested);
        protobuf::companion(&log.encode_to_vec(), &style, &tags(), [b"oddline.verdict.", b"app"], &mut out);
        assert_eq!(protobuf::read_tags(&out, "anomaly"), Some(tags()));
        let companion = Log::decode(&*out).unwrap();
        let time = log.root().at(&["timestamp"]).cloned().unwrap();
        let reference =
            map([("template_id", text("0000000000000abc")), ("tag", text("app")), ("time", time.clone())]);
        assert_eq!(companion.root().at(&["oddline_reference"]), Some(&reference));
        assert_eq!(companion.root().at(&["timestamp"]), Some(&time));
        assert_eq!(companion.meta(&["oddline", "tag"]), Some(&text("oddline.verdict.app")));
        assert_eq!(companion.root().at(&["message"]), None);
    }
}

#[test]
fn what_is_no_map_is_unreadable() {
    let string = Log { value: Some(text("just text")), ..pending() }.encode_to_vec();
    let twice = [pending().rooted().encode_to_vec(), pending().rooted().encode_to_vec()].concat();
    for log in [string, twice, b"\xff".to_vec(), b"\x0a\x02\x0a\x09".to_vec(), b"\x12\x01\x08".to_vec()] {
        let mut out = b"before".to_vec();
        assert!(protobuf::walk(&log, &mut Seen::default()).is_err(), "{log:x?}");
        protobuf::splice(&log, &Edit::tag(&style(Profile::Nested), &tags()), &mut out).unwrap_err();
        assert_eq!(out, b"before");
    }
}

#[test]
fn every_cut_is_unreadable_or_whole_and_never_panics() {
    for log in [pending(), pending().rooted()] {
        let bytes = log.encode_to_vec();
        for length in 0..bytes.len() {
            let mut out = Vec::new();
            let cut = &bytes[..length];
            if protobuf::splice(cut, &Edit::tag(&style(Profile::Nested), &tags()), &mut out).is_ok() {
                Log::decode(&*out).unwrap();
            }
            let _ =
                (protobuf::read_tag(cut), protobuf::read_tags(cut, "anomaly"), protobuf::read_marker(cut));
        }
    }
}

#[test]
fn fields_and_levels_at_the_limit_one_over_and_ten_times() {
    for (count, visited) in
        [(MAX_FIELDS, MAX_FIELDS), (MAX_FIELDS + 1, MAX_FIELDS), (10 * MAX_FIELDS, MAX_FIELDS)]
    {
        let keys: Vec<String> = (0..count).map(|number| format!("k{number}")).collect();
        let log = Log::new(keys.iter().map(|key| (key.as_str(), truth())), []);
        assert_eq!(seen(&log.encode_to_vec()).len(), visited);
        assert_eq!(spliced(&log, &Edit::tag(&style(Profile::Nested), &tags())).fields.len(), count + 1);
    }
    for (levels, visited) in [(MAX_DEPTH, 1), (MAX_DEPTH + 1, 0), (10 * MAX_DEPTH, 0)] {
        // By hand, for prost itself gives up at a hundred.
        let mut value = truth().encode_to_vec();
        for _ in 1..levels {
            let entry = ValueMapEntry { key: "d".into(), value: value.clone() };
            value = RawMap { map: Some(RawEntries { entries: vec![entry] }) }.encode_to_vec();
        }
        let log = RawEntries { entries: vec![ValueMapEntry { key: "d".into(), value }] }.encode_to_vec();
        assert_eq!(seen(&log).len(), visited, "{levels}");
        let mut out = Vec::new();
        protobuf::splice(&log, &Edit::tag(&style(Profile::Nested), &tags()), &mut out).unwrap();
        assert!(out.starts_with(&log), "{levels}");
    }
}

/// Maps whose values are bytes, so that they can be as deep as one likes.
#[derive(Clone, PartialEq, Message)]
struct RawMap {
    #[prost(message, optional, tag = "7")]
    map: Option<RawEntries>,
}

#[derive(Clone, PartialEq, Message)]
struct RawEntries {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<ValueMapEntry>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueMapEntry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[test]
fn events_come_one_by_one_and_together_are_the_batch() {
    let trace = EventWrapper { event: Some(Event::Trace(Trace::default())) };
    let metric = Metric { gauge: Some(Number { value: 1.0 }), ..Metric::default() };
    let known = PushEventsRequest { events: vec![pending().event(), metric.clone().event(), trace] };
    // An event of a kind to come, an empty one, two in one, a field of the request to come, and a cut one.
    let odd = b"\x0a\x03\x22\x01x\x0a\x00\x0a\x04\x0a\x00\x12\x00\x10\x05\x0a\x7fcut";
    let batch = [&*known.encode_to_vec(), odd].concat();
    let events: Vec<_> = protobuf::events(&batch).collect();
    let (last, whole) = events.split_last().unwrap();
    let (log, metric) = (pending().encode_to_vec(), metric.encode_to_vec());
    let kinds: Vec<_> = whole.iter().map(|event| event.unwrap().kind).collect();
    let expected = [
        EventKind::Log(&log),
        EventKind::Metric(&metric),
        EventKind::Other,
        EventKind::Other,
        EventKind::Empty,
        EventKind::Broken,
        EventKind::Other,
    ];
    assert_eq!(kinds, expected);
    assert_eq!(last.unwrap_err(), b"\x0a\x7fcut");
    let raw: Vec<_> = whole.iter().flat_map(|event| event.unwrap().raw).copied().collect();
    assert_eq!([raw, b"\x0a\x7fcut".to_vec()].concat(), batch);
}

#[test]
fn an_event_keeps_what_stands_beside_its_log() {
    let log = pending().encode_to_vec();
    let inner = [b"\x22\x01x", &*PushEventsRequest { events: vec![] }.encode_to_vec()].concat();
    let mut event = inner.clone();
    prost::encoding::bytes::encode(1, &log, &mut event);
    let mut batch = Vec::new();
    prost::encoding::bytes::encode(1, &event, &mut batch);
    let mut out = Vec::new();
    protobuf::events(&batch).next().unwrap().unwrap().with_log(b"", &mut out);
    assert_eq!(out, b"\x0a\x05\x0a\x00\x22\x01x");
}

#[test]
fn counts_are_read_and_nothing_else_is_taken_for_one() {
    let read = |metric: &Metric| protobuf::read_count(&metric.encode_to_vec());
    let of = |count, rule_hits| {
        let (id, source) = (TemplateId(0xabc), "app".to_owned());
        Some(Count::Of(TemplateCount { id, text: String::new(), source, count, rule_hits }))
    };
    let count = Metric::count("0000000000000abc", "app", 12.0);
    assert_eq!(read(&count), of(12, 0));
    assert_eq!(read(&Metric { tags_v1: [].into(), ..count.clone() }), of(12, 0));
    assert_eq!(read(&Metric { tags_v2: [].into(), ..count.clone() }), of(12, 0));
    let mut hit = count.clone();
    hit.tags_v1.insert("rule_hit".into(), "1".into());
    assert_eq!(read(&hit), of(12, 12));
    for other in [
        Metric { namespace: String::new(), ..count.clone() },
        Metric { name: "records".into(), ..count.clone() },
        Metric::default(),
    ] {
        assert_eq!(read(&other), None);
    }
    for odd in [
        Metric { kind: 1, ..count.clone() },
        Metric { counter: None, gauge: Some(Number { value: 1.0 }), ..count.clone() },
        Metric { counter: Some(Number { value: -1.0 }), ..count.clone() },
        Metric { counter: Some(Number { value: f64::NAN }), ..count.clone() },
        Metric { counter: Some(Number { value: 1e300 }), ..count.clone() },
        Metric::count("abc", "app", 1.0),
        Metric { tags_v1: [].into(), tags_v2: [].into(), ..count },
    ] {
        assert_eq!(read(&odd), Some(Count::Unread), "{odd:?}");
    }
}
