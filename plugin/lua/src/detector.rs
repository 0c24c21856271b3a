//! Takes events and a time, gives events with tags and now and then a summary: one `lua` transform while Vector runs.
//!
//! Vector calls a transform from one thread and waits for it, so everything here is done in small steps: files are looked
//! at once a second, what was learned is saved one slice per event. Must not know: a clock, how Lua calls.

use std::time::Duration;

use mlua::{Lua, Table};
use oddline_codec::{Edit, Tags};
use oddline_engine::{Counters, MAX_STATE_BYTES, Mode, Settings, Summary, UnixNanos};
use oddline_shell::{Keeping, Outcome, Plugin, StateFile, Watch};

use crate::event::{Event, InPlace, cut_tag};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How state is kept: nobody waits for the disk, so a power failure may cost the file, which is then refused by name.
const KEEPING: Keeping = Keeping { limit: MAX_STATE_BYTES, slice: 64, durable: false };
/// Steps of saving that one tick takes, so that a pipeline that has fallen silent is saved too.
const STEPS_PER_TICK: usize = 64;
/// Most lines that wait to be told.
const MAX_NOTICES: usize = 100;

/// What an event needs beyond being passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// A copy of it is to visit the sidecar: [`Detector::copy`] makes it, after the event itself is gone.
    Copy,
    /// There are lines for the operator.
    Notices,
}

/// One transform.
#[derive(Debug)]
pub struct Detector {
    plugin: Plugin,
    watch: Watch,
    state: Option<StateFile>,
    is_saving: bool,
    mode: Mode,
    next_look: UnixNanos,
    notices: Vec<String>,
    /// Tag and tags of the copy that is to be made.
    copied: Option<(Vec<u8>, Tags, Tags)>,
    panics: u64,
}

impl Detector {
    /// Restores the state, reads rules and advice.
    pub fn new(settings: Settings, now: UnixNanos) -> Detector {
        let mut detector = Detector {
            watch: Watch::new(&settings),
            state: StateFile::new(&settings, KEEPING),
            is_saving: false,
            mode: settings.mode(),
            next_look: UnixNanos(i64::MIN),
            notices: Vec::new(),
            copied: None,
            panics: 0,
            plugin: Plugin::new(settings),
        };
        match detector.state.as_ref().map(|file| file.restore(&mut detector.plugin)) {
            Some(Ok(true)) => detector.tell("state_file: restored".to_owned()),
            Some(Err(error)) => detector.tell(format!("{error}; starting empty")),
            Some(Ok(false)) | None => {}
        }
        detector.look(now);
        detector
    }

    /// Judges one event and writes its tags, under a tag of the caller's or the event's own.
    pub fn judge(&mut self, lua: &Lua, log: Table, tag: Option<&[u8]>, now: UnixNanos) -> Option<More> {
        // A copy that was never fetched is nobody's any more.
        self.copied = None;
        self.look(now);
        let Ok(event) = Event::read(lua, log) else {
            self.plugin.count_unread(1);
            return self.more();
        };
        let tag = tag.map_or_else(|| event.tag(), cut_tag);
        if let Outcome::Judged(verdict) = self.plugin.record::<InPlace>(tag, &event, now, &mut ())
            && verdict.is_pending()
        {
            let marked = match event.obstacle() {
                Some(obstacle) => {
                    let kept = self.plugin.keep(verdict, obstacle.words());
                    event.retag(self.plugin.style(), &Tags::of(&kept, self.plugin.model()))
                }
                None if self.mode == Mode::Copy => {
                    let pending = Tags::of(&verdict, self.plugin.model());
                    let tags = Tags::of(&verdict.inline(), self.plugin.model());
                    let edited = event.retag(self.plugin.style(), &tags);
                    self.copied = Some((tag.to_vec(), tags, pending));
                    edited
                }
                None => event.mark(tag),
            };
            if marked.is_err() {
                self.copied = None;
                self.plugin.count_unread(1);
            }
        }
        if self.copied.is_some() { Some(More::Copy) } else { self.more() }
    }

    /// Turns an event that has just been passed on into the copy of it that visits the sidecar; `false` if there is none.
    pub fn copy(&mut self, lua: &Lua, log: Table) -> bool {
        let Some((tag, tags, pending)) = self.copied.take() else { return false };
        let Ok(event) = Event::read(lua, log) else { return false };
        let written = event
            .unwrite(self.plugin.style(), &tags)
            .and_then(|()| event.edit(&Edit::tag(self.plugin.pending_style(), &pending)))
            .and_then(|()| event.mark(&tag));
        written.is_ok()
    }

    /// What is to be done now and then, whether events come or not; a summary if it is time for one.
    pub fn tick(&mut self, now: UnixNanos) -> Option<Summary> {
        self.look_at_files(now);
        for _ in 0..STEPS_PER_TICK {
            self.save_some(now);
        }
        // Vector makes an object of an empty list, and a summary of counters alone says nothing.
        self.plugin.summary(now).filter(|summary| !summary.is_empty())
    }

