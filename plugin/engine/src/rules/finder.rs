//! Finds literals: takes the texts that numbered rules require, gives the numbers whose text may occur in a message.
//!
//! Each text is known by a key, at most eight of its bytes around those four that ordinary log lines have least. Every
//! four bytes of a message are looked up in a table, and only where they are somebody's the key is compared. No look-up
//! waits for the one before, so this costs about the same for a hundred rules as for thousands. An automaton, whose every
//! step needs the last one's answer, took longer, and much longer with ten times the rules (plugin/README.md has
//! figures); it still serves the sets whose texts are too many or too much alike for the table. May name a number too
//! often (the rest of a long text is not compared), never leaves one out. Must not know rules or regexes.

pub(super) mod window;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use aho_corasick::{Anchored, MatchKind, automaton::Automaton, nfa::contiguous::NFA};
use hashbrown::HashSet;

use self::window::{FEW, Key, MANY, MOST, SOME, Windows};

/// Whether a text is a word that ordinary log lines are full of.
pub fn is_ordinary(text: &[u8]) -> bool {
    // Asked of every literal of every pattern while a set is compiled.
    static WORDS: LazyLock<HashSet<&[u8]>> =
        LazyLock::new(|| window::ORDINARY.split_ascii_whitespace().map(str::as_bytes).collect());
    WORDS.contains(text)
}

/// Literals, and the numbers that each of them speaks for.
#[derive(Debug, Default)]
pub(super) struct Finder {
    search: Option<Search>,
    /// For each key, or literal of the automaton, its numbers, all in one list.
    numbers: Vec<u32>,
    /// Where each key's numbers begin; the last entry is where they end.
    starts: Vec<u32>,
    /// Whether keys hide what some of the literals' bytes are.
    is_ambiguous: bool,
}

#[derive(Debug)]
enum Search {
    Few(Windows<FEW>),
    Some(Windows<SOME>),
    Many(Windows<MANY>),
    Most(Windows<MOST>),
    Automaton(Box<NFA>),
}

impl Search {
    /// The smallest table that holds the keys.
    fn windows(keys: &BTreeMap<Key, Vec<u32>>) -> Option<Search> {
        Windows::new(keys)
            .map(Search::Few)
            .or_else(|| Windows::new(keys).map(Search::Some))
            .or_else(|| Windows::new(keys).map(Search::Many))
            .or_else(|| Windows::new(keys).map(Search::Most))
    }
}

impl Finder {
    /// Whether it has the hashes of a message's windows at hand.
    pub(super) fn sees_windows(&self) -> bool {
        !matches!(self.search, None | Some(Search::Automaton(_)))
    }

    /// Of each key its bytes, as windows have them, and which of the eight count; `None` if there is no table, or if they do not
    /// tell all bytes of the literals apart: some control characters look like digits, and DEL like an underscore.
    pub(super) fn keys(&self) -> Option<BTreeSet<(u64, u64)>> {
        match self.search.as_ref().filter(|_| !self.is_ambiguous) {
            None if self.is_ambiguous => None,
            None => Some(BTreeSet::new()),
            Some(Search::Few(windows)) => Some(windows.keys()),
            Some(Search::Some(windows)) => Some(windows.keys()),
            Some(Search::Many(windows)) => Some(windows.keys()),
            Some(Search::Most(windows)) => Some(windows.keys()),
            Some(Search::Automaton(_)) => None,
        }
    }

    /// Calls `found` with every number of which a literal occurs, without regard to ASCII case, and with a place that is not
    /// before where the literal begins nor behind where it ends; maybe more than once, then in the order of the places,
    /// and maybe with one of which only the key does. Of a finder with a table, `seen` is given the hash of every window of
    /// four bytes first, which it has at hand.
    pub(super) fn each(&self, message: &[u8], seen: impl FnMut(u32), mut found: impl FnMut(u32, usize)) {
        let bound = |key: usize| self.starts.get(key).map_or(0, |start| *start as usize);
        let literal = |key: usize, place: usize| {
            let numbers = self.numbers.get(bound(key)..bound(key + 1)).unwrap_or_default();
            numbers.iter().for_each(|number| found(*number, place));
        };
        match &self.search {
            None => {}
            Some(Search::Few(windows)) => windows.each(message, seen, literal),
            Some(Search::Some(windows)) => windows.each(message, seen, literal),
            Some(Search::Many(windows)) => windows.each(message, seen, literal),
            Some(Search::Most(windows)) => windows.each(message, seen, literal),
            Some(Search::Automaton(automaton)) => literals_in(&**automaton, message, literal),
        }
    }
}

/// The literals of a finder while it is built.
#[derive(Debug, Default)]
pub(super) struct Literals {
    numbers: BTreeMap<Vec<u8>, Vec<u32>>,
}

impl Literals {
    /// Each of the texts (of three bytes at least, in lower case) speaks for the number.
    pub(super) fn add(&mut self, texts: Vec<Vec<u8>>, number: u32) {
        texts.into_iter().for_each(|text| self.numbers.entry(text).or_default().push(number));
    }

