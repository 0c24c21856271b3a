//! Takes one record in a host's notation and a time, gives the record with tags: the way that is the same in every shell.
//!
//! walk -> observe -> tags -> splice, and for a record that comes back from the detour: marker checked and taken off,
//! nothing analysed again. Must not know: chunks, files, clocks, threads, hosts.

use std::{borrow::Cow, sync::Arc};

use oddline_codec::{
    Edit, MARKER_KEY, Outline, TagStyle, Tags, Unreadable, json,
    marker::{self, Secret},
    msgpack,
};
use oddline_engine::{
    Counters, Ending, Engine, Mode, Picker, Picking, Saving, Scalar, Settings, Summary, UnixNanos, Verdict,
    Visitor, rules::RuleSet,
};

use crate::watch::Changes;

/// Records under tags that begin so are between plugin and sidecar: no plugin touches them.
pub const RESERVED_TAG_PREFIX: &[u8] = b"oddline.";

/// A host's notation of one record: bytes, or a map of the host's own.
pub trait Format {
    /// One record as it came.
    type Body: ?Sized;
    /// What a walk leaves for whoever adds tags.
    type Outline;
    /// Where the record goes with its tags.
    type Out: ?Sized;
    /// Gives a record's fields to a visitor, and what is to be known to add tags.
    ///
    /// # Errors
    /// If the body is not one map, or cut short.
    fn walk<'a>(body: &'a Self::Body, visitor: &mut dyn Visitor<'a>) -> Result<Self::Outline, Unreadable>;
    /// The marker, if the record has one behind the fields that the walk has shown.
    fn unseen_marker<'a>(body: &'a Self::Body, outline: &Self::Outline) -> Option<Cow<'a, [u8]>>;
    /// Writes the record with tags added, if none of its keys is reserved and the outline says enough; else `false`,
    /// and nothing written.
    fn append(
        body: &Self::Body,
        outline: &Self::Outline,
        style: &TagStyle,
        tags: &Tags,
        out: &mut Self::Out,
    ) -> bool;
    /// Writes the record with an edit made.
    ///
    /// # Errors
    /// If the body is not one map, or cut short; nothing is written then.
    fn splice(body: &Self::Body, edit: &Edit<'_>, out: &mut Self::Out) -> Result<(), Unreadable>;
    /// The tags on a record.
    fn read_tags(body: &Self::Body, style: &TagStyle) -> Option<Tags>;
}

/// Msgpack, as the native filter gets it.
#[derive(Debug)]
pub enum Msgpack {}

impl Format for Msgpack {
    type Body = [u8];
    type Outline = Outline;
    type Out = Vec<u8>;

    fn walk<'a>(body: &'a [u8], visitor: &mut dyn Visitor<'a>) -> Result<Outline, Unreadable> {
        msgpack::walk(body, visitor)
    }

    fn unseen_marker<'a>(body: &'a [u8], outline: &Outline) -> Option<Cow<'a, [u8]>> {
        if outline.is_whole { None } else { msgpack::read_marker(body).map(Cow::Borrowed) }
    }

    fn append(body: &[u8], outline: &Outline, style: &TagStyle, tags: &Tags, out: &mut Vec<u8>) -> bool {
        msgpack::append(body, outline, style, tags, out)
    }

    fn splice(body: &[u8], edit: &Edit<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        msgpack::splice(body, edit, out)
    }

    fn read_tags(body: &[u8], style: &TagStyle) -> Option<Tags> {
        msgpack::read_styled_tags(body, style)
    }
}

/// JSON, as the wasm filter gets it.
#[derive(Debug)]
pub enum Json {}

impl Format for Json {
    type Body = [u8];
    type Outline = Outline;
    type Out = Vec<u8>;

    fn walk<'a>(body: &'a [u8], visitor: &mut dyn Visitor<'a>) -> Result<Outline, Unreadable> {
        json::walk(body, visitor)
    }

    fn unseen_marker<'a>(body: &'a [u8], outline: &Outline) -> Option<Cow<'a, [u8]>> {
        if outline.is_whole { None } else { json::read_marker(body) }
    }

    fn append(body: &[u8], outline: &Outline, style: &TagStyle, tags: &Tags, out: &mut Vec<u8>) -> bool {
        json::append(body, outline, style, tags, out)
    }

    fn splice(body: &[u8], edit: &Edit<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        json::splice(body, edit, out)
    }

    fn read_tags(body: &[u8], style: &TagStyle) -> Option<Tags> {
        json::read_styled_tags(body, style)
    }
}

