//! How much is remembered: the hashers and the eviction rule behind every bounded table of the engine.

use std::hash::{BuildHasher, Hasher};

/// Hashing for keys that already are good 64-bit hashes (XXH3 of attacker-visible text under a fixed seed is enough
/// here: every table is bounded, so collisions cost time within the bound, never memory).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdHasher;

/// Passes a 64-bit key through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PassThrough(u64);

impl BuildHasher for IdHasher {
    type Hasher = PassThrough;

    fn build_hasher(&self) -> PassThrough {
        PassThrough(0)
    }
}

impl Hasher for PassThrough {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = twox_hash::XxHash3_64::oneshot_with_seed(self.0, bytes);
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// A map keyed by 64-bit hashes.
pub(crate) type IdMap<V> = hashbrown::HashMap<u64, V, IdHasher>;

/// A slab of values with approximate least-recently-used eviction (CLOCK): each use sets a bit, the hand clears bits
/// and takes the first value found without one. O(1) amortised, no list to maintain.
#[derive(Debug)]
pub(crate) struct Clock<T> {
    slots: Vec<Option<(T, bool)>>,
    free: Vec<u32>,
    hand: usize,
    len: usize,
}

impl<T> Default for Clock<T> {
    fn default() -> Self {
        Clock { slots: Vec::new(), free: Vec::new(), hand: 0, len: 0 }
    }
}

impl<T> Clock<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Slots, those without a value included: what indexes are below.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Adds a value; the caller evicts first where a limit holds.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.len = self.len.saturating_add(1);
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            *slot = Some((value, true));
            return index;
        }
        self.slots.push(Some((value, true)));
        (self.slots.len().saturating_sub(1)) as u32
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)?.as_ref().map(|(value, _)| value)
    }

    /// The value, marked as used.
    pub(crate) fn touch(&mut self, index: u32) -> Option<&mut T> {
        let (value, used) = self.slots.get_mut(index as usize)?.as_mut()?;
        *used = true;
        Some(value)
    }

    /// The value, not marked.
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.as_mut().map(|(value, _)| value)
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let (value, _) = self.slots.get_mut(index as usize)?.take()?;
        self.free.push(index);
        self.len = self.len.saturating_sub(1);
        Some(value)
    }

    /// Removes the value that the hand finds first without its bit.
    pub(crate) fn evict(&mut self) -> Option<(u32, T)> {
        let rounds = self.slots.len().saturating_mul(2);
        for _ in 0..rounds {
            let index = self.hand;
            self.hand = self.hand.saturating_add(1);
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            match self.slots.get_mut(index) {
                Some(Some((_, used))) if *used => *used = false,
                Some(Some(_)) => return self.remove(index as u32).map(|value| (index as u32, value)),
                _ => {}
            }
        }
        None
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| slot.as_ref().map(|(value, _)| (index as u32, value)))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten().map(|(value, _)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evicts_what_was_not_used() {
        let mut clock = Clock::default();
        let ids: Vec<u32> = (0..4).map(|value| clock.insert(value)).collect();
        assert_eq!(
            clock.evict(),
            Some((ids[0], 0)),
            "all bits set: the first round clears, the second takes the oldest"
        );
        clock.touch(ids[1]);
        assert_eq!(clock.evict(), Some((ids[2], 2)));
        assert_eq!(clock.len(), 2);
        assert_eq!(clock.insert(9), ids[2], "slots are reused");
    }
}
