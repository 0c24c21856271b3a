//! Takes the text of one JSON object, gives its pairs as they are written, in one pass and without an allocation for a
//! flat record. As strict as serde_json, which takes several times the instructions: that is nothing to a processor,
//! and a fifth of a record's time to the interpreter that runs the wasm filter. What was stepped over is UTF-8: only within
//! strings can it be anything but ASCII, and only strings that are not are looked at for that. Must not know: what keys
//! or values mean.

use crate::Unreadable;

/// A position in JSON text.
#[derive(Clone, Debug)]
pub(super) struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    is_escaped: bool,
}

/// What may come next within a value.
#[derive(Clone, Copy)]
enum Next {
    Value,
    /// A key, or the end of an object without pairs.
    FirstKey,
    /// An item, or the end of an array without items.
    FirstItem,
    /// A comma, or the end of the innermost container.
    Comma,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a [u8]) -> Scan<'a> {
        Scan { text, at: 0, is_escaped: false }
    }

    /// Offset of the next byte.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Whether the string stepped over last, a key or a value, has an escape.
    pub(super) fn is_escaped(&self) -> bool {
        self.is_escaped
    }

    /// The text from an offset up to here.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// The next byte that is no blank, which is where the position then is.
    pub(super) fn token(&mut self) -> Option<u8> {
        loop {
            match self.byte()? {
                b' ' | b'\t' | b'\n' | b'\r' => self.step(1),
                byte => return Some(byte),
            }
        }
    }

    /// Steps over this byte, blanks before it included.
    pub(super) fn require(&mut self, wanted: u8) -> Result<(), Unreadable> {
        if self.token() != Some(wanted) {
            return Err(self.unreadable());
        }
        self.step(1);
        Ok(())
    }

    /// Steps over a key up to its value; gives the key in its quotes.
    pub(super) fn key(&mut self) -> Result<&'a [u8], Unreadable> {
        self.token();
        let key = self.quoted()?;
        self.require(b':')?;
        self.token();
        Ok(key)
    }

    /// Steps over a string; gives it in its quotes.
    pub(super) fn quoted(&mut self) -> Result<&'a [u8], Unreadable> {
        let start = self.at;
        self.string()?;
        Ok(self.since(start))
    }

    /// Steps over one whole value. A loop with a list of what is open, so that nesting costs no stack.
    pub(super) fn value(&mut self) -> Result<&'a [u8], Unreadable> {
        self.token();
        let start = self.at;
        let mut open: Vec<u8> = Vec::new();
        let mut next = Next::Value;
        loop {
            let byte = self.token().ok_or_else(|| self.unreadable())?;
            let closes = open.last() == Some(&byte);
            next = match next {
                Next::Comma | Next::FirstKey | Next::FirstItem if closes => {
                    self.step(1);
                    open.pop();
                    Next::Comma
                }
                Next::Comma => {
                    self.require(b',')?;
                    if open.last() == Some(&b'}') {
                        self.key()?;
                    }
                    Next::Value
                }
                Next::FirstKey => {
                    self.key()?;
                    Next::Value
                }
                Next::Value | Next::FirstItem => match byte {
                    b'{' => {
                        self.step(1);
                        open.push(b'}');
                        Next::FirstKey
                    }
                    b'[' => {
                        self.step(1);
                        open.push(b']');
                        Next::FirstItem
                    }
                    _ => {
                        self.scalar(byte)?;
                        Next::Comma
                    }
                },
            };
            if open.is_empty() {
                return Ok(self.since(start));
            }
        }
    }

    /// Only blanks may follow.
    pub(super) fn end(&mut self) -> Result<(), Unreadable> {
        self.token().map_or(Ok(()), |_| Err(self.unreadable()))
    }

    pub(super) fn unreadable(&self) -> Unreadable {
        Unreadable { offset: self.at, reason: "not a JSON object" }
    }

    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn step(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn scalar(&mut self, first: u8) -> Result<(), Unreadable> {
        match first {
            b'"' => self.string(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Unreadable> {
        if !self.rest().starts_with(word) {
            return Err(self.unreadable());
        }
        self.step(word.len());
        Ok(())
    }

    fn number(&mut self) -> Result<(), Unreadable> {
        if self.byte() == Some(b'-') {
            self.step(1);
        }
        let leads_with_zero = self.byte() == Some(b'0');
        if self.digits()? > 1 && leads_with_zero {
            return Err(self.unreadable());
        }
        if self.byte() == Some(b'.') {
            self.step(1);
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.step(1);
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.step(1);
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Steps over digits, of which there must be one; gives how many.
    fn digits(&mut self) -> Result<usize, Unreadable> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.unreadable());
        }
        self.step(count);
        Ok(count)
    }

    fn string(&mut self) -> Result<(), Unreadable> {
        if self.byte() != Some(b'"') {
            return Err(self.unreadable());
        }
        self.step(1);
        self.is_escaped = false;
        let (start, mut is_ascii) = (self.at, true);
        loop {
            let (length, seems_ascii) = plain(self.rest());
            self.step(length);
            is_ascii &= seems_ascii;
            match self.rest() {
                [b'"', ..] => {
                    if !is_ascii {
                        utf8(start, self.since(start))?;
                    }
                    self.step(1);
                    return Ok(());
                }
                [b'\\', ..] if !self.is_escaped => self.is_escaped = true,
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.step(2),
                [b'\\', b'u', a, b, c, d, ..] if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) => {
                    self.step(6);
                }
                _ => return Err(self.unreadable()),
            }
        }
    }
}

// Apart, because most strings are ASCII.
#[inline(never)]
fn utf8(start: usize, text: &[u8]) -> Result<(), Unreadable> {
    let unreadable = |error: std::str::Utf8Error| Unreadable {
        offset: start.saturating_add(error.valid_up_to()),
        reason: "invalid UTF-8",
    };
    std::str::from_utf8(text).map(drop).map_err(unreadable)
}

const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

const HIGH: u64 = each(0x80);

/// How many bytes stand before the first that a JSON string cannot hold as it is: a quote, a backslash, or a control
/// character; and whether all of these are ASCII, which bytes behind them may deny. Eight bytes a step, the last ones too: some
/// of those are then looked at twice.
pub(super) fn plain(text: &[u8]) -> (usize, bool) {
    let (words, tail) = text.as_chunks::<8>();
    let (mut at, mut all) = (0usize, 0);
    for word in words {
        let word = u64::from_le_bytes(*word);
        let found = special(word);
        all |= word;
        if found != 0 {
            return (at.saturating_add(first(found)), all & HIGH == 0);
        }
        at = at.saturating_add(8);
    }
    if tail.is_empty() {
        return (text.len(), all & HIGH == 0);
    }
    let last = text.last_chunk().copied().unwrap_or_else(|| {
        let mut short = [b' '; 8];
        short.iter_mut().zip(text).for_each(|(to, byte)| *to = *byte);
        short
    });
    let last = u64::from_le_bytes(last);
    let (found, ahead) = (special(last), text.len().max(8).saturating_sub(8));
    let end = if found == 0 { text.len() } else { ahead.saturating_add(first(found)) };
    (end, (all | last) & HIGH == 0)
}

/// The high bit of the first of eight bytes that a string cannot hold as it is; what is above it may be wrong. Bytes from 0x80 on are
/// none. A quote differs from a blank in one bit, and with that bit turned over it is the one character behind the control characters.
fn special(word: u64) -> u64 {
    let borrowed =
        (word ^ each(b'"' ^ b' ')).wrapping_sub(each(b' ' + 1)) | (word ^ each(b'\\')).wrapping_sub(each(1));
    borrowed & !word & HIGH
}

/// Which of eight bytes is the first with its high bit set.
fn first(found: u64) -> usize {
    (found.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn whole(text: &str) -> Option<&str> {
        let mut scan = Scan::new(text.as_bytes());
        let value = scan.value().ok()?;
        scan.end().ok()?;
        std::str::from_utf8(value).ok()
    }

    fn same_as_serde(text: &str) {
        let theirs = serde_json::from_str::<&RawValue>(text).ok().map(RawValue::get);
        assert_eq!(whole(text), theirs, "{text}");
    }

    #[test]
    fn as_strict_as_serde_json() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "[]",
            " [ ] ",
            "[,]",
            "[1,]",
            "[1 2]",
            "{}",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1 "b":2}"#,
            r#"{"a" : [1, {"b":null}] , "c":true}"#,
            "{1:2}",
            "[}",
            "{]",
            "0",
            "-0",
            "-",
            "01",
            "-01",
            "1.",
            ".5",
            "1.5e",
            "1e+",
            "1E-7",
            "1e999",
            "--1",
            "+1",
            "1.2.3",
            "tru",
            "true",
            "truex",
            "nul",
            "nan",
            "\"",
            "\"a\"",
            "\"\\\"",
            r#""\x""#,
            r#""\u00e""#,
            r#""\uD800""#,
            r#""\u00eg""#,
            "\"a\nb\"",
            "\"\u{1f}\"",
            "\"\u{7f}é€\"",
            "\"1234567\\\"89\"",
            "\"a\"\"b\"",
            "[[[[]]]]",
        ] {
            same_as_serde(text);
        }
        same_as_serde(&"[".repeat(1_000));
        assert!(whole(&("[".repeat(100_000) + &"]".repeat(100_000))).is_some(), "nesting costs no stack");
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_serde_json_reads_it(text in r#"[\[\]{},:"\\ truefalsn0-9eE.+é\x00u-]{0,24}"#) {
            same_as_serde(&text);
        }

        #[test]
        fn plain_text_ends_where_it_must(text in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), any::<u8>()], 0..40)) {
            let ends = |byte: &u8| *byte < b' ' || matches!(byte, b'"' | b'\\');
            let (length, is_ascii) = plain(&text);
            prop_assert_eq!(length, text.iter().position(ends).unwrap_or(text.len()));
            prop_assert!(!is_ascii || text[..length].is_ascii());
            prop_assert!(is_ascii || !text.is_ascii());
        }
    }
}
