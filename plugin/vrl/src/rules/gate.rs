//! Gates: takes patterns, gives one regex that matches wherever one of them could, and can be run fast.
//!
//! A regex of all patterns would be exact and useless: after the first half of `a.{0,60}b` each byte of a message leads
//! its automaton to a state that it has never seen, and building one costs more than matching a message. A gate asks for
//! the best piece between such gaps, or for two of them with anything between if one alone tells little. The pieces are
//! merged into a tree, so that a state of the automaton stands for a handful of beginnings, not for thousands.

use std::collections::BTreeMap;

use oddline_engine::rules::is_ordinary;
use regex_syntax::hir::{Hir, HirKind};

use super::pattern::{self, Bytes, Text};

/// One thing that a piece asks for: a character, a class, an anchor, as regexes have it.
type Symbol = String;
/// Symbols that follow one another.
pub(crate) type Piece = Vec<Symbol>;

/// Most pieces of a pattern, as its branches add up.
const MAX_PIECES: usize = 512;
/// Most pieces that joining neighbours may multiply into.
const MAX_JOINED: usize = 64;
/// A class with more bytes than this can be anything, and is no part of a piece if it is repeated.
const MAX_NARROW: usize = 12;
/// Longer pieces are cut: they find hardly less.
const MAX_SYMBOLS: usize = 24;
/// A piece that tells as much as this needs no other beside it.
const STRONG: usize = 8;
/// What the first of two pieces must tell. Once it is seen, each state of an automaton is another one for the rest of the
/// message; several that are often seen fill its cache again and again.
const HEAD: usize = 2;
/// What a piece must tell in a gate of many rules.
pub(crate) const ENOUGH: usize = 14;
/// Anything between two pieces.
const GAP: &str = r"[\x00-\x7f]*";

/// What is known about one node of a pattern.
#[derive(Default)]
struct Facts {
    /// Pieces that are all it can match, if few.
    exact: Option<Vec<Piece>>,
    /// Pieces of which one begins each match, and of which one ends it, where it can match more than those.
    begins: Option<Vec<Piece>>,
    ends: Option<Vec<Piece>>,
    /// Pieces of which each match contains at least one.
    required: Option<Vec<Piece>>,
}

impl Facts {
    /// Each match begins with one of these.
    fn first(&self) -> Option<&Vec<Piece>> {
        self.exact.as_ref().or(self.begins.as_ref())
    }

    /// Each match ends with one of these.
    fn last(&self) -> Option<&Vec<Piece>> {
        self.exact.as_ref().or(self.ends.as_ref())
    }
}

/// How many of a pattern's pieces a gate asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// One: for gates of many rules. With gaps, each half-seen pair would double the states of their automata.
    One,
    /// Two if one tells little: for gates of few rules.
    Two,
}

/// What pieces are for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// How many of them.
    pub(crate) depth: Depth,
    /// What they are looked for in.
    pub(crate) text: Text,
}

/// Pieces of which each match contains at least one; `None` if the pattern promises nothing.
pub(crate) fn pieces(hir: &Hir, how: How) -> Option<Vec<Piece>> {
    let facts = walk(hir, how);
    let mut pieces = better(facts.exact, facts.required)?;
    pieces.iter_mut().for_each(|piece| piece.truncate(MAX_SYMBOLS));
    Some(pieces)
}

fn exactly(pieces: Vec<Piece>) -> Facts {
    Facts { exact: Some(pieces), ..Facts::default() }
}

fn nothing() -> Facts {
    Facts::default()
}

