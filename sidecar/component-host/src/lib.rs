//! Runs detectors of an operator's own, written in any language and compiled to WebAssembly components of the world in
//! `wit/`: record in, verdict out, no imports.
//!
//! ```text
//! limits.rs     every bound, in one place
//! load.rs       file → checked, compiled component, or why not
//! sandbox.rs    one instance with its memory, stack and processor time
//! convert.rs    our records and verdicts ↔ the world's; what a guest says is not believed
//! detector.rs   a component that can be asked, and starts again after a fault
//! faults.rs     how often it may fail
//! keep.rs       what it learned, over faults and restarts
//! worker.rs     a thread per detector, with a bounded queue
//! host.rs       all of them, behind the port of the analysis
//! ticker.rs     the clock by which a guest that does not end is stopped
//! ```
//!
//! A component cannot delay, lose or alter a record: what it does not answer in time, well-formed and within its memory
//! counts as nothing said, and one that fails again and again is turned off. Must not know ways in, HTTP or
//! configuration files.
#![forbid(unsafe_code)]

mod convert;
mod detector;
mod faults;
mod host;
mod keep;
pub mod limits;
mod load;
mod sandbox;
mod ticker;
mod worker;

pub use detector::{Detector, Spec};
pub use faults::FaultLimit;
pub use host::{Host, HostSettings};
pub use load::{Component, Refused};
pub use sandbox::{Fault, Runtime};

/// What `wit/` says, in Rust.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
mod bindings {
    wasmtime::component::bindgen!({ path: "../../wit", world: "detector" });
}
