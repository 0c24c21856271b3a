//! The part of the program that reads the event: `tag`, `message`, `severity` and `shape` (0: plain, 1: it has
//! fields that the program may read, 2: it is no object).
//!
//! Takes settings, gives statements. As the engine's module `pick`: the first path that holds text is the message, else
//! the longest text of the top level. Whatever a field holds instead of text, nothing here can fail. Must not know
//! masking, advice or tags.

use std::collections::BTreeSet;

use oddline_codec::TagStyle;
use oddline_engine::{Settings, Severity};

use crate::text;

/// Where the tag of a record is looked for, in Vector's own fields and those of its usual sources.
const TAG_PATHS: [&str; 8] = [
    ".kubernetes.container_name",
    ".container_name",
    ".service",
    ".appname",
    ".SYSTEMD_UNIT",
    "._SYSTEMD_UNIT",
    ".file",
    ".source_type",
];
/// Those of them that sources of plain text set.
const PLAIN_TAG_PATHS: [&str; 2] = [".file", ".source_type"];
/// A label that sources of plain text set too.
const HOST: &str = "host";
/// Put there by Vector: no message, however long.
const NO_MESSAGE: [&str; 1] = ["source_type"];

/// The statements. They look at a field only where the type of what they set it beside is open: what Vector may know of
/// the types of an event's fields would else make some of them an error.
///
/// Reading a field costs Vector as much as matching a word, whether it is there or not. So the names of all fields are
/// looked at once, in one text: `shape` says whether any is there that the program, its rules included, may read.
pub(crate) fn section(settings: &Settings, read: &BTreeSet<String>) -> String {
    let mut paths = settings.message_paths().iter().flat_map(|path| text::places(path));
    let first = paths.next().unwrap_or_default();
    let others: String = paths.map(|path| path + ", ").collect();
    let kept = settings.message_paths().iter().chain(settings.severity_paths()).chain(settings.label_paths());
    let kept = kept.map(String::as_str).chain(NO_MESSAGE).map(text::string).collect::<Vec<_>>().join(", ");
    let most = settings.max_message_bytes();
    format!(
        r#"# Tag and message.
shape = 0
if match(encode_json(keys({{ if shape == 0 {{ . }} else {{ null }} }}) ?? []), {{r'{names}'}}) {{
  shape = 1
}}
message = string({{ if shape >= 0 {{ {first} }} else {{ null }} }}) ?? ""
if message == "" {{
  for_each([{others}null]) -> |_at, value| {{
    if message == "" && is_string(value) {{
      message = string(value) ?? ""
    }}
  }}
  whole = null
  if message == "" {{
    whole = .
    if !is_object(whole) {{
      shape = 2
    }}
  }}
  if is_string(whole) {{
    message = string(whole) ?? ""
  }}
  for_each(object(whole) ?? {{}}) -> |key, value| {{
    if is_string(value) && !includes([{kept}], key) {{
      candidate = null
      if key != null {{
        candidate = value
      }}
      candidate = string(candidate) ?? ""
      if length(candidate) > length(message) {{
        message = candidate
      }}
    }}
  }}
}}
tag = string({{ if shape == 1 {{ {either} }} else {{ {plain} }} }}) ?? ""
if tag == "" {{
  tag = "vector"
  for_each([null, {tags}, %oddline.tag]) -> |_at, value| {{
    if is_string(value) {{
      tag = string(value) ?? ""
    }}
  }}
}}
if length(message) > {most} {{
  message = slice(message, 0, {most}) ?? ""
}}
"#,
        names = names(settings, read),
        either =
            ["%oddline.tag"].into_iter().chain(TAG_PATHS).collect::<Vec<_>>().join(" || ") + " || \"vector\"",
        plain = ["%oddline.tag"].into_iter().chain(PLAIN_TAG_PATHS).collect::<Vec<_>>().join(" || ")
            + " || \"vector\"",
        // Turned round: the last that is text stays.
        tags = TAG_PATHS.iter().rev().copied().collect::<Vec<_>>().join(", "),
    )
}

/// Whether a label may be there in a plain event.
pub(crate) fn is_plain(label: &str) -> bool {
    label == HOST || PLAIN_TAG_PATHS.iter().any(|path| path.trim_start_matches('.') == label)
}

/// A regex for the names of an event's fields, as a JSON array: whether there is one that the program may read beside
/// the message and the tags of plain text.
fn names(settings: &Settings, read: &BTreeSet<String>) -> String {
    let labels = settings.label_paths().iter().filter(|path| !is_plain(path));
    let paths = settings.severity_paths().iter().chain(labels);
    let tags = TAG_PATHS.into_iter().filter(|path| !PLAIN_TAG_PATHS.contains(path));
    let tags = tags.map(|path| path.trim_start_matches('.').to_owned());
    let mut names: BTreeSet<String> = paths.cloned().chain(tags).chain(read.iter().cloned()).collect();
    let first: Vec<String> =
        names.iter().filter_map(|path| path.split('.').next()).map(str::to_owned).collect();
    names.extend(first);
    names.extend(TagStyle::of(settings).reserved().map(|name| name.to_string()));
    let any: Vec<String> = names.iter().map(|name| text::regex(&text::json(name))).collect();
    any.join("|")
}

