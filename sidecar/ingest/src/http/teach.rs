//! `POST /v1/learn`: messages known as normal, taught while records flow. `POST /v1/check`: one message, judged as if it
//! came now. Both take JSON (strings are messages, objects are records) or plain text; how they are learned and judged
//! is not known here.

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use oddline_analyze::ports::{BackendError, FailureKind, Learned, Teacher};
use oddline_codec::{Edit, TagStyle, Tags, json};
use oddline_engine::{Record, Settings};
use serde_json::{json, value::RawValue};
use tokio::time::timeout;

use super::{
    body::Form,
    request::{self, Refusal, content_type, unsupported},
};
use crate::{Limits, annotate::Screening, budget::Budget, events::Events};

/// The tags that records of these two ways in have.
pub const LEARN_TAG: &str = "learn";
const CHECK_TAG: &str = "check";
/// Longest time for learning one body.
const PATIENCE: Duration = Duration::from_secs(120);
const FORMS: &str = "application/json, application/x-ndjson, text/plain";

/// What requests are answered with.
#[derive(Clone)]
pub struct Teach {
    /// Learns and judges.
    pub teacher: Arc<dyn Teacher>,
    /// Finds messages in records.
    pub screening: Screening,
    /// Bounds.
    pub limits: Limits,
    /// Bytes in flight, shared with the other ways in.
    pub budget: Budget,
    /// Counters.
    pub events: Arc<Events>,
}

/// The routes.
pub fn router(teach: Teach) -> Router {
    Router::new().route("/v1/learn", post(learn)).route("/v1/check", post(check)).with_state(Arc::new(teach))
}

async fn learn(State(teach): State<Arc<Teach>>, request: Request) -> Response {
    match teach.learn(request).await {
        Ok((messages, Learned { templates, known })) => {
            Json(json!({ "messages": messages, "templates": templates, "known": known })).into_response()
        }
        Err(refusal) => teach.refuse(refusal),
    }
}

async fn check(State(teach): State<Arc<Teach>>, request: Request) -> Response {
    match teach.check(request).await {
        Ok(record) => ([(header::CONTENT_TYPE, "application/json")], record).into_response(),
        Err(refusal) => teach.refuse(refusal),
    }
}

