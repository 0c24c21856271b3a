//! The way of a batch: events in; judged, tagged and delivered; `Ok` only when the return input has acknowledged all of
//! it. Knows nothing of frames, sockets or notations: an `Entry` is an event in any of them.
//!
//! | tag | what happens |
//! |---|---|
//! | `oddline.pending.<tag>` | judged; goes back under `<tag>` (divert), or a companion goes out (copy) |
//! | `oddline.summary.<tag>` | summaries are taken; of a sequence that ended oddly a companion goes out |
//! | `oddline.loop.<tag>` | records that came back twice: the loop is cut, they are counted and not sent again |
//! | any other | judged if a plugin's pending tags are on it (see `Entry::is_from_plugin`), else screened here first; |
//! |  | a record that was sent back before goes out once more, under `oddline.loop.<tag>` |

use std::{fmt, sync::Arc};

use oddline_analyze::ports::{Received, Seen};
use oddline_codec::{
    DETOUR_KEY, Edit, MARKER_KEY, SUMMARY_KEY, TAG_KEY, TagStyle,
    marker::{self, Secret},
    msgpack, read_summary,
};
use oddline_engine::{BARE_COUNTS, Mode, Status, Summary, TemplateCount, Verdict};
use tokio::time::Instant;
use tracing::warn;

use crate::{
    annotate::{Annotator, GROUP},
    companion,
    deliver::{Deliver, DeliverError, Outgoing},
    entry::{Content, Entry},
    events::Events,
    forward,
};

use self::{
    attempts::{Attempt, Attempts},
    strays::Strays,
};

mod attempts;
mod strays;

/// What plugins prefix the tag of questionable records with.
pub const PENDING_PREFIX: &[u8] = b"oddline.pending.";
/// What plugins prefix the tag of summaries with.
pub const SUMMARY_PREFIX: &[u8] = b"oddline.summary.";
/// What we prefix the tag of companion records with.
pub const VERDICT_PREFIX: &[u8] = b"oddline.verdict.";

/// What we prefix the tag of records with that have come again after they were sent back. Not matched by the outputs that
/// lead here, it breaks the loop; matched all the same, the record comes a second time and stays.
pub const LOOP_PREFIX: &[u8] = b"oddline.loop.";

/// Longest template of a plugin, in bytes: its masked text has 1 KiB, and some more where wildcards or replacement
/// characters stand in it. A record that names a longer one was not tagged by a plugin.
const MAX_TEMPLATE_BYTES: usize = 4 << 10;

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
    attempts: Attempts,
}

/// An event, and what is known about it before it is judged.
struct Read<E> {
    entry: E,
    kind: Kind,
    received: Received,
    /// It has been on a detour around this one: [`LOOP_PREFIX`] is before its tag.
    is_around: bool,
}

enum Kind {
    /// Not ours to touch, but readable.
    AsIs,
    /// The same, but a copy of it is nobody's business.
    Surrounding,
    /// It was sent back and has come again.
    Looped,
    /// Nobody can read it.
    Unread,
    /// A count or summary, which the analysis gets.
    Taken,
    /// Tagged by a plugin, whose name is kept.
    Tagged(Option<Arc<str>>),
    /// Without readable tags: screened here.
    Screened,
}

/// What a batch has for the analysis alone: passed on once the rest is delivered.
#[derive(Default)]
struct Taken {
    counts: Vec<TemplateCount>,
    summaries: Vec<Summary>,
}

