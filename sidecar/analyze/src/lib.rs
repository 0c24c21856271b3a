//! Questionable records in, the sidecar's verdicts out, each before its deadline.
//!
//! * Takes [`ports::Received`] records with a plugin's verdict, plain records to
//!   [`screen`](ports::Analysis::screen), and plugins' summaries.
//! * Gives final verdicts, [`Advice`] for the plugins, [`events::Figure`]s and a broadcast of what it judged.
//! * Must not know any protocol, vendor, database, file or environment: all of that is behind [`ports`].
//!
//! Work is per template, not per record: the first record of a template takes the costly path
//! (intake → embed → compare → publish), its duplicates wait for the same answer, and whatever comes later is judged
//! from memory. The path is one function, `examine`, below.
#![forbid(unsafe_code)]

pub mod advice;
pub mod batch;
pub mod breaker;
pub mod calibrate;
mod compare;
pub mod counts;
mod embed;
pub mod events;
pub mod feedback;
pub mod findings;
mod intake;
pub mod judge;
mod known;
mod learn;
mod names;
pub mod operate;
mod opinion;
pub mod plugins;
pub mod ports;
mod publish;
mod rates;
mod reach;
pub mod reported;
pub mod rows;
mod screen;
mod seeds;
pub mod seen;
pub mod settings;
mod templates;
mod without;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, atomic::AtomicU32},
    time::Duration,
};

use oddline_engine::{Advice, Body, Engine, Picker, Record, Summary, TemplateId, Verdict, rules::RuleSet};
use tokio::{
    sync::{Semaphore, broadcast},
    task::JoinSet,
    time::MissedTickBehavior,
};

use crate::{
    batch::Judged,
    breaker::{Breaker, BreakerState},
    compare::Compare,
    embed::Embed,
    events::{Events, Figure, SkipCause},
    feedback::Feedback,
    findings::Findings,
    intake::{Answer, Intake, Ticket, Tickets, Waiting},
    known::Earning,
    learn::Learner,
    plugins::Plugins,
    ports::{
        Analysis, BackendError, Clock, Conditions, Detectors, Embedder, Received, Seen, StateStore,
        VectorIndex,
    },
    publish::Ground,
    rates::Rates,
    screen::Screen,
    templates::Templates,
    without::Without,
};
pub use settings::{OptionErrors, Options, Settings};

/// Verdicts that a slow listener may lag behind before it misses some.
const BROADCAST: usize = 1_024;

/// What the analysis calls out to.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "ports are traits without Debug")]
pub struct Ports {
    /// Text to vector.
    pub embedder: Arc<dyn Embedder>,
    /// Known templates by vector.
    pub index: Arc<dyn VectorIndex>,
    /// What outlives a restart.
    pub state: Arc<dyn StateStore>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}

/// The analysis, running. Dropping it stops it; [`Analyzer::close`] also saves what is not saved yet.
pub struct Analyzer {
    shared: Arc<Shared>,
    /// Aborted on drop. Locked only by `close`.
    tasks: Mutex<JoinSet<()>>,
}

/// What all tasks of one analysis share. No lock in here but the last three is held across an `.await`.
struct Shared {
    settings: Settings,
    clock: Arc<dyn Clock>,
    state: Arc<dyn StateStore>,
    screen: Screen,
    /// Held to copy the pointer.
    conditions: RwLock<Option<Arc<dyn Conditions>>>,
    detectors: OnceLock<Arc<dyn Detectors>>,
    intake: Intake,
    embed: Embed,
    compare: Compare,
    /// Held for one look-up or one row; for milliseconds when rows are evicted or advice is built.
    templates: Mutex<Templates>,
    earning: Mutex<Earning>,
    /// Failures in a row to make known what has earned it.
    earn_failures: AtomicU32,
    calibration: Mutex<Calibration>,
    plugins: Mutex<Plugins>,
    /// Held for one count; for milliseconds when a window closes.
    rates: Mutex<Rates>,
    feedback: Mutex<Feedback>,
    events: Events,
    findings: broadcast::Sender<Arc<Judged>>,
    /// Held for one finding.
    recent: Mutex<Findings>,
    /// Engines beside the one that screens and the one that learns.
    engines: Arc<Semaphore>,
    /// Held while lines are learned; upkeep only tries it.
    learning: tokio::sync::Mutex<Option<Learner>>,
    /// Held while what operators have said is saved, so that the last word is the one that is kept.
    saving_notes: tokio::sync::Mutex<()>,
    /// Held while the index and the memory of templates change together, so that what is under way undoes no report.
    changing_known: tokio::sync::Mutex<()>,
}

