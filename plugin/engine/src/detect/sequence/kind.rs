//! What the flows of one kind have in common: which steps they take and how often, where they end, and how long they
//! wait for their next line. Counts flows, and must not know how a flow is found or told.

use super::{
    companions::Companions,
    flow::{Flow, GONE, MAX_REPEATS},
    wait::Wait,
};
use crate::memory::IdMap;

/// Flows of a kind, or with a step, before a rare step, or a missing one, means something.
const FLOWS_FOR_STEPS: u16 = 500;
/// Flows that took a step before repeating it, or ending after it, means something.
const FLOWS_FOR_REPEATS: u16 = 100;
/// Share of flows below which something is rare.
const RARE: f32 = 0.01;
/// Standard errors by which a share must exceed [`RARE`] to prove that it is not rare (95 %, one-sided).
const DOUBT: f32 = 1.64;
/// Share of odd flows above which a kind has no habit: so much of what was learned from may have been odd itself.
const UNRULY: f32 = 0.05;
/// Weight of the newest flow in that share.
const ALPHA: f32 = 1.0 / 256.0;
/// Flows after which all counts are halved, so that the habit follows the times.
const MEMORY: u16 = 60_000;
/// Stands for the slot of a step whose template is not remembered any more.
pub(super) const NO_SLOT: u32 = u32::MAX;

/// One kind of flow.
#[derive(Debug)]
pub(super) struct Kind {
    /// Hash of its name.
    pub(super) key: u32,
    /// Flows that began, and flows that ended.
    pub(super) begun: u16,
    pub(super) ended: u16,
    pub(super) odd_steps: OddShare,
    pub(super) odd_endings: OddShare,
    pub(super) steps: Vec<Step>,
    /// Places in `steps` by template slot.
    pub(super) places: IdMap<u16>,
    /// Places of steps that were forgotten.
    pub(super) free: Vec<u16>,
    /// What nearly every flow has had when it ended: places in `steps`, and how often at least.
    pub(super) expected: Vec<(u16, u8)>,
    /// Value of `ended` from which `expected` is worth another look.
    look_at: u16,
    pub(super) wait: Wait,
    /// Marks the steps of the flow at hand: each has another.
    stamp: u32,
}

/// A step within a kind. The counts are flows: those that took it at least once, twice and so on.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) slot: u32,
    pub(super) reached: [u16; MAX_REPEATS],
    /// Of the flows that ended.
    pub(super) had: [u16; MAX_REPEATS],
    /// Flows whose last step it was, by how often they had taken it.
    pub(super) last: [u16; MAX_REPEATS],
    pub(super) wait: Wait,
    pub(super) companions: Companions,
    /// [`Kind::stamp`] of the last flow that was looked at and has it.
    stamp: u32,
}

/// Share of flows that broke the habit, lately.
#[derive(Debug)]
pub(super) struct OddShare(pub(super) f32);

/// Why a step is odd.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct OddStep {
    /// The flow has taken it so often now.
    pub(super) times: u8,
    /// So many flows did the same.
    pub(super) count: u16,
    /// Of so many that came so far.
    pub(super) of: u16,
}

/// Why an ending is odd.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct OddEnding {
    /// Template slot of the step that is missing.
    pub(super) missing: u32,
    /// Template slot of the step that it always comes with; `None`: it comes in nearly every flow.
    pub(super) given: Option<u32>,
    /// How often nearly every flow takes it, and how often this one did.
    pub(super) usual: u8,
    pub(super) taken: u8,
    /// Flows that took it so often, of all that have ended (and have the step that it comes with).
    pub(super) had: u16,
    pub(super) of: u16,
}

impl Kind {
    pub(super) fn new(key: u32) -> Kind {
        Kind {
            key,
            begun: 0,
            ended: 0,
            odd_steps: OddShare::unknown(),
            odd_endings: OddShare::unknown(),
            steps: Vec::new(),
            places: IdMap::default(),
            free: Vec::new(),
            expected: Vec::new(),
            look_at: FLOWS_FOR_STEPS,
            wait: Wait::default(),
            stamp: 0,
        }
    }

    /// Steps that are remembered.
    pub(super) fn len(&self) -> usize {
        self.steps.len().saturating_sub(self.free.len())
    }

    /// The place of a template; `None` if it is not known and there is no room for it.
    pub(super) fn place(&mut self, slot: u32, has_room: bool) -> Option<u16> {
        if let Some(place) = self.places.get(&u64::from(slot)) {
            return Some(*place);
        }
        if !has_room {
            return None;
        }
        let place = match self.free.pop() {
            Some(place) => {
                *self.step_mut(place)? = Step::new(slot);
                place
            }
            None => {
                let place = u16::try_from(self.steps.len()).ok().filter(|place| *place < GONE)?;
                self.steps.push(Step::new(slot));
                place
            }
        };
        self.places.insert(u64::from(slot), place);
        Some(place)
    }

    /// The template slot at a place.
    pub(super) fn slot(&self, place: u16) -> Option<u32> {
        self.steps.get(usize::from(place)).map(|step| step.slot)
    }

