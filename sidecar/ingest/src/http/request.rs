//! The body of a request with records in it, read within limits of size, time and memory; and refusals.

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::body::{self, BodyError, Form};
use crate::{
    Limits,
    budget::{Budget, Held},
    forward::{expand, frame::Compression},
};

/// A refused request: status, code, and one line for a person.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) &'static str, pub(super) String);

/// The text of a request, and its bytes and those of what it becomes in the budget: taken as long as this lives.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) bytes: Vec<u8>,
    /// When all of the body had come.
    pub(super) arrived: Instant,
    _held: Vec<Held>,
}

/// Form and text of a request.
pub(super) async fn read(
    request: Request,
    limits: &Limits,
    budget: &Budget,
) -> Result<(Form, Text), Refusal> {
    let form = form(request.headers())?;
    let (packed, frame) = Packed::read(request, limits, budget).await?;
    let arrived = Instant::now();
    let mut more = budget.expansion(packed.bound(limits)).await;
    let bytes = packed.expand(limits).await?;
    more.shrink(bytes.len());
    Ok((form, Text { bytes, arrived, _held: vec![frame, more] }))
}

/// The text of a request of any form that may be kept for minutes: it holds nothing that others wait for.
pub(super) async fn read_lesson(request: Request, limits: &Limits, budget: &Budget) -> Result<Text, Refusal> {
    let (packed, frame) = Packed::read(request, limits, budget).await?;
    let arrived = Instant::now();
    // Twice, for messages are copied where they are written with escapes.
    let mut lesson = budget.try_lesson(2 * packed.bound(limits)).ok_or_else(|| busy(limits))?;
    drop(frame);
    let bytes = packed.expand(limits).await?;
    lesson.shrink(2 * bytes.len());
    Ok(Text { bytes, arrived, _held: vec![lesson] })
}

/// An answer's body: held until it has been written or its connection is gone, for its reader may be slow. As it may be
/// kept for as long as a lesson, it waits for nothing, and leaves as much to others.
pub(super) fn answer(bytes: Vec<u8>, limits: &Limits, budget: &Budget) -> Result<Body, Refusal> {
    let held = budget.try_lesson(bytes.len()).ok_or_else(|| busy(limits))?;
    Ok(Bytes::from_owner(Answer { bytes, _held: held }).into())
}

/// Part of the buffer itself: what is being written is the connection's, and no longer the body's.
struct Answer {
    bytes: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn busy(limits: &Limits) -> Refusal {
    let text = format!("{} bytes are in flight (in_flight_bytes); try again", limits.in_flight_bytes);
    Refusal(StatusCode::SERVICE_UNAVAILABLE, "overloaded", text)
}

/// The records of a text.
pub(super) fn split<'t>(form: Form, text: &'t [u8], limits: &Limits) -> Result<Vec<&'t RawValue>, Refusal> {
    body::split(form, text, limits.http_records).map_err(|error| match error {
        BodyError::TooMany(_) => {
            Refusal(StatusCode::PAYLOAD_TOO_LARGE, "too_many_records", error.to_string())
        }
        BodyError::Invalid(_) => Refusal(StatusCode::BAD_REQUEST, "invalid_records", error.to_string()),
    })
}

/// Bytes to hold for a request: what it announces, or else all it may have.
fn expected(headers: &HeaderMap, limits: &Limits) -> usize {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    announced.unwrap_or(limits.frame_bytes).min(limits.frame_bytes)
}

/// A body as it came.
enum Packed {
    Plain(Bytes),
    Gzip(Bytes),
}

impl Packed {
    /// The whole body, and its bytes in the budget.
    async fn read(request: Request, limits: &Limits, budget: &Budget) -> Result<(Packed, Held), Refusal> {
        let (parts, body) = request.into_parts();
        let gzip = is_gzip(&parts.headers)?;
        // A client can be told to come again, so nobody waits here.
        let held = budget.try_frame(expected(&parts.headers, limits)).ok_or_else(|| busy(limits))?;
        let limit = limits.frame_bytes;
        let bytes = tokio::time::timeout(limits.frame, to_bytes(body, limit + 1)).await;
        let over = || too_large(format!("body has more than {limit} bytes (frame_bytes)"));
        let bytes = bytes
            .map_err(|_| {
                Refusal(StatusCode::REQUEST_TIMEOUT, "too_slow", "body did not arrive in time".to_owned())
            })?
            .map_err(|_| over())?;
        if bytes.len() > limit {
            return Err(over());
        }
        Ok((if gzip { Packed::Gzip(bytes) } else { Packed::Plain(bytes) }, held))
    }

    /// Most bytes that it may become.
    fn bound(&self, limits: &Limits) -> usize {
        match self {
            Packed::Plain(bytes) => bytes.len(),
            Packed::Gzip(bytes) => expand::bound(bytes.len(), limits).0,
        }
    }

    async fn expand(self, limits: &Limits) -> Result<Vec<u8>, Refusal> {
        let bytes = match self {
            Packed::Plain(bytes) => return Ok(bytes.into()),
            Packed::Gzip(bytes) => bytes,
        };
        let limits = limits.clone();
        let work = tokio::task::spawn_blocking(move || expand::expand(Compression::Gzip, &bytes, &limits));
        match work.await {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(error @ expand::ExpandError::TooLarge { .. })) => Err(too_large(error.to_string())),
            Ok(Err(error)) => Err(Refusal(StatusCode::BAD_REQUEST, "invalid_encoding", error.to_string())),
            Err(error) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())),
        }
    }
}

fn too_large(error: String) -> Refusal {
    Refusal(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error)
}

fn form(headers: &HeaderMap) -> Result<Form, Refusal> {
    let name = content_type(headers);
    Form::of(name).ok_or_else(|| unsupported(name, "application/json, application/x-ndjson"))
}

pub(super) fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|name| name.to_str().ok()).unwrap_or_default()
}

pub(super) fn unsupported(name: &str, supported: &str) -> Refusal {
    let name: String = name.chars().take(100).collect();
    let text = format!("content-type is `{name}`; supported: {supported}");
    Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", text)
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: usize = 96 << 10;

    fn gzip() -> Request {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&[b' '; TEXT]).unwrap();
        let body = encoder.finish().unwrap();
        let request = Request::post("/").header("content-type", "application/json");
        let request = request.header("content-encoding", "gzip").header("content-length", body.len());
        request.body(Body::from(body)).unwrap()
    }

    #[tokio::test]
    async fn what_came_of_a_compressed_body_is_held_as_long_as_it_lives() {
        let (limits, all) = (Limits { expansion_ratio: 1_000, ..Limits::default() }, 6 << 20);
        let budget = Budget::new(all);
        let (_, text) = read(gzip(), &limits, &budget).await.unwrap();
        assert_eq!(text.bytes.len(), TEXT);
        let held = all - budget.free();
        assert!((TEXT..TEXT + (64 << 10)).contains(&held), "{held}");
        drop(text);
        let lesson = read_lesson(gzip(), &limits, &budget).await.unwrap();
        assert_eq!(all - budget.free(), 2 * TEXT);
        drop(lesson);
        assert_eq!(budget.free(), all);
    }
}
