//! What operators say and ask over HTTP while records flow: exceptions, reports, recent findings. Takes small JSON
//! bodies, gives JSON; whoever has a listener mounts it, and guards it.

mod answer;
mod ask;

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, Path, Query, State,
        rejection::{BytesRejection, QueryRejection},
    },
    http::StatusCode,
    routing::{delete, get, post},
};
use oddline_analyze::{Analyzer, findings::MAX_FINDINGS, operate::Refused};
use oddline_engine::TemplateId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{ApiError, in_time};

use ask::{About, Wish};

/// Longest body.
pub const MAX_BODY_BYTES: usize = 64 << 10;
/// Findings given if nobody says how many.
const USUAL_FINDINGS: usize = 100;

type Answer = Result<(StatusCode, Json<Value>), ApiError>;

/// The routes.
pub fn router(analyzer: Arc<Analyzer>) -> Router {
    Router::new()
        .route("/v1/exceptions", get(exceptions).post(except))
        .route("/v1/exceptions/{name}", delete(unexcept))
        .route("/v1/reports", post(report))
        .route("/v1/findings", get(findings))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(axum::middleware::from_fn(in_time))
        .with_state(analyzer)
}

async fn exceptions(State(analyzer): State<Arc<Analyzer>>) -> Json<Value> {
    let all: Vec<Value> = analyzer.exceptions().iter().map(answer::exception).collect();
    Json(json!({ "exceptions": all }))
}

async fn except(State(analyzer): State<Arc<Analyzer>>, body: Result<Bytes, BytesRejection>) -> Answer {
    let Wish { about, expires_seconds } = ask::wish(&body?)?;
    let expires = expires_seconds.map(|seconds| analyzer.now().saturating_add(seconds));
    let exception = match about {
        About::Rule(rule) => analyzer.silence(&rule, expires).await?,
        about => analyzer.except(&ask::template(&analyzer, about).await?, expires)?,
    };
    Ok((kept(&analyzer, StatusCode::CREATED).await, Json(answer::exception(&exception))))
}

/// A template by its id, or a rule by its name.
async fn unexcept(
    State(analyzer): State<Arc<Analyzer>>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let of_template = TemplateId::parse(&name).map(|id| analyzer.unexcept(id));
    match of_template {
        Some(Ok(())) => {}
        // A rule may have a name that looks like an id.
        Some(Err(error)) => analyzer.unsilence(&name).await.map_err(|_| error)?,
        None => analyzer.unsilence(&name).await?,
    }
    Ok(kept(&analyzer, StatusCode::NO_CONTENT).await)
}

async fn report(State(analyzer): State<Arc<Analyzer>>, body: Result<Bytes, BytesRejection>) -> Answer {
    let Wish { about, expires_seconds } = ask::wish(&body?)?;
    if expires_seconds.is_some() || matches!(about, About::Rule(_)) {
        return Err(ApiError::invalid(
            "a report takes one of message, template, template_id, and nothing else",
        ));
    }
    let text = ask::template(&analyzer, about).await?;
    analyzer.report(&text).await.map_err(Refused::from)?;
    let id = TemplateId::of(&text).to_string();
    let told = Json(json!({ "template_id": id, "template": &*text }));
    Ok((kept(&analyzer, StatusCode::OK).await, told))
}

/// Saves what was said: the status if the disk took it, else 202, for it holds and will be tried again.
async fn kept(analyzer: &Analyzer, done: StatusCode) -> StatusCode {
    if analyzer.keep().await { done } else { StatusCode::ACCEPTED }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    limit: Option<usize>,
}

async fn findings(
    State(analyzer): State<Arc<Analyzer>>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let limit = page.map_err(|error| ApiError::invalid(error.body_text()))?.0.limit.unwrap_or(USUAL_FINDINGS);
    if !(1..=MAX_FINDINGS).contains(&limit) {
        return Err(ApiError::invalid(format!("limit is {limit}, not within 1..={MAX_FINDINGS}")));
    }
    let all: Vec<Value> = analyzer.findings(limit).iter().map(answer::finding).collect();
    Ok(Json(json!({ "findings": all })))
}
