//! The signals: one file each. A detector takes what is known of the source and of the template and tells what is odd.
//!
//! Detectors only collect [`Evidence`]; [`crate::score`] weighs it. None of them can fail, allocate on quiet records, or
//! see another source.

pub(crate) mod address;
pub(crate) mod block;
pub(crate) mod entropy;
pub(crate) mod error_rate;
pub(crate) mod levels;
pub(crate) mod novelty;
pub(crate) mod rate;
pub(crate) mod repeat;
pub(crate) mod scan;
pub(crate) mod sequence;
pub(crate) mod told;
pub(crate) mod value;

use crate::verdict::{Flag, Flags};

/// Records over which a source's shares are averaged.
const AVERAGED: u64 = 1_000;

/// The weight of one record in a share that was taken over so many, and at first over `assumed` more.
fn weight_of_one(records: u64, assumed: f32) -> f32 {
    // Of most records it is this: a division takes longer than everything else about a share.
    let settled = 1.0 / AVERAGED as f32;
    if records >= AVERAGED { settled } else { settled.max(1.0 / (records as f32 + assumed)) }
}

/// One thing that is odd about a record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Evidence {
    pub(crate) flag: Flag,
    /// What this evidence alone would score, 0..1.
    pub(crate) strength: f32,
    /// Half a sentence for the reason.
    pub(crate) words: String,
}

/// All that is odd about a record; empty for most, and then without an allocation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) flags: Flags,
    pub(crate) expected: Option<f64>,
    pub(crate) actual: Option<f64>,
}

impl Signals {
    pub(crate) fn clear(&mut self) {
        self.evidence.clear();
        self.flags = Flags::default();
        self.expected = None;
        self.actual = None;
    }

    pub(crate) fn add(&mut self, flag: Flag, strength: f32, words: String) {
        self.flags.insert(flag);
        self.evidence.push(Evidence { flag, strength: strength.clamp(0.0, 0.99), words });
    }

    /// Evidence with numbers; the first of a record goes into its tags.
    pub(crate) fn add_measured(
        &mut self,
        flag: Flag,
        strength: f32,
        expected: f64,
        actual: f64,
        words: String,
    ) {
        self.expected.get_or_insert(expected);
        self.actual.get_or_insert(actual);
        self.add(flag, strength, words);
    }

    /// Takes back what only says that a message is unfamiliar: the sidecar has judged it since.
    pub(crate) fn settle(&mut self) {
        for flag in [Flag::New, Flag::Rare] {
            self.flags.remove(flag);
            self.evidence.retain(|evidence| evidence.flag != flag);
        }
    }

    pub(crate) fn strength_of(&self, flag: Flag) -> f32 {
        self.evidence
            .iter()
            .filter(|evidence| evidence.flag == flag)
            .map(|evidence| evidence.strength)
            .fold(0.0, f32::max)
    }
}

/// A number for people: no decimals where they say nothing.
pub(crate) fn plain(number: f64) -> String {
    match number.abs() {
        n if n >= 100.0 || n.fract() == 0.0 => format!("{number:.0}"),
        n if n >= 1.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}
