//! One Forward frame: takes its bytes, gives tag, entries and options. Pure; knows nothing of sockets or records.
//!
//! The four modes differ only in how entries are wrapped, so all of them end as the same thing: msgpack events one
//! after the other, borrowed from the frame where they lie there.

use std::borrow::Cow;

use super::value::{Kind, Reader, ValueError};

/// Longest tag.
pub const MAX_TAG_BYTES: usize = 1 << 10;
/// Longest chunk id.
pub const MAX_CHUNK_BYTES: usize = 256;

/// Why a frame is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not msgpack, cut short, or another shape than a Forward message.
    #[error("frame is not a forward message: {0}")]
    Value(#[from] ValueError),
    /// Too short or too long an array.
    #[error("frame is an array of {0} values, not of 2 to 4")]
    Length(u32),
    /// A field is longer than allowed.
    #[error("{field} has {bytes} bytes, more than the limit of {limit}")]
    TooLong {
        /// Which.
        field: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A `compressed` option that is not known here.
    #[error("option `compressed` is `{0}`; supported: gzip, zstd, text")]
    Compression(String),
    /// Metrics or traces.
    #[error(
        "option `fluent_signal` is {0}; only logs (0) are taken here, route metrics and traces elsewhere"
    )]
    Signal(i64),
}

/// How entries are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// One or more gzip members.
    Gzip,
    /// One or more zstd frames.
    Zstd,
}

/// Entries of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entries<'a> {
    /// msgpack events one after the other.
    Plain(Cow<'a, [u8]>),
    /// The same, compressed.
    Compressed(Compression, &'a [u8]),
}

/// One Forward message in any of its modes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its tag.
    pub tag: &'a [u8],
    /// What it carries.
    pub entries: Entries<'a>,
    /// The chunk id that the sender wants acknowledged.
    pub chunk: Option<&'a [u8]>,
}

#[derive(Default)]
struct Options<'a> {
    chunk: Option<&'a [u8]>,
    compressed: Option<&'a [u8]>,
    metadata: Option<&'a [u8]>,
}

impl Entries<'_> {
    /// Their bytes as they came.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Entries::Plain(events) => events,
            Entries::Compressed(_, data) => data,
        }
    }
}