/// The similarity threshold in force, and what may move it.
#[derive(Debug)]
struct Calibration {
    threshold: f32,
    changes: usize,
    at: u64,
}

/// A record's answer, or where to wait for it; or none is needed.
enum Found {
    Now(Answer),
    Later(Waiting),
    Settled,
}

impl Analyzer {
    /// Loads what was remembered, works out the threshold, and starts; must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the state cannot be read. A dead embedder or index does not keep the analysis from starting.
    pub async fn open(settings: Settings, ports: Ports, engine: Engine) -> Result<Analyzer, BackendError> {
        let saved = ports.state.load_templates(settings.max_templates).await?;
        let feedback = feedback::load(&*ports.state).await?;
        let reported = reported::load(&*ports.state).await?;
        let (intake, tickets) = Intake::new(settings.queue_templates);
        let breaker = |what| {
            Breaker::new(what, settings.backend_timeout, settings.breaker_failures, settings.breaker_open)
        };
        let shared = Arc::new(Shared {
            clock: ports.clock,
            state: ports.state,
            rates: Mutex::new(Rates::new(engine.settings(), settings.max_templates)),
            screen: Screen::new(engine),
            conditions: RwLock::new(None),
            detectors: OnceLock::new(),
            intake,
            embed: Embed::new(ports.embedder, breaker("embedder")),
            compare: Compare::new(ports.index, breaker("vector index")),
            templates: Mutex::new(Templates::new(settings.max_templates, saved, reported)),
            earning: Mutex::new(Earning::new(&settings)),
            earn_failures: AtomicU32::new(0),
            // Due from the start: embedder or index may not be there yet.
            calibration: Mutex::new(Calibration { threshold: calibrate::PRIOR, changes: 1, at: 0 }),
            plugins: Mutex::default(),
            feedback: Mutex::new(feedback),
            events: Events::default(),
            findings: broadcast::Sender::new(BROADCAST),
            recent: Mutex::default(),
            engines: Arc::new(Semaphore::new(seeds::MAX_ENGINES)),
            learning: tokio::sync::Mutex::default(),
            saving_notes: tokio::sync::Mutex::default(),
            changing_known: tokio::sync::Mutex::default(),
            settings,
        });
        shared.calibrate().await;
        let mut tasks = JoinSet::new();
        tasks.spawn(work(shared.clone(), tickets));
        tasks.spawn(keep_up(shared.clone()));
        Ok(Analyzer { shared, tasks: Mutex::new(tasks) })
    }

    /// The advice for plugins, if it differs from the one given last; also advises the engine that screens.
    pub async fn advice(&self) -> Option<Advice> {
        self.shared.advice().await
    }

    /// Makes these templates known. Gives how many.
    ///
    /// # Errors
    /// If the embedder, the index or the store fails; what was made known before stays so.
    pub async fn teach(&self, templates: Vec<(TemplateId, Arc<str>)>) -> Result<usize, BackendError> {
        let taught = self.shared.make_known(templates, Ground::Taught).await?;
        self.shared.events.templates_taught(taught);
        self.shared.calibrate().await;
        Ok(taught)
    }

    /// How many templates are known.
    ///
    /// # Errors
    /// If the index fails.
    pub async fn known(&self) -> Result<usize, BackendError> {
        self.shared.compare.count().await
    }

    /// The similarity from which a message counts as like a known one, now.
    pub fn threshold(&self) -> f32 {
        self.shared.threshold()
    }

