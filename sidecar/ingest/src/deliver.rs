//! The way back to the shipper, as a port: takes events under a tag, answers once they are acknowledged.

use std::{future::Future, pin::Pin};

/// Events that go back under one tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// The tag the shipper's outputs match on.
    pub tag: Vec<u8>,
    /// Events one after the other, in the notation in which they came.
    pub events: Vec<u8>,
    /// How many.
    pub records: usize,
}

/// They were not acknowledged. The message names the address and the last thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("return input {address}: {reason}")]
pub struct DeliverError {
    /// Where to.
    pub address: String,
    /// Why not.
    pub reason: String,
    /// How far they came.
    pub failure: Failure,
}

/// How far events came that were not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody is there, or somebody with trouble of its own, who takes nothing now.
    Away,
    /// Somebody was there, and hung up or said nothing. A Forward input refuses events in no other way, but it also ends so.
    Silent,
    /// It answered that it cannot read them.
    Refused,
    /// It has taken them and answered that those behind it do not want them: they would be refused again, and again.
    Rejected,
}

impl DeliverError {
    /// Whether to send them again is of no use, whatever they are.
    pub fn is_final(&self) -> bool {
        self.failure == Failure::Rejected
    }
}

/// Gives events to the shipper's return input or another next hop.
pub trait Deliver: Send + Sync {
    /// Ends well only after the other side has acknowledged; within a bounded time in any case. After a failure the
    /// events may have arrived or not: the caller lets its own sender resend.
    fn deliver<'a>(
        &'a self,
        outgoing: &'a Outgoing,
    ) -> Pin<Box<dyn Future<Output = Result<(), DeliverError>> + Send + 'a>>;
}

/// An error with what it came from, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
