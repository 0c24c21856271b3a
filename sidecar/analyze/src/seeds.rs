//! Engines beside the one that screens: fresh, for learning and for single looks, but with the texts of all remembered
//! templates, so that a message has the template here that it has everywhere.

use std::sync::Arc;

use oddline_engine::{Advice, AdviceTable, Engine, TemplateAdvice};

use crate::{Shared, ports::BackendError};

/// An engine that has seen nothing, needs no time to warm up, and knows what templates are called. Laid out on a thread
/// for such work: with 100,000 templates it takes a while.
pub(crate) async fn engine(shared: &Shared) -> Result<Engine, BackendError> {
    let (settings, rules) = shared.screen.settings_and_rules();
    let texts = shared.templates().general_texts();
    let silenced_rules = shared.feedback().silenced_rules.clone();
    let laid_out = tokio::task::spawn_blocking(move || {
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
    });
    laid_out.await.map_err(|error| BackendError::bug(format!("engine beside the stream: {error}")))
}
