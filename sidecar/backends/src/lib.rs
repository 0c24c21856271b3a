//! What the analysis calls out to: takes texts, vectors and rows, gives vectors, neighbours and rows, each behind a
//! trait of [`oddline_analyze::ports`]. Must not know how records come in, how they are judged or how they are shown.
//!
//! One module per backend; they do not know each other, and share only how to speak HTTP and how to accept a vector.
//!
//! | port | embedded | at scale |
//! |---|---|---|
//! | `Embedder` | [`static_model`] | [`ollama`], [`openai`] |
//! | `VectorIndex` | [`embedded_index`] | [`qdrant`] |
//! | `StateStore` | [`sqlite`] | |
//! | `RowTable` | | [`vector_table`] |
//! | `CountSource` | | [`vector_counts`] |
//!
//! Whichever embedder is chosen, wrap it in [`check::Checked`]: no backend is trusted blindly.
//!
//! ```
//! use std::sync::Arc;
//! use oddline_analyze::ports::Embedder;
//! use oddline_backends::{check::Checked, static_model::StaticModel};
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let embedder = Checked::new(Arc::new(StaticModel::embedded()?));
//! let texts = ["connection to <*> lost".to_owned(), "failed to connect to <*>".to_owned()];
//! let vectors = embedder.embed(&texts).await?;
//! let cosine: f32 = vectors[0].iter().zip(&vectors[1]).map(|(a, b)| a * b).sum();
//! assert!(cosine > 0.5);
//! # Ok::<(), oddline_analyze::ports::BackendError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod check;
pub mod embedded_index;
mod http;
pub mod ollama;
pub mod openai;
pub mod qdrant;
pub mod running;
pub mod sqlite;
pub mod static_model;
pub mod vector_counts;
pub mod vector_table;
mod vectors;

pub use vectors::collection_name;
