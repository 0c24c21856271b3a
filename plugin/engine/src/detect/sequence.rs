//! Flows: the lines of one request, block or instance, known by the id that they share. Odd is a step that next to no
//! flow of the same kind takes, and a step taken more often than next to any flow takes it.
//!
//! A flow's kind is the name that stands before its id (`blk_`, `req-`, `instance: `). Nothing is said of a kind until many of its flows were seen, nor while
//! more than a few of its flows would be odd: then its flows have no habit to break. What is counted is how many flows
//! took a step at least so often (the rare members and repeats of workflow models such as Invariant Mining, Lou et al.,
//! USENIX ATC 2010, judged online, one line at a time). What a flow leaves out is not told: no line shows it.
//!
//! Kinds by the first message were tried and split the flows too finely. Flows are forgotten oldest first; a restart
//! begins anew.

use std::ops::Range;

use super::Signals;
use crate::{
    memory::{Clock, IdMap},
    verdict::Flag,
};

/// Flows that one source remembers; past it the least recently used one is forgotten.
pub(crate) const MAX_FLOWS: usize = 2_048;
/// Flows remembered over all sources; past it a source makes room among its own, or opens none.
pub(crate) const MAX_ALL_FLOWS: usize = 32_768;
/// Different steps remembered of one flow; further ones are not looked at.
const MAX_STEPS: usize = 12;
/// Repeats told apart; more are counted as this many.
const MAX_REPEATS: usize = 12;
/// Pairs of kind and step that one source remembers; past it no new ones are learned.
const MAX_PAIRS: usize = 4_096;
/// Kinds that one source remembers; past it flows of new kinds are not looked at.
const MAX_KINDS: usize = 64;
/// Longest name before an id that is looked at, in bytes.
const MAX_NAME: usize = 24;

/// Flows of a kind before a rare step means something.
const FLOWS_FOR_STEPS: u32 = 500;
/// Flows that took a step before repeating it means something.
const FLOWS_FOR_REPEATS: u32 = 100;
/// Share of flows below which a step, or a repeat of it, is rare.
const RARE: f32 = 0.01;
/// Share of odd flows above which a kind has no habit.
const UNRULY: f32 = 0.05;
/// Weight of the newest flow in that share.
const ALPHA: f32 = 1.0 / 256.0;
/// What a rare step alone scores: just enough to be shown.
const STRENGTH: f32 = 0.52;

/// What is known of a source's flows.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    flows: Clock<Flow>,
    by_id: IdMap<u32>,
    kinds: IdMap<Kind>,
    pairs: IdMap<Pair>,
}

/// One flow so far.
#[derive(Clone, Copy, Debug)]
struct Flow {
    id: u64,
    /// Hash of the name before the id.
    kind: u32,
    steps: [(u32, u8); MAX_STEPS],
    taken: u8,
    /// Whether it was odd already: its kind counts it once, however many of its steps are.
    is_odd: bool,
}

#[derive(Clone, Copy, Debug)]
struct Kind {
    flows: u32,
    odd_share: f32,
}

/// A step within a kind: how many flows took it at least once, twice and so on.
#[derive(Clone, Copy, Debug, Default)]
struct Pair([u32; MAX_REPEATS]);

impl Sequences {
    /// Flows that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    /// Takes one record: the ids in its message, its template's slot, whether that is new, and whether a flow more may
    /// be remembered by the engine as a whole.
    pub(crate) fn observe(
        &mut self,
        message: &[u8],
        ids: &[Range<usize>],
        step: u32,
        is_new: bool,
        has_room: bool,
        signals: &mut Signals,
    ) {
        let mut words = None;
        for range in ids {
            let (name, text) = named(message, range);
            let kind = twox_hash::XxHash3_64::oneshot(name) as u32;
            let id = twox_hash::XxHash3_64::oneshot_with_seed(u64::from(kind), text);
            let found = self.take(id, kind, step, has_room);
            words = words.or(found);
        }
        // Of a message that nobody has seen before, `new` says all there is to say.
        if let Some(words) = words.filter(|_| !is_new) {
            signals.add(Flag::Sequence, STRENGTH, words);
        }
    }

