//! The contract of vector indexes, and what is the embedded one's own: limit, restarts, exactness.

use std::sync::{Arc, atomic::Ordering};

use oddline_analyze::ports::{FailureKind, Known, Neighbour, StateStore, VectorIndex};
use oddline_backends::{
    collection_name,
    embedded_index::EmbeddedIndex,
    qdrant::{Qdrant, QdrantOptions},
    sqlite::Sqlite,
};
use oddline_engine::TemplateId;

use crate::{
    assert_failure, fake_qdrant,
    fakes::{FakeIndex, FakeStore, cosine, unit},
    real_server,
};

const DIMENSION: usize = 20;

/// Pseudo-random numbers from a seed, each in -1..=1.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn unit(&mut self, dimension: usize) -> Vec<f32> {
        unit((0..dimension).map(|_| self.next()).collect())
    }
}

fn axis(position: usize) -> Vec<f32> {
    let mut vector = vec![0.0; DIMENSION];
    vector[position] = 1.0;
    vector
}

/// At an angle whose cosine to the first axis is `cosine`.
fn leaning(cosine: f32, other: usize) -> Vec<f32> {
    let mut vector = axis(0);
    vector[0] = cosine;
    vector[other] = (1.0 - cosine * cosine).sqrt();
    vector
}

fn known(id: u64, text: &str, vector: Vec<f32>) -> Known {
    Known { id: TemplateId(id), text: text.into(), vector }
}

fn ids(neighbours: &[Neighbour]) -> Vec<u64> {
    neighbours.iter().map(|neighbour| neighbour.id.0).collect()
}

#[track_caller]
fn assert_same(found: &[Known], expected: &[Known]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert_eq!((a.id, &a.text), (b.id, &b.text));
        assert!(cosine(&a.vector, &b.vector) > 0.9999, "{:?} {:?}", a.vector, b.vector);
    }
}

/// What every index keeps; `index` is empty and of [`DIMENSION`].
async fn index_contract(index: &dyn VectorIndex) {
    assert!(!index.name().is_empty());
    assert_eq!(index.count().await.unwrap(), 0);
    assert_eq!(index.nearest(&[axis(0)], 3).await.unwrap(), [vec![]]);
    assert_eq!(index.sample(5).await.unwrap(), []);

    // Ids over the whole range of u64, texts that are hostile.
    let rows = [
        known(0, "near", leaning(0.9, 1)),
        known(1 << 63, "🔥 '\"\0\u{1b}[31m", leaning(0.5, 2)),
        known(u64::MAX, "", leaning(-0.5, 3)),
    ];
    index.upsert(rows.to_vec()).await.unwrap();
    assert_eq!(index.count().await.unwrap(), 3);
    let found = index.nearest(&[axis(0), axis(3)], 2).await.unwrap();
    assert_eq!(found.len(), 2, "one list per query");
    assert_eq!(ids(&found[0]), [0, 1 << 63], "most similar first");
    assert_eq!(&*found[0][1].text, "🔥 '\"\0\u{1b}[31m");
    assert!((found[0][0].similarity - 0.9).abs() < 1e-4 && (found[0][1].similarity - 0.5).abs() < 1e-4);
    assert_eq!(found[1][0].id.0, u64::MAX, "lists are in the order of the queries");
    let all = index.nearest(&[axis(0)], 10).await.unwrap();
    assert_eq!(ids(&all[0]), [0, 1 << 63, u64::MAX], "fewer if fewer are known");
    assert!((all[0][2].similarity + 0.5).abs() < 1e-4, "cosines may be negative");
    assert_eq!(index.nearest(&[axis(0)], 0).await.unwrap(), [vec![]]);
    assert_eq!(index.nearest(&[], 3).await.unwrap(), Vec::<Vec<Neighbour>>::new());
    let itself = index.nearest(&[rows[0].vector.clone()], 1).await.unwrap()[0][0].similarity;
    assert!((0.9999..=1.0).contains(&itself), "a cosine is never over 1: {itself}");

    // By id, as a number.
    assert_same(&index.sample(10).await.unwrap(), &rows);
    assert_same(&index.sample(2).await.unwrap(), &rows[..2]);
    assert_eq!(index.sample(0).await.unwrap(), []);

    // The same id replaces; of one id twice in a batch the last counts.
    index.upsert(vec![known(0, "first", axis(5)), known(0, "second", axis(6))]).await.unwrap();
    assert_eq!(index.count().await.unwrap(), 3);
    let replaced = index.nearest(&[axis(6)], 1).await.unwrap();
    assert_eq!((replaced[0][0].id.0, &*replaced[0][0].text), (0, "second"));
    assert!(index.nearest(&[axis(5)], 1).await.unwrap()[0][0].similarity < 0.5);
    index.upsert(Vec::new()).await.unwrap();

    // What does not fit is refused, and nothing of its batch is kept.
    let short = vec![1.0];
    let (mut nan, mut long) = (axis(0), axis(0));
    nan[1] = f32::NAN;
    long[1] = 1.0;
    for bad in [short, vec![0.0; DIMENSION], nan, long] {
        assert_failure(index.nearest(std::slice::from_ref(&bad), 1).await, FailureKind::Rejected, &[]);
        let batch = vec![known(7, "good", axis(7)), known(8, "bad", bad)];
        assert_failure(index.upsert(batch).await, FailureKind::Rejected, &[]);
    }
    assert_eq!(index.count().await.unwrap(), 3);

    index.remove(&[TemplateId(0), TemplateId(42), TemplateId(u64::MAX)]).await.unwrap();
    index.remove(&[]).await.unwrap();
    assert_same(&index.sample(10).await.unwrap(), &rows[1..2]);
    assert_eq!(ids(&index.nearest(&[axis(0)], 10).await.unwrap()[0]), [1 << 63]);

    // More than one message can carry.
    let mut numbers = Numbers(1);
    let many: Vec<Known> =
        (0..700).map(|id| known(id, &format!("template {id}"), numbers.unit(DIMENSION))).collect();
    index.upsert(many.clone()).await.unwrap();
    assert_eq!(index.count().await.unwrap(), 701);
    assert_same(&index.sample(700).await.unwrap(), &many);
    assert_eq!(index.sample(usize::MAX).await.unwrap().len(), 701);
    let queries: Vec<Vec<f32>> = many[..64].iter().map(|row| row.vector.clone()).collect();
    for (query, found) in index.nearest(&queries, 1).await.unwrap().iter().enumerate() {
        assert_eq!(found[0].id.0, query as u64);
    }
    index.remove(&many.iter().map(|row| row.id).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(index.count().await.unwrap(), 1);
}

async fn embedded(store: Arc<dyn StateStore>) -> EmbeddedIndex {
    EmbeddedIndex::open(store, "fake/words", DIMENSION).await.unwrap()
}

#[tokio::test]
async fn the_embedded_index_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Sqlite::open(&folder.path().join("state.db")).unwrap());
    index_contract(&embedded(store).await).await;
    index_contract(&embedded(Arc::new(FakeStore::default())).await).await;
}

