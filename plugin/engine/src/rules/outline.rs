//! What a pattern's match cannot do without, checked in a few look-ups: takes a pattern's required literals and the
//! four-byte windows (grams) that a message has, says whether the pattern can match at all.
//!
//! A rule becomes a candidate by its rarest literal. Most candidates then lack something else that their patterns ask
//! for (`connect`, but no `database`), and running an automaton over the message to learn that would be most of a
//! search's time. So a message's grams are noted on the way, in a table small enough for a processor's first cache, and a
//! pattern is only run if for one of its branches every required set has a text whose grams are all there. Ignores
//! ASCII case. Must not know rules; may say yes too often (grams in another order, two grams in one cell), never no.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use regex_syntax::hir::Hir;

use super::{
    finder::window::{KEY, hash, window},
    literal::{self, Branch, Required, Texts},
};
use crate::mask::{Skeleton, Varies};

/// Cells of the table of grams. A byte each, because a bit takes longer to set.
const CELLS: usize = 1 << 13;
/// Grams of a text that are asked for.
const GRAMS: usize = 4;
/// Bytes of a gram; shorter texts are taken to be everywhere.
const GRAM: usize = 4;

/// The grams of one message.
#[derive(Clone, Debug)]
pub(super) struct Grams {
    /// The number of the message that last had it.
    cells: [u8; CELLS],
    /// That of the one that is noted.
    message: u8,
    is_noted: bool,
}

impl Default for Grams {
    fn default() -> Grams {
        Grams { cells: [0; CELLS], message: 0, is_noted: false }
    }
}

impl Grams {
    /// Another message comes; it is noted when its grams are first asked for.
    pub(super) fn forget(&mut self) {
        self.is_noted = false;
    }

    /// Another message comes, all of whose grams the caller notes.
    pub(super) fn begin(&mut self) -> &mut Grams {
        self.message = self.message.wrapping_add(1);
        if self.message == 0 {
            // Numbers come again from here.
            self.cells.fill(0);
            self.message = 1;
        }
        self.is_noted = true;
        self
    }

    /// The message has a gram of this hash.
    #[inline(always)]
    pub(super) fn note(&mut self, hash: u32) {
        if let Some(cell) = self.cells.get_mut(cell(hash)) {
            *cell = self.message;
        }
    }

    fn note_all(&mut self, message: &[u8]) {
        let noted = self.begin();
        message.windows(GRAM).filter_map(window).for_each(|gram| noted.note(hash(gram)));
    }

    /// Notes the grams that other messages with this one's skeleton may have in their hexadecimal ids.
    pub(super) fn note_what_may_be(&mut self, message: &[u8], skeleton: &Skeleton, varies: &[Varies]) {
        if skeleton.hex_ids().next().is_none() {
            return;
        }
        if !self.is_noted {
            self.note_all(message);
        }
        // Most are alike: those within an id, and around the dashes of all UUIDs.
        let mut done = BTreeSet::new();
        let windows = |id: Range<usize>| id.start.saturating_sub(GRAM - 1)..id.end;
        for at in skeleton.hex_ids().flat_map(windows) {
            let gram = message.get(at..).and_then(<[u8]>::first_chunk::<GRAM>);
            let varies = varies.get(at..).and_then(<[Varies]>::first_chunk::<GRAM>);
            let (Some(mut gram), Some(varies)) = (gram.copied(), varies) else { continue };
            let varies = varies.map(|varies| varies == Varies::Hex);
            gram.iter_mut().zip(varies).filter(|(_, varies)| *varies).for_each(|(byte, _)| *byte = 0);
            if done.insert((gram, varies)) {
                self.note_letters(gram, varies);
            }
        }
    }

    /// Notes a gram with any hexadecimal letters where it varies; no gram with digits is asked for.
    fn note_letters(&mut self, gram: [u8; GRAM], varies: [bool; GRAM]) {
        let Some(first) = varies.iter().position(|varies| *varies) else {
            window(&gram).into_iter().for_each(|gram| self.note(hash(gram)));
            return;
        };
        let (mut gram, mut rest) = (gram, varies);
        for letter in b'a'..=b'f' {
            if let (Some(byte), Some(varies)) = (gram.get_mut(first), rest.get_mut(first)) {
                (*byte, *varies) = (letter, false);
            }
            self.note_letters(gram, rest);
        }
    }

