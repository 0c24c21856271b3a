//! Single lines or events with a label each: alert levels that people gave, ban or no ban, malicious or benign, attack
//! payloads. Measured by ranking (AUC) and by the share that would alert.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    bootstrap::{estimate, share},
    detector::{Answer, Event},
    harness::{Bench, Case, Figure, Outcome},
    input::{self, Folder},
    metrics::Ranking,
};

/// From this level people wanted to be told, and up to that one they did not.
const GRAVE: f64 = 7.0;
const HARMLESS: f64 = 3.0;

fn has(folder: &Folder, wanted: &[&str], unwanted: &[&str]) -> bool {
    let keys = folder.row_keys();
    let has = |key: &&str| keys.iter().any(|it| it == *key);
    wanted.iter().all(has) && !unwanted.iter().any(has)
}

#[derive(Deserialize)]
struct LevelRow {
    line: String,
    level: f64,
    #[serde(default)]
    expect: Option<String>,
    #[serde(default)]
    synthetic: serde_json::Value,
}

impl LevelRow {
    fn is_valid(&self) -> bool {
        let is_synthetic =
            self.synthetic.as_bool().unwrap_or(self.synthetic.as_i64().is_some_and(|it| it != 0));
        self.expect.as_deref().is_none_or(|expect| expect == "pass") && !is_synthetic
    }
}

pub(super) fn has_levels(folder: &Folder) -> bool {
    has(folder, &["line", "level"], &[])
}

pub(super) fn load_levels(folder: &Folder) -> anyhow::Result<Bench> {
    let rows: Vec<LevelRow> = all_rows(folder)?;
    let rows: Vec<LevelRow> = rows.into_iter().filter(LevelRow::is_valid).collect();
    let events = rows.iter().map(|row| Event::line(row.line.as_str())).collect();
    let labels: Vec<Option<bool>> = rows
        .iter()
        .map(|row| (row.level >= GRAVE || row.level <= HARMLESS).then_some(row.level >= GRAVE))
        .collect();
    let about = format!("{} lines", labels.len());
    let measure = move |outcomes: &[Outcome]| {
        vec![
            auc("AUC, all parts", &labels, outcomes, |answer| answer.score).at_least(0.90),
            auc("AUC, rules' score", &labels, outcomes, |answer| answer.rule).at_least(0.85),
        ]
    };
    Ok(Bench { about, cases: vec![Case::new(folder.name.as_str(), events)], measure: Box::new(measure) })
}

#[derive(Deserialize)]
struct LineRow {
    line: String,
    /// `null`: nobody said; judged, not scored.
    label: Option<u8>,
}

pub(super) fn has_lines(folder: &Folder) -> bool {
    has(folder, &["line", "label"], &["pod", "level"])
}

pub(super) fn load_lines(folder: &Folder) -> anyhow::Result<Bench> {
    let rows: Vec<LineRow> = all_rows(folder)?;
    let events = rows.iter().map(|row| Event::line(row.line.as_str())).collect();
    Ok(two_classes(folder, "lines", events, rows.iter().map(|row| row.label.map(|it| it != 0)).collect()))
}

#[derive(Deserialize)]
struct EventRow {
    event: Box<RawValue>,
    label: u8,
}

pub(super) fn has_events(folder: &Folder) -> bool {
    has(folder, &["event", "label"], &[])
}

pub(super) fn load_events(folder: &Folder) -> anyhow::Result<Bench> {
    let rows: Vec<EventRow> = all_rows(folder)?;
    let event = |row: &EventRow| Event {
        structured: row.event.get().starts_with('{'),
        ..Event::line(row.event.get())
    };
    let events = rows.iter().map(event).collect();
    Ok(two_classes(folder, "events", events, rows.iter().map(|row| Some(row.label != 0)).collect()))
}

#[derive(Deserialize)]
struct PayloadRow {
    payload: String,
    label: String,
}

pub(super) fn has_payloads(folder: &Folder) -> bool {
    let tables = folder.ending(".csv");
    let header = |path| input::lines(path).ok()?.into_iter().next();
    tables.first().and_then(|(_, path)| header(path)).is_some_and(|header| {
        let header = String::from_utf8_lossy(&header).replace('"', "");
        let is = |name| header.split(',').any(|column| column.trim() == name);
        is("payload") && is("label")
    })
}

pub(super) fn load_payloads(folder: &Folder) -> anyhow::Result<Bench> {
    let mut rows: Vec<PayloadRow> = Vec::new();
    for (_, path) in folder.ending(".csv") {
        rows.extend(input::table::<PayloadRow>(path)?);
    }
    let events = rows.iter().map(|row| Event::line(row.payload.as_str())).collect();
    Ok(two_classes(folder, "payloads", events, rows.iter().map(|row| Some(row.label != "norm")).collect()))
}

fn all_rows<T: serde::de::DeserializeOwned>(folder: &Folder) -> anyhow::Result<Vec<T>> {
    let mut rows = Vec::new();
    for (_, path) in folder.ending(".jsonl") {
        rows.extend(input::json_lines::<T>(path)?);
    }
    anyhow::ensure!(!rows.is_empty(), "{} has no rows", folder.name);
    Ok(rows)
}

fn two_classes(folder: &Folder, unit: &str, events: Vec<Event>, labels: Vec<Option<bool>>) -> Bench {
    let odd = labels.iter().filter(|label| **label == Some(true)).count();
    let about = format!("{} {unit}, {odd} of them odd", labels.len());
    let measure = move |outcomes: &[Outcome]| {
        let alerted = |wanted: bool| {
            let of_class =
                labels.iter().zip(&outcomes[0].answers).filter(|(label, _)| **label == Some(wanted));
            share(&of_class.map(|(_, answer)| answer.is_alert()).collect::<Vec<_>>())
        };
        vec![
            auc("AUC", &labels, outcomes, |answer| answer.score),
            Figure::new("odd ones alerted", alerted(true)),
            Figure::new("normal ones alerted", alerted(false)),
        ]
    };
    Bench { about, cases: vec![Case::new(folder.name.as_str(), events)], measure: Box::new(measure) }
}

/// AUC over all answers that have a label.
fn auc(name: &str, labels: &[Option<bool>], outcomes: &[Outcome], score: fn(&Answer) -> f32) -> Figure {
    let answers = outcomes.iter().flat_map(|outcome| &outcome.answers);
    let units: Vec<(bool, f32)> =
        labels.iter().zip(answers).filter_map(|(label, answer)| Some(((*label)?, score(answer)))).collect();
    let ranking = Ranking::new(&units);
    Figure::new(name, estimate(units.len(), |weights| ranking.auc(weights)))
}
