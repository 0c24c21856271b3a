//! What the shippers count: records per template and source, with the template's text or without. Feeds the rates, the
//! figures per source, and who has earned a place among the known.

pub mod pull;

use std::sync::{MutexGuard, PoisonError};

use oddline_engine::{Alias, BARE_COUNTS, MAX_SUMMARY_ALIASES, Summary, TemplateCount, TemplateId};

use crate::{
    Shared,
    known::Outcome,
    rates::{From, Rates},
};

/// Longest template text that a summary may bring, in bytes.
const MAX_SUMMARY_TEXT: usize = 64 << 10;

impl Shared {
    pub(crate) fn take_in(&self, summary: &Summary) {
        self.events.summary_received();
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner).report(summary);
        self.count(summary);
        self.rename(summary);
    }

    /// Templates that generalised: what is known of the old ones goes on to hold.
    pub(crate) fn rename(&self, summary: &Summary) {
        let now = self.now_seconds();
        let sound =
            |alias: &&Alias| alias.text.len() <= MAX_SUMMARY_TEXT && TemplateId::of(&alias.text) == alias.new;
        let aliases: Vec<&Alias> = summary.aliases.iter().take(MAX_SUMMARY_ALIASES).filter(sound).collect();
        let mut templates = self.templates();
        for group in aliases.chunk_by(|one, next| one.new == next.new) {
            let olds: Vec<TemplateId> = group.iter().map(|alias| alias.old).collect();
            let Some(alias) = group.first() else { continue };
            templates.renamed(&olds, alias.new, &alias.text.as_str().into(), now);
        }
    }

    /// Counts over all shippers. Of a template that is not known by its text only the rate is kept: when it becomes
    /// known, it is no burst.
    pub(crate) fn count(&self, summary: &Summary) {
        self.events.sequences_ended(&summary.endings);
        for ending in &summary.endings {
            self.keep_finding(&ending.source.as_str().into(), &ending.clone().verdict());
        }
        let (now, bare) = (self.now_seconds(), summary.kind == BARE_COUNTS);
        for template in &summary.templates {
            let TemplateCount { id, text, source, count, rule_hits } = template;
            if !text.is_empty() && (text.len() > MAX_SUMMARY_TEXT || TemplateId::of(text) != *id) {
                continue;
            }
            let from = From { node: &summary.node, source };
            self.rates().count(*id, from, *count, bare, now);
            let mut templates = self.templates();
            let known = templates.get(*id).map(|row| row.text.clone());
            let text =
                if text.is_empty() { known } else { Some(known.unwrap_or_else(|| text.as_str().into())) };
            let Some(text) = text else { continue };
            let row = templates.count(*id, &text, *count, *rule_hits, now);
            let mut earning = self.earning.lock().unwrap_or_else(PoisonError::into_inner);
            if earning.consider(row, source, now) == Outcome::Refused {
                self.events.earning_refused();
            }
        }
    }

    pub(crate) fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What time alone changes about rates; tables hear of it.
    pub(crate) fn pass_time(&self) {
        let changed = {
            let mut rates = self.rates();
            rates.pass(self.now_seconds());
            rates.take_changed()
        };
        let mut templates = self.templates();
        changed.into_iter().for_each(|id| templates.asked(id));
    }
}
