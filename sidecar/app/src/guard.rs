//! A bearer token before an HTTP router.

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    http::{StatusCode, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;

/// The router behind `Authorization: Bearer <token>`, but for the `open` paths; as it is if there is no token.
pub(crate) fn guarded(router: Router, token: Option<&str>, open: &'static [&'static str]) -> Router {
    let Some(token) = token else { return router };
    let wanted: Arc<str> = format!("Bearer {token}").into();
    router.layer(from_fn(move |request: Request, next: Next| {
        let wanted = wanted.clone();
        async move {
            let given =
                request.headers().get(header::AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
            let admitted = open.contains(&request.uri().path()) || bool::from(given.ct_eq(wanted.as_bytes()));
            if admitted { next.run(request).await } else { refused() }
        }
    }))
}

fn refused() -> Response {
    let body =
        r#"{"error":{"code":"unauthorized","message":"send the header `Authorization: Bearer <token>`"}}"#;
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::WWW_AUTHENTICATE, "Bearer")];
    (StatusCode::UNAUTHORIZED, headers, body).into_response()
}
