//! A rule's pattern in the dialect of VRL: takes the engine's pattern, gives an equivalent for `regex::Regex`.
//!
//! The engine matches bytes, VRL matches characters and refuses patterns that could match half of one. The program
//! therefore replaces each byte of a character that is not ASCII by [`STAND_IN`] before it matches, and a class has the
//! stand-in where it had such bytes. All patterns are then ASCII: `.{0,60}` still counts bytes, and the automata are a
//! tenth of those for UTF-8, which is what loading and matching hundreds of them costs. Nearly all patterns ignore case: they
//! are matched in lower case, where a letter is one byte and words are words to the regex, instead of a class for each letter.

use regex_syntax::{
    ParserBuilder,
    hir::{Class, Hir, HirKind, Look, Repetition},
};

/// What stands for each byte of a character that is not ASCII: a control character that no class treats otherwise.
pub(crate) const STAND_IN: u8 = 0x1a;

/// What a text must be to be matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    /// With stand-ins, in lower case.
    Lower,
    /// With stand-ins, because the pattern asks for letters of one case.
    Plain,
    /// As it came, because the pattern names characters that are not ASCII. Repetitions count characters.
    Original,
}

/// Reads a pattern as the engine does.
pub(crate) fn parse(pattern: &str) -> Result<Hir, String> {
    let mut parser = ParserBuilder::new().case_insensitive(true).unicode(false).utf8(false).build();
    parser.parse(pattern).map_err(|error| format!("is not a regex: {error}"))
}

/// The text of a regex literal, without its quotes, and what it is to be matched against.
///
/// # Errors
/// What the pattern asks that characters cannot answer.
pub(crate) fn translate(hir: &Hir) -> Result<(String, Text), String> {
    let text = match () {
        () if names_foreign(hir) => Text::Original,
        () if is_cased(hir) => Text::Plain,
        () => Text::Lower,
    };
    let mut out = flags(text).to_owned();
    write(hir, text, &mut out)?;
    Ok((out, text))
}

/// What a regex for such a text begins with.
pub(super) fn flags(text: Text) -> &'static str {
    if text == Text::Lower { "(?-u)" } else { "(?i-u)" }
}

/// The same for a text without stand-ins.
///
/// # Errors
/// As [`translate`].
pub(crate) fn translate_original(hir: &Hir) -> Result<String, String> {
    let mut out = String::from("(?i-u)");
    write(hir, Text::Original, &mut out)?;
    Ok(out)
}

/// Whether a literal has characters that are not ASCII.
fn names_foreign(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Literal(literal) => !literal.0.is_ascii(),
        HirKind::Repetition(repetition) => names_foreign(&repetition.sub),
        HirKind::Capture(capture) => names_foreign(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(names_foreign),
        HirKind::Empty | HirKind::Class(_) | HirKind::Look(_) => false,
    }
}

/// Whether it asks anywhere for letters of one case. Letters of both are classes, see [`parse`].
fn is_cased(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Literal(literal) => literal.0.iter().any(u8::is_ascii_alphabetic),
        HirKind::Class(class) => Bytes::of(class).is_ok_and(|bytes| bytes.is_cased()),
        HirKind::Repetition(repetition) => is_cased(&repetition.sub),
        HirKind::Capture(capture) => is_cased(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(is_cased),
        HirKind::Empty | HirKind::Look(_) => false,
    }
}

fn write(hir: &Hir, text: Text, out: &mut String) -> Result<(), String> {
    match hir.kind() {
        HirKind::Empty => out.push_str("(?:)"),
        HirKind::Literal(literal) => {
            let literal = std::str::from_utf8(&literal.0);
            let literal = literal.map_err(|_| "names bytes that are no character".to_owned())?;
            literal.chars().for_each(|char| one(char, out));
        }
        HirKind::Class(class) => out.push_str(&self::class(class, text)?),
        HirKind::Look(look) => out.push_str(self::look(*look)?),
        HirKind::Repetition(repetition) => {
            out.push_str("(?:");
            write(&repetition.sub, text, out)?;
            out.push(')');
            out.push_str(&times(repetition));
        }
        HirKind::Capture(capture) => group(&capture.sub, text, out)?,
        HirKind::Concat(parts) => {
            for part in parts {
                match part.kind() {
                    HirKind::Alternation(_) => group(part, text, out)?,
                    _ => write(part, text, out)?,
                }
            }
        }
        HirKind::Alternation(branches) => {
            for (index, branch) in branches.iter().enumerate() {
                if index > 0 {
                    out.push('|');
                }
                write(branch, text, out)?;
            }
        }
    }
    Ok(())
}

