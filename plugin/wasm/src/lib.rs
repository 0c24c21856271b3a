//! The filter for Fluent Bit's `filter_wasm`: takes one record as JSON, gives it back with tags.
//!
//! ```text
//! exports.rs  what the host calls, raw memory, WASI; only in a wasm build
//! config.rs   oddline.toml in one of the host's accessible_paths
//! filter.rs   a record in, a record out
//! ```
//!
//! The host deletes a record, silently, when the module traps or answers with nothing, and a module that panicked cannot
//! be trusted again. So there is no panic path, and in doubt the host gets its own record back. Must not hold a
//! detection rule.
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

pub mod config;
#[cfg(target_os = "wasi")]
pub mod exports;
pub mod filter;
