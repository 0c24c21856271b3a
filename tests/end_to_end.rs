//! The real Fluent Bit.
