//! Ids of hexadecimal digits: UUIDs, trace ids, hashes. Takes a text, says whether one begins there. Must not know what masking
//! or skeletons make of it.
//!
//! Which digits and letters such an id has says nothing, and masking must not depend on it: but for this module, a UUID with a
//! group like `beef` would leave a word behind.

use super::class::is_word;

/// Bytes of a UUID as text (RFC 9562, section 4).
pub(super) const UUID: usize = 36;
/// Digits of its first group.
pub(super) const FIRST: usize = 8;
/// Where the dashes between its groups are.
pub(super) const DASHES: [usize; 4] = [FIRST, 13, 18, 23];
/// Shortest and longest word that is an id by its hexadecimal digits alone.
pub(super) const WORD_BYTES: std::ops::RangeInclusive<usize> = 8..=64;

/// Whether a text begins with a UUID that ends where the word does. One without a digit in its first group, which one in 2,500
/// is, is none here: its first group looks like a word.
#[inline]
pub(super) fn is_uuid(text: &[u8]) -> bool {
    text.get(FIRST) == Some(&b'-') && is_uuid_as_a_whole(text)
}

#[cold]
fn is_uuid_as_a_whole(text: &[u8]) -> bool {
    let group = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let is_group =
        |from, to| text.get(to) == Some(&b'-') && group(from, to).iter().all(u8::is_ascii_hexdigit);
    let [first, second, third, fourth] = DASHES;
    is_group(0, first)
        && group(0, first).iter().any(u8::is_ascii_digit)
        && is_group(first + 1, second)
        && is_group(second + 1, third)
        && is_group(third + 1, fourth)
        && text.get(..UUID).is_some()
        && group(fourth + 1, UUID).iter().all(u8::is_ascii_hexdigit)
        && text.get(UUID).is_none_or(|byte| !is_word(*byte))
}

/// Whether a word is an id by its hexadecimal digits: letters and digits, and not a number with a unit behind it (`12345678ab`).
pub(super) fn is_id(word: &[u8]) -> bool {
    const LONGEST_UNIT: usize = 4;
    let whole = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let unit = word.get(whole..).unwrap_or_default();
    let has_digit = |text: &[u8]| text.iter().any(u8::is_ascii_digit);
    WORD_BYTES.contains(&word.len())
        && word.iter().all(u8::is_ascii_hexdigit)
        && (has_digit(unit) || whole > 0 && unit.len() > LONGEST_UNIT)
}

/// Whether a text begins with one or the other.
#[inline]
pub(super) fn begins(text: &[u8]) -> bool {
    text.get(WORD_BYTES.start() - 1).is_some_and(u8::is_ascii_hexdigit) && begins_as_a_whole(text)
}

#[cold]
fn begins_as_a_whole(text: &[u8]) -> bool {
    let length = text.iter().take(WORD_BYTES.end() + 1).take_while(|byte| is_word(**byte)).count();
    is_uuid(text) || text.get(..length).is_some_and(is_id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::number::Shape, *};

    #[test]
    fn uuids_are_whole_words_with_a_digit_at_first() {
        let yes = [
            "113d3a99-c3da-401f-bd62-cc2caa5b96d2",
            "12345678-1234-1234-1234-123456789012",
            "aaaaaaa1-beef-CAFE-dead-aaaaaaaaaaaa] x",
        ];
        assert_eq!(yes.map(|text| is_uuid(text.as_bytes())), [true; 3]);
        let no = [
            "aaaaaaaa-1234-1234-1234-123456789012",
            "113d3a99-c3da-401f-bd62-cc2caa5b96d2f",
            "113d3a99-c3da-401f-bd62-cc2caa5b96d2_",
            "113d3a99-c3da-401f-bd62-cc2caa5b96d",
            "113d3a9-9c3da-401f-bd62-cc2caa5b96d2",
            "113d3a99-c3da-401f-bd62-gc2caa5b96d2",
            "113d3a99-c3da_401f-bd62-cc2caa5b96d2",
            "",
        ];
        assert_eq!(no.map(|text| is_uuid(text.as_bytes())), [false; 8]);
    }

    #[test]
    fn ids_have_letters_and_digits_and_no_unit() {
        let is = |word: &str| is_id(word.as_bytes());
        assert_eq!(["1a2b3c4d", "a1234567", "1234abcde", "1234567a8"].map(is), [true; 4]);
        assert_eq!(
            ["1a2b3c4", "12345678", "abcdefab", "12345678ab", "1a2b3c4x", "0x1a2b3c"].map(is),
            [false; 6]
        );
        let lengths = [64, 65, 640].map(|length| is(&"a1".repeat(length)[..length]));
        assert_eq!(lengths, [true, false, false]);
    }

    proptest! {
        #[test]
        fn masking_takes_ids_whole(word in "[0-9a-fA-F]{1,12}|[0-9]{1,12}[a-f]{0,6}|[0-9a-g]{60,70}") {
            let digits = word.bytes().filter(u8::is_ascii_digit).count();
            if is_id(word.as_bytes()) {
                prop_assert_eq!(Shape::of(word.as_bytes(), digits), Some(Shape::Id));
            }
        }
    }
}
