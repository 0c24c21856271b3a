//! Texts to vectors by any server that speaks OpenAI's `POST /v1/embeddings` (OpenAI, vLLM, llama.cpp, LM Studio, TEI).
//! Knows the two JSON shapes of that call, nothing else.

use std::{fmt, sync::OnceLock, time::Duration};

use oddline_analyze::ports::{Answer, BackendError, Embedder};
use serde::{Deserialize, Serialize};

use crate::{http, vectors};

/// Where the server is and what it is asked for.
#[derive(Clone)]
pub struct OpenAiOptions {
    /// Base address, with or without the final `/v1`.
    pub url: String,
    /// Model.
    pub model: String,
    /// Bearer key, if the server wants one.
    pub api_key: Option<String>,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// Most requests at a time.
    pub concurrency: usize,
    /// The model's dimension, if it should be known before the server first answers.
    pub dimension: Option<usize>,
}

impl Default for OpenAiOptions {
    fn default() -> Self {
        OpenAiOptions {
            url: "https://api.openai.com/v1".to_owned(),
            model: "text-embedding-3-small".to_owned(),
            api_key: None,
            timeout: Duration::from_secs(10),
            concurrency: 4,
            dimension: None,
        }
    }
}

/// Leaves out the key.
impl fmt::Debug for OpenAiOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAiOptions")
            .field("url", &self.url)
            .field("model", &self.model)
            .field("timeout", &self.timeout)
            .field("concurrency", &self.concurrency)
            .field("dimension", &self.dimension)
            .finish_non_exhaustive()
    }
}

/// An [`Embedder`] that asks an OpenAI-compatible server.
#[derive(Debug)]
pub struct OpenAi {
    name: String,
    model: String,
    endpoint: http::Endpoint,
    dimension: OnceLock<usize>,
}

#[derive(Serialize)]
struct Question<'a> {
    model: &'a str,
    input: &'a [String],
    encoding_format: &'static str,
}

#[derive(Deserialize)]
struct Embeddings {
    data: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    index: usize,
    embedding: Vec<f32>,
}

impl OpenAi {
    /// Does not connect: a server that is down is an error of [`Embedder::embed`].
    ///
    /// # Errors
    /// If the address, the key, the concurrency or the timeout makes no sense.
    pub fn new(options: OpenAiOptions) -> Result<Self, BackendError> {
        let base = options.url.trim_end_matches('/');
        let url = http::join("openai", base.strip_suffix("/v1").unwrap_or(base), "v1/embeddings")?;
        let key = options.api_key.as_deref();
        Ok(OpenAi {
            name: format!("openai/{}", options.model),
            model: options.model,
            endpoint: http::Endpoint::new("openai", url, key, options.timeout, options.concurrency)?,
            dimension: options.dimension.map(OnceLock::from).unwrap_or_default(),
        })
    }
}

impl Embedder for OpenAi {
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
            let question = Question { model: &self.model, input: texts, encoding_format: "float" };
            let mut rows = self.endpoint.ask::<Embeddings>(&question).await?.data;
            // Servers may answer in any order; the index says which text a row belongs to.
            rows.sort_by_key(|row| row.index);
            if rows.iter().enumerate().any(|(position, row)| row.index != position) {
                return Err(BackendError::bug(format!("{}: rows are not indexed 0, 1, 2 …", self.name)));
            }
            let expected = self.dimension.get().copied();
            let rows = rows.into_iter().map(|row| row.embedding).collect();
            let accepted = vectors::accept(&self.name, texts.len(), expected, rows)?;
            self.dimension.get_or_init(|| accepted[0].len());
            Ok(accepted)
        })
    }
}
