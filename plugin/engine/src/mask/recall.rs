//! Masking once for all messages with one skeleton: what was found in one of them, by places instead of positions, and back
//! again. Knows nothing of templates: whoever keeps this also keeps where the masked text led to.

use std::ops::Range;

use super::{ID_BYTES, MAX_IDS, MAX_QUOTED_BYTES, MAX_VALUES, Masked, Place, Skeleton, value_of};

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
    /// What stands between quotes, where numbers make it longer or shorter.
    quotations: Box<[(Place, Place)]>,
}

impl Recalled {
    /// Bytes that it has elsewhere.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.quotations)
    }
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
            quotations: Box::default(),
        };
        for (kept, (digits, worth)) in kept.numbers.iter_mut().zip(&self.numbers).take(self.count) {
            let (start, end) = places(digits)?;
            *kept = (start, end, *worth);
        }
        for (kept, id) in kept.ids.iter_mut().zip(self.ids()) {
            *kept = places(id)?;
        }
        let quotations: Option<Vec<_>> = self.quotations.iter().map(places).collect();
        kept.quotations = quotations?.into_iter().filter(|(start, end)| !start.is_fixed(*end)).collect();
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
        let is_short = |(start, end): &(Place, Place)| {
            skeleton.at(*end).saturating_sub(skeleton.at(*start)) < MAX_QUOTED_BYTES
        };
        message.len() <= MAX_QUOTED_BYTES || kept.quotations.iter().all(is_short)
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
        if !skeleton.take(one.as_bytes()) {
            return false;
        }
        let text = skeleton.text().to_vec();
        masked.mask(one.as_bytes());
        let (masked_text, kept) = (masked.text.clone(), masked.keep(&skeleton));
        let has_one = skeleton.take(other.as_bytes());
        let Some(kept) = kept.filter(|_| has_one && text == skeleton.text()) else { return false };
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
    fn ids_are_recalled_whatever_their_digits() {
        assert!(check(
            "[req-113d3a99-c3da-401f-bd62-cc2caa5b96d2] 7",
            "[req-12345678-beef-1234-dead-cafecafecafe] 12"
        ));
        assert!(check("trace 4bf92f3577b34da6 ended", "trace a1a1a1a1a1a1a1a1 ended"));
        assert!(!check("version 3.1a2b3c4d5", "version 3.a1b2c3d4e"), "decimals, or a word");
        assert!(!check("Nov 1a2b3c4d5", "Nov a1b2c3d4e"), "a day, or a word");
    }

    #[test]
    fn lengths_that_matter_are_not_recalled() {
        assert!(!check("load 1.5 of it", "load 1234567.12345678 of it"), "another class of numbers");
        assert!(!check("req 12345678901-1", "req 123456789-1234567-"), "other text");
        let quoted = |digits: usize| format!("said '{} {}' at last", "w".repeat(250), "7".repeat(digits));
        assert!(check(&quoted(1), &quoted(4)) && !check(&quoted(1), &quoted(5)), "too long a quotation");
        assert!(!check(&quoted(5), &quoted(4)), "too long, and short enough in others");
        let key = |digits: usize| format!("\"{}.{}\": 1", "w".repeat(250), "7".repeat(digits));
        assert!(!check(&key(4), &key(3)) && !check(&key(3), &key(4)), "a key keeps its digits");
        assert!(!check(&key(5), &key(3)), "too long for one");
        let long = "7".repeat(80);
        assert!(!check("req 1234567890123456-a7 done", &format!("req {long}-a7 done")), "too long for an id");
    }

    /// A part of a message.
    #[derive(Clone, Debug)]
    enum Part {
        Text(&'static str),
        /// In the place of which another is put.
        Number,
        Hex,
        Uuid,
        /// Letters, so that quotations come near their limit.
        Filler(usize),
    }

    /// Words, numbers, ids and what joins them.
    fn parts() -> impl Strategy<Value = Vec<Part>> {
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
            "\n",
        ]);
        let part = prop_oneof![
            6 => text.prop_map(Part::Text),
            4 => Just(Part::Number),
            1 => Just(Part::Hex),
            1 => Just(Part::Uuid),
            1 => (200usize..260).prop_map(Part::Filler),
        ];
        prop::collection::vec(part, 0..16)
    }

    /// Groups of ids of the same length, of letters, of digits, and of both in more than one order.
    fn group(length: usize, which: usize) -> String {
        ["1a2b", "12ab", "1234", "ab12", "beef", "a234"][which % 6].chars().cycle().take(length).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8_000))]
        #[test]
        fn recalled_is_as_masked(
            parts in parts(),
            lengths in prop::collection::vec((1usize..20, 1usize..20), 16),
            which in prop::collection::vec((0usize..6, 0usize..6), 16 * 5),
            digit in 0u8..10,
        ) {
            let message = |length: fn(&(usize, usize)) -> usize, of: fn(&(usize, usize)) -> usize, digit: u8| -> String {
                let part = |(index, part): (usize, &Part)| {
                    let group = |length, number: usize| group(length, of(&which[index * 5 + number]));
                    match part {
                        Part::Text(text) => (*text).to_owned(),
                        Part::Number => char::from(b'0' + digit).to_string().repeat(length(&lengths[index])),
                        Part::Hex => group(9, 0),
                        Part::Uuid => [group(8, 0), group(4, 1), group(4, 2), group(4, 3), group(12, 4)].join("-"),
                        Part::Filler(length) => "w".repeat(*length),
                    }
                };
                parts.iter().enumerate().map(part).collect()
            };
            check(&message(|length| length.0, |of| of.0, 7), &message(|length| length.1, |of| of.1, digit));
            // Lengths of one class mostly, so that most are alike.
            check(&message(|length| 1 + length.0 % 7, |of| of.0, 7), &message(|length| 1 + length.1 % 7, |of| of.1, digit));
            // The same kinds of ids mostly.
            check(&message(|length| length.0 % 7, |of| of.0 % 2, 7), &message(|length| length.1 % 7, |of| of.1 % 2, digit));
        }
    }
}
