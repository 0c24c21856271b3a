//! The pure core of Oddline: a log record and a time in, a [`Verdict`] out.
//!
//! *Takes* a borrowed [`Record`] (message, severity, tag, labels) and the time. *Gives* a score, a level, the signals that
//! fired and the reason in words. *Must not know* files, sockets, clocks, environment, threads, randomness or any host:
//! the same settings, state, record and time give the same verdict in every shell, and nothing here can fail but the
//! construction of settings, rules, advice and snapshots.
//!
//! The way of a record is the list of files: `record` → `pick` (which fields matter) → [`mask`] → `template` →
//! `detect/*` (one signal each) and [`rules`] → `score` → `verdict`. `memo` shortens it for what came before but for its
//! numbers. [`advice`] is what the sidecar knows; `summary`
//! is what it is told. What not every record needs is `#[cold]` or never inlined: an interpreter of the wasm filter pays at each call
//! for all that a function holds. `memory` bounds every table; [`Options`] become [`Settings`] in one place.
//!
//! ```
//! use std::sync::Arc;
//! use oddline_engine::{Engine, Level, Record, Settings, UnixNanos, rules::RuleSet};
//!
//! let mut engine = Engine::new(Settings::default(), Arc::new(RuleSet::builtin()));
//! let record = Record::from_line(b"app", b"CRITICAL: Failed to connect to primary database after 5 retries.");
//! let verdict = engine.observe(&record, UnixNanos(0));
//! assert_eq!(verdict.level, Level::Critical);
//! assert!(verdict.reason.unwrap().contains("rule DB_CONNECT_FAILED"));
//! ```

#![forbid(unsafe_code)]
#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this runs inside someone else's process: a panic costs their logs"
)]

pub mod advice;
mod aliases;
mod ansi;
mod detect;
mod engine;
pub mod mask;
mod memo;
mod memory;
mod options;
mod pick;
mod plain;
mod record;
pub mod rules;
pub mod score;
mod settings;
mod snapshot;
mod source;
mod summary;
mod template;
mod verdict;

pub use advice::{Advice, AdviceError, AdviceTable, Class, TemplateAdvice};
pub use detect::rate::{Odd, Rate};
pub use engine::{Engine, UnixNanos};
pub use options::{Annotate, Detail, Kind, Mode, OPTIONS, OptionError, OptionSpec, Options, Profile};
pub use pick::{Picker, Picking};
pub use plain::plain;
pub use record::{Body, Fields, MAX_ITEMS, Record, Scalar, Severity, Visitor};
pub use settings::{MAX_NODE_BYTES, OptionErrors, Settings};
pub use snapshot::{MAX_STATE_BYTES, STATE_VERSION, Saving, SnapshotError};
pub use summary::{
    Alias, BARE_COUNTS, Counters, Ending, FROM_PLUGIN, MAX_ENDINGS, MAX_SUMMARY_ALIASES,
    MAX_SUMMARY_TEMPLATES, Summary, TemplateCount,
};
pub use verdict::{Flag, Flags, Level, RuleHit, Status, TemplateId, Verdict};
