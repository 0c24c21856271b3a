//! Which steps come with a step whenever a flow has it: a request that is answered in one way has other lines than one
//! that is answered in another, and each way has a habit of its own. Counts flows that have ended.

use super::flow::MAX_STEPS;

/// Flows that a step must have been in before a companion that it has not had yet is not worth remembering: it could
/// not come with nearly all of them for a long time.
const STILL_OPEN: u16 = 20;
/// Flows after which companions that come with fewer than nine in ten are forgotten.
const SETTLED: u16 = 64;

/// The companions of one step: places of other steps, and how many flows had both.
#[derive(Clone, Debug, Default)]
pub(super) struct Companions(pub(super) Vec<(u16, u16)>);

impl Companions {
    /// Counts a flow that has the step, and is the `of`th that has. `has` says whether it has another step, `all` are
    /// those that it has.
    pub(super) fn count(
        &mut self,
        own: u16,
        of: u16,
        has: impl Fn(u16) -> bool,
        all: impl Iterator<Item = u16>,
    ) {
        for (place, both) in &mut self.0 {
            *both = both.saturating_add(u16::from(has(*place)));
        }
        if of <= STILL_OPEN {
            for place in all {
                let is_known = place == own || self.0.iter().any(|(known, _)| *known == place);
                if !is_known && self.0.len() < MAX_STEPS {
                    self.0.push((place, 1));
                }
            }
        }
        // Looked at now and then: it costs as much as counting.
        if of >= SETTLED && of.is_multiple_of(SETTLED) {
            self.0.retain(|(_, both)| u32::from(*both) * 10 >= u32::from(of) * 9);
            self.0.shrink_to_fit();
        }
    }

    /// Takes back a flow that was counted.
    pub(super) fn uncount(&mut self, has: impl Fn(u16) -> bool) {
        for (place, both) in &mut self.0 {
            *both = both.saturating_sub(u16::from(has(*place)));
        }
    }

    pub(super) fn halve(&mut self) {
        self.0.iter_mut().for_each(|(_, both)| *both /= 2);
    }

    /// Takes companions as they were saved.
    pub(super) fn restore(&mut self, companions: Vec<(u16, u16)>) {
        self.0 = companions;
    }

    /// Places, and how many flows had both.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, u16)> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The companions of step 0 after flows with these other steps.
    fn after(flows: impl IntoIterator<Item = Vec<u16>>) -> Vec<(u16, u16)> {
        let mut companions = Companions::default();
        for (number, steps) in flows.into_iter().enumerate() {
            let all = steps.iter().copied().chain([0]);
            companions.count(0, number as u16 + 1, |place| steps.contains(&place), all);
        }
        companions.iter().collect()
    }

    #[test]
    fn who_always_comes_along_is_known() {
        assert_eq!(after((0..200).map(|_| vec![1, 2])), [(1, 200), (2, 200)]);
        // A first flow that was cut short does not hide the habit of those after it.
        let cut = std::iter::once(vec![]).chain((0..199).map(|_| vec![1]));
        assert_eq!(after(cut), [(1, 199)]);
        assert_eq!(
            after((0..200).map(|at| vec![1, 10 + at % 2])),
            [(1, 200)],
            "half of the time is not nearly always"
        );
        assert_eq!(
            after((0..200).map(|at| if at < 30 { vec![1] } else { vec![1, 2] })),
            [(1, 200)],
            "too late"
        );
    }

    #[test]
    fn companions_are_bounded() {
        for steps in [MAX_STEPS as u16, MAX_STEPS as u16 + 1, 10 * MAX_STEPS as u16] {
            let found = after((0..10).map(|_| (1..=steps).collect()));
            assert_eq!(found.len(), MAX_STEPS.min(usize::from(steps)), "{steps}");
        }
    }
}
