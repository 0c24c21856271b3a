//! Variable parts become `<*>`: numbers, hex, ids, addresses, dates, paths, URLs and quoted strings, in one pass.
//!
//! The scanner sees words (runs without white space or brackets). A part of a word with a digit in it is a variable;
//! variables that only punctuation joins are one (`10.0.0.1:80`, `2026-11-21T02:03:04Z`). What stays is the fixed text:
//! masking twice equals masking once, but where masking made a quotation short enough to be one, cut the digits off a word
//! of hex letters, or put a placeholder behind a line drawn with `<`. Nothing is masked twice.

mod class;
mod hex;
mod ids;
mod number;
mod quoted;
mod recall;
mod skeleton;

use std::ops::Range;

pub(crate) use class::has_byte;
use class::{DIGIT, JOIN, WORD, class, digits, ends_path, is_date_word, is_word, letters};
use number::{MAX_DIGITS, Shape, unit_of, value_of};
pub(crate) use recall::Recalled;
pub(crate) use skeleton::{HEX, LONG_RUN, Place, Skeleton, Varies};

/// The placeholder of every variable part.
pub const PLACEHOLDER: &str = "<*>";
/// Masked text is cut here: templates are short, and a record's tail passes untouched anyway.
pub const MAX_MASKED_BYTES: usize = 1_024;
/// What is quoted is a variable if it and its closing quote are no longer than this.
pub const MAX_QUOTED_BYTES: usize = 256;
/// Numbers remembered per record for the value detector.
pub const MAX_VALUES: usize = 4;
/// Ids remembered per record for the sequence detector.
pub const MAX_IDS: usize = 3;
/// Shortest and longest variable that can be an id, in bytes.
const ID_BYTES: std::ops::RangeInclusive<usize> = 8..=64;
/// Digits from which a plain number can be an id: fewer are counts, sizes and years.
const ID_DIGITS: usize = 9;

/// The masked form of one message; reused from record to record, so that masking does not allocate.
#[derive(Clone, Debug, Default)]
pub struct Masked {
    /// The masked bytes.
    pub text: Vec<u8>,
    values: [f64; MAX_VALUES],
    /// Where the digits of each value lie in the message, and what one of its unit is worth.
    numbers: [(Range<usize>, f64); MAX_VALUES],
    count: usize,
    /// Where the text ended when the last number was remembered: a variable joined to it proves it was none.
    number_end: Option<usize>,
    /// Where the text ended when the last placeholder was written; 0: none yet.
    placeholder_end: usize,
    ids: [Range<usize>; MAX_IDS],
    id_count: usize,
    emitted: Emitted,
    /// Where the variable at hand began in the message, over all its joined parts.
    variable_start: usize,
    /// Whether one of these parts looks like an id.
    is_id: bool,
    /// Whether the part at hand has as many bytes in every message with this one's skeleton, but for the digits of a number that
    /// is nothing else.
    is_exact: bool,
    /// How far the variable at hand was looked at for what ids are made of, and whether it was nothing else.
    looked_at: Range<usize>,
    is_id_so_far: bool,
    /// Whether all that was found holds for every message with this one's skeleton in which the quotations are as short.
    is_by_skeleton: bool,
    /// What stands between quotes that are near enough.
    quotations: Vec<Range<usize>>,
    says_something: bool,
}

/// What the last step made of the message.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Emitted {
    #[default]
    Nothing,
    /// A variable of its own.
    Variable,
    /// More of the variable before it.
    Joined,
}

/// What stands between the last placeholder and the end of the output.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Behind {
    /// One blank: what comes is one more of a list.
    Blank,
    /// Nothing, or a few characters that join: what comes is more of the same variable.
    Joiner,
    /// Something else, or there is no placeholder.
    Other,
}

impl Masked {
    /// The first plain numbers of the message (`12`, `3.5`, `17ms`, not parts of ids, dates or addresses), in order.
    pub fn values(&self) -> &[f64] {
        self.values.get(..self.count).unwrap_or_default()
    }

    /// Whether there is a word in what is masked: a rule of dashes or a lone number is no message.
    pub(crate) fn says_something(&self) -> bool {
        self.says_something
    }

    /// Where the first ids of the message lie in it: what looks made up by a program to name a request, a block or an
    /// instance, and nothing that is a date, an address or a path.
    pub fn ids(&self) -> &[Range<usize>] {
        self.ids.get(..self.id_count).unwrap_or_default()
    }

