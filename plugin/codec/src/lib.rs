//! Host bytes to record view and back.
//!
//! Takes one log event as a host holds it, msgpack (native Fluent Bit, Forward), JSON (wasm, HTTP) or protobuf (Vector);
//! gives its fields to a [`oddline_engine::Visitor`], and later the same bytes with [`Tags`] spliced in. Outside our own keys every byte
//! leaves as it came: nothing is rebuilt, only the map's header is written anew. Input is hostile: nothing here panics,
//! recurses with the input or allocates by a length that the input claims; what is not understood is [`Unreadable`],
//! and the caller then passes its own bytes on.
//!
//! Must not know: hosts, files, clocks, async, rules of detection.
//!
//! ```
//! use oddline_codec::{Edit, TagStyle, Tags, json};
//! use oddline_engine::{Annotate, Detail, Level, Profile, Verdict};
//!
//! let verdict = Verdict { score: 0.25, level: Level::None, ..Verdict::default() };
//! let tags = Tags::of(&verdict, &"oddline/0.1.0 rules:0".into());
//! let style =
//!     TagStyle { key: "anomaly".into(), annotate: Annotate::All, detail: Detail::Full, profile: Profile::Nested };
//! let mut out = Vec::new();
//! json::splice(br#"{"log": "ok"}"#, &Edit::tag(&style, &tags), &mut out)?;
//! assert_eq!(
//!     String::from_utf8_lossy(&out),
//!     r#"{"log": "ok","anomaly":{"score":0.25,"level":"none","template_id":"0000000000000000"}}"#
//! );
//! # Ok::<(), oddline_codec::Unreadable>(())
//! ```
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![warn(clippy::arithmetic_side_effects)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "tests count"))]

pub mod detour;
mod edit;
pub mod json;
pub mod marker;
pub mod msgpack;
mod profile;
#[cfg(test)]
mod properties;
pub mod protobuf;
mod summary;
mod tags;

pub use edit::{Edit, Outline, original_name};
pub use profile::{Field as TagField, Name as TagName, TagStyle};
pub use summary::{read_summary, summary_record};
pub use tags::{TagError, Tags, Value as TagValue};

/// Top-level key of the marker on records that come back from the detour.
pub const MARKER_KEY: &str = "_oddline";
/// Top-level key of summary records.
pub const SUMMARY_KEY: &str = "oddline_summary";
/// Top-level key of the truth value by which a Vector configuration routes a record to the sidecar, where its metadata
/// cannot be written.
pub const DETOUR_KEY: &str = "_oddline_detour";
/// Top-level key of the tag of a record on the detour, where metadata cannot carry it.
pub const TAG_KEY: &str = "_oddline_tag";
/// Top-level key of the reference on a companion: `{template_id, tag, time}`.
pub const REFERENCE_KEY: &str = "oddline_reference";
/// Name of the pending tags in a Vector event's metadata, where the record itself flows on with its inline tags.
pub(crate) const PENDING_TAGS: &str = "pending";
/// Most fields of one record that are visited; the rest is left alone.
pub const MAX_FIELDS: usize = 1_024;
/// Deepest level whose fields are visited; the record's own fields are level 1.
pub const MAX_DEPTH: usize = 32;

/// A body that is not a map or object, or is cut short. Pass it on as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record is not readable at byte {offset}: {reason}")]
pub struct Unreadable {
    /// Where in the body, in bytes.
    pub offset: usize,
    /// What is wrong there.
    pub reason: &'static str,
}