/// The statements that set `severity` by the fields for it, if it is asked for at all. They come after the rules that have a
/// pattern: each local more costs Vector time for each of hundreds of statements.
pub(crate) fn severity(settings: &Settings, is_needed: bool) -> String {
    let levels: Vec<String> = settings.severity_paths().iter().flat_map(|path| text::places(path)).collect();
    let unknown = "severity = null\n".to_owned();
    if !is_needed || levels.is_empty() {
        return unknown;
    }
    let words = WORDS.iter().map(|(severity, words)| {
        let any = format!(r"match(word, r'(?i)\A(?:{words})\z')");
        (any, format!("severity = {}", *severity as u8))
    });
    let numbers = NUMBERS.iter().map(|(severity, numbers)| {
        let any: Vec<String> = numbers.iter().map(|number| format!("value == {number}")).collect();
        (any.join(" || "), format!("severity = {}", *severity as u8))
    });
    format!(
        r#"{unknown}if shape == 1 {{
  for_each([{}, null]) -> |_at, value| {{
    if severity == null && is_string(value) {{
      word = strip_whitespace(string(value) ?? "")
      {}
    }} else if severity == null && is_integer(value) {{
      {}
    }}
  }}
}}
"#,
        levels.join(", "),
        text::chain(words, 6),
        text::chain(numbers, 6),
    )
}

/// The statements that look for a level word at the usual places of `masked`, for records without a field for it: upper
/// case, or in brackets, before a colon, or after `level=`. They look only where a level that rules ask for can be. The first
/// of ten words that tells a level is taken out by one regex: a closure over the words costs ten times as much.
pub(crate) fn level_word(wanted: &[Severity]) -> String {
    if wanted.is_empty() {
        return String::new();
    }
    let is_wanted = |severity: &Severity| wanted.contains(severity);
    // Three notations of each word: a search without regard to case is twice as slow.
    let any = long_words(is_wanted).split('|').map(notations).collect::<Vec<_>>().join("|");
    let gate = format!(r"\A(?:[^ ]* ){{0,9}}?{}(?: |\z)", marked(&long_words(is_wanted)));
    let first = format!(r"\A(?:[^ ]* ){{0,9}}?({})(?: (?s:.)*)?\z", marked(&long_words(|_| true)));
    let words = WORDS.iter().map(|(severity, _)| {
        let words = long_words(|other| other == severity);
        let word = format!(r"match(word, {{r'(?i-u:{words})(?:[^0-9A-Za-z]|\z)'}})");
        (word, format!("severity = {}", *severity as u8))
    });
    format!(
        r#"if severity == null && match(masked, {{r'(?:{any})'}}) && match(masked, {{r'{gate}'}}) {{
  word = replace(masked, {{r'{first}'}}, "$1")
  {}
}}
"#,
        text::chain(words, 2),
    )
}

/// `[Ww]arn|WARN`.
fn notations(word: &str) -> String {
    let upper = word.to_ascii_uppercase();
    let (first, rest) = word.split_at(1);
    format!("[{}{first}]{rest}|{upper}", first.to_ascii_uppercase())
}

/// The words for some levels that are long enough to be read within a text, as alternatives.
fn long_words(wanted: impl Fn(&Severity) -> bool) -> String {
    let words = WORDS.iter().filter(|(severity, _)| wanted(severity)).flat_map(|(_, words)| words.split('|'));
    words.filter(|word| word.len() >= 4).collect::<Vec<_>>().join("|")
}

/// One of the words in a place that says it is meant as a level.
fn marked(words: &str) -> String {
    const OTHER: &str = "[^0-9A-Za-z= ]*";
    let upper = words.to_ascii_uppercase();
    format!(
        r"(?:{OTHER}(?:(?:{upper})|(?:level|lvl|severity)=\x22*(?i-u:{words})\x22*){OTHER}|{OTHER}(?i-u:{words}){OTHER}:|\[{OTHER}(?i-u:{words}){OTHER})"
    )
}

/// The words for each level, most usual first; see [`Severity::parse`].
const WORDS: [(Severity, &str); 6] = [
    (Severity::Info, "info|i|information|informational|notice|n|6|5|30|log"),
    (Severity::Warn, "warn|w|warning|4|40"),
    (Severity::Error, "error|e|err|severe|3|50|failure"),
    (Severity::Debug, "debug|d|fine|7|20"),
    (Severity::Fatal, "fatal|f|c|critical|crit|alert|emerg|emergency|panic|0|1|2|60"),
    (Severity::Trace, "trace|t|verbose|finest|finer"),
];
/// The numbers for each level; see [`Severity::of_number`].
const NUMBERS: [(Severity, &[u8]); 6] = [
    (Severity::Info, &[6, 5, 30]),
    (Severity::Warn, &[4, 40]),
    (Severity::Error, &[3, 50]),
    (Severity::Debug, &[7, 20]),
    (Severity::Fatal, &[0, 1, 2, 60]),
    (Severity::Trace, &[10]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_are_those_of_the_engine() {
        for (severity, words) in WORDS {
            for word in words.split('|') {
                assert_eq!(Severity::parse(word.as_bytes()), Some(severity), "{word}");
            }
        }
        let read = |number: u8| {
            NUMBERS.iter().find(|(_, numbers)| numbers.contains(&number)).map(|(severity, _)| *severity)
        };
        for number in 0..=255 {
            assert_eq!(read(number), Severity::of_number(number.into()), "{number}");
        }
        let count: usize = WORDS.iter().map(|(_, words)| words.split('|').count()).sum();
        assert_eq!(count, 45, "as many as the engine reads");
    }
}
