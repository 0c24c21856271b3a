//! What a pattern costs on texts that are made against it: takes the pattern, gives the steps a byte of the worst of them.
//! For tools and tests, not for the hot path. No clock: steps are counted, so that the answer is the same everywhere.
//!
//! The texts are pieces of what the pattern itself matches, in an order without rule, and never a match: that is what
//! leads a lazily built automaton to the most states. One that has met all its states takes a step a byte. One that goes
//! on meeting new ones builds them, and each takes about as long as reading hundreds of bytes.

use regex_automata::{
    Anchored,
    hybrid::{
        LazyStateID,
        dfa::{Cache, DFA},
    },
    nfa::thompson::{self, WhichCaptures},
    util::start,
};
use regex_syntax::hir::{Class, Hir, HirKind};

use super::pattern;

/// Texts that a pattern is tried on, and bytes of each: far more than the states of a pattern that settles.
const TEXTS: u32 = 24;
const TEXT_BYTES: usize = 16 << 10;
/// Most different pieces in a text.
const PIECES: usize = 8;
/// Longest stretch of a repetition in a piece.
const MAX_REPEATED: u32 = 40;
/// Steps that working out a transition takes, for each state of the pattern's NFA.
const BUILDING: f64 = 0.25;
/// A pattern that takes more steps a byte is slow.
pub const SLOW: f64 = 12.0;

/// What a pattern costs on the worst of the texts made against it.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// Steps a byte: one if its automaton settles, and as many as its NFA has states where the automaton gives up.
    pub steps: f64,
    /// That text; the pattern does not match in it.
    pub text: Vec<u8>,
}

/// Tries a pattern on the texts made against it.
///
/// # Errors
/// What is wrong with the pattern, as when a set is compiled.
pub fn worst(pattern: &str) -> Result<Cost, String> {
    let hir = pattern::parse(pattern)?;
    let config = thompson::Config::new().utf8(false).which_captures(WhichCaptures::None);
    let nfa =
        thompson::Compiler::new().configure(config).build_from_hir(&hir).map_err(|it| it.to_string())?;
    let states = nfa.states().len() as f64;
    let dfa = DFA::builder().configure(pattern::lazy()).build_from_nfa(nfa).map_err(|it| it.to_string())?;
    let mut worst = Cost { steps: 1.0, text: Vec::new() };
    for seed in 0..TEXTS {
        let mut text = Vec::with_capacity(TEXT_BYTES * 2);
        let steps = match built(&dfa, &hir, &mut Random(seed), &mut text) {
            Some(built) => (1.0 + built as f64 * BUILDING * states / TEXT_BYTES as f64).min(states),
            None => states,
        };
        if steps > worst.steps || worst.text.is_empty() {
            worst = Cost { steps, text };
        }
    }
    Ok(worst)
}

/// Transitions that had to be worked out on a text after it had been read once; `None` if the automaton gave up.
fn built(dfa: &DFA, hir: &Hir, random: &mut Random, text: &mut Vec<u8>) -> Option<usize> {
    let mut cache = dfa.create_cache();
    let pieces: Vec<Vec<u8>> = (0..random.below(PIECES).max(2)).map(|_| piece(hir, random)).collect();
    let mut built = 0usize;
    let mut state = begin(dfa, &mut cache)?;
    cache.search_start(0);
    // Where every piece is a match by itself, there is no text that is none.
    for _ in 0..TEXT_BYTES {
        if text.len() >= TEXT_BYTES * 2 {
            break;
        }
        let (before, cleared, length) = (state, cache.clear_count(), text.len());
        for byte in pieces.get(random.below(pieces.len()))? {
            let is_known = !dfa.next_state_untagged(&cache, state, *byte).is_unknown();
            built = built.saturating_add(usize::from(!is_known && text.len() >= TEXT_BYTES));
            cache.search_update(text.len());
            state = dfa.next_state(&mut cache, state, *byte).ok()?;
            text.push(*byte);
            if state.is_match() || state.is_dead() {
                // A search would end here: the text goes on as if this piece had not come.
                let is_valid = cache.clear_count() == cleared;
                state = if is_valid { before } else { begin(dfa, &mut cache)? };
                if is_valid {
                    text.truncate(length)
                } else {
                    text.push(b'\n')
                };
                break;
            }
        }
    }
    Some(built)
}

