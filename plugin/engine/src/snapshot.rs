//! Learned state, saved and restored: one header line `oddline-state <version> <checksum>` and a JSON body.
//!
//! What a restart may forget (the run a source is in, numbers' sketches, the current window) is not saved.

use serde::{Deserialize, Serialize};

use crate::{
    advice::{AdviceError, frame, unframe},
    detect::{entropy::Entropy, error_rate::ErrorRate, novelty::Novelty, rate::Rate},
    engine::Engine,
    rules::Categories,
    source::Source,
    verdict::TemplateId,
};

/// The format this build writes; it reads this one only.
pub const STATE_VERSION: u32 = 1;
/// Largest state file that is read, in bytes.
pub const MAX_STATE_BYTES: usize = 256 << 20;

/// Why a state file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct SnapshotError(#[from] AdviceError);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    sources: Vec<SavedSource>,
    #[serde(default)]
    aliases: Vec<(TemplateId, TemplateId)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedSource {
    key: TemplateId,
    name: String,
    first_seen: i64,
    last_seen: i64,
    records: u64,
    /// Share of firsts.
    novelty: f32,
    /// Mean, variance, windows.
    rate: (f32, f32, u16),
    errors: (f64, u32),
    entropy: (f64, f64, u64),
    templates: Vec<SavedTemplate>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedTemplate {
    text: String,
    count: u64,
    first_seen: i64,
    last_seen: i64,
    rate: (f32, f32, u16),
    usual_run: u32,
}

impl Engine {
    /// Everything worth keeping over a restart. The same state gives the same bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut sources: Vec<SavedSource> =
            self.sources.iter().map(|(key, source)| save(*key, source)).collect();
        sources.sort_by_key(|source| source.key);
        let mut aliases: Vec<_> = self.aliases.iter().map(|(old, new)| (TemplateId(*old), *new)).collect();
        aliases.sort();
        let body = serde_json::to_vec(&State { sources, aliases }).unwrap_or_default();
        frame("oddline-state", STATE_VERSION, &body)
    }

    /// Takes saved state in the place of what was learned so far; more than the settings allow is left out.
    ///
    /// # Errors
    /// If the bytes are too large, of another version, cut short, altered, or not valid. The engine is then unchanged.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let body = unframe("oddline-state", STATE_VERSION, MAX_STATE_BYTES, bytes)?;
        let state: State =
            serde_json::from_slice(body).map_err(|error| AdviceError::Body(error.to_string()))?;
        self.sources.clear();
        self.templates = 0;
        self.aliases = state.aliases.into_iter().take(10_000).map(|(old, new)| (old.0, new)).collect();
        let (per_source, total, most) = {
            let settings = self.settings();
            (settings.max_templates_per_source, settings.max_templates, settings.max_sources)
        };
        let window_nanos = self.settings().window_nanos.max(1);
        for saved in state.sources.into_iter().take(most) {
            let room = per_source.min(total.saturating_sub(self.templates));
            let source = load(&saved, room, window_nanos);
            self.templates = self.templates.saturating_add(source.miner.len());
            self.sources.insert(saved.key.0, Box::new(source));
        }
        Ok(())
    }
}

fn save(key: u64, source: &Source) -> SavedSource {
    let rate = |rate: &Rate| (rate.mean, rate.variance, rate.windows);
    let mut templates: Vec<SavedTemplate> = source
        .miner
        .iter()
        .map(|template| SavedTemplate {
            text: template.text.to_string(),
            count: template.count,
            first_seen: template.first_seen,
            last_seen: template.last_seen,
            rate: rate(&template.rate),
            usual_run: template.usual_run,
        })
        .collect();
    // Most recent first: if a smaller limit cuts the list, the oldest go.
    templates.sort_by(|left, right| (right.last_seen, &left.text).cmp(&(left.last_seen, &right.text)));
    SavedSource {
        key: TemplateId(key),
        name: source.name.to_string(),
        first_seen: source.first_seen,
        last_seen: source.last_seen,
        records: source.records,
        novelty: source.novelty.share,
        rate: rate(&source.rate),
        errors: (source.errors.share, source.errors.windows),
        entropy: (source.entropy.mean, source.entropy.variance, source.entropy.count),
        templates,
    }
}

fn load(saved: &SavedSource, room: usize, window_nanos: i64) -> Source {
    let categories = Categories::from_hint(saved.name.as_bytes()).unwrap_or(Categories::ALL);
    let mut source = Source::new(saved.name.as_str().into(), categories, saved.first_seen);
    source.last_seen = saved.last_seen;
    source.records = saved.records;
    source.novelty = Novelty { share: saved.novelty };
    let window = |time: i64| time.checked_div(window_nanos).unwrap_or_default();
    let rate = |saved: (f32, f32, u16), time| Rate::restored(window(time), saved.0, saved.1, saved.2);
    source.rate = rate(saved.rate, saved.last_seen);
    source.errors = ErrorRate::restored(saved.errors.0, saved.errors.1);
    source.entropy = Entropy { mean: saved.entropy.0, variance: saved.entropy.1, count: saved.entropy.2 };
    for template in saved.templates.iter().take(room).rev() {
        if let Some(restored) = source.miner.restore(&template.text, template.first_seen) {
            restored.count = template.count;
            restored.last_seen = template.last_seen;
            restored.rate = rate(template.rate, template.last_seen);
            restored.usual_run = template.usual_run;
        }
    }
    source
}
