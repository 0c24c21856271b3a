//! Takes the filter and its state file, and saves the one in the other at an interval, from a thread of its own: the
//! filter is held for one slice at a time, and a slow disk keeps nobody waiting. Must not know what is learned.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use oddline_engine::{MAX_STATE_BYTES, UnixNanos};
use oddline_shell::{Keeping, StateFile};

use crate::filter::Filter;

/// How the native filter keeps its state.
pub const KEEPING: Keeping = Keeping { limit: MAX_STATE_BYTES, slice: 64, durable: true };
/// How often the thread asks whether the interval is over.
const LOOK: Duration = Duration::from_millis(500);

/// The thread. Stopping it gives the file back.
#[derive(Debug)]
pub struct Saver {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<StateFile>,
    /// A line that waits to be told: the shipper's log is for the shipper's threads.
    fault: Arc<Mutex<Option<String>>>,
}

impl Saver {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start(
        mut file: StateFile,
        filter: Arc<Mutex<Filter>>,
        now: fn() -> UnixNanos,
    ) -> Result<Saver, String> {
        let (stop, stopped) = mpsc::channel();
        let fault = Arc::new(Mutex::new(None));
        let told = Arc::clone(&fault);
        let thread = thread::Builder::new()
            .name("oddline-state".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
                    if file.is_due(hold(&filter).plugin(), now())
                        && let Err(error) = save(&mut file, &filter, &stopped)
                        && file.tells()
                    {
                        *hold(&told) = Some(error);
                    }
                }
                file
            })
            .map_err(|error| format!("cannot start the thread that saves state: {error}"))?;
        Ok(Saver { stop, thread, fault })
    }

    /// Why it could not be saved, if that is news.
    pub fn fault(&self) -> Option<String> {
        hold(&self.fault).take()
    }

    /// Stops between two steps; none if the thread has panicked.
    pub fn stop(self) -> Option<StateFile> {
        drop(self.stop);
        self.thread.join().ok()
    }
}

fn save(file: &mut StateFile, filter: &Mutex<Filter>, stopped: &mpsc::Receiver<()>) -> Result<(), String> {
    let goes_on = || stopped.try_recv() == Err(mpsc::TryRecvError::Empty);
    while !file.gather(hold(filter).plugin()) && goes_on() {}
    while goes_on() && !file.write()? {}
    Ok(())
}

/// A panic of whoever held it was caught, and the state stays usable.
pub(crate) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
