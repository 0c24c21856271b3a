//! The part of the program that reads the event: `tag`, `message`, and what of its fields says how severe it is.
//!
//! Takes settings, gives statements. As the engine's module `pick`: the first path that holds text is the message, else
//! the longest text of the top level. Whatever a field holds instead of text, nothing here can fail. Must not know
//! masking, advice or tags.

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
/// Put there by Vector: no message, however long.
const NO_MESSAGE: [&str; 1] = ["source_type"];

/// The statements that read fields; they stand where nothing is known of the types of locals.
pub(crate) fn fields(settings: &Settings, needs_severity: bool) -> String {
    let mut paths = settings.message_paths().iter().flat_map(|path| text::places(path));
    let first = paths.next().unwrap_or_default();
    let others = paths.collect::<Vec<_>>().join(", ");
    let tags = TAG_PATHS.join(", ");
    let either = TAG_PATHS.join(" || ");
    let mut section = format!(
        r#"  tag = %oddline.tag || {either} || "vector"
  if !is_string(tag) {{
    tag = null
    for_each([%oddline.tag, {tags}]) -> |_at, value| {{
      if tag == null && is_string(value) {{
        tag = value
      }}
    }}
  }}
  message = {first}
  if !is_string(message) || message == "" {{
    message = null
    for_each([{others}]) -> |_at, value| {{
      if message == null && is_string(value) && value != "" {{
        message = value
      }}
    }}
    if message == null {{
      whole = .
      bare = !is_object(whole)
    }}
  }}
"#
    );
    let levels: Vec<String> = settings.severity_paths().iter().flat_map(|path| text::places(path)).collect();
    if needs_severity && !levels.is_empty() {
        let words = WORDS.iter().map(|(severity, words)| {
            let any = format!(r"match(word, r'(?i)\A(?:{words})\z')");
            (any, format!("severity = {}", *severity as u8))
        });
        let numbers = NUMBERS.iter().map(|(severity, numbers)| {
            let any: Vec<String> = numbers.iter().map(|number| format!("value == {number}")).collect();
            (any.join(" || "), format!("severity = {}", *severity as u8))
        });
        section += &format!(
            r#"  if ({}) != null {{
    for_each([{}, null]) -> |_at, value| {{
      if severity == null && is_string(value) {{
        word = strip_whitespace(value) ?? ""
        {}
      }} else if severity == null && is_integer(value) {{
        {}
      }}
    }}
  }}
"#,
            levels.join(" || "),
            levels.join(", "),
            text::chain(words, 8),
            text::chain(numbers, 8),
        );
    }
    section
}

/// The statements that make the message a string: as text, no longer than is analysed, without terminal colours.
pub(crate) fn message(settings: &Settings) -> String {
    let severities = settings.severity_paths().iter().chain(settings.label_paths());
    let taken = settings.message_paths().iter().chain(severities).map(String::as_str).chain(NO_MESSAGE);
    let taken: Vec<String> = taken.map(text::string).collect();
    let most = settings.max_message_bytes();
    format!(
        r#"  tag = string(tag) ?? "vector"
  if bare {{
    message = whole
  }} else if whole != null {{
    longest = 0
    for_each(object(whole) ?? {{}}) -> |key, value| {{
      if is_string(value) && !includes([{}], key) {{
        candidate = null
        if key != null {{
          candidate = value
        }}
        candidate = string(candidate) ?? ""
        if length(candidate) > longest {{
          longest = length(candidate)
          message = candidate
        }}
      }}
    }}
  }}
  message = string(message) ?? ""
  if length(message) > {most} {{
    message = slice(message, 0, {most}) ?? ""
  }}
  if match(message, r'\x1B') {{
    message = replace(message, r'(?s)\x1B\[[\x20-\x3F]*[^\x20-\x3F]?', "")
    message = replace(message, r'\x1B', " ")
  }}
"#,
        taken.join(", "),
    )
}

/// The statements that look for a level word at the usual places of `masked`, for records without a field for it: upper
/// case, or in brackets, before a colon, or after `level=`. They look only where a level that rules ask for can be.
pub(crate) fn level_word(wanted: &[Severity]) -> String {
    let is_wanted = |severity: &Severity| wanted.contains(severity);
    let gate = format!(r"\A(?:[^ ]* ){{0,9}}?{}(?: |\z)", marked(&long_words(is_wanted)));
    let words = WORDS.iter().map(|(severity, _)| {
        let place = marked(&long_words(|other| other == severity));
        (format!(r"match(word, r'\A{place}\z')"), format!("severity = {}", *severity as u8))
    });
    format!(
        r#"  if severity == null && match(masked, r'{gate}') {{
    for_each(split(masked, " ", limit: 11)) -> |at, word| {{
      if at < 10 && severity == null {{
        {}
      }}
    }}
  }}
"#,
        text::chain(words, 8),
    )
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
        r"(?:{OTHER}(?:(?:{upper})|(?:level|lvl|severity)=\x22*(?i:{words})\x22*){OTHER}|{OTHER}(?i:{words}){OTHER}:|\[{OTHER}(?i:{words}){OTHER})"
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
