//! The engine for records that come without a plugin's verdict (HTTP, check, scan, learn).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oddline_engine::{
    Advice, AdviceTable, Engine, Picker, Record, RuleHit, Settings, Summary, UnixNanos, Verdict,
    rules::RuleSet,
};

/// One engine, shared.
#[derive(Debug)]
pub(crate) struct Screen {
    /// Held for one record (microseconds) or one summary.
    engine: Mutex<Engine>,
}

impl Screen {
    pub(crate) fn new(mut engine: Engine) -> Self {
        // Whoever asks here is at the other end of the detour already.
        engine.set_detour(true);
        Screen { engine: Mutex::new(engine) }
    }

    /// `also` is a rule that hits and that the engine does not know.
    pub(crate) fn observe(&self, record: &Record<'_>, also: Option<RuleHit>, now: i64) -> Verdict {
        self.engine().observe_with(record, also, UnixNanos(now))
    }

    pub(crate) fn take_summary(&self, now: i64) -> Summary {
        self.engine().take_summary(UnixNanos(now))
    }

    pub(crate) fn advise(&self, advice: &Advice) {
        let table = Arc::new(AdviceTable::new(advice.clone()));
        self.engine().set_advice(table);
    }

    /// Other rules, from the next record on.
    pub(crate) fn set_rules(&self, rules: Arc<RuleSet>) {
        self.engine().set_rules(rules);
    }

    /// What another engine like this one is made of.
    pub(crate) fn settings_and_rules(&self) -> (Settings, Arc<RuleSet>) {
        let engine = self.engine();
        (engine.settings().clone(), engine.rules().clone())
    }

    pub(crate) fn picker(&self) -> Arc<Picker> {
        self.engine().picker()
    }

    pub(crate) fn model(&self) -> Arc<str> {
        self.engine().model().clone()
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
