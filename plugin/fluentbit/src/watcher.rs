//! Takes a [`Watch`] and polls it from a thread of its own; gives what changed when asked. Keeps file I/O off the hot path.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use oddline_engine::UnixNanos;
use oddline_shell::{Changes, Watch};

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// The thread and its mailbox. Dropping it stops and joins the thread.
#[derive(Debug)]
pub struct Watcher {
    mailbox: Arc<Mailbox>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Holds at most one look: later ones are laid over it, so it cannot grow while no records flow.
#[derive(Debug, Default)]
struct Mailbox {
    full: AtomicBool,
    changes: Mutex<Option<Changes>>,
}

impl Watcher {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start(mut watch: Watch, now: fn() -> UnixNanos) -> Result<Watcher, String> {
        let mailbox = Arc::new(Mailbox::default());
        let (stop, stopped) = mpsc::channel();
        let out = Arc::clone(&mailbox);
        let thread = thread::Builder::new()
            .name("oddline-watch".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
                    out.put(watch.poll(now()));
                }
            })
            .map_err(|error| format!("cannot start the thread that watches files: {error}"))?;
        Ok(Watcher { mailbox, stop: Some(stop), thread: Some(thread) })
    }

    /// What changed since the last call; costs one atomic load if nothing did.
    pub fn take(&self) -> Option<Changes> {
        if !self.mailbox.full.swap(false, Ordering::AcqRel) {
            return None;
        }
        self.mailbox.changes.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the watcher has been printed by its thread; filtering went on without it.
            let _ = thread.join();
        }
    }
}

impl Mailbox {
    fn put(&self, later: Changes) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        match changes.as_mut() {
            Some(waiting) => waiting.merge(later),
            None => *changes = Some(later),
        }
        self.full.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Instant};

    use oddline_engine::{Options, Settings};

    use super::*;

    fn midnight() -> UnixNanos {
        UnixNanos(1_000_000_000_000)
    }

    #[test]
    fn tells_of_a_heartbeat_within_a_few_looks_and_stops_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { advice_dir: Some(dir.path().display().to_string()), ..Options::default() };
        let watcher = Watcher::start(Watch::new(&Settings::new(&options).unwrap()), midnight).unwrap();
        fs::write(dir.path().join("heartbeat"), "999000000000\n").unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while watcher.take().is_none_or(|changes| changes.alive.is_none()) {
            assert!(Instant::now() < deadline, "no change was told");
            thread::yield_now();
        }
        let before = Instant::now();
        drop(watcher);
        assert!(before.elapsed() < INTERVAL, "stopping waited for the next look");
    }
}
