//! Templates that operators have reported: they never earn a place among the known, not even when noise has made their
//! rows forgotten. Bounded, and kept over restarts.

use std::collections::{HashSet, VecDeque};

use oddline_engine::TemplateId;
use serde::{Deserialize, Serialize};

use crate::{
    Shared,
    ports::{BackendError, StateStore},
    publish::Unless,
};

/// Reports remembered apart from the rows; past it, the oldest holds only as long as its row does.
pub const MAX_REPORTED: usize = 10_000;
/// The name under which they are saved, and the version that is written and read.
const NOTE: &str = "reported";
const VERSION: u32 = 1;

/// The ids.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    ids: HashSet<TemplateId>,
    by_age: VecDeque<TemplateId>,
    is_unsaved: bool,
}

/// As they are saved: the oldest first.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    version: u32,
    template_ids: Vec<String>,
}

/// What was saved, or nothing yet.
pub(crate) async fn load(state: &dyn StateStore) -> Result<Reported, BackendError> {
    let Some(text) = state.note(NOTE).await? else { return Ok(Reported::default()) };
    let unreadable = |why: String| BackendError::rejected(format!("state: note `{NOTE}`: {why}"));
    let saved: Saved = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    if saved.version != VERSION {
        let found = saved.version;
        return Err(unreadable(format!("version {found} is not the supported {VERSION}")));
    }
    let mut reported = Reported::default();
    for id in &saved.template_ids {
        let parsed = TemplateId::parse(id);
        reported.add(parsed.ok_or_else(|| unreadable(format!("`{id}` is not the id of a template")))?);
    }
    reported.is_unsaved = false;
    Ok(reported)
}

impl Reported {
    pub(crate) fn contains(&self, id: TemplateId) -> bool {
        self.ids.contains(&id)
    }

    pub(crate) fn add(&mut self, id: TemplateId) {
        if !self.ids.insert(id) {
            return;
        }
        self.by_age.push_back(id);
        self.is_unsaved = true;
        while self.by_age.len() > MAX_REPORTED {
            self.by_age.pop_front().map(|oldest| self.ids.remove(&oldest));
        }
    }

    /// All of them as a text, if they differ from what was saved. Say so to [`Reported::not_saved`] if saving fails.
    pub(crate) fn take_unsaved(&mut self) -> Option<String> {
        if !std::mem::take(&mut self.is_unsaved) {
            return None;
        }
        let template_ids = self.by_age.iter().map(TemplateId::to_string).collect();
        serde_json::to_string(&Saved { version: VERSION, template_ids }).ok()
    }

    pub(crate) fn not_saved(&mut self) {
        self.is_unsaved = true;
    }
}

impl Shared {
    /// Saves reports that are not saved yet. Gives whether all are saved.
    pub(crate) async fn save_reports(&self) -> bool {
        let _saving = self.saving_notes.lock().await;
        let Some(text) = self.templates().take_unsaved_reports() else { return true };
        // Who waits for this may go away, or be stopped: then they are unsaved again.
        let taken = Unless::called_off(|| self.templates().reports_not_saved());
        match self.state.set_note(NOTE, text).await {
            Ok(()) => taken.call_off(),
            Err(error) => {
                self.events.state_not_saved(&error);
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_at_the_limit_one_over_and_ten_times() {
        for (given, held) in [
            (MAX_REPORTED, MAX_REPORTED),
            (MAX_REPORTED + 1, MAX_REPORTED),
            (10 * MAX_REPORTED, MAX_REPORTED),
        ] {
            let mut reported = Reported::default();
            (0..given as u64).for_each(|number| reported.add(TemplateId(number)));
            assert_eq!((reported.ids.len(), reported.by_age.len()), (held, held));
            assert!(reported.contains(TemplateId(given as u64 - 1)), "the newest stay");
        }
    }

    #[test]
    fn they_are_saved_when_they_change_and_offered_again_if_that_fails() {
        let mut reported = Reported::default();
        assert_eq!(reported.take_unsaved(), None);
        reported.add(TemplateId(7));
        let text = reported.take_unsaved().unwrap();
        assert_eq!(text, r#"{"version":1,"template_ids":["0000000000000007"]}"#);
        reported.add(TemplateId(7));
        assert_eq!(reported.take_unsaved(), None, "nothing is new");
        reported.not_saved();
        assert_eq!(reported.take_unsaved(), Some(text));
    }
}
