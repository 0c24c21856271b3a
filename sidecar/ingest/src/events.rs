//! What ingest says about itself: one counter per thing that happens. `app` exports them; nothing here logs.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! events {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Counters since the start; each name is also the name of a metric (`oddline_ingest_<name>_total`).
        #[derive(Debug, Default)]
        pub struct Events { $($(#[doc = $doc])+ pub $name: Counter,)+ }

        impl Events {
            /// Every counter: name, help, value.
            pub fn all(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name.get()),)+]
            }
        }
    };
}

events! {
    /// Connections accepted.
    connections,
    /// Connections closed because of a handshake, frame, time or delivery fault.
    connections_failed,
    /// Frames received whole.
    frames_received,
    /// Bytes of these frames, as they came.
    bytes_received,
    /// Records received for the detour, from Fluent Bit or from Vector.
    records_received,
    /// Log records received by POST /v1/records.
    http_records_received,
    /// Records delivered to the shipper's return input and acknowledged by it.
    records_sent,
    /// Records that went back as they came, because they were not understood.
    records_unread,
    /// Records that came with a valid marker: a loop in the shipper's routing.
    records_looped,
    /// Of these, records that came a second time and were not sent back again.
    loops_cut,
    /// Entries that nobody can decode and that the return input refused too.
    entries_discarded,
    /// Frames without chunk id whose delivery failed for a minute: the sender did not ask for acknowledgement.
    frames_discarded,
    /// Summaries taken.
    summaries_received,
    /// Records under the summary tag that are no summary.
    summaries_unread,
    /// Frames that were acknowledged from memory: delivered before, while the acknowledgement could not be sent.
    duplicates,
    /// Deliveries to the return input that failed; the sender was not acknowledged and resends.
    delivery_errors,
    /// Requests of Vector over gRPC that were not acknowledged; their sender keeps what it sent, and resends.
    vector_refused,
    /// HTTP requests that were refused.
    http_refused,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`.
    pub fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_listed_once_with_help() {
        let events = Events::default();
        events.duplicates.add(3);
        let all = events.all();
        assert!(all.contains(&(
            "duplicates",
            "Frames that were acknowledged from memory: delivered before, while the acknowledgement could not be sent.",
            3
        )));
        assert!(all.iter().all(|(name, help, _)| !name.is_empty() && !help.is_empty()));
    }
}