#[tokio::test]
async fn the_fake_keeps_the_contract() {
    index_contract(&FakeIndex::new(DIMENSION)).await;
}

#[tokio::test]
async fn qdrant_keeps_the_contract() {
    let server = fake_qdrant::start().await;
    index_contract(&Qdrant::new(server.options(), "fake/words", DIMENSION).unwrap()).await;
}

#[tokio::test]
async fn a_real_qdrant_keeps_the_contract() {
    let Some(url) = real_server("ODDLINE_QDRANT_URL") else { return };
    let options =
        QdrantOptions { url: url.clone(), timeout: std::time::Duration::from_secs(20), ..Default::default() };
    let run = tempfile::tempdir().unwrap();
    let embedder = format!("contract/{}", run.path().file_name().unwrap().to_string_lossy());
    let index = Qdrant::new(options, &embedder, DIMENSION).unwrap();
    index_contract(&index).await;
    let client = qdrant_client::Qdrant::from_url(&url).skip_compatibility_check().build().unwrap();
    client.delete_collection(collection_name(&embedder, DIMENSION)).await.unwrap();
    // Deleted under the index: the first call says so, the next one makes it again.
    assert_failure(index.count().await, FailureKind::Unavailable, &["qdrant"]);
    assert_eq!(index.count().await.unwrap(), 0);
    client.delete_collection(collection_name(&embedder, DIMENSION)).await.unwrap();
}

