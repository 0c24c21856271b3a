//! Lines with true templates, one folder a system: `*_structured_corrected.csv` (or `*_structured.csv`) with the columns
//! `Content`, `EventId`, `EventTemplate`. One online pass, the same masks for all.

use serde::Deserialize;

use crate::{
    bootstrap::mean,
    detector::Event,
    harness::{Bench, Case, Figure, Outcome},
    input::{self, Folder},
    metrics::Parsing,
};

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "Content")]
    content: String,
    #[serde(rename = "EventId")]
    id: String,
    #[serde(rename = "EventTemplate")]
    template: String,
}

const CORRECTED: &str = "_structured_corrected.csv";
const PLAIN: &str = "_structured.csv";

pub(super) fn recognises(folder: &Folder) -> bool {
    !folder.ending(CORRECTED).is_empty() || !folder.ending(PLAIN).is_empty()
}

pub(super) fn load(folder: &Folder) -> anyhow::Result<Bench> {
    let corrected = folder.ending(CORRECTED);
    let tables = if corrected.is_empty() { folder.ending(PLAIN) } else { corrected };
    let (mut cases, mut truths) = (Vec::new(), Vec::new());
    for (system, path) in tables {
        let rows: Vec<Row> = input::table(path)?;
        let events = rows.iter().map(|row| Event::line(row.content.as_str())).collect();
        cases.push(Case { parsed: true, ..Case::new(system, events) });
        truths.push(rows.into_iter().map(|row| (row.id, row.template)).collect());
    }
    let about = format!("{} systems", cases.len());
    Ok(Bench { about, cases, measure: Box::new(move |outcomes| measure(&truths, outcomes)) })
}

fn measure(truths: &[Vec<(String, String)>], outcomes: &[Outcome]) -> Vec<Figure> {
    let parsed: Option<Vec<Parsing>> = truths
        .iter()
        .zip(outcomes)
        .map(|(truth, outcome)| Some(Parsing::of(truth, outcome.templates.as_ref()?)))
        .collect();
    let Some(parsed) = parsed else { return Vec::new() };
    let of = |of: fn(&Parsing) -> f64| mean(&parsed.iter().map(|it| Some(of(it))).collect::<Vec<_>>());
    vec![
        Figure::new("GA, mean of systems", of(|it| it.ga)).at_least(0.95),
        Figure::new("FGA, mean of systems", of(|it| it.fga)).at_least(0.85),
        Figure::new("PA, mean of systems", of(|it| it.pa)).at_least(0.60),
        Figure::new("FTA, mean of systems", of(|it| it.fta)),
    ]
}
