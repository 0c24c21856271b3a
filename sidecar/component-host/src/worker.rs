//! A thread per detector: loads it, then answers for batches of records until nobody asks any more. What it does is
//! counted; what goes wrong is logged once each time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use oddline_analyze::ports::Opinion;
use tokio::sync::{mpsc, oneshot};

use crate::{
    bindings::exports::oddline::detector::detection::Entry,
    convert,
    detector::{Detector, Spec},
    faults::{FaultLimit, Faults},
    keep::Keeper,
    sandbox::{Fault, Runtime},
};

/// Records to look at, and whom to tell.
pub(crate) struct Job {
    pub(crate) records: Arc<[Entry]>,
    /// Records whose turn comes later than this are passed over.
    pub(crate) until: Instant,
    pub(crate) answer: oneshot::Sender<Vec<Option<Opinion>>>,
}

/// How a detector fares.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    state: AtomicU8,
    pub(crate) records: AtomicU64,
    pub(crate) opinions: AtomicU64,
    pub(crate) faults: AtomicU64,
    /// Records that it did not come to look at.
    pub(crate) missed: AtomicU64,
    /// Records that it looked at for nobody: whoever asked had stopped waiting.
    pub(crate) late: AtomicU64,
}

/// What a detector is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// It is being loaded.
    Loading,
    /// It looks at records.
    Ready,
    /// It was refused, or failed too often.
    Off,
}

impl Standing {
    pub(crate) fn state(&self) -> State {
        match self.state.load(Relaxed) {
            0 => State::Loading,
            1 => State::Ready,
            _ => State::Off,
        }
    }

    fn set(&self, state: State) {
        self.state.store(state as u8, Relaxed);
    }
}

/// The life of a detector.
pub(crate) fn run(
    runtime: &Runtime,
    spec: &Spec,
    limit: FaultLimit,
    mut keeper: Option<Keeper>,
    standing: &Standing,
    mut jobs: mpsc::Receiver<Job>,
) {
    let mut detector = match Detector::open(runtime, spec) {
        Ok(detector) => detector,
        Err(refused) => {
            standing.set(State::Off);
            tracing::error!(
                detector = spec.name,
                "{} {refused}; the sidecar runs without it",
                spec.path.display()
            );
            return;
        }
    };
    if let Some(keeper) = &keeper {
        keeper.restore(&spec.name, &mut detector);
    }
    tracing::info!(detector = spec.name, is = detector.description(), "detector looks at records");
    standing.set(State::Ready);
    let mut faults = Faults::new(limit);
    while standing.state() == State::Ready
        && let Some(job) = jobs.blocking_recv()
    {
        let mut opinions = Vec::with_capacity(job.records.len());
        for entry in &*job.records {
            if standing.state() != State::Ready || Instant::now() >= job.until {
                break;
            }
            standing.records.fetch_add(1, Relaxed);
            opinions.push(match detector.observe_entry(entry) {
                Ok(verdict) => convert::opinion(&spec.name, spec.weight, &verdict),
                Err(fault) => {
                    fails(spec, &fault, &mut faults, limit, standing);
                    None
                }
            });
        }
        standing.missed.fetch_add((job.records.len() - opinions.len()) as u64, Relaxed);
        standing.opinions.fetch_add(opinions.iter().flatten().count() as u64, Relaxed);
        let seen = opinions.len() as u64;
        opinions.resize(job.records.len(), None);
        if job.answer.send(opinions).is_err() {
            standing.late.fetch_add(seen, Relaxed);
        }
        if let Some(keeper) = &mut keeper {
            keeper.keep(&spec.name, &mut detector, Instant::now());
        }
    }
}

/// Notes a fault, and turns the detector off if it was one too many.
fn fails(spec: &Spec, fault: &Fault, faults: &mut Faults, limit: FaultLimit, standing: &Standing) {
    standing.faults.fetch_add(1, Relaxed);
    if faults.add(Instant::now()) {
        standing.set(State::Off);
        tracing::error!(
            detector = spec.name,
            %fault,
            "detector is turned off until the next start: {} faults within {:?}",
            limit.faults,
            limit.within
        );
    } else {
        tracing::warn!(detector = spec.name, %fault, "detector failed on a record and starts anew");
    }
}