fn walk(hir: &Hir, how: How) -> Facts {
    match hir.kind() {
        HirKind::Empty => exactly(vec![Vec::new()]),
        HirKind::Look(look) => {
            pattern::look(*look).map_or_else(|_| nothing(), |look| exactly(vec![vec![look.to_owned()]]))
        }
        HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
            Ok(literal) => exactly(vec![literal.chars().map(symbol).collect()]),
            Err(_) => nothing(),
        },
        HirKind::Class(class) => {
            class_symbol(class, how.text).map_or_else(nothing, |symbol| exactly(vec![vec![symbol]]))
        }
        HirKind::Capture(capture) => walk(&capture.sub, how),
        HirKind::Repetition(repetition) => {
            if let HirKind::Class(class) = repetition.sub.kind() {
                let narrow = Bytes::of(class)
                    .is_ok_and(|bytes| (0..=u8::MAX).filter(|byte| bytes.has(*byte)).count() <= MAX_NARROW);
                let symbol = class_symbol(class, how.text);
                let repeated = symbol.filter(|_| narrow).map(|symbol| symbol + &pattern::times(repetition));
                return repeated.map_or_else(nothing, |symbol| exactly(vec![vec![symbol]]));
            }
            let sub = walk(&repetition.sub, how);
            match (repetition.min, repetition.max) {
                (1, Some(1)) => sub,
                (0, Some(1)) => Facts {
                    exact: sub.exact.map(|mut pieces| {
                        pieces.push(Vec::new());
                        pieces
                    }),
                    ..Facts::default()
                },
                (0, _) => nothing(),
                _ => Facts {
                    begins: sub.first().cloned(),
                    ends: sub.last().cloned(),
                    required: better(sub.exact, sub.required),
                    exact: None,
                },
            }
        }
        HirKind::Concat(parts) => concat(parts, how),
        HirKind::Alternation(branches) => alternation(branches, how),
    }
}

fn symbol(char: char) -> Symbol {
    let mut symbol = String::new();
    pattern::one(char, &mut symbol);
    symbol
}

/// A class as one symbol.
fn class_symbol(class: &regex_syntax::hir::Class, text: Text) -> Option<Symbol> {
    pattern::class(class, text).ok()
}

/// Neighbours with few pieces are joined into runs; the best run, or the best piece within another part, is required, or
/// the two best of them in their order.
fn concat(parts: &[Hir], how: How) -> Facts {
    let mut run = Run { from: 0, to: 0, pieces: vec![Vec::new()] };
    let mut found: Vec<Run> = Vec::new();
    let mut begins = None;
    for (place, part) in parts.iter().enumerate() {
        let facts = walk(part, how);
        let joined = |with: Option<&Vec<Piece>>, run: &Run| with.and_then(|with| product(&run.pieces, with));
        if let Some(pieces) = joined(facts.exact.as_ref(), &run) {
            (run.pieces, run.to) = (pieces, place.saturating_add(1));
            continue;
        }
        if let Some(pieces) = joined(facts.first(), &run) {
            (run.pieces, run.to) = (pieces, place.saturating_add(1));
        }
        begins.get_or_insert_with(|| run.pieces.clone());
        let from = if facts.last().is_some() { place } else { place.saturating_add(1) };
        let pieces = facts.last().cloned().unwrap_or_else(|| vec![Vec::new()]);
        found.push(std::mem::replace(&mut run, Run { from, to: place.saturating_add(1), pieces }));
        found.extend(facts.required.map(|pieces| Run { from: place, to: place.saturating_add(1), pieces }));
    }
    if begins.is_none() {
        return exactly(run.pieces);
    }
    let ends = Some(run.pieces.clone());
    found.push(run);
    Facts { exact: None, begins, ends, required: strongest(&found, how.depth) }
}

/// Pieces of which one is found within some neighbouring parts.
struct Run {
    /// The first of the parts.
    from: usize,
    /// The one after the last of them.
    to: usize,
    pieces: Vec<Piece>,
}

/// The best of the runs, with the next best if it is weak.
fn strongest(runs: &[Run], depth: Depth) -> Option<Vec<Piece>> {
    let mut order: Vec<(usize, &Run)> = runs.iter().map(|run| (worth(&run.pieces), run)).collect();
    order.retain(|(worth, _)| *worth > 0);
    order.sort_by_key(|(worth, run)| (std::cmp::Reverse(*worth), run.from));
    let (worth, best) = *order.first()?;
    // Two that share a part may share characters.
    let apart = |other: &&Run| other.to <= best.from || best.to <= other.from;
    let second = order.iter().map(|(_, run)| *run).find(apart);
    let Some(second) = second.filter(|_| worth < STRONG && depth == Depth::Two) else {
        return Some(best.pieces.clone());
    };
    let (first, last) = if best.from < second.from { (best, second) } else { (second, best) };
    if self::worth(&first.pieces) < HEAD {
        return Some(best.pieces.clone());
    }
    let with_gap: Vec<Piece> =
        first.pieces.iter().map(|piece| piece.iter().cloned().chain([GAP.to_owned()]).collect()).collect();
    Some(product(&with_gap, &last.pieces).unwrap_or_else(|| best.pieces.clone()))
}