fn group(hir: &Hir, text: Text, out: &mut String) -> Result<(), String> {
    out.push_str("(?:");
    write(hir, text, out)?;
    out.push(')');
    Ok(())
}

/// How often, as it is written. Whether greedily or not makes no difference to whether there is a match.
pub(super) fn times(repetition: &Repetition) -> String {
    match (repetition.min, repetition.max) {
        (0, Some(1)) => "?".to_owned(),
        (0, None) => "*".to_owned(),
        (1, None) => "+".to_owned(),
        (least, None) => format!("{{{least},}}"),
        (least, Some(most)) => format!("{{{least},{most}}}"),
    }
}

pub(super) fn look(look: Look) -> Result<&'static str, String> {
    Ok(match look {
        Look::Start => r"\A",
        Look::End => r"\z",
        Look::StartLF => "(?m:^)",
        Look::EndLF => "(?m:$)",
        Look::StartCRLF => "(?Rm:^)",
        Look::EndCRLF => "(?Rm:$)",
        Look::WordAscii => r"\b",
        Look::WordAsciiNegate => r"\B",
        Look::WordStartAscii => r"\b{start}",
        Look::WordEndAscii => r"\b{end}",
        Look::WordStartHalfAscii => r"\b{start-half}",
        Look::WordEndHalfAscii => r"\b{end-half}",
        _ => return Err("asks for word boundaries of all alphabets; write `(?-u:\\b)`".to_owned()),
    })
}

/// One character, of this case only.
pub(super) fn one(char: char, out: &mut String) {
    if char.is_ascii_alphabetic() {
        out.push_str("(?-i:");
        out.push(char);
        out.push(')');
    } else if char.is_ascii_digit() || char == ' ' || char == '_' || !char.is_ascii() {
        out.push(char);
    } else {
        // No sign can end the literal or the line, or mean something to the regex.
        out.push_str(&format!("\\x{:02x}", u32::from(char)));
    }
}

/// The bytes of a class.
pub(super) struct Bytes([bool; 256]);

impl Bytes {
    pub(super) fn of(class: &Class) -> Result<Bytes, String> {
        let mut bytes = [false; 256];
        let mut add = |from: u32, to: u32| {
            for (byte, is_in) in bytes.iter_mut().enumerate() {
                *is_in |= (from as usize..=to as usize).contains(&byte);
            }
        };
        match class {
            Class::Bytes(class) => {
                class.ranges().iter().for_each(|range| add(range.start().into(), range.end().into()));
            }
            Class::Unicode(class) => {
                for range in class.ranges() {
                    if !range.end().is_ascii() {
                        return Err(
                            "has a class of characters that are not ASCII; write `(?-u:…)`".to_owned()
                        );
                    }
                    add(range.start().into(), range.end().into());
                }
            }
        }
        Ok(Bytes(bytes))
    }

    pub(super) fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).copied().unwrap_or_default()
    }

    /// Whether it has the bytes that are not ASCII: all, none, or an error.
    pub(super) fn foreign(&self) -> Result<bool, String> {
        match (128..=u8::MAX).filter(|byte| self.has(*byte)).count() {
            0 => Ok(false),
            128 => Ok(true),
            _ => Err("has a class with some of the bytes that are not ASCII and not others".to_owned()),
        }
    }

    /// Whether it has a letter in one case and not in the other.
    fn is_cased(&self) -> bool {
        (b'a'..=b'z').any(|letter| self.has(letter) != self.has(letter.to_ascii_uppercase()))
    }

    /// The letter, if these are its two cases and nothing else.
    fn letter(&self) -> Option<char> {
        let mut bytes = (0..=u8::MAX).filter(|byte| self.has(*byte));
        let (upper, lower) = (bytes.next()?, bytes.next()?);
        let is_letter = upper.is_ascii_uppercase() && upper.to_ascii_lowercase() == lower;
        (is_letter && bytes.next().is_none()).then(|| char::from(lower))
    }
}

