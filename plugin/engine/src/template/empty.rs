//! Empty values: a place that was always filled and holds a program's word for nothing.
//!
//! `"status": null` where a status always stood is often all that a wrong answer leaves in a log. Compared is piece by
//! piece (what blanks and commas part), on the slow path of mining only: takes a template's text and a masked message, gives
//! places.

use crate::mask::PLACEHOLDER;

/// What programs write where there is nothing. Not `none`, `-` and the like, which are values of their own.
const EMPTY: [&[u8]; 9] =
    [b"null", b"NULL", b"None", b"nil", b"<nil>", b"(null)", b"undefined", b"NaN", b"nan"];
/// More empty places than this make it another message.
const MAX_EMPTIED: usize = 4;

/// Places of a template that were empty at some time; a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Places(u128);

impl Places {
    /// Nothing is known of any place: all may have been empty.
    pub(super) const ALL: Places = Places(u128::MAX);

    /// The first of these that was not known, after they are.
    pub(super) fn learn(&mut self, places: Places) -> Option<usize> {
        let unknown = places.0 & !self.0;
        self.0 |= places.0;
        (unknown != 0).then(|| unknown.trailing_zeros() as usize)
    }

    /// What lies beyond the last bit is not looked at.
    fn insert(&mut self, place: usize) {
        self.0 |= u32::try_from(place).ok().and_then(|place| 1u128.checked_shl(place)).unwrap_or_default();
    }
}

fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| matches!(byte, b' ' | b','))
}

/// Whether a text has a word for nothing at all; most have none, and are not compared.
pub(super) fn may_be_empty(masked: &[u8]) -> bool {
    const AFTER_N: [&[u8]; 7] = [b"ull", b"ULL", b"one", b"il", b"aN", b"an", b"defined"];
    memchr::memchr2_iter(b'n', b'N', masked).any(|at| {
        let rest = masked.get(at.saturating_add(1)..).unwrap_or_default();
        AFTER_N.iter().any(|after| rest.starts_with(after))
    })
}

/// Where a template stands for anything and this message, which differs from it nowhere else, has nothing. A place is only
/// one of those if the text says what stands there: `"status": <*>`, `load=<*>`, not `<*> = <*>`.
pub(super) fn emptied(template: &str, masked: &[u8]) -> Option<Places> {
    let (mut places, mut count) = (Places::default(), 0usize);
    let mut previous: &[u8] = b"";
    let (mut template, mut masked) = (pieces(template.as_bytes()), pieces(masked));
    for place in 0usize.. {
        let (known, word) = match (template.next(), masked.next()) {
            (Some(known), Some(word)) => (known, word),
            (None, None) => break,
            _ => return None,
        };
        let previous = std::mem::replace(&mut previous, known);
        if known == word {
            continue;
        }
        let (before, after) = around(known)?;
        let middle = word.strip_prefix(before)?.strip_suffix(after)?;
        let is_named = |word: &[u8]| word.iter().any(u8::is_ascii_alphabetic);
        if EMPTY.contains(&middle) && (is_named(before) || is_named(previous)) {
            places.insert(place);
            count = count.saturating_add(1);
        }
    }
    (1..=MAX_EMPTIED).contains(&count).then_some(places)
}

/// Places where this text itself has nothing.
pub(super) fn empty_in(text: &str) -> Places {
    let mut places = Places::default();
    for (place, word) in pieces(text.as_bytes()).enumerate() {
        let value = word.rsplit(|byte| matches!(byte, b'=' | b':')).next().unwrap_or_default();
        let is_sign = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b')' | b';' | b'"' | b'\'');
        let end = value.iter().rposition(|byte| !is_sign(byte)).map_or(0, |last| last.saturating_add(1));
        if EMPTY.contains(&value.get(..end).unwrap_or_default()) {
            places.insert(place);
        }
    }
    places
}

/// What stands around a word's placeholder, without the quotes that nothing has.
fn around(word: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memmem::find(word, PLACEHOLDER.as_bytes())?;
    let (before, after) = (word.get(..at)?, word.get(at.saturating_add(PLACEHOLDER.len())..)?);
    for quote in [b"\"", b"'"] {
        if let (Some(before), Some(after)) = (before.strip_suffix(quote), after.strip_prefix(quote)) {
            return Some((before.strip_suffix(b"u").unwrap_or(before), after));
        }
    }
    Some((before, after))
}

/// The place in words: what names it, and that there is nothing.
pub(super) fn shown(masked: &[u8], place: usize) -> String {
    let mut pieces = pieces(masked).skip(place.saturating_sub(1));
    let before = if place > 0 { pieces.next() } else { None };
    let piece = pieces.next().unwrap_or_default();
    let names_itself = piece.iter().any(|byte| matches!(byte, b'=' | b':'));
    let before = before.filter(|_| !names_itself).unwrap_or_default();
    let text = String::from_utf8_lossy(&[before, piece].join(&b' ')).into_owned();
    text.trim_matches(|c| matches!(c, ' ' | '{' | '}')).chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_where_anything_stands() {
        let place = |template: &str, message: &str| {
            let place = Places::default().learn(emptied(template, message.as_bytes())?)?;
            Some(shown(message.as_bytes(), place))
        };
        for (template, message, found) in [
            (
                "{\"id\": \"<*>\", \"status\": \"<*>\"}",
                "{\"id\": \"<*>\", \"status\": null}",
                "\"status\": null",
            ),
            ("a load of <*> now", "a load of NaN now", "of NaN"),
            ("{u'host': u'<*>', u'size': <*>}", "{u'host': None, u'size': <*>}", "u'host': None"),
            ("user=<*>, done", "user=(null), done", "user=(null)"),
            ("sent {\"id\":<*>,\"to\":\"<*>\"}", "sent {\"id\":<*>,\"to\":null}", "\"to\":null"),
        ] {
            assert_eq!(place(template, message).as_deref(), Some(found), "{template}");
        }
        for (template, message) in [
            ("took <*> ms", "took <*> ms"),
            ("state up", "state null"),
            ("took <*> ms", "took some ms"),
            ("took <*> ms of <*>", "lost null ms of <*>"),
            ("a=<*> b=<*> c=<*> d=<*> e=<*>", "a=nil b=nil c=nil d=nil e=nil"),
            ("mode <*>", "mode none"),
            ("<*> = <*>", "<*> = null"),
            ("<*> is ready", "undefined is ready"),
        ] {
            assert_eq!(place(template, message), None, "{template}");
        }
    }

    #[test]
    fn a_text_with_a_word_for_nothing_is_compared() {
        assert!(EMPTY.iter().all(|word| may_be_empty(&[b"a ".as_slice(), word, b","].concat())));
        assert!(!may_be_empty(b"session opened for user <*> in <*> ms N") && !may_be_empty(b""));
    }

    #[test]
    fn places_that_were_empty_once_are_known() {
        let mut places = empty_in("a=null, b: None} \"c\": nil, d nullable");
        for known in ["a=null", "x, y None", "x, y z w nil"] {
            assert_eq!(places.learn(empty_in(known)), None, "{known}");
        }
        assert_eq!(places.learn(empty_in("x nil y z w null")), Some(1));
        assert_eq!({ Places::ALL }.learn(empty_in("null")), None);
        assert_eq!(Places::default().learn(empty_in(&"nil ".repeat(1_000))), Some(0), "bounded");
    }
}
