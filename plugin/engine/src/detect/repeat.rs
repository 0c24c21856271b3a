//! Repeat: one source says (nearly) the same thing over and over, longer than it ever did.
//!
//! A run is a sequence of records of one template without another in between. At the lengths 50, 100, 200 … the first
//! and the latest message of the run are compared by normalised Levenshtein distance.

use super::Signals;
use crate::verdict::Flag;

/// A run shorter than this is never odd.
const SHORTEST_RUN: u32 = 50;
/// A run is odd when it is this many times as long as the template's longest before.
const FACTOR: u32 = 4;
/// Bytes compared.
const PREFIX: usize = 160;
/// Likeness from which two messages are the same.
const SAME: f64 = 0.9;

/// The run that a source is in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    template: u64,
    pub(crate) length: u32,
    first: String,
}

impl Run {
    /// Takes one record; gives the length of the run that it ended, with its template, if it ended one.
    pub(crate) fn observe(&mut self, template: u64) -> Option<(u64, u32)> {
        if self.template == template && self.length > 0 {
            self.length = self.length.saturating_add(1);
            return None;
        }
        let ended = (self.length > 0).then_some((self.template, self.length));
        self.template = template;
        self.length = 1;
        self.first.clear();
        ended
    }

    /// Whether the run has just become odd. `records`: how many the source has sent; a source that never says anything
    /// else has no runs to speak of.
    pub(crate) fn judge(&mut self, usual: u32, records: u64, message: &[u8], signals: &mut Signals) {
        // The text is kept late, so that the many short runs cost no copy.
        if self.length == SHORTEST_RUN / 2 {
            self.first = prefix(message);
        }
        let due = self.length >= SHORTEST_RUN
            && self.length.checked_rem(SHORTEST_RUN) == Some(0)
            && (self.length / SHORTEST_RUN).is_power_of_two();
        let without_such_a_run = u64::from(self.length.saturating_mul(FACTOR)) <= records;
        if !due || !without_such_a_run || self.length < usual.saturating_mul(FACTOR) || self.first.is_empty()
        {
            return;
        }
        self.tell(usual, message, signals);
    }

    /// Tells of the run if its messages are the same, not only their template.
    #[cold]
    fn tell(&self, usual: u32, message: &[u8], signals: &mut Signals) {
        if strsim::normalized_levenshtein(&self.first, &prefix(message)) >= SAME {
            let words = format!("the same message {} times in a row", self.length);
            signals.add_measured(Flag::Repeat, 0.55, f64::from(usual), f64::from(self.length), words);
        }
    }
}

fn prefix(message: &[u8]) -> String {
    String::from_utf8_lossy(message.get(..message.len().min(PREFIX)).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(usual: u32, records: u64, message: impl Fn(u32) -> String) -> Vec<u32> {
        let mut run = Run::default();
        let mut told = Vec::new();
        for count in 1..=400 {
            let mut signals = Signals::default();
            let message = message(count);
            run.observe(7);
            run.judge(usual, records, message.as_bytes(), &mut signals);
            if signals.flags.contains(Flag::Repeat) {
                told.push(count);
            }
        }
        told
    }

    #[test]
    fn told_at_fifty_and_at_each_doubling() {
        assert_eq!(told(1, 9_999, |_| "disk is full, cannot write".into()), [50, 100, 200, 400]);
        assert_eq!(
            told(20, 9_999, |_| "disk is full, cannot write".into()),
            [100, 200, 400],
            "usual runs are longer"
        );
        assert!(
            told(1, 150, |_| "disk is full, cannot write".into()).is_empty(),
            "it never says anything else"
        );
    }

    #[test]
    fn different_messages_of_one_template_are_no_repeat() {
        assert!(told(1, 9_999, |count| format!("{0} {0} {0} {0} job", count * 7_919)).is_empty());
    }

    #[test]
    fn a_run_ends_with_another_template() {
        let mut run = Run::default();
        assert_eq!(run.observe(1), None);
        assert_eq!(run.observe(1), None);
        assert_eq!(run.observe(2), Some((1, 2)));
    }
}
