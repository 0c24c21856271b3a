//! The clock by which guests are stopped: a thread that ticks while a guest runs and sleeps while none does.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::Engine;

/// Between two ticks; with every tick a running guest is looked at.
const TICK: Duration = Duration::from_millis(1);

/// Counts the guests that run. Its thread ends with it.
#[derive(Debug)]
pub(crate) struct Ticker {
    running: AtomicUsize,
    thread: Thread,
}

impl Ticker {
    pub(crate) fn start(engine: Engine) -> std::io::Result<Arc<Ticker>> {
        let (give, take) = std::sync::mpsc::sync_channel::<Weak<Ticker>>(1);
        let tick = move || {
            let Ok(ticker) = take.recv() else { return };
            while let Some(running) = ticker.upgrade().map(|ticker| ticker.running.load(SeqCst)) {
                if running == 0 {
                    thread::park();
                } else {
                    thread::sleep(TICK);
                    engine.increment_epoch();
                }
            }
        };
        let handle = thread::Builder::new().name("detector-ticker".to_owned()).spawn(tick)?;
        let ticker = Arc::new(Ticker { running: AtomicUsize::new(0), thread: handle.thread().clone() });
        // The thread waits for just this, so it is there.
        let _ = give.send(Arc::downgrade(&ticker));
        Ok(ticker)
    }

    /// Does something while the clock ticks.
    pub(crate) fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        if self.running.fetch_add(1, SeqCst) == 0 {
            self.thread.unpark();
        }
        let _running = Running(self);
        work()
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.thread.unpark();
    }
}

/// Not forgotten when the work panics, either.
struct Running<'t>(&'t Ticker);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}
