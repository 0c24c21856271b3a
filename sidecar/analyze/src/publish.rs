//! What was found out becomes memory, answers, and news: rows to save, tickets answered, verdicts broadcast.

use std::sync::{Arc, MutexGuard, PoisonError, atomic::Ordering::Relaxed};

use oddline_engine::{Advice, Status, TemplateId, Verdict};

use crate::{
    Shared,
    batch::{Compared, Judged, Screened},
    events::SkipCause,
    feedback::Feedback,
    intake::Ticket,
    judge::judge,
    known::Earned,
    ports::{BackendError, FailureKind, Known, MAX_EMBED_BATCH},
    templates::Templates,
};

/// Rows saved in one transaction.
const SAVED_AT_ONCE: usize = 5_000;
/// Known templates changed before the threshold is worked out anew, however little time has passed.
const CHANGES: usize = 100;
/// Seconds before it is, however little has changed.
const CALIBRATE_SECONDS: u64 = 10;
/// A threshold that moves by less than this reopens no verdict.
const STEP: f32 = 0.01;

/// Why templates become known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// An operator says so.
    Taught,
    /// They came often and for long, which is worth nothing once a rule or an operator has spoken against them.
    Earned,
}

/// Does something when it is dropped, unless it was called off before.
pub(crate) struct Unless<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Unless<F> {
    pub(crate) fn called_off(action: F) -> Self {
        Unless(Some(action))
    }

