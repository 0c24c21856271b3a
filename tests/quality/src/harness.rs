//! Cases through detectors: each case has a fresh detector, learns its baseline if it has one, and is judged in order.

use std::{sync::Arc, time::Instant};

use crate::{
    bootstrap::Estimate,
    detector::{Answer, Event, Kind},
};

/// One stream to judge.
#[derive(Debug)]
pub struct Case {
    /// What the stream is, for people.
    pub name: String,
    /// Learned before, in order, where there is a baseline.
    pub baseline: Option<Arc<[Event]>>,
    /// Judged in order.
    pub events: Arc<[Event]>,
    /// Whether the templates of the lines are asked for in the end.
    pub parsed: bool,
}

/// What a detector made of a case.
#[derive(Debug)]
pub struct Outcome {
    /// One for each event.
    pub answers: Vec<Answer>,
    /// Template and its text for each event, if the case asked and the detector mines templates.
    pub templates: Option<Vec<(u64, String)>>,
}

/// Figures from outcomes in the order of the cases.
pub type Measure = Box<dyn Fn(&[Outcome]) -> Vec<Figure>>;

/// A set that is ready to run: cases, and what to make of the outcomes. The labels live in `measure` and nowhere else.
#[expect(missing_debug_implementations, reason = "holds a closure")]
pub struct Bench {
    /// What the set's units are, for people: `18 build logs`.
    pub about: String,
    /// The streams.
    pub cases: Vec<Case>,
    /// Figures from outcomes in the order of the cases. A figure that a detector cannot have is left out.
    pub measure: Measure,
}

/// One measured figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What is measured.
    pub name: String,
    /// The value with its interval.
    pub estimate: Estimate,
    /// What it should be.
    pub goal: Option<Goal>,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Case {
    /// A stream without a baseline.
    pub fn new(name: impl Into<String>, events: Vec<Event>) -> Case {
        Case { name: name.into(), baseline: None, events: events.into(), parsed: false }
    }
}

impl Goal {
    /// Whether a value reaches it.
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Goal::AtLeast(least) => value >= least,
            Goal::AtMost(most) => value <= most,
        }
    }
}

impl Figure {
    /// A figure without a goal.
    pub fn new(name: impl Into<String>, estimate: Estimate) -> Figure {
        Figure { name: name.into(), estimate, goal: None }
    }

    /// The same, wanted at this or more.
    #[must_use]
    pub fn at_least(self, goal: f64) -> Figure {
        Figure { goal: Some(Goal::AtLeast(goal)), ..self }
    }

    /// The same, wanted at this or less.
    #[must_use]
    pub fn at_most(self, goal: f64) -> Figure {
        Figure { goal: Some(Goal::AtMost(goal)), ..self }
    }
}

/// What one detector reached on one set.
#[derive(Clone, Debug)]
pub struct Result {
    /// The detector.
    pub detector: Kind,
    /// Its figures.
    pub figures: Vec<Figure>,
    /// Lines learned and judged.
    pub lines: u64,
    /// Seconds in the detector, setting up included.
    pub seconds: f64,
}

/// Runs one detector over a set, and shows each case with what was made of it to `witness`.
///
/// # Errors
/// If the detector or the witness fails, naming the case.
pub fn run(
    bench: &Bench,
    detector: Kind,
    mut witness: impl FnMut(&Case, &Outcome) -> anyhow::Result<()>,
) -> anyhow::Result<Result> {
    let mut outcomes = Vec::with_capacity(bench.cases.len());
    let (mut lines, mut seconds) = (0, 0.0);
    for case in &bench.cases {
        let named = |error: anyhow::Error| error.context(format!("{}: {}", detector.name(), case.name));
        let started = Instant::now();
        let outcome = judge(case, detector).map_err(named)?;
        seconds += started.elapsed().as_secs_f64();
        lines += (case.events.len() + case.baseline.as_ref().map_or(0, |baseline| baseline.len())) as u64;
        witness(case, &outcome).map_err(named)?;
        outcomes.push(outcome);
    }
    Ok(Result { detector, figures: (bench.measure)(&outcomes), lines, seconds })
}

fn judge(case: &Case, detector: Kind) -> anyhow::Result<Outcome> {
    let mut running = detector.build(case.baseline.is_some())?;
    if let Some(baseline) = &case.baseline {
        running.learn(baseline)?;
    }
    let answers = running.judge(&case.events)?;
    anyhow::ensure!(
        answers.len() == case.events.len(),
        "{} answers to {} events",
        answers.len(),
        case.events.len()
    );
    let templates = if case.parsed {
        answers.iter().map(|answer| running.template(answer.template)).collect()
    } else {
        None
    };
    Ok(Outcome { answers, templates })
}
