//! A rule's pattern: takes its text, gives its syntax tree and its matcher, or says what to write instead.
//!
//! A matcher is a lazily built DFA without the engines that a general regex keeps beside it: a rule set asks only
//! whether a pattern matches, and only where its literal has been seen. That makes hundreds of them quick to build. Where
//! a text leads it to ever new states (`a.{0,60}b` against many `a`s), it gives up and the pattern's NFA is walked instead:
//! slower by the number of the NFA's states, and linear all the same.

use regex_automata::{
    Input, MatchKind, PatternSet,
    hybrid::{
        LazyStateID,
        dfa::{self, Cache, DFA},
    },
    nfa::thompson::{self, WhichCaptures, pikevm::PikeVM},
};
use regex_syntax::{ParserBuilder, ast::ErrorKind, hir::Hir};

use super::{MAX_COMPILED_BYTES, MAX_PATTERN_BYTES};
use crate::mask::Varies;

const DIGITS: &[u8] = b"0123456789";
const HEX_DIGITS: &[u8] = b"0123456789abcdefABCDEF";

/// States that one matcher keeps before it builds them anew. Small, because a set has many and messages are hostile.
const CACHE_BYTES: usize = 256 << 10;
/// What all matchers of a scratch keep together before they all build anew.
const ALL_CACHES_BYTES: usize = 2 << 20;

/// Reads a pattern: Rust's regex syntax on bytes, ASCII case ignored unless `(?-i:...)` says otherwise.
pub(super) fn parse(pattern: &str) -> Result<Hir, String> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(format!(
            "has {} bytes, more than the limit of {MAX_PATTERN_BYTES}; split it",
            pattern.len()
        ));
    }
    let mut parser = ParserBuilder::new().case_insensitive(true).unicode(false).utf8(false).build();
    let hir = parser.parse(pattern).map_err(|error| explain(&error))?;
    if hir.properties().minimum_len() == Some(0) {
        return Err("matches the empty message, and so every message; name what must be there".to_owned());
    }
    Ok(hir)
}

/// A matcher gives up after its states were thrown away so often,
const MIN_CLEARED: usize = 3;
/// if on average each of them was good for fewer bytes than this.
const MIN_BYTES_PER_STATE: usize = 10;

/// How a matcher's automaton is built while it reads.
pub(super) fn lazy() -> dfa::Config {
    DFA::config()
        .match_kind(MatchKind::All)
        .cache_capacity(CACHE_BYTES)
        .minimum_cache_clear_count(Some(MIN_CLEARED))
        .minimum_bytes_per_state(Some(MIN_BYTES_PER_STATE))
        .skip_cache_capacity_check(true)
}

/// Says whether patterns match; what it builds on the way is kept in [`Caches`].
#[derive(Debug)]
pub(super) struct Matcher {
    dfa: DFA,
    nfa: PikeVM,
}

impl Matcher {
    /// A matcher for patterns that together may take `limit` bytes.
    pub(super) fn new(hirs: &[Hir], limit: usize) -> Result<Matcher, String> {
        let size = |error: thompson::BuildError| {
            if error.size_limit().is_some() { too_large() } else { format!("cannot be compiled: {error}") }
        };
        // Not UTF-8, so that a match may begin anywhere in a message that is not. All matches, so that in a matcher of
        // many patterns the first does not hide the others.
        let config = thompson::Config::new()
            .utf8(false)
            .which_captures(WhichCaptures::None)
            .nfa_size_limit(Some(limit));
        let nfa = thompson::Compiler::new().configure(config).build_many_from_hir(hirs).map_err(size)?;
        let dfa = DFA::builder().configure(lazy()).build_from_nfa(nfa.clone());
        let dfa = dfa.map_err(|error| format!("cannot be compiled: {error}"))?;
        let vm = PikeVM::builder().configure(PikeVM::config().match_kind(MatchKind::All)).build_from_nfa(nfa);
        let matcher = Matcher { dfa, nfa: vm.map_err(|error| format!("cannot be compiled: {error}"))? };
        if matcher.memory_usage() > limit { Err(too_large()) } else { Ok(matcher) }
    }

    /// Bytes that it takes for good.
    pub(super) fn memory_usage(&self) -> usize {
        self.dfa.memory_usage().saturating_add(self.dfa.get_nfa().memory_usage())
    }

    /// Number of its patterns.
    pub(super) fn pattern_len(&self) -> usize {
        self.dfa.pattern_len()
    }

