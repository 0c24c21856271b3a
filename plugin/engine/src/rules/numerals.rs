//! Literals that a message may have or lack by its numbers and ids alone: takes a skeleton, says where such a literal could come to
//! stand in its messages, and of a message whether one does. Must not know rules.
//!
//! Literals without digits are in all messages of a skeleton or in none. Those with digits (` 404 `, `%2f`) are watched for where
//! one could come to stand: at a number that has around it what the literal has around its own. So are those that could lie partly
//! in a hexadecimal id (` user 'a`), at its ends; the few that could lie within one are looked for there. If the message at hand
//! has one (`HTTP/1.1`), what is found holds for those that have the same digits there.

use std::{collections::BTreeMap, ops::Range};

use memchr::memmem;

use super::{
    finder::{
        Finder,
        window::{first_eight, folded},
    },
    literal::MIN_LITERAL,
};
use crate::mask::{HEX, LONG_RUN, Place, Skeleton};

/// Literals of digits alone that are looked for in every message; with more of them nothing is kept.
pub(super) const MAX_DIGITS_ALONE: usize = 8;
/// Literals of hexadecimal digits, with letters among them, that are looked for in every id; with more of them nothing is kept of
/// messages with ids.
pub(super) const MAX_HEX_ALONE: usize = 8;
/// Places of a skeleton that are watched; with more of them nothing is kept of it.
pub(super) const MAX_WATCHED: usize = 32;

/// Keys that are alike around an edge, which are compared one by one; with more of them nothing is kept.
pub(super) const MAX_ALIKE: usize = 512;

/// Literals with digits, and where one of them could come to stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched {
    edge: Place,
    group: u16,
    /// One bit for each digit, hexadecimal ones too, that one of those that could has there.
    digits: u16,
    /// Whether the digits end there.
    is_end: bool,
}

/// Literals with digits that stand in the message for which something was kept.
#[derive(Debug)]
pub(super) struct Standing {
    edge: Place,
    group: u16,
    /// Those of the group's keys that do.
    keys: Box<[u16]>,
    /// From where to where their digits, and all of the numbers that these belong to, must be the same.
    range: (Place, Place),
    text: Box<[u8]>,
}

impl Standing {
    /// Bytes that it has elsewhere.
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + size_of_val(&*self.keys)
    }

    /// What is the same in all messages with this skeleton in which it stands.
    pub(super) fn range(&self, skeleton: &Skeleton) -> Range<usize> {
        skeleton.at(self.range.0)..skeleton.at(self.range.1)
    }
}

/// The keys of a finder that have digits, or could lie in an id.
#[derive(Debug, Default)]
pub(super) struct Numerals {
    /// In the order of what is around their edges, those at ids last.
    groups: Vec<Group>,
    digits_alone: Vec<memmem::Finder<'static>>,
    /// Those that fill a key: only a long run has one.
    long_alone: Vec<[u8; LONG_RUN]>,
    /// Those that have room within an id, and letters.
    hex_alone: Vec<Key>,
    /// One bit for each digit that one of these begins with.
    hex_starts: u16,
    /// There are keys, or too many, that cannot be watched for.
    is_blind: bool,
}

/// Keys that are alike around an edge: their first one where a run of digits begins or ends, or any where an id may.
#[derive(Debug)]
struct Group {
    of_hex: bool,
    /// The bytes before and behind the edge, any digit as [`ANY`].
    around: [u8; 2],
    /// Bytes of the keys before it.
    edge: usize,
    keys: Vec<Key>,
}

/// A key as it is compared: its bytes, and which of the eight count.
#[derive(Clone, Copy, Debug)]
struct Key {
    value: u64,
    mask: u64,
}

/// A digit, whichever.
const ANY: u8 = b'0';

/// A byte as keys have it, without regard to case and to which digit it is.
fn blind(byte: u8) -> u8 {
    if byte.is_ascii_digit() { ANY } else { folded(byte) }
}

/// Whether digits begin or end between two bytes.
fn is_edge(before: u8, behind: u8) -> bool {
    before.is_ascii_digit() != behind.is_ascii_digit()
}

/// Whether an id may begin or end in a key before this byte of it.
fn is_edge_of_hex(key: &[u8], edge: usize) -> bool {
    let (before, behind) = key.split_at_checked(edge).unwrap_or_default();
    let is_outside = |byte: Option<&u8>| byte.is_some_and(|byte| !is_word(*byte));
    is_outside(before.last()) && is_part_of_id(behind.iter())
        || is_outside(behind.first()) && is_part_of_id(before.iter().rev())
}

/// Whether bytes of a key, read away from an edge, could lie in an id as far as their word goes.
fn is_part_of_id<'b>(mut bytes: impl Iterator<Item = &'b u8>) -> bool {
    let is_first = bytes.next().is_some_and(u8::is_ascii_hexdigit);
    is_first && bytes.find(|byte| !byte.is_ascii_hexdigit()).is_none_or(|byte| !is_word(*byte))
}

/// Whether a byte of a key belongs to a word. As keys have it, an underscore is what DEL is.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x7f
}