    /// What is known of a template as a step.
    pub(super) fn step_of(&self, slot: u32) -> Option<&Step> {
        self.steps.get(usize::from(*self.places.get(&u64::from(slot))?))
    }

    /// The step at a place.
    pub(super) fn step_mut(&mut self, place: u16) -> Option<&mut Step> {
        self.steps.get_mut(usize::from(place))
    }

    pub(super) fn begin(&mut self) {
        if self.begun >= MEMORY || self.ended >= MEMORY {
            self.halve();
        }
        self.begun = self.begun.saturating_add(1);
        self.odd_steps.decay();
    }

    /// Learns that a flow took a step so many times now; tells if next to none does.
    pub(super) fn take(&mut self, place: u16, times: u8) -> Option<OddStep> {
        let begun = self.begun;
        let step = self.steps.get_mut(usize::from(place))?;
        let at = usize::from(times).checked_sub(1)?;
        let count = step.reached.get_mut(at)?;
        let now = *count;
        *count = count.saturating_add(1);
        // A repeat is held against the flows that got as far as the one before it: where each repeat is followed by
        // another often enough, the number has no limit to exceed.
        let (of, enough) = match at.checked_sub(1) {
            Some(before) => (step.reached.get(before).copied().unwrap_or(0), FLOWS_FOR_REPEATS),
            None => (begun, FLOWS_FOR_STEPS),
        };
        (of >= enough && is_rare(now, of)).then_some(OddStep { times, count: now, of })
    }

    /// Counts a flow whose steps are odd, if it is its first; says whether the kind has a habit that it breaks.
    pub(super) fn has_odd_steps(&mut self, is_first: bool) -> bool {
        self.odd_steps.has_habit(is_first)
    }

    /// Learns how long a flow waited after a step.
    pub(super) fn waited(&mut self, place: u16, nanos: i64) {
        self.wait.learn(nanos);
        if let Some(step) = self.steps.get_mut(usize::from(place)) {
            step.wait.learn(nanos);
        }
    }

    /// How long a flow has to be quiet after a step until it has ended; `None`: nobody knows yet.
    pub(super) fn quiet_after(&self, place: u16) -> Option<i64> {
        let step = self.steps.get(usize::from(place))?;
        step.wait.over().or_else(|| self.wait.over())
    }

    /// Judges a flow that has ended, before it is counted.
    pub(super) fn judge(&mut self, flow: &Flow) -> Option<OddEnding> {
        self.odd_endings.decay();
        if flow.is_cut || flow.is_odd {
            return None;
        }
        let odd = self.lacks_what_all_have(flow).or_else(|| self.lacks_a_companion(flow))?;
        self.odd_endings.has_habit(true).then_some(odd)
    }

    fn lacks_what_all_have(&self, flow: &Flow) -> Option<OddEnding> {
        if self.ended < FLOWS_FOR_STEPS {
            return None;
        }
        let ends_rarely = self.ends_rarely(flow);
        let lacking = self.expected.iter().filter_map(|&(place, usual)| {
            let taken = flow.times(place);
            let step = self.steps.get(usize::from(place)).filter(|_| taken < usual)?;
            let had = step.had.get(usize::from(usual).checked_sub(1)?).copied()?;
            let without = self.ended.saturating_sub(had);
            // To go without a step may be rare in itself; or it is rare to end here, and what nearly all have is missing.
            let is_odd = is_rare(without, self.ended) || ends_rarely && is_usual(had, self.ended);
            is_odd.then_some(OddEnding { missing: step.slot, given: None, usual, taken, had, of: self.ended })
        });
        // What was not done at all says more than what was done too seldom.
        lacking.max_by_key(|odd| (std::cmp::Reverse(odd.taken), odd.had))
    }

    fn lacks_a_companion(&mut self, flow: &Flow) -> Option<OddEnding> {
        let stamp = self.mark(flow);
        let known = &self.steps;
        let steps = flow.steps().filter_map(|(place, _)| known.get(usize::from(place)));
        let lacking = steps.flat_map(|step| {
            let of = step.had.first().copied().unwrap_or(0);
            let enough = step.companions.iter().filter(move |_| of >= FLOWS_FOR_STEPS);
            enough.filter_map(move |(place, had)| {
                let missing = known.get(usize::from(place)).filter(|missing| missing.stamp != stamp)?;
                // Pairs are many, so doubt does not count here: it would be a finding somewhere all the time.
                let is_odd = is_few(of.saturating_sub(had), of);
                let (missing, given) = (missing.slot, Some(step.slot));
                is_odd.then_some(OddEnding { missing, given, usual: 1, taken: 0, had, of })
            })
        });
        lacking.max_by_key(|odd| odd.of)
    }

    /// Marks the steps of a flow, so that it takes one look to know whether it has one.
    fn mark(&mut self, flow: &Flow) -> u32 {
        self.stamp = self.stamp.wrapping_add(1);
        for (place, _) in flow.steps() {
            if let Some(step) = self.steps.get_mut(usize::from(place)) {
                step.stamp = self.stamp;
            }
        }
        self.stamp
    }