#[tokio::test]
async fn the_embedded_index_is_exact() {
    for (dimension, count) in [(1, 3), (15, 300), (16, 300), (17, 300), (256, 5_000)] {
        let mut numbers = Numbers(dimension as u64);
        let index = EmbeddedIndex::open(Arc::new(FakeStore::default()), "e", dimension).await.unwrap();
        let plain = FakeIndex::new(dimension);
        let rows: Vec<Known> = (0..count)
            .map(|id| known(id * 7919 % count, &format!("{id}"), numbers.unit(dimension)))
            .collect();
        index.upsert(rows.clone()).await.unwrap();
        plain.upsert(rows).await.unwrap();
        let gone: Vec<TemplateId> = (0..count).step_by(3).map(TemplateId).collect();
        index.remove(&gone).await.unwrap();
        plain.remove(&gone).await.unwrap();
        let queries: Vec<Vec<f32>> = (0..20).map(|_| numbers.unit(dimension)).collect();
        let found = index.nearest(&queries, 5).await.unwrap();
        for (a, b) in found.iter().flatten().zip(plain.nearest(&queries, 5).await.unwrap().iter().flatten()) {
            assert_eq!((a.id, &a.text), (b.id, &b.text));
            assert!((a.similarity - b.similarity).abs() < 1e-5);
        }
    }
}

#[tokio::test]
async fn the_embedded_index_is_limited() {
    let store = Arc::new(FakeStore::default());
    let index = EmbeddedIndex::with_limit(store.clone(), "e", DIMENSION, 10).await.unwrap();
    let rows = |ids: std::ops::Range<u64>| ids.map(|id| known(id, "t", axis(0))).collect::<Vec<_>>();
    index.upsert(rows(0..10)).await.unwrap();
    index.upsert(rows(5..10)).await.unwrap();
    for over in [9..11, 0..11, 0..100] {
        assert_failure(
            index.upsert(rows(over)).await,
            FailureKind::Rejected,
            &["oddline_e_20", "limit", "10", "qdrant"],
        );
        assert_eq!(index.count().await.unwrap(), 10);
        assert_eq!(store.load_known("oddline_e_20", None, 100).await.unwrap().len(), 10);
    }
    index.remove(&[TemplateId(0)]).await.unwrap();
    index.upsert(rows(10..11)).await.unwrap();
    let lower = EmbeddedIndex::with_limit(store, "e", DIMENSION, 9).await;
    assert_failure(lower, FailureKind::Rejected, &["oddline_e_20: 10 known templates", "is 9"]);
}

#[tokio::test]
async fn all_rows_are_there_after_a_restart_however_many_are_read_at_a_time() {
    for rows in [999, 1_000, 1_001, 10_000] {
        let store = Arc::new(FakeStore::default());
        let all = (0..rows).map(|id| known(id * 7, &format!("text {id}"), axis(id as usize % DIMENSION)));
        store.save_known("oddline_e_20", all.collect()).await.unwrap();
        let index = EmbeddedIndex::open(store.clone(), "e", DIMENSION).await.unwrap();
        assert_eq!(index.count().await.unwrap() as u64, rows);
        let last = index.sample(usize::MAX).await.unwrap().pop().unwrap();
        assert_eq!((last.id.0, &*last.text), ((rows - 1) * 7, &*format!("text {}", rows - 1)));
        let over = EmbeddedIndex::with_limit(store, "e", DIMENSION, 900).await;
        assert_failure(over, FailureKind::Rejected, &[&format!("{rows} known templates"), "is 900"]);
    }
}

#[tokio::test]
async fn the_embedded_index_survives_a_restart_and_a_broken_store() {
    let store = Arc::new(FakeStore::default());
    let index = embedded(store.clone()).await;
    index.upsert(vec![known(1, "one", axis(1)), known(2, "two", axis(2))]).await.unwrap();
    index.remove(&[TemplateId(1)]).await.unwrap();
    store.broken.store(true, Ordering::Relaxed);
    assert_failure(index.upsert(vec![known(3, "three", axis(3))]).await, FailureKind::Unavailable, &[]);
    assert_failure(index.remove(&[TemplateId(2)]).await, FailureKind::Unavailable, &[]);
    assert_eq!(index.nearest(&[axis(2)], 1).await.unwrap()[0][0].id.0, 2, "searching needs no store");
    assert_eq!(index.count().await.unwrap(), 1, "memory is never ahead of the store");
    assert_failure(
        EmbeddedIndex::open(store.clone(), "fake/words", DIMENSION).await,
        FailureKind::Unavailable,
        &["broken"],
    );
    store.broken.store(false, Ordering::Relaxed);
    assert_same(&embedded(store.clone()).await.sample(9).await.unwrap(), &[known(2, "two", axis(2))]);

    // Rows that someone else put there.
    store.save_known("oddline_fake-words_20", vec![known(9, "odd", vec![1.0, 0.0])]).await.unwrap();
    let opened = EmbeddedIndex::open(store, "fake/words", DIMENSION).await;
    assert_failure(opened, FailureKind::Rejected, &["oddline_fake-words_20", "dimension 2, expected 20"]);
}

