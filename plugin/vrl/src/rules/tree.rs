//! The rules that have a pattern, as a tree of gates: takes them, gives statements. Most messages pass none of the few
//! gates at the top; the others come to short lists behind an exact gate.

use super::{
    entry::{Entry, Matcher, matches},
    gate::{self, ENOUGH, Gate},
    pattern::Text,
};

/// Branches of a gate.
const BRANCHES: usize = 4;
/// Rules that are tried one after the other.
const LEAF: usize = 12;
/// Rules behind one gate at the top. More would not fit the cache that an automaton builds its states in (2 MiB).
const STRONG: usize = 240;
/// The same for rules whose single pieces tell little: their gates ask for two pieces, and that takes more states.
const WEAK: usize = 36;
/// A rule whose pieces tell less than this is weak.
const TELLING: usize = 5;
/// Largest gate, in symbols: well below what a regex may take (10 MiB); and what keeps its states within the cache where
/// pieces are pairs.
const MAX_SYMBOLS: usize = 120_000;
const MAX_WEAK_SYMBOLS: usize = 18_000;

/// Statements that note the hits among these.
pub(crate) fn write(entries: &[&Entry], out: &mut String) {
    let of = |text: Text| -> Vec<&Entry> {
        let is_for = |matcher: &Matcher| matcher.text == text;
        entries.iter().copied().filter(|entry| entry.matcher.as_ref().is_some_and(is_for)).collect()
    };
    let mut groups = by_pieces(of(Text::Lower));
    let plain = of(Text::Plain);
    if plain.len() > LEAF {
        groups.extend(by_pieces(plain));
    } else if !plain.is_empty() {
        groups.push((exactly(&plain), plain));
    }
    groups.extend(of(Text::Original).chunks(LEAF).map(|group| (exactly(group), group.to_vec())));
    for (gate, group) in groups {
        out.push_str(&format!("if {gate} {{\n"));
        branch(&group, out);
        out.push_str("}\n");
    }
}

/// Rules for the same text with the gates at the top that they stand behind.
fn by_pieces(entries: Vec<&Entry>) -> Vec<(String, Vec<&Entry>)> {
    let (weak, strong): (Vec<&Entry>, Vec<&Entry>) = entries.into_iter().partition(|entry| is_weak(entry));
    let mut groups: Vec<(String, Vec<&Entry>)> = Vec::new();
    for (of, most, is_weak) in [(strong, STRONG, false), (weak, WEAK, true)] {
        let mut rest = of.as_slice();
        while !rest.is_empty() {
            let even = of.len().div_ceil(of.len().div_ceil(most));
            let (gate, count) =
                top(rest, even, is_weak, if is_weak { MAX_WEAK_SYMBOLS } else { MAX_SYMBOLS });
            let (group, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            groups.push((gate, group.to_vec()));
            rest = after;
        }
    }
    groups
}

fn is_weak(entry: &Entry) -> bool {
    let pieces = entry.matcher.as_ref().and_then(|matcher| matcher.pieces.as_deref());
    gate::worth(pieces.unwrap_or_default()) < TELLING
}

/// A gate for as many of these as it can have, and their count.
fn top(entries: &[&Entry], most: usize, is_weak: bool, max_symbols: usize) -> (String, usize) {
    let (mut gate, mut symbols, mut count) = (Gate::default(), 0usize, 0usize);
    let mut text = Text::Lower;
    for entry in entries.iter().take(most) {
        let Some(matcher) = &entry.matcher else { continue };
        text = matcher.text;
        let pieces = if is_weak { &matcher.pairs } else { matcher.pieces.as_deref().unwrap_or_default() };
        symbols = pieces.iter().fold(symbols, |sum, piece| sum.saturating_add(piece.len()));
        if symbols > max_symbols && count > 0 {
            break;
        }
        count = count.saturating_add(1);
        for piece in pieces {
            let piece = if is_weak { piece.clone() } else { gate::cut(piece, ENOUGH) };
            gate.add(&gate::wide(&piece, is_weak));
        }
    }
    (matches(&gate.regex(text), text), count.max(1))
}

/// Rules that have passed a gate together.
fn branch(entries: &[&Entry], out: &mut String) {
    if entries.len() <= LEAF {
        return leaf(entries, out);
    }
    for part in entries.chunks(entries.len().div_ceil(BRANCHES).max(LEAF)) {
        let mut rest = part;
        while !rest.is_empty() {
            let (gate, count) = if rest.len() <= LEAF {
                (exactly(rest), rest.len())
            } else {
                top(rest, rest.len(), true, MAX_SYMBOLS)
            };
            let (group, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            out.push_str(&format!("if {gate} {{\n"));
            branch(group, out);
            out.push_str("}\n");
            rest = after;
        }
    }
}

/// Whether one of these matches.
fn exactly(entries: &[&Entry]) -> String {
    let matchers: Vec<_> = entries.iter().filter_map(|entry| entry.matcher.as_ref()).collect();
    let text = matchers.first().map_or(Text::Lower, |matcher| matcher.text);
    let all: Vec<String> = matchers.iter().map(|matcher| format!("(?:{})", matcher.regex)).collect();
    matches(&all.join("|"), text)
}

/// A few, one after the other.
fn leaf(entries: &[&Entry], out: &mut String) {
    for entry in entries {
        let Some(matcher) = &entry.matcher else { continue };
        out.push_str(&entry.gated(matcher));
    }
}