/// One filter instance's engine and what goes with it.
#[derive(Debug)]
pub struct Plugin {
    engine: Engine,
    picker: Arc<Picker>,
    style: TagStyle,
    pending: TagStyle,
    secret: Option<Secret>,
    /// Whether settings want one at all.
    detour: bool,
    is_open: bool,
    summary_nanos: i64,
    last_summary: Option<UnixNanos>,
    /// The host's name, for summaries of a node that was given none.
    host: String,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was judged; the tags say how.
    Judged(Verdict),
    /// It came back from the detour and lost its marker.
    Returned,
    /// Nothing was written: its bytes are not understood, the caller passes its own.
    Unread,
}

impl Plugin {
    /// Starts without rules and advice: the first [`crate::Watch::poll`] brings them, the built-in ones too.
    pub fn new(settings: Settings) -> Plugin {
        let style = TagStyle::of(&settings);
        let seconds = i64::try_from(settings.summary_interval_seconds()).unwrap_or(i64::MAX);
        let detour = settings.mode() != Mode::Inline && settings.advice_dir().is_some();
        let mut engine = Engine::new(settings, Arc::new(RuleSet::compile(Vec::new()).set));
        if detour {
            engine.set_detour(false);
        }
        Plugin {
            picker: engine.picker(),
            pending: style.pending(),
            style,
            secret: None,
            detour,
            is_open: false,
            summary_nanos: seconds.saturating_mul(1_000_000_000),
            last_summary: None,
            host: String::new(),
            engine,
        }
    }

    /// Takes what changed on disk.
    pub fn apply(&mut self, changes: Changes) {
        let counters = self.engine.counters_mut();
        counters.rules_reloaded = counters.rules_reloaded.saturating_add(changes.rules_reloaded);
        counters.rules_refused = counters.rules_refused.saturating_add(changes.rules_refused);
        if let Some(rules) = changes.rules {
            self.engine.set_rules(rules);
            self.picker = self.engine.picker();
        }
        if let Some(advice) = changes.advice {
            self.engine.set_advice(advice);
        }
        if let Some(host) = changes.host {
            self.host = host;
        }
        if changes.secret.is_some() {
            self.secret = changes.secret;
        }
        if !self.detour {
            return;
        }
        // Without the secret a record that comes back could not be told from a forged one, and would go round again.
        self.is_open = changes.alive && self.secret.is_some();
        self.engine.set_detour(self.is_open);
    }

    /// One record: writes it with its tags to `out`, or leaves `out` alone.
    pub fn record<F: Format>(
        &mut self,
        tag: &[u8],
        body: &F::Body,
        now: UnixNanos,
        out: &mut F::Out,
    ) -> Outcome {
        let mut reading = Reading {
            picking: self.picker.start(tag),
            style: &self.style,
            depth: 0,
            poses: false,
            marker: None,
        };
        let read = F::walk(body, &mut reading);
        let (marker, poses, record) = (reading.marker, reading.poses, reading.picking.finish());
        let outcome = read.and_then(|outline| {
            // Ours stands last: behind all that was shown of a record with very many fields.
            if let Some(marker) = marker.or_else(|| F::unseen_marker(body, &outline)) {
                if self.verifies::<F>(tag, &record.message, body, &marker) {
                    F::splice(body, &Edit::remove(&self.style, &[MARKER_KEY]), out)?;
                    let counters = self.engine.counters_mut();
                    counters.returned = counters.returned.saturating_add(1);
                    return Ok(Outcome::Returned);
                }
                let counters = self.engine.counters_mut();
                counters.forged = counters.forged.saturating_add(1);
            }
            let verdict = self.engine.observe(&record, now);
            let style = if verdict.is_pending() { &self.pending } else { &self.style };
            let tags = Tags::of(&verdict, self.engine.model());
            // Hardly a record has a key of ours; then it is not read a second time.
            if poses || !F::append(body, &outline, style, &tags, out) {
                F::splice(body, &Edit::tag(style, &tags), out)?;
            }
            Ok(Outcome::Judged(verdict))
        });
        outcome.unwrap_or_else(|_| {
            let counters = self.engine.counters_mut();
            counters.unread = counters.unread.saturating_add(1);
            Outcome::Unread
        })
    }

