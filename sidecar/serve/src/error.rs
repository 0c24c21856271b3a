//! From what went wrong to a status and one line for a person: decided here alone.

use std::time::Duration;

use axum::{
    Json,
    extract::{Request, rejection::BytesRejection},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use oddline_analyze::{operate::Refused, ports::FailureKind};
use serde_json::json;
use tokio::time::timeout;

/// Longest time for one request, its body's arrival included.
const PATIENCE: Duration = Duration::from_secs(30);

/// A refused request.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
        ApiError { status: StatusCode::BAD_REQUEST, code: "invalid", message: message.into() }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> ApiError {
        let (status, code) = match &refused {
            Refused::Unknown(_) => (StatusCode::NOT_FOUND, "unknown"),
            Refused::OverLimit(_) => (StatusCode::CONFLICT, "over_limit"),
            Refused::Backend(error) => match error.kind {
                FailureKind::Unavailable | FailureKind::Failed => {
                    (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
                }
                FailureKind::Rejected => (StatusCode::CONFLICT, "rejected"),
                FailureKind::Bug => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            },
        };
        ApiError { status, code, message: refused.to_string() }
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> ApiError {
        let status = rejection.status();
        let is_long = status == StatusCode::PAYLOAD_TOO_LARGE;
        let limit = crate::api::MAX_BODY_BYTES;
        let message =
            if is_long { format!("body has more than {limit} bytes") } else { rejection.body_text() };
        ApiError { status, code: if is_long { "too_large" } else { "invalid" }, message }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code, "message": self.message } });
        (self.status, Json(body)).into_response()
    }
}

/// Ends a request that takes too long, such as one whose body never arrives.
pub(crate) async fn in_time(request: Request, next: Next) -> Response {
    timeout(PATIENCE, next.run(request)).await.unwrap_or_else(|_| {
        let message = format!("not done within {PATIENCE:?}");
        ApiError { status: StatusCode::REQUEST_TIMEOUT, code: "too_slow", message }.into_response()
    })
}
