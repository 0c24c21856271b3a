//! The detectors behind [`crate::detector::Detector`]: ours in four variants, and what it has to beat.

pub(crate) mod drain;
pub(crate) mod forest;
pub(crate) mod lines;
pub(crate) mod shipped;