    /// The counts since the last summary, if the interval is over and a sidecar is there to take them.
    pub fn summary(&mut self, now: UnixNanos) -> Option<Summary> {
        if !self.is_open || self.summary_nanos == 0 {
            self.last_summary = None;
            return None;
        }
        let last = *self.last_summary.get_or_insert(now);
        // A clock that was set back begins a new interval.
        if (0..self.summary_nanos).contains(&now.0.saturating_sub(last.0)) {
            return None;
        }
        self.last_summary = Some(now);
        let mut summary = self.engine.take_summary(now);
        if summary.node.is_empty() {
            summary.node.push_str(&self.host);
        }
        Some(summary)
    }

    /// Sequences that were found to have ended oddly since the last summary or call, for a host that tells them itself.
    pub fn endings(&mut self, now: UnixNanos) -> Vec<Ending> {
        self.engine.take_endings(now)
    }

    /// Whether questionable records may go on the detour now.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether a record of this tag is between plugin and sidecar, and not to be touched.
    pub fn ignores(tag: &[u8]) -> bool {
        tag.starts_with(RESERVED_TAG_PREFIX)
    }

    /// What has been done since the start.
    pub fn counters(&self) -> Counters {
        self.engine.counters()
    }

    /// One line of counters for an operator.
    pub fn counters_line(&self) -> String {
        let counters = self.counters();
        format!(
            "counters: records={} flagged={} pending={} skipped={} returned={} forged={} unread={} templates={} \
             evicted={} sources={} endings={} endings_untold={} rules={} rules_reloaded={} rules_refused={}",
            counters.records,
            counters.flagged,
            counters.pending,
            counters.skipped,
            counters.returned,
            counters.forged,
            counters.unread,
            counters.templates,
            counters.evicted,
            counters.sources,
            counters.endings,
            counters.endings_untold,
            counters.rules,
            counters.rules_reloaded,
            counters.rules_refused,
        )
    }

    /// Counts records that passed unread for a reason of the shell's own.
    pub fn count_unread(&mut self, records: u64) {
        let counters = self.engine.counters_mut();
        counters.unread = counters.unread.saturating_add(records);
    }

    /// How tags are written on records that stay.
    pub fn style(&self) -> &TagStyle {
        &self.style
    }

    /// How tags are written on records that go on the detour.
    pub fn pending_style(&self) -> &TagStyle {
        &self.pending
    }

    /// The text for the tag `model`.
    pub fn model(&self) -> &Arc<str> {
        self.engine.model()
    }

    /// What was learned, as bytes to keep.
    pub fn snapshot(&self) -> Vec<u8> {
        self.engine.snapshot()
    }

    /// Begins a snapshot of at most so many bytes, to be taken in slices.
    pub fn start_saving(&self, limit: usize) -> Saving {
        self.engine.start_saving(limit)
    }

    /// Takes at most `most` templates further into a snapshot; `true` when it is complete.
    pub fn save_some(&self, saving: &mut Saving, most: usize) -> bool {
        self.engine.save_some(saving, most)
    }

    /// Takes back what was learned.
    ///
    /// # Errors
    /// One line that names what is wrong with the bytes.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.engine.restore(bytes).map_err(|error| error.to_string())
    }

    #[cold]
    fn verifies<F: Format>(&self, tag: &[u8], message: &[u8], body: &F::Body, marker: &[u8]) -> bool {
        let Some(secret) = &self.secret else { return false };
        let Some(tags) = F::read_tags(body, &self.style) else { return false };
        let Some(status) = tags.status else { return false };
        marker::verify(secret, tag, message, tags.template_id, tags.level, status, marker)
    }
}

/// Passes a walk on to the engine's picking, and keeps what it sees of our own keys at the top level.
struct Reading<'p, 'a> {
    picking: Picking<'p, 'a>,
    style: &'p TagStyle,
    depth: usize,
    /// Whether a key is one of ours; the style of pending records reserves no others.
    poses: bool,
    marker: Option<Cow<'a, [u8]>>,
}

impl<'a> Visitor<'a> for Reading<'_, 'a> {
    fn enter(&mut self, key: &[u8]) -> bool {
        self.poses |= self.depth == 0 && self.style.reserves(key);
        let entered = self.picking.enter(key);
        self.depth = self.depth.saturating_add(entered.into());
        entered
    }

    fn enter_list(&mut self, key: &[u8]) -> bool {
        let entered = !(self.depth == 0 && self.style.reserves(key)) && self.picking.enter_list(key);
        self.depth = self.depth.saturating_add(entered.into());
        entered
    }

