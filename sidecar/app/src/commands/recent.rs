//! The last lines that were read, for what shows about a line only later. Bounded in bytes: the oldest go first.

use std::collections::VecDeque;

/// Bytes of text that are kept; a single longer line is kept alone.
const MAX_BYTES: usize = 32 << 20;

/// Lines by their place in everything that was read.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    lines: VecDeque<Kept>,
    /// Place of the first one that is kept.
    first: u64,
    bytes: usize,
}

/// One line.
#[derive(Debug, PartialEq)]
pub(crate) struct Kept {
    /// Which of the files.
    pub(crate) file: usize,
    /// 1-based.
    pub(crate) number: u64,
    /// Its bytes.
    pub(crate) text: Vec<u8>,
}

impl Recent {
    /// Takes the next line.
    pub(crate) fn push(&mut self, file: usize, number: u64, text: Vec<u8>) {
        self.bytes += cost(&text);
        self.lines.push_back(Kept { file, number, text });
        while self.bytes > MAX_BYTES && self.lines.len() > 1 {
            let gone = self.lines.pop_front();
            self.bytes -= gone.map_or(0, |line| cost(&line.text));
            self.first += 1;
        }
    }

    /// The line at a place, counted from 0, if it is still kept.
    pub(crate) fn get(&self, at: u64) -> Option<&Kept> {
        self.lines.get(usize::try_from(at.checked_sub(self.first)?).ok()?)
    }
}

fn cost(text: &[u8]) -> usize {
    text.len() + size_of::<Kept>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_their_place_while_they_are_kept() {
        let text = vec![b'x'; (1 << 20) - size_of::<Kept>()];
        for (count, first) in [(32u64, 0u64), (33, 1), (320, 288)] {
            let mut recent = Recent::default();
            for number in 0..count {
                recent.push(0, number + 1, text.clone());
            }
            assert_eq!(recent.first, first, "{count}");
            assert_eq!(first.checked_sub(1).and_then(|at| recent.get(at)), None);
            assert_eq!(recent.get(first).map(|line| line.number), Some(first + 1));
            assert_eq!(recent.get(count), None);
        }
    }

    #[test]
    fn one_huge_line_is_kept_alone() {
        let mut recent = Recent::default();
        recent.push(0, 1, Vec::new());
        recent.push(1, 1, vec![b'x'; MAX_BYTES + 1]);
        assert_eq!((recent.get(0), recent.get(1).map(|line| line.file)), (None, Some(1)));
        recent.push(1, 2, Vec::new());
        assert_eq!(recent.get(2).map(|line| line.number), Some(2));
    }
}
