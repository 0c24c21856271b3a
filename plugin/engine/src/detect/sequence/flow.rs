//! One flow: an id, the steps taken under it, and when its last line came.

/// Different steps remembered of one flow; further ones are not looked at.
pub(super) const MAX_STEPS: usize = 24;
/// Repeats told apart; more are counted as this many.
pub(super) const MAX_REPEATS: usize = 12;
/// Stands for the place of a step that is not remembered any more: no kind has as many.
pub(super) const GONE: u16 = u16::MAX;
/// Bytes of an id that are kept to be told; a UUID has 36.
const MAX_TEXT: usize = 40;

/// One flow so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    /// Hash of kind and id.
    pub(super) id: u64,
    /// Place of its kind.
    pub(super) kind: u16,
    /// Number of its last record, and when that came.
    pub(super) record: u64,
    pub(super) seen: i64,
    /// When it has ended if nothing more comes.
    pub(super) due: i64,
    pub(super) has_ended: bool,
    /// Whether it was odd already: its kind counts it once, however many of its steps are.
    pub(super) is_odd: bool,
    /// Whether it took steps that are not remembered.
    pub(super) is_cut: bool,
    pub(super) places: [u16; MAX_STEPS],
    pub(super) times: [u8; MAX_STEPS],
    pub(super) taken: u8,
    /// Index of the last step.
    pub(super) last: u8,
    text: [u8; MAX_TEXT],
    length: u8,
}

impl Flow {
    /// A flow without steps; `text` is its id in words.
    pub(super) fn new(id: u64, kind: u16, text: &[u8]) -> Flow {
        let mut kept = [0; MAX_TEXT];
        let length = kept.iter_mut().zip(text).map(|(to, from)| *to = *from).count();
        Flow {
            id,
            kind,
            record: 0,
            seen: i64::MIN,
            due: i64::MAX,
            has_ended: false,
            is_odd: false,
            is_cut: false,
            places: [0; MAX_STEPS],
            times: [0; MAX_STEPS],
            taken: 0,
            last: 0,
            text: kept,
            length: length as u8,
        }
    }

    /// Counts a step; gives how often it was taken now, `None` past what is told apart.
    pub(super) fn count(&mut self, place: u16) -> Option<u8> {
        let taken = usize::from(self.taken);
        let known = self.places.get(..taken)?.iter().position(|known| *known == place);
        let index = known.unwrap_or(taken);
        let (Some(slot), Some(times)) = (self.places.get_mut(index), self.times.get_mut(index)) else {
            self.is_cut = true;
            return None;
        };
        *slot = place;
        self.last = index as u8;
        self.taken = self.taken.max(self.last.saturating_add(1));
        let is_told = usize::from(*times) < MAX_REPEATS;
        *times = times.saturating_add(u8::from(is_told));
        is_told.then_some(*times)
    }

    /// Places of the steps taken, and how often.
    pub(super) fn steps(&self) -> impl Iterator<Item = (u16, u8)> {
        let steps = self.places.iter().zip(&self.times).take(usize::from(self.taken));
        steps.map(|(place, times)| (*place, *times))
    }

    /// The last step, and how often it was taken.
    pub(super) fn last(&self) -> Option<(u16, u8)> {
        self.steps().nth(usize::from(self.last))
    }

    /// Whether it has taken more than one step, repeats included.
    pub(super) fn has_begun(&self) -> bool {
        self.taken > 1 || self.times.first().is_some_and(|times| *times > 1)
    }

    /// How often a step was taken.
    pub(super) fn times(&self, place: u16) -> u8 {
        self.steps().find(|(known, _)| *known == place).map_or(0, |(_, times)| times)
    }

    /// The id in words, cut where it is very long.
    pub(super) fn text(&self) -> String {
        let kept = self.text.get(..usize::from(self.length)).unwrap_or_default();
        let cut = if kept.len() == MAX_TEXT { "…" } else { "" };
        format!("{}{cut}", String::from_utf8_lossy(kept))
    }
}
