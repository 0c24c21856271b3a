//! What every shell shares. Takes settings, files and records; gives tagged records and what changed on disk.
//!
//! A shell (native Fluent Bit, wasm, lua) speaks to its host and calls [`Plugin::record`] for each record. The files
//! that the sidecar and the user change under way come in by [`Watch::poll`], from whatever thread the host affords;
//! what was learned goes out to a [`StateFile`] and comes back at the next start.
//!
//! Must not know: hosts, threads, clocks, rules of detection.
#![forbid(unsafe_code)]
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

mod format;
mod host;
mod plugin;
mod rule_files;
mod state;
mod watch;

pub use format::{Format, Json, Msgpack};
pub use plugin::{Outcome, Plugin, RESERVED_TAG_PREFIX};
pub use rule_files::{
    MAX_RULE_BYTES, MAX_RULE_FILES, MAX_RULE_FOLDER_ENTRIES, RULE_ENDINGS, RuleFile, rule_files,
};
pub use state::{Keeping, StateFile};
pub use watch::{Changes, HEARTBEAT_TTL_NANOS, Watch};