    /// The finder.
    ///
    /// # Errors
    /// If there are more literals than an automaton can hold.
    pub(super) fn build(self) -> Result<Finder, String> {
        if self.numbers.is_empty() {
            return Ok(Finder::default());
        }
        let keys = window::keys(&self.numbers);
        if let Some(search) = Search::windows(&keys) {
            let is_ambiguous = self.numbers.keys().flatten().any(|byte| matches!(byte, 0x10..=0x19 | 0x7f));
            return Ok(Finder { is_ambiguous, ..Finder::new(search, keys.into_values()) });
        }
        let mut builder = NFA::builder();
        builder.ascii_case_insensitive(true).match_kind(MatchKind::Standard).prefilter(false);
        let automaton = builder.build(self.numbers.keys());
        let automaton = automaton.map_err(|error| format!("the literals do not fit: {error}"))?;
        Ok(Finder::new(Search::Automaton(Box::new(automaton)), self.numbers.into_values()))
    }
}

impl Finder {
    fn new(search: Search, spoken_for: impl Iterator<Item = Vec<u32>>) -> Finder {
        let (mut starts, mut numbers) = (vec![0], Vec::new());
        for mut each in spoken_for {
            numbers.append(&mut each);
            starts.push(u32::try_from(numbers.len()).unwrap_or(u32::MAX));
        }
        Finder { search: Some(search), numbers, starts, is_ambiguous: false }
    }
}

/// Calls `found` with the number of every literal that occurs, each time it does, and where it ends. By hand over
/// the automaton's table, because the crate's overlapping iterator starts anew after every match.
fn literals_in(automaton: &impl Automaton, message: &[u8], mut found: impl FnMut(usize, usize)) {
    let Ok(mut state) = automaton.start_state(Anchored::No) else { return };
    for (place, byte) in (1..).zip(message) {
        state = automaton.next_state(Anchored::No, state, *byte);
        if automaton.is_special(state) && automaton.is_match(state) {
            (0..automaton.match_len(state))
                .for_each(|index| found(automaton.match_pattern(state, index).as_usize(), place));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn finder(texts: &[Vec<u8>]) -> Finder {
        let mut literals = Literals::default();
        for (number, text) in (0..).zip(texts) {
            literals.add(vec![text.to_ascii_lowercase()], number);
        }
        literals.build().unwrap()
    }

    fn found(finder: &Finder, message: &[u8]) -> BTreeSet<u32> {
        let mut numbers = BTreeSet::new();
        finder.each(message, |_| {}, |number, _| _ = numbers.insert(number));
        numbers
    }

    fn occurring(texts: &[Vec<u8>], message: &[u8]) -> BTreeSet<u32> {
        let occurs = |text: &[u8]| message.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text));
        (0..).zip(texts).filter(|(_, text)| occurs(text)).map(|(number, _)| number).collect()
    }

    /// Texts whose windows all are in one word of every table, as the multiplier's inverse makes them.
    fn alike(count: u32) -> Vec<Vec<u8>> {
        let inverse =
            (0..5).fold(1u32, |it, _| it.wrapping_mul(2u32.wrapping_sub(0x9e37_79b1u32.wrapping_mul(it))));
        let windows = (0..u32::MAX).map(|low| low.wrapping_mul(inverse).to_le_bytes());
        let lower = |bytes: &[u8; 4]| bytes.iter().all(|byte| byte & 0x20 != 0);
        windows.filter(lower).take(count as usize).map(|bytes| bytes.to_vec()).collect()
    }

    #[test]
    fn sets_that_are_too_much_alike_are_searched_all_the_same() {
        for (count, is_table) in [(4, true), (32, true), (33, false), (320, false)] {
            let texts = alike(count);
            let finder = finder(&texts);
            assert_eq!(!matches!(finder.search, Some(Search::Automaton(_))), is_table, "{count}");
            let message = [b"a ", &*texts[0], b"-", &texts[3].to_ascii_uppercase()].concat();
            assert_eq!(found(&finder, &message), occurring(&texts, &message));
        }
    }

    #[test]
    fn the_table_grows_with_the_texts() {
        let texts = |count: usize| {
            let word = |number: usize| format!("w{number:05}x").into_bytes();
            (0..count).map(word).collect::<Vec<_>>()
        };
        assert!(matches!(finder(&texts(200)).search, Some(Search::Few(_))));
        assert!(matches!(finder(&texts(2_000)).search, Some(Search::Some(_))));
        assert!(matches!(finder(&texts(20_000)).search, Some(Search::Many(_))));
    }

    #[test]
    fn nothing_is_found_by_nothing() {
        assert!(found(&Finder::default(), b"anything").is_empty());
        assert!(found(&finder(&[b"abc".to_vec()]), b"").is_empty());
    }

    #[test]
    fn what_is_compared_is_eight_bytes_at_most() {
        let finder = finder(&[b"authentication failed".to_vec(), b"zebra".to_vec()]);
        assert!(found(&finder, b"auth failed, zeb").is_empty());
        assert_eq!(found(&finder, b"ZEBRA"), [1].into());
    }

    /// Few different bytes, so that texts overlap, repeat and differ by case; some that the windows' hash confuses.
    fn letters(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(b"aAbB1q!\0 \xe9\xc9@`".to_vec()), length)
    }

    proptest! {
        #[test]
        fn what_occurs_is_found(
            texts in prop::collection::vec(letters(3..13), 1..60),
            message in letters(0..80),
            inserted in any::<prop::sample::Index>(),
            place in any::<prop::sample::Index>(),
        ) {
            let mut message = message;
            let at = place.index(message.len() + 1);
            message.splice(at..at, inserted.get(&texts).to_ascii_uppercase());
            let found = found(&finder(&texts), &message);
            let missed: Vec<_> = occurring(&texts, &message).difference(&found).copied().collect();
            prop_assert!(missed.is_empty(), "{:?}", missed);
        }
    }
}
