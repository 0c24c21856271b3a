//! Whether the other side can be reached: news when it comes and when it goes, and not while nobody was ever there.

use crate::ports::{BackendError, FailureKind};

/// What is known of the other side.
#[derive(Debug)]
pub(crate) struct Reach {
    /// What it does, or does not: `the shipper's table` …
    who: &'static str,
    heard: bool,
    /// Failures in a row.
    failures: u32,
}

impl Reach {
    pub(crate) fn new(who: &'static str) -> Reach {
        Reach { who, heard: false, failures: 0 }
    }

    /// Whether the last attempt succeeded.
    pub(crate) fn is_there(&self) -> bool {
        self.heard && self.failures == 0
    }

    /// Whether any attempt ever did.
    pub(crate) fn was_heard(&self) -> bool {
        self.heard
    }

    pub(crate) fn succeeded(&mut self) {
        if !self.is_there() {
            tracing::info!("{} can be reached", self.who);
        }
        (self.failures, self.heard) = (0, true);
    }

    /// Nobody is there: that is no news while nobody ever was, because there may be no Vector. A refusal always is.
    pub(crate) fn failed(&mut self, error: &BackendError) {
        self.failures = self.failures.saturating_add(1);
        if !self.heard && error.kind == FailureKind::Unavailable {
            tracing::debug!(%error, "{} was not reached yet", self.who);
        } else if self.failures.is_power_of_two() {
            let failures = self.failures;
            tracing::warn!(%error, failures, "{} cannot be reached; tried again all the time", self.who);
        }
    }
}
