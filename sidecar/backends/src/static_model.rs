//! Texts to vectors in process: one vector per word piece, looked up and averaged, no neural network to run. Knows the
//! model2vec format and nothing of the network.
//!
//! The model is compiled in, so that the one binary works anywhere; how it was made stands in `model/README.md`.

use std::{path::Path, sync::Arc};

use model2vec_rs::model::StaticModel as Model2Vec;
use oddline_analyze::ports::{Answer, BackendError, Embedder};

use crate::vectors;

/// Name of the compiled-in model.
pub const EMBEDDED: &str = "static/all-MiniLM-L6-v2-distilled-256";

/// Largest file of a model that is read, in bytes.
pub const MAX_MODEL_FILE_BYTES: u64 = 512 << 20;

/// Up to this many bytes of text are embedded where the call is made: about 190 us (measured, see README). What is more
/// leaves the runtime's threads.
const INLINE_BYTES: usize = 4 << 10;

/// An [`Embedder`] in process.
#[derive(Clone, Debug)]
pub struct StaticModel {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    dimension: usize,
    model: Model2Vec,
    /// Whether short texts are embedded where the call is made. Not with a model of the user's own, whose tokenizer may
    /// know more words than it has vectors: the crate panics on those, which is an error in a task of its own.
    inline: bool,
}

impl StaticModel {
    /// The compiled-in model; takes about 50 ms.
    ///
    /// # Errors
    /// Only if the files were replaced by broken ones when this was built.
    pub fn embedded() -> Result<Self, BackendError> {
        Self::load(
            EMBEDDED.to_owned(),
            include_bytes!("../model/tokenizer.json"),
            include_bytes!("../model/model.safetensors"),
            include_bytes!("../model/config.json"),
            true,
        )
    }

    /// A model of your own: a folder with `tokenizer.json`, `model.safetensors` and `config.json` as model2vec writes
    /// them. Its name is `static/<folder>`. Blocks while it reads.
    ///
    /// # Errors
    /// If a file is missing, too large, or not what it should be.
    pub fn read(folder: &Path) -> Result<Self, BackendError> {
        let read = |name: &str| {
            let path = folder.join(name);
            let rejected =
                |what: String| BackendError::rejected(format!("embedding model {}: {what}", path.display()));
            let bytes = std::fs::metadata(&path).map_err(|error| rejected(error.to_string()))?.len();
            if bytes > MAX_MODEL_FILE_BYTES {
                return Err(rejected(format!("{bytes} bytes, the limit is {MAX_MODEL_FILE_BYTES}")));
            }
            std::fs::read(&path).map_err(|error| rejected(error.to_string()))
        };
        let label = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
        Self::load(
            format!("static/{label}"),
            &read("tokenizer.json")?,
            &read("model.safetensors")?,
            &read("config.json")?,
            false,
        )
        .map_err(|error| BackendError {
            message: format!("{} (folder {})", error.message, folder.display()),
            ..error
        })
    }

    fn load(
        name: String,
        tokenizer: &[u8],
        model: &[u8],
        config: &[u8],
        inline: bool,
    ) -> Result<Self, BackendError> {
        let rejected = |what: String| BackendError::rejected(format!("embedding model {name}: {what}"));
        check_config(config).map_err(|what| rejected(format!("config.json {what}")))?;
        // Its own vectors are always brought to unit length, whatever its configuration says.
        let model = Model2Vec::from_bytes(tokenizer, model, config, Some(true))
            .map_err(|error| rejected(format!("{error:#}")))?;
        let dimension = model.dim();
        if dimension > vectors::MAX_DIMENSION {
            let limit = vectors::MAX_DIMENSION;
            return Err(rejected(format!("dimension {dimension}, the limit is {limit}")));
        }
        Ok(StaticModel { inner: Arc::new(Inner { name, dimension, model, inline }) })
    }
}

/// Whether a configuration is one of a model that is read as it was made: the crate takes anything for one.
fn check_config(config: &[u8]) -> Result<(), String> {
    let config: serde_json::Value =
        serde_json::from_slice(config).map_err(|error| format!("is not JSON: {error}"))?;
    let Some(config) = config.as_object() else {
        return Err("is no JSON object; take the one that model2vec wrote".to_owned());
    };
    match config.get("pooling") {
        Some(pooling) if !pooling.is_null() && pooling.as_str() != Some("mean") => {
            Err(format!("asks for the pooling {pooling}; only \"mean\" is known"))
        }
        _ => Ok(()),
    }
}

impl Inner {
    fn embed(&self, texts: &[String]) -> Vec<Vec<f32>> {
        // One after the other: the crate's own batches would start a second pool of threads.
        texts.iter().map(|text| self.embed_one(text)).collect()
    }

    fn embed_one(&self, text: &str) -> Vec<f32> {
        let mut vector = self.model.encode_single(text);
        if vector.iter().all(|&number| number == 0.0) {
            vector = direction_of(text, self.dimension);
        }
        vector
    }
}

/// A text without one word piece that the model knows (emoji, an unknown script) has no meaning that could be averaged.
/// It gets a direction of its own: the same for the same text, and unlike every other.
fn direction_of(text: &str, dimension: usize) -> Vec<f32> {
    let mut state = oddline_engine::TemplateId::of(text).0;
    let mut vector: Vec<f32> = (0..dimension)
        .map(|_| {
            // splitmix64; the signs alone make two of 256 dimensions differ in direction.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            if (z ^ (z >> 31)) & 1 == 0 { 1.0 } else { -1.0 }
        })
        .collect();
    let length = (dimension as f32).sqrt();
    vector.iter_mut().for_each(|number| *number /= length);
    vector
}

impl Embedder for StaticModel {
    fn name(&self) -> &str {
        &self.inner.name
    }

    fn dimension(&self) -> usize {
        self.inner.dimension
    }

    fn embed<'a>(&'a self, texts: &'a [String]) -> Answer<'a, Vec<Vec<f32>>> {
        Box::pin(async move {
            vectors::admit(&self.inner.name, texts)?;
            if self.inner.inline && texts.iter().map(String::len).sum::<usize>() <= INLINE_BYTES {
                return Ok(self.inner.embed(texts));
            }
            let (inner, texts) = (Arc::clone(&self.inner), texts.to_vec());
            tokio::task::spawn_blocking(move || inner.embed(&texts))
                .await
                .map_err(|error| BackendError::bug(format!("{}: {error}", self.inner.name)))
        })
    }
}
