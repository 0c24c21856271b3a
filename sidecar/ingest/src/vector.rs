//! Vector, both ways: the gRPC service that takes events from its `vector` sink, and the client that gives them to its
//! `vector` source. Messages are bytes here; the codec knows what is in them.

pub mod client;
mod entry;
mod message;
pub mod server;
