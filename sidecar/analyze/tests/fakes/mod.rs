//! Honest small ports for tests: they keep the contracts of `ports`, and fail on request.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use oddline_analyze::ports::{
    Answer, BackendError, Clock, Embedder, Known, Neighbour, StateStore, TemplateState, VectorIndex,
};
use oddline_engine::{Class, TemplateId};

/// What a fake does with the next calls.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Mood {
    #[default]
    Well,
    Down,
    Hung,
    /// Answers with vectors of NaN, or too few answers.
    Lying,
    /// Refuses texts that contain "poison".
    Picky,
    /// Fails at calls with a text that contains "poison".
    Stumbling,
    /// Fails at every call.
    Failing,
    /// Answers well, after so long.
    Late(Duration),
}

/// Bag of words, hashed to 64 dimensions.
#[derive(Default)]
pub(crate) struct FakeEmbedder {
    pub(crate) mood: Mutex<Mood>,
    pub(crate) calls: AtomicUsize,
    pub(crate) texts: AtomicUsize,
    /// Calls at a time; 0: any number. Looked at where it answers late.
    pub(crate) at_once: usize,
    pub(crate) under_way: AtomicUsize,
}

fn vector(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0f32; 64];
    for word in text.split_whitespace() {
        vector[(TemplateId::of(word).0 % 64) as usize] += 1.0;
    }
    vector[63] += 0.001;
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter().map(|x| x / length).collect()
}

impl Embedder for FakeEmbedder {
    fn name(&self) -> &str {
        "fake/words"
    }

    fn dimension(&self) -> usize {
        64
    }

    fn at_once(&self) -> usize {
        if self.at_once > 0 { self.at_once } else { usize::MAX }
    }

    fn embed<'a>(&'a self, texts: &'a [String]) -> Answer<'a, Vec<Vec<f32>>> {
        self.calls.fetch_add(1, SeqCst);
        self.texts.fetch_add(texts.len(), SeqCst);
        let mood = *self.mood.lock().unwrap();
        Box::pin(async move {
            match mood {
                Mood::Down => Err(BackendError::unavailable("fake embedder: connection refused")),
                Mood::Hung => std::future::pending().await,
                Mood::Lying => Ok(texts.iter().map(|_| vec![f32::NAN; 64]).collect()),
                Mood::Picky if texts.iter().any(|text| text.contains("poison")) => {
                    Err(BackendError::rejected("fake embedder: does not like this text"))
                }
                Mood::Late(time) => {
                    let under_way = self.under_way.fetch_add(1, SeqCst) + 1;
                    assert!(under_way <= self.at_once(), "{under_way} calls at a time");
                    tokio::time::sleep(time).await;
                    self.under_way.fetch_sub(1, SeqCst);
                    Ok(texts.iter().map(|text| vector(text)).collect())
                }
                Mood::Stumbling if texts.iter().any(|text| text.contains("poison")) => {
                    Err(BackendError::failed("fake embedder: NaN"))
                }
                Mood::Failing => Err(BackendError::failed("fake embedder: out of memory")),
                Mood::Well | Mood::Picky | Mood::Stumbling => {
                    Ok(texts.iter().map(|text| vector(text)).collect())
                }
            }
        })
    }
}

/// A map, searched whole.
#[derive(Default)]
pub(crate) struct FakeIndex {
    pub(crate) mood: Mutex<Mood>,
    pub(crate) known: Mutex<BTreeMap<TemplateId, Known>>,
}

impl VectorIndex for FakeIndex {
    fn name(&self) -> &str {
        "fake"
    }

    fn nearest<'a>(&'a self, queries: &'a [Vec<f32>], k: usize) -> Answer<'a, Vec<Vec<Neighbour>>> {
        let mood = *self.mood.lock().unwrap();
        Box::pin(async move {
            match mood {
                Mood::Down => return Err(BackendError::unavailable("fake index: connection refused")),
                Mood::Hung => std::future::pending().await,
                Mood::Lying => return Ok(Vec::new()),
                Mood::Late(time) => tokio::time::sleep(time).await,
                Mood::Failing => return Err(BackendError::failed("fake index: broken")),
                Mood::Well | Mood::Picky | Mood::Stumbling => {}
            }
            let known = self.known.lock().unwrap();
            Ok(queries
                .iter()
                .map(|query| {
                    let mut near: Vec<Neighbour> = known
                        .values()
                        .map(|known| Neighbour {
                            id: known.id,
                            text: known.text.clone(),
                            similarity: known.vector.iter().zip(query).map(|(a, b)| a * b).sum(),
                        })
                        .collect();
                    near.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
                    near.truncate(k);
                    near
                })
                .collect())
        })
    }

