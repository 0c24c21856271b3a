//! What a message is apart from the values of its numbers and ids: takes a message, gives its text with a mark in the place of
//! each number, and where the numbers were. Messages with one skeleton are masked alike, so that the work done for one of them
//! serves for the next. Must not know what is remembered of a skeleton.
//!
//! A run of digits that stands by itself is one mark, which tells lengths apart only where masking does. Within a word each
//! digit is a mark of its own, because how many there are decides what the word is; so is each digit of a hexadecimal id.

use std::ops::Range;

use super::{
    ID_DIGITS, LONG_ID,
    class::{NO_HEX, WORD, class, which_are_digits},
    hex,
    number::MAX_DIGITS,
};

/// Longest message that has one, in bytes; a power of two.
pub(crate) const MAX_SKELETON_BYTES: usize = 1_024;
/// Bytes that are copied at once, and compared.
const COPIED: usize = 16;
/// Zeros before the message.
const MARGIN: usize = 8;
/// Digits of a long run.
pub(crate) const LONG_RUN: usize = 8;
/// Most of them in a message.
const MAX_LONG_RUNS: usize = MAX_SKELETON_BYTES / (LONG_RUN + 1) + 1;
/// Most hexadecimal ids in a message.
const MAX_HEX: usize = MAX_SKELETON_BYTES / (*hex::WORD_BYTES.start() + 1) + 1;
/// Most numbers that stand by themselves, and the empty one.
const MAX_NUMBERS: usize = MAX_SKELETON_BYTES / 2 + 2;
/// Bytes of which digits are found at once.
const WORD_BYTES: usize = 64;

/// A digit within a word.
const DIGIT: u8 = b'0';
/// The zero of `0x`, for which no other digit can stand.
const HEX_ZERO: u8 = b'1';
/// A digit or letter of a hexadecimal id.
pub(crate) const HEX: u8 = b'6';

/// The mark of a number that stands by itself, by its digits: each limit of masking's begins another one.
fn mark(digits: usize) -> u8 {
    match digits {
        ..LONG_ID => b'2',
        LONG_ID..ID_DIGITS => b'3',
        ID_DIGITS..=MAX_DIGITS => b'4',
        _ => b'5',
    }
}

/// A place in all messages of one skeleton: so many bytes behind the end of the number before it, or behind the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    number: u16,
    offset: u16,
}

impl Place {
    /// Whether as many bytes are between this place and a later one in all messages of the skeleton.
    pub(super) fn is_fixed(self, later: Place) -> bool {
        self.number == later.number
    }
}

/// The skeleton of one message; reused from record to record.
#[derive(Clone, Debug)]
pub(crate) struct Skeleton {
    /// The message between zeros, so that what is before and behind any of its bytes can be read.
    message: [u8; MARGIN + MAX_SKELETON_BYTES + WORD_BYTES],
    /// Bytes of the message.
    size: usize,
    text: [u8; MAX_SKELETON_BYTES + COPIED],
    length: usize,
    /// Where numbers that stand by themselves begin and end in the message, after an empty one at its beginning.
    numbers: [(u16, u16); MAX_NUMBERS],
    count: usize,
    longest: usize,
    /// Where the runs of [`LONG_RUN`] digits and more are in the message, those within words too.
    long: [(u16, u16); MAX_LONG_RUNS],
    long_count: usize,
    /// Where the hexadecimal ids are in the message.
    hex: [(u16, u16); MAX_HEX],
    hex_count: usize,
}

/// How a byte differs among the messages of one skeleton.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Varies {
    Not,
    /// It is a digit within a word, and any other may be in its place.
    Digit,
    /// It belongs to a number, in whose place any other is.
    Number,
    /// It belongs to an id, and is any hexadecimal digit.
    Hex,
}

impl Default for Skeleton {
    fn default() -> Skeleton {
        Skeleton {
            message: [0; _],
            size: 0,
            text: [0; _],
            length: 0,
            numbers: [(0, 0); _],
            count: 1,
            longest: 0,
            long: [(0, 0); _],
            long_count: 0,
            hex: [(0, 0); _],
            hex_count: 0,
        }
    }
}

