//! The part of the program that finds the best rule. Takes rules and settings, gives its text and what was left out.
//! Must not know masking, advice or tags.
//!
//! The frame sets before it, as locals of the program: `message` (string, without terminal colours, at most
//! `max_message_bytes` long), `severity` (integer from 0, trace, to 5, fatal, in the order of
//! [`Severity`](oddline_engine::Severity), or null), `tag` (string), `shape` (1: the event has any of the fields
//! that [`Section::names`] lists). This part may use the statements [`crate::silenced`],
//! and leaves as local `rules_best`: a tilde, or the best rule in one text, of which [`parts`] makes a list.

mod categories;
mod entry;
mod fields;
mod gate;
mod pattern;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use oddline_engine::{
    Settings,
    rules::{Rule, RuleSet},
};

use self::{categories::Choice, entry::Entry, pattern::Text};
use crate::{LeftOut, text::comment};

/// The part of the program, and what it does not do.
#[derive(Debug, Default)]
pub(crate) struct Section {
    /// The statements before masking: Vector compiles a program in time for its statements times its locals, so most of the
    /// statements come where there are few, and locals of this part are in blocks of their own.
    pub(crate) early: String,
    /// The statements after it.
    pub(crate) text: String,
    /// Rules that are not in it.
    pub(crate) left_out: Vec<LeftOut>,
    /// Names of fields at the top level that conditions read.
    pub(crate) names: BTreeSet<String>,
}

/// Writes the part of the program.
pub(crate) fn section(rules: &[Rule], settings: &Settings) -> Section {
    let mut left_out = Vec::new();
    let chosen = choose(rules, &mut left_out);
    let mut entries = Vec::new();
    for (rank, rule) in chosen.into_iter().enumerate() {
        match Entry::new(rank, rule, settings) {
            Ok(entry) => entries.push(entry),
            Err(reason) => left_out.push(LeftOut { rule: rule.name.clone(), reason }),
        }
    }
    let choice = Choice::new(settings);
    let mut early = String::new();
    for absent in &left_out {
        early.push_str(&comment(&format!("Left out: {}: {}", absent.rule, absent.reason)));
    }
    let (gated, others): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(|entry| entry.is_gated());
    early.push_str("rules_hits = \"\"\n{\n");
    early.push_str(STAND_INS);
    by_message(gated, &mut early);
    early.push_str("}\n");
    let mut text = String::new();
    write(&entries, &others, &mut text);
    text.push_str(&best(&crate::silenced(settings), &choice));
    let names = entries.iter().flat_map(|entry| entry.names()).cloned().collect();
    Section { early, text, left_out, names }
}

/// The rules that the engine would run, best first.
fn choose<'r>(rules: &'r [Rule], left_out: &mut Vec<LeftOut>) -> Vec<&'r Rule> {
    let compiled = RuleSet::compile(rules.to_vec());
    let mut refused = BTreeSet::new();
    for problem in compiled.problems.iter().chain(&compiled.left_out) {
        let Some(name) = &problem.rule else { continue };
        // A repeated name is a fault of the later rule alone.
        if problem.key != "name" {
            refused.insert(name.clone());
        }
        left_out.push(LeftOut { rule: name.clone(), reason: format!("{}: {}", problem.key, problem.reason) });
    }
    let mut chosen: BTreeMap<&str, &Rule> = BTreeMap::new();
    for rule in rules {
        let earlier = chosen.entry(&rule.name).or_insert(rule);
        if earlier.is_builtin() && !rule.is_builtin() {
            *earlier = rule;
        }
    }
    let mut chosen: Vec<&Rule> =
        chosen.into_values().filter(|rule| rule.enabled && !refused.contains(&rule.name)).collect();
    chosen.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.name.cmp(&b.name)));
    chosen
}

/// The rules whose patterns a gate can stand for.
fn by_message(mut entries: Vec<&Entry>, text: &mut String) {
    // Rules of one file speak of the same things: their gates have much in common.
    entries.sort_by_key(|entry| entry.place());
    tree::write(&entries, text);
}

