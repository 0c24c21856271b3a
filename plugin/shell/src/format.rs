//! Takes a record in a host's notation, gives its fields to a visitor and writes it with tags: what shells differ in.
//!
//! Must not know what the fields mean.

use std::borrow::Cow;

use oddline_codec::{Edit, Outline, TagStyle, Tags, Unreadable, json, msgpack};
use oddline_engine::Visitor;

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
