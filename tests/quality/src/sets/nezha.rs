//! Log records of many services with the time of each, and faults with start and end: `faults.json` and `*.jsonl` with
//! `ts`, `pod`, `line`. Every pod is a source. A fault is found if a line inside its time is flagged; a flagged line
//! outside all of them is a false alert.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Deserialize;

use crate::{
    bootstrap::{mean, share},
    detector::Event,
    harness::{Bench, Case, Figure, Outcome},
    input::{self, Folder},
};

const MINUTE: i64 = 60_000_000_000;

#[derive(Deserialize)]
struct Row {
    ts: String,
    pod: String,
    line: String,
}

#[derive(Deserialize)]
struct Fault {
    start: String,
    end: String,
}

pub(super) fn recognises(folder: &Folder) -> bool {
    folder.file("faults.json").is_some() && !folder.ending(".jsonl").is_empty()
}

pub(super) fn load(folder: &Folder) -> anyhow::Result<Bench> {
    let path = folder.needed("faults.json")?;
    let text = input::lines(path)?.join(&b'\n');
    let faults: Vec<Fault> = serde_json::from_slice(&text).with_context(|| format!("{}", path.display()))?;
    let time = |text: &str| input::timestamp(text.as_bytes()).with_context(|| format!("`{text}` is no time"));
    let faults: Vec<(i64, i64)> = faults
        .iter()
        .map(|fault| Ok((time(&fault.start)?, time(&fault.end)?)))
        .collect::<anyhow::Result<_>>()?;
    let mut events = Vec::new();
    for (_, path) in folder.ending(".jsonl") {
        for row in input::json_lines::<Row>(path)? {
            let at = time(&row.ts).with_context(|| format!("{}", path.display()))?;
            events.push((at, Event { source: row.pod.into(), at: Some(at), ..Event::line(row.line) }));
        }
    }
    events.sort_by_key(|(at, _)| *at);
    let times: Vec<i64> = events.iter().map(|(at, _)| *at).collect();
    let about = format!("{} lines, {} faults", times.len(), faults.len());
    let case = Case::new(folder.name.as_str(), events.into_iter().map(|(_, event)| event).collect());
    Ok(Bench {
        about,
        cases: vec![case],
        measure: Box::new(move |outcomes| measure(&faults, &times, outcomes)),
    })
}

fn measure(faults: &[(i64, i64)], times: &[i64], outcomes: &[Outcome]) -> Vec<Figure> {
    let flagged: Vec<i64> = times
        .iter()
        .zip(&outcomes[0].answers)
        .filter(|(_, answer)| answer.is_flagged())
        .map(|(at, _)| *at)
        .collect();
    let found: Vec<bool> =
        faults.iter().map(|(start, end)| flagged.iter().any(|at| (start..=end).contains(&at))).collect();
    // Minutes with lines that no fault touches; those without lines say nothing.
    let is_normal = |minute: i64| {
        !faults.iter().any(|(start, end)| *start < (minute + 1) * MINUTE && *end >= minute * MINUTE)
    };
    let mut minutes: BTreeMap<i64, f64> = times
        .iter()
        .map(|at| at / MINUTE)
        .filter(|minute| is_normal(*minute))
        .map(|minute| (minute, 0.0))
        .collect();
    for at in flagged {
        if let Some(alerts) = minutes.get_mut(&(at / MINUTE)) {
            *alerts += 1.0;
        }
    }
    let alerts: Vec<Option<f64>> = minutes.values().map(|alerts| Some(*alerts)).collect();
    let noisy: Vec<bool> = minutes.values().map(|alerts| *alerts > 0.0).collect();
    vec![
        Figure::new("faults found", share(&found)).at_least(0.80),
        Figure::new("false alerts per normal minute", mean(&alerts)).at_most(0.2),
        Figure::new("normal minutes with a false alert", share(&noisy)),
    ]
}