/// All others, and all again by their levels.
fn write(entries: &[Entry], others: &[&Entry], text: &mut String) {
    let (bare, by_needs): (Vec<&Entry>, Vec<&Entry>) =
        others.iter().partition(|entry| entry.needs().is_empty());
    // Patterns that promise nothing, and fields that need not be there: asked of every event.
    for entry in bare {
        let matcher = entry.matcher.as_ref();
        let first = matcher.map(|matcher| entry::matches(&matcher.original, Text::Original));
        text.push_str(&entry.statement(first, false));
    }
    by_field(&by_needs, text);
    let levels: Vec<&Entry> = entries.iter().filter(|entry| entry.level.is_some()).collect();
    if !levels.is_empty() {
        text.push_str("if severity != null {\n");
        for entry in levels {
            let level = entry.level.unwrap_or_default();
            text.push_str(&entry.statement(Some(format!("severity == {level}")), false));
        }
        text.push_str("}\n");
    }
}

/// The rules of fields alone, behind the question whether the event has any of them.
fn by_field(entries: &[&Entry], text: &mut String) {
    if entries.is_empty() {
        return;
    }
    let mut groups: BTreeMap<String, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        groups.entry(entry.needs().join(" || ")).or_default().push(entry);
    }
    text.push_str("if shape == 1 {\n");
    for (needs, of) in groups {
        text.push_str(&format!("if {needs} {{\n"));
        for entry in of {
            let matcher = entry.matcher.as_ref();
            let first = matcher.map(|matcher| entry::matches(&matcher.original, Text::Original));
            text.push_str(&entry.statement(first, false));
        }
        text.push_str("}\n");
    }
    text.push_str("}\n");
}

/// An expression: the parts of the text in a local that says what a hit is: rank, name, score, the weights of
/// [`verdict::weights`](crate::verdict::weights) at 3 to 6, category, and its part of a reason.
pub(crate) fn parts(local: &str) -> String {
    format!(r#"split({local}, "\t", limit: 9)"#)
}

/// The statements that find the best of all hits that count: of no rule that is silenced, in a category that applies. Both
/// are asked only for events with a hit, and looked at hit by hit only where something does not count.
fn best(silenced: &str, choice: &Choice) -> String {
    let applies = choice.applies("category");
    let mut free = Vec::new();
    let mut counts = vec!["name != null".to_owned()];
    if !silenced.is_empty() {
        free.push(r#"rules_known == """#.to_owned());
        counts.push(r#"!contains(rules_known, "\t" + name + "\t")"#.to_owned());
    }
    if let Some(applies) = applies {
        free.push(choice.all());
        counts.push(applies);
    }
    let free = if free.is_empty() { "true".to_owned() } else { free.join(" && ") };
    format!(
        r#"rules_best = "~"
if rules_hits != "" {{
{silenced}{categories}  all_count = {free}
  for_each(split(rules_hits, "\n")) -> |_at, hit| {{
    if hit < rules_best && hit != "" {{
      if all_count {{
        rules_best = hit
      }} else {{
        parts = {parts}
        name = string(parts[1]) ?? ""
        category = string(parts[7]) ?? ""
        if {counts} {{
          rules_best = hit
        }}
      }}
    }}
  }}
}}
"#,
        categories = choice.statements(),
        parts = parts("hit"),
        counts = counts.join(" && "),
    )
}

/// Sets `rules_text`: the message with a control character for each byte that is not ASCII, see `pattern`; and `rules_low`: the
/// same in lower case.
///
/// VRL reads a byte that is no UTF-8 as U+FFFD: one character to `strlen`, three bytes in what a function gives back. So a
/// message is ASCII if it has as many bytes as characters, and its lower case too. The sum says both in one comparison, for no
/// character has less than a byte. (Lower case alone would say it, but for the Kelvin sign: its lower case is `k`.) A text
/// that `replace` has made longer had lost bytes, and each U+FFFD is taken for one of them.
const STAND_INS: &str = r#"rules_text = message
rules_low = downcase(message)
if length(rules_low) + length(message) != strlen(message) * 2 {
rules_text = replace(rules_text, r'[\x{80}-\x{7ff}]', "\u{1a}\u{1a}")
if length(rules_text) != length(message) {
rules_text = replace(rules_text, r'\x{fffd}', "\u{1a}")
}
rules_text = replace(rules_text, r'[\x{800}-\x{ffff}]', "\u{1a}\u{1a}\u{1a}")
rules_text = replace(rules_text, r'[\x{10000}-\x{10ffff}]', "\u{1a}\u{1a}\u{1a}\u{1a}")
rules_low = downcase(rules_text)
}
"#;