    /// As [`Caches::is_match_of_all`]: what is asked is that the DFA goes the same way by whichever digit (in an id by whichever
    /// hexadecimal one), and, where the run is a number, that more digits lead nowhere else.
    fn is_match_of_all(&self, cache: &mut Cache, text: &[u8], varies: &[Varies]) -> Option<bool> {
        let cleared = cache.clear_count();
        let mut state = self.dfa.start_state_forward(cache, &Input::new(text)).ok()?;
        // A match shows one byte late: there is one in texts with a longer number. What follows the number must say the same.
        let mut is_due = false;
        for (at, byte) in text.iter().enumerate() {
            let varies = varies.get(at).copied()?;
            let before = at.checked_sub(1).and_then(|before| text.get(before));
            if varies == Varies::Number && before.is_some_and(u8::is_ascii_digit) {
                continue;
            }
            let was_due = std::mem::take(&mut is_due);
            state = match varies {
                Varies::Not => self.dfa.next_state(cache, state, *byte).ok()?,
                Varies::Digit | Varies::Number => self.by_any(DIGITS, (cache, cleared), state)?,
                Varies::Hex => self.by_any(HEX_DIGITS, (cache, cleared), state)?,
            };
            if varies == Varies::Number && !state.is_match() {
                let next = self.by_any(DIGITS, (cache, cleared), state)?;
                is_due = next.is_match();
                if next != state && !is_due {
                    return None;
                }
            }
            // What was thrown away has given its numbers to others.
            if cache.clear_count() != cleared || state.is_quit() || was_due && !state.is_match() {
                return None;
            }
            if state.is_match() || state.is_dead() {
                return Some(state.is_match());
            }
        }
        let end = self.dfa.next_eoi_state(cache, state).ok()?;
        (cache.clear_count() == cleared && (end.is_match() || !is_due)).then_some(end.is_match())
    }

    /// The state to which every one of some bytes leads; `None` too if the cache was cleared meanwhile (before, it was so many
    /// times): no state may be asked any more then, because its number is another one's or nobody's.
    fn by_any(
        &self,
        bytes: &[u8],
        (cache, cleared): (&mut Cache, usize),
        state: LazyStateID,
    ) -> Option<LazyStateID> {
        let (first, others) = bytes.split_first()?;
        let next = self.dfa.next_state(cache, state, *first).ok()?;
        let classes = self.dfa.byte_classes();
        let mut others = others.iter().filter(|byte| classes.get(**byte) != classes.get(*first));
        let leads_there = |byte: &u8| {
            cache.clear_count() == cleared && self.dfa.next_state(cache, state, *byte).ok() == Some(next)
        };
        (others.all(leads_there) && cache.clear_count() == cleared).then_some(next)
    }

    /// What a byte may cost where the DFA gave up.
    pub(super) fn states(&self) -> usize {
        self.dfa.get_nfa().states().len()
    }
}

/// What the matchers of one set have built so far, bounded in all.
#[derive(Debug, Default)]
pub(super) struct Caches {
    /// The set's hash: the states of other matchers are of no use, and worse.
    stamp: u64,
    caches: Vec<Option<Box<Cache>>>,
    bytes: usize,
    /// Steps through states since the last [`Caches::take_steps`].
    steps: usize,
}

impl Caches {
    /// Must come before every use: drops what belongs to another set.
    #[inline]
    pub(super) fn belong_to(&mut self, stamp: u64, matchers: usize) {
        if self.stamp != stamp || self.caches.len() != matchers {
            *self = Caches { stamp, ..Caches::default() };
            self.caches.resize_with(matchers, || None);
        }
    }

    /// Whether a matcher, the set's `number`th, matches somewhere in the text, no match of which begins before `from`.
    /// Where its DFA gives up, only as much of the text is read as may take so many steps.
    pub(super) fn is_match(
        &mut self,
        number: usize,
        matcher: &Matcher,
        text: &[u8],
        from: usize,
        most: usize,
    ) -> bool {
        let from = from.min(text.len());
        // What stands before still counts for `\b` and `^`.
        let input = Input::new(text).range(from..).earliest(true);
        let bytes = text.len() - from;
        let found = self.with(number, matcher, bytes, |cache| matcher.dfa.try_search_fwd(cache, &input));
        match found {
            Some(Ok(found)) => found.is_some(),
            Some(Err(_)) => {
                let bytes = most.checked_div(matcher.states()).unwrap_or(0).min(bytes);
                matcher.nfa.is_match(&mut matcher.nfa.create_cache(), input.range(from..from + bytes))
            }
            None => false,
        }
    }

    /// Whether a matcher matches somewhere in every text that differs from this one in its numbers and ids only, or in none of
    /// them; `None` if that depends on them, or is not known. How each byte `varies` is to be given.
    pub(super) fn is_match_of_all(
        &mut self,
        number: usize,
        matcher: &Matcher,
        text: &[u8],
        varies: &[Varies],
    ) -> Option<bool> {
        let search = |cache: &mut Cache| matcher.is_match_of_all(cache, text, varies).ok_or(());
        let answer = self.with(number, matcher, 0, search);
        self.take_steps();
        answer?.ok()
    }