impl Skeleton {
    /// Takes a message; `false` if it is too long to have a skeleton.
    pub(crate) fn take(&mut self, message: &[u8]) -> bool {
        if message.len() > MAX_SKELETON_BYTES {
            return false;
        }
        let Some((room, behind)) = self.message.split_at_mut_checked(MARGIN + message.len()) else {
            return false;
        };
        let Some(behind) = behind.first_chunk_mut::<COPIED>() else { return false };
        room.iter_mut().skip(MARGIN).zip(message).for_each(|(to, byte)| *to = *byte);
        *behind = [0; COPIED];
        (self.size, self.hex_count) = (message.len(), 0);
        if !self.scan::<false>(message.len()) {
            self.scan::<true>(message.len());
        }
        true
    }

    /// Takes the message that was copied, with its ids or as if it had none; `false` where that is wrong. Most messages have none, and
    /// what ids need would be in the way.
    fn scan<const IDS: bool>(&mut self, size: usize) -> bool {
        // All that changes from run to run, apart from the fields, because it is at hand then.
        let (mut length, mut count, mut longest, mut long_count, mut from) = (0, 1, 0, 0, 0);
        let (mut before, mut start) = (0, None);
        // All before this is no id, or taken.
        let mut looked = 0;
        // To the word of the message's end, which may be an edge.
        for base in (0..=size).step_by(WORD_BYTES) {
            let word = self.digits(base, size - base);
            // Where runs of digits begin and where they end, by turns.
            let mut edges = word ^ (word << 1 | before);
            before = word >> 63;
            while edges != 0 {
                let at = base + edges.trailing_zeros() as usize;
                edges &= edges - 1;
                let Some(start) = start.take() else {
                    start = Some(at);
                    continue;
                };
                let digits = at - start;
                longest = longest.max(digits);
                if digits >= LONG_RUN {
                    if let Some(run) = self.long.get_mut(long_count) {
                        *run = (start as u16, at as u16);
                    }
                    long_count += 1;
                }
                let [before, first, after] = [MARGIN - 1 + start, MARGIN + start, MARGIN + at]
                    .map(|at| self.message.get(at).copied().unwrap_or(0));
                let around = class(before) | class(after);
                let may_be_id = around & (WORD | NO_HEX) == WORD || digits == hex::FIRST && after == b'-';
                if may_be_id && start >= looked {
                    let (id, is_id) = self.id_at(start..at);
                    looked = id.end;
                    if is_id && !IDS {
                        return false;
                    }
                    if is_id {
                        length = self.copy_and_fill(from, &id, length);
                        from = id.end;
                    }
                }
                if IDS && start < from {
                    continue;
                }
                length = self.copy(from, start, length);
                from = at;
                if around & WORD != 0 {
                    let is_hex = digits == 1 && first == b'0' && matches!(after, b'x' | b'X');
                    length = self.fill(if is_hex { HEX_ZERO } else { DIGIT }, digits, length);
                    continue;
                }
                if let (Some(number), Some(text)) = (self.numbers.get_mut(count), self.text.get_mut(length)) {
                    (*number, *text) = ((start as u16, at as u16), mark(digits));
                }
                (count, length) = (count + 1, length + 1);
            }
        }
        self.length = self.copy(from, size, length);
        if let Some(behind) = self.text.get_mut(self.length..).and_then(<[u8]>::first_chunk_mut) {
            *behind = [0; COPIED];
        }
        (self.count, self.longest, self.long_count) = (count, longest, long_count);
        true
    }

    /// Its text in whole blocks, zeros behind it, so that it can be read without regard to where it ends.
    pub(crate) fn blocks(&self) -> &[[u8; COPIED]] {
        let (blocks, _) = self.text.as_chunks();
        blocks.get(..self.length.div_ceil(COPIED)).unwrap_or_default()
    }

    /// Bytes of its text.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Its text: equal for all messages with this skeleton, and for no other.
    pub(crate) fn text(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }

    /// Digits of the longest run.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Where the runs of [`LONG_RUN`] digits and more are in the message.
    pub(crate) fn long_runs(&self) -> impl Iterator<Item = Range<usize>> {
        let runs = self.long.get(..self.long_count).unwrap_or_default();
        runs.iter().map(|(start, end)| usize::from(*start)..usize::from(*end))
    }

    /// Where the hexadecimal ids are in the message.
    pub(crate) fn hex_ids(&self) -> impl Iterator<Item = Range<usize>> {
        let ids = self.hex.get(..self.hex_count).unwrap_or_default();
        ids.iter().map(|(start, end)| usize::from(*start)..usize::from(*end))
    }

