//! What the shippers count: records per template and source, with or without its text. Feeds the figures per source, and
//! who has earned a place among the known.

use std::sync::PoisonError;

use oddline_engine::{Summary, TemplateId};

use crate::{Shared, known::Outcome};

/// Longest template text that a summary may bring, in bytes.
const MAX_SUMMARY_TEXT: usize = 64 << 10;

impl Shared {
    pub(crate) fn take_in(&self, summary: &Summary) {
        self.events.summary_received();
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner).report(summary);
        self.count(summary);
    }

    /// Counts over all plugins, and who has earned a place among the known.
    pub(crate) fn count(&self, summary: &Summary) {
        let now = self.now_seconds();
        for template in &summary.templates {
            if template.text.len() > MAX_SUMMARY_TEXT || TemplateId::of(&template.text) != template.id {
                continue;
            }
            let mut templates = self.templates();
            let row = templates.count(
                template.id,
                &template.text.as_str().into(),
                template.count,
                template.rule_hits,
                now,
            );
            let mut earning = self.earning.lock().unwrap_or_else(PoisonError::into_inner);
            if earning.consider(row, &template.source, now) == Outcome::Refused {
                self.events.earning_refused();
            }
        }
    }
}