impl<'a> Frame<'a> {
    /// Reads a frame that is there as a whole.
    ///
    /// # Errors
    /// If it is no Forward message of logs, or a field is over its limit.
    pub fn parse(bytes: &'a [u8]) -> Result<Frame<'a>, FrameError> {
        let mut reader = Reader::new(bytes);
        let length = reader.array()?;
        if !(2..=4).contains(&length) {
            return Err(FrameError::Length(length));
        }
        let tag = at_most("tag", reader.text()?, MAX_TAG_BYTES)?;
        match reader.peek()? {
            Kind::Array(count) => {
                reader.array()?;
                let start = reader.rest();
                for _ in 0..count {
                    reader.any()?;
                }
                let events = start.get(..start.len() - reader.rest().len()).unwrap_or_default();
                let options = Options::read(&mut reader, length, 3)?;
                Ok(Frame { tag, entries: Entries::Plain(events.into()), chunk: options.chunk })
            }
            Kind::Text => {
                let events = reader.text()?;
                let options = Options::read(&mut reader, length, 3)?;
                let entries = match options.compressed {
                    None | Some(b"text" | b"") => Entries::Plain(events.into()),
                    Some(name) => Entries::Compressed(compression(name, events)?, events),
                };
                Ok(Frame { tag, entries, chunk: options.chunk })
            }
            Kind::Int(_) | Kind::Ext | Kind::Float if length > 2 => {
                let (time, body) = (reader.any()?, reader.any()?);
                let options = Options::read(&mut reader, length, 4)?;
                let head: &[&[u8]] = match options.metadata {
                    // What Fluent Bit keeps beside the record travels in the option map in this mode.
                    Some(metadata) => &[b"\x92\x92", time, metadata],
                    None => &[b"\x92", time],
                };
                let event = [head.concat().as_slice(), body].concat();
                Ok(Frame { tag, entries: Entries::Plain(event.into()), chunk: options.chunk })
            }
            _ => Err(reader.unexpected().into()),
        }
    }
}

impl<'a> Options<'a> {
    /// Reads the option map, if the frame is long enough to have one. Old senders write nil.
    fn read(reader: &mut Reader<'a>, length: u32, place: u32) -> Result<Self, FrameError> {
        let mut options = Options::default();
        if length < place || reader.peek()? == Kind::Nil {
            return Ok(options);
        }
        for _ in 0..reader.map()? {
            let Kind::Text = reader.peek()? else {
                reader.any()?;
                reader.any()?;
                continue;
            };
            match (reader.text()?, reader.peek()?) {
                (b"chunk", Kind::Text) => {
                    options.chunk = Some(at_most("option `chunk`", reader.text()?, MAX_CHUNK_BYTES)?)
                }
                (b"compressed", Kind::Text) => options.compressed = Some(reader.text()?),
                (b"metadata", Kind::Map(_)) => options.metadata = Some(reader.any()?),
                (b"fluent_signal", Kind::Int(signal)) if signal != 0 => {
                    return Err(FrameError::Signal(signal));
                }
                // `size` is the sender's count; ours comes from the entries themselves.
                _ => {
                    reader.any()?;
                }
            }
        }
        Ok(options)
    }
}

fn at_most<'a>(field: &'static str, bytes: &'a [u8], limit: usize) -> Result<&'a [u8], FrameError> {
    if bytes.len() > limit {
        return Err(FrameError::TooLong { field, bytes: bytes.len(), limit });
    }
    Ok(bytes)
}

/// The data decides before the option: Fluent Bit has written `gzip` on zstd data.
fn compression(name: &[u8], data: &[u8]) -> Result<Compression, FrameError> {
    match (data, name) {
        ([0x1f, 0x8b, ..], b"gzip" | b"zstd") => Ok(Compression::Gzip),
        ([0x28, 0xb5, 0x2f, 0xfd, ..], b"gzip" | b"zstd") => Ok(Compression::Zstd),
        (_, b"gzip") => Ok(Compression::Gzip),
        (_, b"zstd") => Ok(Compression::Zstd),
        _ => Err(FrameError::Compression(String::from_utf8_lossy(name).chars().take(40).collect())),
    }
}

/// What stands before and after the events of a PackedForward frame that is to be acknowledged. The events themselves
/// are not copied.
pub fn packed(tag: &[u8], event_bytes: usize, records: usize, chunk: &str) -> (Vec<u8>, Vec<u8>) {
    // Writing to a Vec cannot fail; lengths are far below 4 GiB by `Limits::frame_bytes`.
    let mut head = vec![0x93];
    put_text(&mut head, tag);
    let _ = rmp::encode::write_bin_len(&mut head, u32::try_from(event_bytes).unwrap_or(u32::MAX));
    let mut tail = vec![0x83];
    put_text(&mut tail, b"chunk");
    put_text(&mut tail, chunk.as_bytes());
    put_text(&mut tail, b"size");
    let _ = rmp::encode::write_uint(&mut tail, records as u64);
    put_text(&mut tail, b"fluent_signal");
    tail.push(0);
    (head, tail)
}

/// Writes an acknowledgement.
pub fn write_ack(chunk: &[u8]) -> Vec<u8> {
    let mut out = vec![0x81];
    put_text(&mut out, b"ack");
    put_text(&mut out, chunk);
    out
}

/// Reads an acknowledgement; the chunk id it names.
///
/// # Errors
/// If it is not a map with a text under `ack`.
pub fn read_ack(bytes: &[u8]) -> Result<&[u8], ValueError> {
    let mut reader = Reader::new(bytes);
    for _ in 0..reader.map()? {
        if reader.text()? == b"ack" {
            return reader.text();
        }
        reader.any()?;
    }
    Err(reader.unexpected())
}

/// Writes bytes as a msgpack string: they are what came, valid UTF-8 or not.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let _ = rmp::encode::write_str_len(out, u32::try_from(text.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(text);
}