    /// Sets the rules, and those among them that the engine cannot run; what was learned stays.
    pub fn set_rules(&self, rules: Arc<RuleSet>, conditions: Option<Arc<dyn Conditions>>) {
        self.shared.screen.set_rules(rules);
        *self.shared.conditions.write().unwrap_or_else(PoisonError::into_inner) = conditions;
    }

    /// Finds messages and the fields that the rules in force ask about.
    pub fn picker(&self) -> Arc<Picker> {
        self.shared.screen.picker()
    }

    /// Sets the detectors that look at records; once, before the first record.
    pub fn set_detectors(&self, detectors: Arc<dyn Detectors>) {
        // A second call would be a fault of ours, and changes nothing.
        let _ = self.shared.detectors.set(detectors);
    }

    /// `oddline/<version> rules:<hash>`, for tags.
    pub fn model(&self) -> Arc<str> {
        self.shared.screen.model()
    }

    /// Every verdict from now on; a listener that lags by more than 1,024 misses some.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Judged>> {
        self.shared.findings.subscribe()
    }

    /// What was counted, with the latency histogram.
    pub fn events(&self) -> &Events {
        &self.shared.events
    }

    /// All figures: counters, sizes, breakers, and what plugins reported.
    pub fn figures(&self) -> Vec<Figure> {
        let shared = &self.shared;
        let gauge = |name: &'static str, help, value| Figure {
            name: name.into(),
            help,
            label: None,
            counter: false,
            value,
        };
        let open = |state: BreakerState| u64::from(state != BreakerState::Closed);
        let mut figures = shared.events.figures();
        figures.extend(shared.conditions().map(|conditions| Figure {
            counter: true,
            ..gauge(
                "rule_conditions_failed",
                "Times that a rule's condition could not be evaluated",
                conditions.failed(),
            )
        }));
        figures.extend([
            gauge("queue_templates", "Templates waiting for a batch", shared.intake.depth() as u64),
            gauge(
                "queue_put_off_templates",
                "Templates that are looked up when no record waits",
                shared.intake.put_off_depth() as u64,
            ),
            gauge("templates", "Templates remembered", shared.templates().len() as u64),
            gauge("rates", "Templates whose rate is watched", shared.rates().len() as u64),
            gauge(
                "embedder_breaker_open",
                "1 while the embedder is not called",
                open(shared.embed.breaker.state()),
            ),
            gauge(
                "index_breaker_open",
                "1 while the vector index is not called",
                open(shared.compare.breaker.state()),
            ),
        ]);
        figures.extend(shared.detectors.get().iter().flat_map(|detectors| detectors.figures()));
        figures.extend(shared.plugins.lock().unwrap_or_else(PoisonError::into_inner).figures());
        figures
    }

    /// Stops, answers whoever still waits with a skip, and saves. Gives whether everything is saved.
    pub async fn close(&self) -> bool {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        self.shared.save().await
    }
}

impl fmt::Debug for Analyzer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Analyzer").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl Analysis for Analyzer {
    fn judge(&self, records: Vec<Received>) -> Pin<Box<dyn Future<Output = Vec<Verdict>> + Send + '_>> {
        Box::pin(self.shared.judge(records, Vec::new()))
    }

    fn looks(&self) -> bool {
        self.shared.detectors.get().is_some()
    }

    fn judge_seen(
        &self,
        records: Vec<Received>,
        seen: Vec<Seen>,
    ) -> Pin<Box<dyn Future<Output = Vec<Verdict>> + Send + '_>> {
        Box::pin(self.shared.judge(records, seen))
    }

    fn screen(&self, record: &Record<'_>) -> Verdict {
        self.shared.screen.observe(record, None, self.shared.clock.unix_nanos())
    }

    fn screen_whole(&self, record: &Record<'_>, body: &dyn Body) -> Verdict {
        let conditions = self.shared.conditions();
        let is_silenced = |name: &str| self.shared.is_silenced(name);
        let also = conditions.and_then(|conditions| conditions.best(record.tag, body, &is_silenced));
        self.shared.screen.observe(record, also, self.shared.clock.unix_nanos())
    }

    fn complete(&self, local: Verdict, tag: &[u8], body: &dyn Body, without: &str) -> Verdict {
        let Some(conditions) = self.shared.conditions() else { return local };
        let is_silenced = |name: &str| self.shared.is_silenced(name);
        match conditions.best(tag, &Without { body, key: without.as_bytes() }, &is_silenced) {
            Some(also) => judge::with_rule(local, also),
            None => local,
        }
    }

    fn summary(&self, summary: Summary) {
        self.shared.take_in(&summary);
    }
}

