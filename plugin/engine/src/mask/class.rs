//! What a byte is to the scanner, and how many letters stand first. Knows nothing of what has been seen before.

pub(super) const WORD: u8 = 1;
pub(super) const DIGIT: u8 = 2;
/// Joins variables into one: `10.0.0.1:80`, `2026-11-21T02:03`.
pub(super) const JOIN: u8 = 4;
/// Ends a path or a URL.
const END: u8 = 8;
/// Part of a word, and no hexadecimal digit.
pub(super) const NO_HEX: u8 = 16;

/// The class of each byte: one look-up in the loop that sees every byte of every message.
#[expect(
    clippy::indexing_slicing,
    reason = "computed by the compiler, which would refuse an index out of range"
)]
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0u8;
    loop {
        let word = byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
        let join = matches!(byte, b'.' | b':' | b',' | b'-' | b'/' | b'+' | b'_' | b'@' | b'~' | b'#' | b'T');
        let end = byte.is_ascii_whitespace()
            || matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'(' | b')' | b'[' | b']' | b'{' | b'}')
            || matches!(byte, b'|' | b',' | b';' | b'=');
        let no_hex = word && !byte.is_ascii_hexdigit();
        classes[byte as usize] = word as u8
            | (byte.is_ascii_digit() as u8) << 1
            | (join as u8) << 2
            | (end as u8) << 3
            | (no_hex as u8) << 4;
        if byte == u8::MAX {
            break classes;
        }
        byte += 1;
    }
};

pub(super) fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(0)
}

pub(super) fn is_word(byte: u8) -> bool {
    class(byte) & WORD != 0
}

/// Characters of the keys of JSON-like pairs.
pub(super) fn is_key(byte: u8) -> bool {
    is_word(byte) || b".-@$".contains(&byte)
}

pub(super) fn ends_path(byte: u8) -> bool {
    class(byte) & END != 0
}

/// A month or a day of the week, as dates have them.
pub(super) fn is_date_word(word: &[u8; 3]) -> bool {
    matches!(
        word,
        b"Jan"
            | b"Feb"
            | b"Mar"
            | b"Apr"
            | b"May"
            | b"Jun"
            | b"Jul"
            | b"Aug"
            | b"Sep"
            | b"Oct"
            | b"Nov"
            | b"Dec"
            | b"Mon"
            | b"Tue"
            | b"Wed"
            | b"Thu"
            | b"Fri"
            | b"Sat"
            | b"Sun"
    )
}

const HIGH: u64 = each(0x80);

const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// How many ASCII letters stand first, as far as eight can be read at once: most of a message is letters.
pub(super) fn letters(rest: &[u8]) -> usize {
    let mut end = 0;
    while let Some(chunk) = rest.get(end..).and_then(<[u8]>::first_chunk) {
        let bytes = u64::from_le_bytes(*chunk);
        // In lower case and without the high bits, so that no sum runs over into the next byte.
        let lower = (bytes | each(0x20)) & !HIGH;
        let from_a = lower + each(0x80 - b'a');
        let beyond_z = lower + each(0x80 - b'z' - 1);
        let others = (!from_a | beyond_z | bytes) & HIGH;
        if others != 0 {
            return end + others.trailing_zeros() as usize / 8;
        }
        end += 8;
    }
    end
}

/// How many ASCII digits stand first.
pub(super) fn digits(rest: &[u8]) -> usize {
    if let Some(chunk) = rest.first_chunk() {
        let values = u64::from_le_bytes(*chunk) ^ each(b'0');
        // A sum that runs over into the next byte comes from one that is no digit.
        let others = (values.wrapping_add(each(0x80 - 10)) | values) & HIGH;
        if others != 0 {
            return others.trailing_zeros() as usize / 8;
        }
    }
    rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Whether a byte is among others. All of them are read, for where hardly any text has it: so a compiler can read as much at once as the
/// machine can. In WebAssembly without vectors, where memchr reads four bytes, that is eight.
pub(crate) fn has_byte(bytes: &[u8], byte: u8) -> bool {
    // The high bit of a byte that is zero is set by this, and if none is zero no high bit is.
    let zeros = |others: u64| others.wrapping_sub(each(1)) & !others;
    let in_word = |word: &[u8; 8]| zeros(u64::from_ne_bytes(*word) ^ each(byte));
    // Four words a step, because a step takes as long as one of them.
    let (blocks, rest) = bytes.as_chunks::<32>();
    let in_block =
        |block: &[u8; 32]| block.as_chunks::<8>().0.iter().fold(0, |found, word| found | in_word(word));
    let (words, tail) = rest.as_chunks::<8>();
    let found = blocks.iter().fold(0, |found, block| found | in_block(block));
    let found = words.iter().fold(found, |found, word| found | in_word(word));
    found & HIGH != 0 || tail.contains(&byte)
}

/// One bit for each of eight bytes that is an ASCII digit, the first lowest.
pub(super) fn which_are_digits(bytes: [u8; 8]) -> u8 {
    let values = u64::from_le_bytes(bytes) ^ each(b'0');
    // Without the high bits no sum runs over into the next byte.
    let others = ((values & !HIGH) + each(0x80 - 10)) | values;
    // Each factor moves one of the bits into the highest byte, and no two meet.
    ((!others & HIGH) >> 7).wrapping_mul(0x0102_0408_1020_4080).to_be_bytes()[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn letters_end_at_the_first_other_byte() {
        assert_eq!([letters(b"azAZ@[`{"), letters(b"abcdefgh1-------"), letters(b"_bcdefgh")], [4, 8, 0]);
        assert_eq!(letters(b"abcdefg"), 0, "too short to be read at once");
    }

    proptest! {
        #[test]
        fn digits_are_digits(text in proptest::collection::vec(prop_oneof![3 => b'0'..=b'9', 1 => any::<u8>()], 0..20)) {
            prop_assert_eq!(digits(&text), text.iter().take_while(|byte| byte.is_ascii_digit()).count());
        }

        #[test]
        fn a_byte_is_found_wherever_it_is(byte: u8, near in 0u8..3, others in proptest::collection::vec(any::<u8>(), 0..120)) {
            let others: Vec<u8> = others.iter().map(|other| if near == 0 { byte ^ (other & 0x81) } else { *other }).collect();
            prop_assert_eq!(has_byte(&others, byte), others.contains(&byte));
        }

        #[test]
        fn each_digit_has_its_bit(bytes: [u8; 8], text in "[/-:x]{8}") {
            let expected = |bytes: &[u8]| bytes.iter().rev().fold(0u8, |all, byte| all << 1 | u8::from(byte.is_ascii_digit()));
            prop_assert_eq!(which_are_digits(bytes), expected(&bytes));
            prop_assert_eq!(which_are_digits(*text.as_bytes().first_chunk().unwrap()), expected(text.as_bytes()));
        }

        #[test]
        fn letters_are_letters(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let first = text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
            let found = letters(&text);
            prop_assert!(found == first || found < first && found.is_multiple_of(8) && found + 8 > text.len());
        }
    }
}
