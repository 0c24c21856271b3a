//! Vector's events as prost reads and writes them: a description of the wire format of our own, against which the codec's
//! hand-written reading and editing are held. For tests of this package and of the sidecar.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "shared by tests that each use a part of it")]

use std::collections::BTreeMap;

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub struct PushEventsRequest {
    #[prost(message, repeated, tag = "1")]
    pub events: Vec<EventWrapper>,
}

#[derive(Clone, PartialEq, Message)]
pub struct EventWrapper {
    #[prost(oneof = "Event", tags = "1, 2, 3")]
    pub event: Option<Event>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Event {
    #[prost(message, tag = "1")]
    Log(Log),
    #[prost(message, tag = "2")]
    Metric(Metric),
    #[prost(message, tag = "3")]
    Trace(Trace),
}

#[derive(Clone, PartialEq, Message)]
pub struct Log {
    #[prost(btree_map = "string, message", tag = "1")]
    pub fields: BTreeMap<String, Value>,
    #[prost(message, optional, tag = "2")]
    pub value: Option<Value>,
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<Value>,
    #[prost(message, optional, tag = "4")]
    pub metadata_full: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Trace {
    #[prost(btree_map = "string, message", tag = "1")]
    pub fields: BTreeMap<String, Value>,
    #[prost(message, optional, tag = "3")]
    pub metadata_full: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Value {
    #[prost(oneof = "Kind", tags = "1, 2, 4, 5, 6, 7, 8, 9")]
    pub kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Kind {
    #[prost(bytes, tag = "1")]
    RawBytes(Vec<u8>),
    #[prost(message, tag = "2")]
    Timestamp(Timestamp),
    #[prost(int64, tag = "4")]
    Integer(i64),
    #[prost(double, tag = "5")]
    Float(f64),
    #[prost(bool, tag = "6")]
    Boolean(bool),
    #[prost(message, tag = "7")]
    Map(ValueMap),
    #[prost(message, tag = "8")]
    Array(ValueArray),
    #[prost(int32, tag = "9")]
    Null(i32),
}

#[derive(Clone, PartialEq, Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct ValueMap {
    #[prost(btree_map = "string, message", tag = "1")]
    pub fields: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ValueArray {
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Metadata {
    #[prost(message, optional, tag = "1")]
    pub value: Option<Value>,
    #[prost(string, optional, tag = "3")]
    pub source_id: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub source_type: Option<String>,
    #[prost(message, optional, tag = "6")]
    pub secrets: Option<Secrets>,
    #[prost(bytes = "vec", tag = "7")]
    pub source_event_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Secrets {
    #[prost(btree_map = "string, string", tag = "1")]
    pub entries: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub timestamp: Option<Timestamp>,
    #[prost(btree_map = "string, string", tag = "3")]
    pub tags_v1: BTreeMap<String, String>,
    #[prost(int32, tag = "4")]
    pub kind: i32,
    #[prost(message, optional, tag = "5")]
    pub counter: Option<Number>,
    #[prost(message, optional, tag = "6")]
    pub gauge: Option<Number>,
    #[prost(string, tag = "11")]
    pub namespace: String,
    #[prost(btree_map = "string, message", tag = "20")]
    pub tags_v2: BTreeMap<String, TagValues>,
    #[prost(message, optional, tag = "21")]
    pub metadata_full: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Number {
    #[prost(double, tag = "1")]
    pub value: f64,
}

#[derive(Clone, PartialEq, Message)]
pub struct TagValues {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<TagValue>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TagValue {
    #[prost(string, optional, tag = "1")]
    pub value: Option<String>,
}

pub fn text(text: &str) -> Value {
    Value { kind: Some(Kind::RawBytes(text.into())) }
}

pub fn integer(value: i64) -> Value {
    Value { kind: Some(Kind::Integer(value)) }
}

pub fn float(value: f64) -> Value {
    Value { kind: Some(Kind::Float(value)) }
}

pub fn truth() -> Value {
    Value { kind: Some(Kind::Boolean(true)) }
}

pub fn array(items: Vec<Value>) -> Value {
    Value { kind: Some(Kind::Array(ValueArray { items })) }
}

pub fn map<'k>(pairs: impl IntoIterator<Item = (&'k str, Value)>) -> Value {
    let fields = pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Value { kind: Some(Kind::Map(ValueMap { fields })) }
}

impl Value {
    /// The value under keys.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(self, |value, key| match &value.kind {
            Some(Kind::Map(map)) => map.fields.get(*key),
            _ => None,
        })
    }

    /// Its text.
    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Some(Kind::RawBytes(bytes)) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }
}

impl Log {
    /// A log as Vector writes it today: fields, and metadata in both places.
    pub fn new<'k>(
        fields: impl IntoIterator<Item = (&'k str, Value)>,
        metadata: impl IntoIterator<Item = (&'k str, Value)>,
    ) -> Log {
        let metadata = map(metadata);
        Log {
            fields: fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            value: None,
            metadata: Some(metadata.clone()),
            metadata_full: Some(Metadata {
                value: Some(metadata),
                source_id: Some("in".to_owned()),
                source_type: Some("file".to_owned()),
                secrets: Some(Secrets { entries: [("token".to_owned(), "x".to_owned())].into() }),
                source_event_id: vec![7; 16],
            }),
        }
    }

    /// The same with its fields as one value, as it is written where the root may be anything.
    pub fn rooted(self) -> Log {
        let fields = [(".".to_owned(), Value { kind: Some(Kind::Null(0)) })].into();
        Log { value: Some(Value { kind: Some(Kind::Map(ValueMap { fields: self.fields })) }), fields, ..self }
    }

    /// Its fields, wherever they are.
    pub fn root(&self) -> Value {
        let fields = || Value { kind: Some(Kind::Map(ValueMap { fields: self.fields.clone() })) };
        self.value.clone().unwrap_or_else(fields)
    }

    /// A value of its metadata.
    pub fn meta(&self, path: &[&str]) -> Option<&Value> {
        self.metadata_full.as_ref()?.value.as_ref()?.at(path)
    }

    /// As an event.
    pub fn event(self) -> EventWrapper {
        EventWrapper { event: Some(Event::Log(self)) }
    }
}

impl Metric {
    /// A count of a template's records as `log_to_metric` makes it.
    pub fn count(template_id: &str, source: &str, records: f64) -> Metric {
        let tags = [("template_id", template_id), ("source", source)];
        let list = |value: &str| TagValues { values: vec![TagValue { value: Some(value.to_owned()) }] };
        Metric {
            name: "template_records".to_owned(),
            namespace: "oddline".to_owned(),
            timestamp: Some(Timestamp { seconds: 1_763_000_000, nanos: 5 }),
            counter: Some(Number { value: records }),
            tags_v1: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            tags_v2: tags.iter().map(|(key, value)| ((*key).to_owned(), list(value))).collect(),
            ..Metric::default()
        }
    }

    /// As an event.
    pub fn event(self) -> EventWrapper {
        EventWrapper { event: Some(Event::Metric(self)) }
    }
}
