//! Takes one record as Fluent Bit's JSON with its tag and a time, gives a valid JSON object ended by a NUL.
//!
//! The host turns NaN, ext values and keys that are no text into invalid JSON, and deletes a record whose answer does
//! not parse: such records are repaired and counted. One in, one out: a summary rides on a record that goes on the
//! detour anyway, or, if an interval passes without one, on one that is sent there for it. Must not know: raw memory,
//! WASI, clocks.

use std::path::PathBuf;

use oddline_codec::{Edit, SUMMARY_KEY, Tags, json};
use oddline_engine::{Mode, Scalar, Status, Summary, UnixNanos, Verdict, Visitor};
use oddline_shell::{Json, Outcome, Plugin, Watch};

use crate::config;

/// How often files are looked at.
const LOOK_NANOS: i64 = 1_000_000_000;
/// Capacity that buffers keep between records.
const KEPT_CAPACITY: usize = 1 << 20;

/// Filters records, one at a time.
#[derive(Debug)]
pub struct Filter {
    directories: Vec<PathBuf>,
    /// None while the configuration is wrong: records then pass without tags.
    running: Option<Running>,
    next_look: Option<UnixNanos>,
    last_fault: Option<String>,
    notices: Vec<String>,
    out: Vec<u8>,
    repaired: Vec<u8>,
}

#[derive(Debug)]
struct Running {
    plugin: Plugin,
    watch: Watch,
    /// Summaries are only carried where the detour takes the record itself along.
    carries: bool,
    /// A summary that waits for a record to ride on, and since when.
    waiting: Option<(Summary, UnixNanos)>,
    patience_nanos: i64,
}

impl Filter {
    /// A filter whose configuration is looked for in these directories when the first record comes.
    pub fn new(directories: Vec<PathBuf>) -> Filter {
        Filter {
            directories,
            running: None,
            next_look: None,
            last_fault: None,
            notices: Vec::new(),
            out: Vec::new(),
            repaired: Vec::new(),
        }
    }

    /// Filters one record into [`Filter::answer`]; none if memory for that is short, and the record stays as it is.
    pub fn record(&mut self, tag: &[u8], text: &[u8], now: UnixNanos) -> Option<()> {
        self.out.clear();
        self.out.shrink_to(KEPT_CAPACITY);
        self.repaired.clear();
        self.repaired.shrink_to(KEPT_CAPACITY);
        // An allocation that fails later would be a trap: ask for all that is needed while there is a way back.
        let needed = text.len().saturating_mul(2).saturating_add(1 << 16);
        self.out.try_reserve(needed).ok()?;
        let due = self.next_look.is_none_or(|next| now >= next || next.0.saturating_sub(now.0) > LOOK_NANOS);
        if due {
            self.look(now);
        }
        let running = self.running.as_mut().filter(|_| !Plugin::ignores(tag));
        let read = match running {
            Some(running) => running.record(tag, text, now, &mut self.out),
            None => copy(text, &mut self.out),
        };
        if !read {
            self.repaired.try_reserve(needed).ok()?;
            self.repair(tag, text, now);
        }
        self.out.push(0);
        Some(())
    }

    /// Filters what the host's JSON must have been meant to be.
    #[cold]
    fn repair(&mut self, tag: &[u8], text: &[u8], now: UnixNanos) {
        json::repair(text, &mut self.repaired);
        let running = self.running.as_mut().filter(|_| !Plugin::ignores(tag));
        if !running.is_some_and(|running| running.record(tag, &self.repaired, now, &mut self.out)) {
            self.out.extend_from_slice(&self.repaired);
        }
    }

    /// What [`Filter::record`] made: never empty, ended by a NUL, valid until the next record.
    pub fn answer(&self) -> &[u8] {
        &self.out
    }

    /// Lines for the operator since the last call.
    pub fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Once a second: the files, or the configuration again while it is wrong.
    #[cold]
    fn look(&mut self, now: UnixNanos) {
        self.next_look = Some(UnixNanos(now.0.saturating_add(LOOK_NANOS)));
        if self.running.is_none() {
            match Running::start(&self.directories, &mut self.notices) {
                Ok(running) => self.running = Some(running),
                Err(fault) if self.last_fault.as_ref() == Some(&fault) => {}
                Err(fault) => {
                    self.notices.push(format!("{fault}; records pass without tags until this is mended"));
                    self.last_fault = Some(fault);
                }
            }
        }
        if let Some(running) = &mut self.running {
            let mut changes = running.watch.poll(now);
            self.notices.append(&mut changes.notices);
            running.plugin.apply(changes);
        }
    }
}

