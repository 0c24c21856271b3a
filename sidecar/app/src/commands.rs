//! The commands, one file each, and what they share: the offline judge, reading lines, printing verdicts.

pub mod check;
pub mod demo;
#[cfg(feature = "detectors")]
pub mod detectors;
pub mod learn;
pub mod lines;
pub mod offline;
pub mod print;
mod recent;
pub mod rules;
pub mod run;
pub mod scan;
pub mod server;
pub mod time;
pub mod vrl;

/// What the caller can put right: a name that does not exist, options that do not fit together. Exit code 64.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);
