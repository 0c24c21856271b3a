//! Vector's events as the detour sees them: tag and marker stand in a log's metadata, everything else passes.

use std::borrow::Cow;

use oddline_codec::{
    Edit, TagStyle, Tags, Unreadable,
    protobuf::{self, Count, Event, EventKind},
};
use oddline_engine::{Body, Summary, Visitor};

use crate::{
    detour::VERDICT_PREFIX,
    entry::{Content, Entry},
};

/// The tag of a log whose metadata names none.
const UNNAMED: &[u8] = b"vector";

/// An event of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VectorEntry<'a>(Event<'a>);

/// The events of a request; the malformed rest as one error.
pub(crate) fn entries(request: &[u8]) -> impl Iterator<Item = Result<VectorEntry<'_>, &[u8]>> {
    protobuf::events(request).map(|event| event.map(VectorEntry))
}

impl Entry for VectorEntry<'_> {
    const IS_WELL_FORMED: bool = true;

    fn content(&self) -> Content {
        if !self.0.is_sound() {
            return Content::Broken;
        }
        match self.0.kind {
            EventKind::Log(_) => Content::Record,
            EventKind::Metric(metric) => match protobuf::read_count(metric) {
                Some(Count::Of(count)) => Content::Count(Some(count)),
                Some(Count::Unread) => Content::Count(None),
                None => Content::Passing { surrounds: false },
            },
            EventKind::Other => Content::Passing { surrounds: false },
            EventKind::Empty => Content::Nothing,
            EventKind::Broken => Content::Broken,
        }
    }

    fn pass(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.raw);
    }

    fn body(&self) -> &[u8] {
        if let EventKind::Log(log) = self.0.kind { log } else { b"" }
    }

    fn tag(&self) -> &[u8] {
        protobuf::read_tag(self.body()).unwrap_or(UNNAMED)
    }

    /// Metadata cannot be written by what a log says. The Lua module has none: its key is believed.
    fn is_from_plugin(&self) -> bool {
        protobuf::read_tag(self.body()).is_some()
    }

    fn wrap(&self, body: &[u8], out: &mut Vec<u8>) {
        self.0.with_log(body, out);
    }

    fn retag(&self, tag: &[u8], out: &mut Vec<u8>) {
        let mut body = Vec::new();
        match protobuf::retag(self.body(), tag, &mut body) {
            Ok(()) => self.wrap(&body, out),
            Err(_) => self.pass(out),
        }
    }

    fn companion(&self, style: &TagStyle, tags: &Tags, route: &[u8], out: &mut Vec<u8>) {
        let mut body = Vec::new();
        protobuf::companion(self.body(), style, tags, [VERDICT_PREFIX, route], &mut body);
        self.wrap(&body, out);
    }

    fn walk<'b>(body: &'b [u8], visitor: &mut dyn Visitor<'b>) -> Result<(), Unreadable> {
        protobuf::walk(body, visitor)
    }

    fn walked<'b>(body: &'b [u8]) -> impl Body + 'b {
        protobuf::Walked(body)
    }

    fn splice(body: &[u8], edit: &Edit<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        protobuf::splice(body, edit, out)
    }

    fn pending_tags(body: &[u8], key: &str) -> Option<Tags> {
        protobuf::read_tags(body, key)
    }

    fn styled_tags(body: &[u8], style: &TagStyle) -> Option<Tags> {
        protobuf::read_styled_tags(body, style)
    }

    fn marker(body: &[u8]) -> Option<Cow<'_, [u8]>> {
        protobuf::read_marker(body).map(Cow::Borrowed)
    }

    fn summary(log: &[u8]) -> Option<Summary> {
        protobuf::read_summary(log)
    }
}
