//! Questionable records in, the sidecar's verdicts out.
#![forbid(unsafe_code)]

pub mod ports;