    /// Adds a step to the flow of an id; tells if it is odd.
    fn take(&mut self, id: u64, kind: u32, step: u32, has_room: bool) -> Option<String> {
        let slot = match self.by_id.get(&id) {
            Some(slot) => *slot,
            None => self.begin(id, kind, has_room)?,
        };
        let flow = self.flows.touch(slot)?;
        let kind = self.kinds.get_mut(&u64::from(flow.kind))?;
        let times = flow.count(step)?;
        let key = u64::from(flow.kind) << 32 | u64::from(step);
        if self.pairs.len() >= MAX_PAIRS && !self.pairs.contains_key(&key) {
            return None;
        }
        let pair = self.pairs.entry(key).or_default();
        let flows_with =
            |times: usize| times.checked_sub(1).and_then(|at| pair.0.get(at)).copied().unwrap_or(0);
        let (first, now) = (flows_with(1), flows_with(usize::from(times)));
        let is_rare = |count: u32, of: u32| (count as f32) < RARE * of as f32;
        let is_odd = if times == 1 {
            kind.flows >= FLOWS_FOR_STEPS && is_rare(now, kind.flows)
        } else {
            first >= FLOWS_FOR_REPEATS && is_rare(now, first)
        };
        if let Some(count) = usize::from(times).checked_sub(1).and_then(|at| pair.0.get_mut(at)) {
            *count = count.saturating_add(1);
        }
        if is_odd && !flow.is_odd {
            flow.is_odd = true;
            kind.odd_share += ALPHA;
        }
        // Where flows have no habit, odd steps are many: no words are made for them.
        (is_odd && kind.odd_share <= UNRULY).then(|| match times {
            1 => format!("rare step: {now} of {} sequences of this kind (same id) have it", kind.flows),
            _ => {
                format!(
                    "repeated step: {times} times for one id, as in {now} of {first} sequences of this kind"
                )
            }
        })
    }

    /// Opens a flow if there is room, or makes room among the source's own.
    fn begin(&mut self, id: u64, kind: u32, has_room: bool) -> Option<u32> {
        let key = u64::from(kind);
        if self.kinds.len() >= MAX_KINDS && !self.kinds.contains_key(&key) {
            return None;
        }
        if self.flows.len() >= MAX_FLOWS || !has_room {
            let (_, oldest) = self.flows.evict()?;
            self.by_id.remove(&oldest.id);
        }
        // Until flows have shown a habit, they count as having none.
        let known = self.kinds.entry(key).or_insert(Kind { flows: 0, odd_share: 2.0 * UNRULY });
        known.flows = known.flows.saturating_add(1);
        known.odd_share -= ALPHA * known.odd_share;
        let slot = self.flows.insert(Flow { id, kind, steps: [(0, 0); MAX_STEPS], taken: 0, is_odd: false });
        self.by_id.insert(id, slot);
        Some(slot)
    }
}

/// An id's name and the rest of it. The name is what the id begins with up to a `_` (`blk_38865049064139660`), or the
/// last word before it, if that has no digits and nothing but a few joiners stand between; or nothing.
fn named<'m>(message: &'m [u8], id: &Range<usize>) -> (&'m [u8], &'m [u8]) {
    let (head, text) = message.split_at_checked(id.start).unwrap_or_default();
    let text = text.get(..id.len()).unwrap_or_default();
    let is_letter = |byte: &&u8| byte.is_ascii_alphabetic() || **byte == b'_';
    let prefix = text.iter().take_while(is_letter).count();
    let (own, rest) = text.split_at_checked(prefix).unwrap_or_default();
    if own.ends_with(b"_") {
        return (own, rest);
    }
    let joins = |byte: &&u8| b" =:([{\"'-+#".contains(byte);
    let joiners = head.iter().rev().take(3).take_while(joins).count();
    let head = head.get(..head.len().saturating_sub(joiners)).unwrap_or_default();
    let is_word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
    let length = head.iter().rev().take(MAX_NAME).take_while(is_word).count();
    let name = head.get(head.len().saturating_sub(length)..).unwrap_or_default();
    (if name.iter().any(u8::is_ascii_digit) { b"" } else { name }, text)
}

