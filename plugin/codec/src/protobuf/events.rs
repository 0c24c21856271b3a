//! Takes a batch, gives its events one by one, each as its bytes. Must not know: what a log says.

use super::wire::{fields, put_bytes};

/// An event in a batch, and a log in an event.
const EVENT: u32 = 1;
const LOG: u32 = 1;

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind<'a> {
    /// A log, as the bytes of its message.
    Log(&'a [u8]),
    /// A metric, as the bytes of its message.
    Metric(&'a [u8]),
    /// A trace, or what only a newer version knows: pass it on as it is.
    Other,
    /// There is nothing in it: readers stumble over it.
    Empty,
    /// Cut short, two in one, or in the place of an event and of another type.
    Broken,
}

/// One event of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// All of it as it stands in the batch: events one after the other are a batch again.
    pub raw: &'a [u8],
    /// Log or something else.
    pub kind: EventKind<'a>,
    /// Its message.
    inner: &'a [u8],
}

impl Event<'_> {
    /// Whether Vector can read it: see `check.rs`. One that it cannot read would take its whole batch along.
    pub fn is_sound(&self) -> bool {
        self.kind != EventKind::Broken && super::check::is_sound(self.inner)
    }

    /// Appends the event with another log in place of its own.
    pub fn with_log(&self, log: &[u8], out: &mut Vec<u8>) {
        let mut inner = Vec::with_capacity(log.len().saturating_add(8));
        put_bytes(LOG, log, &mut inner);
        for other in fields(self.inner).flatten().filter(|field| field.number != LOG) {
            inner.extend_from_slice(self.inner.get(other.start..other.end).unwrap_or_default());
        }
        put_bytes(EVENT, &inner, out);
    }
}

/// The events of a batch in order. From where it is no sequence of events, the rest comes as one error: pass it on.
pub fn events(batch: &[u8]) -> Events<'_> {
    Events { batch, fields: fields(batch), at: 0 }
}

/// See [`events`].
#[derive(Clone, Debug)]
pub struct Events<'a> {
    batch: &'a [u8],
    fields: super::wire::Fields<'a>,
    at: usize,
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<Event<'a>, &'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.batch.get(self.at..).unwrap_or_default();
        Some(match self.fields.next()? {
            Err(_) => Err(rest),
            Ok(field) => {
                self.at = field.end;
                let raw = rest.get(..field.end.saturating_sub(field.start)).unwrap_or_default();
                let inner = field.bytes_of(EVENT);
                let kind = match inner {
                    Some(event) => kind(event),
                    None if field.number == EVENT => EventKind::Broken,
                    // Another field of the batch is of a newer version.
                    None => EventKind::Other,
                };
                Ok(Event { raw, kind, inner: inner.unwrap_or_default() })
            }
        })
    }
}

fn kind(event: &[u8]) -> EventKind<'_> {
    let mut found = EventKind::Empty;
    for field in fields(event) {
        let Ok(field) = field else { return EventKind::Broken };
        found = match (field.number, field.bytes(), found) {
            (LOG, Some(log), EventKind::Empty | EventKind::Other) => EventKind::Log(log),
            (2, Some(metric), EventKind::Empty | EventKind::Other) => EventKind::Metric(metric),
            (LOG | 2 | 3, _, EventKind::Log(_) | EventKind::Metric(_)) | (LOG | 2, None, _) => {
                return EventKind::Broken;
            }
            (_, _, EventKind::Empty) => EventKind::Other,
            (_, _, found) => found,
        };
    }
    found
}