    /// The place of a byte of the message, or of its end; `None` within a number that stands by itself.
    pub(crate) fn place_of(&self, at: usize) -> Option<Place> {
        let at = u16::try_from(at).ok()?;
        let before = self.numbers.get(..self.count)?.partition_point(|(_, end)| *end <= at).checked_sub(1)?;
        let next = self.numbers.get(before + 1).filter(|_| before + 1 < self.count);
        let is_within = next.is_some_and(|(start, _)| *start < at);
        let (_, end) = self.numbers.get(before).filter(|_| !is_within)?;
        Some(Place { number: u16::try_from(before).ok()?, offset: at - end })
    }

    /// How each byte of the message varies.
    pub(crate) fn varies(&self) -> Vec<Varies> {
        let message = self.message.get(MARGIN..MARGIN + self.size).unwrap_or_default();
        let of = |byte: &u8| if byte.is_ascii_digit() { Varies::Digit } else { Varies::Not };
        let mut all: Vec<Varies> = message.iter().map(of).collect();
        let numbers = self.numbers.get(..self.count).unwrap_or_default();
        for (start, end) in numbers {
            all.get_mut(usize::from(*start)..usize::from(*end))
                .into_iter()
                .for_each(|all| all.fill(Varies::Number));
        }
        for id in self.hex_ids() {
            let id = message.iter().zip(&mut all).take(id.end).skip(id.start);
            id.filter(|(byte, _)| byte.is_ascii_hexdigit()).for_each(|(_, varies)| *varies = Varies::Hex);
        }
        all
    }

    /// Where a place is in the message.
    pub(crate) fn at(&self, place: Place) -> usize {
        let (_, end) = self.numbers.get(usize::from(place.number)).copied().unwrap_or_default();
        usize::from(end.saturating_add(place.offset))
    }

    /// Where runs of digits begin and end, those in ids apart, or hexadecimal ids and their groups do: in its text, and as places.
    pub(crate) fn edges(&self, of_hex: bool) -> impl Iterator<Item = (usize, Place)> {
        let is_within = move |at: Option<usize>| {
            let byte = at.and_then(|at| self.text().get(at));
            byte.is_some_and(|byte| byte.is_ascii_digit() && (*byte == HEX) == of_hex)
        };
        let mut next = Place { number: 0, offset: 0 };
        (0..=self.length).filter_map(move |at| {
            let place = next;
            match self.text().get(at).copied() {
                Some(DIGIT | HEX_ZERO | HEX) | None => next.offset += 1,
                Some(byte) if byte.is_ascii_digit() => next = Place { number: place.number + 1, offset: 0 },
                Some(_) => next.offset += 1,
            }
            (is_within(at.checked_sub(1)) != is_within(Some(at))).then_some((at, place))
        })
    }

    fn byte(&self, at: usize) -> u8 {
        self.message.get(MARGIN + at).copied().unwrap_or(0)
    }

    /// The hexadecimal id that has the digits of a range, and `true`; else as much of their word as was looked at.
    #[cold]
    fn id_at(&self, digits: Range<usize>) -> (Range<usize>, bool) {
        let most = *hex::WORD_BYTES.end();
        let count =
            |bytes: &mut dyn Iterator<Item = &u8>| bytes.take_while(|byte| byte.is_ascii_hexdigit()).count();
        let before = self.message.get(MARGIN..MARGIN + digits.start).unwrap_or_default();
        let start = digits.start.saturating_sub(count(&mut before.iter().rev().take(most)));
        let text = self.message.get(MARGIN + start..).unwrap_or_default();
        let is_first = self.message.get(MARGIN - 1 + start).is_none_or(|byte| class(*byte) & WORD == 0);
        if is_first && hex::is_uuid(text) {
            return (start..start + hex::UUID, true);
        }
        let length = count(&mut text.iter().take(most + 1));
        let is_last = text.get(length).is_none_or(|byte| class(*byte) & WORD == 0);
        let is_id = is_first && is_last && text.get(..length).is_some_and(hex::is_id);
        (start..start + length.max(digits.end - start), is_id)
    }

    /// Text of the message up to a hexadecimal id, and the id, whose groups stay apart; gives the new length.
    #[cold]
    fn copy_and_fill(&mut self, from: usize, id: &Range<usize>, length: usize) -> usize {
        let length = self.copy(from, id.start, length);
        if let Some(place) = self.hex.get_mut(self.hex_count) {
            *place = (id.start as u16, id.end as u16);
            self.hex_count += 1;
        }
        let end = self.fill(HEX, id.len(), length);
        if self.byte(id.start + hex::FIRST) == b'-' {
            for dash in hex::DASHES {
                if let Some(byte) = self.text.get_mut(length + dash) {
                    *byte = b'-';
                }
            }
        }
        end
    }

