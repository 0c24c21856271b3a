//! One instance of a component: its memory, its stack, and processor time for each call. Takes a loaded component, gives
//! answers or faults.

use std::{sync::Arc, time::Duration};

use wasmtime::{
    Config, Engine, Store, StoreLimits, StoreLimitsBuilder, Trap, UpdateDeadline, component::Linker,
};

use crate::{
    bindings::{
        Detector as Guest,
        exports::oddline::detector::detection::{Description, Entry, OptionSetting, Verdict},
    },
    limits,
    load::Component,
    ticker::Ticker,
};

/// What all components run on.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) engine: Engine,
    ticker: Arc<Ticker>,
}

/// A call that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It did not end in time.
    #[error("took more than {} ms of processor time", .0.as_millis())]
    Slow(Duration),
    /// It trapped, or its answer could not be read. One line.
    #[error("{0}")]
    Trap(String),
    /// Its answer means nothing.
    #[error("bad answer: {0}")]
    Answer(String),
}

/// A running component. After a fault it is of no use any more.
pub(crate) struct Sandbox {
    store: Store<State>,
    guest: Guest,
    ticker: Arc<Ticker>,
}

struct State {
    limits: StoreLimits,
    /// Processor time of this thread at which the call is stopped.
    until: Duration,
}

impl Runtime {
    /// Starts what components run on.
    ///
    /// # Errors
    /// If the machine cannot run compiled WebAssembly, or gives no thread.
    pub fn new() -> Result<Runtime, String> {
        let mut config = Config::new();
        config.epoch_interruption(true).max_wasm_stack(limits::MAX_STACK_BYTES);
        // Nothing here waits, and nothing is shared between threads.
        config.concurrency_support(false).wasm_memory64(false).wasm_multi_memory(false);
        let engine = Engine::new(&config).map_err(|error| line(&error))?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| error.to_string())?;
        Ok(Runtime { engine, ticker })
    }
}

impl Sandbox {
    /// Starts an instance, without configuring it.
    pub(crate) fn start(component: &Component) -> Result<Sandbox, Fault> {
        let runtime = &component.runtime;
        let limits = StoreLimitsBuilder::new()
            .memory_size(limits::MAX_MEMORY_BYTES)
            .table_elements(limits::MAX_TABLE_ELEMENTS)
            .memories(1)
            .tables(16)
            .instances(16)
            .build();
        let mut store = Store::new(&runtime.engine, State { limits, until: Duration::ZERO });
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(limits::MAX_ANSWER_BYTES);
        // Wall time tells nothing on a busy machine: only what the guest itself has used counts against it.
        store.epoch_deadline_callback(|context| {
            Ok(if processor_time() < context.data().until {
                UpdateDeadline::Continue(1)
            } else {
                UpdateDeadline::Interrupt
            })
        });
        allow(&mut store, limits::START);
        let linker = Linker::new(&runtime.engine);
        let instantiate = || Guest::instantiate(&mut store, &component.compiled, &linker);
        let guest = runtime.ticker.during(instantiate).map_err(|error| fault(&error, limits::START))?;
        Ok(Sandbox { store, guest, ticker: Arc::clone(&runtime.ticker) })
    }

    pub(crate) fn describe(&mut self) -> Result<Description, Fault> {
        self.call(limits::START, |guest, store| guest.oddline_detector_detection().call_describe(store))
    }

    /// The inner error is the guest's own, about its options.
    pub(crate) fn configure(&mut self, options: &[OptionSetting]) -> Result<Result<(), String>, Fault> {
        self.call(limits::START, |guest, store| {
            guest.oddline_detector_detection().call_configure(store, options)
        })
    }

    pub(crate) fn observe(&mut self, entry: &Entry) -> Result<Verdict, Fault> {
        self.call(limits::RECORD, |guest, store| {
            guest.oddline_detector_detection().call_observe(store, entry)
        })
    }

    pub(crate) fn observe_all(&mut self, entries: &[Entry]) -> Result<Vec<Verdict>, Fault> {
        let time = limits::RECORD.saturating_mul(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        self.call(time, |guest, store| guest.oddline_detector_detection().call_observe_all(store, entries))
    }

    pub(crate) fn snapshot(&mut self) -> Result<Vec<u8>, Fault> {
        self.store.set_hostcall_fuel(limits::MAX_SNAPSHOT_BYTES);
        let snapshot =
            self.call(limits::START, |guest, store| guest.oddline_detector_detection().call_snapshot(store));
        self.store.set_hostcall_fuel(limits::MAX_ANSWER_BYTES);
        snapshot
    }

    pub(crate) fn restore(&mut self, snapshot: &[u8]) -> Result<Result<(), String>, Fault> {
        self.call(limits::START, |guest, store| {
            guest.oddline_detector_detection().call_restore(store, snapshot)
        })
    }

    fn call<T>(
        &mut self,
        time: Duration,
        call: impl FnOnce(&Guest, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        let Sandbox { store, guest, ticker } = self;
        allow(store, time);
        ticker.during(|| call(guest, store)).map_err(|error| fault(&error, time))
    }
}

/// Gives the next call so much processor time.
fn allow(store: &mut Store<State>, time: Duration) {
    store.data_mut().until = processor_time().saturating_add(time);
    store.set_epoch_deadline(1);
}

/// What this thread has used of a processor.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn fault(error: &wasmtime::Error, time: Duration) -> Fault {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Fault::Slow(time),
        Some(Trap::StackOverflow) => {
            Fault::Trap(format!("used up its stack of {} bytes", limits::MAX_STACK_BYTES))
        }
        Some(trap) => Fault::Trap(trap.to_string().trim_start_matches("wasm trap: ").to_owned()),
        None => Fault::Trap(line(error)),
    }
}

/// An error's causes in one short line.
pub(crate) fn line(error: &wasmtime::Error) -> String {
    let text = error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
    crate::convert::shown(&text, 300)
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}
