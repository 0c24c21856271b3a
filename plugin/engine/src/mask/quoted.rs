//! Quoted strings: takes the message from a quote on, puts what is quoted, or the quote alone, behind what is masked. Knows nothing of
//! what else is masked.

use super::{
    MAX_QUOTED_BYTES, Masked, PLACEHOLDER,
    class::{is_key, is_word},
};

impl Masked {
    /// A short quoted string is a variable, unless it is the key of a JSON-like pair or an apostrophe within a word.
    pub(super) fn quoted(&mut self, rest: &[u8], at: usize) -> usize {
        let quote = rest.first().copied().unwrap_or(b'"');
        let inner = rest.get(1..).unwrap_or_default();
        let opens = self.text.last().is_none_or(|byte| !is_word(*byte))
            && !self.text.ends_with(PLACEHOLDER.as_bytes());
        let window = inner.get(..inner.len().min(MAX_QUOTED_BYTES)).unwrap_or_default();
        let end = memchr::memchr2(quote, b'\n', window);
        // A quote behind the window may be within that of a message with shorter numbers.
        self.is_by_skeleton &= !opens || end.is_some() || inner.len() <= MAX_QUOTED_BYTES;
        match end {
            Some(end) if opens && end > 0 && window.get(end) == Some(&quote) => {
                let start = at.saturating_add(1);
                self.quotations.push(start..start.saturating_add(end));
                // It may lie behind the window.
                let behind = inner.get(end.saturating_add(1));
                let inner = window.get(..end).unwrap_or_default();
                let after = end.saturating_add(2);
                if behind == Some(&b':') && inner.iter().all(|byte| is_key(*byte)) {
                    // The only digits that stay.
                    self.is_by_skeleton &= !inner.iter().any(u8::is_ascii_digit);
                    self.text.extend_from_slice(rest.get(..after).unwrap_or_default());
                    return after;
                }
                self.text.push(quote);
                self.text.extend_from_slice(PLACEHOLDER.as_bytes());
                self.text.push(quote);
                after
            }
            _ => {
                self.text.push(quote);
                1
            }
        }
    }
}
