//! Finds literals: takes the texts that numbered rules require, gives the numbers whose text occurs in a message.
//!
//! Each text is known by one window of four of its bytes, the one that ordinary log lines have least. Every window of a
//! message is looked up in a table, and only where it is somebody's the text itself is compared. No look-up waits for
//! the one before, so this costs about the same for a hundred rules as for thousands. An automaton, whose every step
//! needs the last one's answer, took longer, and much longer with ten times the rules (plugin/README.md has figures); it
//! still serves the sets whose texts are too many or too much alike for the table. Must not know rules or regexes.

mod window;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use aho_corasick::{Anchored, MatchKind, automaton::Automaton, nfa::contiguous::NFA};

use self::window::{FEW, MANY, Windows, room};

/// Whether a text is a word that ordinary log lines are full of.
pub fn is_ordinary(text: &[u8]) -> bool {
    // Asked of every literal of every pattern while a set is compiled.
    static WORDS: LazyLock<BTreeSet<&[u8]>> =
        LazyLock::new(|| window::ORDINARY.split_ascii_whitespace().map(str::as_bytes).collect());
    WORDS.contains(text)
}

/// Literals, and the numbers that each of them speaks for.
#[derive(Debug, Default)]
pub(super) struct Finder {
    search: Option<Search>,
    spoken_for: Vec<Vec<u32>>,
}

#[derive(Debug)]
enum Search {
    Few(Windows<FEW>),
    Many(Windows<MANY>),
    Automaton(Box<NFA>),
}

impl Finder {
    /// Calls `found` with every number of which a literal occurs, without regard to ASCII case; maybe more than once.
    pub(super) fn each(&self, message: &[u8], mut found: impl FnMut(u32)) {
        let literal = |literal: usize| {
            self.spoken_for.get(literal).into_iter().flatten().for_each(|number| found(*number))
        };
        match &self.search {
            None => {}
            Some(Search::Few(windows)) => windows.each(message, literal),
            Some(Search::Many(windows)) => windows.each(message, literal),
            Some(Search::Automaton(automaton)) => literals_in(&**automaton, message, literal),
        }
    }
}

/// The literals of a finder while it is built.
#[derive(Debug, Default)]
pub(super) struct Literals {
    numbers: BTreeMap<Vec<u8>, usize>,
    texts: Vec<Vec<u8>>,
    spoken_for: Vec<Vec<u32>>,
}

impl Literals {
    /// Each of the texts (of three bytes at least, in lower case) speaks for the number.
    pub(super) fn add(&mut self, texts: Vec<Vec<u8>>, number: u32) {
        for text in texts {
            let next = self.texts.len();
            let place = *self.numbers.entry(text.clone()).or_insert(next);
            if place == next {
                self.texts.push(text);
                self.spoken_for.push(Vec::new());
            }
            self.spoken_for.get_mut(place).into_iter().for_each(|numbers| numbers.push(number));
        }
    }

    /// The finder.
    ///
    /// # Errors
    /// If there are more literals than an automaton can hold.
    pub(super) fn build(self) -> Result<Finder, String> {
        if self.texts.is_empty() {
            return Ok(Finder::default());
        }
        let search = match self.texts.len() {
            few if few <= room(FEW) => Windows::new(&self.texts).map(Search::Few),
            many if many <= room(MANY) => Windows::new(&self.texts).map(Search::Many),
            _ => None,
        };
        let search = match search {
            Some(search) => search,
            None => {
                let mut builder = NFA::builder();
                builder.ascii_case_insensitive(true).match_kind(MatchKind::Standard).prefilter(false);
                let automaton = builder.build(&self.texts);
                let automaton = automaton.map_err(|error| format!("the literals do not fit: {error}"))?;
                Search::Automaton(Box::new(automaton))
            }
        };
        Ok(Finder { search: Some(search), spoken_for: self.spoken_for })
    }
}

/// Calls `found` with the number of every literal that occurs, each time it does. By hand over the automaton's table,
/// because the crate's overlapping iterator starts anew after every match.
fn literals_in(automaton: &impl Automaton, message: &[u8], mut found: impl FnMut(usize)) {
    let Ok(mut state) = automaton.start_state(Anchored::No) else { return };
    for byte in message {
        state = automaton.next_state(Anchored::No, state, *byte);
        if automaton.is_special(state) && automaton.is_match(state) {
            (0..automaton.match_len(state))
                .for_each(|index| found(automaton.match_pattern(state, index).as_usize()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
        finder.each(message, |number| _ = numbers.insert(number));
        numbers
    }

    fn occurring(texts: &[Vec<u8>], message: &[u8]) -> BTreeSet<u32> {
        let occurs = |text: &[u8]| message.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text));
        (0..).zip(texts).filter(|(_, text)| occurs(text)).map(|(number, _)| number).collect()
    }

    #[test]
    fn sets_that_are_too_much_alike_are_searched_all_the_same() {
        let alike: Vec<Vec<u8>> =
            (0..40).map(|number| format!("zqxj{}", "ab".repeat(number)).into_bytes()).collect();
        assert!(matches!(finder(&alike).search, Some(Search::Automaton(_))));
        assert!(matches!(finder(&alike[..4]).search, Some(Search::Few(_))));
        for texts in [&alike[..], &alike[..4]] {
            let message = b"a ZQXJababab b";
            assert_eq!(found(&finder(texts), message), occurring(texts, message));
        }
    }

    #[test]
    fn nothing_is_found_by_nothing() {
        assert!(found(&Finder::default(), b"anything").is_empty());
        assert!(found(&finder(&[b"abc".to_vec()]), b"").is_empty());
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
            prop_assert_eq!(found(&finder(&texts), &message), occurring(&texts, &message));
        }
    }
}
