//! The nearest known templates, through the port.

use std::sync::Arc;

use oddline_engine::TemplateId;

use crate::{
    batch::{Compared, Embedded, Standing},
    breaker::Breaker,
    calibrate,
    events::Events,
    ports::{BackendError, Known, Neighbour, VectorIndex},
};

/// Neighbours asked for: the nearest decides, the others tell whether the template itself is among the known.
const NEIGHBOURS: usize = 3;

/// The vector index behind its breaker.
pub(crate) struct Compare {
    index: Arc<dyn VectorIndex>,
    pub(crate) breaker: Breaker,
}

impl Compare {
    pub(crate) fn new(index: Arc<dyn VectorIndex>, breaker: Breaker) -> Self {
        Compare { index, breaker }
    }

    /// Every template with its standing, in order.
    pub(crate) async fn compare(
        &self,
        templates: Vec<Embedded>,
        events: &Events,
    ) -> Result<Vec<Compared>, BackendError> {
        let queries: Vec<Vec<f32>> = templates.iter().map(|embedded| embedded.vector.to_vec()).collect();
        let answers = self.nearest(queries, NEIGHBOURS).await?;
        events.templates_looked_up(answers.len());
        let standing = |(embedded, neighbours): (Embedded, Vec<Neighbour>)| Compared {
            standing: Standing::of(embedded.template.id, &neighbours),
            template: embedded.template,
        };
        Ok(templates.into_iter().zip(answers).map(standing).collect())
    }

    /// Makes templates known, durably.
    pub(crate) async fn upsert(&self, known: Vec<Known>) -> Result<(), BackendError> {
        self.breaker.call(self.index.upsert(known)).await
    }

    /// Makes templates unknown, durably.
    pub(crate) async fn remove(&self, ids: &[TemplateId]) -> Result<(), BackendError> {
        self.breaker.call(self.index.remove(ids)).await
    }

    /// How many are known.
    pub(crate) async fn count(&self) -> Result<usize, BackendError> {
        self.breaker.call(self.index.count()).await
    }

    /// The similarity threshold that the known templates themselves suggest.
    pub(crate) async fn calibrate(&self) -> Result<f32, BackendError> {
        let sample = self.breaker.call(self.index.sample(calibrate::SAMPLE)).await?;
        let queries = sample.iter().map(|known| known.vector.clone()).collect();
        let answers = self.nearest(queries, 2).await?;
        let mut nearest_other: Vec<f32> = sample
            .iter()
            .zip(answers)
            .filter_map(|(known, near)| Some(near.into_iter().find(|near| near.id != known.id)?.similarity))
            .collect();
        Ok(calibrate::threshold(&mut nearest_other))
    }

    async fn nearest(&self, queries: Vec<Vec<f32>>, k: usize) -> Result<Vec<Vec<Neighbour>>, BackendError> {
        if queries.is_empty() {
            return Ok(Vec::new());
        }
        let index = &self.index;
        self.breaker
            .call(async {
                let answers = index.nearest(&queries, k).await?;
                let sound = |near: &Neighbour| near.similarity.is_finite() && near.similarity.abs() <= 1.001;
                if answers.len() != queries.len() || !answers.iter().flatten().all(sound) {
                    return Err(BackendError::bug(format!(
                        "{} gave {} answers to {} queries, or a similarity that is no cosine",
                        index.name(),
                        answers.len(),
                        queries.len()
                    )));
                }
                Ok(answers)
            })
            .await
    }
}
