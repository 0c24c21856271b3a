//! Takes a plugin now and then, gives a file from which the next start goes on: what was learned, kept over restarts.
//!
//! Everything is done in small steps, as shells differ in what they can afford: the native filter takes them from a
//! thread of its own and holds the plugin for one slice at a time, the wasm filter takes one step per record. The file
//! is replaced by rename, so the next start finds the old bytes or the new ones, never a part. Must not know a host, a
//! thread or a clock.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use oddline_engine::{Saving, Settings, UnixNanos};

use crate::{plugin::Plugin, rule_files::read_limited};

/// Bytes written in one step.
const PIECE_BYTES: usize = 256 << 10;

/// How a shell keeps its state.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    /// Most bytes of the file; what was longest silent is left out first.
    pub limit: usize,
    /// Templates gathered in one step.
    pub slice: usize,
    /// Whether the disk is waited for, so that the file outlives a power failure too.
    pub durable: bool,
}

/// The state file of one shell instance.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    keeping: Keeping,
    /// 0: saved on request only.
    interval_nanos: i64,
    next: Option<UnixNanos>,
    /// The plugin's count of records when it was saved last.
    saved_at: u64,
    step: Step,
    failures: u64,
}

#[derive(Debug, Default)]
enum Step {
    #[default]
    Idle,
    Gathering(Box<Saving>),
    Writing(Writing),
}

#[derive(Debug)]
struct Writing {
    beside: PathBuf,
    file: Option<fs::File>,
    parts: [Vec<u8>; 2],
    written: usize,
}

impl StateFile {
    /// The file that the settings name, if they do.
    pub fn new(settings: &Settings, keeping: Keeping) -> Option<StateFile> {
        let seconds = i64::try_from(settings.state_interval_seconds()).unwrap_or(i64::MAX);
        Some(StateFile {
            path: PathBuf::from(settings.state_file()?),
            keeping,
            interval_nanos: seconds.saturating_mul(1_000_000_000),
            next: None,
            saved_at: 0,
            step: Step::Idle,
            failures: 0,
        })
    }

    /// Whether it is saved while the shell runs.
    pub fn has_interval(&self) -> bool {
        self.interval_nanos > 0
    }

    /// Gives a new plugin what was saved. `Ok(false)`: there is nothing yet. A file that cannot be used is kept as
    /// `<state_file>.refused`, because the next save would replace it: it may be of a newer version, or mended.
    ///
    /// # Errors
    /// One line that names the file and what is wrong with it; the plugin is then as it was.
    pub fn restore(&self, plugin: &mut Plugin) -> Result<bool, String> {
        let fault = match read_limited(&self.path, self.keeping.limit) {
            Ok(bytes) => match plugin.restore(&bytes) {
                Ok(()) => return Ok(true),
                Err(error) => error,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => error.to_string(),
        };
        let mut aside = self.path.clone().into_os_string();
        aside.push(".refused");
        let kept = match fs::rename(&self.path, &aside) {
            Ok(()) => format!("; kept as {}", Path::new(&aside).display()),
            // A place that cannot be written to is told when it is to be saved.
            Err(_) => String::new(),
        };
        Err(self.line(&(fault + &kept)))
    }

    /// Whether there is a step to take: one is under way, or the interval is over and records have come since.
    pub fn is_due(&mut self, plugin: &Plugin, now: UnixNanos) -> bool {
        if !matches!(self.step, Step::Idle) {
            return true;
        }
        if !self.has_interval() {
            return false;
        }
        let after = UnixNanos(now.0.saturating_add(self.interval_nanos));
        let next = *self.next.get_or_insert(after);
        // A clock that was set back must not mean that nothing is saved until it has caught up.
        if now < next && next <= after {
            return false;
        }
        self.next = Some(after);
        plugin.counters().records != self.saved_at
    }

    /// Takes the next slice of what the plugin has learned; `true` when it has given all and is not needed any more.
    pub fn gather(&mut self, plugin: &Plugin) -> bool {
        if matches!(self.step, Step::Idle) {
            self.saved_at = plugin.counters().records;
            self.step = Step::Gathering(Box::new(plugin.start_saving(self.keeping.limit)));
        }
        if let Step::Gathering(saving) = &mut self.step {
            if !plugin.save_some(saving, self.keeping.slice) {
                return false;
            }
            if let Step::Gathering(saving) = std::mem::take(&mut self.step) {
                let mut beside = self.path.as_os_str().to_owned();
                beside.push(".new");
                let beside = PathBuf::from(beside);
                self.step = Step::Writing(Writing { beside, file: None, parts: saving.finish(), written: 0 });
            }
        }
        true
    }

    /// Writes the next piece; `true` when the new file has taken the place of the old one.
    ///
    /// # Errors
    /// If the disk does not take it; the old file is as it was.
    pub fn write(&mut self) -> Result<bool, String> {
        let Step::Writing(writing) = &mut self.step else { return Ok(false) };
        let outcome = writing.piece(self.keeping.durable, &self.path);
        if let Err(error) = outcome {
            // A half-written file on a full disk only takes room.
            let _ = fs::remove_file(&writing.beside);
            self.step = Step::Idle;
            return Err(self.not_saved(&error));
        }
        let is_done = matches!(outcome, Ok(true));
        if is_done {
            self.step = Step::Idle;
            self.failures = 0;
        }
        Ok(is_done)
    }

    /// One step of whichever kind; a line for the operator if there is something to tell.
    pub fn step(&mut self, plugin: &Plugin) -> Option<String> {
        if !matches!(self.step, Step::Writing(_)) {
            self.gather(plugin);
            return None;
        }
        self.write().err().filter(|_| self.tells())
    }

    /// All steps at once, from the beginning.
    ///
    /// # Errors
    /// As [`StateFile::write`].
    pub fn save(&mut self, plugin: &Plugin) -> Result<(), String> {
        self.step = Step::Idle;
        while !self.gather(plugin) {}
        while !self.write()? {}
        Ok(())
    }

    /// Whether the last failure is worth a line: the first, and then ever more rarely.
    pub fn tells(&self) -> bool {
        self.failures.is_power_of_two()
    }

    fn not_saved(&mut self, error: &io::Error) -> String {
        self.failures = self.failures.saturating_add(1);
        self.line(&format!("not saved: {error}"))
    }

    fn line(&self, what: &str) -> String {
        format!("state_file {}: {what}", self.path.display())
    }
}

impl Writing {
    fn piece(&mut self, durable: bool, path: &Path) -> io::Result<bool> {
        let [head, body] = &self.parts;
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = self.file.insert(fs::File::create(&self.beside)?);
                file.write_all(head)?;
                file
            }
        };
        let rest = body.get(self.written..).unwrap_or_default();
        let piece = rest.get(..PIECE_BYTES.min(rest.len())).unwrap_or_default();
        file.write_all(piece)?;
        self.written = self.written.saturating_add(piece.len());
        if piece.len() < rest.len() {
            return Ok(false);
        }
        if durable {
            file.sync_all()?;
        }
        fs::rename(&self.beside, path)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use oddline_engine::Options;

