//! What the work on one message says about the next one that differs from it in its numbers and ids only. Takes a source, a
//! skeleton and what was found, gives it back when both come again. Must not know how any of it was found.
//!
//! Most lines of a log are like one that came shortly before, but for their numbers and ids. Such a line is not masked again, and no
//! rule's literals are looked for in it: where the same skeleton led is remembered, for the skeletons that come again and again.
//! What cannot be known from the skeleton is asked of each message; what is found is the same with and without this, but that
//! the entropy of a known message is looked at less often, and that a template is still known where its source has seen so many
//! others since that it would have to be looked for among the last ones only.

use crate::{
    mask::{Recalled, Skeleton},
    rules::Known,
    verdict::TemplateId,
};

/// Skeletons remembered by an engine, [`WAYS`] in each place. A newer one that came twice takes that of the one not seen for
/// longer.
const MAX_MEMOS: usize = 1 << 14;
const WAYS: usize = 2;
const PLACES: usize = MAX_MEMOS / WAYS;
/// Bytes of all that is remembered. What would make it more is not remembered, nor is what it came in the place of.
const MAX_BYTES: usize = 12 << 20;
/// How often what rules find is worked out for one skeleton: for messages with no number that a literal has, and for some of those with
/// one, like the status codes of a web server.
const MAX_TRIES: u8 = 4;
/// So many times as many messages of a skeleton are searched before what rules find is worked out once more: it takes as long as some
/// twenty searches, and may serve for none.
const PATIENCE: u32 = 4;

/// Bytes of a skeleton that are read at once.
type Block = [u8; 16];

/// What is known of a source's messages with one skeleton.
#[derive(Debug)]
pub(crate) struct Memo {
    source: u64,
    skeleton: Box<[Block]>,
    /// Bytes of it that are not there only to fill the last block.
    length: usize,
    /// The template in which they are placed, as long as the slot holds that of this id.
    pub(crate) slot: u32,
    pub(crate) id: TemplateId,
    pub(crate) masked: Recalled,
    /// How rules may hit them, as far as that can be known: some hold for those with certain numbers only.
    pub(crate) rules: Vec<Known>,
    /// How often that was tried, and how many of them were searched.
    tries: u8,
    searched: u32,
}

/// A hash without a memo: of a skeleton of which nothing can be remembered, as it turned out.
type Entry = (u64, Option<Box<Memo>>);

#[derive(Debug, Default)]
struct Place {
    /// The one seen last first.
    entries: [Entry; WAYS],
    /// Hashes of those without an entry that came here last.
    others: [u64; 2],
}

/// Where in the table a skeleton belongs that is worth remembering.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vacancy {
    place: usize,
    hash: u64,
    source: u64,
}

/// The memos of an engine: a table in which each skeleton has one place, shared by few.
#[derive(Debug, Default)]
pub(crate) struct Memos {
    places: Box<[Place]>,
    /// Bytes of all of them.
    bytes: usize,
    /// Whether the last message was known.
    #[cfg(test)]
    was_known: bool,
    /// How often something was put into it.
    #[cfg(test)]
    puts: usize,
}

impl Memos {
    /// What is known of a skeleton of a source, and where to put what holds instead of it, if it holds no longer; or, if nothing
    /// is known and few others came here since it came last, where to put it.
    pub(crate) fn find(&mut self, source: u64, skeleton: &Skeleton) -> (Option<&Memo>, Option<Vacancy>) {
        if self.places.is_empty() {
            self.places = std::iter::repeat_with(Place::default).take(PLACES).collect();
        }
        let hash = hash(source, skeleton);
        let vacancy = Vacancy { place: hash as usize % PLACES, hash, source };
        #[cfg(test)]
        {
            self.was_known = false;
        }
        let Some(place) = self.places.get_mut(vacancy.place) else { return (None, None) };
        let Place { entries: [first, second], others } = place;
        if second.0 == hash {
            std::mem::swap(first, second);
        }
        if first.0 == hash {
            // The texts themselves are compared: equal hashes can be made on purpose.
            let memo = first.1.as_deref().filter(|memo| memo.is_of(source, skeleton));
            #[cfg(test)]
            {
                self.was_known = memo.is_some();
            }
            return (memo, memo.is_some().then_some(vacancy));
        }
        let again = others.contains(&hash);
        if !again {
            *others = [hash, others[0]];
        }
        (None, again.then_some(vacancy))
    }

