//! The way of a batch: msgpack events under a tag in; judged, tagged and delivered; `Ok` only when the return input has
//! acknowledged all of it. Knows nothing of frames or sockets.
//!
//! | tag | what happens |
//! |---|---|
//! | `oddline.pending.<tag>` | judged; goes back under `<tag>` (divert), or a companion goes out (copy) |
//! | `oddline.summary.<tag>` | summaries are taken; nothing goes back |
//! | `oddline.loop.<tag>` | records that came back twice: the loop is cut, they are counted and not sent again |
//! | any other | records of a shipper without plugin: screened here, then as above; a record that was sent back before |
//! |  | goes out once more, under `oddline.loop.<tag>` |

use std::{fmt, sync::Arc};

use oddline_analyze::ports::Seen;
use oddline_codec::{
    Edit, MARKER_KEY, SUMMARY_KEY, TagStyle, marker,
    marker::Secret,
    msgpack::{self, Event, EventKind},
    read_summary,
};
use oddline_engine::{Mode, Verdict};
use tracing::warn;

use crate::{
    annotate::{Annotator, GROUP},
    companion,
    deliver::{Deliver, DeliverError, Outgoing},
    events::Events,
};

/// What plugins prefix the tag of questionable records with.
pub const PENDING_PREFIX: &[u8] = b"oddline.pending.";
/// What plugins prefix the tag of summaries with.
pub const SUMMARY_PREFIX: &[u8] = b"oddline.summary.";
/// What we prefix the tag of companion records with.
pub const VERDICT_PREFIX: &[u8] = b"oddline.verdict.";

/// What we prefix the tag of records with that have come again after they were sent back. Not matched by the outputs that
/// lead here, it breaks the loop; matched all the same, the record comes a second time and stays.
pub const LOOP_PREFIX: &[u8] = b"oddline.loop.";

/// A delivery is closed when it has so many bytes: in_forward takes 6 MB by default.
const PIECE_BYTES: usize = 2 << 20;

/// Judges batches and sends them back.
pub struct Detour {
    annotator: Annotator,
    /// How pending records carry their tags.
    pending: TagStyle,
    mode: Mode,
    secret: Secret,
    deliver: Arc<dyn Deliver>,
    events: Arc<Events>,
}

/// An event, and what is known about it before it is judged.
struct Entry<'a> {
    event: Event<'a>,
    kind: Kind,
    local: Verdict,
}

enum Kind {
    /// Not ours to touch, but readable: group markers.
    AsIs,
    /// It was sent back and has come again.
    Looped,
    /// No map.
    Unread,
    /// Tagged by a plugin, whose name is kept.
    Tagged(Option<Arc<str>>),
    /// Without readable tags: screened here.
    Screened,
}

impl Detour {
    /// A detour in a mode (inline counts as divert: whatever comes goes back).
    pub fn new(
        annotator: Annotator,
        mode: Mode,
        secret: Secret,
        deliver: Arc<dyn Deliver>,
        events: Arc<Events>,
    ) -> Self {
        let pending = annotator.style.pending();
        Detour { annotator, pending, mode, secret, deliver, events }
    }

