//! The words of a masked text: what they stand for, and which of them say that a value or a name follows.

use std::sync::Arc;

use crate::{mask::PLACEHOLDER, record::Severity};

/// Words compared; what follows belongs to the last one.
const MAX_WORDS: usize = 96;
/// The word hash of a wildcard.
pub(super) const WILDCARD: u64 = 0;

/// The words of a masked text.
pub(super) fn words(masked: &[u8]) -> impl Iterator<Item = &[u8]> {
    masked.splitn(MAX_WORDS, |byte| *byte == b' ')
}

pub(super) fn hash_word(word: &[u8]) -> u64 {
    if word == PLACEHOLDER.as_bytes() { WILDCARD } else { twox_hash::XxHash3_64::oneshot(word).max(1) }
}

/// Whether a template's word stands for every value of this key, or for anything.
pub(super) fn accepts(own: u64, key: u64) -> bool {
    own == WILDCARD || key != 0 && own == key
}

/// Whether the general words stand for these, all of them.
pub(super) fn covers(general: &[u64], words: &[u64], keys: &[u64]) -> bool {
    let mut places = general.iter().zip(words).zip(keys);
    places.all(|((wide, word), key)| wide == word || accepts(*wide, *key))
}

/// The end of the key in a word such as `rhost=db,` or `"delayed":false`, and where its value ends.
///
/// Keys that tell how something went are no keys here: `status=failed` is another message than `status=ok`.
fn key_value(word: &[u8]) -> Option<(usize, usize)> {
    const TELLING: [&[u8]; 14] = [
        b"level", b"sever", b"stat", b"result", b"err", b"code", b"reason", b"succe", b"outcome", b"health",
        b"ready", b"fail", b"msg", b"exit",
    ];
    let at = word.iter().position(|byte| matches!(byte, b'=' | b':'))?;
    let (key, value) = (word.get(..at)?, word.get(at.saturating_add(1)..)?);
    let end = value.iter().rposition(|byte| byte.is_ascii_alphanumeric() || *byte == b'>')?.saturating_add(1);
    let is_word = |value: &[u8]| [b"true".as_slice(), b"false", b"null", b"none"].contains(&value);
    let shaped = key.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_-\"".contains(byte));
    let named = word.get(at) == Some(&b'=') || is_word(value.get(..end)?);
    let telling = |window: &[u8]| {
        TELLING.iter().any(|word| {
            window.len() >= word.len()
                && window.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
        })
    };
    let tells = (0..key.len()).any(|from| key.get(from..).is_some_and(telling));
    let value_start = at.saturating_add(1);
    (shaped && named && !tells).then_some((value_start, value_start.saturating_add(end)))
}

/// The hash that a word of the form `key=value` has once its value is a placeholder; 0 for all others.
pub(super) fn hash_key(word: &[u8]) -> u64 {
    key_value(word).map_or(0, |_| hash_word(general_word(word).as_ref()))
}

/// `rhost=<*>,` for `rhost=db,`.
fn general_word(word: &[u8]) -> Vec<u8> {
    let Some((start, end)) = key_value(word) else { return word.to_vec() };
    let (key, rest) = (word.get(..start).unwrap_or_default(), word.get(end..).unwrap_or_default());
    [key, PLACEHOLDER.as_bytes(), rest].concat()
}

/// Whether the two words before this place announce a name: `for user …`, `from host …`.
pub(super) fn names_something(masked: &[u8], place: usize) -> bool {
    const BEFORE: [&[u8]; 9] = [b"for", b"by", b"of", b"as", b"from", b"on", b"in", b"to", b"invalid"];
    const KINDS: [&[u8]; 16] = [
        b"user",
        b"host",
        b"device",
        b"interface",
        b"namespace",
        b"pod",
        b"node",
        b"container",
        b"topic",
        b"queue",
        b"table",
        b"database",
        b"domain",
        b"account",
        b"group",
        b"client",
    ];
    let Some(from) = place.checked_sub(2) else { return false };
    let mut before = words(masked).skip(from);
    let (Some(first), Some(second)) = (before.next(), before.next()) else { return false };
    BEFORE.contains(&first) && KINDS.contains(&second)
}

/// Number of words and first word: what must be equal before anything is compared.
pub(super) fn group(words: &[u64]) -> u64 {
    words.first().copied().unwrap_or(WILDCARD).rotate_left(7) ^ words.len() as u64
}

/// The masked text with placeholders where the general words have them.
pub(super) fn general_text(masked: &[u8], general: &[u64], keys: &[u64]) -> Arc<str> {
    let mut text = Vec::with_capacity(masked.len());
    for (index, ((word, general), key)) in words(masked).zip(general).zip(keys).enumerate() {
        if index > 0 {
            text.push(b' ');
        }
        match *general {
            WILDCARD => text.extend_from_slice(PLACEHOLDER.as_bytes()),
            general if *key != 0 && general == *key => text.extend(general_word(word)),
            _ => text.extend_from_slice(word),
        }
    }
    String::from_utf8_lossy(&text).into()
}

/// A level word at the usual places of a text: upper case, or in brackets, before a colon, or after `level=`.
pub(super) fn level_word(text: &str) -> Option<Severity> {
    text.split(' ').take(10).find_map(|word| {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '=');
        let (marked, bare) = match bare.split_once('=') {
            Some(("level" | "lvl" | "severity", value)) => (true, value.trim_matches('"')),
            Some(_) => return None,
            None => (word.starts_with('[') || word.ends_with(':'), bare),
        };
        let upper = bare.bytes().all(|byte| byte.is_ascii_uppercase());
        (bare.len() >= 4 && (upper || marked)).then(|| Severity::parse(bare.as_bytes())).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_words() {
        for (text, level) in [
            ("<*> ERROR db down", Some(Severity::Error)),
            ("[warn] x", Some(Severity::Warn)),
            ("ts=<*> level=error msg=x", Some(Severity::Error)),
            ("no error here", None),
            ("CRITICAL: Failed", Some(Severity::Fatal)),
        ] {
            assert_eq!(level_word(text), level, "{text}");
        }
    }

    #[test]
    fn keys_and_their_values() {
        let general = |word: &str| String::from_utf8(general_word(word.as_bytes())).unwrap();
        assert_eq!(general("rhost=db,"), "rhost=<*>,");
        assert_eq!(general("isOverlap:false,"), "isOverlap:<*>,");
        assert_eq!(general("{name=a.b/c}"), "{name=<*>}");
        for whole in ["status=failed", "exitCode=x", "logger:main", "user=", "=x", "error", "Level=warn"] {
            assert_eq!(general(whole), whole);
        }
        assert_eq!(hash_key(b"user=ann"), hash_word(b"user=<*>"));
        assert_eq!(hash_key(b"ann"), 0);
    }

    #[test]
    fn names_are_announced_by_two_words() {
        let named = |text: &str, place| names_something(text.as_bytes(), place);
        assert!(named("session opened for user ann", 4));
        assert!(
            !named("the user unknown", 2) && !named("user ann", 1) && !named("session opened for ann", 3)
        );
    }
}
