//! Takes a host's properties and chunks, gives filtered chunks: one `[FILTER]` section while the shipper runs.
//!
//! Holds what threads share: the filter behind a lock (an input's own thread may filter too), the mailbox in which the
//! watcher leaves what changed on disk, the state file. Must not know C.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use oddline_engine::{MAX_STATE_BYTES, UnixNanos};
use oddline_shell::{Changes, Plugin, Watch};

use crate::{filter::Filter, properties, watcher::Watcher};

/// How urgent a line for the shipper's log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// Something does not work.
    Error,
    /// Something is not as it should be.
    Warn,
    /// Good to know.
    Info,
}

/// One filter instance.
pub struct Instance {
    // std's lock: held for one chunk, never across a wait; a panic inside is caught and the state stays usable.
    filter: Mutex<Filter>,
    watcher: Option<Watcher>,
    state_file: Option<PathBuf>,
    panics: AtomicU64,
    log: fn(Log, &str),
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("state_file", &self.state_file).finish_non_exhaustive()
    }
}

impl Instance {
    /// Checks the properties, restores the state, reads rules and advice, and starts the watcher.
    ///
    /// # Errors
    /// One line that names every property that is wrong, or the reason why no thread could be started.
    pub fn new(log: fn(Log, &str), property: impl Fn(&str) -> Option<String>) -> Result<Instance, String> {
        let settings = properties::settings(property)?;
        let mut watch = Watch::new(&settings);
        let state_file = settings.state_file().map(PathBuf::from);
        let mut filter = Filter::new(Plugin::new(settings));
        if let Some(path) = &state_file {
            restore(&mut filter, path, log);
        }
        let changes = watch.poll(now());
        take(&mut filter, changes, log);
        let watcher = if watch.is_idle() { None } else { Some(Watcher::start(watch, now)?) };
        Ok(Instance { filter: Mutex::new(filter), watcher, state_file, panics: AtomicU64::new(0), log })
    }

    /// One chunk. `give` gets the filtered bytes; `None` if the chunk stays as it is.
    pub fn filter<T>(&self, tag: &[u8], chunk: &[u8], give: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let mut filter = self.lock();
        if let Some(changes) = self.watcher.as_ref().and_then(Watcher::take) {
            take(&mut filter, changes, self.log);
        }
        let summaries = filter.summaries();
        let filtered = filter.chunk(tag, chunk, now()).map(give);
        if filter.summaries() != summaries {
            (self.log)(Log::Info, &filter.counters());
        }
        filtered
    }

    /// Counts a panic that was caught; gives how many there have been.
    pub fn count_panic(&self) -> u64 {
        self.panics.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Stops the watcher, saves the state, and tells the counters.
    pub fn exit(self) {
        drop(self.watcher);
        let filter = self.filter.into_inner().unwrap_or_else(PoisonError::into_inner);
        (self.log)(Log::Info, &format!("{} panics={}", filter.counters(), self.panics.into_inner()));
        if let Some(path) = self.state_file
            && let Err(error) = replace(&path, &filter.snapshot())
        {
            (self.log)(Log::Error, &format!("state_file {}: not saved: {error}", path.display()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Filter> {
        self.filter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(filter: &mut Filter, mut changes: Changes, log: fn(Log, &str)) {
    for notice in std::mem::take(&mut changes.notices) {
        log(Log::Warn, &notice);
    }
    filter.apply(changes);
}

fn restore(filter: &mut Filter, path: &Path, log: fn(Log, &str)) {
    let size = match fs::metadata(path) {
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            return log(Log::Error, &format!("state_file {}: {error}; starting empty", path.display()));
        }
    };
    let read = if size > MAX_STATE_BYTES as u64 {
        Err(format!("has {size} bytes, more than the limit of {MAX_STATE_BYTES}"))
    } else {
        fs::read(path).map_err(|error| error.to_string())
    };
    match read.and_then(|bytes| filter.restore(&bytes)) {
        Ok(()) => log(Log::Info, &format!("state_file {}: restored", path.display())),
        Err(error) => log(Log::Error, &format!("state_file {}: {error}; starting empty", path.display())),
    }
}

/// Replaces a file so that a reader, or the next start, finds the old bytes or the new ones, never a part.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let written = fs::File::create(&new).and_then(|mut file| {
        io::Write::write_all(&mut file, bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    });
    if written.is_err() {
        // A half-written file on a full disk only takes room.
        let _ = fs::remove_file(&new);
    }
    written
}

fn now() -> UnixNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
