//! Runs of a system with and without an injected fault: `runs.csv` tells which run is which, `<run>.tsv` has
//! `service<TAB>line`. One half of the fault-free runs is baseline, the other shows the false alarms; then the halves change
//! places. Every judged run meets a detector that has just learned the baseline, and follows it in time.

use std::{collections::HashMap, sync::Arc};

use anyhow::Context;
use serde::Deserialize;

use crate::{
    bootstrap::{estimate, mean},
    detector::{Answer, Event},
    detectors::lines::is_error,
    harness::{Bench, Case, Figure, Outcome},
    input::{self, Folder},
    metrics::ratio,
};

/// Share of fault-free runs that may alarm.
const BUDGET: f64 = 0.05;
/// Nanoseconds by which a trigger's time may be late: it is rounded, and noted by another program than the one that fails.
const ROUNDING: i64 = 100_000_000;

#[derive(Deserialize)]
struct Row {
    run: String,
    fault_injected: u8,
    failure: u8,
    #[serde(default)]
    trigger_time_local: String,
}

/// What is known of a judged run.
struct Label {
    is_failing: bool,
    /// No line calls itself an error.
    is_silent: bool,
    /// Nanoseconds in the run's own time; alerts before it are not about the fault.
    trigger: Option<i64>,
    times: Vec<i64>,
}

pub(super) fn recognises(folder: &Folder) -> bool {
    folder.file("runs.csv").is_some() && !folder.ending(".tsv").is_empty()
}

pub(super) fn load(folder: &Folder) -> anyhow::Result<Bench> {
    let rows: Vec<Row> = input::table(folder.needed("runs.csv")?)?;
    let files: HashMap<String, _> = folder.ending(".tsv").into_iter().collect();
    let mut rows: Vec<Row> = rows.into_iter().filter(|row| files.contains_key(&row.run)).collect();
    rows.sort_by(|left, right| left.run.cmp(&right.run));
    let (fault_free, faulty): (Vec<Row>, Vec<Row>) =
        rows.into_iter().partition(|row| row.fault_injected == 0);
    anyhow::ensure!(fault_free.len() > 1, "{} has fewer than two fault-free runs", folder.name);

    let (mut cases, mut labels) = (Vec::new(), Vec::new());
    for half in 0..2 {
        let (learned, held_out): (Vec<_>, Vec<_>) =
            fault_free.iter().enumerate().partition(|(at, _)| at % 2 == half);
        let (mut baseline, mut now) = (Vec::new(), 0);
        for (_, row) in learned {
            let (_, events) = read(files[&row.run], now)?;
            now = events.last().and_then(|event: &Event| event.at).unwrap_or(now);
            baseline.extend(events);
        }
        let baseline: Arc<[Event]> = baseline.into();
        let failing = faulty.iter().filter(|row| row.failure == 1);
        for row in held_out.into_iter().map(|(_, row)| row).chain(failing) {
            let (first, events) = read(files[&row.run], now)?;
            let trigger = input::timestamp(row.trigger_time_local.as_bytes()).zip(first);
            labels.push(Label {
                is_failing: row.fault_injected == 1,
                is_silent: !events.iter().any(|event| is_error(&event.line)),
                trigger: trigger.map(|(at, first)| now + at - first),
                times: events.iter().map(|event| event.at.unwrap_or(now)).collect(),
            });
            cases.push(Case { baseline: Some(baseline.clone()), ..Case::new(row.run.as_str(), events) });
        }
    }
    // Failing runs are judged once with each half as baseline.
    let failing = labels.iter().filter(|label| label.is_failing).count() / 2;
    let silent = labels.iter().filter(|label| label.is_failing && label.is_silent).count() / 2;
    let about = format!("{failing} failing runs ({silent} silent), {} fault-free", fault_free.len());
    Ok(Bench { about, cases, measure: Box::new(move |outcomes| measure(&labels, outcomes)) })
}

