//! A rule's pattern: takes its text, gives its syntax tree and its matcher, or says what to write instead.
//!
//! A matcher is a lazily built DFA without the engines that a general regex keeps beside it: a rule set asks only
//! whether a pattern matches, and only where its literal has been seen. That makes hundreds of them quick to build.

use regex_automata::{
    Input, MatchKind, PatternSet,
    hybrid::dfa::{Cache, DFA},
    nfa::thompson::{self, WhichCaptures},
};
use regex_syntax::{ParserBuilder, ast::ErrorKind, hir::Hir};

use super::{MAX_COMPILED_BYTES, MAX_PATTERN_BYTES};

/// States that one matcher keeps before it builds them anew. Small, because a set has many and messages are hostile.
const CACHE_BYTES: usize = 64 << 10;
/// What all matchers of a scratch keep together before they all build anew.
const ALL_CACHES_BYTES: usize = 4 << 20;

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

/// Says whether patterns match; what it builds on the way is kept in [`Caches`].
#[derive(Debug)]
pub(super) struct Matcher(DFA);

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
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .cache_capacity(CACHE_BYTES)
            .skip_cache_capacity_check(true);
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa);
        let matcher = dfa.map(Matcher).map_err(|error| format!("cannot be compiled: {error}"))?;
        if matcher.memory_usage() > limit { Err(too_large()) } else { Ok(matcher) }
    }

    /// Bytes that it takes for good.
    pub(super) fn memory_usage(&self) -> usize {
        self.0.memory_usage().saturating_add(self.0.get_nfa().memory_usage())
    }

    /// Number of its patterns.
    pub(super) fn pattern_len(&self) -> usize {
        self.0.pattern_len()
    }
}

/// What the matchers of one set have built so far, bounded in all.
#[derive(Debug, Default)]
pub(super) struct Caches {
    /// The set's hash: the states of other matchers are of no use, and worse.
    stamp: u64,
    caches: Vec<Option<Box<Cache>>>,
    bytes: usize,
}

impl Caches {
    /// Must come before every use: drops what belongs to another set.
    pub(super) fn belong_to(&mut self, stamp: u64, matchers: usize) {
        if self.stamp != stamp || self.caches.len() != matchers {
            *self = Caches { stamp, caches: Vec::new(), bytes: 0 };
            self.caches.resize_with(matchers, || None);
        }
    }

    /// Whether a matcher, the set's `number`th, matches somewhere in the text.
    pub(super) fn is_match(&mut self, number: usize, matcher: &Matcher, text: &[u8]) -> bool {
        self.with(number, matcher, |cache| {
            // Nothing can fail: no byte is configured to stop the search, and the cache never gives up.
            matcher
                .0
                .try_search_fwd(cache, &Input::new(text).earliest(true))
                .is_ok_and(|found| found.is_some())
        })
        .unwrap_or(false)
    }

    /// Which of a matcher's patterns match somewhere in the text.
    pub(super) fn which_match(
        &mut self,
        number: usize,
        matcher: &Matcher,
        text: &[u8],
        found: &mut PatternSet,
    ) {
        self.with(number, matcher, |cache| {
            let _ = matcher.0.try_which_overlapping_matches(cache, &Input::new(text), found);
        });
    }

    fn with<T>(
        &mut self,
        number: usize,
        matcher: &Matcher,
        search: impl FnOnce(&mut Cache) -> T,
    ) -> Option<T> {
        let slot = self.caches.get_mut(number)?;
        let before = slot.as_ref().map_or(0, |cache| cache.memory_usage());
        let cache = slot.get_or_insert_with(|| Box::new(matcher.0.create_cache()));
        let answer = search(cache);
        self.bytes = self.bytes.saturating_add(cache.memory_usage()).saturating_sub(before);
        if self.bytes > ALL_CACHES_BYTES {
            self.caches.fill_with(|| None);
            self.bytes = 0;
        }
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
