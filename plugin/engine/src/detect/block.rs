//! Blocks: lines that belong to the flagged line before them, as those of a stack trace do.
//!
//! A frame of a stack trace is an ordinary line in itself, and was perhaps seen in another trace that nobody minded; in
//! the trace of a flagged error it is part of what went wrong. The same goes for the lines that a program writes at
//! level error right after it. Shippers that join such lines into one record beforehand never get here.

use super::Signals;
use crate::{record::Severity, verdict::Flag};

/// Lines that one flagged line can speak for: longer traces repeat themselves.
const MAX_LINES: u32 = 200;
/// What belonging to a flagged line alone scores: just enough to be shown with it.
const STRENGTH: f32 = 0.5;

/// Whether the last record of a source was flagged, or belonged to one that was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Block {
    /// Lines that may still belong to it; 0: none is open.
    left: u32,
    /// The level of the flagged line.
    severity: Option<Severity>,
    /// Whether the record at hand belongs to it.
    continues: bool,
}

impl Block {
    /// Looks at the next record of the source.
    pub(crate) fn observe(&mut self, message: &[u8], severity: Option<Severity>) {
        let is_error = |severity: Option<Severity>| severity >= Some(Severity::Error);
        self.continues = false;
        if self.left == 0 || message.trim_ascii().is_empty() {
            return;
        }
        self.continues = is_continuation(message) || is_error(severity) && is_error(self.severity);
    }

    /// Adds the evidence if the record belongs to a flagged one, and says so.
    pub(crate) fn judge(&self, signals: &mut Signals) -> bool {
        if self.continues {
            signals.add(Flag::Sequence, STRENGTH, "belongs to the flagged line before it".to_owned());
        }
        self.continues
    }

    /// Learns whether the record at hand was flagged. An empty line ends nothing and begins nothing.
    pub(crate) fn close(&mut self, flagged: bool, severity: Option<Severity>, message: &[u8]) {
        if (!flagged && self.left == 0) || message.trim_ascii().is_empty() {
            return;
        }
        self.left = match (flagged, self.continues) {
            (true, false) => {
                self.severity = severity;
                MAX_LINES
            }
            (_, true) => self.left.saturating_sub(1),
            (false, false) => 0,
        };
    }
}

/// Indented by more than one blank, or worded as the traces of the JVM and its kin go on.
fn is_continuation(message: &[u8]) -> bool {
    match message.first() {
        Some(b'\t') => true,
        Some(b' ') => message.get(1) == Some(&b' '),
        Some(b'a') => message.starts_with(b"at "),
        Some(b'C') => message.starts_with(b"Caused by: "),
        Some(b'.') => message.starts_with(b"... "),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of these lines belong to a flagged one; those that begin with `!` are flagged by themselves.
    fn belong(lines: &[(&str, Option<Severity>)]) -> Vec<bool> {
        let mut block = Block::default();
        let mut step = |(line, severity): &(&str, Option<Severity>)| {
            let message = line.trim_start_matches('!').as_bytes();
            block.observe(message, *severity);
            let continues = block.judge(&mut Signals::default());
            block.close(line.starts_with('!') || continues, *severity, message);
            continues
        };
        lines.iter().map(&mut step).collect()
    }

    #[test]
    fn a_trace_belongs_to_its_error_and_ends_with_the_next_line() {
        let lines = ["!boom", "\tat a.B.c", "", "Caused by: x", "at d", "... 3 more", "next", "  indented"];
        let found = belong(&lines.map(|line| (line, None)));
        assert_eq!(found, [false, true, false, true, true, true, false, false]);
        assert_eq!(belong(&[("quiet", None), ("\tat a", None)]), [false, false]);
    }

    #[test]
    fn error_lines_follow_a_flagged_error_line() {
        let (error, info) = (Some(Severity::Error), Some(Severity::Info));
        assert_eq!(
            belong(&[("!a", error), ("b", error), ("c", info), ("d", error)]),
            [false, true, false, false]
        );
        assert_eq!(
            belong(&[("!a", error), (" ", None), ("b", error)]),
            [false, false, true],
            "past an empty line"
        );
        assert_eq!(belong(&[("!a", info), ("b", error)]), [false, false], "the flagged line was none");
    }

    #[test]
    fn a_block_is_bounded() {
        let lines = |count: usize| {
            let mut lines = vec![("!boom", None)];
            lines.extend(std::iter::repeat_n(("\tat a", None), count));
            belong(&lines).into_iter().filter(|belongs| *belongs).count()
        };
        let limit = MAX_LINES as usize;
        assert_eq!([lines(limit), lines(limit + 1), lines(10 * limit)], [limit, limit, limit]);
    }
}
