//! What a pattern matches, as a set of texts: takes patterns, says whether one finds all that another finds, and whether one
//! finds anything at all.
//!
//! Both questions are answered by walking lazily built automata side by side, within a bound: an answer, or none.

use std::collections::BTreeSet;

use regex_automata::{
    Anchored, MatchKind,
    hybrid::{
        LazyStateID,
        dfa::{Cache, DFA},
    },
    nfa::thompson,
    util::start,
};
use regex_syntax::ParserBuilder;

/// Most pairs of states that are looked at before giving up.
const MAX_PAIRS: usize = 20_000;
/// Memory of an automaton while it is walked; it must not be thrown away under way.
const WALK_BYTES: usize = 4 << 20;

/// A pattern's automaton.
#[derive(Debug)]
pub(super) struct Language {
    dfa: DFA,
}

impl Language {
    /// The language of a pattern that the engine takes; `None` if it is too large to look into.
    pub(super) fn of(pattern: &str) -> Option<Language> {
        let mut parser = ParserBuilder::new().case_insensitive(true).unicode(false).utf8(false).build();
        let hir = parser.parse(pattern).ok()?;
        let nfa = thompson::Compiler::new()
            .configure(thompson::Config::new().utf8(false).nfa_size_limit(Some(1 << 20)))
            .build_from_hir(&hir)
            .ok()?;
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .cache_capacity(WALK_BYTES)
            .skip_cache_capacity_check(true);
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa).ok()?;
        Some(Language { dfa })
    }

    /// Whether some text exists in which the pattern matches; `None` if that could not be found out.
    pub(super) fn finds_anything(&self) -> Option<bool> {
        let mut one = Walk::new(&self.dfa)?;
        let bytes = representatives(&[&self.dfa]);
        let mut seen = BTreeSet::from([one.start]);
        let mut open = vec![one.start];
        while let Some(state) = open.pop() {
            if state.is_match() || one.end(state)?.is_match() {
                return Some(true);
            }
            for byte in &bytes {
                let next = one.step(state, *byte)?;
                if !next.is_dead() && seen.insert(next) {
                    open.push(next);
                }
            }
            if seen.len() > MAX_PAIRS {
                return None;
            }
        }
        Some(false)
    }

    /// Whether the other pattern finds every text that this one finds; `None` if that could not be found out.
    pub(super) fn is_within(&self, other: &Language) -> Option<bool> {
        let (mut mine, mut theirs) = (Walk::new(&self.dfa)?, Walk::new(&other.dfa)?);
        let bytes = representatives(&[&self.dfa, &other.dfa]);
        // Once this one has matched, it does not matter how it goes on; once the other has, nothing does.
        let first = (mine.start, theirs.start, false);
        let mut seen = BTreeSet::from([first]);
        let mut open = vec![first];
        while let Some((here, there, has_matched)) = open.pop() {
            if there.is_match() {
                continue;
            }
            let matched = has_matched || here.is_match();
            if (matched || mine.end(here)?.is_match()) && !theirs.end(there)?.is_match() {
                return Some(false);
            }
            for byte in &bytes {
                let here = if matched { here } else { mine.step(here, *byte)? };
                let there = theirs.step(there, *byte)?;
                if !matched && here.is_dead() {
                    continue;
                }
                let pair = (here, there, matched);
                if seen.insert(pair) {
                    open.push(pair);
                }
            }
            if seen.len() > MAX_PAIRS {
                return None;
            }
        }
        Some(true)
    }
}

/// An automaton under way; every step fails once its memory had to be thrown away, because states are renamed then.
struct Walk<'d> {
    dfa: &'d DFA,
    cache: Cache,
    start: LazyStateID,
}

impl<'d> Walk<'d> {
    fn new(dfa: &'d DFA) -> Option<Walk<'d>> {
        let mut cache = dfa.create_cache();
        let start = dfa.start_state(&mut cache, &start::Config::new().anchored(Anchored::No)).ok()?;
        Some(Walk { dfa, cache, start })
    }

    fn step(&mut self, state: LazyStateID, byte: u8) -> Option<LazyStateID> {
        let next = self.dfa.next_state(&mut self.cache, state, byte).ok()?;
        (self.cache.clear_count() == 0).then_some(next)
    }

    fn end(&mut self, state: LazyStateID) -> Option<LazyStateID> {
        let next = self.dfa.next_eoi_state(&mut self.cache, state).ok()?;
        (self.cache.clear_count() == 0).then_some(next)
    }
}

/// One byte of each kind that the automata tell apart.
fn representatives(dfas: &[&DFA]) -> Vec<u8> {
    let mut seen = BTreeSet::new();
    (0..=u8::MAX)
        .filter(|byte| {
            let kind: Vec<u8> = dfas.iter().map(|dfa| dfa.byte_classes().get(*byte)).collect();
            seen.insert(kind)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(small: &str, large: &str) -> Option<bool> {
        Language::of(small).unwrap().is_within(&Language::of(large).unwrap())
    }

    #[test]
    fn inclusion() {
        for (small, large, wanted) in [
            ("abc", "b", true),
            ("b", "abc", false),
            ("ABC", "abc", true),
            ("(?-i:ABC)", "abc", true),
            ("abc", "(?-i:ABC)", false),
            (r"\bfoo\b", "foo", true),
            ("foo", r"\bfoo\b", false),
            ("^foo$", r"\bfoo\b", true),
            (r"x\d{3}", r"x\d+", true),
            (r"x\d+", r"x\d{3}", false),
            ("disk full|disk failed", "disk fu?", true),
            ("failed.*disk", "failed", true),
            ("a|b", "[ab]$|a|b(?s:.)", true),
        ] {
            assert_eq!(within(small, large), Some(wanted), "{small} in {large}");
        }
        assert_eq!(within("a.{200}b.{200}c", "x.{300}y"), None);
    }

    #[test]
    fn emptiness() {
        for (pattern, wanted) in [
            ("abc", true),
            ("a^b", false),
            ("a$b", false),
            (r"a\Bb", true),
            (r"a\bb", false),
            ("^a|$b", true),
        ] {
            assert_eq!(Language::of(pattern).unwrap().finds_anything(), Some(wanted), "{pattern}");
        }
    }
}
