//! What `/metrics` tells: the figures of analysis and ingest, and of the process.

use std::{fs, sync::Arc};

use oddline_analyze::{
    Analyzer,
    events::{Figure, LATENCY_BOUNDS},
    rows::push::Pushed,
};
use oddline_ingest::Events;
use oddline_serve::{Latency, Metrics};

/// Everything, read anew for every scrape.
pub(crate) fn metrics(analyzer: Arc<Analyzer>, events: Arc<Events>, pushed: Option<Arc<Pushed>>) -> Metrics {
    let latencies = {
        let analyzer = analyzer.clone();
        move || vec![judge_latency(&analyzer)]
    };
    let figures = move || {
        let mut figures = analyzer.figures();
        figures.extend(events.all().into_iter().map(|(event, help, value)| Figure {
            name: format!("ingest_{event}").into(),
            help,
            label: None,
            counter: true,
            value,
        }));
        figures.extend(pushed.iter().flat_map(|pushed| pushed.figures()));
        figures.extend(resident_bytes().map(|value| Figure {
            name: "resident_memory_bytes".into(),
            help: "Memory of the process",
            label: None,
            counter: false,
            value,
        }));
        figures
    };
    Metrics::new(figures, latencies)
}

fn judge_latency(analyzer: &Analyzer) -> Latency {
    let (seconds, counts) = analyzer.events().latency();
    let bounds = LATENCY_BOUNDS.into_iter().chain([f64::INFINITY]);
    let (name, help) = ("judge_seconds", "Time from the arrival of a record's batch to its verdict");
    Latency { name, help, seconds, buckets: bounds.zip(counts).collect() }
}

/// Resident memory, where the system tells it.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
