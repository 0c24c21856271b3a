//! Takes a chunk of Fluent Bit's log events, gives them one by one, each with its head (time and metadata) and body as
//! bytes. Must not know: what a body says.

use super::cursor::{Cursor, Token};
use crate::Unreadable;

const NANOS: i64 = 1_000_000_000;

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A log record.
    Log,
    /// A group begins (OTLP resource and scope): pass it on as it is.
    GroupStart,
    /// The group ends: pass it on as it is.
    GroupEnd,
}

/// One event of a chunk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event<'a> {
    /// All of it.
    pub raw: &'a [u8],
    /// Log or group marker.
    pub kind: EventKind,
    /// Its time in nanoseconds since the Unix epoch, saturating.
    pub time_nanos: i64,
    /// All before the body: array header, time and metadata.
    pub head: &'a [u8],
    /// The record.
    pub body: &'a [u8],
}

/// From `offset` on the chunk is no sequence of events: pass the bytes from there on as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chunk is malformed from byte {offset}: {reason}")]
pub struct Malformed {
    /// Start of the first event that could not be read.
    pub offset: usize,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The events of a chunk in order. After [`Malformed`] it ends.
pub fn events(chunk: &[u8]) -> Events<'_> {
    Events { cursor: Cursor::new(chunk), is_broken: false }
}

/// See [`events`].
#[derive(Clone, Debug)]
pub struct Events<'a> {
    cursor: Cursor<'a>,
    is_broken: bool,
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<Event<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_broken || self.cursor.is_at_end() {
            return None;
        }
        let offset = self.cursor.offset();
        Some(event(&mut self.cursor).map_err(|error| {
            self.is_broken = true;
            Malformed { offset, reason: error.reason }
        }))
    }
}

fn event<'a>(cursor: &mut Cursor<'a>) -> Result<Event<'a>, Unreadable> {
    let start = cursor.offset();
    pair(cursor)?;
    // `[time, body]` as old inputs and Forward write it, `[[time, metadata], body]` since Fluent Bit 2.1.
    let mut peek = *cursor;
    let (seconds, nanos) = if matches!(peek.token()?, Token::Array(_)) {
        pair(cursor)?;
        let time = time(cursor)?;
        cursor.skip()?;
        time
    } else {
        time(cursor)?
    };
    let head = cursor.since(start);
    let body = cursor.offset();
    cursor.skip()?;
    let kind = match seconds {
        -1 => EventKind::GroupStart,
        -2 => EventKind::GroupEnd,
        _ => EventKind::Log,
    };
    let time_nanos = seconds.saturating_mul(NANOS).saturating_add(nanos);
    Ok(Event { raw: cursor.since(start), kind, time_nanos, head, body: cursor.since(body) })
}

fn pair(cursor: &mut Cursor<'_>) -> Result<(), Unreadable> {
    match cursor.token()? {
        Token::Array(2) => Ok(()),
        _ => Err(cursor.unreadable("an event is an array of two")),
    }
}

/// Seconds and nanoseconds.
fn time(cursor: &mut Cursor<'_>) -> Result<(i64, i64), Unreadable> {
    match cursor.token()? {
        Token::Ext(0, bytes) => {
            let (Some((seconds, rest)), 8) = (bytes.split_first_chunk(), bytes.len()) else {
                return Err(cursor.unreadable("a time has eight bytes"));
            };
            let nanos = rest.first_chunk().copied().map_or(0, u32::from_be_bytes);
            // Unsigned up to the year 2106, but for the two values that Fluent Bit gives its group markers.
            let seconds = match u32::from_be_bytes(*seconds) {
                u32::MAX => -1,
                0xffff_fffe => -2,
                seconds => i64::from(seconds),
            };
            Ok((seconds, i64::from(nanos)))
        }
        Token::Int(seconds) => Ok((seconds, 0)),
        Token::Big(_) => Ok((i64::MAX, 0)),
        Token::Float(seconds) => {
            let whole = seconds.floor();
            // `as` saturates, and NaN becomes 0.
            let nanos = ((seconds - whole) * NANOS as f64) as i64;
            Ok((whole as i64, nanos))
        }
        _ => Err(cursor.unreadable("the time is no time")),
    }
}

