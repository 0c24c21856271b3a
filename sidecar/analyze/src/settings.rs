//! What a user may write about the analysis, and the checked settings that it runs on. Knows no file and no environment.

use std::time::Duration;

use serde::Deserialize;

/// What a user may write. Every field is optional; [`Settings::new`] judges the values.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Longest time from the arrival of a record's batch to its verdict, in milliseconds.
    pub deadline_ms: Option<u64>,
    /// Longest time for one call of the embedder or the vector index, in milliseconds.
    pub backend_timeout_ms: Option<u64>,
    /// Templates that may wait for an answer; beyond it records are skipped.
    pub queue_templates: Option<u64>,
    /// Most templates in one call of the embedder.
    pub batch_templates: Option<u64>,
    /// Longest time that a template waits for its batch to fill, in milliseconds.
    pub batch_wait_ms: Option<u64>,
    /// Batches worked on at a time.
    pub batches_in_flight: Option<u64>,
    /// Templates remembered.
    pub max_templates: Option<u64>,
    /// Failures in a row that open a backend's circuit breaker.
    pub breaker_failures: Option<u64>,
    /// Seconds that an open breaker waits before it tries again; doubles up to 30.
    pub breaker_open_seconds: Option<u64>,
    /// Records after which a template that nobody complained about counts as known.
    pub earn_records: Option<u64>,
    /// Seconds between its first and last record before it counts as known.
    pub earn_seconds: Option<u64>,
    /// Templates that one source may turn into known ones in an hour.
    pub earn_per_source_hour: Option<u64>,
}

/// Checked settings of the analysis.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub(crate) deadline: Duration,
    pub(crate) backend_timeout: Duration,
    pub(crate) queue_templates: usize,
    pub(crate) batch_templates: usize,
    pub(crate) batch_wait: Duration,
    pub(crate) batches_in_flight: usize,
    pub(crate) max_templates: usize,
    pub(crate) breaker_failures: u32,
    pub(crate) breaker_open: Duration,
    pub(crate) earn_records: u64,
    pub(crate) earn_seconds: u64,
    pub(crate) earn_per_source_hour: u32,
}

/// Every fault in a set of options, one line each.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct OptionErrors(pub Vec<String>);

impl Settings {
    /// Most templates that are remembered.
    pub fn max_templates(&self) -> usize {
        self.max_templates
    }

    /// Checks options; what is not set has its default.
    ///
    /// # Errors
    /// Names every value out of range, with the range.
    pub fn new(options: &Options) -> Result<Settings, OptionErrors> {
        let mut faults = Vec::new();
        let mut pick = |name: &str, value: Option<u64>, default: u64, least: u64, most: u64| {
            let value = value.unwrap_or(default);
            if !(least..=most).contains(&value) {
                faults.push(format!("{name} is {value}, not within {least}..={most}"));
            }
            value
        };
        let settings = Settings {
            deadline: Duration::from_millis(pick("deadline_ms", options.deadline_ms, 2_000, 1, 60_000)),
            backend_timeout: Duration::from_millis(pick(
                "backend_timeout_ms",
                options.backend_timeout_ms,
                5_000,
                1,
                120_000,
            )),
            queue_templates: pick("queue_templates", options.queue_templates, 4_096, 1, 1 << 20) as usize,
            batch_templates: pick(
                "batch_templates",
                options.batch_templates,
                crate::ports::MAX_EMBED_BATCH as u64,
                1,
                crate::ports::MAX_EMBED_BATCH as u64,
            ) as usize,
            batch_wait: Duration::from_millis(pick("batch_wait_ms", options.batch_wait_ms, 5, 0, 1_000)),
            batches_in_flight: pick("batches_in_flight", options.batches_in_flight, 4, 1, 64) as usize,
            max_templates: pick("max_templates", options.max_templates, 100_000, 1, 1_000_000) as usize,
            breaker_failures: pick("breaker_failures", options.breaker_failures, 3, 1, 1_000) as u32,
            breaker_open: Duration::from_secs(pick(
                "breaker_open_seconds",
                options.breaker_open_seconds,
                1,
                1,
                30,
            )),
            earn_records: pick("earn_records", options.earn_records, 100, 2, 1 << 40),
            earn_seconds: pick("earn_seconds", options.earn_seconds, 3_600, 0, 31_536_000),
            earn_per_source_hour: pick("earn_per_source_hour", options.earn_per_source_hour, 20, 0, 100_000)
                as u32,
        };
        if faults.is_empty() { Ok(settings) } else { Err(OptionErrors(faults)) }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings::new(&Options::default())
            .unwrap_or_else(|faults| unreachable!("defaults are in range: {faults}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_reported_at_once() {
        let options = Options { deadline_ms: Some(0), batch_templates: Some(65), ..Options::default() };
        let OptionErrors(faults) = Settings::new(&options).unwrap_err();
        assert_eq!(
            faults,
            ["deadline_ms is 0, not within 1..=60000", "batch_templates is 65, not within 1..=64"]
        );
        let at_the_limit = Options { deadline_ms: Some(1), batch_templates: Some(64), ..Options::default() };
        assert!(Settings::new(&at_the_limit).is_ok());
        let ten_times = Options { batch_templates: Some(640), ..Options::default() };
        assert!(Settings::new(&ten_times).is_err());
    }
}
