//! Figures as a table for people (Markdown, so that a README can hold it) or as JSON for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::{
    detector::Kind,
    harness::{Figure, Goal, Result},
};

/// What was measured on one folder.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Kind of data.
    pub set: &'static str,
    /// The folder's name.
    pub folder: String,
    /// Its size in words.
    pub about: String,
    /// One for each detector that ran.
    pub results: Vec<Result>,
}

/// Everything that one run measured.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the order of the sets.
    pub measured: Vec<Measured>,
    /// Kinds of data of which there was no folder, and folders of no known kind.
    pub skipped: Vec<String>,
    /// Folders with a file that could not be read, which is named.
    pub unreadable: Vec<String>,
}

impl Measured {
    fn of(&self, kind: Kind) -> Option<&Result> {
        self.results.iter().find(|result| result.detector == kind)
    }
}

impl Report {
    /// All tables, with what was skipped.
    pub fn table(&self) -> String {
        let mut text = format!("{}\n{}\n{}", self.goals(), self.details(), self.costs());
        for skipped in &self.skipped {
            let _ = writeln!(text, "\nskipped: {skipped}");
        }
        for unreadable in &self.unreadable {
            let _ = writeln!(text, "\nNOT MEASURED: {unreadable}");
        }
        text
    }

    /// Figures that have a goal: ours with its interval, and the best of the other detectors.
    pub fn goals(&self) -> String {
        let mut rows = vec![row(["data", "figure", "goal", "oddline [95 %]", "best of the others"])];
        for measured in &self.measured {
            let ours = measured.results.iter().find(|result| result.detector == Kind::Oddline);
            for figure in ours.into_iter().flat_map(|ours| &ours.figures) {
                let Some(wanted) = figure.goal else { continue };
                let others = measured.results.iter().filter(|result| !result.detector.is_ours());
                let values = others.filter_map(|result| {
                    let same = result.figures.iter().find(|it| it.name == figure.name)?;
                    Some((result.detector, same.estimate.value?))
                });
                let better = |left: &(Kind, f64), right: &(Kind, f64)| match wanted {
                    Goal::AtLeast(_) => left.1.total_cmp(&right.1),
                    Goal::AtMost(_) => right.1.total_cmp(&left.1),
                };
                let best =
                    values.max_by(better).map(|(kind, value)| format!("{} ({})", number(value), kind.name()));
                let ours = value(figure, Kind::Oddline);
                let best = best.unwrap_or_else(|| "-".into());
                rows.push(row([&measured.folder, &figure.name, &goal(wanted), &ours, &best]));
            }
        }
        markdown(&rows)
    }

    /// Every figure of every detector.
    pub fn details(&self) -> String {
        let kinds = self.kinds();
        let mut rows = vec![row(["data", "figure", "goal"])];
        rows[0].extend(kinds.iter().map(|kind| kind.name().to_owned()));
        for measured in &self.measured {
            for figure in names(measured) {
                let cell = |kind: &Kind| {
                    let same = measured.of(*kind)?.figures.iter().find(|it| it.name == figure.name)?;
                    Some(value(same, *kind))
                };
                let mut cells =
                    row([&measured.folder, &figure.name, &figure.goal.map(goal).unwrap_or_default()]);
                cells.extend(kinds.iter().map(|kind| cell(kind).unwrap_or_else(|| "-".into())));
                rows.push(cells);
            }
        }
        markdown(&rows)
    }

    /// Lines a second, learning and setting up included, with the seconds that ours took.
    pub fn costs(&self) -> String {
        let kinds = self.kinds();
        let mut rows = vec![row(["data", "units", "oddline, s"])];
        rows[0].extend(kinds.iter().map(|kind| format!("{}, lines/s", kind.name())));
        for measured in &self.measured {
            let seconds = measured.of(Kind::Oddline).map_or_else(|| "-".into(), |ours| number(ours.seconds));
            let mut cells = row([&measured.folder, &measured.about, &seconds]);
            let speed = |result: &Result| thousands(result.lines as f64 / result.seconds);
            cells.extend(kinds.iter().map(|kind| measured.of(*kind).map_or_else(|| "-".into(), speed)));
            rows.push(cells);
        }
        markdown(&rows)
    }

