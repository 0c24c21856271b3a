//! Templates that are looked up when nothing else waits: takes those whose records went back without an answer, gives them
//! in order. Knows no ticket and nobody who waits. Bounded in number and bytes, for no record in flight holds them.

use std::collections::{HashSet, VecDeque};

use oddline_engine::TemplateId;

use crate::batch::Screened;

/// Most bytes of their texts.
const MAX_TEXT_BYTES: usize = 4 << 20;

/// A queue without doubles. What finds no room is left out: its next record brings it again.
#[derive(Debug)]
pub(super) struct Later {
    templates: VecDeque<Screened>,
    ids: HashSet<TemplateId>,
    bytes: usize,
    capacity: usize,
}

impl Later {
    pub(super) fn new(capacity: usize) -> Later {
        Later { templates: VecDeque::new(), ids: HashSet::new(), bytes: 0, capacity }
    }

    pub(super) fn push(&mut self, template: Screened) {
        let bytes = self.bytes.saturating_add(template.text.len());
        if self.templates.len() < self.capacity && bytes <= MAX_TEXT_BYTES && self.ids.insert(template.id) {
            self.bytes = bytes;
            self.templates.push_back(template);
        }
    }

    /// The first `size` of them, or all.
    pub(super) fn take(&mut self, size: usize) -> Vec<Screened> {
        let taken: Vec<Screened> = self.templates.drain(..size.min(self.templates.len())).collect();
        for template in &taken {
            self.ids.remove(&template.id);
            self.bytes -= template.text.len();
        }
        taken
    }

    pub(super) fn len(&self) -> usize {
        self.templates.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(numbers: std::ops::Range<u64>, bytes: usize) -> Later {
        let mut later = Later::new(100);
        numbers.for_each(|number| {
            later.push(Screened { id: TemplateId(number), text: "x".repeat(bytes).into() });
        });
        later
    }

    #[test]
    fn each_once_in_order_and_gone_when_taken() {
        let mut later = fill(0..3, 10);
        later.push(Screened { id: TemplateId(1), text: "again".into() });
        let ids = |taken: Vec<Screened>| taken.iter().map(|template| template.id.0).collect::<Vec<_>>();
        assert_eq!((ids(later.take(2)), later.bytes), (vec![0, 1], 10));
        later.push(Screened { id: TemplateId(1), text: "again".into() });
        assert_eq!(ids(later.take(64)), [2, 1]);
        assert_eq!((later.len(), later.bytes, later.ids.len()), (0, 0, 0));
    }

    #[test]
    fn number_and_bytes_are_bounded_at_the_limit_one_over_and_ten_times() {
        for (number, held) in [(100, 100), (101, 100), (1_000, 100)] {
            assert_eq!(fill(0..number, 1).len(), held, "{number}");
        }
        let quarter = MAX_TEXT_BYTES / 4;
        for (number, bytes, held) in [(4, quarter, 4), (4, quarter + 1, 3), (40, quarter, 4)] {
            assert_eq!(fill(0..number, bytes).len(), held, "{number} of {bytes}");
        }
    }
}