    /// Text of the message that stays as it is; gives the new length. A call for a few bytes takes longer than to write too many.
    fn copy(&mut self, mut from: usize, to: usize, mut length: usize) -> usize {
        while from < to {
            // Neither is past the last byte of the longest message: the compiler is told so that it need not ask.
            let (at, to_at) = (MARGIN + from % MAX_SKELETON_BYTES, length % MAX_SKELETON_BYTES);
            if let (Some(bytes), Some(room)) =
                (self.message.get(at..at + COPIED), self.text.get_mut(to_at..to_at + COPIED))
            {
                room.copy_from_slice(bytes);
            }
            length += (to - from).min(COPIED);
            from += COPIED;
        }
        length
    }

    /// A mark so many times; gives the new length.
    fn fill(&mut self, mark: u8, mut marks: usize, mut length: usize) -> usize {
        loop {
            if let Some(room) = self.text.get_mut(length..).and_then(<[u8]>::first_chunk_mut::<COPIED>) {
                *room = [mark; COPIED];
            }
            if marks <= COPIED {
                return length + marks;
            }
            marks -= COPIED;
            length += COPIED;
        }
    }

    /// One bit for each byte of a word of the message, of which so many bytes are left, that is a digit.
    fn digits(&self, base: usize, left: usize) -> u64 {
        let bytes = self.message.get(MARGIN + base..).and_then(<[u8]>::first_chunk::<WORD_BYTES>);
        let (chunks, _) = bytes.map_or((&[][..], &[][..]), |bytes| bytes.as_chunks::<8>());
        let word = chunks.iter().rfold(0, |word, chunk| word << 8 | u64::from(which_are_digits(*chunk)));
        // What is behind the message may be left from another one.
        if left < WORD_BYTES { word & ((1 << left) - 1) } else { word }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::class::is_word, *};

    fn skeleton(message: &str) -> (String, Skeleton) {
        let mut skeleton = Skeleton::default();
        assert!(skeleton.take(message.as_bytes()));
        (String::from_utf8(skeleton.text().to_vec()).unwrap(), skeleton)
    }

    #[test]
    fn numbers_are_marks_and_words_keep_their_length() {
        let text = |message: &str| skeleton(message).0;
        assert_eq!(text("port 22 of 10.0.0.1"), "port 2 of 2.2.2.2");
        assert_eq!(text("port 65535 of 192.168.100.200"), "port 2 of 2.2.2.2");
        assert_eq!(text("took 17ms, node7 in 0x1f, 10x5"), "took 00ms, node0 in 1x0f, 00x0");
        assert_eq!(text(""), "");
        let lengths = [1, 7, 8, 9, 15, 16, 256].map(|digits| text(&"7".repeat(digits)));
        assert_eq!(lengths, ["2", "2", "3", "4", "4", "5", "5"]);
    }

    #[test]
    fn hexadecimal_ids_keep_their_length_only() {
        let text = |message: &str| skeleton(message).0;
        let uuid = "66666666-6666-6666-6666-666666666666";
        assert_eq!(text("[req-113d3a99-c3da-401f-bd62-cc2caa5b96d2]"), format!("[req-{uuid}]"));
        assert_eq!(text("12345678-1234-1234-1234-123456789012 at 7"), format!("{uuid} at 2"));
        assert_eq!(
            text("trace=4bf92f3577b34da6a3ce929d0e0e4736,1A2B3C4D"),
            format!("trace={},66666666", "6".repeat(32))
        );
        // A word without digits, a number with a unit, a word that goes on, one that is too short.
        assert_eq!(text("abcdefab 12345678ab 1a2b3c4d5x a1b2c3d"), "abcdefab 00000000ab 0a0b0c0d0x a0b0c0d");
        assert_eq!(text("aaaaaaaa-1234-beef-1a2b-123456789012"), "aaaaaaaa-2-beef-0a0b-4", "a word first");
        let ids: Vec<_> =
            skeleton("a 1a2b3c4d5 of 11111111-c3da-401f-bd62-cc2caa5b96d2").1.hex_ids().collect();
        assert_eq!(ids, [2..11, 15..51]);
        let most = "1a2b3c4d ".repeat(113) + "1a2b3c4";
        assert_eq!((most.len(), skeleton(&most).1.hex_ids().count()), (MAX_SKELETON_BYTES, 113));
    }

