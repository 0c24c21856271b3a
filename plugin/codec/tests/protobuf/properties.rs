//! What holds for any event: it is sound where prost can read it, and an edit leaves every byte outside our keys.

use oddline_codec::{Edit, protobuf};
use oddline_engine::Profile;
use proptest::prelude::*;
use prost::Message;

use crate::{
    Seen, pending, style, tags,
    vector_event::{
        Event, EventWrapper, Kind, Log, Metadata, Metric, PushEventsRequest, Timestamp, Trace, Value,
        ValueMap, array, float, map, text, truth,
    },
};

fn is_sound(event: &EventWrapper) -> bool {
    let batch = PushEventsRequest { events: vec![event.clone()] }.encode_to_vec();
    protobuf::events(&batch).next().unwrap().unwrap().is_sound()
}

#[test]
fn only_what_vector_can_read_is_sound() {
    assert!(is_sound(&pending().event()) && is_sound(&pending().rooted().event()));
    assert!(is_sound(&Metric::count("0000000000000abc", "app", 1.0).event()));
    assert!(is_sound(&EventWrapper { event: Some(Event::Trace(Trace::default())) }));
    let with = |value: Value| Log::new([("k", value)], []).event();
    let time = |seconds, nanos| with(Value { kind: Some(Kind::Timestamp(Timestamp { seconds, nanos })) });
    assert!(is_sound(&time(-8_200_000_000_000, 0)) && is_sound(&time(8_200_000_000_000, 1_999_999_999)));
    assert!(is_sound(&with(float(f64::INFINITY))) && is_sound(&with(Value { kind: None })));
    for odd in [
        with(float(f64::NAN)),
        time(i64::MAX, 0),
        time(0, -1),
        time(0, 2_000_000_000),
        Metric { counter: None, ..Metric::count("0000000000000abc", "app", 1.0) }.event(),
    ] {
        assert!(!is_sound(&odd), "{odd:?}");
    }
    // A key that is no UTF-8, a value of another type, a cut one: each deep inside.
    for inner in [&b"\x0a\x02\x0a\x01\xff"[..], b"\x0a\x04\x12\x02\x20", b"\x0a\x04\x12\x02\x0a\x05"] {
        let mut event = Vec::new();
        prost::encoding::bytes::encode(1, &inner.to_vec(), &mut event);
        let mut batch = Vec::new();
        prost::encoding::bytes::encode(1, &event, &mut batch);
        assert!(!protobuf::events(&batch).next().unwrap().unwrap().is_sound(), "{inner:x?}");
        assert!(PushEventsRequest::decode(&*batch).is_err());
    }
}

/// Found by fuzzing: it passed as something that only a newer version knows, and took its batch along.
#[test]
fn a_number_in_the_place_of_an_event_is_not_sound() {
    for (batch, sound) in [(&b"\x08\x0d"[..], false), (b"\x10\x0d", true)] {
        let event = protobuf::events(batch).next().unwrap().unwrap();
        assert_eq!((event.raw, event.is_sound()), (batch, sound));
        assert_eq!(PushEventsRequest::decode(batch).is_ok(), sound);
    }
}

#[test]
fn nesting_is_sound_exactly_as_far_as_a_reader_follows() {
    for levels in [31, 32, 33, 34, 320] {
        let value = (0..levels).fold(truth(), |inner, _| map([("d", inner)]));
        let event = Log::new([("d", value)], []).event();
        let can_read =
            PushEventsRequest::decode(&*PushEventsRequest { events: vec![event.clone()] }.encode_to_vec());
        assert_eq!(is_sound(&event), can_read.is_ok(), "{levels}");
    }
    for items in [46, 47, 48, 49, 480] {
        let value = (0..items).fold(truth(), |inner, _| array(vec![inner]));
        let event = Log::new([("d", value)], []).event();
        let can_read =
            PushEventsRequest::decode(&*PushEventsRequest { events: vec![event.clone()] }.encode_to_vec());
        assert_eq!(is_sound(&event), can_read.is_ok(), "{items}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let time = (any::<i64>(), any::<i32>()).prop_map(|(seconds, nanos)| Timestamp { seconds, nanos });
    let leaf = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Kind::RawBytes),
        any::<i64>().prop_map(Kind::Integer),
        (-1e9..1e9).prop_map(Kind::Float),
        any::<bool>().prop_map(Kind::Boolean),
        time.prop_map(Kind::Timestamp),
        Just(Kind::Null(0)),
    ];
    let leaf = leaf.prop_map(|kind| Value { kind: Some(kind) });
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(array),
            any_map(inner).prop_map(|fields| Value { kind: Some(Kind::Map(ValueMap { fields })) }),
        ]
    })
}

