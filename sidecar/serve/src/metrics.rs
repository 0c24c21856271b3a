//! Figures become OpenMetrics text at the time of the scrape; nothing is counted here.

use std::{collections::BTreeMap, fmt};

use oddline_analyze::events::Figure;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, text::encode},
    metrics::MetricType,
    registry::Registry,
};

/// What scrapers are told.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Most series of one name; those beyond are added up under `_other`.
const MAX_SERIES: usize = 2_000;
/// Longest label value, in characters.
const MAX_LABEL: usize = 200;

type Read<T> = Box<dyn Fn() -> T + Send + Sync>;

/// A latency histogram: seconds in all, upper bounds, and counts (one more than bounds).
#[derive(Clone, Debug, Default)]
pub struct Latency {
    /// Name without prefix, e.g. `judge_seconds`.
    pub name: &'static str,
    /// What it measures.
    pub help: &'static str,
    /// Sum of all values.
    pub seconds: f64,
    /// Upper bound and count of each bucket, not cumulative; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
}

/// Where the figures come from.
#[derive(Default)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Sources of figures and histograms, all read anew for every scrape.
    pub fn new(
        figures: impl Fn() -> Vec<Figure> + Send + Sync + 'static,
        latencies: impl Fn() -> Vec<Latency> + Send + Sync + 'static,
    ) -> Self {
        let mut registry = Registry::with_prefix("oddline");
        registry.register_collector(Box::new(Sources {
            figures: Box::new(figures),
            latencies: Box::new(latencies),
        }));
        Metrics { registry }
    }

    /// The text of one scrape.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string fails only if a collector does, and ours does not.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

struct Sources {
    figures: Read<Vec<Figure>>,
    latencies: Read<Vec<Latency>>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families: BTreeMap<String, Vec<Figure>> = BTreeMap::new();
        for figure in (self.figures)() {
            families.entry(figure.name.clone().into_owned()).or_default().push(figure);
        }
        for (name, family) in families {
            let Some(first) = family.first() else { continue };
            let kind = if first.counter { MetricType::Counter } else { MetricType::Gauge };
            let mut metric =
                encoder.encode_descriptor(&name, first.help.trim_end_matches('.'), None, kind)?;
            for ((key, label), (counter, value)) in series(&family) {
                if key.is_empty() {
                    write(metric, counter, value)?;
                    // Without a label there is one.
                    break;
                }
                write(metric.encode_family(&[(key, label)])?, counter, value)?;
            }
        }
        for latency in (self.latencies)() {
            let mut metric =
                encoder.encode_descriptor(latency.name, latency.help, None, MetricType::Histogram)?;
            let count = latency.buckets.iter().map(|(_, count)| count).sum();
            metric.encode_histogram::<[(&str, &str); 0]>(latency.seconds, count, &latency.buckets, None)?;
        }
        Ok(())
    }
}

fn write(mut metric: MetricEncoder<'_>, counter: bool, value: u64) -> fmt::Result {
    if counter {
        metric.encode_counter::<[(&str, &str); 0], u64, u64>(&value, None)
    } else {
        metric.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))
    }
}

/// Values by label, bounded; labels cut to a length may meet, and are added up.
fn series(family: &[Figure]) -> BTreeMap<(&'static str, String), (bool, u64)> {
    let mut series = BTreeMap::new();
    for figure in family {
        let (key, label) = match &figure.label {
            Some((key, label)) => (*key, label.chars().take(MAX_LABEL).collect()),
            None => ("", String::new()),
        };
        let full = series.len() >= MAX_SERIES && !series.contains_key(&(key, label.clone()));
        let label = if full { "_other".to_owned() } else { label };
        let (_, value): &mut (bool, u64) = series.entry((key, label)).or_insert((figure.counter, 0));
        *value = value.saturating_add(figure.value);
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(label: Option<(&'static str, String)>, counter: bool, value: u64) -> Figure {
        let name = if counter { "records_received" } else { "templates" };
        Figure { name: name.into(), help: "What it counts", label, counter, value }
    }

    fn text(figures: Vec<Figure>) -> String {
        Metrics::new(move || figures.clone(), Vec::new).text()
    }

    #[test]
    fn counters_gauges_and_histograms_read_as_scrapers_expect() {
        let latency = || {
            vec![Latency {
                name: "judge_seconds",
                help: "Time to a verdict",
                seconds: 0.5,
                buckets: vec![(0.01, 3), (f64::INFINITY, 1)],
            }]
        };
        let figures = || vec![figure(None, true, 7), figure(None, false, 3)];
        let text = Metrics::new(figures, latency).text();
        assert!(
            text.contains("# TYPE oddline_records_received counter\noddline_records_received_total 7\n"),
            "{text}"
        );
        assert!(text.contains("\noddline_templates 3\n"), "{text}");
        assert!(text.contains("oddline_judge_seconds_bucket{le=\"0.01\"} 3\n"), "{text}");
        assert!(text.contains("oddline_judge_seconds_bucket{le=\"+Inf\"} 4\n"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn series_are_bounded_and_add_up() {
        let figures =
            (0..MAX_SERIES * 10).map(|n| figure(Some(("source", format!("s{n:05}"))), true, 2)).collect();
        let text = text(figures);
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines.len(), MAX_SERIES + 1);
        let other = format!("oddline_records_received_total{{source=\"_other\"}} {}", 2 * 9 * MAX_SERIES);
        assert!(lines.contains(&other.as_str()));
    }

    #[test]
    fn a_source_name_cannot_break_out_of_its_label() {
        let hostile = "x\"} 1\noddline_records_received_total{source=\"y".to_owned() + &"z".repeat(10_000);
        let text = text(vec![figure(Some(("source", hostile)), true, 2)]);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.len() < 600);
    }
}
