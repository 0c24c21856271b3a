//! What a shell script would do: lines that call themselves an error, and lines never seen before once their numbers are
//! taken out.

use std::collections::HashSet;

use oddline_engine::mask::Masked;

use crate::detector::{Answer, Detector, Event};

/// Words by which a line says that it is an error; in this case, for `error` in prose says little.
const WORDS: [&[u8]; 8] =
    [b"ERROR", b"FATAL", b"CRITICAL", b"SEVERE", b"[error]", b"[crit]", b"[alert]", b"[emerg]"];
/// A line names its level among its first words; further on, an `ERROR` is text.
const FIRST_WORDS: usize = 8;

/// Any line that calls itself an error.
pub(crate) struct ErrorLine;

/// Whether a line calls itself an error.
pub(crate) fn is_error(line: &[u8]) -> bool {
    let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).take(FIRST_WORDS);
    words.into_iter().any(|word| {
        let mut parts = word.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
        WORDS.contains(&word) || parts.any(|part| WORDS.contains(&part))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_level_at_its_head() {
        for line in [
            "2018-09-29 02:28:04.370 5933 ERROR cinder.volume x",
            "[ERROR] failed",
            "[Sun Dec 4] [error] mod_jk",
        ] {
            assert!(is_error(line.as_bytes()), "{line}");
        }
        for line in ["no error here", "INFO a b c d e f g h ERROR", "NO_ERROR", ""] {
            assert!(!is_error(line.as_bytes()), "{line}");
        }
    }
}
