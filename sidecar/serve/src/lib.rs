//! What is known about the sidecar itself, over HTTP: `/health`, `/ready`, `/metrics`; and what operators say and ask
//! while it runs, [`api`].
//!
//! * Takes the [`Readiness`] that `app` sets, sources of [`Figure`](oddline_analyze::events::Figure)s, and an analysis.
//! * Gives an axum router; whoever has a listener mounts it.
//! * Must not know how records come in, what they hold, or any backend: metrics carry counts and source names only.
//!
//! ```
//! use std::sync::Arc;
//! use oddline_serve::{Metrics, Readiness, router};
//!
//! let readiness = Arc::new(Readiness::waiting_for(["state"]));
//! assert!(!readiness.is_ready());
//! readiness.met("state");
//! assert!(readiness.is_ready());
//! let _router = router(readiness, Metrics::default());
//! ```
#![forbid(unsafe_code)]

pub mod api;
mod error;
mod health;
mod metrics;

use std::sync::Arc;

use axum::{Json, Router, extract::State, http::header, routing::get};

pub use health::Readiness;
pub use metrics::{Latency, Metrics};

/// What `/` says: whoever finds the port finds the way.
const INDEX: &str = "oddline sidecar\n/health   200 while the process runs\n/ready    200 once records can be judged, 503 \
                     with what is missing\n/metrics  counters in OpenMetrics text\n";

/// The three endpoints and an index.
pub fn router(readiness: Arc<Readiness>, metrics: Metrics) -> Router {
    let ready = get(|State(readiness): State<Arc<Readiness>>| async move {
        let (status, body) = readiness.answer();
        (status, Json(body))
    });
    let text = metrics::CONTENT_TYPE;
    let metrics = Arc::new(metrics);
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", ready.with_state(readiness))
        .route("/metrics", get(move || async move { ([(header::CONTENT_TYPE, text)], metrics.text()) }))
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::{Request, StatusCode},
    };
    use tower::ServiceExt;

    use super::*;

    async fn ask(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn alive_before_it_is_ready() {
        let readiness = Arc::new(Readiness::waiting_for(["forward listener", "embedder"]));
        let router = router(readiness.clone(), Metrics::default());
        assert_eq!(ask(&router, "/health").await.0, StatusCode::OK);
        readiness.met("forward listener");
        let (status, body) = ask(&router, "/ready").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body, r#"{"ready":false,"waiting_for":["embedder"]}"#);
        readiness.met("embedder");
        assert_eq!(
            ask(&router, "/ready").await,
            (StatusCode::OK, r#"{"ready":true,"waiting_for":[]}"#.into())
        );
        readiness.lost("embedder");
        assert_eq!(ask(&router, "/ready").await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ask(&router, "/nothing").await.0, StatusCode::NOT_FOUND);
        assert!(ask(&router, "/").await.1.contains("/metrics"));
    }
}
