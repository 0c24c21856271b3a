//! What is remembered, as rows of a key-value table in the shipper: the shapes of [`oddline_engine::advice::row`] in
//! bodies of bounded length. [`push`] keeps a table up to date; where it is, and how it is spoken to, is not known here.

pub mod push;

use std::sync::Arc;

use oddline_engine::{
    Class, TemplateId,
    advice::row::{RowClass, SIDECAR_KEY, SidecarRow, TemplateRow},
    score,
};
use serde::Serialize;

use crate::{
    Shared,
    advice::MAX_ADVICE_ROWS,
    ports::TemplateState,
    rates::Told,
    templates::{counts, takes_sides},
};

/// Longest body of one request.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// Longest text that is a key: masked text is shorter by far, and nobody asks for what is longer.
const MAX_KEY_BYTES: usize = 4_096;
/// Seconds for which a table keeps a row that counts no more: it only replaces one that did.
const WITHDRAWN_SECONDS: u64 = 1;

const OPENING: &[u8] = br#"{"rows":{"#;
const ENDING: &[u8] = b"}}";

/// One request's rows: `{"rows": {"<key>": {…}, …}}`.
#[derive(Debug)]
struct Body {
    bytes: Vec<u8>,
    rows: u64,
}

impl Body {
    fn new() -> Body {
        Body { bytes: OPENING.to_vec(), rows: 0 }
    }

    /// Adds a row if there is room for it. Gives whether there was.
    fn add(&mut self, key: &str, row: &impl Serialize) -> bool {
        let before = self.bytes.len();
        if self.rows > 0 {
            self.bytes.push(b',');
        }
        // Texts and finite numbers into a vector: there is nothing that could fail.
        let written = serde_json::to_writer(&mut self.bytes, key).and_then(|()| {
            self.bytes.push(b':');
            serde_json::to_writer(&mut self.bytes, row)
        });
        let fits = written.is_ok() && self.bytes.len() + ENDING.len() <= MAX_BODY_BYTES;
        if fits {
            self.rows += 1;
        } else {
            self.bytes.truncate(before);
        }
        fits
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(ENDING);
        self.bytes
    }
}

/// A template's row, unless its text cannot be a key.
fn row(state: &TemplateState, rates: Told, now: u64) -> Option<(Arc<str>, TemplateRow)> {
    if state.text.len() > MAX_KEY_BYTES || *state.text == *SIDECAR_KEY {
        return None;
    }
    let class = if takes_sides(state) { state.class.into() } else { RowClass::Seen };
    let age = now.saturating_sub(state.first_seen).saturating_mul(1_000_000_000);
    let row = TemplateRow {
        id: state.id,
        class,
        score: state.score,
        similarity: state.similarity,
        nearest: state.nearest.as_deref().map(str::to_owned),
        habit: state.class != Class::Exception
            && score::is_habit(state.seen, i64::try_from(age).unwrap_or(i64::MAX)),
        burst: rates.burst,
        drop: rates.drop,
        rate: rates.expected,
        expires: state.expires,
        ttl: (!counts(state, now)).then_some(WITHDRAWN_SECONDS),
    };
    Some((state.text.clone(), row))
}

impl Shared {
    /// The rows of these templates, as far as they are remembered.
    fn rows(&self, ids: &[TemplateId]) -> Vec<(Arc<str>, TemplateRow)> {
        let now = self.now_seconds();
        let states: Vec<TemplateState> = {
            let templates = self.templates();
            ids.iter().filter_map(|id| templates.get(*id).cloned()).collect()
        };
        let rates = self.rates();
        states.iter().filter_map(|state| row(state, rates.told(state.id), now)).collect()
    }

    /// All templates with a row that counts, the most recently seen first.
    fn templates_with_rows(&self) -> Vec<TemplateId> {
        let mut told = self.templates().told(self.now_seconds());
        told.sort_unstable_by_key(|(seen, id)| (std::cmp::Reverse(*seen), *id));
        told.into_iter().take(MAX_ADVICE_ROWS).map(|(_, id)| id).collect()
    }

    fn sidecar_row(&self, at: f64) -> SidecarRow {
        self.feedback().row(at, self.now_seconds())
    }
}