    /// Masks a message into this buffer.
    #[inline(never)]
    pub fn mask(&mut self, message: &[u8]) {
        self.text.clear();
        self.count = 0;
        self.number_end = None;
        self.placeholder_end = 0;
        self.id_count = 0;
        self.looked_at = usize::MAX..usize::MAX;
        self.is_by_skeleton = true;
        self.quotations.clear();
        let message = trim_end(message);
        let mut at = 0;
        while let Some(rest) = message.get(at..)
            && let Some(&first) = rest.first()
            && self.text.len() < MAX_MASKED_BYTES
        {
            self.is_exact = false;
            let taken = if is_word(first) {
                if hex::is_uuid(rest) && is_word_start(message, at) {
                    self.uuid()
                } else {
                    self.word(rest, at)
                }
            } else {
                match first {
                    b' ' | b'\t' | b'\n' | b'\r' => self.space(rest),
                    b'"' | b'\'' => self.quoted(rest, at),
                    b'/' => self.path(rest),
                    b'<' if rest.starts_with(PLACEHOLDER.as_bytes()) => self.variable(PLACEHOLDER.len()),
                    _ => self.punctuation(first, rest),
                }
            };
            let start = at;
            at = at.saturating_add(taken.max(1));
            if self.emitted != Emitted::Nothing {
                let joined = std::mem::take(&mut self.emitted) == Emitted::Joined;
                let found = std::mem::take(&mut self.is_id);
                if !joined {
                    self.variable_start = start;
                }
                if found || joined && self.id_count > 0 {
                    self.note_id(message, start..at, joined, found);
                }
                at = self.more_digits(message, at);
            }
        }
        self.text.truncate(cut_point(&self.text));
        self.says_something = self.text.iter().any(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii());
        // Only now is it known which numbers are not the beginning of a date or an address.
        for (value, (digits, unit)) in self.values.iter_mut().zip(&self.numbers).take(self.count) {
            *value = value_of(message.get(digits.clone()).unwrap_or_default()) * unit;
        }
    }

    /// Takes what is joined to the variable at the end of the output by one character and is nothing but digits: the rest
    /// of a date, a time or an address, in which each part by itself would take the way of a word. Gives where it ends.
    fn more_digits(&mut self, message: &[u8], mut at: usize) -> usize {
        while self.placeholder_end == self.text.len()
            && self.text.len().saturating_add(1) < MAX_MASKED_BYTES
            && let Some([joiner, rest @ ..]) = message.get(at..)
            && class(*joiner) & (JOIN | WORD) == JOIN
        {
            let digits = digits(rest);
            let after = rest.get(digits..).unwrap_or_default();
            let is_other = digits == 0 || after.first().is_some_and(|byte| is_word(*byte));
            if is_other || digits == hex::FIRST && hex::is_uuid(rest) {
                break;
            }
            if self.number_end.take() == Some(self.text.len()) {
                self.count = self.count.saturating_sub(1);
            }
            let unit = unit_of(after).map_or(0, |(length, _)| length);
            let start = at.saturating_add(1);
            at = start.saturating_add(digits).saturating_add(unit);
            let found = digits >= ID_DIGITS;
            if found || self.id_count > 0 {
                self.note_id(message, start..at, true, found);
            }
        }
        at
    }

    /// A line drawn with dashes is the same line at any length: four of one character stand for more.
    fn punctuation(&mut self, first: u8, rest: &[u8]) -> usize {
        if rest.get(1) != Some(&first) {
            self.text.push(first);
            return 1;
        }
        let run = rest.iter().take_while(|byte| **byte == first).count();
        self.text.extend(std::iter::repeat_n(first, run.min(LONGEST_DRAWN)));
        run
    }

    /// Any white space is one blank.
    fn space(&mut self, rest: &[u8]) -> usize {
        if !self.text.is_empty() {
            self.text.push(b' ');
        }
        if rest.get(1).is_some_and(|byte| byte.is_ascii_graphic()) {
            return 1;
        }
        rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
    }