    /// Saves the state and tells the counters; the detector may go on.
    pub fn stop(&mut self) {
        if let Some(file) = &mut self.state
            && let Err(error) = file.save(&self.plugin)
        {
            self.tell(error);
        }
        self.tell(format!("{} panics={}", self.plugin.counters_line(), self.panics));
    }

    /// Counts a panic that was caught while an event was judged.
    pub fn count_panic(&mut self) {
        self.panics = self.panics.saturating_add(1);
        self.copied = None;
        if self.panics.is_power_of_two() {
            self.tell(format!(
                "bug: a panic while judging, the event passed as it came ({} so far)",
                self.panics
            ));
        }
    }

    /// Lines for the operator since the last call.
    pub fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// What has been done since the start, and how often a panic was caught.
    pub fn counters(&self) -> (Counters, u64) {
        (self.plugin.counters(), self.panics)
    }

    fn more(&self) -> Option<More> {
        (!self.notices.is_empty()).then_some(More::Notices)
    }

    fn look(&mut self, now: UnixNanos) {
        let step = i64::try_from(LOOK.as_nanos()).unwrap_or(i64::MAX);
        // Also where the clock was set back.
        if now >= self.next_look || self.next_look.0.saturating_sub(now.0) > step {
            self.look_at_files(now);
            self.next_look = UnixNanos(now.0.saturating_add(step));
        }
        if self.is_saving {
            self.save_some(now);
        }
    }

    fn look_at_files(&mut self, now: UnixNanos) {
        let mut changes = self.watch.poll(now);
        std::mem::take(&mut changes.notices).into_iter().for_each(|line| self.tell(line));
        self.plugin.apply(changes);
        self.is_saving = self.state.as_mut().is_some_and(|file| file.is_due(&self.plugin, now));
    }

    fn save_some(&mut self, now: UnixNanos) {
        if let Some(file) = self.state.as_mut().filter(|_| self.is_saving) {
            let told = file.step(&self.plugin);
            self.is_saving = file.is_due(&self.plugin, now);
            told.into_iter().for_each(|line| self.tell(line));
        }
    }

    fn tell(&mut self, line: String) {
        if self.notices.len() < MAX_NOTICES {
            self.notices.push(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use oddline_engine::Options;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn detector(options: Options) -> Detector {
        let options = Options { builtin_rules: Some(false), ..options };
        Detector::new(Settings::new(&options).unwrap(), UnixNanos(100 * SECOND))
    }

    fn judge(detector: &mut Detector, lua: &Lua, text: &str, seconds: i64) -> Option<More> {
        let log = lua.create_table_from([("message", text)]).unwrap();
        detector.judge(lua, log, None, UnixNanos(seconds * SECOND))
    }

    #[test]
    fn files_are_looked_at_once_a_second_also_when_the_clock_was_set_back() {
        let (dir, lua) = (tempfile::tempdir().unwrap(), Lua::new());
        let rules = dir.path().join("rules");
        let mut detector =
            detector(Options { rules: Some(rules.display().to_string()), ..Options::default() });
        let mut told = detector.notices().len();
        assert_eq!(told, 1, "the file is not there");
        for (seconds, looks) in [(100, false), (101, true), (101, false), (5, true), (5, false), (6, true)] {
            // Another name for the rules each time, so that every look has something to tell.
            told += 1;
            let rule = format!("[[rules]]\nname = \"R{told}\"\npattern = \"purple{}\"\n", "x".repeat(told));
            std::fs::write(&rules, rule).unwrap();
            let more = judge(&mut detector, &lua, "nothing of note", seconds);
            assert_eq!(more == Some(More::Notices), looks, "{seconds}");
            assert_eq!(detector.notices().is_empty(), !looks, "{seconds}");
        }
    }

    #[test]
    fn what_waits_to_be_told_is_bounded_and_panics_are_told_ever_more_rarely() {
        let mut detector = detector(Options::default());
        (0..20).for_each(|_| detector.count_panic());
        assert_eq!(detector.notices().len(), 5, "1, 2, 4, 8, 16");
        assert_eq!(detector.counters().1, 20);
        (0..10 * MAX_NOTICES).for_each(|_| detector.stop());
        assert_eq!(detector.notices().len(), MAX_NOTICES);
    }

    #[test]
    fn state_is_saved_a_slice_per_event_or_by_ticks() {
        let (dir, lua) = (tempfile::tempdir().unwrap(), Lua::new());
        let path = dir.path().join("state");
        let mut detector = detector(Options {
            state_file: Some(path.display().to_string()),
            state_interval_seconds: Some(5),
            ..Options::default()
        });
        for shape in 1..=200 {
            judge(&mut detector, &lua, &"word ".repeat(shape), 100);
        }
        assert!(!path.exists());
        let mut events = 0;
        while !path.exists() {
            judge(&mut detector, &lua, "word", 106);
            events += 1;
            assert!(events < 20, "not saved");
        }
        assert!(events > 2, "200 templates are more than two slices: {events}");
        std::fs::remove_file(&path).unwrap();
        judge(&mut detector, &lua, "word", 107);
        detector.tick(UnixNanos(120 * SECOND));
        assert!(path.exists(), "nobody came, and it was saved all the same");
    }
}
