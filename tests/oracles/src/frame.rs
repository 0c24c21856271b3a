//! Forward frames, as the sidecar's listener gets them: where a value ends must be told alike whether it comes whole or in
//! pieces, and as rmpv tells it; limits hold; what is packed comes out as it went in.

use std::io::Write as _;

use oddline_codec::msgpack;
use oddline_ingest::{
    Limits,
    forward::{
        expand::{bound, expand},
        frame::{Compression, Entries, Frame, MAX_CHUNK_BYTES, MAX_TAG_BYTES, packed, read_ack, write_ack},
        value::{Scanner, ValueError},
    },
};

/// Longest value in this check.
const LIMIT: usize = 1 << 16;

/// The first byte says in what pieces the frame comes, and how its content is packed.
pub fn check(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let whole = Scanner::new(LIMIT).advance(bytes);
    let mut pieces = Scanner::new(LIMIT);
    let step = usize::from(choice >> 2) + 1;
    let ends = (0..bytes.len()).step_by(step).chain([bytes.len()]);
    let told = ends.map(|end| pieces.advance(&bytes[..end])).find(|told| !matches!(told, Ok(None)));
    assert_eq!(told.unwrap_or(Ok(None)), whole, "in pieces of {step} as in one");
    second_opinion(bytes, &whole);
    if let Ok(frame) = Frame::parse(bytes) {
        received(&frame);
    }
    if let Ok(chunk) = read_ack(bytes) {
        assert_eq!(read_ack(&write_ack(chunk)), Ok(chunk));
    }
    sent(*choice, bytes);
}

fn second_opinion(bytes: &[u8], ours: &Result<Option<usize>, ValueError>) {
    let mut rest = bytes;
    match rmpv::decode::read_value_ref(&mut rest) {
        Ok(_) if !bytes[..bytes.len() - rest.len()].contains(&0xc1) => {
            let length = bytes.len() - rest.len();
            let expected =
                if length <= LIMIT { Ok(Some(length)) } else { Err(ValueError::TooLarge { limit: LIMIT }) };
            assert_eq!(*ours, expected);
        }
        // It reads the byte that is never used, and does not follow deep nesting.
        Ok(_) | Err(rmpv::decode::Error::DepthLimitExceeded) => {}
        Err(_) => assert!(!matches!(ours, Ok(Some(_))), "{ours:?}"),
    }
}

fn received(frame: &Frame<'_>) {
    let limits = Limits { frame_bytes: LIMIT, expanded_bytes: LIMIT, ..Limits::default() };
    assert!(frame.tag.len() <= MAX_TAG_BYTES);
    assert!(frame.chunk.is_none_or(|chunk| chunk.len() <= MAX_CHUNK_BYTES));
    match &frame.entries {
        Entries::Plain(events) => whole(events),
        Entries::Compressed(kind, data) => match expand(*kind, data, &limits) {
            Ok(events) => {
                assert!(events.len() <= bound(data.len(), &limits).0);
                whole(&events);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        },
    }
}

/// Events and the rest that is none are all there is.
fn whole(events: &[u8]) {
    let mut read = 0;
    for event in msgpack::events(events) {
        match event {
            Ok(event) => read += event.raw.len(),
            Err(malformed) => return assert_eq!(malformed.offset, read),
        }
    }
    assert_eq!(read, events.len());
}

/// Any bytes as the content of a frame.
fn sent(choice: u8, content: &[u8]) {
    let (head, tail) = packed(b"app", content.len(), 1, "id");
    let frame = [&head, content, &tail].concat();
    let expected = Frame { tag: b"app", entries: Entries::Plain(content.into()), chunk: Some(b"id") };
    assert_eq!(Frame::parse(&frame), Ok(expected));
    let (kind, data) = match choice & 3 {
        0 => (Compression::Gzip, gzip(content)),
        1 => (Compression::Zstd, zstd::encode_all(content, 1).expect("into memory")),
        _ => return,
    };
    let limits = Limits { expansion_ratio: 1_000_000, expanded_bytes: LIMIT, ..Limits::default() };
    match expand(kind, &data, &limits) {
        Ok(out) => assert_eq!(out, content),
        Err(_) => assert!(content.len() > LIMIT),
    }
    // One byte less is refused, whatever it is.
    assert!(expand(kind, &data[..data.len() - 1], &limits).is_err());
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).and_then(|()| encoder.finish()).expect("into memory")
}