/// Every branch must have its piece, else a match through the one without would be missed.
fn alternation(branches: &[Hir], how: How) -> Facts {
    let all: Vec<Facts> = branches.iter().map(|branch| walk(branch, how)).collect();
    let join = |of: fn(&Facts) -> Option<Vec<Piece>>| {
        all.iter().map(of).try_fold(Vec::new(), |joined, pieces| union(joined, pieces?))
    };
    Facts {
        exact: join(|facts| facts.exact.clone()),
        begins: join(|facts| facts.first().cloned()),
        ends: join(|facts| facts.last().cloned()),
        required: join(|facts| better(facts.exact.clone(), facts.required.clone())),
    }
}

fn union(mut all: Vec<Piece>, more: Vec<Piece>) -> Option<Vec<Piece>> {
    all.extend(more);
    all.sort_unstable();
    all.dedup();
    (all.len() <= MAX_PIECES).then_some(all)
}

fn product(left: &[Piece], right: &[Piece]) -> Option<Vec<Piece>> {
    if left.len().saturating_mul(right.len()) > MAX_JOINED && left.len().min(right.len()) > 1 {
        return None;
    }
    Some(
        left.iter().flat_map(|head| right.iter().map(move |tail| [head.as_slice(), tail].concat())).collect(),
    )
}

/// The pieces whose least telling one tells more.
fn better(left: Option<Vec<Piece>>, right: Option<Vec<Piece>>) -> Option<Vec<Piece>> {
    let worth = |pieces: &Vec<Piece>| (worth(pieces), usize::MAX.saturating_sub(pieces.len()));
    let left = left.map(|pieces| (worth(&pieces), pieces));
    let right = right.map(|pieces| (worth(&pieces), pieces));
    let best = match (left, right) {
        (Some(left), Some(right)) => {
            if right.0 > left.0 {
                right
            } else {
                left
            }
        }
        (left, right) => left.or(right)?,
    };
    (best.0.0 > 0).then_some(best.1)
}

/// How much the least telling of these tells.
pub(crate) fn worth(pieces: &[Piece]) -> usize {
    pieces.iter().map(|piece| telling(piece)).min().unwrap_or(0)
}

/// How much a piece tells: 0 is nothing at all.
fn telling(piece: &[Symbol]) -> usize {
    let piece = piece.get(..MAX_SYMBOLS).unwrap_or(piece);
    piece.split(|symbol| symbol == GAP).map(telling_part).sum()
}

fn telling_part(part: &[Symbol]) -> usize {
    let mut sum = 0usize;
    each_word(part, |_, told| sum = sum.saturating_add(told));
    sum
}

/// Calls `seen` for each symbol of a part with what it tells. A letter of an ordinary word tells next to nothing.
fn each_word(part: &[Symbol], mut seen: impl FnMut(usize, usize)) {
    let is_letter = |symbol: &&Symbol| {
        symbol.chars().count() == 1 && !symbol.starts_with([' ', '_']) || is_capital(symbol)
    };
    let mut at = 0;
    while let Some(rest) = part.get(at..).filter(|rest| !rest.is_empty()) {
        let letters: Vec<&Symbol> = rest.iter().take_while(is_letter).collect();
        if letters.is_empty() {
            let is_sign = rest.first().is_some_and(|symbol| symbol.starts_with("\\x") || symbol == "_");
            seen(at, usize::from(is_sign));
            at = at.saturating_add(1);
            continue;
        }
        let plain: String =
            letters.iter().filter(|symbol| !is_capital(symbol)).map(|symbol| symbol.as_str()).collect();
        let is_ordinary = is_ordinary(plain.as_bytes());
        for (place, symbol) in letters.iter().enumerate() {
            let told = match () {
                () if is_capital(symbol) => 3,
                () if !is_ordinary => 1,
                // Two for the whole word.
                () => usize::from(place < 2),
            };
            seen(at, told);
            at = at.saturating_add(1);
        }
    }
}

fn is_capital(symbol: &str) -> bool {
    symbol.starts_with("(?-i:") && symbol.len() == 7
}

/// The beginning of a piece that tells as much as this; all of it if it tells less.
pub(crate) fn cut(piece: &[Symbol], enough: usize) -> Piece {
    let mut out = Vec::new();
    for part in piece.split_inclusive(|symbol| symbol == GAP) {
        let (mut sum, mut end) = (0usize, 0usize);
        each_word(part, |at, told| {
            if sum < enough {
                (sum, end) = (sum.saturating_add(told), at.saturating_add(1));
            }
        });
        out.extend_from_slice(part.get(..end).unwrap_or(part));
        if part.last().is_some_and(|symbol| symbol == GAP) && out.last().is_none_or(|symbol| symbol != GAP) {
            out.push(GAP.to_owned());
        }
    }
    out
}

