//! The engine as a WebAssembly component, for whatever host runs wasm: the world `detector` of `wit/`, and no imports.
//!
//! ```text
//! exports.rs   the world's functions, and the one engine behind them
//! options.rs   options as text → an engine
//! entry.rs     the world's record → the engine's
//! verdict.rs   the engine's verdict → the world's
//! ```
//!
//! Must not hold a detection rule, and must not know files, clocks or any host.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod entry;
mod exports;
mod options;
mod verdict;

/// What `wit/` says, in Rust.
#[expect(unsafe_code, reason = "generated: the functions that a host calls pass raw memory")]
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::undocumented_unsafe_blocks,
    clippy::mem_forget,
    clippy::allow_attributes_without_reason,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    unused_qualifications,
    reason = "generated"
)]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "detector", pub_export_macro: true });
    export!(Component with_types_in self);

    /// What the world's functions are implemented on.
    #[derive(Debug)]
    pub(crate) struct Component;
}
