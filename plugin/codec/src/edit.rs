//! Takes a record's pairs as a codec finds them, gives what has to change in its bytes: keys that leave, get another
//! name, or pose as ours and therefore move to `<key>_original`. Must not know: msgpack, JSON.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use crate::{TagStyle, Tags, Unreadable};

/// What to do to one record. All else stays byte for byte.
#[derive(Clone, Copy, Debug)]
pub struct Edit<'a> {
    /// Top-level keys to drop, every occurrence.
    pub remove: &'a [&'a str],
    /// Top-level keys to rename, `(from, to)`; the caller sees to it that `to` is free.
    pub rename: &'a [(&'a str, &'a str)],
    /// How tags are named.
    pub style: &'a TagStyle,
    /// Which keys a record may not bring along: those of this style, which is the one that the record will have in the end.
    pub reserved: &'a TagStyle,
    /// The tags to add. Fields of the record under one of our names are moved to `<name>_original`, or
    /// `<name>_original_2` and so on where that is taken, even if [`crate::TagStyle::annotate`] then adds nothing.
    pub tags: Option<&'a Tags>,
    /// Text for the key [`crate::MARKER_KEY`], put last.
    pub marker: Option<&'a str>,
}

impl<'a> Edit<'a> {
    /// Adds tags and nothing else.
    pub fn tag(style: &'a TagStyle, tags: &'a Tags) -> Self {
        Edit { remove: &[], rename: &[], style, reserved: style, tags: Some(tags), marker: None }
    }

    /// Drops keys and nothing else.
    pub fn remove(style: &'a TagStyle, remove: &'a [&'a str]) -> Self {
        Edit { remove, rename: &[], style, reserved: style, tags: None, marker: None }
    }

    /// The tags that are written.
    pub(crate) fn written_tags(&self) -> Option<&'a Tags> {
        self.tags.filter(|tags| self.style.writes(tags))
    }

    fn fate(&self, key: &[u8]) -> Fate<'a> {
        if self.remove.iter().any(|name| name.as_bytes() == key) {
            return Fate::Drop;
        }
        if let Some((_, to)) = self.rename.iter().find(|(from, _)| from.as_bytes() == key) {
            return Fate::Rename(to);
        }
        let adds = self.tags.is_some() || self.marker.is_some();
        if adds && self.reserved.reserves(key) { Fate::Move } else { Fate::Keep }
    }

    /// Looks at all pairs and says what changes. `pairs` is called a second time only if a name is to be found for a
    /// field that poses as ours, which is when the first allocation takes place.
    pub(crate) fn plan(
        &self,
        pairs: impl Fn(&mut dyn FnMut(Pair<'_>)) -> Result<Layout, Unreadable>,
    ) -> Result<Plan<'a>, Unreadable> {
        let mut changes = Vec::new();
        let mut moved = false;
        let layout = pairs(&mut |pair| {
            let name = match self.fate(pair.key) {
                Fate::Keep => return,
                Fate::Drop => NewName::None,
                Fate::Rename(to) => NewName::Given(to),
                Fate::Move => {
                    moved = true;
                    NewName::Made(String::from_utf8_lossy(pair.key).into_owned())
                }
            };
            changes.push(Change { pair: pair.start..pair.end, key: pair.key_span, name });
        })?;
        if moved {
            let mut taken = BTreeSet::new();
            pairs(&mut |pair| {
                if pair.key.windows(ORIGINAL.len()).any(|part| part == ORIGINAL.as_bytes()) {
                    taken.insert(pair.key.to_vec());
                }
            })?;
            taken.extend(self.rename.iter().map(|(_, to)| to.as_bytes().to_vec()));
            let mut tried = BTreeMap::new();
            for change in &mut changes {
                if let NewName::Made(name) = &mut change.name {
                    *name = free_name(name, &taken, &mut tried);
                }
            }
        }
        Ok(Plan { layout, changes })
    }
}

const ORIGINAL: &str = "_original";

enum Fate<'a> {
    Keep,
    Drop,
    Rename(&'a str),
    Move,
}

