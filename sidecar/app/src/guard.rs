//! What stands before an HTTP router: a bearer token, and a wall to web pages.

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

/// The router, closed to web pages: whatever one of them asks of an address on this machine names its origin.
pub(crate) fn without_browsers(router: Router) -> Router {
    router.layer(from_fn(|request: Request, next: Next| async move {
        if request.headers().contains_key(header::ORIGIN) {
            let body = r#"{"error":{"code":"forbidden","message":"requests of web pages (header `Origin`) are not answered"}}"#;
            return (StatusCode::FORBIDDEN, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        }
        next.run(request).await
    }))
}

fn refused() -> Response {
    let body =
        r#"{"error":{"code":"unauthorized","message":"send the header `Authorization: Bearer <token>`"}}"#;
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::WWW_AUTHENTICATE, "Bearer")];
    (StatusCode::UNAUTHORIZED, headers, body).into_response()
}