/// Writes the head of an event without metadata, `[[time, {}],`; a body must follow.
pub fn write_head(time_nanos: i64, out: &mut Vec<u8>) {
    let seconds = u32::try_from(time_nanos.div_euclid(NANOS).max(0)).unwrap_or(u32::MAX);
    // Not the two values that stand for group markers.
    let seconds = seconds.min(u32::MAX - 2);
    let nanos = u32::try_from(time_nanos.rem_euclid(NANOS)).unwrap_or_default();
    out.extend_from_slice(b"\x92\x92\xd7\x00");
    out.extend_from_slice(&seconds.to_be_bytes());
    out.extend_from_slice(&nanos.to_be_bytes());
    out.push(0x80);
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"\x81\xa3log\xa2ok";

    fn chunk(head: &[u8]) -> Vec<u8> {
        [head, BODY].concat()
    }

    fn only(chunk: &[u8]) -> Result<Event<'_>, Malformed> {
        let mut events = events(chunk);
        let event = events.next().unwrap();
        assert!(events.next().is_none());
        event
    }

    #[test]
    fn both_formats_and_every_notation_of_time() {
        let second = NANOS;
        let cases: &[(&[u8], i64)] = &[
            (b"\x92\xd7\x00\0\0\0\x02\0\0\0\x07", 2 * second + 7),
            (b"\x92\xc7\x08\x00\0\0\0\x02\0\0\0\x07", 2 * second + 7),
            (b"\x92\x92\xd7\x00\0\0\0\x02\0\0\0\x07\x80", 2 * second + 7),
            (b"\xdc\0\x02\xdd\0\0\0\x02\xd7\x00\0\0\0\x02\0\0\0\x07\x81\xa1k\x91\x01", 2 * second + 7),
            (b"\x92\xd7\x00\x80\0\0\0\0\0\0\0", (1 << 31) * second),
            (b"\x92\x05", 5 * second),
            (b"\x92\xe0", -32 * second),
            (b"\x92\xcb\x40\x04\0\0\0\0\0\0", 2 * second + second / 2),
            (b"\x92\xcf\xff\xff\xff\xff\xff\xff\xff\xff", i64::MAX),
            (b"\x92\xcb\x7f\xf8\0\0\0\0\0\0", 0),        // NaN
            (b"\x92\xcb\x7f\xf0\0\0\0\0\0\0", i64::MAX), // infinite
        ];
        for (head, time) in cases {
            let chunk = chunk(head);
            let event = only(&chunk).unwrap();
            assert_eq!((event.kind, event.time_nanos), (EventKind::Log, *time), "{head:x?}");
            assert_eq!((event.raw, event.head, event.body), (&*chunk, *head, BODY));
        }
    }

    #[test]
    fn group_markers() {
        for (head, kind) in [
            (&b"\x92\x92\xd7\x00\xff\xff\xff\xff\0\0\0\0\x80"[..], EventKind::GroupStart),
            (b"\x92\x92\xd7\x00\xff\xff\xff\xfe\0\0\0\0\x80", EventKind::GroupEnd),
            (b"\x92\x92\xff\x80", EventKind::GroupStart),
            (b"\x92\xfe", EventKind::GroupEnd),
        ] {
            assert_eq!(only(&chunk(head)).unwrap().kind, kind);
        }
    }

    #[test]
    fn the_malformed_tail_is_named_and_nothing_is_lost() {
        let good = chunk(b"\x92\x05");
        let tails: [&[u8]; 6] = [
            b"\x92\x05\x81\xa3lo",
            b"\x93\x05\x80\x80",
            b"\xc0",
            b"\x92\xa1t\x80",
            b"\x92\xd7\x01\0\0\0\0\0\0\0\0\x80",
            b"\x92\xd6\0\0\0\0\0\x80",
        ];
        for tail in tails {
            let chunk = [&*good, &*good, tail].concat();
            let read: Vec<_> = events(&chunk).collect();
            assert_eq!(read.len(), 3, "{tail:x?}");
            assert_eq!(read[1].unwrap().raw, good);
            assert_eq!(read[2].unwrap_err().offset, 2 * good.len(), "{tail:x?}");
        }
    }

    #[test]
    fn heads_that_we_write_are_read() {
        for time in [0, 1, NANOS - 1, NANOS, 1_763_000_000_123_456_789] {
            let mut bytes = Vec::new();
            write_head(time, &mut bytes);
            bytes.extend_from_slice(BODY);
            let event = only(&bytes).unwrap();
            assert_eq!((event.time_nanos, event.body), (time, BODY));
        }
        let mut bytes = Vec::new();
        write_head(i64::MAX, &mut bytes);
        bytes.extend_from_slice(BODY);
        assert_eq!(only(&bytes).unwrap().kind, EventKind::Log);
    }
}
