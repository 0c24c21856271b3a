//! What a shell script would do: lines that call themselves an error, and lines never seen before once their numbers are
//! taken out.

use std::collections::HashSet;

use oddline_engine::mask::Masked;

use crate::detector::{Answer, Detector, Event};

/// Words by which a line says that it is an error; as words, in this case, for `error` in prose says little.
const WORDS: [&[u8]; 8] =
    [b"ERROR", b"FATAL", b"CRITICAL", b"SEVERE", b"[error]", b"[crit]", b"[alert]", b"[emerg]"];

/// Any line that calls itself an error.
pub(crate) struct ErrorLine;

/// Whether a line calls itself an error.
pub(crate) fn is_error(line: &[u8]) -> bool {
    let in_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    WORDS.iter().any(|word| {
        line.windows(word.len()).enumerate().any(|(at, window)| {
            let before = at.checked_sub(1).and_then(|at| line.get(at));
            window == *word && !in_word(before) && !in_word(line.get(at + word.len()))
        })
    })
}

impl Detector for ErrorLine {
    fn learn(&mut self, _: &[Event]) -> anyhow::Result<()> {
        Ok(())
    }

    fn judge(&mut self, events: &[Event]) -> anyhow::Result<Vec<Answer>> {
        Ok(events.iter().map(|event| Answer::yes(is_error(&event.line))).collect())
    }
}

/// A line is odd when its masked text was not in the baseline; without one, when it is the first of its kind. It uses our
/// mask, so that the difference is what comes after it.
pub(crate) struct MaskedLine {
    has_baseline: bool,
    masked: Masked,
    seen: HashSet<Vec<u8>>,
}

impl MaskedLine {
    pub(crate) fn new(has_baseline: bool) -> MaskedLine {
        MaskedLine { has_baseline, masked: Masked::default(), seen: HashSet::new() }
    }

    fn is_new(&mut self, event: &Event, remember: bool) -> bool {
        self.masked.mask(&event.line);
        let is_new = !self.seen.contains(&self.masked.text);
        if is_new && remember {
            self.seen.insert(self.masked.text.clone());
        }
        is_new
    }
}

impl Detector for MaskedLine {
    fn learn(&mut self, events: &[Event]) -> anyhow::Result<()> {
        for event in events {
            self.is_new(event, true);
        }
        Ok(())
    }

    fn judge(&mut self, events: &[Event]) -> anyhow::Result<Vec<Answer>> {
        let remember = !self.has_baseline;
        Ok(events.iter().map(|event| Answer::yes(self.is_new(event, remember))).collect())
    }
}
