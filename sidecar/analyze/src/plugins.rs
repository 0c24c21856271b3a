//! What the plugins report about themselves: their counters, and records per source with a bound on the sources.

use std::{collections::BTreeMap, sync::Arc};

use oddline_engine::{Counters, Summary};

use crate::{events::Figure, head};

/// Sources told apart; the rest is counted under `_other`.
pub const MAX_SOURCES: usize = 2_000;
/// Longest source name that is exported, in bytes.
const MAX_SOURCE_BYTES: usize = 200;

/// The latest counters and the records per source.
#[derive(Debug, Default)]
pub(crate) struct Plugins {
    last: Counters,
    sources: BTreeMap<Arc<str>, u64>,
}

impl Plugins {
    pub(crate) fn report(&mut self, summary: &Summary) {
        self.last = summary.counters;
        for template in &summary.templates {
            let name = head(&template.source, MAX_SOURCE_BYTES);
            let known = self.sources.contains_key(name) || self.sources.len() < MAX_SOURCES;
            let count = self.sources.entry(if known { name } else { "_other" }.into()).or_default();
            *count = count.saturating_add(template.count);
        }
    }

    pub(crate) fn figures(&self) -> Vec<Figure> {
        let last = &self.last;
        let figure = |name: &'static str, help, value| Figure {
            name: name.into(),
            help,
            label: None,
            counter: false,
            value,
        };
        let mut figures = vec![
            figure("plugin_records", "Records observed, as the last summary says", last.records),
            figure("plugin_flagged", "Records flagged, as the last summary says", last.flagged),
            figure("plugin_pending", "Records sent on the detour, as the last summary says", last.pending),
            figure("plugin_skipped", "Records kept from the detour, as the last summary says", last.skipped),
            figure(
                "plugin_returned",
                "Records back from the detour, as the last summary says",
                last.returned,
            ),
            figure("plugin_forged", "Markers that did not verify, as the last summary says", last.forged),
            figure(
                "plugin_unread",
                "Records that were not understood, as the last summary says",
                last.unread,
            ),
            figure("plugin_templates", "Templates held by the plugin", last.templates),
            figure("plugin_evicted", "Templates evicted by the plugin", last.evicted),
            figure("plugin_sources", "Sources held by the plugin", last.sources),
            figure("plugin_endings", "Sequences that the plugin found to have ended oddly", last.endings),
            figure(
                "plugin_endings_untold",
                "Of these, those that did not fit into a summary",
                last.endings_untold,
            ),
            figure("plugin_rules", "Rules in force in the plugin", last.rules),
            figure("plugin_rules_reloaded", "Times the plugin took changed rule files", last.rules_reloaded),
            figure(
                "plugin_rules_refused",
                "Times the plugin kept its rules because changed files did not check out",
                last.rules_refused,
            ),
        ];
        figures.extend(self.sources.iter().map(|(source, count)| Figure {
            name: "source_records".into(),
            help: "Records per source, from the plugins' summaries",
            label: Some(("source", source.as_ref().to_owned())),
            counter: true,
            value: *count,
        }));
        figures
    }
}

#[cfg(test)]
mod tests {
    use oddline_engine::{TemplateCount, TemplateId};

    use super::*;

    fn summary(source: String) -> Summary {
        let template = TemplateCount { id: TemplateId(1), text: "t".into(), source, count: 3, rule_hits: 0 };
        Summary { templates: vec![template], ..Summary::default() }
    }

    #[test]
    fn series_are_bounded_and_nothing_goes_uncounted() {
        let mut plugins = Plugins::default();
        for number in 0..MAX_SOURCES * 10 {
            plugins.report(&summary(format!("source {number}")));
        }
        assert_eq!(plugins.sources.len(), MAX_SOURCES + 1);
        assert_eq!(plugins.sources.values().sum::<u64>(), 3 * 10 * MAX_SOURCES as u64);
        plugins.report(&summary("é".repeat(10_000)));
        assert_eq!(plugins.sources.len(), MAX_SOURCES + 1);
    }
}