    #[test]
    fn words_too_long_for_an_id_are_none() {
        let lengths = [64, 65, 128, 640]
            .map(|length| skeleton(&format!("x {}", &"a1".repeat(length)[..length])).1.hex_ids().count());
        assert_eq!(lengths, [1, 0, 0, 0]);
    }

    #[test]
    fn too_long_a_message_has_none() {
        let lengths = [MAX_SKELETON_BYTES, MAX_SKELETON_BYTES + 1, 10 * MAX_SKELETON_BYTES];
        assert_eq!(lengths.map(|length| Skeleton::default().take(&vec![b'x'; length])), [true, false, false]);
    }

    #[test]
    fn places_are_found_again_in_a_message_of_the_same_skeleton() {
        let (one, other) = (skeleton("at 7 of 12 came 5"), skeleton("at 4711 of 9 came 123456"));
        assert_eq!(one.0, other.0);
        let moved = |at: usize| one.1.place_of(at).map(|place| other.1.at(place));
        assert_eq!([0, 3, 4, 8].map(moved), [Some(0), Some(3), Some(7), Some(11)]);
        assert_eq!([9, 10, 17, 18].map(moved), [None, Some(12), Some(24), Some(25)]);
    }

    #[test]
    fn long_runs_are_found_within_words_too_and_as_many_as_there_can_be() {
        let runs = |message: &str| -> Vec<_> { skeleton(message).1.long_runs().collect() };
        assert_eq!(runs("at 12345678 of a123456789b, 1234567"), [3..11, 16..25]);
        let most = "12345678 ".repeat(113) + "1234567";
        assert_eq!((most.len(), runs(&most).len()), (MAX_SKELETON_BYTES, 113));
    }

    #[test]
    fn what_is_left_of_a_longer_message_is_not_read() {
        let mut skeleton = Skeleton::default();
        assert!(skeleton.take("7".repeat(200).as_bytes()) && skeleton.take(b"at 4"));
        assert_eq!((skeleton.text(), skeleton.longest()), (&b"at 2"[..], 1));
        assert_eq!(skeleton.blocks(), [*b"at 2\0\0\0\0\0\0\0\0\0\0\0\0"]);
    }

    #[test]
    fn edges_are_where_digits_begin_and_end() {
        let (_, skeleton) = skeleton("at 4711 of a17 1a2b3c4d.");
        let edges = |of_hex| -> Vec<_> {
            skeleton.edges(of_hex).map(|(at, place)| (at, skeleton.at(place))).collect()
        };
        assert_eq!(edges(false), [(3, 3), (4, 7), (9, 12), (11, 14)]);
        assert_eq!(edges(true), [(12, 15), (20, 23)]);
    }

    proptest! {
        #[test]
        fn text_is_what_a_scan_byte_by_byte_says(
            message in "([a-c0-9x_. é-]{0,60}|([a-f0-9]{6,12}[ .-]|[a-f0-9]{8}(-[a-f0-9]{4}){3}-[a-f0-9]{12}[ g-]?|[a-f0-9]{8}-[a-f0-9]{4}-){0,3}){0,2}"
        ) {
            let bytes = message.as_bytes();
            let mut expected = Vec::new();
            let mut at = 0;
            while let Some(&byte) = bytes.get(at) {
                let word = bytes[at..].iter().take_while(|byte| is_word(**byte)).count();
                let is_first = !at.checked_sub(1).is_some_and(|at| is_word(bytes[at]));
                let is_uuid = is_first && hex::is_uuid(&bytes[at..]);
                if is_uuid || is_first && hex::is_id(&bytes[at..at + word]) {
                    let id = if is_uuid { hex::UUID } else { word };
                    expected.extend(bytes[at..at + id].iter().map(|byte| if *byte == b'-' { b'-' } else { HEX }));
                    at += id;
                    continue;
                }
                let run = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                let in_word = |byte: Option<&u8>| byte.is_some_and(|byte| is_word(*byte));
                match run {
                    0 => expected.push(byte),
                    _ if in_word(at.checked_sub(1).map(|at| &bytes[at])) || in_word(bytes.get(at + run)) => {
                        let hex = run == 1 && byte == b'0' && bytes.get(at + 1) == Some(&b'x');
                        expected.extend(std::iter::repeat_n(if hex { HEX_ZERO } else { DIGIT }, run));
                    }
                    _ => expected.push(mark(run)),
                }
                at += run.max(1);
            }
            let (_, skeleton) = skeleton(&message);
            prop_assert_eq!(skeleton.text(), &*expected);
        }
    }
}
