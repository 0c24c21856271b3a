//! Embeddings a second and how long the nearest rows take to find: what is embedded, and the real servers that
//! `ODDLINE_OLLAMA_URL` (model `ODDLINE_OLLAMA_MODEL`, default `all-minilm`) and `ODDLINE_QDRANT_URL` name. Prints one JSON line
//! each. Judges nothing.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is all it does")]

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use oddline_analyze::ports::{BackendError, Embedder, Known, MAX_EMBED_BATCH, StateStore, VectorIndex};
use oddline_backends::{
    check::Checked,
    collection_name,
    embedded_index::EmbeddedIndex,
    ollama::{Ollama, OllamaOptions},
    qdrant::{Qdrant, QdrantOptions},
    sqlite::Sqlite,
    static_model::StaticModel,
};
use oddline_engine::TemplateId;

const DIMENSION: usize = 256;
const NAME: &str = "bench";
/// Questions of one vector, so that the last but one is the 99th percentile; and of a whole batch.
const QUESTIONS: usize = 101;
const BATCHES: usize = 31;
/// What a slow machine may take to store rows or load a model.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let started = Instant::now();
    let model = StaticModel::embedded()?;
    println!(r#"{{"bench":"model","load_ms":{:.1}}}"#, milliseconds(started));
    embeddings(&Checked::new(Arc::new(model))).await?;
    let ollama = real_server("ODDLINE_OLLAMA_URL");
    if let Some(url) = ollama {
        let model = std::env::var("ODDLINE_OLLAMA_MODEL").unwrap_or_else(|_| "all-minilm".to_owned());
        let options = OllamaOptions { url, model, timeout: PATIENCE, ..OllamaOptions::default() };
        embeddings(&Checked::new(Arc::new(Ollama::new(options)?))).await?;
    }
    let qdrant = real_server("ODDLINE_QDRANT_URL");
    for rows in [1_000, 10_000, 100_000] {
        let mut units = Units(rows);
        let known: Vec<Known> = (0..rows)
            .map(|id| Known {
                id: TemplateId(id),
                text: format!("template {id}").into(),
                vector: units.vector(),
            })
            .collect();
        embedded(&known, &mut units).await?;
        if let Some(url) = &qdrant {
            in_qdrant(url, &known, &mut units).await?;
        }
    }
    Ok(())
}

fn real_server(variable: &str) -> Option<String> {
    let url = std::env::var(variable).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        eprintln!("SKIPPED: {variable} is not set, so the real server is not measured");
    }
    url
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

async fn embeddings(embedder: &dyn Embedder) -> Result<(), BackendError> {
    let texts: Vec<String> = (0..MAX_EMBED_BATCH)
        .map(|n| {
            format!("worker {n} failed to connect to database host <*> after <*> retries: connection refused")
        })
        .collect();
    let mut a_second = [0.0; 2];
    for (batch, a_second) in [MAX_EMBED_BATCH, 1].into_iter().zip(&mut a_second) {
        embedder.embed(&texts[..batch]).await?;
        let (started, mut count) = (Instant::now(), 0);
        while started.elapsed() < Duration::from_secs(2) {
            count += embedder.embed(&texts[..batch]).await?.len();
        }
        *a_second = count as f64 / started.elapsed().as_secs_f64();
    }
    println!(
        r#"{{"bench":"embeddings","by":"{}","dimension":{},"a_second_in_batches":{:.0},"a_second_one_by_one":{:.0}}}"#,
        embedder.name(),
        embedder.dimension(),
        a_second[0],
        a_second[1]
    );
    Ok(())
}

/// Unit vectors of random directions, from a seed.
struct Units(u64);

impl Units {
    fn vector(&mut self) -> Vec<f32> {
        let mut number = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let mut vector: Vec<f32> = (0..DIMENSION).map(|_| number()).collect();
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|x| *x /= length);
        vector
    }
}

async fn embedded(known: &[Known], units: &mut Units) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let store: Arc<dyn StateStore> = Arc::new(Sqlite::open(&folder.path().join("state.db"))?);
    let index = EmbeddedIndex::open(Arc::clone(&store), NAME, DIMENSION).await?;
    let started = Instant::now();
    index.upsert(known.to_vec()).await?;
    let saved = milliseconds(started);
    drop(index);
    let started = Instant::now();
    let index = EmbeddedIndex::open(store, NAME, DIMENSION).await?;
    let loaded = format!(r#","load_ms":{:.1}"#, milliseconds(started));
    nearest("embedded", &index, known.len(), saved, &loaded, units).await
}

async fn in_qdrant(url: &str, known: &[Known], units: &mut Units) -> Result<(), Box<dyn Error>> {
    let client = qdrant_client::Qdrant::from_url(url).skip_compatibility_check().build()?;
    // What a run that was cut short has left.
    client.delete_collection(collection_name(NAME, DIMENSION)).await?;
    let options = QdrantOptions { url: url.to_owned(), timeout: PATIENCE, ..QdrantOptions::default() };
    let index = Qdrant::new(options, NAME, DIMENSION)?;
    let started = Instant::now();
    for part in known.chunks(1_000) {
        index.upsert(part.to_vec()).await?;
    }
    nearest("qdrant", &index, known.len(), milliseconds(started), "", units).await?;
    client.delete_collection(collection_name(NAME, DIMENSION)).await?;
    Ok(())
}

async fn nearest(
    by: &str,
    index: &dyn VectorIndex,
    rows: usize,
    saved: f64,
    more: &str,
    units: &mut Units,
) -> Result<(), Box<dyn Error>> {
    let mut percentiles = Vec::new();
    for (questions, batch) in [(QUESTIONS, 1), (BATCHES, 64)] {
        let queries: Vec<Vec<f32>> = (0..batch).map(|_| units.vector()).collect();
        let mut times = Vec::new();
        for _ in 0..questions {
            let started = Instant::now();
            index.nearest(&queries, 3).await?;
            times.push(milliseconds(started));
        }
        times.sort_by(f64::total_cmp);
        percentiles.push((times[questions / 2], times[questions * 99 / 100]));
    }
    println!(
        r#"{{"bench":"nearest","by":"{by}","rows":{rows},"p50_ms":{:.3},"p99_ms":{:.3},"of_64_p50_ms":{:.2},"save_ms":{saved:.0}{more}}}"#,
        percentiles[0].0, percentiles[0].1, percentiles[1].0
    );
    Ok(())
}
