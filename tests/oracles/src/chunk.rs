//! A chunk of Fluent Bit's events through the native shell: rmpv reads what came and what went, and finds no difference but
//! our keys. What is no event, and all behind it, passes as it came.

use oddline_codec::{MARKER_KEY, TagStyle, msgpack};
use oddline_engine::Status;
use rmpv::ValueRef;

use crate::{
    native::Filter,
    setup::{NOW, TAG, plugin},
    tags::{is_moved, is_readable},
};

/// Filters a chunk, and what comes of it once more.
pub fn check(data: &[u8]) {
    let Some((choice, chunk)) = data.split_first() else { return };
    let plugin = plugin(*choice);
    let (style, pending) = (plugin.style().clone(), plugin.pending_style().clone());
    let mut filter = Filter::new(plugin);
    let once = filter.chunk(TAG, chunk, NOW).unwrap_or(chunk).to_vec();
    compare(chunk, &once, &style, &pending);
    let twice = filter.chunk(TAG, &once, NOW).unwrap_or(&once).to_vec();
    compare(&once, &twice, &style, &pending);
}

fn compare(mut before: &[u8], mut after: &[u8], style: &TagStyle, pending: &TagStyle) {
    while !before.is_empty() {
        let event = match Event::read(before) {
            Read::Event(event) => event,
            Read::Other => return assert_eq!(before, after, "what is no event passes as it is"),
            Read::Unsure => return,
        };
        before = &before[event.bytes..];
        after = match event.body {
            Some(body) => {
                let rest = after.strip_prefix(event.head).expect("time and metadata stay");
                let written = length(rest).expect("a record is written whole");
                let record = &rest[..written];
                // On the detour other keys are ours; what poses as the rest of them is moved on the way back.
                let is_pending = msgpack::read_tags(record, &style.key)
                    .is_some_and(|tags| tags.status == Some(Status::Pending));
                compare_record(body, record, if is_pending { pending } else { style });
                &rest[written..]
            }
            None => after.strip_prefix(event.raw).expect("what is no record passes as it is"),
        };
    }
    assert!(after.is_empty(), "nothing is added behind the last event");
}

/// One record before and after.
fn compare_record(before: &[u8], after: &[u8], style: &TagStyle) {
    let (Some(came), Some(went)) = (pairs(before), pairs(after)) else {
        panic!("a map stays a map");
    };
    let marked = came.iter().filter(|pair| pair.name == Some(MARKER_KEY.as_bytes())).count();
    if marked > 0 && went.len() + marked == came.len() {
        // It came back from the detour: the marker leaves, and nothing else changes.
        let kept = came.iter().filter(|pair| pair.name != Some(MARKER_KEY.as_bytes()));
        return assert!(kept.zip(&went).all(|(came, went)| came.raw == went.raw), "a returned record stays");
    }
    assert!(went.len() >= came.len(), "no pair is lost");
    for (came, went) in came.iter().zip(&went) {
        assert_eq!(came.value, went.value, "values stay as they came");
        match came.name.filter(|name| style.reserves(name)) {
            Some(name) => assert!(is_moved(name, went.name.expect("a text"), style), "{name:?}"),
            None => assert_eq!(came.key, went.key, "keys stay as they came"),
        }
    }
    let added = &went[came.len()..];
    assert!(added.iter().all(|pair| pair.name.is_some_and(|name| style.reserves(name))));
    assert!(is_readable(
        msgpack::read_styled_tags(after, style),
        msgpack::read_tags(after, &style.key),
        !added.is_empty(),
        style
    ));
}

struct Event<'a> {
    raw: &'a [u8],
    bytes: usize,
    head: &'a [u8],
    /// None: not a record, or one that cannot be read.
    body: Option<&'a [u8]>,
}

enum Read<'a> {
    Event(Event<'a>),
    Other,
    /// rmpv has no opinion: it reads the one byte that msgpack never uses as nil, and gives up on deep nesting.
    Unsure,
}

impl<'a> Event<'a> {
    fn read(bytes: &'a [u8]) -> Read<'a> {
        let mut rest = bytes;
        let value = match rmpv::decode::read_value_ref(&mut rest) {
            Ok(value) => value,
            Err(rmpv::decode::Error::DepthLimitExceeded) => return Read::Unsure,
            // Up to what is missing there may be a byte that ends it earlier; both are no event.
            Err(_) => return Read::Other,
        };
        let raw = &bytes[..bytes.len() - rest.len()];
        if raw.contains(&0xc1) {
            return Read::Unsure;
        }
        let ValueRef::Array(parts) = value else { return Read::Other };
        let [head, body] = &parts[..] else { return Read::Other };
        let time = match head {
            ValueRef::Array(inner) => match &inner[..] {
                [time, _metadata] => time,
                _ => return Read::Other,
            },
            time => time,
        };
        let is_marker = match time {
            ValueRef::Integer(seconds) => seconds.as_i64().is_some_and(|it| it == -1 || it == -2),
            ValueRef::F32(seconds) => is_group(f64::from(*seconds)),
            ValueRef::F64(seconds) => is_group(*seconds),
            ValueRef::Ext(0, bytes) if bytes.len() == 8 => {
                matches!(bytes[..4], [0xff, 0xff, 0xff, 0xfe..=0xff])
            }
            _ => return Read::Other,
        };
        let inner = array_head(raw).expect("it is an array");
        let head = &raw[..inner + length(&raw[inner..]).expect("read before")];
        let is_record = !is_marker && matches!(body, ValueRef::Map(_));
        let body = is_record.then(|| &raw[head.len()..]);
        Read::Event(Event { raw, bytes: raw.len(), head, body })
    }
}

fn is_group(seconds: f64) -> bool {
    (-2.0..0.0).contains(&seconds)
}

/// Bytes of an array's own head.
fn array_head(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        0x90..=0x9f => Some(1),
        0xdc => Some(3),
        0xdd => Some(5),
        _ => None,
    }
}

/// Bytes of the value that comes first.
fn length(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    rmpv::decode::read_value_ref(&mut rest).ok().map(|_| bytes.len() - rest.len())
}

struct Pair<'a> {
    raw: &'a [u8],
    key: &'a [u8],
    /// The key's text, if it is one.
    name: Option<&'a [u8]>,
    value: &'a [u8],
}

fn pairs(map: &[u8]) -> Option<Vec<Pair<'_>>> {
    let (count, head) = match *map {
        [short @ 0x80..=0x8f, ..] => (u32::from(short & 15), 1),
        [0xde, a, b, ..] => (u32::from_be_bytes([0, 0, a, b]), 3),
        [0xdf, a, b, c, d, ..] => (u32::from_be_bytes([a, b, c, d]), 5),
        _ => return None,
    };
    let mut rest = &map[head..];
    let mut pairs = Vec::new();
    for _ in 0..count {
        let start = rest;
        let text = match rmpv::decode::read_value_ref(&mut rest).ok()? {
            ValueRef::String(text) => Some(text.as_bytes().len()),
            ValueRef::Binary(bytes) => Some(bytes.len()),
            _ => None,
        };
        let key = &start[..start.len() - rest.len()];
        let name = text.map(|length| &key[key.len() - length..]);
        let value = &rest[..length(rest)?];
        rest = &rest[value.len()..];
        pairs.push(Pair { raw: &start[..key.len() + value.len()], key, name, value });
    }
    assert!(rest.is_empty(), "a record ends with its last pair");
    Some(pairs)
}
