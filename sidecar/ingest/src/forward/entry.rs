//! Fluent Bit's events as the detour sees them: a head of time and metadata, and the record. The tag is the frame's.

use std::borrow::Cow;

use oddline_codec::{
    Edit, TagStyle, Tags, Unreadable,
    msgpack::{self, Event, EventKind},
    read_summary,
};
use oddline_engine::{Body, Summary, Visitor};

use crate::{
    companion,
    detour::PENDING_PREFIX,
    entry::{Content, Entry},
};

/// An event under a tag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForwardEntry<'a> {
    event: Event<'a>,
    tag: &'a [u8],
}

/// The events of a chunk under a tag; the malformed rest as one error.
pub(crate) fn entries<'a>(
    tag: &'a [u8],
    chunk: &'a [u8],
) -> impl Iterator<Item = Result<ForwardEntry<'a>, &'a [u8]>> {
    msgpack::events(chunk).map(move |event| match event {
        Ok(event) => Ok(ForwardEntry { event, tag }),
        Err(malformed) => Err(chunk.get(malformed.offset..).unwrap_or_default()),
    })
}

impl Entry for ForwardEntry<'_> {
    fn content(&self) -> Content {
        match self.event.kind {
            EventKind::Log => Content::Record,
            EventKind::GroupStart | EventKind::GroupEnd => Content::Passing { surrounds: true },
        }
    }

    fn pass(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.event.raw);
    }

    fn body(&self) -> &[u8] {
        self.event.body
    }

    fn tag(&self) -> &[u8] {
        self.tag
    }

    fn is_from_plugin(&self) -> bool {
        self.tag.starts_with(PENDING_PREFIX)
    }

    fn wrap(&self, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(self.event.head);
        out.extend_from_slice(body);
    }

    fn retag(&self, _tag: &[u8], out: &mut Vec<u8>) {
        self.pass(out);
    }

    fn companion(&self, style: &TagStyle, tags: &Tags, route: &[u8], out: &mut Vec<u8>) {
        companion::write(style, route, self.event.time_nanos, tags, out);
    }

    fn walk<'b>(body: &'b [u8], visitor: &mut dyn Visitor<'b>) -> Result<(), Unreadable> {
        msgpack::walk(body, visitor).map(drop)
    }

    fn walked<'b>(body: &'b [u8]) -> impl Body + 'b {
        msgpack::Walked(body)
    }

    fn splice(body: &[u8], edit: &Edit<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        msgpack::splice(body, edit, out)
    }

    fn pending_tags(body: &[u8], key: &str) -> Option<Tags> {
        msgpack::read_tags(body, key)
    }

    fn styled_tags(body: &[u8], style: &TagStyle) -> Option<Tags> {
        msgpack::read_styled_tags(body, style)
    }

    fn marker(body: &[u8]) -> Option<Cow<'_, [u8]>> {
        msgpack::read_marker(body).map(Cow::Borrowed)
    }

    fn summary(body: &[u8]) -> Option<Summary> {
        read_summary(body)
    }
}
