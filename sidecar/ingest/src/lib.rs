//! The ways in and the way back.
//!
//! * *Takes* records over Fluent Forward ([`forward`], all its modes, with shared key and TLS), gRPC ([`vector`]) and
//!   HTTP ([`http`]), plugins' summaries, and counts per template.
//! * *Gives* every record back with its final tags: the way it came, to the shipper's return input ([`Deliver`]), or
//!   in the answer (`/v1/records`). A sender is acknowledged only after the next hop has acknowledged ([`detour`]).
//! * *Must not know* how records are judged (that is behind `oddline_analyze::ports::Analysis`), databases, files, the
//!   environment, or who reads the counters ([`Events`]).
//!
//! What is full, and what happens then: connections (the next one waits to be accepted), bytes in flight
//! ([`budget`]: connections are not read until some are given back, TCP holds the sender; HTTP/2 likewise; HTTP answers 503),
//! deliveries in parallel (the next one waits), acknowledged chunks remembered (the oldest is forgotten).
//!
//! ```
//! use oddline_ingest::forward::frame::{Entries, Frame};
//!
//! // ["app", [[1, {}]], {"chunk": "id"}], in Forward mode.
//! let frame = Frame::parse(b"\x93\xa3app\x91\x92\x01\x80\x81\xa5chunk\xa2id")?;
//! assert_eq!((frame.tag, frame.chunk), (&b"app"[..], Some(&b"id"[..])));
//! assert_eq!(frame.entries, Entries::Plain(b"\x92\x01\x80".into()));
//! # Ok::<(), oddline_ingest::forward::frame::FrameError>(())
//! ```
#![forbid(unsafe_code)]

mod accept;
pub mod annotate;
pub mod budget;
pub mod companion;
pub mod deliver;
pub mod detour;
pub mod duplicates;
mod entry;
pub mod events;
pub mod forward;
pub mod http;
mod limits;
pub mod vector;
pub mod web;

pub use annotate::{Annotator, Screening};
pub use budget::Budget;
pub use deliver::{Deliver, DeliverError, Failure, Outgoing};
pub use detour::Detour;
pub use events::Events;
pub use limits::{LimitError, Limits};
