//! Which way a questionable record takes: with its tags down the stream, or to the sidecar first. Takes its level and what
//! is advised about its template; must not know why it is questionable.

use crate::{
    advice::{Class, TemplateAdvice},
    options::Mode,
    settings::Settings,
    summary::Counters,
    verdict::{Level, Status},
};

/// The way to the sidecar, and how many have taken it in this second.
#[derive(Debug, Default)]
pub(super) struct Detour {
    /// `None`: nobody has said that there is one.
    pub(super) is_open: Option<bool>,
    /// Whether the records at hand cannot leave the stream without harm to those around them.
    pub(super) is_barred: bool,
    /// The second that `diverted` counts.
    second: i64,
    diverted: u32,
}

impl Detour {
    /// Where a questionable record goes, and a note on it: `None` if it is not worth a word after all.
    pub(super) fn way(
        &mut self,
        settings: &Settings,
        counters: &mut Counters,
        level: Level,
        row: Option<&TemplateAdvice>,
        now: i64,
    ) -> (Option<Status>, Option<&'static str>) {
        let flagged = level > Level::None;
        if let Some(row) = row {
            let confirmed = row.class == Class::Anomalous;
            return (flagged.then_some(if confirmed { Status::Confirmed } else { Status::Inline }), None);
        }
        if settings.mode() == Mode::Inline || self.is_open.is_none() && settings.advice_dir().is_none() {
            return (flagged.then_some(Status::Inline), None);
        }
        if self.is_open != Some(true) {
            let skipped = flagged.then_some(Status::Skipped);
            counters.skipped = counters.skipped.saturating_add(u64::from(flagged));
            return (skipped, Some("sidecar absent, judged in the plugin alone"));
        }
        if self.is_barred {
            counters.skipped = counters.skipped.saturating_add(u64::from(flagged));
            return (
                flagged.then_some(Status::Skipped),
                Some("in a group of the host (OTLP), judged in the plugin alone"),
            );
        }
        let second = now.checked_div(1_000_000_000).unwrap_or_default();
        if second != self.second {
            self.second = second;
            self.diverted = 0;
        }
        if self.diverted >= settings.divert_per_second {
            counters.skipped = counters.skipped.saturating_add(u64::from(flagged));
            return (
                flagged.then_some(Status::Skipped),
                Some("detour full (divert_per_second), judged in the plugin alone"),
            );
        }
        self.diverted = self.diverted.saturating_add(1);
        counters.pending = counters.pending.saturating_add(1);
        (Some(Status::Pending), None)
    }
}
