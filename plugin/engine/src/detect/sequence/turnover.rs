//! What becomes of steps whose template is forgotten, or taken in by a more general one: a template's slot goes to the next
//! one, which must not inherit the habits of the one before. Knows slots and places, and must not know why a template goes.

use super::{
    Sequences,
    companions::Companions,
    flow::{Flow, GONE, MAX_REPEATS},
    kind::{Kind, NO_SLOT, Step},
};

impl Sequences {
    /// Forgets a template as a step. Flows that took it are not judged by what they lack.
    pub(crate) fn forget(&mut self, slot: u32) {
        self.change(slot, Kind::forget);
    }

    /// One template has taken in another: what was learned of the two as steps holds for the one.
    pub(crate) fn join(&mut self, from: u32, to: u32) {
        self.change(from, |kind, from| kind.join(from, to));
    }

    /// Changes each kind that has a step, and its flows as it says.
    fn change(&mut self, slot: u32, change: impl Fn(&mut Kind, u32) -> Option<(u16, Option<u16>)>) {
        for (index, kind) in self.kinds.iter_mut().enumerate() {
            let known = kind.len();
            let Some((from, to)) = change(kind, slot) else { continue };
            self.pairs = self.pairs.saturating_add(kind.len()).saturating_sub(known);
            for flow in self.flows.values_mut().filter(|flow| usize::from(flow.kind) == index) {
                flow.rename(from, to);
            }
        }
    }
}

impl Kind {
    /// Gives the place that is free now, with `None` for its successor.
    fn forget(&mut self, slot: u32) -> Option<(u16, Option<u16>)> {
        let place = self.places.remove(&u64::from(slot))?;
        self.vacate(place, None);
        Some((place, None))
    }

    /// Gives the place that is free now, and the one in its stead; `None` if no flow has to know.
    fn join(&mut self, from: u32, to: u32) -> Option<(u16, Option<u16>)> {
        let place = self.places.remove(&u64::from(from))?;
        let Some(heir) = self.places.get(&u64::from(to)).copied() else {
            self.places.insert(u64::from(to), place);
            self.step_mut(place)?.slot = to;
            return None;
        };
        let taken_in = std::mem::replace(self.step_mut(place)?, Step::new(NO_SLOT));
        let (begun, ended) = (self.begun, self.ended);
        self.step_mut(heir)?.absorb(&taken_in, begun, ended);
        self.vacate(place, Some(heir));
        self.look();
        Some((place, Some(heir)))
    }

    /// Leaves a place to the next step that is new.
    fn vacate(&mut self, place: u16, heir: Option<u16>) {
        if let Some(step) = self.step_mut(place) {
            *step = Step::new(NO_SLOT);
        }
        self.expected.retain(|(expected, _)| *expected != place);
        for step in &mut self.steps {
            step.companions.rename(place, heir);
        }
        self.free.push(place);
    }
}

impl Step {
    /// Most flows have one variant of a message or another, so the counts of both add up, within those of all flows.
    fn absorb(&mut self, other: &Step, begun: u16, ended: u16) {
        let add = |to: &mut [u16; MAX_REPEATS], from: &[u16; MAX_REPEATS], most: u16| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = to.saturating_add(*from).min(most));
        };
        add(&mut self.reached, &other.reached, begun);
        add(&mut self.had, &other.had, ended);
        add(&mut self.last, &other.last, ended);
        self.wait.absorb(&other.wait);
    }
}

impl Companions {
    /// Another place in the stead of one, or none: of two that become one, the more frequent counts.
    fn rename(&mut self, from: u16, to: Option<u16>) {
        let Some(index) = self.0.iter().position(|(place, _)| *place == from) else { return };
        let (_, both) = self.0.swap_remove(index);
        let Some(to) = to else { return };
        match self.0.iter_mut().find(|(place, _)| *place == to) {
            Some((_, known)) => *known = both.max(*known),
            None => self.0.push((to, both)),
        }
    }
}

impl Flow {
    /// Another place in the stead of one that it may have, or none.
    fn rename(&mut self, from: u16, to: Option<u16>) {
        let taken = usize::from(self.taken);
        let index_of = |place| self.places.iter().take(taken).position(|known| *known == place);
        let Some(index) = index_of(from) else { return };
        let heir = to.and_then(index_of);
        self.is_cut |= to.is_none();
        let Some(place) = self.places.get_mut(index) else { return };
        let Some(heir) = heir else {
            *place = to.unwrap_or(GONE);
            return;
        };
        *place = GONE;
        let times = self.times.get_mut(index).map(std::mem::take).unwrap_or_default();
        if let Some(own) = self.times.get_mut(heir) {
            *own = own.saturating_add(times).min(MAX_REPEATS as u8);
        }
        if usize::from(self.last) == index {
            self.last = heir as u8;
        }
    }
}
