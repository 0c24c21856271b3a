//! Text to vector, through the port: bounded text, cached vectors, one failing text cannot sink the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use oddline_engine::TemplateId;

use crate::{
    batch::{Embedded, Screened},
    breaker::Breaker,
    events::Events,
    head,
    ports::{BackendError, Embedder, FailureKind, MAX_EMBED_BATCH},
};

/// Longest text that is embedded, in bytes; models read a few hundred tokens.
const MAX_TEXT_BYTES: usize = 2_048;
/// Floats per generation of the cache: two generations of 16 MiB.
const CACHED_FLOATS: usize = 4 << 20;

/// The embedder behind its breaker and its cache.
pub(crate) struct Embed {
    embedder: Arc<dyn Embedder>,
    pub(crate) breaker: Breaker,
    cache: Mutex<Cache>,
}

impl Embed {
    pub(crate) fn new(embedder: Arc<dyn Embedder>, breaker: Breaker) -> Self {
        Embed {
            embedder,
            breaker,
            cache: Mutex::new(Cache { most_floats: CACHED_FLOATS, ..Cache::default() }),
        }
    }

    /// Each template with its vector, or with why there is none; in order.
    pub(crate) async fn embed(
        &self,
        templates: Vec<Screened>,
        events: &Events,
    ) -> Vec<Result<Embedded, (Screened, BackendError)>> {
        let mut vectors: Vec<Result<Arc<[f32]>, BackendError>> = Vec::with_capacity(templates.len());
        let mut missing = Vec::new();
        {
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            for (at, template) in templates.iter().enumerate() {
                let cached = cache.get(template.id);
                if cached.is_none() {
                    missing.push(at);
                }
                vectors.push(cached.ok_or_else(|| BackendError::bug("not embedded")));
            }
        }
        for some in missing.chunks(MAX_EMBED_BATCH) {
            let texts: Vec<String> =
                some.iter().map(|at| head(&templates[*at].text, MAX_TEXT_BYTES).to_owned()).collect();
            let answers = self.embed_texts(texts).await;
            events.templates_embedded(answers.iter().filter(|answer| answer.is_ok()).count());
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            for (at, answer) in some.iter().zip(answers) {
                vectors[*at] = answer.map(Arc::from);
                if let Ok(vector) = &vectors[*at] {
                    cache.put(templates[*at].id, vector.clone());
                }
            }
        }
        templates
            .into_iter()
            .zip(vectors)
            .map(|(template, vector)| match vector {
                Ok(vector) => Ok(Embedded { template, vector }),
                Err(error) => Err((template, error)),
            })
            .collect()
    }

    async fn embed_texts(&self, texts: Vec<String>) -> Vec<Result<Vec<f32>, BackendError>> {
        match self.call(&texts).await {
            Ok(vectors) => vectors.into_iter().map(Ok).collect(),
            // It does not like one of them: ask one by one, so that only that one pays.
            Err(error) if error.kind == FailureKind::Rejected && texts.len() > 1 => {
                let mut answers = Vec::with_capacity(texts.len());
                for text in texts {
                    let answer = self.call(&[text]).await;
                    answers.push(answer.and_then(|vectors| {
                        vectors.into_iter().next().ok_or_else(|| BackendError::bug("no vector in the answer"))
                    }));
                }
                answers
            }
            Err(error) => texts.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// One call. An answer of the wrong shape is a failure like any other.
    async fn call(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, BackendError> {
        let embedder = &self.embedder;
        self.breaker
            .call(async {
                let vectors = embedder.embed(texts).await?;
                if vectors.len() != texts.len() {
                    return Err(BackendError::bug(format!(
                        "{} gave {} vectors for {} texts",
                        embedder.name(),
                        vectors.len(),
                        texts.len()
                    )));
                }
                // Only now: some embedders know it from their first answer.
                let dimension = embedder.dimension();
                match vectors.iter().find_map(|vector| fault(vector, dimension)) {
                    Some(fault) => Err(BackendError::bug(format!("{} gave {fault}", embedder.name()))),
                    None => Ok(vectors),
                }
            })
            .await
    }
}

fn fault(vector: &[f32], dimension: usize) -> Option<String> {
    if vector.len() != dimension {
        return Some(format!("a vector of length {}, not {dimension}", vector.len()));
    }
    let square: f32 = vector.iter().map(|x| x * x).sum();
    (!square.is_finite() || square < 1e-12).then(|| "a vector that is zero or not a number".to_owned())
}

/// Two generations: when the young one is full it becomes the old one, and what was not asked for since is forgotten.
#[derive(Default)]
struct Cache {
    most_floats: usize,
    young_floats: usize,
    young: HashMap<TemplateId, Arc<[f32]>>,
    old: HashMap<TemplateId, Arc<[f32]>>,
}

impl Cache {
    fn get(&mut self, id: TemplateId) -> Option<Arc<[f32]>> {
        if let Some(vector) = self.young.get(&id) {
            return Some(vector.clone());
        }
        let vector = self.old.remove(&id)?;
        self.put(id, vector.clone());
        Some(vector)
    }

    fn put(&mut self, id: TemplateId, vector: Arc<[f32]>) {
        if self.young_floats + vector.len() > self.most_floats {
            self.old = std::mem::take(&mut self.young);
            self.young_floats = 0;
        }
        self.young_floats += vector.len();
        self.young.insert(id, vector);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let mut cache = Cache { most_floats: 10, ..Cache::default() };
        for number in 0..100 {
            cache.put(TemplateId(number), [0.0].as_slice().into());
            assert!(cache.get(TemplateId(0)).is_some(), "asked for all the time");
            assert!(cache.young.len() + cache.old.len() <= 20);
        }
        assert!(cache.get(TemplateId(50)).is_none());
    }

    #[test]
    fn bad_vectors_are_told_apart() {
        assert_eq!(fault(&[1.0], 2).unwrap(), "a vector of length 1, not 2");
        assert!(fault(&[0.0, 0.0], 2).is_some() && fault(&[f32::NAN, 0.0], 2).is_some());
        assert_eq!(fault(&[0.6, 0.8], 2), None);
    }
}
