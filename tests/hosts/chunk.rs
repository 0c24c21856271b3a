//! Chunks of msgpack events as Fluent Bit makes them, and what can be told of a filtered one.
#![allow(dead_code, reason = "every test uses the part it needs")]

use oddline_codec::msgpack::{self, EventKind};
use serde_json::Value;

/// An event `[[time, metadata], body]` of the present format.
pub(crate) fn event(seconds: u32, metadata: &[u8], body: &[u8]) -> Vec<u8> {
    [&b"\x92\x92\xd7\x00"[..], &seconds.to_be_bytes(), &[0; 4], metadata, body].concat()
}

/// A record with one field `log`, as tail makes it.
pub(crate) fn line(line: &[u8]) -> Vec<u8> {
    let mut body = b"\x81\xa3log\xdb".to_vec();
    body.extend_from_slice(&u32::try_from(line.len()).unwrap().to_be_bytes());
    body.extend_from_slice(line);
    event(1_700_000_000, b"\x80", &body)
}

/// A chunk of such records.
pub(crate) fn lines<'l>(texts: impl IntoIterator<Item = &'l str>) -> Vec<u8> {
    texts.into_iter().flat_map(|text| line(text.as_bytes())).collect()
}

/// The log records of a chunk, as JSON values.
pub(crate) fn records(chunk: &[u8]) -> Vec<Value> {
    let events = msgpack::events(chunk).map(|event| event.expect("a whole event"));
    events
        .filter(|event| event.kind == EventKind::Log)
        .map(|event| rmp_serde::from_slice(event.body).expect("a readable body"))
        .collect()
}