    /// Takes a batch all the way.
    ///
    /// # Errors
    /// If the return input did not acknowledge: some of the batch may have arrived, the sender has to resend it all.
    pub async fn carry(&self, tag: &[u8], chunk: &[u8]) -> Result<(), DeliverError> {
        if tag.starts_with(SUMMARY_PREFIX) {
            self.summaries(chunk);
            return Ok(());
        }
        let around = tag.strip_prefix(LOOP_PREFIX);
        let route = around.or(tag.strip_prefix(PENDING_PREFIX)).unwrap_or(tag);
        let source: Arc<str> = String::from_utf8_lossy(route).into();
        let mut back = Pieces::new(&*self.deliver, &self.events, self.out_tag(route));
        let mut again = Pieces::new(&*self.deliver, &self.events, [LOOP_PREFIX, route].concat());
        let (mut strays, mut tail) = (Vec::new(), &b""[..]);
        let mut events = msgpack::events(chunk);
        loop {
            let mut group = Vec::new();
            for event in events.by_ref().take(GROUP) {
                match event {
                    Ok(event) => group.push(self.read(route, event)),
                    Err(malformed) => tail = chunk.get(malformed.offset..).unwrap_or_default(),
                }
            }
            if group.is_empty() {
                break;
            }
            self.events.records_received.add(group.len());
            let locals = group.iter_mut().map(|entry| std::mem::take(&mut entry.local)).collect();
            let see = || group.iter().map(|entry| self.see(route, entry)).collect();
            let verdicts = self.annotator.judge_seen(&source, locals, see).await;
            let mut bytes = Vec::new();
            for (entry, verdict) in group.iter().zip(&verdicts) {
                bytes.clear();
                match (&entry.kind, self.mode) {
                    (Kind::Unread, _) => {
                        self.events.records_unread.add(1);
                        strays.extend_from_slice(entry.event.raw);
                    }
                    (Kind::AsIs | Kind::Looped, Mode::Copy) => {}
                    (Kind::Looped, _) if around.is_some() => self.events.loops_cut.add(1),
                    (Kind::Looped, _) => again.push(entry.event.raw).await?,
                    (Kind::AsIs, _) => bytes.extend_from_slice(entry.event.raw),
                    (_, Mode::Copy) => self.write_companion(route, entry, verdict, &mut bytes),
                    _ => self.write(route, entry, verdict, &mut bytes),
                }
                back.push(&bytes).await?;
            }
        }
        back.flush().await?;
        again.flush().await?;
        self.events.records_unread.add(usize::from(!tail.is_empty()));
        strays.extend_from_slice(tail);
        self.send_strays(back.has_sent, route, strays).await
    }

    /// A log record as detectors see it.
    fn see(&self, route: &[u8], entry: &Entry<'_>) -> Option<Seen> {
        let is_log = matches!(entry.kind, Kind::Tagged(_) | Kind::Screened);
        is_log.then(|| self.annotator.see(route, &msgpack::Walked(entry.event.body), &self.pending.key))
    }

    fn out_tag(&self, route: &[u8]) -> Vec<u8> {
        if self.mode == Mode::Copy { [VERDICT_PREFIX, route].concat() } else { route.to_vec() }
    }

    fn read<'a>(&self, route: &'a [u8], event: Event<'a>) -> Entry<'a> {
        let entry = |kind, local| Entry { event, kind, local };
        if event.kind != EventKind::Log {
            return entry(Kind::AsIs, Verdict::default());
        }
        if let Some(tags) = msgpack::read_tags(event.body, &self.pending.key)
            && tags.status == Some(oddline_engine::Status::Pending)
            && tags.template.is_some()
        {
            // A plugin that cannot emit records of its own lets its summary ride on a pending one.
            if let Some(summary) = read_summary(event.body) {
                self.events.summaries_received.add(1);
                self.annotator.analysis.summary(summary);
            }
            let model = tags.model.clone();
            return entry(Kind::Tagged(model), tags.into_verdict());
        }
        let mut picking = self.annotator.picker.start(route);
        if msgpack::walk(event.body, &mut picking).is_err() {
            return entry(Kind::Unread, Verdict::default());
        }
        if self.has_been_here(route, event.body) {
            self.events.records_looped.add(1);
            return entry(Kind::Looped, Verdict::default());
        }
        entry(
            Kind::Screened,
            self.annotator.analysis.screen_whole(&picking.finish(), &msgpack::Walked(event.body)),
        )
    }

    /// Whether a record carries our own valid marker: it was sent back and has come again.
    fn has_been_here(&self, route: &[u8], body: &[u8]) -> bool {
        let Some(given) = msgpack::read_marker(body) else { return false };
        let Some(tags) = msgpack::read_styled_tags(body, &self.annotator.style) else { return false };
        let Some(status) = tags.status else { return false };
        // The message is the one without the marker, as it was when the marker was made.
        let mut bare = Vec::new();
        let edit = Edit::remove(&self.annotator.style, &[MARKER_KEY]);
        if msgpack::splice(body, &edit, &mut bare).is_err() {
            return false;
        }
        let message = self.message(route, &bare);
        let looped =
            marker::verify(&self.secret, route, &message, tags.template_id, tags.level, status, given);
        // Told at the first and then ever more rarely: a loop turns as fast as it can.
        if looped && (self.events.records_looped.get() + 1).is_power_of_two() {
            warn!(
                tag = %String::from_utf8_lossy(route),
                "a record that was sent back has come again: the shipper's routes lead from the return input to this one"
            );
        }
        looped
    }

