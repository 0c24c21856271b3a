//! Which template took the place of which, as plugins tell. Bounded: when full, the names that have been there longest
//! are forgotten. Knows nothing of rows.

use std::collections::{HashMap, VecDeque};

use oddline_engine::TemplateId;

/// Old names remembered.
pub(crate) const MAX_NAMES: usize = 10_000;
/// Renamings that are followed one after the other.
const MAX_STEPS: usize = 16;

/// Old names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    next: HashMap<TemplateId, TemplateId>,
    by_age: VecDeque<TemplateId>,
}

impl Names {
    pub(crate) fn renamed(&mut self, olds: &[TemplateId], new: TemplateId) {
        for old in olds.iter().filter(|old| **old != new) {
            if self.next.insert(*old, new).is_none() {
                self.by_age.push_back(*old);
            }
            while self.by_age.len() > MAX_NAMES {
                self.by_age.pop_front().map(|oldest| self.next.remove(&oldest));
            }
        }
    }

    /// Every old name with the one of now. Names that go round in a circle are nobody's.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (TemplateId, TemplateId)> {
        self.next.keys().filter_map(|old| {
            let mut current = *old;
            for _ in 0..MAX_STEPS {
                match self.next.get(&current) {
                    Some(next) => current = *next,
                    None => return Some((*old, current)),
                }
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_followed_to_the_end() {
        let mut names = Names::default();
        let [a, b, c] = [1, 2, 3].map(TemplateId);
        names.renamed(&[a], b);
        names.renamed(&[b], c);
        let mut pairs: Vec<_> = names.pairs().collect();
        pairs.sort();
        assert_eq!(pairs, [(a, c), (b, c)]);
        names.renamed(&[c], a);
        assert_eq!(names.pairs().count(), 0, "a circle");
    }

    #[test]
    fn bounded_at_the_limit_one_over_and_ten_times() {
        for (given, held) in [(MAX_NAMES, MAX_NAMES), (MAX_NAMES + 1, MAX_NAMES), (10 * MAX_NAMES, MAX_NAMES)]
        {
            let mut names = Names::default();
            (0..given as u64).for_each(|number| names.renamed(&[TemplateId(number)], TemplateId(u64::MAX)));
            assert_eq!((names.next.len(), names.by_age.len()), (held, held));
            assert!(names.next.contains_key(&TemplateId(given as u64 - 1)), "the newest stay");
        }
    }
}
