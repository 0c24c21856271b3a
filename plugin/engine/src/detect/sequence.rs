//! Flows: the lines of one request, block or instance, known by the id that they share. Odd is a step that next to no
//! flow of the same kind takes, a step repeated more often than next to any flow repeats it, and a flow that ends without
//! what next to every flow has had when it ends, or next to every flow that has taken one of its steps.
//!
//! A flow's kind is the name that stands before its id (`blk_`, `req-`, `instance: `). Nothing is said of a kind until many
//! of its flows were seen, nor while more than a few of its flows would be odd: then its flows have no habit to break.
//! Counted is how many flows took a step at least so often (the members and repeats of workflow models such as Invariant
//! Mining, Lou et al., USENIX ATC 2010, judged online, one line at a time).
//!
//! A flow has ended when it is quiet for much longer than flows of its kind usually wait after the same step. No line shows
//! that, so what is odd about an ending is not evidence of a record: it is handed out by itself, with the number of the
//! flow's last record. If the flow goes on after all, it is uncounted, and the longer wait is learned. What is still open
//! when the stream ends is not judged.
//!
//! Kinds by the first message were tried and split the flows too finely. The order of steps was tried too (what comes before a
//! step in nearly all flows is missing when it comes): on HDFS blocks it found nothing that the above does not, and half as many
//! false ones again, because nodes that work side by side finish in any order. Flows are forgotten oldest first, and then count
//! as ended without being judged. A restart keeps the habits and forgets the flows: those that may have been under way are
//! not judged by what they lack.

mod companions;
mod flow;
mod kind;
mod saved;
mod turnover;
mod wait;

use std::ops::Range;

pub(crate) use self::saved::{SavedKind, SavedStep};
use self::{
    flow::Flow,
    kind::{Kind, OddEnding, OddStep},
    wait::Wait,
};
use super::Signals;
use crate::{
    memory::{Clock, IdMap},
    verdict::Flag,
};

/// Flows that one source remembers; past it the least recently used one is forgotten.
pub(crate) const MAX_FLOWS: usize = 2_048;
/// Flows remembered over all sources; past it a source makes room among its own, or opens none.
pub(crate) const MAX_ALL_FLOWS: usize = 32_768;
/// Pairs of kind and step that one source remembers; past it no new ones are learned.
const MAX_PAIRS: usize = 4_096;
/// Pairs remembered over all sources; past it no new ones are learned.
pub(crate) const MAX_ALL_PAIRS: usize = 65_536;
/// Kinds that one source remembers; past it flows of new kinds are not looked at.
const MAX_KINDS: usize = 64;
/// Longest name before an id that is looked at, in bytes.
const MAX_NAME: usize = 24;
/// Flows looked at for their ending with each record that has an id.
const LOOKED_AT: usize = 2;
/// What an odd step or ending alone scores: just enough to be shown.
pub(crate) const STRENGTH: f32 = 0.52;

/// What is known of a source's flows.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    flows: Clock<Flow>,
    by_id: IdMap<u32>,
    kinds: Vec<Kind>,
    /// Steps of all kinds.
    pairs: usize,
    /// The flow that is looked at next for its ending.
    hand: u32,
    /// Of habits that outlived a restart: when the first record came after it, once one has.
    resumed: Option<Option<i64>>,
    /// How long the source pauses between lines, when the last one came, and when one came after a pause that is long for
    /// it: what comes next was held up, and the end of a flow may be among it.
    pauses: Wait,
    heard: Option<i64>,
    held_up: i64,
    /// The same, the time before: one such pause excuses a flow, the next one does not.
    held_before: i64,
}

/// What a record brings to its flows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'m> {
    pub(crate) message: &'m [u8],
    /// The ids in it.
    pub(crate) ids: &'m [Range<usize>],
    /// Its template's slot, and whether that is new.
    pub(crate) slot: u32,
    pub(crate) is_new: bool,
    /// Its number and time.
    pub(crate) record: u64,
    pub(crate) now: i64,
    /// Whether the engine as a whole may remember one flow more, and one pair more.
    pub(crate) has_room: bool,
    pub(crate) may_learn: bool,
}

/// A flow that ended oddly.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OddFlow {
    pub(crate) id: String,
    /// Number and time of its last record, and the template slot of that.
    pub(crate) record: u64,
    pub(crate) seen: i64,
    pub(crate) last: u32,
    ending: OddEnding,
}

