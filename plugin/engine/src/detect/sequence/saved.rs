//! What a restart keeps of sequences: the habits of their kinds, and of each kind's steps, with the step's template. Flows
//! that are under way are not kept. Knows neither the file nor where a template is kept in it.

use serde::{Deserialize, Serialize};

use super::{
    MAX_KINDS, MAX_PAIRS, Sequences,
    flow::{MAX_REPEATS, MAX_STEPS},
    kind::{Kind, OddShare, Step},
};
use crate::verdict::TemplateId;

/// One kind, but for its steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedKind {
    key: u32,
    begun: u16,
    ended: u16,
    /// Shares of flows with odd steps, and with odd endings.
    odd: (f32, f32),
    wait: (f32, u8),
}

/// What a kind knows of one step; stands with the step's template. Counts that are 0 at the end of a list are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedStep {
    kind: u32,
    reached: Vec<u16>,
    had: Vec<u16>,
    last: Vec<u16>,
    wait: (f32, u8),
    companions: Vec<(TemplateId, u16)>,
}

impl Sequences {
    /// The kinds, in the order in which they were met.
    pub(crate) fn saved_kinds(&self) -> Vec<SavedKind> {
        let save = |kind: &Kind| SavedKind {
            key: kind.key,
            begun: kind.begun,
            ended: kind.ended,
            odd: (kind.odd_steps.0, kind.odd_endings.0),
            wait: kind.wait.saved(),
        };
        self.kinds.iter().map(save).collect()
    }

    /// What is known of a template as a step of all kinds that have it. `id_of` names the template in a slot.
    pub(crate) fn saved_steps(&self, slot: u32, id_of: impl Fn(u32) -> Option<TemplateId>) -> Vec<SavedStep> {
        let steps = self.kinds.iter().filter_map(|kind| Some((kind, kind.step_of(slot)?)));
        let save = |(kind, step): (&Kind, &Step)| SavedStep {
            kind: kind.key,
            reached: without_zeros(&step.reached),
            had: without_zeros(&step.had),
            last: without_zeros(&step.last),
            wait: step.wait.saved(),
            companions: step
                .companions
                .iter()
                .filter_map(|(place, both)| Some((id_of(kind.slot(place)?)?, both)))
                .collect(),
        };
        steps.map(save).collect()
    }

    /// Habits as they were saved: kinds, and steps with the slots that their templates have now. At most `room` steps.
    pub(crate) fn restored<'s>(
        kinds: &[SavedKind],
        steps: impl Iterator<Item = (u32, &'s SavedStep)> + Clone,
        slot_of: impl Fn(TemplateId) -> Option<u32>,
        room: usize,
    ) -> Sequences {
        let mut sequences = Sequences { resumed: Some(None), ..Sequences::default() };
        for saved in kinds.iter().take(MAX_KINDS) {
            let mut kind = Kind::new(saved.key);
            (kind.begun, kind.ended) = (saved.begun, saved.ended);
            (kind.odd_steps, kind.odd_endings) = (OddShare(saved.odd.0), OddShare(saved.odd.1));
            kind.wait.restore(saved.wait);
            sequences.kinds.push(kind);
        }
        for (slot, saved) in steps.clone() {
            let has_room = sequences.pairs < MAX_PAIRS.min(room);
            let Some(kind) = sequences.kinds.iter_mut().find(|kind| kind.key == saved.kind) else { continue };
            let known = kind.len();
            let Some(place) = kind.place(slot, has_room) else { continue };
            sequences.pairs = sequences.pairs.saturating_add(kind.len()).saturating_sub(known);
            let Some(step) = kind.step_mut(place) else { continue };
            for (to, from) in [
                (&mut step.reached, &saved.reached),
                (&mut step.had, &saved.had),
                (&mut step.last, &saved.last),
            ] {
                to.iter_mut().zip(from.iter().take(MAX_REPEATS)).for_each(|(to, from)| *to = *from);
            }
            step.wait.restore(saved.wait);
        }
        // Companions are places of other steps: only now do all have theirs.
        for (slot, saved) in steps {
            let Some(kind) = sequences.kinds.iter_mut().find(|kind| kind.key == saved.kind) else { continue };
            let companions = saved.companions.iter().take(MAX_STEPS);
            let companions = companions
                .filter_map(|(id, both)| Some((kind.place(slot_of(*id)?, false)?, *both)))
                .collect();
            if let Some(place) = kind.place(slot, false)
                && let Some(step) = kind.step_mut(place)
            {
                step.companions.restore(companions);
            }
        }
        sequences.kinds.iter_mut().for_each(Kind::look);
        sequences
    }
}

fn without_zeros(counts: &[u16]) -> Vec<u16> {
    let length = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last.saturating_add(1));
    counts.get(..length).unwrap_or_default().to_vec()
}
