//! The rules that have a pattern, as a tree of gates: takes them in an order that keeps like beside like, gives
//! statements. A message passes one gate if no rule can hit it; else some ten gates lead to the few rules that can.

use super::{
    entry::{Entry, local, matches},
    gate::Gate,
    pattern::Text,
};

/// Branches of a gate.
const BRANCHES: usize = 8;
/// Rules that are tried one after the other.
const LEAF: usize = 8;
/// Symbols of a piece that the upper gates look at: the states for more of them would not fit a processor's cache.
const UPPER: usize = 12;
/// Largest gate, in symbols: well below what a regex may take (10 MiB).
const MAX_SYMBOLS: usize = 120_000;

/// Statements that collect the hits among these, all of which have pieces and the same text.
pub(crate) fn write(entries: &[&Entry], text: Text, out: &mut String) {
    branch(entries, text, out);
}

/// A gate before all of these, as the conditions of one `if` each; several only where one would be too large.
pub(crate) fn gates(entries: &[&Entry], text: Text) -> Vec<String> {
    let mut gates = vec![Gate::default()];
    let mut symbols = 0usize;
    for entry in entries {
        let pieces = entry.matcher.iter().flat_map(|matcher| match &matcher.pieces {
            // Those with a gap are only good where the ones without are, and there are as many rules that have both.
            Some(_) if entries.len() <= LEAF => matcher.pairs.as_slice(),
            pieces => pieces.as_deref().unwrap_or_default(),
        });
        for piece in pieces {
            symbols = symbols.saturating_add(piece.len());
            if symbols > MAX_SYMBOLS {
                symbols = piece.len();
                gates.push(Gate::default());
            }
            if let Some(gate) = gates.last_mut() {
                let length = if entries.len() <= LEAF { piece.len() } else { piece.len().min(UPPER) };
                gate.add(piece.get(..length).unwrap_or(piece));
            }
        }
    }
    gates.iter().map(|gate| matches(&gate.regex(), text)).collect()
}

fn branch(entries: &[&Entry], text: Text, out: &mut String) {
    if entries.len() <= LEAF {
        return leaf(entries, text, out);
    }
    let size = entries.len().div_ceil(BRANCHES).max(LEAF);
    for part in entries.chunks(size) {
        out.push_str(&format!("if {} {{\n", gates(part, text).join(" || ")));
        branch(part, text, out);
        out.push_str("}\n");
    }
}

/// A list costs a tenth of what a statement for each rule costs whenever Vector clones the program.
fn leaf(entries: &[&Entry], text: Text, out: &mut String) {
    let (plain, guarded): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(|entry| entry.is_plain());
    let regexes: Vec<String> = plain
        .iter()
        .filter_map(|entry| entry.matcher.as_ref())
        .map(|matcher| format!("r'{}'", matcher.regex))
        .collect();
    let keys: Vec<&str> = plain.iter().map(|entry| entry.key()).collect();
    if !plain.is_empty() {
        out.push_str(&format!(
            "for_each([\n{}\n]) -> |index, pattern| {{\nif match({}, pattern) {{\n\
             rules_hits = push(rules_hits, get([\n{}\n], [index]) ?? \"~\")\n}}\n}}\n",
            regexes.join(",\n"),
            local(text),
            keys.join(",\n"),
        ));
    }
    for entry in guarded {
        let first = entry.matcher.as_ref().map(|matcher| matches(&matcher.regex, text));
        out.push_str(&entry.statement(first, text == Text::Plain));
    }
}