impl Flow {
    /// Counts a step; gives how often it was taken now, `None` past what is told apart.
    fn count(&mut self, step: u32) -> Option<u8> {
        let taken = usize::from(self.taken);
        let known = self.steps.get_mut(..taken)?.iter_mut().find(|(known, _)| *known == step);
        if let Some((_, times)) = known {
            if usize::from(*times) >= MAX_REPEATS {
                return None;
            }
            *times = times.saturating_add(1);
            return Some(*times);
        }
        *self.steps.get_mut(taken)? = (step, 1);
        self.taken = self.taken.saturating_add(1);
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends flows of these steps, each under an id of its own; gives what was said of the last one's steps.
    fn said(flows: impl IntoIterator<Item = Vec<u32>>) -> Vec<Option<String>> {
        let mut sequences = Sequences::default();
        let mut last = Vec::new();
        for (number, steps) in flows.into_iter().enumerate() {
            last = steps.into_iter().map(|step| sequences.take(number as u64, 1, step, true)).collect();
        }
        last
    }

    fn usual(count: usize) -> impl Iterator<Item = Vec<u32>> {
        (0..count).map(|_| vec![1, 2, 2, 3])
    }

    #[test]
    fn a_step_that_no_flow_takes_is_told_once_enough_were_seen() {
        let odd = vec![1, 2, 9, 3];
        assert_eq!(said(usual(100).chain([odd.clone()])), vec![None; 4], "too early");
        let told = said(usual(1_000).chain([odd]));
        let words = "rare step: 0 of 1001 sequences of this kind (same id) have it";
        assert_eq!(told, [None, None, Some(words.to_owned()), None]);
    }

    #[test]
    fn a_step_that_is_repeated_more_often_than_ever_is_told() {
        let told = said(usual(1_000).chain([vec![1, 2, 2, 2]]));
        let words = "repeated step: 3 times for one id, as in 0 of 1001 sequences of this kind";
        assert_eq!(told, [None, None, None, Some(words.to_owned())]);
    }

    #[test]
    fn flows_without_a_habit_are_left_alone() {
        // Each takes one of two hundred steps: each such step is rare, and none is odd.
        let wild = (0..5_000u32).map(|number| vec![1, 10 + number % 200]);
        assert_eq!(said(wild.chain([vec![1, 999]])), [None, None]);
    }

    #[test]
    fn kinds_are_judged_apart() {
        let mut sequences = Sequences::default();
        // One flow in two hundred has another sort of id; its steps are rare in all, and usual among its own.
        let told = (0..200_000u64).map(|id| {
            let (kind, steps) = if id % 200 == 0 { (7, [7, 8]) } else { (1, [1, 2]) };
            steps.map(|step| sequences.take(id, kind, step, true))
        });
        assert!(told.flatten().all(|told| told.is_none()));
    }

    #[test]
    fn the_name_of_an_id() {
        let name = |head: &str, id: &str| {
            let message = format!("{head}{id} done");
            let (name, rest) = named(message.as_bytes(), &(head.len()..head.len() + id.len()));
            [name, rest].map(|part| String::from_utf8_lossy(part).into_owned())
        };
        assert_eq!(name("Receiving block blk_-", "38865049064139660"), ["blk_", "38865049064139660"]);
        assert_eq!(name("Receiving block ", "blk_38865049064139660"), ["blk_", "38865049064139660"]);
        assert_eq!(name("[req-", "3ea4052c"), ["req", "3ea4052c"]);
        assert_eq!(name("[instance: ", "b9000564"), ["instance", "b9000564"]);
        assert_eq!(name("{\"trace\":\"", "feedbeef01"), ["trace", "feedbeef01"]);
        for none in ["", "  ", "1d ", "at (12) -", "user 54fadb41 "] {
            assert_eq!(name(none, "a1b2c3d4"), ["", "a1b2c3d4"], "{none}");
        }
    }

    #[test]
    fn tables_are_bounded() {
        let mut sequences = Sequences::default();
        for id in 0..10 * MAX_FLOWS as u64 {
            for step in 0..2 * MAX_STEPS as u32 {
                sequences.take(id, 1, step.wrapping_mul(id as u32), true);
            }
        }
        assert_eq!((sequences.len(), sequences.by_id.len()), (MAX_FLOWS, MAX_FLOWS));
        assert_eq!(sequences.pairs.len(), MAX_PAIRS);
        for kind in 0..10 * MAX_KINDS as u32 {
            sequences.take(u64::MAX - u64::from(kind), kind, 1, true);
        }
        assert_eq!(sequences.kinds.len(), MAX_KINDS);
        let full = sequences.len();
        sequences.take(1 << 40, 1, 0, false);
        assert_eq!(sequences.len(), full, "without room the oldest makes way");
        assert_eq!(Sequences::default().take(1, 1, 1, false), None);
    }
}
