//! Takes one chunk of log events with its tag and a time, gives the chunk with tags on its records.
//!
//! Group markers, events that cannot be read, and a malformed tail pass as they are. A summary is one more event at the
//! end. Nothing of a chunk with group markers goes on the detour, a summary neither: Fluent Bit's `rewrite_tag` takes all
//! markers out of a chunk of which it takes a record, and with them the resource and scope of those that stay (seen on
//! 5.1.1). Must not know: C, files, threads, clocks.

use oddline_codec::{
    msgpack::{self, EventKind},
    summary_record,
};
use oddline_engine::UnixNanos;
use oddline_shell::{Changes, Msgpack, Outcome, Plugin};

/// Capacity that the output buffer keeps between chunks; Fluent Bit's chunks are about 2 MB.
const KEPT_CAPACITY: usize = 8 << 20;
/// So often at least the counters are told while records come.
const COUNTERS_NANOS: i64 = 60_000_000_000;

/// Filters chunks, one at a time.
#[derive(Debug)]
pub struct Filter {
    plugin: Plugin,
    out: Vec<u8>,
    /// When the counters were told last, and whether a summary was written since.
    told: Option<UnixNanos>,
    has_summary: bool,
}

impl Filter {
    /// A filter around a plugin.
    pub fn new(plugin: Plugin) -> Filter {
        Filter { plugin, out: Vec::new(), told: None, has_summary: false }
    }

    /// The filtered chunk; `None` if it stays as it is.
    pub fn chunk(&mut self, tag: &[u8], chunk: &[u8], now: UnixNanos) -> Option<&[u8]> {
        if Plugin::ignores(tag) {
            return None;
        }
        // A panic may have left it.
        self.plugin.bar_detour(false);
        self.out.clear();
        self.out.shrink_to(KEPT_CAPACITY);
        let mut changed = false;
        let mut grouped = false;
        for event in msgpack::events(chunk) {
            let start = self.out.len();
            let raw = match event {
                Ok(event) if event.kind == EventKind::Log => {
                    self.out.extend_from_slice(event.head);
                    if self.plugin.record::<Msgpack>(tag, event.body, now, &mut self.out) == Outcome::Unread {
                        self.out.truncate(start);
                        self.out.extend_from_slice(event.raw);
                    }
                    event.raw
                }
                Ok(event) => {
                    grouped = true;
                    self.plugin.bar_detour(true);
                    self.out.extend_from_slice(event.raw);
                    event.raw
                }
                Err(malformed) => {
                    self.plugin.count_unread(1);
                    // A summary behind it would not be found.
                    grouped = true;
                    let rest = chunk.get(malformed.offset..).unwrap_or_default();
                    self.out.extend_from_slice(rest);
                    rest
                }
            };
            changed = changed || self.out.get(start..) != Some(raw);
        }
        self.plugin.bar_detour(false);
        if !grouped && let Some(summary) = self.plugin.summary(now) {
            msgpack::write_head(now.0, &mut self.out);
            summary_record(&summary, &mut self.out);
            self.has_summary = true;
            changed = true;
        }
        changed.then_some(&*self.out)
    }

    /// Takes what changed on disk.
    pub fn apply(&mut self, changes: Changes) {
        self.plugin.apply(changes);
    }

    /// Whether the counters are to be told now: with each summary, and each minute where none is due.
    pub fn counters_are_due(&mut self, now: UnixNanos) -> bool {
        let told = *self.told.get_or_insert(now);
        // A clock that was set back begins a new minute.
        let is_due = self.has_summary || !(0..COUNTERS_NANOS).contains(&now.0.saturating_sub(told.0));
        if is_due {
            self.told = Some(now);
            self.has_summary = false;
        }
        is_due
    }

    /// One line of counters for an operator.
    pub fn counters(&self) -> String {
        self.plugin.counters_line()
    }

    /// The plugin in it, for its state to be saved.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// The plugin in it, for its state to be restored.
    pub fn plugin_mut(&mut self) -> &mut Plugin {
        &mut self.plugin
    }
}
