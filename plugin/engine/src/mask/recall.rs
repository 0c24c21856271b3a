//! Masking once for all messages with one skeleton: what was found in one of them, by places instead of positions, and back
//! again. Knows nothing of templates: whoever keeps this also keeps where the masked text led to.

use std::ops::Range;

use super::{ID_BYTES, MAX_IDS, MAX_VALUES, Masked, Place, Skeleton, value_of};

/// What masking found in a message, in a form that holds for all of its skeleton. Not in boxes of its own, because it is read for
/// most messages, and seldom is at hand.
#[derive(Clone, Debug)]
pub(crate) struct Recalled {
    /// Where the digits of each value lie, and what one of its unit is worth.
    numbers: [(Place, Place, f64); MAX_VALUES],
    count: usize,
    ids: [(Place, Place); MAX_IDS],
    id_count: usize,
    says_something: bool,
}

impl Masked {
    /// What holds for every message with this skeleton, that of the message masked last; `None` if something about it
    /// depended on how many digits its numbers have.
    pub(crate) fn keep(&self, skeleton: &Skeleton) -> Option<Recalled> {
        if !self.is_by_skeleton {
            return None;
        }
        let places =
            |range: &Range<usize>| Some((skeleton.place_of(range.start)?, skeleton.place_of(range.end)?));
        let mut kept = Recalled {
            numbers: [(Place::default(), Place::default(), 1.0); _],
            count: self.count,
            ids: [(Place::default(), Place::default()); _],
            id_count: self.id_count,
            says_something: self.says_something,
        };
        for (kept, (digits, worth)) in kept.numbers.iter_mut().zip(&self.numbers).take(self.count) {
            let (start, end) = places(digits)?;
            *kept = (start, end, *worth);
        }
        for (kept, id) in kept.ids.iter_mut().zip(self.ids()) {
            *kept = places(id)?;
        }
        Some(kept)
    }

    /// Takes a message of the skeleton for which this was kept, without masking it: everything but [`Masked::text`] is as if it
    /// had been. `false` if a number of this one has a length that the other's had not, and that matters.
    pub(crate) fn recall(&mut self, kept: &Recalled, skeleton: &Skeleton, message: &[u8]) -> bool {
        self.text.clear();
        self.says_something = kept.says_something;
        (self.count, self.id_count) = (kept.count, kept.id_count);
        for ((start, end, worth), value) in kept.numbers.iter().zip(&mut self.values).take(kept.count) {
            let digits = skeleton.at(*start)..skeleton.at(*end);
            *value = value_of(message.get(digits).unwrap_or_default()) * worth;
        }
        for ((start, end), id) in kept.ids.iter().zip(&mut self.ids).take(kept.id_count) {
            *id = skeleton.at(*start)..skeleton.at(*end);
            if !ID_BYTES.contains(&id.len()) {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What masking finds: values, ids, and whether there is a word.
    fn found(masked: &Masked) -> (Vec<u64>, Vec<std::ops::Range<usize>>, bool) {
        let values = masked.values().iter().map(|value| value.to_bits()).collect();
        (values, masked.ids().to_vec(), masked.says_something())
    }

    /// Masks one message and recalls that for another, which must be as if it had been masked. Whether it could be recalled.
    fn check(one: &str, other: &str) -> bool {
        let (mut skeleton, mut masked, mut expected) =
            (Skeleton::default(), Masked::default(), Masked::default());
        assert!(skeleton.take(one.as_bytes()));
        let text = skeleton.text().to_vec();
        masked.mask(one.as_bytes());
        let (masked_text, kept) = (masked.text.clone(), masked.keep(&skeleton));
        assert!(skeleton.take(other.as_bytes()));
        let Some(kept) = kept.filter(|_| text == skeleton.text()) else { return false };
        if !masked.recall(&kept, &skeleton, other.as_bytes()) {
            return false;
        }
        expected.mask(other.as_bytes());
        assert_eq!(
            (expected.text.as_slice(), found(&expected)),
            (&*masked_text, found(&masked)),
            "{one:?} {other:?}"
        );
        true
    }

    #[test]
    fn what_differs_in_numbers_only_is_recalled() {
        assert!(check("took 17 ms at 10.0.0.1:80", "took 4 ms at 192.168.1.17:65535"));
        let block = "block blk_-1608999687919862906 of 3.5 KB";
        assert!(check(block, "block blk_-9876543211234567 of 1234.25 KB"));
        assert!(!check(block, "block blk_-98765432 of 1234.25 KB"), "too short for an id");
        assert!(!check(block, "block blk_1608999687919862906 of 3.5 KB"), "without a sign it is a word");
    }

    #[test]
    fn lengths_that_matter_are_not_recalled() {
        assert!(!check("load 1.5 of it", "load 1234567.12345678 of it"), "another class of numbers");
        assert!(!check("req 12345678901-1", "req 123456789-1234567-"), "other text");
        let long = "7".repeat(80);
        assert!(!check("req 1234567890123456-a7 done", &format!("req {long}-a7 done")), "too long for an id");
    }

    /// Words, numbers and what joins them, as a list of parts: numbers are those that are replaced.
    fn parts() -> impl Strategy<Value = Vec<(String, bool)>> {
        let text = prop::sample::select(vec![
            " ",
            "-",
            ".",
            ":",
            "/",
            "_",
            "#",
            "\"",
            "'",
            "=",
            "T",
            "x",
            " KB",
            " ms",
            "Nov ",
            "0x",
            "a1f",
            "blk_-",
            "_-",
            "req-",
            "abc",
            "<*>",
            "[",
            "]",
            "http://a/",
            " /var/",
            "e",
            "1",
            "B",
            "é",
            ",",
            " KiB",
            "%",
            "+",
            "@",
        ]);
        let part = prop_oneof![
            3 => text.prop_map(|text| (text.to_owned(), false)),
            2 => Just((String::new(), true)),
        ];
        prop::collection::vec(part, 0..16)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn recalled_is_as_masked(parts in parts(), lengths in prop::collection::vec((1usize..20, 1usize..20), 16), digit in 0u8..10) {
            let message = |length: fn(&(usize, usize)) -> usize, digit: u8| -> String {
                let number = |(index, (text, is_number)): (usize, &(String, bool))| match is_number {
                    true => char::from(b'0' + digit).to_string().repeat(length(&lengths[index])),
                    false => text.clone(),
                };
                parts.iter().enumerate().map(number).collect()
            };
            check(&message(|length| length.0, 7), &message(|length| length.1, digit));
            // Lengths of one class mostly, so that most are alike.
            check(&message(|length| 1 + length.0 % 7, 7), &message(|length| 1 + length.1 % 7, digit));
        }
    }
}
