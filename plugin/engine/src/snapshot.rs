//! Learned state, saved and restored: one header line `oddline-state <version> <checksum>` and a JSON body.
//!
//! Saving is done in slices, so that whoever holds the engine may let records through between two of them. What a
//! restart may forget (the run a source is in, numbers' sketches, the current window, flows under way) is not saved.

use std::{
    cmp::Reverse,
    fmt,
    hash::Hasher,
    io::{self, Write},
};

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::{
    advice::{AdviceError, header, unframe},
    detect::{
        entropy::Entropy,
        error_rate::ErrorRate,
        levels::Levels,
        novelty::Novelty,
        rate::Rate,
        sequence::{MAX_ALL_PAIRS, SavedKind, SavedStep, Sequences},
        told::{SavedTold, Told},
    },
    engine::{Engine, Sizes},
    memory::IdMap,
    source::Source,
    template::Template,
    verdict::TemplateId,
};

/// The format this build writes. It also reads the older ones, which keep less.
pub const STATE_VERSION: u32 = 3;
/// Without what was told, shares of levels, and habits of sequences; without the largest counts.
const OLDER_VERSIONS: [u32; 2] = [1, 2];
/// Largest state file that is read, in bytes.
pub const MAX_STATE_BYTES: usize = 256 << 20;
/// Room kept for the brackets that close a snapshot.
const CLOSING_BYTES: usize = 64;

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
    /// The largest count of a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    largest: Option<f32>,
    errors: (f64, u32),
    entropy: (f64, f64, u64),
    /// Shares of errors and of fatal records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    levels: Option<(f32, f32)>,
    /// Of addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told: Option<SavedTold>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    kinds: Vec<SavedKind>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    largest: Option<f32>,
    usual_run: u32,
    /// That it stays away was told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    missing: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told: Option<SavedTold>,
    /// What kinds of sequences know of it as a step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    steps: Vec<SavedStep>,
}

impl Engine {
    /// Everything worth keeping over a restart. The same state gives the same bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut saving = self.start_saving(MAX_STATE_BYTES);
        while !self.save_some(&mut saving, usize::MAX) {}
        saving.finish().concat()
    }

    /// Begins a snapshot of at most so many bytes; what does not fit is left out.
    pub fn start_saving(&self, limit: usize) -> Saving {
        // Those that are longest silent go last, and are what is left out.
        let mut sources: Vec<_> =
            self.sources.iter().map(|(key, source)| (source.last_seen, Reverse(*key))).collect();
        sources.sort_unstable();
        Saving {
            body: Vec::new(),
            hash: XxHash3_64::new(),
            hashed: 0,
            limit,
            sources: sources.into_iter().map(|(_, Reverse(key))| key).collect(),
            source: None,
            is_first: true,
        }
    }

    /// Takes the next templates into a snapshot, at most so many (and one source's worth at most); `true` when it is
    /// complete. Records may be observed in between: each template is saved as it is when its turn comes.
    pub fn save_some(&self, saving: &mut Saving, most: usize) -> bool {
        if saving.body.is_empty() {
            saving.append(b"{\"sources\":[");
        }
        if saving.source.is_none() {
            let Some(key) = saving.sources.pop() else {
                saving.end(self);
                return true;
            };
            saving.begin_source(key, self.sources.get(&key).map(|source| &**source));
        }
        if let Some((key, slots)) = &mut saving.source {
            let rest = slots.len().saturating_sub(most.max(1));
            let (key, turn) = (*key, slots.split_off(rest));
            let is_done = slots.is_empty();
            let source = self.sources.get(&key);
            for slot in turn.into_iter().rev() {
                if let Some(source) = source
                    && let Some(template) = source.miner.get(slot)
                {
                    saving.template(template, steps(source, slot));
                }
            }
            if is_done {
                saving.end_source();
            }
        }
        saving.hash_new();
        false
    }

    /// Takes saved state in the place of what was learned so far; more than the settings allow is left out.
    ///
    /// # Errors
    /// If the bytes are too large, of another version, cut short, altered, or not valid. The engine is then unchanged.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let of_version = |version| unframe("oddline-state", version, MAX_STATE_BYTES, bytes);
        let body = match of_version(STATE_VERSION) {
            Err(AdviceError::Version { found, .. }) if OLDER_VERSIONS.contains(&found) => of_version(found)?,
            body => body?,
        };
        let state: State = serde_json::from_slice(body).map_err(|error| AdviceError::body(&error))?;
        self.sources.clear();
        self.sizes = Sizes::default();
        self.full_until = i64::MIN;
        self.flows = 0;
        self.pairs = 0;
        let advice = self.advice().clone();
        self.aliases.restore(state.aliases, &advice);
        let (per_source, total, most) = {
            let settings = self.settings();
            (settings.max_templates_per_source, settings.max_templates, settings.max_sources)
        };
        let window_nanos = self.settings().window_nanos.max(1);
        // The one that those past the limit share is there beside them.
        let (shared, mut sources) = (Engine::other_key(), most);
        for saved in state.sources {
            if saved.key.0 != shared {
                let Some(left) = sources.checked_sub(1) else { continue };
                sources = left;
            }
            let room = per_source.min(total.saturating_sub(self.sizes.total()));
            let pairs = MAX_ALL_PAIRS.saturating_sub(self.pairs);
            let source = load(&saved, (room, pairs), window_nanos);
            let before = self.sources.get(&saved.key.0).map_or(0, |before| before.miner.len());
            self.sizes.change(saved.key.0, before, source.miner.len());
            self.pairs = self.pairs.saturating_add(source.flows().1);
            self.add_source(saved.key.0, source);
        }
        Ok(())
    }
}

