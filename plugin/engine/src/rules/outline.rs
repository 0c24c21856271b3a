//! What a pattern's match cannot do without, checked in a few look-ups: takes a pattern's required literals and the
//! three-byte windows (grams) that a message has, says whether the pattern can match at all.
//!
//! A rule becomes a candidate by its rarest literal. Most candidates then lack something else that their patterns ask
//! for (`connect`, but no `database`), and running an automaton over the message to learn that would be most of a
//! search's time. So a message's grams are noted once, in a table small enough for a processor's first cache, and a
//! pattern is only run if for one of its branches every required set has a text whose grams are all there. Ignores
//! ASCII case. Must not know rules; may say yes too often (grams in another order, two grams in one cell), never no.

use regex_syntax::hir::Hir;

use super::literal;

/// Cells of the table of grams. A byte each, because a bit takes longer to set.
const CELLS: usize = 1 << 11;
/// Grams of a text that are asked for.
const GRAMS: usize = 4;
/// What makes ASCII letters lower case, in each byte of a gram.
const LOWER: u32 = 0x0020_2020;

/// The grams of one message.
#[derive(Clone, Debug)]
pub(super) struct Grams {
    cells: [bool; CELLS],
    is_noted: bool,
}

impl Default for Grams {
    fn default() -> Grams {
        Grams { cells: [false; CELLS], is_noted: false }
    }
}

impl Grams {
    /// Another message comes; the table is written when it is first asked for.
    pub(super) fn forget(&mut self) {
        self.is_noted = false;
    }

    fn note(&mut self, message: &[u8]) {
        self.cells.fill(false);
        let mut rest = message;
        while let Some(word) = rest.first_chunk::<8>() {
            let word = u64::from_le_bytes(*word);
            for place in [0, 8, 16, 24, 32, 40] {
                self.set((word >> place) as u32);
            }
            rest = rest.get(6..).unwrap_or_default();
        }
        rest.windows(3).for_each(|bytes| self.set(gram(bytes)));
        self.is_noted = true;
    }

    #[inline(always)]
    fn set(&mut self, gram: u32) {
        if let Some(cell) = self.cells.get_mut(cell(gram)) {
            *cell = true;
        }
    }

    fn has(&self, cell: u16) -> bool {
        self.cells.get(usize::from(cell)).is_some_and(|cell| *cell)
    }
}

/// The bytes as a number, the first lowest.
fn gram(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |gram, byte| gram << 8 | u32::from(*byte))
}

/// The cell of a gram, by Knuth's multiplicative hash. The fourth byte does not count.
#[inline(always)]
fn cell(gram: u32) -> usize {
    let hash = ((gram | LOWER) << 8).wrapping_mul(0x9e37_79b1);
    (hash >> (u32::BITS - CELLS.trailing_zeros())) as usize
}

/// Any branch, every set, any text: for each branch the number of its sets, for each set the number of its texts, for
/// each text the cells of a few grams, spread over it. One list, because it is read rarely enough to be far away.
#[derive(Clone, Debug, Default)]
pub(super) struct Outline(Box<[u16]>);

impl Outline {
    /// The outline of a pattern; one that promises nothing can always match.
    pub(super) fn of(hir: &Hir) -> Outline {
        let branches = literal::branches(hir);
        if branches.iter().any(Vec::is_empty) {
            return Outline::default();
        }
        let mut list = Vec::new();
        // The literals' own limits are far below what a number of the list can be.
        let count = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
        for sets in branches {
            list.push(count(sets.len()));
            for texts in sets {
                list.push(count(texts.len()));
                texts.iter().for_each(|text| list.extend(trace(text)));
            }
        }
        Outline(list.into_boxed_slice())
    }

    /// Whether the pattern can match the message, which must be the one that the grams were last told to forget for.
    pub(super) fn fits(&self, grams: &mut Grams, message: &[u8]) -> bool {
        if self.0.is_empty() {
            return true;
        }
        if !grams.is_noted {
            grams.note(message);
        }
        let mut rest = &*self.0;
        while let Some((sets, after)) = rest.split_first() {
            rest = after;
            let mut fits = true;
            for _ in 0..*sets {
                let Some((texts, after)) = rest.split_first() else { return true };
                let Some((traces, after)) = after.split_at_checked(usize::from(*texts) * GRAMS) else {
                    return true;
                };
                rest = after;
                fits =
                    fits && traces.chunks_exact(GRAMS).any(|trace| trace.iter().all(|cell| grams.has(*cell)));
            }
            if fits {
                return true;
            }
        }
        false
    }
}

/// Texts have three bytes at least, so that there is a gram; a short one's is asked for more than once.
fn trace(text: &[u8]) -> [u16; GRAMS] {
    let last = text.len().saturating_sub(3);
    std::array::from_fn(|turn| {
        let from = last.saturating_mul(turn) / (GRAMS - 1);
        let bytes = text.get(from..).unwrap_or_default();
        u16::try_from(cell(gram(bytes.get(..3).unwrap_or(bytes)))).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::pattern::{Caches, Matcher, parse},
        *,
    };

    fn fits(pattern: &str, message: &str) -> bool {
        let hir = parse(pattern).unwrap();
        Outline::of(&hir).fits(&mut Grams::default(), message.as_bytes())
    }

    #[test]
    fn every_set_of_one_branch_must_be_there() {
        let pattern =
            r"\b(?:failed|unable to)\b.{0,9}\bconnect\w*.{0,9}(?:database|mysql)|\bserver has gone\b";
        assert!(fits(pattern, "Failed while CONNECTING to MySQL"));
        assert!(fits(pattern, "the server has gone away"));
        assert!(!fits(pattern, "connect: unable to reach host"));
        assert!(!fits(pattern, "the database was connected"));
        assert!(!fits(pattern, "ab"));
    }

    #[test]
    fn a_branch_that_promises_nothing_always_fits() {
        assert!(fits(r"database failed|\d+:\d+", "x"));
        assert!(fits("ab", ""));
    }

    #[test]
    fn a_message_is_noted_anew_only_after_the_last_is_forgotten() {
        let outline = Outline::of(&parse("failed").unwrap());
        let mut grams = Grams::default();
        assert!(outline.fits(&mut grams, b"it failed"));
        grams.forget();
        assert!(!outline.fits(&mut grams, b"it ended"));
    }

    proptest! {
        #[test]
        fn what_matches_fits(
            pattern in prop::sample::select(vec![
                r"alpha.*beta|gamma \d+",
                r"(?:al|be)(?:pha|ta).{0,3}gamma",
                r"\balpha(?: beta)?\b.*[gG]amma$",
                "(?i:BETA)+",
            ]),
            words in prop::collection::vec(
                prop::sample::select(vec!["alpha", "Beta", "gamma", "GAMMA 7", "bepha", " ", "é"]),
                0..12,
            ),
        ) {
            let message = words.concat();
            let matcher = Matcher::new(&[parse(pattern).unwrap()], 1 << 20).unwrap();
            let mut caches = Caches::default();
            caches.belong_to(1, 1);
            let matches = caches.is_match(0, &matcher, message.as_bytes(), usize::MAX);
            prop_assert!(!matches || fits(pattern, &message));
        }
    }
}
