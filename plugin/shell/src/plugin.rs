//! Takes one record in a host's notation and a time, gives the record with tags: the way that is the same in every shell.
//!
//! walk -> observe -> tags -> splice, and for a record that comes back from the detour: marker checked and taken off,
//! nothing analysed again. Must not know: chunks, files, clocks, threads, hosts.

use std::{borrow::Cow, sync::Arc};

use oddline_codec::{
    Edit, MARKER_KEY, TagStyle, Tags,
    marker::{self, Secret},
};
use oddline_engine::{
    Counters, Ending, Engine, Mode, Picker, Picking, Saving, Scalar, Settings, Status, Summary, UnixNanos,
    Verdict, Visitor, rules::RuleSet,
};

use crate::{
    format::Format,
    watch::{Changes, HEARTBEAT_TTL_NANOS},
};

/// Records under tags that begin so are between plugin and sidecar: no plugin touches them.
pub const RESERVED_TAG_PREFIX: &[u8] = b"oddline.";
/// What is told when the detour is closed for want of a look at the heartbeat.
const LAPSED: &str = "detour closed: the sidecar's heartbeat has not been looked at for 3 s, for its storage does not answer \
                      or rules take long to load; records are judged in the plugin until it is";
/// And when somebody looks again.
const RESUMED: &str = "detour open: the sidecar's heartbeat is looked at again";

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
    /// If it is open: when the heartbeat was looked at.
    open_since_look: Option<UnixNanos>,
    /// Whether it was closed because nobody looked.
    has_lapsed: bool,
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
            open_since_look: None,
            has_lapsed: false,
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
        self.open_since_look = changes.alive.filter(|_| self.secret.is_some());
        self.engine.set_detour(self.open_since_look.is_some());
    }

    /// Closes the detour while nobody has looked at the heartbeat for longer than one lasts, and gives what is to be told
    /// when it does, and when it is open again. For hosts that look at files from a thread of their own: it may hang where
    /// its storage does, and what it saw last must not count for ever.
    pub fn lapse(&mut self, now: UnixNanos) -> Option<&'static str> {
        // The clock may have been set back.
        let is_fresh = self.open_since_look?.0.abs_diff(now.0) <= HEARTBEAT_TTL_NANOS;
        let is_news = std::mem::replace(&mut self.has_lapsed, !is_fresh) == is_fresh;
        if !is_fresh {
            self.open_since_look = None;
            self.engine.set_detour(false);
        }
        let text = if is_fresh { RESUMED } else { LAPSED };
        is_news.then_some(text)
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
                F::splice(body, &Edit { reserved: &self.style, ..Edit::tag(style, &tags) }, out)?;
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
        if self.open_since_look.is_none() || self.summary_nanos == 0 {
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

    /// Says whether the records that follow must stay in the stream for the sake of those around them, as in a group of OTLP
    /// records; questionable ones are `skipped` then.
    pub fn bar_detour(&mut self, barred: bool) {
        self.engine.bar_detour(barred);
    }

    /// Keeps a record from the detour that was to go on it, because of something only the shell can see, and counts it so. As
    /// without a sidecar, the verdict on a record that is not flagged says nothing more.
    pub fn keep(&mut self, verdict: Verdict, why: &str) -> Verdict {
        let mut verdict = verdict.inline();
        let is_flagged = verdict.status.is_some();
        if is_flagged {
            verdict.status = Some(Status::Skipped);
            let reason = verdict.reason.take().map(|reason| reason + "; ").unwrap_or_default();
            verdict.reason = Some(reason + why);
        }
        let counters = self.engine.counters_mut();
        counters.pending = counters.pending.saturating_sub(1);
        counters.skipped = counters.skipped.saturating_add(is_flagged.into());
        verdict
    }

    /// Whether questionable records may go on the detour now.
    pub fn is_open(&self) -> bool {
        self.open_since_look.is_some()
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
    use oddline_engine::{Level, Options};

    use super::*;
    use crate::format::{Json, Msgpack};

    const NOW: UnixNanos = UnixNanos(1_700_000_000_000_000_000);

    fn plugin() -> (Plugin, Secret) {
        let secret = || Secret::parse(&[b'7'; 64]).unwrap();
        let options = Options { advice_dir: Some("unused".to_owned()), ..Options::default() };
        let mut plugin = Plugin::new(Settings::new(&options).unwrap());
        let rules = Some(Arc::new(RuleSet::builtin()));
        let alive = Some(NOW);
        plugin.apply(Changes { rules, secret: Some(secret()), alive, ..Changes::default() });
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

    #[test]
    fn forged_names_of_the_final_profile_make_way_on_pending_records_too() {
        let options = Options {
            advice_dir: Some("unused".to_owned()),
            profile: Some(oddline_engine::Profile::Flat),
            ..Options::default()
        };
        let mut plugin = Plugin::new(Settings::new(&options).unwrap());
        let (rules, secret) = (Some(Arc::new(RuleSet::builtin())), Secret::parse(&[b'7'; 64]).ok());
        plugin.apply(Changes { rules, secret, alive: Some(NOW), ..Changes::default() });
        let body = br#"{"log":"CRITICAL: Failed to connect to primary database.","anomaly_level":"none","anomaly":1}"#;
        let mut out = Vec::new();
        plugin.record::<Json>(b"app", body, NOW, &mut out);
        let out = String::from_utf8(out).unwrap();
        let has = [r#""anomaly_level_original":"none""#, r#""anomaly_original":1"#, r#""status":"pending""#];
        assert!(has.iter().all(|part| out.contains(part)) && !out.contains(r#""anomaly_level":"#), "{out}");
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
    fn a_heartbeat_that_nobody_looks_at_any_more_closes_the_detour_until_somebody_does() {
        let (mut plugin, _) = plugin();
        let ttl = i64::try_from(HEARTBEAT_TTL_NANOS).unwrap();
        let body = br#"{"message":"CRITICAL: Failed to connect to primary database after 5 retries."}"#;
        let mut was_closed = false;
        // The clock may also be set back.
        for (nanos, is_fresh) in
            [(0, true), (ttl, true), (-ttl, true), (ttl + 1, false), (-ttl - 1, false), (10 * ttl, false)]
        {
            plugin.apply(Changes { alive: Some(NOW), ..Changes::default() });
            assert_eq!(plugin.lapse(NOW), was_closed.then_some(RESUMED), "{nanos}");
            was_closed = !is_fresh;
            let now = UnixNanos(NOW.0 + nanos);
            assert_eq!(plugin.lapse(now), (!is_fresh).then_some(LAPSED), "{nanos}");
            assert_eq!(plugin.lapse(now), None, "{nanos}: told once");
            let outcome = plugin.record::<Json>(b"app", body, now, &mut Vec::new());
            let Outcome::Judged(verdict) = outcome else { panic!("{outcome:?}") };
            assert_eq!(verdict.is_pending(), is_fresh, "{nanos}");
        }
    }

    #[test]
    fn what_the_shell_keeps_from_the_detour_is_counted_as_skipped_if_it_is_flagged() {
        for (level, status, reason, skipped) in
            [(Level::High, Some(Status::Skipped), Some("bad; too deep"), 1), (Level::None, None, None, 0)]
        {
            let (mut plugin, _) = plugin();
            let body = br#"{"message":"CRITICAL: Failed to connect to primary database after 5 retries."}"#;
            let outcome = plugin.record::<Json>(b"app", body, NOW, &mut Vec::new());
            let Outcome::Judged(pending) = outcome else { panic!("{outcome:?}") };
            assert_eq!((plugin.counters().pending, plugin.counters().skipped), (1, 0));
            let kept = plugin.keep(Verdict { level, reason: Some("bad".to_owned()), ..pending }, "too deep");
            assert_eq!((kept.status, kept.reason.as_deref()), (status, reason));
            assert_eq!((plugin.counters().pending, plugin.counters().skipped), (0, skipped));
        }
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