/// The tags under which a batch goes out: back, and once more where it loops. Empty where events carry their own.
pub(crate) struct Lanes {
    pub(crate) back: Vec<u8>,
    pub(crate) again: Vec<u8>,
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
        Detour { annotator, pending, mode, secret, deliver, events, attempts: Attempts::default() }
    }

    /// Takes a chunk of Fluent Bit's events all the way; its records' deadline counts from `arrived`.
    ///
    /// # Errors
    /// If the return input did not acknowledge: some of the batch may have arrived, the sender has to resend it all.
    pub async fn carry(&self, tag: &[u8], chunk: &[u8], arrived: Instant) -> Result<(), DeliverError> {
        if tag.starts_with(SUMMARY_PREFIX) {
            return self.summaries(tag, chunk).await;
        }
        let (route, _) = route(tag);
        let back = if self.mode == Mode::Copy { [VERDICT_PREFIX, route].concat() } else { route.to_vec() };
        let lanes = Lanes { back, again: [LOOP_PREFIX, route].concat() };
        self.pass(forward::entries(tag, chunk), lanes, arrived).await
    }

    /// Takes a batch in any notation all the way; see [`Detour::carry`]. What cannot be read comes as an error.
    pub(crate) async fn pass<'a, E: Entry + 'a>(
        &self,
        mut batch: impl Iterator<Item = Result<E, &'a [u8]>> + Send,
        lanes: Lanes,
        arrived: Instant,
    ) -> Result<(), DeliverError> {
        let mut strays = Strays::new(lanes.back.clone());
        let mut back = Pieces::new(&*self.deliver, &self.events, lanes.back);
        let mut again = Pieces::new(&*self.deliver, &self.events, lanes.again);
        let (mut taken, mut tail) = (Taken::default(), &b""[..]);
        let mut attempt = self.attempts.begin();
        loop {
            let mut group = Vec::new();
            for entry in batch.by_ref().take(GROUP) {
                match entry {
                    Ok(entry) => group.push(self.read(entry, arrived, &mut taken, &mut attempt)),
                    Err(rest) => tail = rest,
                }
            }
            if group.is_empty() {
                break;
            }
            self.events.records_received.add(group.len());
            let received = group.iter_mut().map(|read| read.received.clone()).collect();
            let see = || group.iter().map(|read| self.see(read)).collect();
            let verdicts = self.annotator.judge_seen(received, see).await;
            let mut bytes = Vec::new();
            for (read, verdict) in group.iter().zip(&verdicts) {
                bytes.clear();
                match (&read.kind, self.mode) {
                    (Kind::Unread, Mode::Copy) => self.events.records_unread.add(1),
                    (Kind::Unread, _) => {
                        self.events.records_unread.add(1);
                        strays.push(|events| read.entry.pass(events));
                    }
                    (Kind::Taken, _) | (Kind::Surrounding | Kind::Looped, Mode::Copy) => {}
                    (Kind::Looped, _) if read.is_around => self.events.loops_cut.add(1),
                    (Kind::Looped, _) => {
                        read.entry.retag(&[LOOP_PREFIX, read.route()].concat(), &mut bytes);
                        again.push(&std::mem::take(&mut bytes)).await?;
                    }
                    (Kind::AsIs | Kind::Surrounding, _) => read.entry.pass(&mut bytes),
                    (_, Mode::Copy) => self.write_companion(read, verdict, &mut bytes),
                    _ => self.write(read, verdict, &mut bytes),
                }
                back.push(&bytes).await?;
            }
            // Where nothing is judged and nothing sent, nothing else in here lets others run.
            tokio::task::yield_now().await;
        }
        if !tail.is_empty() {
            self.events.records_unread.add(1);
            strays.push(|events| events.extend_from_slice(tail));
        }
        back.flush().await?;
        again.flush().await?;
        if self.mode != Mode::Copy {
            strays.send(&*self.deliver, &self.events, back.has_sent).await?;
        }
        // Last, for a batch that fails comes again.
        attempt.delivered();
        self.count(taken.counts);
        taken.summaries.into_iter().for_each(|summary| self.sum(summary));
        back.rejected.or(again.rejected).map_or(Ok(()), Err)
    }

    fn read<E: Entry>(
        &self,
        entry: E,
        arrived: Instant,
        taken: &mut Taken,
        attempt: &mut Attempt<'_>,
    ) -> Read<E> {
        let (route, is_around) = route(entry.tag());
        let source: Arc<str> = String::from_utf8_lossy(route).into();
        let is_summary = entry.tag().starts_with(SUMMARY_PREFIX);
        let summary = is_summary.then(|| E::summary(entry.body())).flatten();
        let (kind, local) = match entry.content() {
            Content::Record if summary.is_some() => {
                taken.summaries.extend(summary);
                (Kind::Taken, Verdict::default())
            }
            // Our own companion: the shipper's routes lead it back here.
            Content::Record if self.mode == Mode::Copy && entry.tag().starts_with(VERDICT_PREFIX) => {
                self.events.records_looped.add(1);
                (Kind::Looped, Verdict::default())
            }
            Content::Record => self.read_record(route, &entry, taken, attempt),
            Content::Passing { surrounds: true } => (Kind::Surrounding, Verdict::default()),
            Content::Passing { surrounds: false } => (Kind::AsIs, Verdict::default()),
            Content::Broken => (Kind::Unread, Verdict::default()),
            Content::Nothing => {
                self.events.entries_discarded.add(1);
                (Kind::Taken, Verdict::default())
            }
            Content::Count(count) => {
                self.events.summaries_unread.add(usize::from(count.is_none()));
                taken.counts.extend(count);
                (Kind::Taken, Verdict::default())
            }
        };
        Read { kind, received: Received { source, local, arrived }, is_around, entry }
    }

    fn read_record<E: Entry>(
        &self,
        route: &[u8],
        entry: &E,
        taken: &mut Taken,
        attempt: &mut Attempt<'_>,
    ) -> (Kind, Verdict) {
        let body = entry.body();
        // Elsewhere, fields of that name are what an application has written.
        if entry.is_from_plugin()
            && let Some(tags) = E::pending_tags(body, &self.pending.key)
            && tags.status == Some(Status::Pending)
            && tags.template.as_ref().is_some_and(|template| template.len() <= MAX_TEMPLATE_BYTES)
        {
            // A plugin that cannot emit records of its own lets its summary ride on a pending one.
            taken.summaries.extend(E::summary(body));
            let model = tags.model.clone();
            // A plugin cannot run the rules that ask for all of a record.
            let analysis = &self.annotator.analysis;
            let local = analysis.complete(tags.into_verdict(), route, &E::walked(body), &self.pending.key);
            return (Kind::Tagged(model), local);
        }
        let picker = self.annotator.screening.picker();
        let mut picking = picker.start(route);
        if E::walk(body, &mut picking).is_err() {
            // Text alone, most likely: no place for tags, and nothing wrong with it.
            self.events.records_unread.add(usize::from(E::IS_WELL_FORMED));
            let kind = if E::IS_WELL_FORMED { Kind::Surrounding } else { Kind::Unread };
            return (kind, Verdict::default());
        }
        if self.has_been_here::<E>(route, body) {
            self.events.records_looped.add(1);
            return (Kind::Looped, Verdict::default());
        }
        let screen = || self.annotator.analysis.screen_whole(&picking.finish(), &E::walked(body));
        (Kind::Screened, attempt.screened(route, body, screen))
    }

    /// Whether a record carries our own valid marker: it was sent back and has come again.
    fn has_been_here<E: Entry>(&self, route: &[u8], body: &[u8]) -> bool {
        let Some(given) = E::marker(body) else { return false };
        let Some(tags) = E::styled_tags(body, &self.annotator.style) else { return false };
        let Some(status) = tags.status else { return false };
        // The message is the one without the marker, as it was when the marker was made.
        let mut bare = Vec::new();
        let edit = Edit::remove(&self.annotator.style, &[MARKER_KEY]);
        if E::splice(body, &edit, &mut bare).is_err() {
            return false;
        }
        let message = self.message::<E>(route, &bare);
        let looped =
            marker::verify(&self.secret, route, &message, tags.template_id, tags.level, status, &given);
        // Told at the first and then ever more rarely: a loop turns as fast as it can.
        if looped && (self.events.records_looped.get() + 1).is_power_of_two() {
            warn!(
                tag = %String::from_utf8_lossy(route),
                "a record that was sent back has come again: the shipper's routes lead from the return input to this one"
            );
        }
        looped
    }

    /// A log record as detectors see it.
    fn see<E: Entry>(&self, read: &Read<E>) -> Option<Seen> {
        let is_log = matches!(read.kind, Kind::Tagged(_) | Kind::Screened);
        is_log.then(|| self.annotator.see(read.route(), &E::walked(read.entry.body()), &self.pending.key))
    }

    fn message<E: Entry>(&self, route: &[u8], body: &[u8]) -> Vec<u8> {
        let picker = self.annotator.screening.picker();
        let mut picking = picker.start(route);
        match E::walk(body, &mut picking) {
            Ok(()) => picking.finish().message.into_owned(),
            Err(_) => Vec::new(),
        }
    }

    /// The event with its final tags and marker; as it came if that fails.
    fn write<E: Entry>(&self, read: &Read<E>, verdict: &Verdict, out: &mut Vec<u8>) {
        let style = &self.annotator.style;
        let (remove, model): (&[&str], _) = match &read.kind {
            Kind::Tagged(model) => {
                (&[self.pending.key.as_str(), SUMMARY_KEY, DETOUR_KEY, TAG_KEY], model.as_ref())
            }
            _ => (&[], None),
        };
        let tags = self.annotator.tags(verdict, model);
        let mut edit = Edit { remove, ..Edit::tag(style, &tags) };
        let body = read.entry.body();
        // The plugin checks the marker against the message it finds in the finished record, so it is made from that.
        let made = verdict.status.filter(|_| style.writes(&tags)).and_then(|status| {
            let mut finished = Vec::new();
            E::splice(body, &edit, &mut finished).ok()?;
            Some(self.sign::<E>(read.route(), &finished, verdict, status))
        });
        edit.marker = made.as_deref();
        let mut finished = Vec::new();
        match E::splice(body, &edit, &mut finished) {
            Ok(()) => read.entry.wrap(&finished, out),
            Err(_) => {
                self.events.records_unread.add(1);
                read.entry.pass(out);
            }
        }
    }

    /// In copy mode the record has flowed on already: what goes out is the verdict with a reference to it. Records
    /// that came without a plugin's tags have none unless they are flagged.
    fn write_companion<E: Entry>(&self, read: &Read<E>, verdict: &Verdict, out: &mut Vec<u8>) {
        let model = if let Kind::Tagged(model) = &read.kind { model.as_ref() } else { None };
        let tags = self.annotator.tags(verdict, model);
        if tags.is_flagged() {
            read.entry.companion(&self.annotator.style, &tags, read.route(), out);
        }
    }

    fn sign<E: Entry>(&self, route: &[u8], finished: &[u8], verdict: &Verdict, status: Status) -> String {
        let message = self.message::<E>(route, finished);
        marker::sign(&self.secret, route, &message, verdict.template_id, verdict.level, status)
    }

    /// Counts of templates that came as events of their own.
    pub(crate) fn count(&self, templates: Vec<TemplateCount>) {
        if !templates.is_empty() {
            self.events.summaries_received.add(1);
            self.annotator.analysis.summary(Summary {
                kind: BARE_COUNTS.into(),
                templates,
                ..Summary::default()
            });
        }
    }

    fn sum(&self, summary: Summary) {
        self.events.summaries_received.add(1);
        self.annotator.analysis.summary(summary);
    }

    /// Takes Fluent Bit's summaries. What they say of sequences that ended is no record's yet: each gets one of its own,
    /// with the tags that the sequence's last record would have, and a reference to that.
    async fn summaries(&self, tag: &[u8], chunk: &[u8]) -> Result<(), DeliverError> {
        let (mut summaries, mut unread) = (Vec::new(), 0);
        for event in msgpack::events(chunk) {
            match event.ok().and_then(|event| read_summary(event.body)) {
                Some(summary) => summaries.push(summary),
                None => unread += 1,
            }
        }
        let route = tag.strip_prefix(SUMMARY_PREFIX).unwrap_or(tag);
        let mut events = Vec::new();
        let endings = || summaries.iter().flat_map(|summary| &summary.endings);
        for ending in endings() {
            let (time, verdict) = (ending.time, ending.clone().verdict());
            let tags = self.annotator.tags(&verdict, None);
            companion::write(&self.annotator.style, route, time, &tags, &mut events);
        }
        if !events.is_empty() {
            let outgoing =
                Outgoing { tag: [VERDICT_PREFIX, route].concat(), events, records: endings().count() };
            match self.deliver.deliver(&outgoing).await {
                Err(error) if error.is_final() => {
                    self.events.entries_discarded.add(outgoing.records);
                    warn!(%error, "companions of sequences that ended were refused and are given up");
                }
                outcome => outcome?,
            }
        }
        // Last, for a batch that fails comes again.
        self.events.summaries_unread.add(unread);
        summaries.into_iter().for_each(|summary| self.sum(summary));
        Ok(())
    }
}