/// Characters of which one is as good as another to a gate of many rules that look for words.
const ALIKE: [(u8, u8); 7] =
    [(b'!', b'\''), (b'(', b')'), (b'*', b','), (b'0', b'9'), (b';', b'@'), (b'[', b'^'), (b'{', b'~')];

/// Letters that a piece must have to be told by its words alone.
const WORDY: usize = 4;

/// A piece for such a gate. An automaton with at most 64 kinds of characters takes half the memory of one with more.
///
/// Digits stay where they are all that a piece has, and signs too where that is `weak`: `%2f`.
pub(crate) fn wide(piece: &[Symbol], is_weak: bool) -> Piece {
    let is_letter = |symbol: &&Symbol| matches!(symbol.as_bytes(), [b'a'..=b'z']);
    let is_wordy = piece.iter().filter(is_letter).count() >= WORDY;
    let is_kept = |first: u8| !is_wordy && (is_weak || first.is_ascii_digit());
    piece.iter().map(|symbol| wide_symbol(symbol, is_kept)).collect()
}

fn wide_symbol(symbol: &Symbol, is_kept: impl Fn(u8) -> bool) -> Symbol {
    let (set, times) = match symbol.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((set, times)) => (set, times),
        None => (symbol.as_str(), ""),
    };
    let byte = |text: &str| match text.strip_prefix("\\x") {
        Some(digits) => u8::from_str_radix(digits, 16).ok(),
        None => text.bytes().next().filter(|_| text.len() == 1),
    };
    let (from, to) = set.split_once('-').unwrap_or((set, set));
    let (Some(from), Some(to)) = (byte(from), byte(to)) else { return symbol.clone() };
    match ALIKE.iter().find(|(first, last)| *first <= from && to <= *last) {
        Some((first, last)) if !is_kept(*first) => format!("[\\x{first:02x}-\\x{last:02x}]{times}"),
        _ => symbol.clone(),
    }
}

/// Pieces, merged where they begin alike.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    is_end: bool,
    next: BTreeMap<Symbol, Gate>,
}

impl Gate {
    /// Adds a piece.
    pub(crate) fn add(&mut self, piece: &[Symbol]) {
        let mut at = self;
        for symbol in piece {
            if at.is_end {
                // A shorter piece is found wherever this one is.
                return;
            }
            at = at.next.entry(symbol.clone()).or_default();
        }
        at.is_end = true;
        at.next.clear();
    }

    /// The text of a regex literal, without its quotes.
    pub(crate) fn regex(&self, text: Text) -> String {
        let mut out = pattern::flags(text).to_owned();
        self.write(&mut out);
        out
    }

    /// No deeper than the longest piece.
    fn write(&self, out: &mut String) {
        let is_choice = self.next.len() > 1;
        if is_choice {
            out.push_str("(?:");
        }
        for (index, (symbol, rest)) in self.next.iter().enumerate() {
            if index > 0 {
                out.push('|');
            }
            out.push_str(symbol);
            rest.write(out);
        }
        if is_choice {
            out.push(')');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: How = How { depth: Depth::Two, text: Text::Lower };

    fn check(pattern: &str, wanted: &str) {
        let mut gate = Gate::default();
        for piece in pieces(&pattern::parse(pattern).unwrap(), TWO).unwrap_or_default() {
            gate.add(&piece);
        }
        assert_eq!(gate.regex(Text::Lower), format!("(?-u){wanted}"), "{pattern}");
    }

    #[test]
    fn pieces_stand_between_gaps() {
        check(r"\bnccl\b.{0,60}\btimed out\b", r"\btimed out\b");
        check("disk full|disk bad", "disk (?:bad|full)");
        check(r"server \S+ is unreachable", " is unreachable");
        check(r"error.{0,9}xyz", r"error[\x00-\x7f]*xyz");
        check(r"took \d+ ms", r"took [\x30-\x39]+ ms");
    }

    #[test]
    fn what_promises_nothing_has_no_gate() {
        assert!(pieces(&pattern::parse(".{3}").unwrap(), TWO).is_none());
        assert!(pieces(&pattern::parse("(?:abcd|.x*)").unwrap(), TWO).is_none());
    }
}
