//! From configuration to backends: which embedder, which index, which state.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use oddline_analyze::{
    Ports,
    ports::{Answer, BackendError, Clock, Embedder, Known, Neighbour, StateStore, VectorIndex},
};
use oddline_backends::{
    check::Checked,
    embedded_index::EmbeddedIndex,
    ollama::{Ollama, OllamaOptions},
    openai::{OpenAi, OpenAiOptions},
    qdrant::{Qdrant, QdrantOptions},
    sqlite::Sqlite,
    static_model::StaticModel,
};
use oddline_engine::TemplateId;
use tokio::sync::OnceCell;

use crate::config::{Config, Embedder as EmbedderConfig, Index as IndexConfig};

/// The time of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_nanos(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }
}

/// The ports of a configuration, with the embedder's check, which is run by whoever waits for it.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "ports are traits without Debug")]
pub struct Backends {
    /// For the analysis.
    pub ports: Ports,
    /// The embedder again.
    pub embedder: Arc<Checked>,
}

impl Backends {
    /// Opens the state; everything else connects with its first use.
    ///
    /// # Errors
    /// If the state cannot be opened, or a setting makes no sense to its backend.
    pub fn open(config: &Config) -> anyhow::Result<Backends> {
        make_dir(&config.state_dir)?;
        let state: Arc<dyn StateStore> =
            Arc::new(Sqlite::with_limit(&state_file(config), config.analysis.max_templates())?);
        let embedder = Arc::new(Checked::new(embedder(&config.embedder)?));
        let index = Arc::new(Index {
            name: config.index.kind.clone(),
            config: config.index.clone(),
            embedder: embedder.clone(),
            state: state.clone(),
            open: OnceCell::new(),
        });
        let ports = Ports { embedder: embedder.clone(), index, state, clock: Arc::new(SystemClock) };
        Ok(Backends { ports, embedder })
    }
}

/// Where the state of a configuration is.
pub(crate) fn state_file(config: &Config) -> PathBuf {
    config.state_dir.join("oddline.db")
}

fn make_dir(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(path)
        .with_context(|| format!("state.dir {} cannot be made", path.display()))
}

fn embedder(config: &EmbedderConfig) -> anyhow::Result<Arc<dyn Embedder>> {
    let or = |given: &str, usual: String| if given.is_empty() { usual } else { given.to_owned() };
    let timeout = Duration::from_millis(config.timeout_ms);
    let dimension = (config.dimension > 0).then_some(config.dimension);
    Ok(match config.kind.as_str() {
        "ollama" => {
            let usual = OllamaOptions::default();
            Arc::new(Ollama::new(OllamaOptions {
                url: or(&config.url, usual.url),
                model: or(&config.model, usual.model),
                timeout,
                concurrency: if config.concurrency > 0 { config.concurrency } else { usual.concurrency },
                dimension,
                keep_alive: usual.keep_alive,
            })?)
        }
        "openai" => {
            let usual = OpenAiOptions::default();
            Arc::new(OpenAi::new(OpenAiOptions {
                url: or(&config.url, usual.url),
                model: or(&config.model, usual.model),
                api_key: (!config.api_key.is_empty()).then(|| config.api_key.clone()),
                timeout,
                concurrency: if config.concurrency > 0 { config.concurrency } else { usual.concurrency },
                dimension,
            })?)
        }
        _ if config.model.is_empty() => Arc::new(StaticModel::embedded()?),
        _ => Arc::new(StaticModel::read(Path::new(&config.model))?),
    })
}

/// The configured index, opened with its first use: it belongs to an embedder whose vectors' length may only be known
/// once that has answered.
struct Index {
    name: String,
    config: IndexConfig,
    embedder: Arc<Checked>,
    state: Arc<dyn StateStore>,
    open: OnceCell<Arc<dyn VectorIndex>>,
}

impl Index {
    async fn get(&self) -> Result<&dyn VectorIndex, BackendError> {
        let index = self.open.get_or_try_init(|| async {
            self.embedder.check().await?;
            let (name, dimension) = (self.embedder.name(), self.embedder.dimension());
            if self.config.kind != "qdrant" {
                let index = EmbeddedIndex::open(self.state.clone(), name, dimension).await?;
                return Ok(Arc::new(index) as Arc<dyn VectorIndex>);
            }
            let usual = QdrantOptions::default();
            let url = if self.config.url.is_empty() { usual.url } else { self.config.url.clone() };
            let api_key = (!self.config.api_key.is_empty()).then(|| self.config.api_key.clone());
            let options =
                QdrantOptions { url, api_key, timeout: Duration::from_millis(self.config.timeout_ms) };
            Ok(Arc::new(Qdrant::new(options, name, dimension)?) as Arc<dyn VectorIndex>)
        });
        Ok(&**index.await?)
    }
}

impl VectorIndex for Index {
    fn name(&self) -> &str {
        self.open.get().map_or(&self.name, |index| index.name())
    }

    fn nearest<'a>(&'a self, queries: &'a [Vec<f32>], k: usize) -> Answer<'a, Vec<Vec<Neighbour>>> {
        Box::pin(async move { self.get().await?.nearest(queries, k).await })
    }

    fn upsert(&self, known: Vec<Known>) -> Answer<'_, ()> {
        Box::pin(async move { self.get().await?.upsert(known).await })
    }

    fn remove<'a>(&'a self, ids: &'a [TemplateId]) -> Answer<'a, ()> {
        Box::pin(async move { self.get().await?.remove(ids).await })
    }

    fn sample(&self, limit: usize) -> Answer<'_, Vec<Known>> {
        Box::pin(async move { self.get().await?.sample(limit).await })
    }

    fn count(&self) -> Answer<'_, usize> {
        Box::pin(async move { self.get().await?.count().await })
    }
}