    /// Remembers it, or that nothing can be remembered of it, in the place of what was seen there less lately.
    pub(crate) fn put(&mut self, vacancy: Vacancy, memo: Option<Memo>) {
        #[cfg(test)]
        {
            self.puts += 1;
        }
        let Some(place) = self.places.get_mut(vacancy.place) else { return };
        let [first, second] = &mut place.entries;
        if first.0 != vacancy.hash {
            std::mem::swap(first, second);
        }
        let bytes = |memo: Option<&Memo>| memo.map_or(0, Memo::bytes);
        let others = self.bytes.saturating_sub(bytes(first.1.as_deref()));
        let memo = memo.filter(|memo| others.saturating_add(bytes(Some(memo))) <= MAX_BYTES);
        self.bytes = others.saturating_add(bytes(memo.as_ref()));
        *first = (vacancy.hash, memo.map(Box::new));
    }

    /// A known message was searched, because nothing that is remembered of how rules hit holds for it; whether to remember that.
    pub(crate) fn searched(&mut self, vacancy: Vacancy) -> bool {
        let Some(memo) = self.last(vacancy) else { return false };
        memo.searched = memo.searched.saturating_add(1);
        memo.tries < MAX_TRIES && memo.searched >= PATIENCE.pow(memo.tries.into())
    }

    /// Remembers how rules hit such a message, or that this cannot be known.
    pub(crate) fn add(&mut self, vacancy: Vacancy, rules: Option<Known>) {
        let bytes = self.bytes.saturating_add(rules.as_ref().map_or(0, Known::bytes));
        let Some(memo) = self.last(vacancy) else { return };
        memo.tries = memo.tries.saturating_add(1);
        if bytes <= MAX_BYTES {
            memo.rules.reserve_exact(usize::from(rules.is_some()));
            memo.rules.extend(rules);
            self.bytes = bytes;
        }
    }

    /// What was found last at a place.
    fn last(&mut self, vacancy: Vacancy) -> Option<&mut Memo> {
        self.places.get_mut(vacancy.place)?.entries[0].1.as_deref_mut()
    }

    /// Forgets all: what was found holds no longer.
    pub(crate) fn clear(&mut self) {
        self.places = Box::default();
        self.bytes = 0;
    }
}

impl Memo {
    /// What is known of the messages with this skeleton, which a vacancy was found for.
    pub(crate) fn new(
        vacancy: Vacancy,
        skeleton: &Skeleton,
        (slot, id): (u32, TemplateId),
        masked: Recalled,
        rules: Option<Known>,
    ) -> Memo {
        let (blocks, length) = (skeleton.blocks().into(), skeleton.len());
        Memo {
            source: vacancy.source,
            skeleton: blocks,
            length,
            slot,
            id,
            masked,
            rules: rules.into_iter().collect(),
            tries: 1,
            searched: 0,
        }
    }

    fn bytes(&self) -> usize {
        let rules = self.rules.iter().map(Known::bytes);
        size_of::<Memo>() + self.skeleton.as_flattened().len() + self.masked.bytes() + rules.sum::<usize>()
    }

    fn is_of(&self, source: u64, skeleton: &Skeleton) -> bool {
        // All of it: most often it is the same, and whoever looks for the first difference asks after each block.
        let pairs = self.skeleton.iter().zip(skeleton.blocks());
        let differs =
            pairs.fold(0, |all, (one, other)| all | u128::from_ne_bytes(*one) ^ u128::from_ne_bytes(*other));
        self.source == source && self.length == skeleton.len() && differs == 0
    }
}

/// Where a skeleton of a source belongs. Not XXH3, which multiplies to twice the width: that is a call where the machine has no
/// such instruction, as WebAssembly has not. Each half of a block goes its own way, by the finishing step of MurmurHash3's
/// (multiply and shift), so that one multiplication need not wait for the other.
fn hash(source: u64, skeleton: &Skeleton) -> u64 {
    const FACTORS: [u64; 2] = [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53];
    let step = |so_far: u64, part: u64, factor| {
        let product = (so_far ^ part).wrapping_mul(factor);
        product ^ (product >> 32)
    };
    let [first, second] = FACTORS;
    let (mut one, mut other) = (source, skeleton.len() as u64);
    for block in skeleton.blocks() {
        let block = u128::from_le_bytes(*block);
        (one, other) = (step(one, block as u64, first), step(other, (block >> 64) as u64, second));
    }
    step(one, other.rotate_left(32), second)
}

#[cfg(test)]
mod tests;