    /// Which of a matcher's patterns match somewhere in the text. Where its DFA gives up, only as much of the text is read as may
    /// take so many steps. Every message is asked this: it costs those that are asked after it nothing.
    pub(super) fn which_match(
        &mut self,
        number: usize,
        matcher: &Matcher,
        text: &[u8],
        most: usize,
        found: &mut PatternSet,
    ) {
        let input = Input::new(text);
        let search = |cache: &mut Cache| matcher.dfa.try_which_overlapping_matches(cache, &input, found);
        if let Some(Err(_)) = self.with(number, matcher, text.len(), search) {
            found.clear();
            let bytes = most.checked_div(matcher.states()).unwrap_or(0).min(text.len());
            let input = input.range(..bytes);
            matcher.nfa.which_overlapping_matches(&mut matcher.nfa.create_cache(), &input, found);
        }
        self.take_steps();
    }

    /// Steps that searches took since the last call: bytes, or bytes times states where a DFA gave up.
    pub(super) fn take_steps(&mut self) -> usize {
        std::mem::take(&mut self.steps)
    }

    fn with<T, E>(
        &mut self,
        number: usize,
        matcher: &Matcher,
        bytes: usize,
        search: impl FnOnce(&mut Cache) -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        let slot = self.caches.get_mut(number)?;
        let before = slot.as_ref().map_or(0, |cache| cache.memory_usage());
        let cache = slot.get_or_insert_with(|| Box::new(matcher.dfa.create_cache()));
        let answer = search(cache);
        self.bytes = self.bytes.saturating_add(cache.memory_usage()).saturating_sub(before);
        if self.bytes > ALL_CACHES_BYTES {
            self.caches.fill_with(|| None);
            self.bytes = 0;
        }
        let factor = if answer.is_ok() { 1 } else { matcher.states() };
        self.steps = self.steps.saturating_add(bytes.saturating_mul(factor));
        Some(answer)
    }
}

fn too_large() -> String {
    format!(
        "compiled, it needs more than {MAX_COMPILED_BYTES} bytes; use smaller repetitions such as {{1,50}}"
    )
}

fn explain(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => match error.kind() {
            ErrorKind::UnsupportedLookAround => format!(
                "look-around such as `(?=`, `(?!` or `(?<=` is not supported (column {}), because it cannot be matched in \
                 linear time; write the neighbouring text into the pattern, or use `\\b` or a class such as `[^0-9]`; what \
                 must not be there goes into `unless`",
                error.span().start.column
            ),
            ErrorKind::UnsupportedBackreference => format!(
                "back-references are not supported (column {}), because they cannot be matched in linear time; \
                 write out the alternatives",
                error.span().start.column
            ),
            kind => format!("is not a regex: {kind} (column {})", error.span().start.column),
        },
        regex_syntax::Error::Translate(error) => {
            format!("is not a regex: {} (column {})", error.kind(), error.span().start.column)
        }
        other => format!("is not a regex: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts that lead an automaton to ever new states, some digits at their ends, until it has thrown its states away at a digit
    /// and at an id: a state that is asked then is nobody's.
    #[test]
    fn states_that_were_thrown_away_while_digits_are_tried_are_not_asked() {
        for (pattern, varies, digits) in [
            ("a.{60}[0-4]b", Varies::Digit, "7"),
            ("a.{60}[0-4]b", Varies::Number, "7"),
            ("a.{60}[c-d]b", Varies::Hex, "c1"),
        ] {
            let matcher = Matcher::new(&[parse(pattern).unwrap()], MAX_COMPILED_BYTES).unwrap();
            let mut caches = Caches::default();
            let (mut random, mut unknown, mut cleared) = (0x2545_f491_4f6c_dd1du64, 0, 0);
            for round in 0..20_000 {
                // It gives up instead of clearing after some times.
                if round % 500 == 0 {
                    caches.belong_to(round + 1, 1);
                }
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let length = 1 + (random >> 58) as usize;
                let text: String =
                    (0..length).map(|bit| if random >> (bit % 58) & 1 == 0 { 'a' } else { 'b' }).collect();
                let text = text + digits;
                let mut all = vec![Varies::Not; length];
                all.resize(text.len(), varies);
                let answer = caches.is_match_of_all(0, &matcher, text.as_bytes(), &all);
                unknown += usize::from(answer.is_none());
                assert_ne!(answer, Some(true), "{text}");
                let count = caches.caches[0].as_ref().map_or(0, |cache| cache.clear_count());
                cleared += usize::from(count > 0);
            }
            assert!(unknown > 0 && cleared > 0, "{pattern}: {unknown} unknown, {cleared} after a clearing");
        }
    }
}
