//! Finds literals: takes the texts that numbered rules require, gives the numbers whose text occurs in a message.
//!
//! One pass over the message whatever the number of texts. Must not know rules or regexes.

use std::collections::BTreeMap;

use aho_corasick::{Anchored, MatchKind, StartKind, automaton::Automaton, dfa::DFA, nfa::contiguous::NFA};

/// Literals of so many bytes in all make a table of at most 8 MiB.
const MAX_TABLE_BYTES: usize = 32 << 10;

/// Literals, and the numbers that each of them speaks for.
#[derive(Debug, Default)]
pub(super) struct Finder {
    automaton: Option<Automata>,
    spoken_for: Vec<Vec<u32>>,
}

/// The automaton over all literals: a full table while that stays small, else a compact one that is half as fast.
#[derive(Debug)]
enum Automata {
    Table(DFA),
    Compact(NFA),
}

impl Finder {
    /// Calls `found` with every number of which a literal occurs, without regard to ASCII case; maybe more than once.
    pub(super) fn each(&self, message: &[u8], mut found: impl FnMut(u32)) {
        let literal = |literal: usize| {
            self.spoken_for.get(literal).into_iter().flatten().for_each(|number| found(*number))
        };
        match &self.automaton {
            None => {}
            Some(Automata::Table(automaton)) => literals_in(automaton, message, literal),
            Some(Automata::Compact(automaton)) => literals_in(automaton, message, literal),
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
    /// Each of the texts speaks for the number.
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
        // Some literal begins nearly everywhere in a log line, so looking for first bytes only costs.
        let built = if self.texts.iter().map(Vec::len).sum::<usize>() <= MAX_TABLE_BYTES {
            let mut builder = DFA::builder();
            builder.ascii_case_insensitive(true).match_kind(MatchKind::Standard).prefilter(false);
            builder.start_kind(StartKind::Unanchored).build(&self.texts).map(Automata::Table)
        } else {
            let mut builder = NFA::builder();
            builder.ascii_case_insensitive(true).match_kind(MatchKind::Standard).prefilter(false);
            builder.build(&self.texts).map(Automata::Compact)
        };
        let automaton = built.map_err(|error| format!("the literals do not fit: {error}"))?;
        Ok(Finder { automaton: Some(automaton), spoken_for: self.spoken_for })
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
