//! Honest fakes: the plainest code that keeps a port's contract, and embedders that break it on purpose.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use oddline_analyze::ports::{
    Answer, BackendError, Embedder, Known, MAX_EMBED_BATCH, Neighbour, StateStore, TemplateState, VectorIndex,
};
use oddline_engine::{Class, TemplateId};

/// Counts words by hash; texts that share words are alike.
pub(crate) fn bag_of_words(text: &str, dimension: usize) -> Vec<f32> {
    let mut vector = vec![0.0f32; dimension];
    // A constant part, so that no text has a zero vector.
    vector[0] = 0.1;
    for word in text.split_whitespace() {
        let hash = TemplateId::of(word).0;
        vector[hash as usize % dimension] += if hash >> 63 == 0 { 1.0 } else { -1.0 };
    }
    unit(vector)
}

pub(crate) fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}

pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// An embedder made of one function on a batch.
pub(crate) struct FakeEmbedder<F>(pub F);

impl<F> Embedder for FakeEmbedder<F>
where
    F: Fn(&[String]) -> Result<Vec<Vec<f32>>, BackendError> + Send + Sync,
{
    fn name(&self) -> &str {
        "fake/words"
    }

    fn dimension(&self) -> usize {
        64
    }

    fn embed<'a>(&'a self, texts: &'a [String]) -> Answer<'a, Vec<Vec<f32>>> {
        Box::pin(async move {
            if texts.len() > MAX_EMBED_BATCH {
                return Err(BackendError::rejected("too many texts"));
            }
            (self.0)(texts)
        })
    }
}

/// The honest one.
pub(crate) fn words() -> impl Embedder {
    FakeEmbedder(|texts: &[String]| Ok(texts.iter().map(|text| bag_of_words(text, 64)).collect()))
}

/// Gives another vector at every call.
pub(crate) fn wavering() -> impl Embedder {
    let calls = AtomicUsize::new(0);
    FakeEmbedder(move |texts: &[String]| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        Ok(texts.iter().map(|text| bag_of_words(&format!("{text} {call}"), 64)).collect())
    })
}

/// Lets the length of the batch leak into the vectors, as wrong padding does.
pub(crate) fn padding() -> impl Embedder {
    FakeEmbedder(|texts: &[String]| {
        let pad = " pad".repeat(texts.len() - 1);
        Ok(texts.iter().map(|text| bag_of_words(&format!("{text}{pad}"), 64)).collect())
    })
}

/// Answers a batch in the wrong order.
pub(crate) fn turned() -> impl Embedder {
    FakeEmbedder(|texts: &[String]| {
        let mut vectors: Vec<_> = texts.iter().map(|text| bag_of_words(text, 64)).collect();
        // Longest first, as a server that sorts for padding and forgets to sort back.
        vectors.sort_by(|a, b| b[0].total_cmp(&a[0]));
        Ok(vectors)
    })
}

/// Gives every text the same vector.
pub(crate) fn constant() -> impl Embedder {
    FakeEmbedder(|texts: &[String]| Ok(vec![bag_of_words("same", 64); texts.len()]))
}

/// Honest, but down until the switch is turned.
pub(crate) fn down_until(up: Arc<AtomicBool>) -> impl Embedder {
    FakeEmbedder(move |texts: &[String]| {
        if !up.load(Ordering::Relaxed) {
            return Err(BackendError::unavailable("down"));
        }
        Ok(texts.iter().map(|text| bag_of_words(text, 64)).collect())
    })
}

/// Rows in a map, compared one by one.
pub(crate) struct FakeIndex {
    pub(crate) dimension: usize,
    pub(crate) rows: Mutex<BTreeMap<u64, Known>>,
}

impl FakeIndex {
    pub(crate) fn new(dimension: usize) -> Self {
        FakeIndex { dimension, rows: Mutex::default() }
    }

    fn fits(&self, vector: &[f32]) -> Result<(), BackendError> {
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        if vector.len() == self.dimension && (length - 1.0).abs() < 1e-3 {
            return Ok(());
        }
        Err(BackendError::rejected("not a unit vector of the right dimension"))
    }
}

impl VectorIndex for FakeIndex {
    fn name(&self) -> &str {
        "fake"
    }

