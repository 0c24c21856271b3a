//! Prints the figures of `README.md`: `cargo bench -p oddline-backends`. Judges nothing.
#![allow(clippy::print_stdout, reason = "printing is all it does")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use oddline_analyze::ports::{BackendError, Embedder, Known, MAX_EMBED_BATCH, StateStore, VectorIndex};
use oddline_backends::{
    check::Checked, embedded_index::EmbeddedIndex, sqlite::Sqlite, static_model::StaticModel,
};
use oddline_engine::TemplateId;

const PAIRS: [(&str, &str); 4] = [
    ("User 'alice' logged in", "User 'guest' logged in"),
    ("User 'alice' logged in", "Failed to connect to primary database"),
    ("Connection to database lost", "Failed to connect to primary database"),
    (
        "INFO: User <*> logged in from IP <*>",
        "CRITICAL: Failed to connect to primary database after <*> retries.",
    ),
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let started = Instant::now();
    let model = StaticModel::embedded()?;
    println!("model: loaded in {:?}", started.elapsed());
    let embedder: Arc<dyn Embedder> = Arc::new(Checked::new(Arc::new(model)));
    embeddings(&*embedder).await?;
    for (a, b) in PAIRS {
        let vectors = embedder.embed(&[a.to_owned(), b.to_owned()]).await?;
        let cosine: f32 = vectors[0].iter().zip(&vectors[1]).map(|(a, b)| a * b).sum();
        println!("cosine: {cosine:.2}  {a} / {b}");
    }
    for rows in [1_000, 10_000, 100_000] {
        nearest(rows).await?;
    }
    Ok(())
}

async fn embeddings(embedder: &dyn Embedder) -> Result<(), BackendError> {
    let texts: Vec<String> = (0..MAX_EMBED_BATCH)
        .map(|n| {
            format!("worker {n} failed to connect to database host <*> after <*> retries: connection refused")
        })
        .collect();
    for (batch, what) in [(MAX_EMBED_BATCH, "batches of 64"), (1, "one by one")] {
        embedder.embed(&texts[..batch]).await?;
        let (started, mut count) = (Instant::now(), 0);
        while started.elapsed() < Duration::from_secs(2) {
            count += embedder.embed(&texts[..batch]).await?.len();
        }
        println!("embeddings: {:.0} a second, {what}", count as f64 / started.elapsed().as_secs_f64());
    }
    Ok(())
}

async fn nearest(rows: u64) -> Result<(), Box<dyn std::error::Error>> {
    const DIMENSION: usize = 256;
    let mut state = rows;
    let mut unit = || {
        let mut vector: Vec<f32> = (0..DIMENSION)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|x| *x /= length);
        vector
    };
    let known: Vec<Known> = (0..rows)
        .map(|id| Known { id: TemplateId(id), text: format!("template {id}").into(), vector: unit() })
        .collect();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("state.db");
    let store: Arc<dyn StateStore> = Arc::new(Sqlite::open(&path)?);
    let index = EmbeddedIndex::open(Arc::clone(&store), "bench", DIMENSION).await?;
    let started = Instant::now();
    index.upsert(known).await?;
    let saved = started.elapsed();
    drop(index);
    let started = Instant::now();
    let index = EmbeddedIndex::open(store, "bench", DIMENSION).await?;
    println!("index: {rows} rows saved in {saved:?}, loaded in {:?}", started.elapsed());
    for batch in [1, 64] {
        let queries: Vec<Vec<f32>> = (0..batch).map(|_| unit()).collect();
        let mut times = Vec::new();
        for _ in 0..41 {
            let started = Instant::now();
            index.nearest(&queries, 3).await?;
            times.push(started.elapsed());
        }
        times.sort();
        println!("nearest: {rows} rows, {batch} queries: p50 {:?}, p97 {:?}", times[20], times[39]);
    }
    Ok(())
}