impl Sequences {
    /// Flows that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    /// Pairs of kind and step that are remembered.
    pub(crate) fn pairs(&self) -> usize {
        self.pairs
    }

    /// Takes one record that has ids.
    #[inline(never)]
    pub(crate) fn observe(&mut self, line: &Line<'_>, signals: &mut Signals) {
        let pause = line.now.saturating_sub(self.heard.replace(line.now).unwrap_or(line.now));
        if self.pauses.over().is_some_and(|over| pause > over) {
            self.held_before = std::mem::replace(&mut self.held_up, line.now);
        }
        // A clock that ran ahead must not excuse what comes after it was mended.
        self.held_up = self.held_up.min(line.now);
        self.pauses.learn(pause);
        let mut words = None;
        for range in line.ids {
            let name = Name::of(line.message, range);
            let kind = twox_hash::XxHash3_64::oneshot(name.name) as u32;
            let id = twox_hash::XxHash3_64::oneshot_with_seed(u64::from(kind), name.rest);
            let found = self.take(id, kind, name.shown, line);
            words = words.or(found);
        }
        // Of a message that nobody has seen before, `new` says all there is to say.
        if let Some(words) = words.filter(|_| !line.is_new) {
            signals.add(Flag::Sequence, STRENGTH, words);
        }
    }

    /// Adds a step to the flow of an id; tells if it is odd.
    fn take(&mut self, id: u64, kind: u32, shown: &[u8], line: &Line<'_>) -> Option<String> {
        let slot = match self.by_id.get(&id) {
            Some(slot) => *slot,
            None => self.begin(id, kind, shown, line)?,
        };
        let flow = self.flows.touch(slot)?;
        let kind = self.kinds.get_mut(usize::from(flow.kind))?;
        if std::mem::take(&mut flow.has_ended) {
            kind.go_on(flow);
        }
        if let Some((last, _)) = flow.last() {
            kind.waited(last, line.now.saturating_sub(flow.seen));
        }
        flow.record = line.record;
        flow.seen = flow.seen.max(line.now);
        let known = kind.len();
        let Some(place) = kind.place(line.slot, line.may_learn && self.pairs < MAX_PAIRS) else {
            flow.is_cut = true;
            return None;
        };
        self.pairs = self.pairs.saturating_add(kind.len()).saturating_sub(known);
        let times = flow.count(place);
        flow.due = kind.quiet_after(place).map_or(i64::MAX, |wait| flow.seen.saturating_add(wait));
        // What a flow begins with breaks no habit: it may be one of another sort.
        let odd = kind.take(place, times?).filter(|_| flow.has_begun())?;
        let is_first = !std::mem::replace(&mut flow.is_odd, true);
        // Where flows have no habit, odd steps are many: no words are made for them.
        kind.has_odd_steps(is_first).then(|| odd.words())
    }

    /// Opens a flow if there is room, or makes room among the source's own.
    fn begin(&mut self, id: u64, key: u32, shown: &[u8], line: &Line<'_>) -> Option<u32> {
        let kind = match self.kinds.iter().position(|kind| kind.key == key) {
            None if self.kinds.len() >= MAX_KINDS => return None,
            None => {
                self.kinds.push(Kind::new(key));
                self.kinds.len().saturating_sub(1)
            }
            Some(kind) => kind,
        };
        if self.flows.len() >= MAX_FLOWS || !line.has_room {
            let (_, oldest) = self.flows.evict()?;
            self.by_id.remove(&oldest.id);
            if let Some(kind) = self.kinds.get_mut(usize::from(oldest.kind)).filter(|_| !oldest.has_ended) {
                kind.end(&oldest);
            }
        }
        let mut flow = Flow::new(id, kind as u16, shown);
        let kind = self.kinds.get_mut(kind)?;
        kind.begin();
        if let Some(resumed) = &mut self.resumed {
            // It may have been under way before the restart, as long as flows of its kind may be quiet.
            let since = line.now.saturating_sub(*resumed.get_or_insert(line.now));
            flow.is_cut = since <= kind.wait.over().unwrap_or(i64::MAX);
        }
        let slot = self.flows.insert(flow);
        self.by_id.insert(id, slot);
        Some(slot)
    }

    /// Looks at a few flows more, and gives the first that has ended oddly.
    pub(crate) fn end_some(&mut self, now: i64) -> Option<OddFlow> {
        (0..LOOKED_AT).find_map(|_| self.end_next(now))
    }

