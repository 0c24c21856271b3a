//! Text to vector, through the port: bounded text, cached vectors, one failing text cannot sink the others. What the
//! embedder fails at is searched out by halves, and not asked for again for a while.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use oddline_engine::TemplateId;
use tokio::{sync::Semaphore, time::Instant};

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

/// So long a text is not asked for again at which the embedder failed though it is well.
const SHUNNED: Duration = Duration::from_secs(60);
/// Most such texts; with more, all are forgotten.
const MAX_SHUNNED: usize = 1_000;
/// Calls that may fail before one succeeds: then it is the embedder, and not a text.
const MAX_FAILURES: usize = 8;
/// Calls in which the texts of one batch at which it fails are searched out; what is left then goes without.
const MAX_SEARCH_CALLS: usize = 40;

/// The embedder behind its breaker and its cache.
pub(crate) struct Embed {
    shunned: Mutex<HashMap<TemplateId, (Instant, BackendError)>>,
    embedder: Arc<dyn Embedder>,
    /// Waited for outside of the breaker: who waits behind others has not been let down by the embedder.
    turns: Semaphore,
    pub(crate) breaker: Breaker,
    cache: Mutex<Cache>,
}

impl Embed {
    pub(crate) fn new(embedder: Arc<dyn Embedder>, breaker: Breaker) -> Self {
        Embed {
            turns: Semaphore::new(embedder.at_once().clamp(1, Semaphore::MAX_PERMITS)),
            embedder,
            breaker,
            shunned: Mutex::default(),
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
                let shunned = if cached.is_none() { self.shunned(template.id) } else { None };
                if cached.is_none() && shunned.is_none() {
                    missing.push(at);
                }
                let error = || shunned.unwrap_or_else(|| BackendError::bug("not embedded"));
                vectors.push(cached.ok_or_else(error));
            }
        }
        for some in missing.chunks(MAX_EMBED_BATCH) {
            let texts: Vec<String> =
                some.iter().map(|at| head(&templates[*at].text, MAX_TEXT_BYTES).to_owned()).collect();
            let answers = self.embed_texts(texts).await;
            events.templates_embedded(answers.iter().filter(|answer| answer.is_ok()).count());
            let is_well = answers.iter().any(Result::is_ok);
            for (at, answer) in some.iter().zip(&answers) {
                self.shun(templates[*at].id, answer, is_well);
            }
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
        match self.call(&texts, Blame::of(texts.len())).await {
            Ok(vectors) => vectors.into_iter().map(Ok).collect(),
            // It does not like one of them: ask one by one, so that only that one pays.
            Err(error) if error.kind == FailureKind::Rejected && texts.len() > 1 => {
                let mut answers = Vec::with_capacity(texts.len());
                for text in &texts {
                    let is_refused = |answer: &Result<Vec<f32>, BackendError>| {
                        answer.as_ref().is_err_and(|error| error.kind == FailureKind::Rejected)
                    };
                    // It may refuse whatever it is asked, for a key or a model that is not valid any more: the others are
                    // not asked now, which says nothing of them.
                    if answers.len() >= MAX_FAILURES && answers.iter().all(is_refused) {
                        let unasked = || Err(BackendError::unavailable(error.message.clone()));
                        answers.resize_with(texts.len(), unasked);
                        break;
                    }
                    let answer = self.call(std::slice::from_ref(text), Blame::Embedder).await;
                    answers.push(answer.and_then(|vectors| {
                        vectors.into_iter().next().ok_or_else(|| BackendError::bug("no vector in the answer"))
                    }));
                }
                answers
            }
            Err(error) if is_of_a_text(&error) && texts.len() > 1 => self.search_out(&texts, &error).await,
            Err(error) => texts.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Halves what failed as a whole until it is known which texts it was. `error`: what was said of the whole.
    async fn search_out(
        &self,
        texts: &[String],
        error: &BackendError,
    ) -> Vec<Result<Vec<f32>, BackendError>> {
        let mut answers: Vec<_> = texts.iter().map(|_| Err(error.clone())).collect();
        let (first, second) = (0..texts.len() / 2, texts.len() / 2..texts.len());
        let mut ranges = vec![second, first];
        let (mut failures, mut is_well) = (0, false);
        for _ in 0..MAX_SEARCH_CALLS {
            let Some(range) = ranges.pop().filter(|_| is_well || failures < MAX_FAILURES) else { break };
            match self.call(&texts[range.clone()], Blame::Text).await {
                Ok(vectors) => {
                    is_well = true;
                    answers.splice(range, vectors.into_iter().map(Ok));
                }
                Err(error) if is_of_a_text(&error) && range.len() > 1 => {
                    failures += 1;
                    let middle = range.start + range.len() / 2;
                    ranges.extend([middle..range.end, range.start..middle]);
                }
                Err(error) => {
                    failures += 1;
                    answers[range].fill_with(|| Err(error.clone()));
                }
            }
        }
        if !is_well {
            self.breaker.failed(&error.message);
        }
        answers
    }

    /// Why a text is not asked for again yet.
    fn shunned(&self, id: TemplateId) -> Option<BackendError> {
        let shunned = self.shunned.lock().unwrap_or_else(PoisonError::into_inner);
        shunned.get(&id).filter(|(since, _)| since.elapsed() < SHUNNED).map(|(_, error)| error.clone())
    }

    fn shun(&self, id: TemplateId, answer: &Result<Vec<f32>, BackendError>, is_well: bool) {
        let mut shunned = self.shunned.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Err(error) if error.kind == FailureKind::Rejected || is_well && is_of_a_text(error) => {
                if shunned.len() >= MAX_SHUNNED {
                    shunned.clear();
                }
                shunned.insert(id, (Instant::now(), error.clone()));
            }
            _ => _ = shunned.remove(&id),
        }
    }

    /// One call. An answer of the wrong shape is a failure like any other.
    async fn call(&self, texts: &[String], blame: Blame) -> Result<Vec<Vec<f32>>, BackendError> {
        // A dead one is not queued for.
        self.breaker.refusal()?;
        // Closed never; dropping the permit is the end of the turn.
        let _turn = self.turns.acquire().await;
        let embedder = &self.embedder;
        let counts = |error: &BackendError| {
            error.kind != FailureKind::Rejected && !(blame == Blame::Text && is_of_a_text(error))
        };
        self.breaker
            .call_counting(counts, async {
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

/// What a failure that a text may have caused says of the embedder: nothing yet, or the worst.
#[derive(Clone, Copy, PartialEq)]
enum Blame {
    Text,
    Embedder,
}

impl Blame {
    fn of(texts: usize) -> Blame {
        if texts > 1 { Blame::Text } else { Blame::Embedder }
    }
}

/// Whether one text can be what it failed at.
fn is_of_a_text(error: &BackendError) -> bool {
    matches!(error.kind, FailureKind::Failed | FailureKind::Bug)
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
