//! The crate from the outside, over real sockets, with an analysis and a return input that tests control.

mod acknowledgement;
mod batches;
mod client;
mod connections;
mod fluent_bit;
mod http;
mod support;