    fn has(&self, cell: u16) -> bool {
        self.cells.get(usize::from(cell)) == Some(&self.message)
    }

    /// Whether every set of a branch has a text whose grams are all there.
    fn have_all(&self, mut sets: &[u16]) -> bool {
        while let Some((texts, after)) = sets.split_first() {
            let Some((traces, after)) = after.split_at_checked(usize::from(*texts) * GRAMS) else {
                return true;
            };
            sets = after;
            let (traces, _) = traces.as_chunks::<GRAMS>();
            if !traces.iter().any(|trace| trace.iter().all(|cell| self.has(*cell))) {
                return false;
            }
        }
        true
    }
}

/// The cell of a gram's hash.
#[inline(always)]
fn cell(hash: u32) -> usize {
    (hash >> (u32::BITS - CELLS.trailing_zeros())) as usize
}

/// Any branch, every set, any text: for each branch its reach, the length of what it takes, for each of its sets the number
/// of its texts, for each text the cells of a few grams, spread over it. One list, because it is read rarely enough to be
/// far away. The branches that reach farthest come first.
#[derive(Clone, Debug)]
pub(super) struct Outline(Box<[u16]>);

/// The reach of what has no limit.
const FAR: u16 = u16::MAX;

/// How far before a literal a match that has it may begin, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach(u16);

impl Reach {
    /// Where a match begins at the earliest if the first of its literals is at a place.
    pub(super) fn before(self, place: usize) -> usize {
        if self.0 == FAR { 0 } else { place.saturating_sub(self.0.into()) }
    }
}

/// Asks for nothing, and lets a match begin anywhere.
impl Default for Outline {
    fn default() -> Outline {
        Outline(Box::new([FAR, 0]))
    }
}

impl Outline {
    /// The outlines of a pattern's branches by the literals, of those that the pattern requires, by which they are found:
    /// whoever sees one of these has to ask no other branch.
    pub(super) fn by_literals(hir: &Hir, required: &Required) -> BTreeMap<Texts, Outline> {
        let mut found: BTreeMap<Texts, Vec<Branch>> = BTreeMap::new();
        for branch in literal::branches(hir, &required.texts) {
            found.entry(branch.trigger.clone()).or_default().push(branch);
        }
        found.into_iter().map(|(texts, branches)| (texts, Outline::of(branches))).collect()
    }

    fn of(mut branches: Vec<Branch>) -> Outline {
        let far = |reach: Option<usize>| reach.and_then(|reach| u16::try_from(reach).ok()).unwrap_or(FAR);
        branches.sort_by_key(|branch| std::cmp::Reverse(far(branch.reach)));
        let mut list = Vec::new();
        // The literals' own limits are far below what a number of the list can be.
        let count = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
        for Branch { trigger, mut sets, reach } in branches {
            // Of the trigger a key was seen; there may be more of it.
            if trigger.iter().any(|text| text.len() > KEY) {
                sets.push(trigger);
            }
            sets.retain(|texts| texts.iter().all(|text| trace(text).is_some()));
            list.push(far(reach));
            list.push(count(sets.iter().map(|texts| 1 + texts.len() * GRAMS).sum()));
            for texts in sets {
                list.push(count(texts.len()));
                texts.iter().filter_map(|text| trace(text)).for_each(|trace| list.extend(trace));
            }
        }
        Outline(list.into_boxed_slice())
    }

    /// How far before the first of the literals a match may begin; `None` if there can be no match. The message must be the one
    /// that the grams were last told to forget for. Numbers in it make no difference.
    pub(super) fn reach(&self, grams: &mut Grams, message: &[u8]) -> Option<Reach> {
        if !grams.is_noted {
            grams.note_all(message);
        }
        let mut rest = &*self.0;
        while let [reach, length, after @ ..] = rest {
            let Some((branch, after)) = after.split_at_checked(usize::from(*length)) else {
                return Some(Reach(FAR));
            };
            rest = after;
            if grams.have_all(branch) {
                return Some(Reach(*reach));
            }
        }
        None
    }
}