    fn upsert(&self, known: Vec<Known>) -> Answer<'_, ()> {
        if *self.mood.lock().unwrap() == Mood::Picky {
            return Box::pin(async { Err(BackendError::rejected("fake index: read only")) });
        }
        self.known.lock().unwrap().extend(known.into_iter().map(|known| (known.id, known)));
        Box::pin(async { Ok(()) })
    }

    fn remove<'a>(&'a self, ids: &'a [TemplateId]) -> Answer<'a, ()> {
        self.known.lock().unwrap().retain(|id, _| !ids.contains(id));
        Box::pin(async { Ok(()) })
    }

    fn sample(&self, limit: usize) -> Answer<'_, Vec<Known>> {
        let sample = self.known.lock().unwrap().values().take(limit).cloned().collect();
        Box::pin(async { Ok(sample) })
    }

    fn count(&self) -> Answer<'_, usize> {
        let count = self.known.lock().unwrap().len();
        Box::pin(async move { Ok(count) })
    }
}

/// Rows in a map; `Mood::Down` is a full disk.
#[derive(Default)]
pub(crate) struct FakeStore {
    pub(crate) mood: Mutex<Mood>,
    pub(crate) rows: Mutex<BTreeMap<TemplateId, TemplateState>>,
    pub(crate) counters: Mutex<BTreeMap<String, u64>>,
    pub(crate) notes: Mutex<BTreeMap<String, String>>,
}

impl StateStore for FakeStore {
    fn load_templates(&self, limit: usize) -> Answer<'_, Vec<TemplateState>> {
        let mut rows: Vec<_> = self.rows.lock().unwrap().values().cloned().collect();
        rows.sort_by_key(|row| (row.class != Class::Exception, std::cmp::Reverse(row.last_seen)));
        rows.truncate(limit);
        rows.sort_by_key(|row| std::cmp::Reverse(row.last_seen));
        Box::pin(async { Ok(rows) })
    }

    fn save_templates(&self, rows: Vec<TemplateState>) -> Answer<'_, ()> {
        let mood = *self.mood.lock().unwrap();
        let full = mood == Mood::Down;
        Box::pin(async move {
            if mood == Mood::Hung {
                std::future::pending::<()>().await;
            }
            if full {
                return Err(BackendError::unavailable("fake store: disk is full"));
            }
            self.rows.lock().unwrap().extend(rows.into_iter().map(|row| (row.id, row)));
            Ok(())
        })
    }

    fn load_known<'a>(
        &'a self,
        _collection: &'a str,
        _behind: Option<TemplateId>,
        _limit: usize,
    ) -> Answer<'a, Vec<Known>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn save_known<'a>(&'a self, _collection: &'a str, _rows: Vec<Known>) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn remove_known<'a>(&'a self, _collection: &'a str, _ids: &'a [TemplateId]) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn next<'a>(&'a self, counter: &'a str) -> Answer<'a, u64> {
        let mut counters = self.counters.lock().unwrap();
        let value = counters.entry(counter.to_owned()).or_default();
        *value += 1;
        let value = *value;
        Box::pin(async move { Ok(value) })
    }

    fn note<'a>(&'a self, name: &'a str) -> Answer<'a, Option<String>> {
        let text = self.notes.lock().unwrap().get(name).cloned();
        Box::pin(async move { Ok(text) })
    }

    fn set_note<'a>(&'a self, name: &'a str, text: String) -> Answer<'a, ()> {
        Box::pin(async move {
            let mood = *self.mood.lock().unwrap();
            if mood == Mood::Hung {
                std::future::pending::<()>().await;
            }
            if mood == Mood::Down {
                return Err(BackendError::unavailable("fake store: disk full"));
            }
            self.notes.lock().unwrap().insert(name.to_owned(), text);
            Ok(())
        })
    }
}

/// Stands still until it is moved.
#[derive(Default)]
pub(crate) struct FakeClock(pub(crate) AtomicI64);

impl FakeClock {
    pub(crate) fn at(seconds: i64) -> Arc<Self> {
        Arc::new(FakeClock(AtomicI64::new(seconds * 1_000_000_000)))
    }

    pub(crate) fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000_000, SeqCst);
    }
}

impl Clock for FakeClock {
    fn unix_nanos(&self) -> i64 {
        self.0.load(SeqCst)
    }
}