impl Numerals {
    pub(super) fn new(finder: &Finder) -> Numerals {
        let Some(keys) = finder.keys() else { return Numerals { is_blind: true, ..Numerals::default() } };
        let mut numerals = Numerals::default();
        let mut groups: BTreeMap<(bool, [u8; 2], usize), Vec<Key>> = BTreeMap::new();
        for (value, mask) in keys {
            let key = Key { value, mask };
            let bytes = value.to_le_bytes();
            let text = key.text(&bytes);
            for (pair, edge) in text.array_windows().zip(1..) {
                if is_edge_of_hex(text, edge) {
                    let around =
                        pair.map(|byte: u8| if byte.is_ascii_hexdigit() { ANY } else { blind(byte) });
                    groups.entry((true, around, edge)).or_default().push(key);
                }
            }
            if text.iter().all(u8::is_ascii_hexdigit) && text.iter().any(u8::is_ascii_alphabetic) {
                numerals.hex_starts |= key.digit(0);
                numerals.hex_alone.push(key);
            }
            if !text.iter().any(u8::is_ascii_digit) {
                continue;
            }
            let mut pairs = text.array_windows().zip(1..);
            match pairs.find(|([before, behind], _)| is_edge(*before, *behind)) {
                Some((pair, edge)) => groups.entry((false, pair.map(blind), edge)).or_default().push(key),
                None if text.len() == LONG_RUN => numerals.long_alone.push(bytes),
                None => numerals.digits_alone.push(memmem::Finder::new(text).into_owned()),
            }
        }
        let groups = groups.into_iter();
        let groups = groups.map(|((of_hex, around, edge), keys)| Group { of_hex, around, edge, keys });
        numerals.groups = groups.collect();
        numerals.is_blind = numerals.digits_alone.len() + numerals.long_alone.len() > MAX_DIGITS_ALONE
            || numerals.groups.len() > usize::from(u16::MAX)
            || numerals.groups.iter().any(|group| group.keys.len() > MAX_ALIKE);
        numerals
    }

    /// Where in a message of this skeleton one of the keys could stand; `None` if in too many places.
    pub(super) fn watched(&self, skeleton: &Skeleton) -> Option<Vec<Watched>> {
        if self.is_blind || self.hex_alone.len() > MAX_HEX_ALONE && skeleton.hex_ids().next().is_some() {
            return None;
        }
        let mut watched = Vec::new();
        let text = skeleton.text();
        let edges = |of_hex| skeleton.edges(of_hex).map(move |(at, edge)| (of_hex, at, edge));
        for (of_hex, at, edge) in edges(false).chain(edges(true)) {
            let (before, behind) = text.split_at_checked(at)?;
            let (Some(left), Some(right)) = (before.last(), behind.first()) else { continue };
            let wanted = (of_hex, [*left, *right].map(blind));
            let first = self.groups.partition_point(|group| (group.of_hex, group.around) < wanted);
            let groups = (0u16..).zip(&self.groups).skip(first);
            for (number, group) in groups.take_while(|(_, group)| (group.of_hex, group.around) == wanted) {
                let is_end = left.is_ascii_digit();
                let fitting = group.keys.iter().filter(|key| key.fits(group.edge, before, behind));
                let digits = fitting.fold(0, |all, key| all | key.digit(group.edge - usize::from(is_end)));
                if digits != 0 {
                    watched.push(Watched { edge, group: number, digits, is_end });
                }
            }
        }
        (watched.len() <= MAX_WATCHED).then_some(watched)
    }

    /// Takes out of what is watched the keys that stand in a message; `None` if that has something that cannot be kept.
    pub(super) fn standing(
        &self,
        watched: &mut Vec<Watched>,
        message: &[u8],
        skeleton: &Skeleton,
    ) -> Option<Box<[Standing]>> {
        let mut all = Vec::new();
        for number in (0..watched.len()).rev() {
            let Watched { edge, group: in_group, .. } = *watched.get(number)?;
            let Some(group) = self.groups.get(usize::from(in_group)) else { continue };
            let keys: Box<[u16]> = group.standing(message, skeleton.at(edge)).collect();
            let Some(longest) = keys.iter().map(|key| group.length_of(*key)).max() else { continue };
            let start = skeleton.at(edge).checked_sub(group.edge)?;
            let (before, rest) = message.split_at_checked(start)?;
            let (key, behind) = rest.split_at_checked(longest)?;
            let digits =
                |bytes: &mut dyn Iterator<Item = &u8>| bytes.take_while(|byte| byte.is_ascii_digit()).count();
            let more = if key.first()?.is_ascii_digit() { digits(&mut before.iter().rev()) } else { 0 };
            let also = if key.last()?.is_ascii_digit() { digits(&mut behind.iter()) } else { 0 };
            let (start, end) = (start - more, start + longest + also);
            all.push(Standing {
                edge,
                group: in_group,
                keys,
                range: (skeleton.place_of(start)?, skeleton.place_of(end)?),
                text: message.get(start..end)?.into(),
            });
            watched.swap_remove(number);
        }
        Some(all.into_boxed_slice())
    }

