//! Fluent Forward, both ways: the listener that takes records, and the client that gives them back.
//!
//! From the wire inwards: [`value`] (where a msgpack value ends) -> `wire` (whole messages, limits, time) ->
//! [`handshake`], [`tls`] -> [`frame`], [`expand`] -> [`server`] or [`client`].

pub mod client;
mod entry;
pub mod expand;
pub mod frame;
pub mod handshake;
pub mod receive;
pub mod server;
pub mod tls;
pub mod value;
mod wire;

pub(crate) use self::{entry::entries, wire::Socket};
