//! Cases of a few lines each: the lines go in, and an alert is expected or none is. `alerts` lists those expected, each with
//! the sources (addresses) that it should name. Every case meets a fresh detector.

use serde::Deserialize;

use crate::{
    bootstrap::share,
    detector::Event,
    harness::{Bench, Case, Figure, Outcome},
    input::{self, Folder},
};

#[derive(Deserialize)]
struct Row {
    case: String,
    lines: Vec<String>,
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    #[serde(default)]
    sources: Vec<String>,
}

pub(super) fn recognises(folder: &Folder) -> bool {
    let keys = folder.row_keys();
    ["case", "lines", "alerts"].iter().all(|key| keys.iter().any(|it| it == key))
}

pub(super) fn load(folder: &Folder) -> anyhow::Result<Bench> {
    let (mut cases, mut rows) = (Vec::new(), Vec::new());
    for (_, path) in folder.ending(".jsonl") {
        for row in input::json_lines::<Row>(path)? {
            let events = row.lines.iter().map(|line| Event::line(line.as_str())).collect();
            cases.push(Case::new(row.case.as_str(), events));
            rows.push(row);
        }
    }
    let about = format!(
        "{} cases, an alert is due in {}",
        rows.len(),
        rows.iter().filter(|row| !row.alerts.is_empty()).count()
    );
    Ok(Bench { about, cases, measure: Box::new(move |outcomes| measure(&rows, outcomes)) })
}

fn measure(rows: &[Row], outcomes: &[Outcome]) -> Vec<Figure> {
    let (mut right, mut raised, mut quiet, mut named) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (row, outcome) in rows.iter().zip(outcomes) {
        let alerting = || row.lines.iter().zip(&outcome.answers).filter(|(_, answer)| answer.is_alert());
        let is_alert = alerting().next().is_some();
        let is_due = !row.alerts.is_empty();
        right.push(is_alert == is_due);
        (if is_due { &mut raised } else { &mut quiet }).push(is_alert == is_due);
        let sources: Vec<&String> = row.alerts.iter().flat_map(|alert| &alert.sources).collect();
        if is_due && !sources.is_empty() {
            named.push(
                alerting().any(|(line, _)| sources.iter().any(|source| line.contains(source.as_str()))),
            );
        }
    }
    vec![
        Figure::new("cases right", share(&right)).at_least(0.85),
        Figure::new("alert raised where due", share(&raised)),
        Figure::new("quiet where none is due", share(&quiet)),
        Figure::new("an alerting line names the source", share(&named)),
    ]
}
