//! The crate from the outside, over real sockets, with an analysis and a return input that tests control.

mod acknowledgement;
mod batches;
mod client;
mod connections;
mod deadline;
mod fluent_bit;
mod http;
mod http_detour;
mod support;
mod teach;
mod vector;
mod vector_client;
#[path = "../../../../plugin/codec/tests/vector_event/mod.rs"]
mod vector_event;
mod vector_limits;
mod vector_world;
mod web;