impl Shared {
    fn is_settled(&self, id: TemplateId) -> bool {
        self.templates().standing(id, self.now_seconds()).is_some()
    }

    fn conditions(&self) -> Option<Arc<dyn Conditions>> {
        self.conditions.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The stages, in order: embed → compare → publish. (Before them `find`, after them `conclude`, per record.)
async fn examine(shared: Arc<Shared>, tickets: Vec<Ticket>) {
    let screened = tickets.iter().map(|ticket| ticket.template.clone()).collect();
    let mut embedded = Vec::with_capacity(tickets.len());
    let mut in_hand = Vec::with_capacity(tickets.len());
    for (ticket, outcome) in tickets.into_iter().zip(shared.embed.embed(screened, &shared.events).await) {
        match outcome {
            Ok(template) => {
                embedded.push(template);
                in_hand.push(ticket);
            }
            Err((_, error)) => shared.give_up(&ticket, SkipCause::Embedder, &error),
        }
    }
    match shared.compare.compare(embedded, &shared.events).await {
        Ok(compared) => {
            in_hand.iter().zip(&compared).for_each(|(ticket, compared)| shared.publish(ticket, compared));
        }
        Err(error) => in_hand.iter().for_each(|ticket| shared.give_up(ticket, SkipCause::Index, &error)),
    }
}

/// Takes batches out of the queue and examines a few of them at a time; one of these may be of templates put off.
async fn work(shared: Arc<Shared>, tickets: Tickets) {
    let in_flight = Arc::new(Semaphore::new(shared.settings.batches_in_flight));
    tokio::join!(work_now(&shared, &tickets, &in_flight), work_later(&shared, &tickets, &in_flight));
}

async fn work_now(shared: &Arc<Shared>, tickets: &Tickets, in_flight: &Arc<Semaphore>) {
    let (size, wait) = (shared.settings.batch_templates, shared.settings.batch_wait);
    let mut batches = JoinSet::new();
    loop {
        // First the permit, then the batch: while all are busy the queue fills, and batches with it. But no permit is kept
        // while nothing is queued, for what was put off may be looked up then.
        tickets.queued().await;
        let Ok(permit) = in_flight.clone().acquire_owned().await else { return };
        let mut batch = intake::next_batch(tickets, size, wait).await;
        for late in batch.extract_if(.., |ticket| shared.intake.is_abandoned(ticket)) {
            shared.intake.put_off(late.template.clone());
        }
        let shared = shared.clone();
        batches.spawn(async move {
            examine(shared, batch).await;
            drop(permit);
        });
        while batches.try_join_next().is_some() {}
    }
}

async fn work_later(shared: &Arc<Shared>, tickets: &Tickets, in_flight: &Arc<Semaphore>) {
    loop {
        let mut batch = tickets.next_put_off(shared.settings.batch_templates).await;
        let Ok(permit) = in_flight.clone().acquire_owned().await else { return };
        // Another record may have brought its template back meanwhile.
        batch.retain(|ticket| !shared.is_settled(ticket.template.id));
        // One at a time; on a task of its own, for embedding may keep a thread busy.
        let mut task = JoinSet::new();
        task.spawn(examine(shared.clone(), batch));
        task.join_next().await;
        drop(permit);
    }
}

/// Once a second, beside the records.
async fn keep_up(shared: Arc<Shared>) {
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    every_second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every_second.tick().await;
        shared.upkeep().await;
    }
}

/// The first `most` bytes of a text, or a few less: never half a character.
fn head(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(head(&"x".repeat(2_048), 2_048).len(), 2_048);
        assert_eq!(head(&"x".repeat(2_049), 2_048).len(), 2_048);
        assert_eq!(head("€€€", 4), "€");
        assert_eq!(head("", 4), "");
    }
}
