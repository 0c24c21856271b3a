//! How much and how long: every bound of the ways in and of the way back, with its default. Knows no protocol.

use std::time::Duration;

/// Bounds of the listeners. The defaults are the documented ones; `app` may lay its configuration over them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest Forward frame, HTTP body and outgoing frame.
    pub frame_bytes: usize,
    /// Most bytes that one compressed frame may become.
    pub expanded_bytes: usize,
    /// Most bytes that one compressed byte may become.
    pub expansion_ratio: usize,
    /// Bytes of all frames in hand over all connections; when they are taken, connections wait before they read on.
    pub in_flight_bytes: usize,
    /// Open connections; a further one waits to be accepted until one closes.
    pub connections: usize,
    /// Records of one HTTP body.
    pub http_records: usize,
    /// From accept to the end of TLS and shared-key handshake.
    pub handshake: Duration,
    /// From a frame's first byte to its last.
    pub frame: Duration,
    /// Between two frames of a connection that is kept.
    pub idle: Duration,
    /// For writing an acknowledgement.
    pub write: Duration,
    /// From the wish to stop until connections are cut.
    pub drain: Duration,
    /// How long the delivery of a frame is tried whose sender asked for no acknowledgement and will not resend.
    pub insist: Duration,
    /// How long a chunk is remembered that was delivered but could not be acknowledged, to recognise its resend.
    pub remember: Duration,
    /// How many such chunks are remembered.
    pub remembered: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            frame_bytes: 8 << 20,
            expanded_bytes: 32 << 20,
            expansion_ratio: 100,
            in_flight_bytes: 96 << 20,
            connections: 256,
            http_records: 10_000,
            handshake: Duration::from_secs(10),
            frame: Duration::from_secs(30),
            idle: Duration::from_secs(600),
            write: Duration::from_secs(10),
            drain: Duration::from_secs(10),
            insist: Duration::from_secs(60),
            remember: Duration::from_secs(60),
            remembered: 10_000,
        }
    }
}

/// A limit that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, {wanted}")]
pub struct LimitError {
    field: &'static str,
    value: usize,
    wanted: String,
}

impl Limits {
    /// Checks that the limits fit together.
    ///
    /// # Errors
    /// The first field that is zero or too small for the others.
    pub fn check(&self) -> Result<(), LimitError> {
        let at_least = |field, value: usize, least: usize| {
            let wanted = format!("must be at least {least}");
            if value >= least { Ok(()) } else { Err(LimitError { field, value, wanted }) }
        };
        at_least("frame_bytes", self.frame_bytes, 1 << 10)?;
        at_least("expanded_bytes", self.expanded_bytes, self.frame_bytes)?;
        at_least("expansion_ratio", self.expansion_ratio, 1)?;
        // A third of it is for expanding (see `budget`), so that one frame of the largest size always fits.
        at_least("in_flight_bytes", self.in_flight_bytes, 3 * self.expanded_bytes)?;
        at_least("connections", self.connections, 1)?;
        at_least("http_records", self.http_records, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_fit_together_and_the_largest_frame_must_fit() {
        Limits::default().check().unwrap();
        let refused = Limits { in_flight_bytes: (96 << 20) - 1, ..Limits::default() }.check().unwrap_err();
        assert_eq!(refused.to_string(), "in_flight_bytes is 100663295, must be at least 100663296");
    }
}
