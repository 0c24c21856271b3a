//! `POST /v1/records`: JSON records in, the same records with their tags out, in the same form. An axum router that
//! `app` mounts (and guards); listeners and tokens are not known here.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use oddline_analyze::ports::{Received, Seen};
use oddline_codec::{Edit, json};
use oddline_engine::Verdict;
use serde_json::value::RawValue;

use crate::{
    Limits,
    annotate::{Annotator, GROUP},
    budget::Budget,
    events::Events,
    forward::{expand, frame::Compression},
};

use self::body::Form;

mod body;

/// The tag that records of this way in have.
pub const HTTP_TAG: &str = "http";

/// What requests are answered with.
#[derive(Clone, Debug)]
pub struct Http {
    /// Judges and tags.
    pub annotator: Annotator,
    /// Bounds.
    pub limits: Limits,
    /// Bytes in flight, shared with the other ways in.
    pub budget: Budget,
    /// Counters.
    pub events: Arc<Events>,
}

/// A refused request: status, code, and one line for a person.
#[derive(Debug)]
struct Refusal(StatusCode, &'static str, String);

/// The routes.
pub fn router(http: Http) -> Router {
    Router::new().route("/v1/records", post(records)).with_state(Arc::new(http))
}

async fn records(State(http): State<Arc<Http>>, request: Request) -> Response {
    match http.answer(request).await {
        Ok((form, body)) => ([(header::CONTENT_TYPE, form.content_type())], body).into_response(),
        Err(refusal) => {
            http.events.http_refused.add(1);
            refusal.into_response()
        }
    }
}

impl Http {
    async fn answer(&self, request: Request) -> Result<(Form, Vec<u8>), Refusal> {
        let (parts, body) = request.into_parts();
        let form = form(&parts.headers)?;
        let gzip = is_gzip(&parts.headers)?;
        let busy = || {
            let text =
                format!("{} bytes are in flight (in_flight_bytes); try again", self.limits.in_flight_bytes);
            Refusal(StatusCode::SERVICE_UNAVAILABLE, "overloaded", text)
        };
        // A client can be told to come again, so nobody waits here.
        let _held = self.budget.try_frame(self.expected(&parts.headers)).ok_or_else(busy)?;
        let text = self.text(body, gzip).await?;
        let bad = |error: body::BodyError| match error {
            body::BodyError::TooMany(_) => {
                Refusal(StatusCode::PAYLOAD_TOO_LARGE, "too_many_records", error.to_string())
            }
            body::BodyError::Invalid(_) => {
                Refusal(StatusCode::BAD_REQUEST, "invalid_records", error.to_string())
            }
        };
        let records = body::split(form, &text, self.limits.http_records).map_err(bad)?;
        self.events.http_records_received.add(records.len());
        Ok((form, self.annotate(form, &records).await?))
    }

    /// Bytes to hold for a request: what it announces, or else all it may have.
    fn expected(&self, headers: &HeaderMap) -> usize {
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        announced.unwrap_or(self.limits.frame_bytes).min(self.limits.frame_bytes)
    }

    async fn text(&self, body: Body, gzip: bool) -> Result<Vec<u8>, Refusal> {
        let limit = self.limits.frame_bytes;
        let bytes = tokio::time::timeout(self.limits.frame, to_bytes(body, limit + 1)).await;
        let too_large = |error: String| Refusal(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error);
        let over = || too_large(format!("body has more than {limit} bytes (frame_bytes)"));
        let bytes = bytes
            .map_err(|_| {
                Refusal(StatusCode::REQUEST_TIMEOUT, "too_slow", "body did not arrive in time".to_owned())
            })?
            .map_err(|_| over())?;
        if bytes.len() > limit {
            return Err(over());
        }
        if !gzip {
            return Ok(bytes.into());
        }
        let limits = self.limits.clone();
        let _held = self.budget.expansion(expand::bound(bytes.len(), &limits).0).await;
        let work = tokio::task::spawn_blocking(move || expand::expand(Compression::Gzip, &bytes, &limits));
        match work.await {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(error @ expand::ExpandError::TooLarge { .. })) => Err(too_large(error.to_string())),
            Ok(Err(error)) => Err(Refusal(StatusCode::BAD_REQUEST, "invalid_encoding", error.to_string())),
            Err(error) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())),
        }
    }

    async fn annotate(&self, form: Form, records: &[&RawValue]) -> Result<Vec<u8>, Refusal> {
        let source: Arc<str> = HTTP_TAG.into();
        let mut out = Vec::new();
        form.begin(&mut out);
        for (number, group) in records.chunks(GROUP).enumerate() {
            let invalid = |place: usize, error: oddline_codec::Unreadable| {
                let text = format!("record {} of {}: {error}", number * GROUP + place + 1, records.len());
                Refusal(StatusCode::BAD_REQUEST, "invalid_record", text)
            };
            let received = |(place, record): (usize, &&RawValue)| {
                let local = self.screen(record).map_err(|error| invalid(place, error))?;
                Ok(Received { source: source.clone(), local })
            };
            let records: Result<Vec<Received>, Refusal> = group.iter().enumerate().map(received).collect();
            let see = || group.iter().map(|record| self.see(record)).collect();
            let verdicts = self.annotator.judge_seen(records?, see).await;
            for (place, (record, verdict)) in group.iter().zip(&verdicts).enumerate() {
                form.between(number == 0 && place == 0, &mut out);
                let tags = self.annotator.tags(verdict, None);
                json::splice(record.get().as_bytes(), &Edit::tag(&self.annotator.style, &tags), &mut out)
                    .map_err(|error| invalid(place, error))?;
            }
        }
        form.end(!records.is_empty(), &mut out);
        Ok(out)
    }

    /// A record as detectors see it; whoever sends records here without tags has none to leave out.
    fn see(&self, record: &RawValue) -> Option<Seen> {
        let body = json::Walked(record.get().as_bytes());
        Some(self.annotator.see(HTTP_TAG.as_bytes(), &body, ""))
    }

    fn screen(&self, record: &RawValue) -> Result<Verdict, oddline_codec::Unreadable> {
        let mut picking = self.annotator.picker.start(HTTP_TAG.as_bytes());
        let text = record.get().as_bytes();
        json::walk(text, &mut picking)?;
        Ok(self.annotator.analysis.screen_whole(&picking.finish(), &json::Walked(text)))
    }
}

fn form(headers: &HeaderMap) -> Result<Form, Refusal> {
    let name = headers.get(header::CONTENT_TYPE).and_then(|name| name.to_str().ok()).unwrap_or_default();
    Form::of(name).ok_or_else(|| {
        let text = format!(
            "content-type is `{}`; supported: application/json, application/x-ndjson",
            name.chars().take(100).collect::<String>()
        );
        Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", text)
    })
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Refusal> {
    match headers.get(header::CONTENT_ENCODING).map(header::HeaderValue::as_bytes) {
        None | Some(b"identity" | b"") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(_) => {
            let text = "content-encoding is not supported; supported: gzip, identity".to_owned();
            Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", text))
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Refusal(status, code, message) = self;
        let body = serde_json::json!({ "error": { "code": code, "message": message } }).to_string();
        (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}