    /// Whether next to none of the flows that came as far as this one ended there.
    fn ends_rarely(&self, flow: &Flow) -> bool {
        let last = flow.last();
        let found = last.and_then(|(place, times)| {
            let step = self.steps.get(usize::from(place))?;
            let at = usize::from(times).checked_sub(1)?;
            Some((step.last.get(at).copied()?, step.reached.get(at).copied()?))
        });
        found.is_some_and(|(ended, reached)| reached >= FLOWS_FOR_REPEATS && is_rare(ended, reached))
    }

    /// Counts a flow that has ended.
    pub(super) fn end(&mut self, flow: &Flow) {
        self.ended = self.ended.saturating_add(1);
        self.tally(flow, |count| *count = count.saturating_add(1));
        self.companions(flow, |companions, own, of, has| {
            companions.count(own, of, has, flow.steps().map(|(place, _)| place));
        });
        if self.ended >= self.look_at {
            self.look();
        }
    }

    /// Takes back that a flow has ended: it goes on.
    pub(super) fn go_on(&mut self, flow: &Flow) {
        self.ended = self.ended.saturating_sub(1);
        self.tally(flow, |count| *count = count.saturating_sub(1));
        self.companions(flow, |companions, _, _, has| companions.uncount(has));
    }

    /// Changes the companions of each of a flow's steps, given its place, the flows that had it, and which steps the
    /// flow has.
    fn companions(&mut self, flow: &Flow, change: impl Fn(&mut Companions, u16, u16, &dyn Fn(u16) -> bool)) {
        let stamp = self.mark(flow);
        for (place, _) in flow.steps() {
            // Taken out for the call, because the other steps are looked at meanwhile.
            let Some(step) = self.steps.get_mut(usize::from(place)) else { continue };
            let of = step.had.first().copied().unwrap_or(0);
            let mut companions = std::mem::take(&mut step.companions);
            let has = |place: u16| self.steps.get(usize::from(place)).is_some_and(|step| step.stamp == stamp);
            change(&mut companions, place, of, &has);
            if let Some(step) = self.steps.get_mut(usize::from(place)) {
                step.companions = companions;
            }
        }
    }

    fn tally(&mut self, flow: &Flow, change: fn(&mut u16)) {
        for (place, times) in flow.steps() {
            if let Some(step) = self.steps.get_mut(usize::from(place)) {
                step.had.iter_mut().take(usize::from(times)).for_each(change);
            }
        }
        if let Some((place, times)) = flow.last()
            && let Some(step) = self.steps.get_mut(usize::from(place))
            && let Some(last) = usize::from(times).checked_sub(1).and_then(|at| step.last.get_mut(at))
        {
            change(last);
        }
    }

    /// Finds what nearly every flow has had when it ended.
    pub(super) fn look(&mut self) {
        let ended = self.ended;
        self.look_at = ended.saturating_add((ended / 16).max(64));
        self.expected.clear();
        for (place, step) in self.steps.iter().enumerate() {
            let times = step.had.iter().take_while(|had| is_usual(**had, ended)).count();
            if let (1.., Ok(place), Ok(times)) = (times, u16::try_from(place), u8::try_from(times)) {
                self.expected.push((place, times));
            }
        }
    }

    fn halve(&mut self) {
        self.begun /= 2;
        self.ended /= 2;
        for step in &mut self.steps {
            step.reached.iter_mut().chain(&mut step.had).chain(&mut step.last).for_each(|count| *count /= 2);
            step.companions.halve();
        }
        self.look();
    }
}

impl Step {
    pub(super) fn new(slot: u32) -> Step {
        let none = [0; MAX_REPEATS];
        Step {
            slot,
            reached: none,
            had: none,
            last: none,
            wait: Wait::default(),
            companions: Companions::default(),
            stamp: 0,
        }
    }
}

impl OddShare {
    /// Until flows have shown a habit, they count as having none.
    fn unknown() -> OddShare {
        OddShare(2.0 * UNRULY)
    }

    fn decay(&mut self) {
        self.0 -= ALPHA * self.0;
    }

    /// Counts an odd flow, if it is not yet counted; says whether there is a habit.
    fn has_habit(&mut self, is_first: bool) -> bool {
        if is_first {
            self.0 += ALPHA;
        }
        self.0 <= UNRULY
    }
}

/// Whether it is not proven that more than [`RARE`] of the flows do so: a share of few flows proves little.
fn is_rare(count: u16, of: u16) -> bool {
    let usual = RARE * f32::from(of);
    let excess = f32::from(count) - usual;
    excess <= 0.0 || excess * excess < DOUBT * DOUBT * usual
}

/// Whether no more than [`RARE`] of the flows that were seen do so.
fn is_few(count: u16, of: u16) -> bool {
    f32::from(count) <= RARE * f32::from(of)
}

/// Whether all flows have it but for as many as may be odd in what is learned from.
fn is_usual(count: u16, of: u16) -> bool {
    f32::from(count) >= (1.0 - UNRULY) * f32::from(of)
}
