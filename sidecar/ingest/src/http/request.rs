//! The body of a request with records in it, read within limits of size, time and memory; and refusals.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::value::RawValue;

use super::body::{self, BodyError, Form};
use crate::{
    Limits,
    budget::{Budget, Held},
    forward::{expand, frame::Compression},
};

/// A refused request: status, code, and one line for a person.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) &'static str, pub(super) String);

/// Form and text of a request, and what it holds of the budget.
pub(super) async fn read(
    request: Request,
    limits: &Limits,
    budget: &Budget,
) -> Result<(Form, Vec<u8>, Held), Refusal> {
    let form = form(request.headers())?;
    let (text, held) = read_text(request, limits, budget).await?;
    Ok((form, text, held))
}

/// The text of a request, whatever its form, and what it holds of the budget.
pub(super) async fn read_text(
    request: Request,
    limits: &Limits,
    budget: &Budget,
) -> Result<(Vec<u8>, Held), Refusal> {
    let (parts, body) = request.into_parts();
    let gzip = is_gzip(&parts.headers)?;
    let busy = || {
        let text = format!("{} bytes are in flight (in_flight_bytes); try again", limits.in_flight_bytes);
        Refusal(StatusCode::SERVICE_UNAVAILABLE, "overloaded", text)
    };
    // A client can be told to come again, so nobody waits here.
    let held = budget.try_frame(expected(&parts.headers, limits)).ok_or_else(busy)?;
    Ok((text(body, gzip, limits, budget).await?, held))
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

async fn text(body: Body, gzip: bool, limits: &Limits, budget: &Budget) -> Result<Vec<u8>, Refusal> {
    let limit = limits.frame_bytes;
    let bytes = tokio::time::timeout(limits.frame, to_bytes(body, limit + 1)).await;
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
    let limits = limits.clone();
    let _held = budget.expansion(expand::bound(bytes.len(), &limits).0).await;
    let work = tokio::task::spawn_blocking(move || expand::expand(Compression::Gzip, &bytes, &limits));
    match work.await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error @ expand::ExpandError::TooLarge { .. })) => Err(too_large(error.to_string())),
        Ok(Err(error)) => Err(Refusal(StatusCode::BAD_REQUEST, "invalid_encoding", error.to_string())),
        Err(error) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())),
    }
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
