//! Takes a host's properties and chunks, gives filtered chunks: one `[FILTER]` section while the shipper runs.
//!
//! Holds what threads share: the filter behind a lock (an input's own thread may filter too), the mailbox in which the
//! watcher leaves what changed on disk, the saver of what was learned. Must not know C.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use oddline_engine::UnixNanos;
use oddline_shell::{Changes, Plugin, StateFile, Watch};

use crate::{
    claim::Claim,
    filter::Filter,
    properties,
    saver::{KEEPING, Saver, hold},
    watcher::Watcher,
};

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
    // std's lock: held for one chunk or one slice of its state, never across a wait.
    filter: Arc<Mutex<Filter>>,
    watcher: Option<Watcher>,
    saver: Option<Saver>,
    _claim: Option<Claim>,
    panics: AtomicU64,
    log: fn(Log, &str),
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("saver", &self.saver).finish_non_exhaustive()
    }
}

impl Instance {
    /// Checks the properties, restores the state, reads rules and advice, and starts the watcher.
    ///
    /// # Errors
    /// One line that names every property that is wrong, or a state file that another instance keeps, or the reason why no
    /// thread could be started.
    pub fn new(log: fn(Log, &str), property: impl Fn(&str) -> Option<String>) -> Result<Instance, String> {
        let settings = properties::settings(property)?;
        let claim = settings.state_file().map(Claim::new).transpose()?.flatten();
        let mut watch = Watch::new(&settings);
        let state_file = StateFile::new(&settings, KEEPING);
        let mut filter = Filter::new(Plugin::new(settings));
        match state_file.as_ref().map(|file| file.restore(filter.plugin_mut())) {
            Some(Ok(true)) => log(Log::Info, "state_file: restored"),
            Some(Err(error)) => log(Log::Error, &format!("{error}; starting empty")),
            Some(Ok(false)) | None => {}
        }
        let changes = watch.poll(now());
        take(&mut filter, changes, log);
        let watcher = if watch.is_idle() { None } else { Some(Watcher::start(watch, now)?) };
        let filter = Arc::new(Mutex::new(filter));
        let saver = state_file.map(|file| Saver::start(file, Arc::clone(&filter), now)).transpose()?;
        Ok(Instance { filter, watcher, saver, _claim: claim, panics: AtomicU64::new(0), log })
    }

    /// One chunk. `give` gets the filtered bytes; `None` if the chunk stays as it is.
    pub fn filter<T>(&self, tag: &[u8], chunk: &[u8], give: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if let Some(fault) = self.saver.as_ref().and_then(Saver::fault) {
            (self.log)(Log::Error, &fault);
        }
        let mut filter = hold(&self.filter);
        if let Some(changes) = self.watcher.as_ref().and_then(Watcher::take) {
            take(&mut filter, changes, self.log);
        }
        let now = now();
        if let Some(notice) = filter.plugin_mut().lapse(now) {
            (self.log)(Log::Warn, notice);
        }
        let filtered = filter.chunk(tag, chunk, now).map(give);
        if filter.counters_are_due(now) {
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
        let file = self.saver.and_then(Saver::stop);
        let filter = hold(&self.filter);
        (self.log)(Log::Info, &format!("{} panics={}", filter.counters(), self.panics.into_inner()));
        if let Some(mut file) = file
            && let Err(error) = file.save(filter.plugin())
        {
            (self.log)(Log::Error, &error);
        }
    }
}

fn take(filter: &mut Filter, mut changes: Changes, log: fn(Log, &str)) {
    for notice in std::mem::take(&mut changes.notices) {
        log(Log::Warn, &notice);
    }
    filter.apply(changes);
}

fn now() -> UnixNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