    /// Looks at all flows, and gives those that have ended oddly.
    pub(crate) fn end_all(&mut self, now: i64) -> impl Iterator<Item = OddFlow> {
        (0..self.flows.slots()).filter_map(move |_| self.end_next(now))
    }

    fn end_next(&mut self, now: i64) -> Option<OddFlow> {
        let at = if (self.hand as usize) < self.flows.slots() { self.hand } else { 0 };
        self.hand = at.saturating_add(1);
        let (held_up, held_before) = (self.held_up, self.held_before);
        let has_ended = |flow: &&mut Flow| {
            let is_excused = flow.seen >= held_before;
            let late = if is_excused { held_up.saturating_sub(flow.seen).max(0) } else { 0 };
            now > flow.due.saturating_add(late) && !flow.has_ended
        };
        let flow = self.flows.get_mut(at).filter(has_ended)?;
        let kind = self.kinds.get_mut(usize::from(flow.kind))?;
        let ending = kind.judge(flow);
        flow.has_ended = true;
        flow.is_odd |= ending.is_some();
        kind.end(flow);
        let last = flow.last().and_then(|(place, _)| kind.slot(place))?;
        Some(OddFlow { id: flow.text(), record: flow.record, seen: flow.seen, last, ending: ending? })
    }
}

impl OddStep {
    fn words(&self) -> String {
        let OddStep { times, count, of } = self;
        match times {
            1 => format!("rare step: {count} of {of} sequences of this kind (same id) have it"),
            _ => format!(
                "repeated step: {times} times for one id, as in {count} of {of} sequences that came so far"
            ),
        }
    }
}

impl OddFlow {
    /// The template slots of what is missing, and of the step that it always comes with.
    pub(crate) fn missing(&self) -> (u32, Option<u32>) {
        (self.ending.missing, self.ending.given)
    }

    /// The whole finding in words, given the texts of its last step, of what is missing, and of what that comes with.
    pub(crate) fn words(&self, last: &str, missing: &str, given: Option<&str>) -> String {
        let OddEnding { usual, taken, had, of, .. } = self.ending;
        // Rounded down: what some went without, not all have had.
        let share = f64::from(u32::from(had).saturating_mul(1_000) / u32::from(of.max(1))) / 10.0;
        let times = match (usual, taken) {
            (1, _) => String::new(),
            (_, 0) => format!(" {usual} times"),
            _ => format!(" {usual} times, not {taken}"),
        };
        let given = given.map(|given| format!(" that have \"{given}\"")).unwrap_or_default();
        format!(
            "sequence ended: {} ended after \"{last}\"; {share} % of {of} sequences of its kind{given} have \"{missing}\"{times}",
            self.id
        )
    }
}

/// An id's name and the rest of it, and how it is shown. The name is what the id begins with up to a `_`
/// (`blk_38865049064139660`), or the last word before it, if that has no digits and nothing but a few joiners stand
/// between; or nothing.
struct Name<'m> {
    name: &'m [u8],
    rest: &'m [u8],
    shown: &'m [u8],
}

impl<'m> Name<'m> {
    fn of(message: &'m [u8], id: &Range<usize>) -> Name<'m> {
        let (head, text) = message.split_at_checked(id.start).unwrap_or_default();
        let text = text.get(..id.len()).unwrap_or_default();
        let is_letter = |byte: &&u8| byte.is_ascii_alphabetic() || **byte == b'_';
        let prefix = text.iter().take_while(is_letter).count();
        let (own, rest) = text.split_at_checked(prefix).unwrap_or_default();
        if own.ends_with(b"_") {
            return Name { name: own, rest, shown: text };
        }
        let joins = |byte: &&u8| b" =:([{\"'-+#".contains(byte);
        let joiners = head.iter().rev().take(3).take_while(joins).count();
        let (before, between) = head.split_at_checked(head.len().saturating_sub(joiners)).unwrap_or_default();
        let is_word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
        let length = before.iter().rev().take(MAX_NAME).take_while(is_word).count();
        let start = before.len().saturating_sub(length);
        let name = before.get(start..).unwrap_or_default();
        if name.is_empty() || name.iter().any(u8::is_ascii_digit) {
            return Name { name: b"", rest: text, shown: text };
        }
        let is_part = between.iter().all(|byte| b"-#+".contains(byte));
        let shown = message.get(start..id.end).filter(|_| is_part).unwrap_or(text);
        Name { name, rest: text, shown }
    }
}

#[cfg(test)]
mod tests;