/// A snapshot under way.
pub struct Saving {
    body: Vec<u8>,
    hash: XxHash3_64,
    /// Bytes of `body` that are in `hash`.
    hashed: usize,
    limit: usize,
    /// Those whose turn has not come, the next one last.
    sources: Vec<u64>,
    /// The one whose turn it is, and its templates that are still to come, the next one last.
    source: Option<(u64, Vec<u32>)>,
    /// Whether nothing precedes what is written next, so that no comma is needed.
    is_first: bool,
}

impl Saving {
    /// The bytes to write, in two parts.
    pub fn finish(self) -> [Vec<u8>; 2] {
        [header("oddline-state", STATE_VERSION, self.hash.finish()).into_bytes(), self.body]
    }

    fn begin_source(&mut self, key: u64, source: Option<&Source>) {
        let Some(source) = source else { return };
        let before = self.body.len();
        let comma = if self.is_first { "" } else { "," };
        // Ends with the empty list of templates, which is opened again.
        if !self.item(comma, &save(key, source)) {
            return;
        }
        if !self.body.ends_with(b"[]}") {
            return self.body.truncate(before);
        }
        self.body.truncate(self.body.len().saturating_sub(2));
        self.is_first = true;
        // Most recent first: if a smaller limit cuts the list, the oldest go.
        let mut slots: Vec<_> = source
            .miner
            .slots()
            .map(|(slot, template)| (template.last_seen, Reverse(template.id), slot))
            .collect();
        slots.sort_unstable();
        self.source = Some((key, slots.into_iter().map(|(.., slot)| slot).collect()));
    }

    fn template(&mut self, template: &Template, steps: Vec<SavedStep>) {
        let saved = SavedTemplate {
            text: template.text.to_string(),
            count: template.count,
            first_seen: template.first_seen,
            last_seen: template.last_seen,
            rate: template.rate.saved(),
            largest: Some(template.rate.saved_largest()),
            usual_run: template.usual_run,
            missing: template.is_missing,
            told: template.told.as_ref().and_then(|told| told.saved()),
            steps,
        };
        let comma = if self.is_first { "" } else { "," };
        if self.item(comma, &saved) {
            self.is_first = false;
        }
    }

    fn end_source(&mut self) {
        self.append(b"]}");
        self.source = None;
        self.is_first = false;
    }

    fn end(&mut self, engine: &Engine) {
        self.append(b"]");
        self.item(",\"aliases\":", &engine.aliases.pairs());
        self.append(b"}");
        self.hash_new();
    }

