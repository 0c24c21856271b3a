//! Vector, both ways: the gRPC listener that takes events from its `vector` sink, and the client that gives them to its
//! `vector` source.

mod entry;