/// A class as it is written where case is ignored, or where there are no capitals.
pub(super) fn class(class: &Class, text: Text) -> Result<String, String> {
    let bytes = Bytes::of(class)?;
    let foreign = bytes.foreign()?;
    if let Some(letter) = bytes.letter() {
        return Ok(letter.to_string());
    }
    let has = |byte: u8| match text {
        Text::Lower | Text::Plain if byte == STAND_IN => foreign,
        // No capital is there to be matched: as it makes the fewest ranges.
        Text::Lower if byte.is_ascii_uppercase() => bytes.has(b'@') && bytes.has(b'['),
        _ => bytes.has(byte),
    };
    let mut set = String::new();
    let mut next = 0u8;
    while let Some(from) = (next..128).find(|byte| has(*byte)) {
        let after = (from..128).find(|byte| !has(*byte)).unwrap_or(128);
        let to = after.saturating_sub(1);
        set.push_str(&format!("\\x{from:02x}"));
        if to > from {
            set.push_str(&format!("-\\x{to:02x}"));
        }
        next = after;
    }
    if foreign && text == Text::Original {
        return Ok(format!("(?u-i:[{set}\\x{{80}}-\\x{{10ffff}}])"));
    }
    if set.is_empty() {
        return Err("has a class that nothing is in".to_owned());
    }
    Ok(if text != Text::Lower && bytes.is_cased() { format!("(?-i:[{set}])") } else { format!("[{set}]") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, wanted: &str) {
        let (found, text) = translate(&parse(pattern).unwrap()).unwrap();
        assert_eq!(found, format!("{}{wanted}", flags(text)), "{pattern}");
    }

    #[test]
    fn what_is_written_cannot_leave_its_literal() {
        check("it's", r"it\x27s");
        check("a\\\\", r"a\x5c");
        check("a\n#'", r"a\x0a\x23\x27");
        check("['\\\\]", r"[\x27\x5c]");
    }

    #[test]
    fn cases_classes_and_repetitions_stay() {
        check("Disk (?:full|bad)", "disk (?:full|bad)");
        check("(?-i:ERR)or", "(?-i:E)(?-i:R)(?-i:R)or");
        check(r"\bx\d{2,3}", r"\bx(?:[\x30-\x39]){2,3}");
        check("(?-i:[A-C])", r"(?-i:[\x41-\x43])");
        check("a.b", r"a[\x00-\x09\x0b-\x7f]b");
    }

    #[test]
    fn where_case_counts_it_is_matched_as_it_came() {
        let text = |pattern: &str| translate(&parse(pattern).unwrap()).unwrap().1;
        assert_eq!(["Error", "[a-f0-9]", "[^a]{2}"].map(text), [Text::Lower; 3]);
        assert_eq!(["(?-i:ERR)or", "x(?-i:[a-f0-9])"].map(text), [Text::Plain; 2]);
        check("[a-c1]", r"[\x31\x61-\x63]");
    }

    #[test]
    fn the_stand_in_is_where_other_bytes_were() {
        check("[^a]", r"[\x00-\x60\x62-\x7f]");
        check(r"[\x00-\x7f]", r"[\x00-\x19\x1b-\x7f]");
        check(r"[\x80-\xff]", r"[\x1a]");
    }

    #[test]
    fn other_alphabets_are_matched_as_they_are_or_refused() {
        let (found, text) = translate(&parse("prüf.mich").unwrap()).unwrap();
        assert_eq!(text, Text::Original);
        assert!(found.starts_with("(?i-u)prüf(?u-i:["), "{found}");
        for refused in [r"[\x80-\x8f]x", r"\xff\xfe"] {
            assert!(translate(&parse(refused).unwrap()).is_err(), "{refused}");
        }
    }
}
