//! Pairs of a passing and a failing build log: which lines of the failing one matter. `<case>.pass.log` is the baseline,
//! `<case>.fail.log` is judged, `<case>.labels.csv` has for each line of note `E` (error) or `C` (context, left out) by
//! each annotator; the first annotator's word counts.

use std::collections::HashMap;

use crate::{
    bootstrap::{estimate, mean},
    detector::Event,
    harness::{Bench, Case, Figure, Outcome},
    input::{self, Folder},
    metrics::{Counts, Ranking},
};

/// Part of the lines that someone would read first.
const TOP: f64 = 0.01;

pub(super) fn recognises(folder: &Folder) -> bool {
    !folder.ending(".pass.log").is_empty() && !folder.ending(".labels.csv").is_empty()
}

pub(super) fn load(folder: &Folder) -> anyhow::Result<Bench> {
    let (mut cases, mut labels) = (Vec::new(), Vec::new());
    for (case, pass) in folder.ending(".pass.log") {
        let fail = folder.needed(&format!("{case}.fail.log"))?;
        let rows: Vec<Vec<String>> = input::table(folder.needed(&format!("{case}.labels.csv"))?)?;
        let by_line: HashMap<usize, String> = rows
            .into_iter()
            .filter_map(|row| Some((row.first()?.trim().parse().ok()?, row.get(1)?.clone())))
            .collect();
        let events: Vec<Event> = input::lines(fail)?.into_iter().map(Event::line).collect();
        // `None`: context, which counts neither way.
        let odd: Vec<Option<bool>> = (1..=events.len())
            .map(|line| match by_line.get(&line).map(String::as_str) {
                Some("E") => Some(true),
                Some("C") => None,
                _ => Some(false),
            })
            .collect();
        labels.push(odd);
        let baseline = Some(input::lines(pass)?.into_iter().map(Event::line).collect());
        cases.push(Case { baseline, ..Case::new(case, events) });
    }
    let about = format!("{} build logs", cases.len());
    Ok(Bench { about, cases, measure: Box::new(move |outcomes| measure(&labels, outcomes)) })
}

fn measure(labels: &[Vec<Option<bool>>], outcomes: &[Outcome]) -> Vec<Figure> {
    let scored = || {
        labels.iter().zip(outcomes).map(|(labels, outcome)| {
            labels.iter().zip(&outcome.answers).filter_map(|(odd, answer)| Some(((*odd)?, answer)))
        })
    };
    let counts: Vec<Counts> =
        scored().map(|lines| Counts::of(lines.map(|(odd, answer)| (odd, answer.is_flagged())))).collect();
    let top: Vec<Option<f64>> = scored()
        .map(|lines| {
            Ranking::new(&lines.map(|(odd, answer)| (odd, answer.score)).collect::<Vec<_>>())
                .attained_at_top(TOP)
        })
        .collect();
    let macro_of = |of: fn(&Counts) -> Option<f64>| mean(&counts.iter().map(of).collect::<Vec<_>>());
    let micro =
        |of: fn(&Counts) -> Option<f64>| estimate(counts.len(), |weights| of(&Counts::sum(&counts, weights)));
    vec![
        Figure::new("lines, micro F1", micro(Counts::f1)).at_least(0.93),
        Figure::new("lines, micro precision", micro(Counts::precision)),
        Figure::new("lines, micro recall", micro(Counts::recall)),
        Figure::new("lines, macro F1", macro_of(Counts::f1)).at_least(0.80),
        Figure::new("lines, macro precision", macro_of(Counts::precision)),
        Figure::new("lines, macro recall", macro_of(Counts::recall)),
        Figure::new("recall in top 1 % of lines, of attainable", mean(&top)).at_least(0.80),
    ]
}
