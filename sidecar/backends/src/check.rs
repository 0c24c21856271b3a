//! Any embedder, not trusted blindly: takes one, gives one that has shown to be deterministic and whose every answer
//! has been checked. Must not know which backend it wraps.

use std::{fmt, sync::Arc};

use oddline_analyze::ports::{Answer, BackendError, Embedder};
use tokio::sync::OnceCell;

use crate::vectors;

/// Longest text that is handed to an embedder, in bytes; models read less.
pub const MAX_TEXT_BYTES: usize = 8 << 10;

/// What the miner writes for a variable part.
const PLACEHOLDER: &str = "<*>";

/// Cosines of the same text may differ from 1 by this much: what sums in another order cost, and no more.
const TOLERANCE: f32 = 1e-4;

/// Short and long, alike and unlike: a backend that pads a batch wrongly answers them differently alone and together.
const PROBES: [&str; 3] = [
    "connection to primary database lost",
    "session opened for user",
    "kernel: out of memory: killed process, total virtual memory, anonymous resident memory, file resident memory",
];

/// An embedder whose answers are checked.
///
/// * Before its first use, or when [`Checked::check`] is called, the same text must give the same vector twice, alone
///   and in a batch, and different texts must not.
/// * Every answer must have one vector per text, of the right dimension, finite and not zero; it is brought to unit
///   length.
/// * Placeholders are taken out of texts, as they carry no meaning and make all templates look alike.
pub struct Checked {
    inner: Arc<dyn Embedder>,
    passed: OnceCell<usize>,
}

impl Checked {
    /// Wraps an embedder. Nothing is called yet, so that a backend which is down does not keep a sidecar from starting.
    pub fn new(inner: Arc<dyn Embedder>) -> Self {
        Checked { inner, passed: OnceCell::new() }
    }

    /// Runs the check, unless it has passed before.
    ///
    /// # Errors
    /// If the embedder cannot be asked, or breaks its contract.
    pub async fn check(&self) -> Result<(), BackendError> {
        self.passed.get_or_try_init(|| self.probe()).await.map(|_| ())
    }

    /// Gives the dimension.
    async fn probe(&self) -> Result<usize, BackendError> {
        let probes = PROBES.map(str::to_owned);
        let first = self.ask(&probes[..1], None).await?;
        let dimension = first.first().map(Vec::len);
        let again = self.ask(&probes[..1], dimension).await?;
        let batch = self.ask(&probes, dimension).await?;
        // At another place in another batch: what is alone or first is what backends get right.
        let turned = self.ask(&probes.iter().rev().cloned().collect::<Vec<_>>(), dimension).await?;
        let differs = |what: &str, a: &[f32], b: &[f32]| {
            let cosine = dot(a, b);
            if (1.0 - cosine).abs() <= TOLERANCE {
                return Ok(());
            }
            let name = self.inner.name();
            Err(BackendError::bug(format!(
                "{name}: the same text {what} gave another vector (cosine {cosine:.5})"
            )))
        };
        differs("asked twice", &first[0], &again[0])?;
        differs("alone and in a batch", &first[0], &batch[0])?;
        for (position, vector) in batch.iter().enumerate() {
            differs("at another place of a batch", vector, &turned[PROBES.len() - 1 - position])?;
        }
        if dot(&batch[0], &batch[1]) > 1.0 - TOLERANCE {
            let name = self.inner.name();
            return Err(BackendError::bug(format!("{name}: two different texts gave the same vector")));
        }
        Ok(batch[0].len())
    }

    async fn ask(&self, texts: &[String], expected: Option<usize>) -> Result<Vec<Vec<f32>>, BackendError> {
        let declared = Some(self.inner.dimension()).filter(|&dimension| dimension > 0);
        let answer = self.inner.embed(texts).await?;
        vectors::accept(self.inner.name(), texts.len(), expected.or(declared), answer)
    }
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked").field("inner", &self.inner.name()).field("passed", &self.passed).finish()
    }
}

impl Embedder for Checked {
    fn name(&self) -> &str {
        self.inner.name()
    }

    /// 0 while it is not known: of a server, until it has answered once or unless it was configured.
    fn dimension(&self) -> usize {
        self.passed.get().copied().unwrap_or_else(|| self.inner.dimension())
    }

    fn at_once(&self) -> usize {
        self.inner.at_once()
    }

    fn embed<'a>(&'a self, texts: &'a [String]) -> Answer<'a, Vec<Vec<f32>>> {
        Box::pin(async move {
            vectors::admit(self.name(), texts)?;
            if texts.is_empty() {
                return Ok(Vec::new());
            }
            self.check().await?;
            let prepared: Vec<String> = texts.iter().map(|text| prepare(text)).collect();
            self.ask(&prepared, self.passed.get().copied()).await
        })
    }
}

/// A template as an embedder should read it: without placeholders, white space collapsed, at most [`MAX_TEXT_BYTES`].
/// A template of placeholders alone stays as it is, since no embedder has a vector for nothing.
fn prepare(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = &text[..end];
    let without = text.replace(PLACEHOLDER, " ");
    if !without.contains(char::is_alphanumeric) {
        return if text.trim().is_empty() { PLACEHOLDER.to_owned() } else { text.to_owned() };
    }
    let mut out = String::with_capacity(without.len());
    for word in without.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_prepared() {
        assert_eq!(prepare("user <*> logged in from <*>"), "user logged in from");
        assert_eq!(prepare("took <*>ms,\n  size=<*>"), "took ms, size=");
        assert_eq!(prepare("a<b> <c*>"), "a<b> <c*>");
        for same in ["<*>", "<*> <*>: <*>", "-- <*>"] {
            assert_eq!(prepare(same), same);
        }
        for nothing in ["", " \t "] {
            assert_eq!(prepare(nothing), "<*>");
        }
    }

    #[test]
    fn texts_are_cut_at_the_limit_between_characters() {
        for (length, left) in [
            (MAX_TEXT_BYTES, MAX_TEXT_BYTES),
            (MAX_TEXT_BYTES + 1, MAX_TEXT_BYTES),
            (10 * MAX_TEXT_BYTES, MAX_TEXT_BYTES),
        ] {
            assert_eq!(prepare(&"a".repeat(length)).len(), left);
        }
        assert_eq!(prepare(&format!("a{}", "é".repeat(MAX_TEXT_BYTES))).len(), MAX_TEXT_BYTES - 1);
    }
}