/// The counters only grow, so that a record full of such keys costs one look-up each.
fn free_name(name: &str, taken: &BTreeSet<Vec<u8>>, tried: &mut BTreeMap<String, u64>) -> String {
    let number = tried.entry(name.to_owned()).or_default();
    next_name(name, number, |candidate| taken.contains(candidate.as_bytes()))
}

/// The name under which a field that poses as ours goes on, for hosts that hold a record as a map and can be asked.
pub fn original_name(name: &str, is_taken: impl FnMut(&str) -> bool) -> String {
    next_name(name, &mut 0, is_taken)
}

fn next_name(name: &str, number: &mut u64, mut is_taken: impl FnMut(&str) -> bool) -> String {
    loop {
        *number = number.saturating_add(1);
        let candidate =
            if *number == 1 { format!("{name}{ORIGINAL}") } else { format!("{name}{ORIGINAL}_{number}") };
        if !is_taken(&candidate) {
            return candidate;
        }
    }
}

/// One top-level pair, as offsets into the body. Pairs abut: each starts where the one before ended.
pub(crate) struct Pair<'k> {
    /// The key, unescaped; empty if it is no text.
    pub(crate) key: &'k [u8],
    pub(crate) start: usize,
    pub(crate) key_span: Range<usize>,
    pub(crate) end: usize,
}

/// What a walk over a record leaves for the one who adds tags to it, so that the record is read once.
#[derive(Clone, Debug)]
pub struct Outline {
    pub(crate) layout: Layout,
    /// Whether the visitor has seen every pair of the top level.
    pub is_whole: bool,
}

/// Where the pairs lie, and how many there are.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) pairs: Range<usize>,
    pub(crate) count: usize,
}

struct Change<'a> {
    pair: Range<usize>,
    key: Range<usize>,
    name: NewName<'a>,
}

enum NewName<'a> {
    None,
    Given(&'a str),
    Made(String),
}

/// What becomes of a body's pairs.
pub(crate) struct Plan<'a> {
    pub(crate) layout: Layout,
    changes: Vec<Change<'a>>,
}

/// A part of the new body.
pub(crate) enum Part<'p> {
    Bytes(&'p [u8]),
    Key(&'p str),
}

/// A part of the old body and what becomes of it.
pub(crate) enum Piece<'p> {
    /// It stays, perhaps nothing at all.
    Kept(Range<usize>),
    /// The pair leaves.
    Dropped { pair: Range<usize> },
    /// The pair gets another key.
    Renamed { pair: Range<usize>, key: Range<usize>, name: &'p str },
}

impl Plan<'_> {
    /// How many pairs stay.
    pub(crate) fn kept(&self) -> usize {
        let dropped = self.changes.iter().filter(|change| matches!(change.name, NewName::None)).count();
        self.layout.count.saturating_sub(dropped)
    }

    /// What becomes of the pairs, in order.
    pub(crate) fn pieces(&self, mut each: impl FnMut(Piece<'_>)) {
        let mut at = self.layout.pairs.start;
        for change in &self.changes {
            let (pair, key) = (change.pair.clone(), change.key.clone());
            each(Piece::Kept(at..pair.start));
            at = pair.end;
            each(match &change.name {
                NewName::None => Piece::Dropped { pair },
                NewName::Given(name) => Piece::Renamed { pair, key, name },
                NewName::Made(name) => Piece::Renamed { pair, key, name },
            });
        }
        each(Piece::Kept(at..self.layout.pairs.end));
    }

    /// The pairs' bytes with the changes made, where a key can be put in another's place.
    pub(crate) fn parts(&self, body: &[u8], mut each: impl FnMut(Part<'_>)) {
        let bytes = |range: Range<usize>, each: &mut dyn FnMut(Part<'_>)| {
            if let Some(bytes) = body.get(range).filter(|bytes| !bytes.is_empty()) {
                each(Part::Bytes(bytes));
            }
        };
        self.pieces(|piece| match piece {
            Piece::Kept(range) => bytes(range, &mut each),
            Piece::Dropped { .. } => {}
            Piece::Renamed { pair, key, name } => {
                bytes(pair.start..key.start, &mut each);
                each(Part::Key(name));
                bytes(key.end..pair.end, &mut each);
            }
        });
    }
}