    fn item(&mut self, value: Scalar<'a>) {
        self.picking.item(value);
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.picking.leave();
    }

    fn scalar(&mut self, key: &[u8], value: Scalar<'a>) {
        let is_ours = self.depth == 0 && self.style.reserves(key);
        self.poses |= is_ours;
        if is_ours && key == MARKER_KEY.as_bytes() {
            self.marker = Some(match value {
                Scalar::Text(text) => text,
                // Of another type: nothing we wrote, and it does not verify.
                _ => Cow::Borrowed(b""),
            });
        } else {
            self.picking.scalar(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use oddline_engine::{Options, Status};

    use super::*;

    const NOW: UnixNanos = UnixNanos(1_700_000_000_000_000_000);

    fn plugin() -> (Plugin, Secret) {
        let secret = || Secret::parse(&[b'7'; 64]).unwrap();
        let options = Options { advice_dir: Some("unused".to_owned()), ..Options::default() };
        let mut plugin = Plugin::new(Settings::new(&options).unwrap());
        let rules = Some(Arc::new(RuleSet::builtin()));
        plugin.apply(Changes { rules, secret: Some(secret()), alive: true, ..Changes::default() });
        (plugin, secret())
    }

    /// What the sidecar makes of a pending record.
    fn confirm<F>(plugin: &Plugin, secret: &Secret, message: &[u8], body: &[u8]) -> Vec<u8>
    where
        F: Format<Body = [u8], Out = Vec<u8>>,
    {
        let pending = F::read_tags(body, plugin.pending_style()).unwrap();
        let tags = Tags { status: Some(Status::Confirmed), ..pending };
        let marker = marker::sign(secret, b"app", message, tags.template_id, tags.level, Status::Confirmed);
        let edit =
            Edit { remove: &[&plugin.style.key], marker: Some(&marker), ..Edit::tag(&plugin.style, &tags) };
        let mut out = Vec::new();
        F::splice(body, &edit, &mut out).unwrap();
        out
    }

    fn comes_home<F: Format<Body = [u8], Out = Vec<u8>>>(make: impl Fn(&[(String, &str)]) -> Vec<u8>) {
        let message = "CRITICAL: Failed to connect to primary database after 5 retries.";
        for fields in [2, 1_022, 1_023, 1_024, 10_240] {
            let (mut plugin, secret) = plugin();
            let mut record = vec![("message".to_owned(), message)];
            record.extend((1..fields).map(|number| (format!("f{number}"), "x")));
            let (mut pending, mut home) = (Vec::new(), Vec::new());
            let outcome = plugin.record::<F>(b"app", &make(&record), NOW, &mut pending);
            assert!(matches!(outcome, Outcome::Judged(verdict) if verdict.is_pending()), "{fields}");
            let back = confirm::<F>(&plugin, &secret, message.as_bytes(), &pending);
            let outcome = plugin.record::<F>(b"app", &back, NOW, &mut home);
            assert_eq!(outcome, Outcome::Returned, "{fields} fields");
            let tags = F::read_tags(&home, &plugin.style).unwrap();
            assert_eq!(tags.status, Some(Status::Confirmed), "{fields}");
            assert_eq!((plugin.counters().returned, plugin.counters().forged), (1, 0), "{fields}");
        }
    }

    #[test]
    fn a_record_comes_home_however_many_fields_it_has() {
        comes_home::<Json>(|fields| {
            let pairs = fields.iter().map(|(key, value)| format!("\"{key}\":\"{value}\""));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(",")).into_bytes()
        });
        comes_home::<Msgpack>(|fields| {
            let mut body = vec![0xdf];
            body.extend((fields.len() as u32).to_be_bytes());
            for text in fields.iter().flat_map(|(key, value)| [key.as_str(), value]) {
                body.push(0xd9);
                body.push(text.len() as u8);
                body.extend(text.as_bytes());
            }
            body
        });
    }

    #[test]
    fn summaries_go_on_when_the_clock_is_set_back() {
        let (mut plugin, _) = plugin();
        let mut is_due = |seconds: i64| plugin.summary(UnixNanos(seconds * 1_000_000_000)).is_some();
        let interval = i64::try_from(Settings::default().summary_interval_seconds()).unwrap();
        assert_eq!([10_000, 10_000 + interval - 1, 10_000 + interval].map(&mut is_due), [false, false, true]);
        assert_eq!([50, 50, 50 + interval - 1, 50 + interval].map(&mut is_due), [true, false, false, true]);
    }
}
