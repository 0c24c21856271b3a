//! What people have to read on ordinary days: lines flagged medium or above, and lines that rules alone lift to high, on
//! unlabelled logs after warm-up. A file named after an attack is measured the other way: how much of it is noticed.

use oddline_engine::Level;

use crate::{
    bootstrap::estimate,
    detector::{Answer, Event},
    harness::{Bench, Case, Figure, Outcome},
    input::{self, Folder},
};

/// Lines at the head of a file that are not counted.
const WARM_UP: usize = 500;
/// Lines of a block: the unit of the bootstrap, because neighbours are alike.
const BLOCK: usize = 100;

pub(super) fn has_access_logs(folder: &Folder) -> bool {
    folder.file("runs.csv").is_none()
        && folder.ending(".csv").is_empty()
        && folder
            .ending(".log")
            .iter()
            .any(|(name, _)| name.contains("unlabelled") || name.starts_with("attack"))
}

/// Systems whose lines are there as they were written, beside what is known of their templates.
pub(super) fn has_systems(folder: &Folder) -> bool {
    super::parsing::recognises(folder) && !folder.ending(".log").is_empty()
}

pub(super) fn load_access_logs(folder: &Folder) -> anyhow::Result<Bench> {
    load(folder.ending(".log"), "access logs")
}

pub(super) fn load_systems(folder: &Folder) -> anyhow::Result<Bench> {
    load(folder.ending(".log"), "systems")
}

fn load(files: Vec<(String, &std::path::Path)>, unit: &str) -> anyhow::Result<Bench> {
    let mut cases = Vec::new();
    for (name, path) in files {
        cases.push(Case::new(name, input::lines(path)?.into_iter().map(Event::line).collect()));
    }
    anyhow::ensure!(!cases.is_empty(), "no .log files");
    let attacks: Vec<bool> = cases.iter().map(|case| case.name.contains("attack")).collect();
    Ok(Bench {
        about: format!("{} {unit}", cases.len()),
        cases,
        measure: Box::new(move |outcomes| measure(&attacks, outcomes)),
    })
}

fn measure(attacks: &[bool], outcomes: &[Outcome]) -> Vec<Figure> {
    let of = |attack: bool, holds: fn(&Answer) -> bool| -> Vec<(f64, f64)> {
        let files = attacks.iter().zip(outcomes).filter(|(is_attack, _)| **is_attack == attack);
        let counted = files.map(|(_, outcome)| {
            let skipped = if attack { 0 } else { WARM_UP.min(outcome.answers.len()) };
            &outcome.answers[skipped..]
        });
        let blocks = counted.flat_map(|answers| answers.chunks(BLOCK));
        blocks
            .map(|block| (block.iter().filter(|answer| holds(answer)).count() as f64, block.len() as f64))
            .collect()
    };
    let per_line = |blocks: Vec<(f64, f64)>, scale: f64| {
        estimate(blocks.len(), move |weights| {
            let sum = |of: fn(&(f64, f64)) -> f64| {
                blocks.iter().zip(weights).map(|(it, weight)| of(it) * weight).sum::<f64>()
            };
            crate::metrics::ratio(sum(|it| it.0) * scale, sum(|it| it.1))
        })
    };
    let mut figures = vec![
        Figure::new("alerts per 10k ordinary lines", per_line(of(false, Answer::is_alert), 1e4)).at_most(5.0),
        Figure::new("ordinary lines high by rules, %", per_line(of(false, high_by_rule), 100.0)).at_most(1.0),
    ];
    if attacks.contains(&true) {
        figures.push(Figure::new("attack lines alerted, %", per_line(of(true, Answer::is_alert), 100.0)));
    }
    figures.retain(|figure| figure.estimate.value.is_some());
    figures
}

fn high_by_rule(answer: &Answer) -> bool {
    Level::of(answer.rule) >= Level::High
}