    fn message(&self, route: &[u8], body: &[u8]) -> Vec<u8> {
        let mut picking = self.annotator.picker.start(route);
        match msgpack::walk(body, &mut picking) {
            Ok(_) => picking.finish().message.into_owned(),
            Err(_) => Vec::new(),
        }
    }

    /// The event with its final tags and marker; as it came if that fails.
    fn write(&self, route: &[u8], entry: &Entry<'_>, verdict: &Verdict, out: &mut Vec<u8>) {
        let style = &self.annotator.style;
        let (remove, model): (&[&str], _) = match &entry.kind {
            Kind::Tagged(model) => (&[self.pending.key.as_str(), SUMMARY_KEY], model.as_ref()),
            _ => (&[], None),
        };
        let tags = self.annotator.tags(verdict, model);
        let mut edit = Edit { remove, rename: &[], style, tags: Some(&tags), marker: None };
        let body = entry.event.body;
        // The plugin checks the marker against the message it finds in the finished record, so it is made from that.
        let made = verdict.status.filter(|_| style.writes(&tags)).and_then(|status| {
            let mut finished = Vec::new();
            msgpack::splice(body, &edit, &mut finished).ok()?;
            let message = self.message(route, &finished);
            Some(marker::sign(&self.secret, route, &message, verdict.template_id, verdict.level, status))
        });
        edit.marker = made.as_deref();
        out.extend_from_slice(entry.event.head);
        if msgpack::splice(body, &edit, out).is_err() {
            self.events.records_unread.add(1);
            out.clear();
            out.extend_from_slice(entry.event.raw);
        }
    }

    /// In copy mode the record has flowed on already: what goes out is the verdict with a reference to it. Records
    /// that came without a plugin's tags have none unless they are flagged.
    fn write_companion(&self, route: &[u8], entry: &Entry<'_>, verdict: &Verdict, out: &mut Vec<u8>) {
        let model = if let Kind::Tagged(model) = &entry.kind { model.as_ref() } else { None };
        let tags = self.annotator.tags(verdict, model);
        if tags.is_flagged() {
            companion::write(&self.annotator.style, route, entry.event.time_nanos, &tags, out);
        }
    }

    /// Entries that nobody can read go back as they came, apart from the rest, so that a return input that refuses
    /// them does not refuse the rest too. They are given up only if it has just shown that it is there.
    async fn send_strays(&self, is_there: bool, route: &[u8], events: Vec<u8>) -> Result<(), DeliverError> {
        if events.is_empty() || self.mode == Mode::Copy {
            return Ok(());
        }
        let outgoing = Outgoing { tag: route.to_vec(), events, records: 1 };
        match self.deliver.deliver(&outgoing).await {
            Err(error) if is_there => {
                self.events.entries_discarded.add(1);
                warn!(%error, bytes = outgoing.events.len(), "entries that are no log events were refused and are given up");
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn summaries(&self, chunk: &[u8]) {
        for event in msgpack::events(chunk) {
            match event.ok().and_then(|event| read_summary(event.body)) {
                Some(summary) => {
                    self.events.summaries_received.add(1);
                    self.annotator.analysis.summary(summary);
                }
                None => self.events.summaries_unread.add(1),
            }
        }
    }
}

/// What goes back, gathered into deliveries of bounded size.
struct Pieces<'d> {
    deliver: &'d dyn Deliver,
    counts: &'d Events,
    gathered: Outgoing,
    has_sent: bool,
}

impl<'d> Pieces<'d> {
    fn new(deliver: &'d dyn Deliver, counts: &'d Events, tag: Vec<u8>) -> Self {
        Pieces { deliver, counts, gathered: Outgoing { tag, ..Outgoing::default() }, has_sent: false }
    }

    async fn push(&mut self, event: &[u8]) -> Result<(), DeliverError> {
        if event.is_empty() {
            return Ok(());
        }
        if self.gathered.events.len() + event.len() > PIECE_BYTES {
            self.flush().await?;
        }
        self.gathered.events.extend_from_slice(event);
        self.gathered.records += 1;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), DeliverError> {
        if self.gathered.records > 0 {
            self.deliver.deliver(&self.gathered).await?;
            self.counts.records_sent.add(self.gathered.records);
            self.gathered.events.clear();
            self.gathered.records = 0;
            self.has_sent = true;
        }
        Ok(())
    }
}

impl fmt::Debug for Detour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detour")
            .field("annotator", &self.annotator)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