#[tokio::test]
async fn a_collection_of_another_shape_is_refused_by_name() {
    let server = fake_qdrant::start().await;
    let first = Qdrant::new(server.options(), "e", DIMENSION).unwrap();
    first.upsert(vec![known(1, "one", axis(1))]).await.unwrap();
    server.reshape("oddline_e_20", 21);
    let second = Qdrant::new(server.options(), "e", DIMENSION).unwrap();
    let words = ["oddline_e_20", "dimension 21", "expected 20"];
    assert_failure(second.count().await, FailureKind::Rejected, &words);
    assert_failure(second.nearest(&[axis(0)], 1).await, FailureKind::Rejected, &words);
}

#[tokio::test]
async fn a_collection_that_vanishes_is_made_again() {
    let server = fake_qdrant::start().await;
    let index = Qdrant::new(server.options(), "e", DIMENSION).unwrap();
    index.upsert(vec![known(1, "one", axis(1))]).await.unwrap();
    server.delete("oddline_e_20");
    assert_failure(index.count().await, FailureKind::Unavailable, &["oddline_e_20"]);
    assert_eq!(index.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_qdrant_that_is_down_comes_back() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}");
    let options = QdrantOptions { url: url.clone(), ..QdrantOptions::default() };
    let index = Qdrant::new(options, "e", DIMENSION).unwrap();
    assert_failure(index.count().await, FailureKind::Unavailable, &["qdrant", &url]);
    let _server = fake_qdrant::start_at(address).await;
    // The channel may be in the middle of its own pause.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while let Err(error) = index.count().await {
        assert!(tokio::time::Instant::now() < deadline, "{error}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn long_texts_and_long_vectors_stay_within_what_is_taken_for_an_answer() {
    const BATCH: u64 = 64;
    for (dimension, bytes) in [(DIMENSION, 2 << 10), (DIMENSION, (2 << 10) + 1), (8_192, 64 << 10)] {
        let server = fake_qdrant::start().await;
        let index = Qdrant::new(server.options(), "e", dimension).unwrap();
        let vector = |at: u64| {
            let mut vector = vec![0.0; dimension];
            vector[at as usize % dimension] = 1.0;
            vector
        };
        let rows = (0..4 * BATCH).map(|id| known(id, &"x".repeat(bytes), vector(id)));
        index.upsert(rows.collect()).await.unwrap();
        let queries: Vec<_> = (0..BATCH).map(vector).collect();
        let answers = index.nearest(&queries, 3).await.unwrap();
        assert_eq!((answers.len(), answers.iter().map(Vec::len).sum::<usize>()), (64, 192));
        assert!(answers.iter().flatten().all(|near| near.text.len() == 2 << 10), "{bytes}");
        assert_eq!(index.sample(1_000).await.unwrap().len() as u64, 4 * BATCH);
    }
}

#[tokio::test]
async fn wrong_answers_of_qdrant_are_bugs() {
    let server = fake_qdrant::start().await;
    let index = Qdrant::new(server.options(), "e", DIMENSION).unwrap();
    index.upsert(vec![known(1, "one", axis(1))]).await.unwrap();
    server.spoil(fake_qdrant::Spoiled::NoPayload);
    assert_failure(index.nearest(&[axis(0)], 1).await, FailureKind::Bug, &["payload `text`"]);
    assert_failure(index.sample(1).await, FailureKind::Bug, &["payload `text`"]);
    server.spoil(fake_qdrant::Spoiled::NanScore);
    assert_failure(index.nearest(&[axis(0)], 1).await, FailureKind::Bug, &["not finite"]);
    server.spoil(fake_qdrant::Spoiled::FiveMebibytes);
    assert_failure(index.nearest(&[axis(0)], 1).await, FailureKind::Bug, &["qdrant", "4194304"]);
    server.spoil(fake_qdrant::Spoiled::NoLists);
    assert_failure(index.nearest(&[axis(0)], 1).await, FailureKind::Bug, &["0 lists for 1 queries"]);
    server.spoil(fake_qdrant::Spoiled::Refused);
    assert_failure(index.nearest(&[axis(0)], 1).await, FailureKind::Rejected, &["who are you?"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_qdrant_is_unavailable_after_the_timeout() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let index = Qdrant::new(QdrantOptions { url, ..QdrantOptions::default() }, "e", DIMENSION).unwrap();
    assert_failure(index.count().await, FailureKind::Unavailable, &["no answer within 2s"]);
}
