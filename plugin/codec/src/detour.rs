//! What an event may be to take the detour through Vector: gives the limits, the words for an event that is beyond them, and
//! what a text takes. Must not know: how a shell counts, what a verdict means.

/// Deepest level of objects and lists in an event that takes the detour; its own fields are level 1. The same for its metadata.
///
/// Vector's sink and its disk buffer discard an event that costs more than 96 frames of their reader: each object on the way
/// down costs three, each list two, a time at the bottom one more (0.58, `lib/vector-core/src/event/ser.rs`). A field that makes
/// way for ours may come to lie in a list, so 96 have room for 31 objects.
pub const MAX_LEVELS: usize = 31;

/// Largest event that takes the detour, in bytes of JSON, with its metadata twice.
///
/// The sidecar refuses a request of more than 8 MiB. Vector never divides an event, so one that is too large for a request would be
/// sent again for ever, and hold up all others. Over HTTP the text itself is sent, escapes and all. Over gRPC nothing takes
/// more than 13 bytes for three of JSON, which `-1,` in a list does, and metadata is sent twice. Our tags fit into what is left.
pub const MAX_BYTES: usize = 1_900_000;

/// What keeps an event from the detour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It goes deeper than [`MAX_LEVELS`].
    TooDeep,
    /// It takes more than [`MAX_BYTES`].
    TooLarge,
}

impl Obstacle {
    /// What the reason of a flagged event says of it.
    pub fn words(self) -> &'static str {
        match self {
            Obstacle::TooDeep => "too deep for the detour, judged in the plugin alone",
            Obstacle::TooLarge => "too large for the detour, judged in the plugin alone",
        }
    }
}

/// Bytes of a text in JSON, without its quotes. What is no UTF-8 is written as U+FFFD.
pub fn json_bytes(text: &[u8]) -> usize {
    let written = |byte: u8| match byte {
        b'"' | b'\\' | b'\x08' | b'\t' | b'\n' | b'\x0c' | b'\r' => 2,
        control if control < b' ' => 6,
        _ => 1usize,
    };
    let lost = |invalid: &[u8]| if invalid.is_empty() { 0 } else { char::REPLACEMENT_CHARACTER.len_utf8() };
    text.utf8_chunks()
        .map(|chunk| {
            let valid: usize = chunk.valid().bytes().map(written).sum();
            valid.saturating_add(lost(chunk.invalid()))
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_leave_room_for_what_is_added_on_the_way() {
        // The deepest objects, one list more (two), and a time (one).
        const { assert!(3 * MAX_LEVELS <= 96 - 3) };
        // The worst that JSON can become, tags and a reason.
        const { assert!(MAX_BYTES / 3 * 13 + (64 << 10) < (8 << 20)) };
    }

    #[test]
    fn a_text_counts_as_serde_json_writes_it() {
        for text in [
            &b""[..],
            b"plain",
            b"\"quoted\" \\ \n\t\r\x08\x0c",
            b"\0\x1f\x7f",
            "é日😀\u{fffd}".as_bytes(),
            b"B\xfcro \xff\xfe \xe2\x82",
        ] {
            let written = serde_json::to_string(&String::from_utf8_lossy(text)).unwrap();
            assert_eq!(json_bytes(text) + 2, written.len(), "{}", text.escape_ascii());
        }
    }
}