impl Running {
    fn start(directories: &[PathBuf], notices: &mut Vec<String>) -> Result<Running, String> {
        let (settings, path) = config::load(directories)?;
        notices.push(match &path {
            Some(path) => format!("options read from {}", path.display()),
            None => format!(
                "no {} in accessible_paths {directories:?}: all options have their defaults",
                config::FILE
            ),
        });
        if settings.state_file().is_some() {
            notices
                .push("state_file: the wasm filter is not told when to stop and keeps no state".to_owned());
        }
        notices.extend(config::out_of_reach(&settings, directories));
        let seconds = i64::try_from(settings.summary_interval_seconds()).unwrap_or(i64::MAX);
        Ok(Running {
            watch: Watch::new(&settings),
            carries: settings.mode() == Mode::Divert,
            waiting: None,
            patience_nanos: seconds.saturating_mul(1_000_000_000),
            plugin: Plugin::new(settings),
        })
    }

    /// Appends the record with its tags; `false`, and nothing appended, if it is not one JSON object.
    fn record(&mut self, tag: &[u8], text: &[u8], now: UnixNanos, out: &mut Vec<u8>) -> bool {
        match self.plugin.record::<Json>(tag, text, now, out) {
            Outcome::Judged(verdict) if self.carries => {
                if self.waiting.is_none() {
                    self.waiting = self.plugin.summary(now).map(|summary| (summary, now));
                }
                if self.waiting.is_some() {
                    self.carry_summary(text, &verdict, now, out);
                }
            }
            Outcome::Judged(_) | Outcome::Returned => {}
            Outcome::Unread => return false,
        }
        true
    }

    /// Puts the summary that waits onto a record that the sidecar is going to see.
    #[cold]
    fn carry_summary(&mut self, text: &[u8], verdict: &Verdict, now: UnixNanos, out: &mut Vec<u8>) {
        let Some((summary, since)) = &self.waiting else { return };
        if !verdict.is_pending() {
            // A clock that was set back does not make it wait until it has caught up.
            let is_early = (0..self.patience_nanos).contains(&now.0.saturating_sub(since.0));
            if !self.plugin.is_open() || is_early {
                return;
            }
            // No questionable record for a whole interval: this one goes, as what it is, to carry the summary.
            let template = summary.templates.iter().find(|template| template.id == verdict.template_id);
            let Some(template) = template else { return };
            let carrier = Verdict {
                status: Some(Status::Pending),
                template: Some(template.text.as_str().into()),
                reason: Some("carries the summary of the interval".to_owned()),
                ..verdict.clone()
            };
            let tags = Tags::of(&carrier, self.plugin.model());
            let mut carried = Vec::new();
            let edit =
                Edit { reserved: self.plugin.style(), ..Edit::tag(self.plugin.pending_style(), &tags) };
            if json::splice(text, &edit, &mut carried).is_err() {
                return;
            }
            *out = carried;
        }
        // The record is a whole object that holds at least its tags.
        if let Ok(summary) = serde_json::to_vec(summary)
            && out.pop_if(|last| *last == b'}').is_some()
        {
            out.extend_from_slice(format!(",\"{SUMMARY_KEY}\":").as_bytes());
            out.extend_from_slice(&summary);
            out.push(b'}');
        }
        self.waiting = None;
    }
}

/// Appends the record as it is; `false`, and nothing appended, if it is not one JSON object.
fn copy(text: &[u8], out: &mut Vec<u8>) -> bool {
    struct Nothing;
    impl Visitor<'_> for Nothing {
        fn enter(&mut self, _key: &[u8]) -> bool {
            false
        }

        fn leave(&mut self) {}

        fn scalar(&mut self, _key: &[u8], _value: Scalar<'_>) {}
    }
    let read = json::walk(text, &mut Nothing).is_ok();
    if read {
        out.extend_from_slice(text);
    }
    read
}