/// The cells of a text's grams, those of few more than once. Grams with digits are left out, so that what a message is asked for
/// does not depend on its numbers; `None` if there are no others.
fn trace(text: &[u8]) -> Option<[u16; GRAMS]> {
    let grams = text.windows(GRAM).filter(|gram| !gram.iter().any(u8::is_ascii_digit));
    let grams: Vec<u32> = grams.filter_map(window).collect();
    let last = grams.len().checked_sub(1)?;
    let spread = |turn: usize| grams.get(last.saturating_mul(turn) / (GRAMS - 1)).copied();
    Some(std::array::from_fn(|turn| {
        u16::try_from(cell(hash(spread(turn).unwrap_or_default()))).unwrap_or_default()
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::pattern::{Caches, Matcher, parse},
        *,
    };

    /// Whether one of the ways into a pattern is seen and open.
    fn fits(pattern: &str, message: &str) -> bool {
        let hir = parse(pattern).unwrap();
        let Some(required) = literal::required(&hir) else { return true };
        let message = message.to_ascii_lowercase();
        let ways = Outline::by_literals(&hir, &required);
        let is_seen =
            |texts: &Texts| texts.iter().any(|text| message.contains(std::str::from_utf8(text).unwrap()));
        let mut open = ways.iter().filter(|(texts, _)| is_seen(texts));
        open.any(|(_, way)| way.reach(&mut Grams::default(), message.as_bytes()).is_some())
    }

    /// The one way into a pattern.
    fn only_way(pattern: &str) -> Outline {
        let hir = parse(pattern).unwrap();
        let ways = Outline::by_literals(&hir, &literal::required(&hir).unwrap());
        assert_eq!(ways.len(), 1);
        ways.into_values().next().unwrap()
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
    fn a_branch_is_not_asked_for_what_another_is_found_by() {
        let hir = parse(r"\x{202e}|\.(?:pdf|doc) {3,9}\.exe\b").unwrap();
        let ways = Outline::by_literals(&hir, &literal::required(&hir).unwrap());
        let by_name = ways.get(&vec![b".exe".to_vec()]).unwrap();
        let opens = |message: &[u8]| by_name.reach(&mut Grams::default(), message).is_some();
        assert_eq!((ways.len(), opens(b"chrome.exe"), opens(b"a.pdf    .exe")), (2, false, true));
    }

    #[test]
    fn what_is_longer_than_its_key_is_asked_for_as_a_whole() {
        assert!(!fits("authentication failure", "authentication error; failure"));
        let way = only_way("authentication failure");
        assert!(way.reach(&mut Grams::default(), b"failure of it").is_none());
        assert!(way.reach(&mut Grams::default(), b"an authentication failure").is_some());
    }

    #[test]
    fn texts_too_short_for_a_gram_are_taken_to_be_there() {
        assert!(fits("(?:oom|zap).*hypervisor", "the hypervisor"));
        assert!(!fits("(?:oom|zap).*hypervisor", "zap"));
        assert!(fits("oom|killed", "an oom"));
    }

    #[test]
    fn a_message_before_is_not_taken_for_this_one_when_numbers_come_again() {
        let outline = only_way("it failed in the end");
        let mut grams = Grams::default();
        assert!(outline.reach(&mut grams, b"it failed in the end").is_some());
        for _ in 0..600 {
            grams.forget();
            assert!(outline.reach(&mut grams, b"it ended").is_none());
        }
    }

    #[test]
    fn a_message_is_noted_anew_only_after_the_last_is_forgotten() {
        let outline = only_way("it failed in the end");
        let mut grams = Grams::default();
        assert!(outline.reach(&mut grams, b"it failed in the end").is_some());
        grams.forget();
        assert!(outline.reach(&mut grams, b"it ended").is_none());
    }

    proptest! {
        #[test]
        fn what_matches_fits(
            pattern in prop::sample::select(vec![
                r"alpha.*beta|gamma \d+",
                r"(?:al|be)(?:pha|ta).{0,3}gamma",
                r"\balpha(?: beta)?\b.*[gG]amma$",
                "(?i:BETA)+",
                r"alpha[ A]+(?:beta)+gamma",
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
            let matches = caches.is_match(0, &matcher, message.as_bytes(), 0, usize::MAX);
            prop_assert!(!matches || fits(pattern, &message));
        }
    }
}
