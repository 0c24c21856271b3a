//! What is compared: a detector learns a baseline, then judges events in order. Every detector sees the same events and
//! no label.

use std::sync::Arc;

use oddline_engine::Level;

use crate::detectors::{drain::Drain, forest::Forest, lines::ErrorLine, lines::MaskedLine, shipped::Shipped};

/// One log line as a host would hand it over.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What wrote it: the tag.
    pub source: Arc<str>,
    /// The line, or a JSON object if `structured`.
    pub line: Vec<u8>,
    /// Nanoseconds, where the data says when it came; else a millisecond after the one before.
    pub at: Option<i64>,
    /// Whether the host has parsed it into fields.
    pub structured: bool,
}

impl Event {
    /// A line of a file that says nothing of its source or time.
    pub fn line(line: impl Into<Vec<u8>>) -> Event {
        static FILE: std::sync::OnceLock<Arc<str>> = std::sync::OnceLock::new();
        let source = FILE.get_or_init(|| Arc::from("scan")).clone();
        Event { source, line: line.into(), at: None, structured: false }
    }
}

/// What a detector says of one event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// For ranking: higher is odder, 0..1.
    pub score: f32,
    /// For people: `low` is flagged, `medium` would alert.
    pub level: Level,
    /// What rules alone would score, 0..1; 0 where there are none.
    pub rule: f32,
    /// The template the line was put under, if the detector mines templates.
    pub template: u64,
    /// Why, if the detector says why.
    pub reason: Option<String>,
}

impl Answer {
    /// The answer of a detector that only knows yes and no: whoever hears it is alerted.
    pub fn yes(odd: bool) -> Answer {
        Answer {
            score: f32::from(u8::from(odd)),
            level: if odd { Level::High } else { Level::None },
            ..Answer::default()
        }
    }

    /// Flagged for whoever looks: low or above.
    pub fn is_flagged(&self) -> bool {
        self.level >= Level::Low
    }

    /// A person is alerted: medium or above.
    pub fn is_alert(&self) -> bool {
        self.level >= Level::Medium
    }
}

/// The one interface.
pub trait Detector {
    /// Takes events as the baseline: unlabelled, and perhaps not all normal.
    ///
    /// # Errors
    /// If the detector itself fails.
    fn learn(&mut self, events: &[Event]) -> anyhow::Result<()>;

    /// Judges events in order, each before anything learns from it.
    ///
    /// # Errors
    /// If the detector itself fails.
    fn judge(&mut self, events: &[Event]) -> anyhow::Result<Vec<Answer>>;

    /// The template that an answer's `template` has become by now, and its text; `None` if it mines none.
    fn template(&mut self, _id: u64) -> Option<(u64, String)> {
        None
    }
}

/// The detectors, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Kind {
    /// All of Oddline, as it ships.
    Oddline,
    /// Its rules alone.
    Rules,
    /// Its statistics and novelty alone.
    Statistics,
    /// Distance in meaning from the baseline alone.
    Semantics,
    /// A line that calls itself an error.
    ErrorLine,
    /// A line whose masked text was never seen.
    MaskedLine,
    /// A line that opens a new template in the `drain3` crate.
    Drain3,
    /// Isolation forest over windows of masked lines.
    Forest,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 8] = [
        Kind::Oddline,
        Kind::Rules,
        Kind::Statistics,
        Kind::Semantics,
        Kind::ErrorLine,
        Kind::MaskedLine,
        Kind::Drain3,
        Kind::Forest,
    ];

    /// The name in tables and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Oddline => "oddline",
            Kind::Rules => "rules only",
            Kind::Statistics => "statistics only",
            Kind::Semantics => "semantics only",
            Kind::ErrorLine => "error line",
            Kind::MaskedLine => "masked line",
            Kind::Drain3 => "drain3",
            Kind::Forest => "isolation forest",
        }
    }

    /// Oddline or a part of it.
    pub fn is_ours(self) -> bool {
        matches!(self, Kind::Oddline | Kind::Rules | Kind::Statistics | Kind::Semantics)
    }

    /// A fresh detector; `baseline`: whether [`Detector::learn`] will be called.
    ///
    /// # Errors
    /// If it cannot be set up.
    pub fn build(self, baseline: bool) -> anyhow::Result<Box<dyn Detector>> {
        Ok(match self {
            Kind::Oddline | Kind::Rules | Kind::Statistics | Kind::Semantics => {
                Box::new(Shipped::new(self, baseline)?)
            }
            Kind::ErrorLine => Box::new(ErrorLine),
            Kind::MaskedLine => Box::new(MaskedLine::new(baseline)),
            Kind::Drain3 => Box::new(Drain::new(baseline)),
            Kind::Forest => Box::new(Forest::new(baseline)),
        })
    }
}