    fn kinds(&self) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| self.results().any(|it| it.detector == *kind)).collect()
    }

    fn results(&self) -> impl Iterator<Item = &Result> {
        self.measured.iter().flat_map(|measured| &measured.results)
    }

    /// One JSON object; the README of this crate names its fields.
    pub fn json(&self) -> serde_json::Value {
        let sets = self.measured.iter().map(|measured| {
            let detectors = measured.results.iter().map(|result| Detector {
                name: result.detector.name(),
                lines: result.lines,
                seconds: result.seconds,
                lines_per_second: result.lines as f64 / result.seconds,
                figures: result.figures.iter().map(Measure::of).collect(),
            });
            Set {
                set: measured.set,
                folder: &measured.folder,
                about: &measured.about,
                detectors: detectors.collect(),
            }
        });
        serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "sets": sets.collect::<Vec<_>>(),
            "skipped": self.skipped,
            "unreadable": self.unreadable,
        })
    }
}

#[derive(Serialize)]
struct Set<'a> {
    set: &'a str,
    folder: &'a str,
    about: &'a str,
    detectors: Vec<Detector<'a>>,
}

#[derive(Serialize)]
struct Detector<'a> {
    name: &'a str,
    lines: u64,
    seconds: f64,
    lines_per_second: f64,
    figures: Vec<Measure<'a>>,
}

#[derive(Serialize)]
struct Measure<'a> {
    name: &'a str,
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    units: usize,
    at_least: Option<f64>,
    at_most: Option<f64>,
    met: Option<bool>,
}

impl Measure<'_> {
    fn of(figure: &Figure) -> Measure<'_> {
        let (at_least, at_most) = match figure.goal {
            Some(Goal::AtLeast(goal)) => (Some(goal), None),
            Some(Goal::AtMost(goal)) => (None, Some(goal)),
            None => (None, None),
        };
        Measure {
            name: &figure.name,
            value: figure.estimate.value,
            low: figure.estimate.interval.map(|(low, _)| low),
            high: figure.estimate.interval.map(|(_, high)| high),
            units: figure.estimate.units,
            at_least,
            at_most,
            met: figure.goal.zip(figure.estimate.value).map(|(goal, value)| goal.is_met(value)),
        }
    }
}

/// Every figure that some detector has, in order of first mention.
fn names(measured: &Measured) -> Vec<&Figure> {
    let mut figures: Vec<&Figure> = Vec::new();
    for figure in measured.results.iter().flat_map(|result| &result.figures) {
        if !figures.iter().any(|it| it.name == figure.name) {
            figures.push(figure);
        }
    }
    figures
}

/// A value; of ours with the interval, and in bold where the goal is missed.
fn value(figure: &Figure, kind: Kind) -> String {
    let Some(value) = figure.estimate.value else { return "-".into() };
    if kind != Kind::Oddline {
        return number(value);
    }
    let missed = figure.goal.is_some_and(|goal| !goal.is_met(value));
    let text = if missed { format!("**{}**", number(value)) } else { number(value) };
    match figure.estimate.interval {
        Some((low, high)) => format!("{text} [{}, {}]", number(low), number(high)),
        None => text,
    }
}

fn goal(goal: Goal) -> String {
    match goal {
        Goal::AtLeast(least) => format!(">= {}", number(least)),
        Goal::AtMost(most) => format!("<= {}", number(most)),
    }
}

/// Three digits after the point for shares, fewer the larger the number.
fn number(value: f64) -> String {
    // No minus before a nought.
    let value = value + 0.0;
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v > 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn thousands(value: f64) -> String {
    if value >= 1e4 { format!("{:.0}k", value / 1e3) } else { format!("{value:.0}") }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Rows as a Markdown table with even columns; the first is the header.
fn markdown(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if at == 0 {
            for width in &widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    text
}
