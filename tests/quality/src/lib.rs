//! How well Oddline detects, measured the same way every time on labelled logs, beside simpler detectors.
//!
//! * Takes a folder of labelled data, recognised by the shape of its files, and detectors behind one interface.
//! * Gives figures with bootstrap intervals, goals, run time and lines a second, as a table or as JSON.
//! * Must not know what a detector does inside, nor any data set by the names of its files; labels stay in `sets` and
//!   never reach a detector.
//!
//! The way of a figure: [`input`] reads → [`sets`] turns a folder into cases and labels → [`detector`]s answer →
//! [`metrics`] and [`bootstrap`] measure → [`report`] prints.
#![forbid(unsafe_code)]

pub mod bootstrap;
pub mod detector;
mod detectors;
pub mod harness;
pub mod input;
pub mod metrics;
pub mod readme;
pub mod report;
pub mod sets;
pub mod synthetic;