fn any_map(
    value: impl Strategy<Value = Value>,
) -> impl Strategy<Value = std::collections::BTreeMap<String, Value>> {
    let key = prop_oneof![3 => "[a-z]{0,4}", 1 => Just("anomaly".to_owned()), 1 => Just("oddline".to_owned()), 1 => ".{0,3}"];
    proptest::collection::btree_map(key, value, 0..6)
}

proptest! {
    #[test]
    fn any_event_keeps_every_byte_outside_our_keys(
        fields in any_map(any_value()),
        metadata in any_map(any_value()),
        rooted: bool,
        unknown in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let log = Log { fields, ..Log::new([], []) };
        let log = if rooted { log.rooted() } else { log };
        let metadata = Value { kind: Some(Kind::Map(ValueMap { fields: metadata })) };
        let full = Metadata { value: Some(metadata), ..log.metadata_full.clone().unwrap() };
        let log = Log { metadata_full: Some(full), ..log };
        let mut bytes = log.encode_to_vec();
        prost::encoding::bytes::encode(77, &unknown, &mut bytes);
        let (style, tags) = (style(Profile::Nested), tags());
        let edit = Edit { remove: &["anomaly"], marker: Some("m1"), ..Edit::tag(&style, &tags) };
        let mut out = Vec::new();
        protobuf::splice(&bytes, &edit, &mut out).unwrap();
        let mut field = Vec::new();
        prost::encoding::bytes::encode(77, &unknown, &mut field);
        prop_assert!(out.windows(field.len()).any(|part| part == field));
        let done = Log::decode(&*out).unwrap();
        let only = |value: Value, ours: &str| {
            let Some(Kind::Map(mut map)) = value.kind else { panic!("no map") };
            map.fields.remove(ours);
            map.fields
        };
        prop_assert_eq!(only(done.root(), "anomaly"), only(log.root(), "anomaly"));
        let meta = |log: Log| only(log.metadata_full.unwrap().value.unwrap(), "oddline");
        prop_assert_eq!(meta(done.clone()), meta(log.clone()));
        let root = done.root();
        prop_assert_eq!(root.at(&["anomaly", "status"]), Some(&text("confirmed")));
        prop_assert_eq!(done.meta(&["oddline", "marker"]), Some(&text("m1")));
        // Entries that stay are the very bytes that came.
        for (key, value) in log.root().kind.into_iter().flat_map(|kind| match kind {
            Kind::Map(map) => map.fields,
            _ => Default::default(),
        }) {
            let entry = ValueMap { fields: [(key.clone(), value)].into() }.encode_to_vec();
            let is_there = out.windows(entry.len()).any(|part| part == entry);
            prop_assert!(is_there || style.reserves(key.as_bytes()), "{}", key);
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut out = Vec::new();
        let _ = protobuf::walk(&bytes, &mut Seen::default());
        let _ = protobuf::splice(&bytes, &Edit::tag(&style(Profile::Flat), &tags()), &mut out);
        let _ = protobuf::retag(&bytes, b"t", &mut out);
        let _ = (protobuf::read_tag(&bytes), protobuf::read_tags(&bytes, "a"), protobuf::read_count(&bytes));
        protobuf::companion(&bytes, &style(Profile::Nested), &tags(), [b"a", b"b"], &mut out);
        let length: usize = protobuf::events(&bytes).map(|event| event.map_or_else(<[u8]>::len, |event| event.raw.len())).sum();
        prop_assert_eq!(length, bytes.len());
        // What is sound is what prost reads, whatever it may be.
        let mut batch = Vec::new();
        prost::encoding::bytes::encode(1, &bytes, &mut batch);
        let event = protobuf::events(&batch).next().unwrap().unwrap();
        prop_assert!(!event.is_sound() || PushEventsRequest::decode(&*batch).is_ok());
    }
}
