//! One type per stage boundary, so that no stage can be called too early:
//! [`Received`] (a record) → [`Screened`] → [`Embedded`] → [`Compared`] (a template) → [`Judged`] (the record again).

use std::sync::Arc;

use oddline_engine::{TemplateId, Verdict};

use crate::ports::Neighbour;
pub use crate::ports::Received;

/// A template that has no standing yet: what the costly path works on, once however many records wait for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Screened {
    /// Its id.
    pub id: TemplateId,
    /// Its text.
    pub text: Arc<str>,
}

/// The template with its vector.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// The template.
    pub template: Screened,
    /// Its embedding, of unit length.
    pub vector: Arc<[f32]>,
}

/// How a template stands to what is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// An operator has declared it harmless.
    Exception,
    /// It is itself among the known.
    Known,
    /// The nearest of the known.
    Near {
        /// Cosine to it.
        similarity: f32,
        /// Its text.
        nearest: Arc<str>,
    },
    /// Nothing is known yet.
    Alone,
}

/// The template with its standing.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// The template.
    pub template: Screened,
    /// How it stands to what is known.
    pub standing: Standing,
}

impl Standing {
    /// The standing of a template with these nearest neighbours, most similar first.
    pub fn of(id: TemplateId, neighbours: &[Neighbour]) -> Standing {
        if neighbours.iter().any(|near| near.id == id) {
            return Standing::Known;
        }
        match neighbours.first() {
            Some(near) => Standing::Near { similarity: near.similarity, nearest: near.text.clone() },
            None => Standing::Alone,
        }
    }
}

/// A record's final verdict, as it is broadcast to whoever listens.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Tag or route of the record.
    pub source: Arc<str>,
    /// The sidecar's verdict.
    pub verdict: Verdict,
}