/// The lines of a run, moved in time to begin at `start`, and when it really began. A line without a time has that of the
/// line before.
fn read(path: &std::path::Path, start: i64) -> anyhow::Result<(Option<i64>, Vec<Event>)> {
    let (mut first, mut last) = (None, start);
    let mut events = Vec::new();
    for row in input::lines(path)? {
        let tab = row.iter().position(|byte| *byte == b'\t').with_context(|| {
            format!("{} line {} has no tab after the service", path.display(), events.len() + 1)
        })?;
        let line = row[tab + 1..].to_vec();
        if let Some(at) = input::timestamp(&line) {
            last = start + at - *first.get_or_insert(at);
        }
        let source = String::from_utf8_lossy(&row[..tab]).into();
        events.push(Event { source, at: Some(last), ..Event::line(line) });
    }
    Ok((first, events))
}

fn measure(labels: &[Label], outcomes: &[Outcome]) -> Vec<Figure> {
    let runs: Vec<(&Label, Vec<(i64, &Answer)>)> = labels
        .iter()
        .zip(outcomes)
        .map(|(label, outcome)| {
            let alerts = label.times.iter().zip(&outcome.answers).filter(|(_, answer)| answer.is_alert());
            let is_due =
                |at: i64| !label.is_failing || label.trigger.is_none_or(|trigger| at >= trigger - ROUNDING);
            (label, alerts.map(|(at, answer)| (*at, answer)).filter(|(at, _)| is_due(*at)).collect())
        })
        .collect();
    // The score of a run is that of its strongest alert; -1: none.
    let strongest =
        |alerts: &[(i64, &Answer)]| alerts.iter().map(|(_, answer)| answer.score).fold(-1.0, f32::max);
    let fault_free: Vec<f32> =
        sorted(runs.iter().filter(|(label, _)| !label.is_failing).map(|(_, alerts)| strongest(alerts)));
    let allowed = (fault_free.len() as f64 * BUDGET).floor() as usize;
    // The strongest fault-free run that may not alarm: an alarm is what scores above it.
    let threshold = fault_free.iter().rev().nth(allowed).copied().unwrap_or(-1.0);
    let found = |silent_only: bool, threshold: f32| -> Vec<Option<f64>> {
        let wanted = runs.iter().filter(|(label, _)| label.is_failing && (label.is_silent || !silent_only));
        wanted.map(|(_, alerts)| Some(f64::from(u8::from(strongest(alerts) > threshold)))).collect()
    };
    let delays: Vec<Option<f64>> = runs
        .iter()
        .filter(|(label, _)| label.is_failing)
        .map(|(label, alerts)| {
            let first = alerts.iter().find(|(_, answer)| answer.score > threshold)?.0;
            Some((first - label.trigger?).max(0) as f64 / 1e9)
        })
        .collect();
    let quiet: Vec<(f64, f64)> = runs
        .iter()
        .filter(|(label, _)| !label.is_failing)
        .map(|(label, alerts)| (alerts.len() as f64, label.times.len() as f64))
        .collect();
    let burden = estimate(quiet.len(), |weights| {
        let sum = |of: fn(&(f64, f64)) -> f64| {
            quiet.iter().zip(weights).map(|(run, weight)| of(run) * weight).sum::<f64>()
        };
        ratio(sum(|run| run.0) * 1e4, sum(|run| run.1))
    });
    let false_runs: Vec<Option<f64>> =
        fault_free.iter().map(|score| Some(f64::from(u8::from(*score >= 0.0)))).collect();
    vec![
        Figure::new("failing runs found at <= 5 % false-alarm runs", mean(&found(false, threshold)))
            .at_least(0.95),
        Figure::new("silent failing runs found at <= 5 %", mean(&found(true, threshold))).at_least(0.5),
        Figure::new("alerts per 10k fault-free lines", burden).at_most(3.0),
        Figure::new("failing runs with an alert", mean(&found(false, -1.0))),
        Figure::new("fault-free runs with an alert", mean(&false_runs)),
        Figure::new("seconds from trigger to alarm, mean", mean(&delays)),
    ]
}

fn sorted(scores: impl Iterator<Item = f32>) -> Vec<f32> {
    let mut scores: Vec<f32> = scores.collect();
    scores.sort_by(f32::total_cmp);
    scores
}
