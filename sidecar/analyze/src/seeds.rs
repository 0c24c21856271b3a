//! Engines beside the one that screens: fresh, for learning and for single looks, but with the texts of all remembered
//! templates, so that a message has the template here that it has everywhere.

use std::sync::Arc;

use oddline_engine::{Advice, AdviceTable, Engine, TemplateAdvice};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Shared, ports::BackendError};

/// Engines for single looks at a time: each holds up to 100,000 templates, and anybody may ask for one with one request.
pub(crate) const MAX_ENGINES: usize = 2;

/// An engine for a single look, one of [`MAX_ENGINES`] until it is dropped.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) engine: Engine,
    _permit: OwnedSemaphorePermit,
}

/// As [`engine`], but for a moment only; waits while there are [`MAX_ENGINES`] of them.
pub(crate) async fn beside(shared: &Shared) -> Result<Beside, BackendError> {
    laid_out(&shared.engines, || plan(shared)).await
}

/// An engine that has seen nothing, needs no time to warm up, and knows what templates are called. Laid out on a thread
/// for such work: with 100,000 templates it takes a while.
pub(crate) async fn engine(shared: &Shared) -> Result<Engine, BackendError> {
    tokio::task::spawn_blocking(plan(shared)).await.map_err(ended)
}

/// `plan` is asked when there is a permit: what waits for one should hold nothing large.
async fn laid_out<F>(permits: &Arc<Semaphore>, plan: impl FnOnce() -> F) -> Result<Beside, BackendError>
where
    F: FnOnce() -> Engine + Send + 'static,
{
    let permit = permits.clone().acquire_owned().await;
    let _permit = permit.map_err(|_| BackendError::bug("no engine beside the stream is to be had"))?;
    let plan = plan();
    // The permit goes along: whoever asked may give up, and the work is done all the same.
    let work = move || Beside { engine: plan(), _permit };
    tokio::task::spawn_blocking(work).await.map_err(ended)
}

/// How to lay one out, from what is remembered now.
fn plan(shared: &Shared) -> impl FnOnce() -> Engine + Send + use<> {
    let (settings, rules) = shared.screen.settings_and_rules();
    let texts = shared.templates().general_texts();
    let silenced_rules = shared.feedback().silenced_rules.clone();
    move || {
        let mut engine = Engine::new(settings.without_warmup(), rules);
        engine.set_detour(true);
        // Names alone: a row that has expired says nothing about a record.
        let row = |text: Arc<str>| TemplateAdvice {
            text: text.as_ref().to_owned(),
            class: oddline_engine::Class::Normal,
            score: 0.0,
            similarity: None,
            nearest: None,
            rate: None,
            expires: Some(0),
        };
        let templates = texts.into_iter().map(|(id, text)| (id, row(text))).collect();
        let advice = Advice { templates, silenced_rules, ..Advice::default() };
        engine.set_advice(Arc::new(AdviceTable::new(advice)));
        engine
    }
}

fn ended(error: tokio::task::JoinError) -> BackendError {
    BackendError::bug(format!("engine beside the stream: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use oddline_engine::{Settings, rules::RuleSet};

    use super::*;

    /// Whether a plan was asked for: then something large is held.
    fn counted(plans: &AtomicUsize) -> impl FnOnce() -> Engine + Send + use<> {
        plans.fetch_add(1, SeqCst);
        || Engine::new(Settings::default(), Arc::new(RuleSet::default()))
    }

    #[tokio::test]
    async fn there_are_two_engines_at_a_time_and_further_requests_wait() {
        let (permits, plans) = (Arc::new(Semaphore::new(MAX_ENGINES)), Arc::new(AtomicUsize::new(0)));
        let first = laid_out(&permits, || counted(&plans)).await.unwrap();
        let second = laid_out(&permits, || counted(&plans)).await.unwrap();
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let (permits, plans) = (permits.clone(), plans.clone());
                tokio::spawn(async move { laid_out(&permits, || counted(&plans)).await.map(drop) })
            })
            .collect();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(plans.load(SeqCst), 2);
        drop((first, second));
        for one in waiting {
            one.await.unwrap().unwrap();
        }
        assert_eq!((plans.load(SeqCst), permits.available_permits()), (22, MAX_ENGINES));
    }
}