    fn nearest<'a>(&'a self, queries: &'a [Vec<f32>], k: usize) -> Answer<'a, Vec<Vec<Neighbour>>> {
        Box::pin(async move {
            queries.iter().try_for_each(|query| self.fits(query))?;
            let rows = self.rows.lock().unwrap();
            Ok(queries
                .iter()
                .map(|query| {
                    let mut all: Vec<Neighbour> = rows
                        .values()
                        .map(|row| Neighbour {
                            id: row.id,
                            text: row.text.clone(),
                            similarity: cosine(query, &row.vector).clamp(-1.0, 1.0),
                        })
                        .collect();
                    all.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.id.0.cmp(&b.id.0)));
                    all.truncate(k);
                    all
                })
                .collect())
        })
    }

    fn upsert(&self, known: Vec<Known>) -> Answer<'_, ()> {
        Box::pin(async move {
            known.iter().try_for_each(|row| self.fits(&row.vector))?;
            self.rows.lock().unwrap().extend(known.into_iter().map(|row| (row.id.0, row)));
            Ok(())
        })
    }

    fn remove<'a>(&'a self, ids: &'a [TemplateId]) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut rows = self.rows.lock().unwrap();
            ids.iter().for_each(|id| drop(rows.remove(&id.0)));
            Ok(())
        })
    }

    fn sample(&self, limit: usize) -> Answer<'_, Vec<Known>> {
        Box::pin(async move { Ok(self.rows.lock().unwrap().values().take(limit).cloned().collect()) })
    }

    fn count(&self) -> Answer<'_, usize> {
        Box::pin(async move { Ok(self.rows.lock().unwrap().len()) })
    }
}

/// Rows in maps; can be told to fail.
#[derive(Default)]
pub(crate) struct FakeStore {
    pub(crate) broken: AtomicBool,
    templates: Mutex<BTreeMap<u64, TemplateState>>,
    known: Mutex<BTreeMap<(String, u64), Known>>,
    counters: Mutex<HashMap<String, u64>>,
    notes: Mutex<BTreeMap<String, String>>,
}

impl FakeStore {
    fn answer<T: Send + 'static>(&self, work: impl FnOnce() -> T) -> Answer<'_, T> {
        let broken = self.broken.load(Ordering::Relaxed);
        let answer = if broken { Err(BackendError::unavailable("store is broken")) } else { Ok(work()) };
        Box::pin(std::future::ready(answer))
    }
}

impl StateStore for FakeStore {
    fn load_templates(&self, limit: usize) -> Answer<'_, Vec<TemplateState>> {
        self.answer(|| {
            let mut rows: Vec<_> = self.templates.lock().unwrap().values().cloned().collect();
            let by_age = |row: &TemplateState| (std::cmp::Reverse(row.last_seen), row.id.0);
            rows.sort_by_key(|row| (row.class != Class::Exception, by_age(row)));
            rows.truncate(limit);
            rows.sort_by_key(by_age);
            rows
        })
    }

    fn save_templates(&self, rows: Vec<TemplateState>) -> Answer<'_, ()> {
        self.answer(|| self.templates.lock().unwrap().extend(rows.into_iter().map(|row| (row.id.0, row))))
    }

    fn load_known<'a>(
        &'a self,
        collection: &'a str,
        behind: Option<TemplateId>,
        limit: usize,
    ) -> Answer<'a, Vec<Known>> {
        self.answer(|| {
            let range = (collection.to_owned(), 0)..=(collection.to_owned(), u64::MAX);
            let known = self.known.lock().unwrap();
            let rows = known.range(range).map(|(_, row)| row.clone());
            rows.filter(|row| behind.is_none_or(|id| row.id.0 > id.0)).take(limit).collect()
        })
    }

    fn save_known<'a>(&'a self, collection: &'a str, rows: Vec<Known>) -> Answer<'a, ()> {
        self.answer(|| {
            self.known
                .lock()
                .unwrap()
                .extend(rows.into_iter().map(|row| ((collection.to_owned(), row.id.0), row)));
        })
    }

    fn remove_known<'a>(&'a self, collection: &'a str, ids: &'a [TemplateId]) -> Answer<'a, ()> {
        self.answer(|| {
            let mut known = self.known.lock().unwrap();
            ids.iter().for_each(|id| drop(known.remove(&(collection.to_owned(), id.0))));
        })
    }

    fn next<'a>(&'a self, counter: &'a str) -> Answer<'a, u64> {
        self.answer(|| {
            let mut counters = self.counters.lock().unwrap();
            let value = counters.entry(counter.to_owned()).or_default();
            *value += 1;
            *value
        })
    }

    fn note<'a>(&'a self, name: &'a str) -> Answer<'a, Option<String>> {
        self.answer(|| self.notes.lock().unwrap().get(name).cloned())
    }

    fn set_note<'a>(&'a self, name: &'a str, text: String) -> Answer<'a, ()> {
        self.answer(|| drop(self.notes.lock().unwrap().insert(name.to_owned(), text)))
    }
}
