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
/// Anything between two pieces.
const GAP: &str = r"[\x00-\x7f]*";

/// What is known about one node of a pattern.
struct Facts {
    /// Pieces that are all it can match, if few.
    exact: Option<Vec<Piece>>,
    /// Pieces of which each match contains at least one.
    required: Option<Vec<Piece>>,
}

/// How many of a pattern's pieces a gate asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// One: for gates of many rules. With gaps, each half-seen pair would double the states of their automata.
    One,
    /// Two if one tells little: for gates of few rules.
    Two,
}

/// Pieces of which each match contains at least one; `None` if the pattern promises nothing.
pub(crate) fn pieces(hir: &Hir, depth: Depth) -> Option<Vec<Piece>> {
    let facts = walk(hir, depth);
    let mut pieces = better(facts.exact, facts.required)?;
    pieces.iter_mut().for_each(|piece| piece.truncate(MAX_SYMBOLS));
    Some(pieces)
}

fn exactly(pieces: Vec<Piece>) -> Facts {
    Facts { exact: Some(pieces), required: None }
}

fn nothing() -> Facts {
    Facts { exact: None, required: None }
}

fn walk(hir: &Hir, depth: Depth) -> Facts {
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
            class_symbol(class).map_or_else(nothing, |symbol| exactly(vec![vec![symbol]]))
        }
        HirKind::Capture(capture) => walk(&capture.sub, depth),
        HirKind::Repetition(repetition) => {
            if let HirKind::Class(class) = repetition.sub.kind() {
                let narrow = Bytes::of(class)
                    .is_ok_and(|bytes| (0..=u8::MAX).filter(|byte| bytes.has(*byte)).count() <= MAX_NARROW);
                let symbol = class_symbol(class).filter(|_| narrow);
                let repeated = symbol.map(|symbol| format!("{symbol}{}", pattern::times(repetition)));
                return repeated.map_or_else(nothing, |symbol| exactly(vec![vec![symbol]]));
            }
            let sub = walk(&repetition.sub, depth);
            match (repetition.min, repetition.max) {
                (1, Some(1)) => sub,
                (0, Some(1)) => Facts {
                    exact: sub.exact.map(|mut pieces| {
                        pieces.push(Vec::new());
                        pieces
                    }),
                    required: None,
                },
                (0, _) => nothing(),
                _ => Facts { exact: None, required: better(sub.exact, sub.required) },
            }
        }
        HirKind::Concat(parts) => concat(parts, depth),
        HirKind::Alternation(branches) => alternation(branches, depth),
    }
}

fn symbol(char: char) -> Symbol {
    let mut symbol = String::new();
    pattern::one(char, &mut symbol);
    symbol
}

/// A class as one symbol.
fn class_symbol(class: &regex_syntax::hir::Class) -> Option<Symbol> {
    pattern::class(class, Text::Plain).ok()
}

/// Neighbours with few pieces are joined into runs; the best run, or the best piece within another part, is required, or
/// the two best of them in their order.
fn concat(parts: &[Hir], depth: Depth) -> Facts {
    let (mut run, mut found): (Vec<Piece>, Vec<Vec<Piece>>) = (vec![Vec::new()], Vec::new());
    let mut whole = true;
    for part in parts {
        let Facts { exact, required } = walk(part, depth);
        match exact.as_deref().and_then(|pieces| product(&run, pieces)) {
            Some(joined) => run = joined,
            None => {
                whole = false;
                found.push(std::mem::replace(&mut run, vec![Vec::new()]));
                match exact {
                    Some(pieces) => run = pieces,
                    None => found.extend(required),
                }
            }
        }
    }
    if whole {
        return exactly(run);
    }
    found.push(run);
    Facts { exact: None, required: strongest(&found, depth) }
}

/// The best of the runs, with the next best if it is weak.
fn strongest(runs: &[Vec<Piece>], depth: Depth) -> Option<Vec<Piece>> {
    let mut order: Vec<(usize, usize)> = runs.iter().map(|run| worth(run)).zip(0..).collect();
    order.retain(|(worth, _)| *worth > 0);
    order.sort_by_key(|(worth, place)| (std::cmp::Reverse(*worth), *place));
    let (worth, best) = *order.first()?;
    let one = runs.get(best)?;
    let Some((_, second)) = order.get(1).filter(|_| worth < STRONG && depth == Depth::Two) else {
        return Some(one.clone());
    };
    let (first, last) = (runs.get(best.min(*second))?, runs.get(best.max(*second))?);
    let with_gap: Vec<Piece> =
        first.iter().map(|piece| piece.iter().cloned().chain([GAP.to_owned()]).collect()).collect();
    Some(product(&with_gap, last).unwrap_or_else(|| one.clone()))
}

/// Every branch must have its piece, else a match through the one without would be missed.
fn alternation(branches: &[Hir], depth: Depth) -> Facts {
    let (mut exact, mut required) = (Some(Vec::new()), Some(Vec::new()));
    for branch in branches {
        let facts = walk(branch, depth);
        exact = exact.zip(facts.exact.clone()).and_then(|(all, more)| union(all, more));
        let pieces = better(facts.exact, facts.required);
        required = required.zip(pieces).and_then(|(all, more)| union(all, more));
    }
    Facts { exact, required }
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
fn worth(pieces: &[Piece]) -> usize {
    pieces.iter().map(|piece| telling(piece)).min().unwrap_or(0)
}

/// How much a piece tells: 0 is nothing at all.
fn telling(piece: &[Symbol]) -> usize {
    let piece = piece.get(..MAX_SYMBOLS).unwrap_or(piece);
    piece.split(|symbol| symbol == GAP).map(telling_part).sum()
}

fn telling_part(part: &[Symbol]) -> usize {
    let plain: String =
        part.iter().filter(|symbol| symbol.chars().count() == 1).map(String::as_str).collect();
    let letters = plain.chars().filter(|char| *char != ' ').count();
    let capitals = part.iter().filter(|symbol| symbol.starts_with("(?-i:") && symbol.len() <= 7).count();
    let others = part.iter().filter(|symbol| symbol.starts_with("\\x")).count();
    let sum = letters.saturating_add(capitals.saturating_mul(2)).saturating_add(others);
    if is_ordinary(plain.trim().as_bytes()) { sum.min(2) } else { sum }
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
    pub(crate) fn regex(&self) -> String {
        let mut out = String::from("(?i-u)");
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

    fn check(pattern: &str, wanted: &str) {
        let mut gate = Gate::default();
        for piece in pieces(&pattern::parse(pattern).unwrap(), Depth::Two).unwrap_or_default() {
            gate.add(&piece);
        }
        assert_eq!(gate.regex(), format!("(?i-u){wanted}"), "{pattern}");
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
        assert!(pieces(&pattern::parse(".{3}").unwrap(), Depth::Two).is_none());
        assert!(pieces(&pattern::parse("(?:abcd|.x*)").unwrap(), Depth::Two).is_none());
    }
}
