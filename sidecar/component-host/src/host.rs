//! All detectors behind the port of the analysis: each batch goes to all of them at once, and whatever has been said in
//! time counts.

use std::{
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use oddline_analyze::{
    events::Figure,
    ports::{Detectors, Opinion, Seen},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    bindings::exports::oddline::detector::detection::Entry,
    convert,
    detector::Spec,
    faults::FaultLimit,
    keep::Keeper,
    limits,
    sandbox::Runtime,
    worker::{self, Job, Standing, State},
};

/// How detectors are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSettings {
    /// Longest time that a batch of records waits for opinions.
    pub wait: Duration,
    /// When a detector is turned off.
    pub limit: FaultLimit,
    /// Where snapshots are kept, and how often; `None`: nowhere.
    pub keep: Option<(PathBuf, Duration)>,
}

/// The detectors, running.
#[derive(Debug)]
pub struct Host {
    wait: Duration,
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    name: String,
    standing: Arc<Standing>,
    jobs: mpsc::Sender<Job>,
}

impl Host {
    /// Starts loading the detectors, and returns at once: records flow without those that are not there yet.
    ///
    /// # Errors
    /// If the machine cannot run WebAssembly, or there are more detectors than the limit. A component that is refused is
    /// none: it is logged, counted, and left out.
    pub fn start(specs: Vec<Spec>, settings: HostSettings) -> Result<Host, String> {
        if specs.len() > limits::MAX_DETECTORS {
            return Err(format!(
                "{} detectors, more than the limit of {}",
                specs.len(),
                limits::MAX_DETECTORS
            ));
        }
        let runtime = Runtime::new()?;
        let mut workers = Vec::with_capacity(specs.len());
        for spec in specs {
            let (jobs, queue) = mpsc::channel(limits::QUEUE_BATCHES);
            let standing = Arc::new(Standing::default());
            let (name, runtime, shared) = (spec.name.clone(), runtime.clone(), Arc::clone(&standing));
            let keeper = settings.keep.as_ref().map(|(folder, every)| Keeper::new(folder, &name, *every));
            thread::Builder::new()
                .name(format!("detector-{}", workers.len()))
                .spawn(move || worker::run(&runtime, &spec, settings.limit, keeper, &shared, queue))
                .map_err(|error| format!("no thread for detector {name}: {error}"))?;
            workers.push(Worker { name, standing, jobs });
        }
        Ok(Host { wait: settings.wait, workers })
    }

    /// Whether none of them is being loaded any more.
    pub fn is_settled(&self) -> bool {
        self.workers.iter().all(|worker| worker.standing.state() != State::Loading)
    }
}

impl Worker {
    /// Hands over a batch; `None`: it is not there, or too far behind.
    fn ask(&self, records: &Arc<[Entry]>, until: Instant) -> Option<oneshot::Receiver<Vec<Option<Opinion>>>> {
        let (answer, told) = oneshot::channel();
        let asked = self.standing.state() == State::Ready
            && self.jobs.try_send(Job { records: Arc::clone(records), until, answer }).is_ok();
        if !asked {
            self.standing.missed.fetch_add(records.len() as u64, Relaxed);
        }
        asked.then_some(told)
    }
}

impl Detectors for Host {
    fn look(
        &self,
        records: Vec<Seen>,
        now: i64,
    ) -> Pin<Box<dyn Future<Output = Vec<Option<Opinion>>> + Send + '_>> {
        Box::pin(async move {
            let entries: Arc<[Entry]> =
                records.into_iter().map(|record| convert::entry(record, now)).collect();
            let until = Instant::now() + self.wait;
            let asked: Vec<_> =
                self.workers.iter().filter_map(|worker| worker.ask(&entries, until)).collect();
            let mut joined = vec![None; entries.len()];
            // By then a worker has seen that it is late, and says what it has.
            let last = tokio::time::Instant::from_std(until + 2 * limits::RECORD);
            for told in asked {
                if let Ok(Ok(opinions)) = tokio::time::timeout_at(last, told).await {
                    joined.iter_mut().zip(opinions).for_each(|(all, one)| join(all, one));
                }
            }
            joined
        })
    }

    fn figures(&self) -> Vec<Figure> {
        let figure = |name: &'static str, help, worker: &Worker, counter, value| Figure {
            name: name.into(),
            help,
            label: Some(("detector", worker.name.clone())),
            counter,
            value,
        };
        let of = |worker: &Worker| {
            let standing = &worker.standing;
            let is_ready = u64::from(standing.state() == State::Ready);
            [
                figure("detector_ready", "1 while the detector looks at records", worker, false, is_ready),
                figure(
                    "detector_records",
                    "Records that the detector was shown",
                    worker,
                    true,
                    standing.records.load(Relaxed),
                ),
                figure(
                    "detector_opinions",
                    "Records that the detector holds for odd",
                    worker,
                    true,
                    standing.opinions.load(Relaxed),
                ),
                figure(
                    "detector_faults",
                    "Records on which the detector failed",
                    worker,
                    true,
                    standing.faults.load(Relaxed),
                ),
                figure(
                    "detector_missed",
                    "Records that went without the detector, because it was late, busy or off",
                    worker,
                    true,
                    standing.missed.load(Relaxed),
                ),
                figure(
                    "detector_late",
                    "Records that the detector was shown, and that did not wait for what it said",
                    worker,
                    true,
                    standing.late.load(Relaxed),
                ),
            ]
        };
        self.workers.iter().flat_map(of).collect()
    }
}

/// The greater score counts, and every reason.
fn join(all: &mut Option<Opinion>, one: Option<Opinion>) {
    let Some(one) = one else { return };
    match all {
        Some(all) => {
            all.score = all.score.max(one.score);
            all.reason.push_str("; ");
            all.reason.push_str(&one.reason);
        }
        None => *all = Some(one),
    }
}
