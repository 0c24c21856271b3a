//! Texts to vectors by an Ollama server (`POST /api/embed`). Knows the two JSON shapes of that call, nothing else.
//!
//! One request runs at a time unless configured otherwise: a server that is given several at once only queues them, and
//! past its queue it refuses.

use std::{sync::OnceLock, time::Duration};

use oddline_analyze::ports::{Answer, BackendError, Embedder};
use serde::{Deserialize, Serialize};

use crate::{http, vectors};

/// Where the server is and what it is asked for.
#[derive(Clone, Debug)]
pub struct OllamaOptions {
    /// Base address.
    pub url: String,
    /// Model, as `ollama list` shows it.
    pub model: String,
    /// Longest wait for one answer, the server's loading of the model included.
    pub timeout: Duration,
    /// Most requests at a time.
    pub concurrency: usize,
    /// How long the server keeps the model in memory after a call. Questions are rare, and loading a model takes longer
    /// than a record may wait.
    pub keep_alive: String,
    /// The model's dimension, if it should be known before the server first answers.
    pub dimension: Option<usize>,
}

impl Default for OllamaOptions {
    fn default() -> Self {
        OllamaOptions {
            url: "http://127.0.0.1:11434".to_owned(),
            model: "all-minilm".to_owned(),
            timeout: Duration::from_secs(10),
            concurrency: 1,
            keep_alive: "1h".to_owned(),
            dimension: None,
        }
    }
}

/// An [`Embedder`] that asks Ollama.
#[derive(Debug)]
pub struct Ollama {
    name: String,
    model: String,
    keep_alive: String,
    endpoint: http::Endpoint,
    dimension: OnceLock<usize>,
}

#[derive(Serialize)]
struct Question<'a> {
    model: &'a str,
    input: &'a [String],
    truncate: bool,
    keep_alive: &'a str,
}

#[derive(Deserialize)]
struct Embeddings {
    embeddings: Vec<Vec<f32>>,
}

impl Ollama {
    /// Does not connect: a server that is down is an error of [`Embedder::embed`].
    ///
    /// # Errors
    /// If the address, the concurrency or the timeout makes no sense.
    pub fn new(options: OllamaOptions) -> Result<Self, BackendError> {
        let url = http::join("ollama", &options.url, "api/embed")?;
        Ok(Ollama {
            name: format!("ollama/{}", options.model),
            model: options.model,
            keep_alive: options.keep_alive,
            endpoint: http::Endpoint::new("ollama", url, None, options.timeout, options.concurrency)?,
            dimension: options.dimension.map(OnceLock::from).unwrap_or_default(),
        })
    }
}

impl Embedder for Ollama {
    fn name(&self) -> &str {
        &self.name
    }

    /// 0 until the first answer, unless it was configured.
    fn dimension(&self) -> usize {
        self.dimension.get().copied().unwrap_or_default()
    }

    fn at_once(&self) -> usize {
        self.endpoint.at_once()
    }

    fn embed<'a>(&'a self, texts: &'a [String]) -> Answer<'a, Vec<Vec<f32>>> {
        Box::pin(async move {
            vectors::admit(&self.name, texts)?;
            if texts.is_empty() {
                return Ok(Vec::new());
            }
            let question =
                Question { model: &self.model, input: texts, truncate: true, keep_alive: &self.keep_alive };
            let answer: Embeddings = self.endpoint.ask(&question).await?;
            let expected = self.dimension.get().copied();
            let accepted = vectors::accept(&self.name, texts.len(), expected, answer.embeddings)?;
            self.dimension.get_or_init(|| accepted[0].len());
            Ok(accepted)
        })
    }
}
