//! Vector, both ways: the gRPC service that takes events from its `vector` sink, and the client that gives them to its
//! `vector` source. Messages are bytes here; the codec knows what is in them.
//!
//! Looked at first: tonic's own server. It expands a compressed message up to one limit, whatever it came from, and takes no
//! memory from a budget before it reads; so the one unary call is read by hand ([`server`]), behind the listener that the
//! HTTP ways have ([`crate::web`]), and tonic is the client.

pub mod client;
mod entry;
mod message;
pub mod server;