/// One thing to learn from or to judge.
enum Item<'t> {
    Message(Cow<'t, [u8]>),
    Record(&'t [u8]),
}

impl Teach {
    fn refuse(&self, refusal: Refusal) -> Response {
        self.events.http_refused.add(1);
        refusal.into_response()
    }

    async fn learn(&self, request: Request) -> Result<(usize, Learned), Refusal> {
        let form = content_type(request.headers()).to_owned();
        let text = request::read_lesson(request, &self.limits, &self.budget).await?;
        let text = &text.bytes;
        let items = if is_text(&form) { self.lines(text)? } else { self.values(&form, text)? };
        let picker = self.screening.picker();
        let mut records = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            records.push(match item {
                Item::Message(message) => Record::from_line(LEARN_TAG.as_bytes(), message),
                Item::Record(record) => {
                    let mut picking = picker.start(LEARN_TAG.as_bytes());
                    json::walk(record, &mut picking).map_err(|error| invalid(place, items.len(), &error))?;
                    picking.finish()
                }
            });
        }
        let learning = timeout(PATIENCE, self.teacher.learn(records)).await;
        let late = |_| {
            let why = format!("not learned within {PATIENCE:?}; what was learned stays, send less at a time");
            Refusal(StatusCode::SERVICE_UNAVAILABLE, "too_slow", why)
        };
        Ok((items.len(), learning.map_err(late)?.map_err(|error| failed(&error))?))
    }

    /// Lines that are not empty.
    fn lines<'t>(&self, text: &'t [u8]) -> Result<Vec<Item<'t>>, Refusal> {
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
        let mut lines = lines.filter(|line| !line.is_empty()).map(|line| Item::Message(line.into()));
        let items: Vec<_> = lines.by_ref().take(self.limits.http_records).collect();
        if lines.next().is_some() {
            let why = format!("body has more than {} messages (http_records)", self.limits.http_records);
            return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, "too_many_records", why));
        }
        Ok(items)
    }

    fn values<'t>(&self, form: &str, text: &'t [u8]) -> Result<Vec<Item<'t>>, Refusal> {
        let form = Form::of(form).ok_or_else(|| unsupported(form, FORMS))?;
        let values = request::split(form, text, &self.limits)?;
        let all = values.len();
        let item = |(place, value): (usize, &&'t RawValue)| {
            item(value, || format!("message {} of {all}", place + 1))
        };
        values.iter().enumerate().map(item).collect()
    }

    async fn check(&self, request: Request) -> Result<Body, Refusal> {
        let form = content_type(request.headers()).to_owned();
        let lesson = request::read_lesson(request, &self.limits, &self.budget).await?;
        let text = &lesson.bytes;
        let item = if is_text(&form) {
            Item::Message(text.trim_ascii_end().into())
        } else if Form::of(&form) == Some(Form::Array) {
            let value = serde_json::from_slice(text).map_err(|error| {
                Refusal(StatusCode::BAD_REQUEST, "invalid_message", format!("body is not JSON: {error}"))
            })?;
            item(value, || "body".to_owned())?
        } else {
            return Err(unsupported(&form, "application/json, text/plain"));
        };
        let picker = self.screening.picker();
        let mut picking = picker.start(CHECK_TAG.as_bytes());
        let (record, written) = match &item {
            Item::Message(message) => {
                let written = json!({ "message": String::from_utf8_lossy(message) }).to_string().into_bytes();
                (Record::from_line(CHECK_TAG.as_bytes(), message), written)
            }
            Item::Record(written) => {
                json::walk(written, &mut picking).map_err(|error| invalid(0, 1, &error))?;
                (picking.finish(), written.to_vec())
            }
        };
        let verdict =
            self.teacher.check(record, &json::Walked(&written)).await.map_err(|error| failed(&error))?;
        let tags = Tags::of(&verdict, &self.screening.model());
        // In the form that needs no configuration to be read.
        let style = TagStyle::of(&Settings::default());
        let mut out = Vec::with_capacity(written.len() + 512);
        json::splice(&written, &Edit::tag(&style, &tags), &mut out).map_err(|error| invalid(0, 1, &error))?;
        drop(lesson);
        request::answer(out, &self.limits, &self.budget)
    }
}

fn is_text(content_type: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/plain")
}

/// A JSON string as a message, an object as a record; `which` names the value in a refusal.
fn item<'t>(value: &'t RawValue, which: impl Fn() -> String) -> Result<Item<'t>, Refusal> {
    let text = value.get();
    if text.starts_with('{') {
        return Ok(Item::Record(text.as_bytes()));
    }
    serde_json::from_str::<String>(text).map(|message| Item::Message(message.into_bytes().into())).map_err(
        |_| {
            let why = format!("{} is neither a string nor an object", which());
            Refusal(StatusCode::BAD_REQUEST, "invalid_message", why)
        },
    )
}

fn invalid(place: usize, all: usize, error: &oddline_codec::Unreadable) -> Refusal {
    let why = format!("message {} of {all}: {error}", place + 1);
    Refusal(StatusCode::BAD_REQUEST, "invalid_message", why)
}

fn failed(error: &BackendError) -> Refusal {
    let (status, code) = match error.kind {
        FailureKind::Unavailable | FailureKind::Failed => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        FailureKind::Rejected => (StatusCode::CONFLICT, "rejected"),
        FailureKind::Bug => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    };
    Refusal(status, code, error.message.clone())
}

impl std::fmt::Debug for Teach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Teach").field("limits", &self.limits).finish_non_exhaustive()
    }
}
