//! What must hold for any bytes at all: takes bytes, panics if something does not.
//!
//! One module for each border that hostile input crosses. Where there is a second opinion (rmpv, serde_json, `regex`, prost,
//! the other notation of the same record) the check asks it. The targets in `tests/fuzz` are glue around [`ALL`]; this
//! package's own test runs the same checks on their seeds, on what is left of them after a few changes, and on every
//! input that once broke something. A check depends on its input alone, so that what fails once fails again.
//!
//! The first byte of an input says how the check is set up (options, format, kind of file); the rest is what comes in.
#![forbid(unsafe_code)]
#![expect(clippy::missing_panics_doc, reason = "to panic is what a check is for")]

pub mod chunk;
pub mod event;
pub mod finder;
pub mod frame;
pub mod json;
pub mod mask;
pub mod memo;
#[path = "../../../plugin/fluentbit/src/filter.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the native shell as it is, without the border to C that no test can link"
)]
mod native;
pub mod rules;
pub mod seeds;
mod setup;
pub mod state;
mod tags;
mod value;
#[path = "../../../plugin/codec/tests/vector_event/mod.rs"]
mod vector_event;
pub mod when;

/// A check of arbitrary bytes.
pub type Check = fn(&[u8]);

/// Every check by the name of its target.
pub const ALL: [(&str, Check); 10] = [
    ("chunk", chunk::check),
    ("event", event::check),
    ("finder", finder::check),
    ("frame", frame::check),
    ("json", json::check),
    ("mask", mask::check),
    ("memo", memo::check),
    ("rules", rules::check),
    ("state", state::check),
    ("when", when::check),
];