    /// Whether of some keys the same stand in another message, with the same digits.
    pub(super) fn stand(&self, standing: &[Standing], message: &[u8], skeleton: &Skeleton) -> bool {
        standing.iter().all(|standing| {
            let Some(group) = self.groups.get(usize::from(standing.group)) else { return false };
            message.get(standing.range(skeleton)) == Some(&*standing.text)
                && group.standing(message, skeleton.at(standing.edge)).eq(standing.keys.iter().copied())
        })
    }

    /// Whether a message has none of the keys that are watched for, and none within its numbers and ids.
    pub(super) fn are_absent(&self, watched: &[Watched], message: &[u8], skeleton: &Skeleton) -> bool {
        let stands = |watched: &Watched| {
            let edge = skeleton.at(watched.edge);
            let digit = message.get(edge.wrapping_sub(usize::from(watched.is_end)))?;
            if watched.digits & bit_of(*digit) == 0 {
                return None;
            }
            let group = self.groups.get(usize::from(watched.group))?;
            let from = edge.checked_sub(group.edge)?;
            let there = first_eight(message.get(from..)?);
            Some(group.keys.iter().any(|key| there & key.mask == key.value))
        };
        let is_there = |finder: &memmem::Finder<'_>| {
            finder.needle().len() <= skeleton.longest() && finder.find(message).is_some()
        };
        let has_long = |run: &[u8]| run.array_windows().any(|digits| self.long_alone.contains(digits));
        let has_hex = |id: Range<usize>| {
            let bytes = message.get(id.clone()).unwrap_or_default();
            let mut starts = bytes
                .array_windows::<MIN_LITERAL>()
                .zip(id)
                .filter(|([first, ..], _)| self.hex_starts & bit_of(*first) != 0);
            starts.any(|(_, at)| {
                let there = first_eight(message.get(at..).unwrap_or_default());
                self.hex_alone.iter().any(|key| there & key.mask == key.value)
            })
        };
        !watched.iter().any(|watched| stands(watched) == Some(true))
            && !self.digits_alone.iter().any(is_there)
            && (self.long_alone.is_empty()
                || !skeleton.long_runs().filter_map(|run| message.get(run)).any(has_long))
            && !skeleton.hex_ids().any(has_hex)
    }
}

impl Group {
    /// The keys that stand in a message with their edge at a byte of it.
    fn standing(&self, message: &[u8], edge: usize) -> impl Iterator<Item = u16> {
        let text = edge.checked_sub(self.edge).and_then(|from| message.get(from..)).unwrap_or_default();
        let there = first_eight(text);
        let keys = (0u16..).zip(&self.keys);
        keys.filter(move |(_, key)| there & key.mask == key.value).map(|(number, _)| number)
    }

    /// Bytes of a key.
    fn length_of(&self, key: u16) -> usize {
        self.keys.get(usize::from(key)).map_or(0, |key| key.mask.count_ones() as usize / 8)
    }
}

/// The bit of a digit, of a hexadecimal letter one that a digit has too: it only says where to look.
fn bit_of(digit: u8) -> u16 {
    1u16.wrapping_shl(u32::from(digit))
}

impl Key {
    /// Those of its bytes that count.
    fn text<'b>(&self, bytes: &'b [u8; 8]) -> &'b [u8] {
        bytes.get(..self.mask.count_ones() as usize / 8).unwrap_or_default()
    }

    /// The bit of the digit at one of its bytes.
    fn digit(&self, at: usize) -> u16 {
        self.value.to_le_bytes().get(at).map_or(0, |digit| bit_of(*digit))
    }

    /// Whether it can stand at the edge of a skeleton that has these bytes before and behind it.
    fn fits(&self, edge: usize, before: &[u8], behind: &[u8]) -> bool {
        let bytes = self.value.to_le_bytes();
        let (left, right) = self.text(&bytes).split_at_checked(edge).unwrap_or_default();
        is_like(right.iter(), behind.iter()) && is_like(left.iter().rev(), before.iter().rev())
    }
}

/// Whether a part of a key, read away from its edge, may stand in a skeleton, read likewise. Of runs of digits only that they
/// are there is asked, but within ids, which are as long as they are.
fn is_like<'b>(mut key: impl Iterator<Item = &'b u8>, mut skeleton: impl Iterator<Item = &'b u8>) -> bool {
    let (mut wanted, mut there) = (key.next(), skeleton.next());
    while let Some(byte) = wanted {
        let Some(other) = there else { return false };
        if *other == HEX {
            if !byte.is_ascii_hexdigit() {
                return false;
            }
            wanted = key.next();
            there = skeleton.next();
            continue;
        }
        if blind(*byte) != blind(*other) {
            return false;
        }
        wanted = key.next();
        there = skeleton.next();
        if byte.is_ascii_digit() {
            while wanted.is_some_and(u8::is_ascii_digit) {
                wanted = key.next();
            }
            while there.is_some_and(u8::is_ascii_digit) {
                there = skeleton.next();
            }
        }
    }
    true
}
