//! What the work on one message says about the next one that differs from it in its numbers only. Takes a source, a skeleton
//! and what was found, gives it back when both come again. Must not know how any of it was found.
//!
//! Most lines of a log are like one that came shortly before, but for their numbers. Such a line is not masked again, and no
//! rule's literals are looked for in it: where the same skeleton led is remembered, for the skeletons that come again and again.
//! What cannot be known from the skeleton is asked of each message; what is found is the same with and without this, but that
//! the entropy of a known message is looked at less often.

use crate::{
    mask::{Recalled, Skeleton},
    rules::Known,
    verdict::TemplateId,
};

/// Skeletons remembered by an engine. Each has one place, and a newer one that came twice takes it.
const MAX_MEMOS: usize = 1 << 14;

/// What is known of a source's messages with one skeleton.
#[derive(Debug)]
pub(crate) struct Memo {
    source: u64,
    skeleton: Box<[u8]>,
    /// The template in which they are placed, as long as the slot holds that of this id.
    pub(crate) slot: u32,
    pub(crate) id: TemplateId,
    pub(crate) masked: Recalled,
    /// How rules may hit them, if that can be known.
    pub(crate) rules: Option<Known>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Hash of the source and skeleton that came here last.
    last: u64,
    memo: Option<Box<Memo>>,
}

/// Where in the table a skeleton belongs that is worth remembering.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vacancy {
    slot: usize,
    source: u64,
}

/// The memos of an engine: a table in which each skeleton has one place.
#[derive(Debug, Default)]
pub(crate) struct Memos {
    slots: Box<[Slot]>,
    /// Whether the last message was known.
    #[cfg(test)]
    was_known: bool,
}

impl Memos {
    /// What is known of a skeleton of a source; or, if nothing is and it comes here for the second time in a row, where to
    /// put it.
    pub(crate) fn find(&mut self, source: u64, skeleton: &Skeleton) -> (Option<&Memo>, Option<Vacancy>) {
        if self.slots.is_empty() {
            self.slots = std::iter::repeat_with(Slot::default).take(MAX_MEMOS).collect();
        }
        let hash = twox_hash::XxHash3_64::oneshot_with_seed(source, skeleton.text());
        let place = hash as usize % MAX_MEMOS;
        let Some(slot) = self.slots.get_mut(place) else { return (None, None) };
        let again = std::mem::replace(&mut slot.last, hash) == hash;
        // The texts themselves are compared: equal hashes can be made on purpose.
        let memo =
            slot.memo.as_deref().filter(|memo| memo.source == source && *memo.skeleton == *skeleton.text());
        #[cfg(test)]
        {
            self.was_known = memo.is_some();
        }
        (memo, again.then_some(Vacancy { slot: place, source }))
    }

    /// Remembers it in the place of what was there.
    pub(crate) fn put(
        &mut self,
        vacancy: Vacancy,
        skeleton: &Skeleton,
        (slot, id): (u32, TemplateId),
        masked: Recalled,
        rules: Option<Known>,
    ) {
        let memo = Memo { source: vacancy.source, skeleton: skeleton.text().into(), slot, id, masked, rules };
        if let Some(slot) = self.slots.get_mut(vacancy.slot) {
            slot.memo = Some(Box::new(memo));
        }
    }

    /// Forgets all: what was found holds no longer.
    pub(crate) fn clear(&mut self) {
        self.slots = Box::default();
    }
}

#[cfg(test)]
mod tests;
