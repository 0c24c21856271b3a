//! Vector's events in protobuf, as the sidecar's gRPC listener gets them: prost reads what we call sound, an edit of a log
//! changes our keys and nothing else, and the events of a batch are all of its bytes.

use oddline_codec::{Edit, TagStyle, Tags, protobuf};
use oddline_engine::{Level, Status, TemplateId, Verdict};
use prost::Message;

use crate::{
    setup::plugin,
    value::Lines,
    vector_event::{Kind, Log, PushEventsRequest, Value},
};

/// The first byte says how tags are written, and whether the rest is a batch or one log.
pub fn check(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let style = plugin(*choice).style().clone();
    batch(bytes, &style);
    log(bytes, &style);
    // As one event's log: most batches that are made at random hold nothing.
    batch(&alone(bytes), &style);
}

fn batch(bytes: &[u8], style: &TagStyle) {
    let mut length = 0;
    for event in protobuf::events(bytes) {
        let Ok(event) = event else {
            length = bytes.len();
            break;
        };
        length += event.raw.len();
        let readable = PushEventsRequest::decode(event.raw);
        assert!(!event.is_sound() || readable.is_ok(), "what we call sound is read: {:x?}", event.raw);
        match event.kind {
            protobuf::EventKind::Log(inner) => {
                log(inner, style);
                let mut again = Vec::new();
                event.with_log(inner, &mut again);
                if event.is_sound() {
                    assert_eq!(PushEventsRequest::decode(&*again).ok(), readable.ok(), "the same log again");
                }
            }
            protobuf::EventKind::Metric(metric) => {
                protobuf::read_count(metric);
                protobuf::read_summary(metric);
            }
            _ => {}
        }
    }
    assert_eq!(length, bytes.len(), "a batch is its events");
}

fn log(bytes: &[u8], style: &TagStyle) {
    let verdict = Verdict {
        score: 0.75,
        level: Level::Medium,
        template_id: TemplateId(7),
        status: Some(Status::Cleared),
        reason: Some("new".to_owned()),
        ..Verdict::default()
    };
    let tags = Tags::of(&verdict, &"m".into());
    let mut lines = Lines::default();
    let walked = protobuf::walk(bytes, &mut lines).is_ok();
    let (mut out, mut retagged, mut companion) = (Vec::new(), Vec::new(), Vec::new());
    let edit = Edit { marker: Some("mark"), ..Edit::tag(style, &tags) };
    let spliced = protobuf::splice(bytes, &edit, &mut out).is_ok();
    let has_tag = protobuf::retag(bytes, b"route", &mut retagged).is_ok();
    protobuf::companion(bytes, style, &tags, [b"a", b"b"], &mut companion);
    protobuf::read_summary(bytes);
    // Only what prost reads can be compared; whether it does is asked of the whole event.
    let Ok(came) = Log::decode(bytes) else { return };
    if !spliced {
        return assert!(out.is_empty(), "nothing is written for what cannot be read");
    }
    assert!(walked || !is_sound(bytes), "what is sound can be read");
    if !is_sound(bytes) {
        return;
    }
    let went = Log::decode(&*out).expect("a sound log stays one");
    assert!(is_sound(&out) || !is_flat(&came), "a sound log stays sound");
    let read = protobuf::read_styled_tags(&out, style).expect("tags that can be read back");
    let said = |tags: &Tags| (tags.score, tags.level, tags.template_id, tags.status, tags.reason.clone());
    assert_eq!(said(&read), said(&tags));
    let (came, went) = (fields(came.root()), fields(went.root()));
    for (key, value) in &came {
        let kept = style.reserves(key.as_bytes()) || went.get(key) == Some(value);
        assert!(kept || has_nan(value), "{key}: {value:?} became {:?}", went.get(key));
    }
    assert!(went.len() > came.len());
    if has_tag && is_sound(&retagged) {
        assert_eq!(protobuf::read_tag(&retagged), Some(&b"route"[..]));
    }
}

fn is_sound(log: &[u8]) -> bool {
    protobuf::events(&alone(log)).all(|event| event.is_ok_and(|event| event.is_sound()))
}

/// A batch of one event, which is this log.
fn alone(log: &[u8]) -> Vec<u8> {
    let (mut event, mut batch) = (Vec::new(), Vec::new());
    prost::encoding::bytes::encode(1, &log.to_vec(), &mut event);
    prost::encoding::bytes::encode(1, &event, &mut batch);
    batch
}

/// Tags lie two messages deep: in a log that is as deep as may be they are still in the first level.
fn is_flat(log: &Log) -> bool {
    log.value.is_none()
}

fn fields(root: Value) -> std::collections::BTreeMap<String, Value> {
    match root.kind {
        Some(Kind::Map(map)) => map.fields,
        _ => std::collections::BTreeMap::new(),
    }
}

/// Not a number is not even equal to itself.
fn has_nan(value: &Value) -> bool {
    match &value.kind {
        Some(Kind::Float(number)) => number.is_nan(),
        Some(Kind::Map(map)) => map.fields.values().any(has_nan),
        Some(Kind::Array(array)) => array.items.iter().any(has_nan),
        _ => false,
    }
}