fn begin(dfa: &DFA, cache: &mut Cache) -> Option<LazyStateID> {
    dfa.start_state(cache, &start::Config::new().anchored(Anchored::No)).ok()
}

/// A part of something that the pattern matches.
fn piece(hir: &Hir, random: &mut Random) -> Vec<u8> {
    let mut whole = Vec::new();
    sample(hir, random, &mut whole);
    let (one, other) = (random.below(whole.len()), random.below(whole.len().saturating_add(1)));
    let from = if random.below(2) == 0 { 0 } else { one.min(other) };
    let mut piece = whole.get(from..one.max(other)).unwrap_or_default().to_vec();
    // Where one word or line ends, another may begin.
    match random.below(8) {
        0 => piece.push(b'\n'),
        1..4 => piece.push(b' '),
        _ if piece.is_empty() => piece.push(b' '),
        _ => {}
    }
    piece
}

/// Adds a text that the pattern matches, but for what it demands of its borders.
fn sample(hir: &Hir, random: &mut Random, text: &mut Vec<u8>) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.extend_from_slice(&literal.0),
        HirKind::Class(class) => text.push(member(class, random)),
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(MAX_REPEATED).min(MAX_REPEATED.max(repetition.min));
            let more = random.below(most.saturating_sub(repetition.min).saturating_add(1) as usize);
            (0..more.saturating_add(repetition.min as usize))
                .for_each(|_| sample(&repetition.sub, random, text));
        }
        HirKind::Capture(capture) => sample(&capture.sub, random, text),
        HirKind::Concat(parts) => parts.iter().for_each(|part| sample(part, random, text)),
        HirKind::Alternation(branches) => {
            branches.get(random.below(branches.len())).into_iter().for_each(|it| sample(it, random, text));
        }
    }
}

/// A byte of a class: a small letter, a digit or a sign where it has one.
fn member(class: &Class, random: &mut Random) -> u8 {
    let Class::Bytes(class) = class else { return b' ' };
    let has = |byte: u8| class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&byte));
    let usual = b"aeo10 ./-_:=\"'";
    let known: Vec<u8> = usual.iter().copied().filter(|byte| has(*byte)).collect();
    let small = (b'a'..=b'z').find(|byte| has(*byte));
    let any = || class.ranges().first().map_or(b' ', |range| range.start());
    known.get(random.below(known.len())).copied().or(small).unwrap_or_else(any)
}

/// Numbers without order, the same each time.
struct Random(u32);

impl Random {
    /// A number below the bound; 0 if there is none.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((self.0 >> 8) as usize).checked_rem(bound).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::builtin_rules;

    #[test]
    fn what_settles_takes_a_step_a_byte_and_a_counted_gap_many() {
        assert!(worst("disk .* (full|failed)").unwrap().steps < 1.1);
        assert!(worst(r"\bbackup [^:]*: (failed|lost)\b").unwrap().steps < 1.1);
        assert!(worst("alpha.{0,60}beta.{0,60}gamma").unwrap().steps > SLOW);
        assert!(worst("(").unwrap_err().starts_with("is not a regex"));
        assert_eq!(worst("alpha.{0,60}beta"), worst("alpha.{0,60}beta"), "the same each time");
    }

    #[test]
    fn a_pattern_that_every_piece_matches_has_no_text_against_it() {
        assert_eq!(worst("[a-z]").unwrap().steps, 1.0);
    }

    #[test]
    fn the_builtin_patterns_settle() {
        let slow: Vec<String> = builtin_rules()
            .iter()
            .flat_map(|rule| {
                let patterns = std::iter::once(&rule.pattern).chain(&rule.unless).filter(|it| !it.is_empty());
                let steps = patterns.map(|pattern| worst(pattern).unwrap().steps).fold(0.0, f64::max);
                (steps > SLOW).then(|| format!("{}: {steps:.0} steps a byte", rule.name))
            })
            .collect();
        assert_eq!(slow, Vec::<String>::new(), "write `.*` for counted gaps, or split the rule");
    }
}