    pub(crate) fn call_off(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for Unless<F> {
    fn drop(&mut self) {
        if let Some(action) = self.0.take() {
            action();
        }
    }
}

impl Shared {
    pub(crate) fn now_seconds(&self) -> u64 {
        u64::try_from(self.clock.unix_nanos() / 1_000_000_000).unwrap_or(0)
    }

    pub(crate) fn templates(&self) -> MutexGuard<'_, Templates> {
        self.templates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn threshold(&self) -> f32 {
        self.calibration.lock().unwrap_or_else(PoisonError::into_inner).threshold
    }

    /// A template's standing: remembered, and told to all who wait.
    pub(crate) fn publish(&self, ticket: &Ticket, compared: &Compared) {
        let (threshold, now) = (self.threshold(), self.now_seconds());
        // The class that plugins get is that of a record with nothing against it but being new.
        let bare = judge(Verdict::default(), &compared.standing, threshold);
        self.templates().compared(compared, threshold, bare.score, now);
        self.intake.answer(ticket, Ok(compared.standing.clone()));
    }

    /// No standing: told to all who wait, remembered by nobody.
    pub(crate) fn give_up(&self, ticket: &Ticket, cause: SkipCause, error: &BackendError) {
        let backend = if cause == SkipCause::Index { "vector index" } else { "embedder" };
        self.intake.answer(ticket, Err((cause, format!("{backend}: {}", error.message).into())));
    }

    /// A record's final verdict: counted, and broadcast if anyone listens.
    pub(crate) fn announce(&self, source: &Arc<str>, verdict: &Verdict) {
        self.events.record_judged(verdict.status);
        if let Some(rule) = &verdict.rule {
            self.events.rule_hit(&rule.name);
        }
        if verdict.status == Some(Status::Confirmed) {
            self.keep_finding(source, verdict);
        }
        if self.findings.receiver_count() > 0 {
            // It fails only if the last listener has just left.
            let _ = self.findings.send(Arc::new(Judged { source: source.clone(), verdict: verdict.clone() }));
        }
    }

    /// Makes templates known: embedded, in the index, remembered.
    pub(crate) async fn make_known(
        &self,
        templates: Vec<(TemplateId, Arc<str>)>,
        ground: Ground,
    ) -> Result<usize, BackendError> {
        let mut made = 0;
        for some in templates.chunks(MAX_EMBED_BATCH) {
            let screened = some.iter().map(|(id, text)| Screened { id: *id, text: text.clone() }).collect();
            let mut known = Vec::with_capacity(some.len());
            for embedded in self.embed.embed(screened, &self.events).await {
                match embedded {
                    Ok(embedded) => known.push(Known {
                        id: embedded.template.id,
                        text: embedded.template.text,
                        vector: embedded.vector.to_vec(),
                    }),
                    // A text that no vector can be had of can never be compared either.
                    Err((_, error)) if error.kind == FailureKind::Rejected => {}
                    // Nor can one on which the embedder stumbles, though it does not on the others; who teaches is told.
                    Err((_, error)) if ground == Ground::Earned && error.kind != FailureKind::Unavailable => {
                        tracing::debug!(%error, "a template that has earned to be known cannot be embedded");
                    }
                    Err((_, error)) => return Err(error),
                }
            }
            let _changing = self.changing_known.lock().await;
            // Embedding takes its time, and meanwhile one may have been reported.
            known.retain(|known| self.may_become_known(known.id, ground));
            let names: Vec<_> = known.iter().map(|known| (known.id, known.text.clone())).collect();
            self.compare.upsert(known).await?;
            made += names.len();
            let now = self.now_seconds();
            let mut memory = self.templates();
            names.iter().for_each(|(id, text)| memory.known(*id, text, now));
            drop(memory);
            self.calibration.lock().unwrap_or_else(PoisonError::into_inner).changes += names.len();
        }
        Ok(made)
    }

    fn may_become_known(&self, id: TemplateId, ground: Ground) -> bool {
        ground == Ground::Taught || self.templates().may_earn(id, self.now_seconds())
    }

    /// What happens once a second beside the records: earned templates, a new threshold, saving.
    pub(crate) async fn upkeep(&self) {
        // What came without a plugin was counted by the engine in here.
        let summary = self.screen.take_summary(self.clock.unix_nanos());
        self.count(&summary);
        self.rename(&summary);
        if let Ok(mut learning) = self.learning.try_lock() {
            let now = self.now_seconds();
            drop(learning.take_if(|learner| learner.is_idle(now)));
        }
        self.pass_time();
        let mut earned = self.earning.lock().unwrap_or_else(PoisonError::into_inner).take(MAX_EMBED_BATCH);
        earned.retain(|earned| self.may_become_known(earned.id, Ground::Earned));
        if !earned.is_empty() {
            let templates = earned.iter().map(|earned| (earned.id, earned.text.clone())).collect();
            match self.make_known(templates, Ground::Earned).await {
                Ok(count) => {
                    self.earn_failures.store(0, Relaxed);
                    self.events.templates_earned(count);
                }
                Err(error) => self.not_earned(earned, &error),
            }
        }
        if self.calibration_is_due() {
            self.calibrate().await;
        }
        self.save().await;
    }

    /// Templates that have earned their place and could not take it: they try again, unless they would be refused again.
    /// Those come back by being counted.
    fn not_earned(&self, earned: Vec<Earned>, error: &BackendError) {
        let count = earned.len();
        let failures = self.earn_failures.fetch_add(1, Relaxed).saturating_add(1);
        if failures.is_power_of_two() {
            tracing::warn!(%error, failures, templates = count, "what has earned to be known could not be made known");
        }
        if error.kind != FailureKind::Rejected {
            self.earning.lock().unwrap_or_else(PoisonError::into_inner).put_back(earned);
        }
    }

    fn calibration_is_due(&self) -> bool {
        let calibration = self.calibration.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.now_seconds().saturating_sub(calibration.at);
        calibration.changes >= CHANGES || calibration.changes > 0 && waited >= CALIBRATE_SECONDS
    }

    pub(crate) async fn calibrate(&self) {
        let now = self.now_seconds();
        // A failure shows in the breaker; the last threshold stays.
        let Ok(threshold) = self.compare.calibrate().await else { return };
        let mut calibration = self.calibration.lock().unwrap_or_else(PoisonError::into_inner);
        (calibration.changes, calibration.at) = (0, now);
        let moved = (calibration.threshold - threshold).abs() >= STEP;
        if moved {
            calibration.threshold = threshold;
        }
        drop(calibration);
        if moved {
            tracing::debug!(threshold, "similarity threshold");
            self.templates().reclassify(threshold, now);
        }
    }

    /// Saves what is new, as far as the store takes it. Gives whether everything is saved.
    pub(crate) async fn save(&self) -> bool {
        let reports = self.save_reports().await;
        loop {
            let rows = self.templates().take_unsaved(SAVED_AT_ONCE);
            if rows.is_empty() {
                return reports;
            }
            // Who waits for this may go away, or be stopped: then they are unsaved again.
            let taken = Unless::called_off(|| self.templates().not_saved(&rows));
            let saved = self.state.save_templates(rows.clone()).await;
            if let Err(error) = &saved {
                self.events.state_not_saved(error);
                return false;
            }
            taken.call_off();
        }
    }

    /// The advice for plugins, if it differs from the last one.
    pub(crate) async fn advice(&self) -> Option<Advice> {
        let now = self.now_seconds();
        let (rows, aliases) = {
            let mut templates = self.templates();
            (templates.take_changed(now)?, templates.aliases(now))
        };
        let generation = match self.state.next("advice_generation").await {
            Ok(generation) => generation,
            // Plugins take what they find; the number is for people.
            Err(error) => {
                self.events.state_not_saved(&error);
                now
            }
        };
        let Feedback { silenced_rules, threshold_offset } = self.feedback().clone();
        let advice = crate::advice::advice(rows, aliases, generation);
        let advice = Advice { silenced_rules, threshold_offset, ..advice };
        self.screen.advise(&advice);
        Some(advice)
    }
}