    use super::*;
    use crate::format::Json;

    const SECOND: i64 = 1_000_000_000;
    const KEEPING: Keeping = Keeping { limit: 1 << 20, slice: 2, durable: false };

    fn settings(path: &Path, interval: u64) -> Settings {
        let state_file = Some(path.display().to_string());
        let options = Options { state_file, state_interval_seconds: Some(interval), ..Options::default() };
        Settings::new(&options).unwrap()
    }

    fn see(plugin: &mut Plugin, shape: usize) {
        let text = format!("{{\"log\":\"message {}\"}}", "of some words ".repeat(shape + 1));
        plugin.record::<Json>(b"app", text.as_bytes(), UnixNanos(SECOND), &mut Vec::new());
    }

    #[test]
    fn saved_step_by_step_when_the_interval_is_over_and_only_if_records_came() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let settings = settings(&path, 60);
        let mut plugin = Plugin::new(settings.clone());
        let mut file = StateFile::new(&settings, KEEPING).unwrap();
        assert_eq!(file.restore(&mut plugin), Ok(false));
        let mut time = 1_000 * SECOND;
        assert!(!file.is_due(&plugin, UnixNanos(time)));
        (0..9).for_each(|shape| see(&mut plugin, shape));
        assert!(!file.is_due(&plugin, UnixNanos(time + 60 * SECOND - 1)));
        time += 60 * SECOND;
        let mut steps = 0;
        while file.is_due(&plugin, UnixNanos(time)) {
            assert_eq!(file.step(&plugin), None);
            steps += 1;
            assert!(steps < 100);
        }
        assert!(steps >= 9 / 2 + 2, "{steps}");
        assert_eq!(fs::read(&path).unwrap(), plugin.snapshot());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing stays beside it");
        // Nothing came since; then something did, and the clock was set back.
        assert!(!file.is_due(&plugin, UnixNanos(time + 61 * SECOND)));
        see(&mut plugin, 20);
        assert!(file.is_due(&plugin, UnixNanos(3 * SECOND)), "a clock set back does not stop it");
        let mut restored = Plugin::new(settings);
        assert_eq!(file.restore(&mut restored), Ok(true));
        assert_eq!(restored.counters().templates, 9);
    }

    #[test]
    fn what_cannot_be_written_is_told_ever_more_rarely_and_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("absent/state");
        let settings = settings(&path, 1);
        let mut plugin = Plugin::new(settings.clone());
        see(&mut plugin, 1);
        let mut file = StateFile::new(&settings, KEEPING).unwrap();
        let mut told = Vec::new();
        for second in 0..20 {
            see(&mut plugin, 1);
            while file.is_due(&plugin, UnixNanos(second * SECOND)) {
                told.extend(file.step(&plugin));
            }
        }
        assert_eq!(told.len(), 5, "1, 2, 4, 8, 16: {told:?}");
        assert!(told[0].contains("absent/state: not saved: "), "{told:?}");
        assert!(file.save(&plugin).is_err());
        fs::create_dir(path.parent().unwrap()).unwrap();
        file.save(&plugin).unwrap();
        assert!(file.restore(&mut Plugin::new(settings)).unwrap());
    }

    #[test]
    fn a_file_past_the_limit_is_refused_by_name_and_none_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let settings = settings(&path, 0);
        let mut plugin = Plugin::new(settings.clone());
        (0..99).for_each(|shape| see(&mut plugin, shape));
        let whole = plugin.snapshot().len();
        for limit in [whole, whole - 1, whole / 10] {
            let mut file = StateFile::new(&settings, Keeping { limit, ..KEEPING }).unwrap();
            assert!(!file.is_due(&plugin, UnixNanos(i64::MAX)), "interval 0");
            file.save(&plugin).unwrap();
            assert!(file.restore(&mut Plugin::new(settings.clone())).unwrap(), "{limit}");
        }
        fs::write(&path, vec![b'x'; 1_001]).unwrap();
        let small = StateFile::new(&settings, Keeping { limit: 1_000, ..KEEPING }).unwrap();
        let error = small.restore(&mut Plugin::new(settings)).unwrap_err();
        let kept = dir.path().join("state.refused");
        let told = format!("state: file has more than 1000 bytes; kept as {}", kept.display());
        assert!(error.ends_with(&told), "{error}");
        assert!(fs::read(kept).unwrap().len() == 1_001 && !path.exists());
    }
}