/// Writes bytes as msgpack binary.
pub(crate) fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let _ = rmp::encode::write_bin_len(out, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVENT: &[u8] = b"\x92\xd7\x00\0\0\0\x01\0\0\0\x02\x81\xa1a\x01";

    fn plain(frame: &[u8]) -> (Vec<u8>, Vec<u8>, Option<Vec<u8>>) {
        match Frame::parse(frame).unwrap() {
            Frame { tag, entries: Entries::Plain(events), chunk } => {
                (tag.to_vec(), events.to_vec(), chunk.map(Into::into))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_mode_becomes_the_same_events() {
        let option: &[u8] = b"\x82\xa4size\x01\xa5chunk\xa2id";
        let expected = (b"app".to_vec(), EVENT.to_vec(), Some(b"id".to_vec()));
        let message = [b"\x94\xa3app", &EVENT[1..], option].concat();
        let forward = [b"\x93\xa3app\x91", EVENT, option].concat();
        let binary = [&b"\x93\xa3app\xc4"[..], &[EVENT.len() as u8], EVENT, option].concat();
        let as_text = [&b"\x93\xa3app\xb0"[..], EVENT, b"\xc0", option].concat();
        assert_eq!(plain(&message), expected);
        assert_eq!(plain(&forward), expected);
        assert_eq!(plain(&binary), expected);
        assert_eq!(EVENT.len(), 15);
        assert_eq!(plain(&as_text).1, [EVENT, b"\xc0"].concat());
        // No options, and the nil that old senders write.
        assert_eq!(plain(&[b"\x93\xa3app", &EVENT[1..]].concat()), (b"app".to_vec(), EVENT.to_vec(), None));
        assert_eq!(plain(&[b"\x93\xa3app\x91", EVENT, b"\xc0"].concat()).2, None);
        let (head, tail) = packed(b"app", EVENT.len(), 1, "id");
        assert_eq!(plain(&[head.as_slice(), EVENT, &tail].concat()), expected);
    }

    #[test]
    fn message_mode_keeps_metadata() {
        let frame = [b"\x94\xa3app", &EVENT[1..], b"\x81\xa8metadata\x81\xa1m\x07"].concat();
        let (_, events, _) = plain(&frame);
        assert_eq!(events, [b"\x92\x92", &EVENT[1..11], b"\x81\xa1m\x07", &EVENT[11..]].concat());
    }

    #[test]
    fn refuses_by_name() {
        let check =
            |frame: &[u8], expected: &str| assert_eq!(Frame::parse(frame).unwrap_err().to_string(), expected);
        check(b"\x91\xa1a", "frame is an array of 1 values, not of 2 to 4");
        check(b"\x95\xa1a", "frame is an array of 5 values, not of 2 to 4");
        check(
            b"\x81\xa1a\x01",
            "frame is not a forward message: byte 0 is not the msgpack value that belongs there",
        );
        check(
            b"\x93\xa1a\xa0\x81\xaacompressed\xa6snappy",
            "option `compressed` is `snappy`; supported: gzip, zstd, text",
        );
        check(
            b"\x93\xa1a\xa0\x81\xadfluent_signal\x01",
            "option `fluent_signal` is 1; only logs (0) are taken here, route metrics and traces elsewhere",
        );
        let tag = |length: usize| {
            [&[0x92, 0xda], &(length as u16).to_be_bytes()[..], &vec![b't'; length], b"\xa0"].concat()
        };
        Frame::parse(&tag(1_024)).unwrap();
        check(&tag(1_025), "tag has 1025 bytes, more than the limit of 1024");
        check(&tag(10_240), "tag has 10240 bytes, more than the limit of 1024");
    }

    #[test]
    fn data_decides_about_compression() {
        let frame = |data: &[u8]| [b"\x93\xa1a\xa4", data, b"\x81\xaacompressed\xa4gzip"].concat();
        let kind = |data: &[u8]| match Frame::parse(&frame(data)).unwrap().entries {
            Entries::Compressed(kind, _) => kind,
            Entries::Plain(_) => panic!("plain"),
        };
        assert_eq!(kind(b"\x28\xb5\x2f\xfd"), Compression::Zstd);
        assert_eq!(kind(b"\x1f\x8b\x08\x00"), Compression::Gzip);
        assert_eq!(kind(b"none"), Compression::Gzip);
    }

    #[test]
    fn acknowledgements_are_read_as_written() {
        assert_eq!(read_ack(&write_ack(b"chunk")), Ok(&b"chunk"[..]));
        assert!(
            read_ack(b"\x81\xa3nak\x01").is_err() && read_ack(b"\x80").is_err() && read_ack(b"").is_err()
        );
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Frame::parse(&bytes);
            let _ = read_ack(&bytes);
        }

        #[test]
        fn frames_that_are_cut_or_altered_never_panic(cut in 0usize..60, place in 0usize..60, byte: u8) {
            let mut frame = [b"\x94\xa3app", &EVENT[1..], b"\x82\xa4size\x01\xa5chunk\xa2id"].concat();
            let place = place % frame.len();
            frame[place] = byte;
            frame.truncate(cut.max(1));
            let _ = Frame::parse(&frame);
        }
    }
}