    /// `/two/segments` and more are a variable; a lone `/` or `/word` stays.
    fn path(&mut self, rest: &[u8]) -> usize {
        if self.text.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'>') {
            self.text.push(b'/');
            return 1;
        }
        let end = rest.iter().position(|&byte| ends_path(byte)).unwrap_or(rest.len());
        let path = rest.get(..end).unwrap_or_default();
        let end = end.saturating_sub(path.iter().rev().take_while(|byte| b".,:;".contains(byte)).count());
        let path = rest.get(..end).unwrap_or_default();
        if path.len() > 2 && path.iter().filter(|byte| **byte == b'/').count() >= 2 {
            return self.variable(end);
        }
        self.text.push(b'/');
        1
    }

    /// One variable, whatever its digits are.
    fn uuid(&mut self) -> usize {
        self.is_id = true;
        self.is_exact = true;
        self.variable(hex::UUID)
    }

    /// One run of letters, digits and underscores; parts with digits are variables.
    fn word(&mut self, rest: &[u8], at: usize) -> usize {
        let mut digits = digits(rest);
        let mut end = if digits == 0 { letters(rest) } else { digits };
        for &byte in rest.get(end..).unwrap_or_default() {
            let class = class(byte);
            if class & WORD == 0 {
                break;
            }
            end += 1;
            digits += usize::from(class & DIGIT) >> 1;
        }
        let word = rest.get(..end).unwrap_or_default();
        if digits == 0 {
            return self.plain_word(word, rest, end);
        }
        let Some(shape) = Shape::of(word, digits) else {
            return self.mixed(word);
        };
        self.is_id = shape == Shape::Id || digits >= ID_DIGITS;
        self.is_exact = true;
        let behind = self.behind();
        if shape == Shape::Number && behind != Behind::Joiner {
            return self.number(rest, at, end, digits, behind);
        }
        let unit = if shape == Shape::Number { rest.get(end..).and_then(unit_of) } else { None };
        self.variable_behind(behind, end.saturating_add(unit.map_or(0, |(length, _)| length)))
    }

    /// Words without digits stay, but for URLs, month names before a day, and long pure hex.
    fn plain_word(&mut self, word: &[u8], rest: &[u8], end: usize) -> usize {
        let after = rest.get(end..).unwrap_or_default();
        if after.starts_with(b"://") {
            let url = rest.iter().position(|&byte| byte != b'=' && ends_path(byte)).unwrap_or(rest.len());
            let url = url.saturating_sub(
                rest.get(..url)
                    .unwrap_or_default()
                    .iter()
                    .rev()
                    .take_while(|byte| b".,;:".contains(byte))
                    .count(),
            );
            return self.variable(url);
        }
        if word.as_array().is_some_and(is_date_word) && !after.is_empty() && self.is_day(after)
            || word.len() >= 16 && word.iter().all(u8::is_ascii_hexdigit)
        {
            return self.variable(end);
        }
        // A call for a few bytes takes longer than to write too many and cut.
        match rest.first_chunk::<COPIED>().filter(|_| end <= COPIED) {
            Some(chunk) => {
                let length = self.text.len();
                self.text.extend_from_slice(chunk);
                self.text.truncate(length.saturating_add(end));
            }
            None => self.text.extend_from_slice(word),
        }
        end
    }

    /// Whether a day follows behind the name of a month.
    #[cold]
    fn is_day(&mut self, after: &[u8]) -> bool {
        let Some(start) = after.iter().position(|byte| !b" -/".contains(byte)) else { return false };
        let next = after.get(start..).unwrap_or_default();
        // Of two ids one may begin with a digit.
        self.is_by_skeleton &= !hex::begins(next);
        next.first().is_some_and(u8::is_ascii_digit)
    }

    /// `user1234`, `node_7`: letters stay, digits are the variable.
    fn mixed(&mut self, word: &[u8]) -> usize {
        let mut at = 0;
        while let Some(rest) = word.get(at..)
            && let Some(first) = rest.first()
        {
            let digit = first.is_ascii_digit();
            let run = rest.iter().take_while(|byte| byte.is_ascii_digit() == digit).count().max(1);
            if digit {
                self.variable(run);
            } else {
                self.text.extend_from_slice(rest.get(..run).unwrap_or_default());
            }
            at = at.saturating_add(run);
        }
        word.len()
    }

    /// What stands between the last placeholder and the end of the output.
    fn behind(&self) -> Behind {
        match self.text.get(self.placeholder_end..).unwrap_or_default() {
            _ if self.placeholder_end == 0 => Behind::Other,
            b" " => Behind::Blank,
            tail if tail.len() <= LONGEST_JOIN && tail.iter().all(|byte| class(*byte) & JOIN != 0) => {
                Behind::Joiner
            }
            _ => Behind::Other,
        }
    }

    /// Emits a placeholder for `taken` bytes, merging it into one that only joiners or one blank separate it from: a list
    /// is one variable, however long it is.
    fn variable(&mut self, taken: usize) -> usize {
        self.variable_behind(self.behind(), taken)
    }

    fn variable_behind(&mut self, behind: Behind, taken: usize) -> usize {
        self.emitted = Emitted::Variable;
        match behind {
            Behind::Blank => self.text.truncate(self.placeholder_end),
            Behind::Joiner => {
                self.emitted = Emitted::Joined;
                self.text.truncate(self.placeholder_end);
                if self.number_end.take() == Some(self.text.len()) {
                    // What looked like a number was the beginning of a date, an address or a version.
                    self.count = self.count.saturating_sub(1);
                }
            }
            Behind::Other => {
                if matches!(self.text.last(), Some(b'-' | b'+')) {
                    let sign = self.text.len().saturating_sub(1);
                    let before = sign.checked_sub(1).and_then(|at| self.text.get(at)).copied();
                    if before.is_none_or(|byte| b" =:([_".contains(&byte)) {
                        self.text.truncate(sign);
                        self.is_by_skeleton &= self.is_exact || before != Some(b'_');
                        if before == Some(b'_') && taken >= LONG_ID {
                            self.drop_word();
                        }
                        // What now stands before it may be a placeholder to merge with.
                        return self.variable(taken);
                    }
                }
                self.text.extend_from_slice(PLACEHOLDER.as_bytes());
                self.placeholder_end = self.text.len();
            }
        }
        taken
    }

    /// Takes back the word at the end of the output: `blk_` of `blk_-16089996` belongs to the id, as it does without `-`.
    fn drop_word(&mut self) {
        let word = self.text.iter().rev().take_while(|byte| is_word(**byte)).count();
        self.text.truncate(self.text.len().saturating_sub(word));
    }

    /// Whether the number that ends at `taken` is part of a name, and measures nothing: `req-36951603`, `4117-baef`.
    fn names(&self, rest: &[u8], taken: usize) -> bool {
        let follows = matches!(rest.get(taken..), Some([b'-', after, ..]) if is_word(*after));
        let precedes =
            matches!(self.text.as_slice(), [.., before, b'-'] if is_word(*before) || *before == b'>');
        follows || precedes
    }

    /// Remembers a plain number, the digits before `whole`, with a fraction if one follows and without its unit.
    fn number(&mut self, rest: &[u8], at: usize, end: usize, whole: usize, behind: Behind) -> usize {
        let (mut length, mut taken, mut fraction) = (whole, end, 0);
        // Of two ids behind a point one may begin with decimals.
        self.is_by_skeleton &= !matches!(rest.get(end..), Some([b'.', after @ ..]) if hex::begins(after));
        if whole == end
            && let Some([b'.', after @ ..]) = rest.get(end..)
            && let decimals @ 1.. = digits(after)
        {
            length = end.saturating_add(1).saturating_add(decimals);
            let unit = after.iter().skip(decimals).take_while(|byte| is_word(**byte)).count();
            taken = if unit <= 4 { length.saturating_add(unit) } else { length };
            fraction = decimals;
        }
        // `85214531829232bd` is an id that happens to begin with digits, not a number with a unit.
        let is_hex = |word: &[u8]| word.iter().all(u8::is_ascii_hexdigit);
        let is_id = whole < end && whole >= LONG_ID && rest.get(..end).is_some_and(is_hex);
        let is_measure = !is_id && !self.names(rest, taken);
        let mut worth = 1.0;
        if let Some((unit, factor)) = rest.get(taken..).and_then(unit_of) {
            taken = taken.saturating_add(unit);
            worth = factor;
        }
        self.is_exact = taken == end;
        self.variable_behind(behind, taken);
        if whole.max(fraction) <= MAX_DIGITS
            && is_measure
            && let Some(slot) = self.numbers.get_mut(self.count)
        {
            *slot = (at..at.saturating_add(length), worth);
            self.count = self.count.saturating_add(1);
            self.number_end = Some(self.text.len());
        }
        taken
    }
}