impl<E: Entry> Read<E> {
    fn route(&self) -> &[u8] {
        route(self.entry.tag()).0
    }
}

/// The tag without our prefixes, and whether [`LOOP_PREFIX`] was one.
fn route(tag: &[u8]) -> (&[u8], bool) {
    match (tag.strip_prefix(LOOP_PREFIX), tag.strip_prefix(PENDING_PREFIX)) {
        (Some(route), _) => (route, true),
        (None, Some(route)) => (route, false),
        (None, None) => (tag, false),
    }
}

/// What goes back, gathered into deliveries of bounded size.
struct Pieces<'d> {
    deliver: &'d dyn Deliver,
    counts: &'d Events,
    gathered: Outgoing,
    has_sent: bool,
    /// The last final refusal. It concerns its own piece: the others go out all the same, for nobody sends them again.
    rejected: Option<DeliverError>,
}

impl<'d> Pieces<'d> {
    fn new(deliver: &'d dyn Deliver, counts: &'d Events, tag: Vec<u8>) -> Self {
        let gathered = Outgoing { tag, ..Outgoing::default() };
        Pieces { deliver, counts, gathered, has_sent: false, rejected: None }
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
            match self.deliver.deliver(&self.gathered).await {
                Ok(()) => self.counts.records_sent.add(self.gathered.records),
                Err(error) if error.is_final() => self.rejected = Some(error),
                Err(error) => return Err(error),
            }
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
