//! What the plugins report about themselves: their counters by node, and records per source, with bounds on both.

use std::{collections::BTreeMap, sync::Arc};

use oddline_engine::{BARE_COUNTS, Counters, Summary};

use crate::{events::Figure, head};

/// Sources told apart; the rest is counted under `_other`.
pub const MAX_SOURCES: usize = 2_000;
/// Nodes told apart; what the others say last stands under `_other`.
pub const MAX_NODES: usize = 100;
/// Longest source name that is exported, in bytes.
const MAX_SOURCE_BYTES: usize = 200;

/// Metric, help, and where it stands in the counters.
type Row = (&'static str, &'static str, fn(&Counters) -> u64);

const COUNTERS: &[Row] = &[
    ("plugin_records", "Records observed, as the last summary says", |counters| counters.records),
    ("plugin_flagged", "Records flagged, as the last summary says", |counters| counters.flagged),
    ("plugin_pending", "Records sent on the detour, as the last summary says", |counters| counters.pending),
    ("plugin_skipped", "Records kept from the detour, as the last summary says", |counters| counters.skipped),
    ("plugin_returned", "Records back from the detour, as the last summary says", |counters| {
        counters.returned
    }),
    ("plugin_forged", "Markers that did not verify, as the last summary says", |counters| counters.forged),
    ("plugin_unread", "Records that were not understood, as the last summary says", |counters| {
        counters.unread
    }),
    ("plugin_templates", "Templates held by the plugin", |counters| counters.templates),
    ("plugin_evicted", "Templates evicted by the plugin", |counters| counters.evicted),
    ("plugin_sources", "Sources held by the plugin", |counters| counters.sources),
    ("plugin_endings", "Sequences that the plugin found to have ended oddly", |counters| counters.endings),
    ("plugin_endings_untold", "Of these, those that did not fit into a summary", |counters| {
        counters.endings_untold
    }),
    ("plugin_rules", "Rules in force in the plugin", |counters| counters.rules),
    ("plugin_rules_reloaded", "Times the plugin took changed rule files", |counters| counters.rules_reloaded),
    (
        "plugin_rules_refused",
        "Times the plugin kept its rules because changed files did not check out",
        |counters| counters.rules_refused,
    ),
];

/// The latest counters and the records per source.
#[derive(Debug, Default)]
pub(crate) struct Plugins {
    /// The last counters of each node.
    last: BTreeMap<Arc<str>, Counters>,
    sources: BTreeMap<Arc<str>, u64>,
}

impl Plugins {
    pub(crate) fn report(&mut self, summary: &Summary) {
        // Who only counts records has no counters of its own, and no node.
        if summary.kind != BARE_COUNTS {
            let node = head(&summary.node, MAX_SOURCE_BYTES);
            let known = self.last.contains_key(node) || self.last.len() < MAX_NODES;
            self.last.insert(if known { node } else { "_other" }.into(), summary.counters);
        }
        for template in &summary.templates {
            let name = head(&template.source, MAX_SOURCE_BYTES);
            let known = self.sources.contains_key(name) || self.sources.len() < MAX_SOURCES;
            let count = self.sources.entry(if known { name } else { "_other" }.into()).or_default();
            *count = count.saturating_add(template.count);
        }
    }

    pub(crate) fn figures(&self) -> Vec<Figure> {
        // A name at a time, as they are written.
        let mut figures = Vec::new();
        // A node without a name may stand alone without a label, but not beside others: it would be taken for all.
        let alone = self.last.len() == 1;
        for (name, help, of) in COUNTERS {
            figures.extend(self.last.iter().map(|(node, last)| Figure {
                name: (*name).into(),
                help,
                label: (!alone || !node.is_empty()).then(|| ("node", node.to_string())),
                counter: false,
                value: of(last),
            }));
        }
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
        assert_eq!(plugins.last.len(), 1);
        for number in 0..MAX_NODES * 10 {
            plugins.report(&Summary { node: format!("node {number}"), ..Summary::default() });
        }
        assert_eq!(plugins.last.len(), MAX_NODES + 1);
        assert_eq!(plugins.sources.len(), MAX_SOURCES + 1);
    }

    #[test]
    fn the_counters_of_two_nodes_stand_side_by_side() {
        let mut plugins = Plugins::default();
        for (node, records) in [("a", 1), ("b", 20), ("a", 3)] {
            let counters = Counters { records, ..Counters::default() };
            plugins.report(&Summary { node: node.to_owned(), counters, ..Summary::default() });
        }
        let figures = plugins.figures().into_iter().filter(|figure| figure.name == "plugin_records");
        let told: Vec<_> = figures.map(|figure| (figure.label.unwrap().1, figure.value)).collect();
        assert_eq!(told, [("a".to_owned(), 3), ("b".to_owned(), 20)]);
    }

    #[test]
    fn who_only_counts_records_is_no_node() {
        let mut plugins = Plugins::default();
        let counters = Counters { records: 7, ..Counters::default() };
        plugins.report(&Summary { node: "a".into(), counters, ..Summary::default() });
        plugins.report(&Summary { kind: BARE_COUNTS.into(), ..summary("vector".into()) });
        let figures = plugins.figures();
        let nodes: Vec<_> = figures.iter().filter(|figure| figure.name == "plugin_records").collect();
        assert_eq!((nodes.len(), nodes[0].value), (1, 7));
        assert_eq!(nodes[0].label, Some(("node", "a".to_owned())));
        assert!(figures.iter().any(|figure| figure.name == "source_records" && figure.value == 3));
    }

    #[test]
    fn a_node_without_a_name_hides_no_other() {
        let mut plugins = Plugins::default();
        plugins.report(&Summary::default());
        assert!(plugins.figures().iter().all(|figure| figure.label.is_none()));
        plugins.report(&Summary { node: "a".into(), ..Summary::default() });
        assert!(plugins.figures().iter().all(|figure| figure.label.is_some()));
    }
}