/// Whether no word goes on at a byte of a message.
fn is_word_start(message: &[u8], at: usize) -> bool {
    at.checked_sub(1).and_then(|before| message.get(before)).is_none_or(|before| !is_word(*before))
}

/// Equal punctuation characters that are kept of a run.
const LONGEST_DRAWN: usize = 4;
/// Digits from which a number after `name_` is an id together with it.
const LONG_ID: usize = 8;
/// Bytes that are copied at once.
const COPIED: usize = 16;
/// Most joining characters between two variables that are one.
const LONGEST_JOIN: usize = 4;

fn trim_end(message: &[u8]) -> &[u8] {
    message.trim_ascii_end()
}

/// Where masked text is cut: at the limit, but not within a placeholder or a UTF-8 sequence.
fn cut_point(text: &[u8]) -> usize {
    if text.len() <= MAX_MASKED_BYTES {
        return text.len();
    }
    let head = text.get(..MAX_MASKED_BYTES).unwrap_or_default();
    head.iter().rposition(|byte| *byte == b' ').filter(|cut| *cut > MAX_MASKED_BYTES / 2).unwrap_or_else(
        || {
            (MAX_MASKED_BYTES.saturating_sub(4)..MAX_MASKED_BYTES)
                .rev()
                .find(|at| text.get(*at).is_some_and(|byte| byte & 0xC0 != 0x80))
                .unwrap_or(MAX_MASKED_BYTES)
        },
    )
}

#[cfg(test)]
mod tests;