    /// Appends one item; `false`, and nothing appended, if there is no room.
    fn item(&mut self, before: &str, item: &impl Serialize) -> bool {
        let start = self.body.len();
        let mut body = Bounded(&mut self.body);
        let written = body.write_all(before.as_bytes()).is_ok() && serde_json::to_writer(body, item).is_ok();
        if !written || self.body.len() > self.limit.saturating_sub(CLOSING_BYTES) {
            self.body.truncate(start);
            return false;
        }
        true
    }

    /// Appends a few bytes. Memory that is short fails in [`Saving::item`]; what closes brackets fits into the room that
    /// the last item has left.
    fn append(&mut self, bytes: &[u8]) {
        self.body.extend_from_slice(bytes);
    }

    fn hash_new(&mut self) {
        // What is still to be cut off again is not hashed yet: only whole items are here.
        self.hash.write(self.body.get(self.hashed..).unwrap_or_default());
        self.hashed = self.body.len();
    }
}

impl fmt::Debug for Saving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saving").field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// Appends to memory, and fails where the allocator does: in a wasm module that must not be a trap.
struct Bounded<'b>(&'b mut Vec<u8>);

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_reserve(bytes.len().saturating_add(CLOSING_BYTES)).map_err(io::Error::other)?;
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A source with an empty list of templates.
fn save(key: u64, source: &Source) -> SavedSource {
    SavedSource {
        key: TemplateId(key),
        name: source.name.to_string(),
        first_seen: source.first_seen,
        last_seen: source.last_seen,
        records: source.records,
        novelty: source.novelty.share,
        rate: source.rate.saved(),
        largest: Some(source.rate.saved_largest()),
        errors: (source.errors.share, source.errors.windows),
        entropy: (source.entropy.mean, source.entropy.variance, source.entropy.count),
        levels: Some((source.levels.errors, source.levels.fatal)),
        told: source.told.saved(),
        kinds: source.sequences.as_ref().map(|sequences| sequences.saved_kinds()).unwrap_or_default(),
        templates: Vec::new(),
    }
}

/// What kinds of sequences know of the template in a slot.
fn steps(source: &Source, slot: u32) -> Vec<SavedStep> {
    let id_of = |slot| source.miner.get(slot).map(|template| template.id);
    source.sequences.as_ref().map(|sequences| sequences.saved_steps(slot, id_of)).unwrap_or_default()
}

/// `room`: for templates, and for steps of sequences.
fn load(saved: &SavedSource, room: (usize, usize), window_nanos: i64) -> Source {
    let mut source = Source::new(saved.name.as_str().into(), saved.first_seen);
    source.last_seen = saved.last_seen;
    source.records = saved.records;
    source.novelty = Novelty { share: saved.novelty };
    let window = |time: i64| time.checked_div(window_nanos).unwrap_or_default();
    let rate = |saved, largest, time| Rate::restored(window(time), saved, largest);
    source.rate = rate(saved.rate, saved.largest, saved.last_seen);
    source.errors = ErrorRate::restored(saved.errors.0, saved.errors.1);
    source.entropy = Entropy { mean: saved.entropy.0, variance: saved.entropy.1, count: saved.entropy.2 };
    if let Some((errors, fatal)) = saved.levels {
        source.levels = Levels { errors, fatal };
    }
    source.told = saved.told.map(Told::restored).unwrap_or_default();
    let (mut slots, mut steps) = (IdMap::default(), Vec::new());
    for template in saved.templates.iter().take(room.0).rev() {
        if let Some((slot, restored)) = source.miner.restore(&template.text, template.first_seen) {
            restored.count = template.count;
            restored.last_seen = template.last_seen;
            restored.rate = rate(template.rate, template.largest, template.last_seen);
            restored.usual_run = template.usual_run;
            restored.is_missing = template.missing;
            restored.told = template.told.map(|told| Box::new(Told::restored(told)));
            slots.insert(restored.id.0, slot);
            steps.extend(template.steps.iter().map(|step| (slot, step)));
        }
    }
    if !saved.kinds.is_empty() {
        let slot_of = |id: TemplateId| slots.get(&id.0).copied();
        let steps = steps.iter().rev().copied();
        source.sequences = Some(Box::new(Sequences::restored(&saved.kinds, steps, slot_of, room.1)));
    }
    source
}
