//! What the detour asks of an event, whatever the notation it came in: Forward's msgpack, Vector's protobuf, JSON.
//! The codec reads and writes; here it is said where in an event the record, its tag and the marker stand.

use std::borrow::Cow;

use oddline_codec::{Edit, TagStyle, Tags, Unreadable};
use oddline_engine::{Body, Summary, TemplateCount, Visitor};

/// What an event is to the detour.
#[derive(Debug)]
pub(crate) enum Content {
    /// A log record.
    Record,
    /// Not ours to touch: it goes on as it came, and nowhere in copy mode if it only surrounds records.
    Passing {
        /// Whether it means nothing without the records around it.
        surrounds: bool,
    },
    /// A count for the analysis, if it could be read.
    Count(Option<TemplateCount>),
    /// Nobody can read it.
    Broken,
    /// There is nothing in it.
    Nothing,
}

/// One event of a batch.
pub(crate) trait Entry: Send + Sync {
    /// Whether a record that cannot be read is one that others can: [`Content::Broken`] stands for the rest.
    const IS_WELL_FORMED: bool = false;

    /// What it is.
    fn content(&self) -> Content;
    /// Appends all of it as it came.
    fn pass(&self, out: &mut Vec<u8>);
    /// The record in it.
    fn body(&self) -> &[u8];
    /// The tag of its source, with our prefixes before it.
    fn tag(&self) -> &[u8];
    /// Whether its way here says that a plugin has tagged it, as far as this notation tells.
    fn is_from_plugin(&self) -> bool;
    /// Appends an event like this one with another record in it.
    fn wrap(&self, body: &[u8], out: &mut Vec<u8>);
    /// Appends the event under another tag. Where the tag is no part of an event, it is the event as it came.
    fn retag(&self, tag: &[u8], out: &mut Vec<u8>);
    /// Appends the event that goes out beside this one in copy mode; see [`crate::companion`].
    fn companion(&self, style: &TagStyle, tags: &Tags, route: &[u8], out: &mut Vec<u8>);

    /// Shows a record to a visitor.
    fn walk<'b>(body: &'b [u8], visitor: &mut dyn Visitor<'b>) -> Result<(), Unreadable>;
    /// A record that was walked once, to be walked again by others.
    fn walked<'b>(body: &'b [u8]) -> impl Body + 'b;
    /// Appends a record with an edit made; the marker goes where this notation has it.
    fn splice(body: &[u8], edit: &Edit<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable>;
    /// The pending tags on a record.
    fn pending_tags(body: &[u8], key: &str) -> Option<Tags>;
    /// The final tags on a record.
    fn styled_tags(body: &[u8], style: &TagStyle) -> Option<Tags>;
    /// The marker on a record.
    fn marker(body: &[u8]) -> Option<Cow<'_, [u8]>>;
    /// The summary that rides on a pending record, or is a record of its own under [`crate::detour::SUMMARY_PREFIX`].
    fn summary(_body: &[u8]) -> Option<Summary> {
        None
    }
}
