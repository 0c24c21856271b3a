//! What stands before an HTTP router: a bearer token, and a wall to web pages.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use axum::{
    Json, Router,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;

/// Where Vector's sink sends records, which then are nowhere else.
pub(crate) const DETOUR: &str = "/v1/detour";

/// The router behind `Authorization: Bearer <token>`, but for the `open` paths; as it is if there is no token.
pub(crate) fn guarded(router: Router, token: Option<&str>, open: &'static [&'static str]) -> Router {
    let Some(token) = token else { return router };
    let wanted: Arc<str> = format!("Bearer {token}").into();
    let refusals = Arc::new(AtomicU64::new(0));
    router.layer(from_fn(move |request: Request, next: Next| {
        let wanted = wanted.clone();
        let refusals = refusals.clone();
        async move {
            let given =
                request.headers().get(header::AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
            let admitted = open.contains(&request.uri().path()) || bool::from(given.ct_eq(wanted.as_bytes()));
            if admitted {
                return next.run(request).await;
            }
            let path = request.uri().path();
            let refusals = refusals.fetch_add(1, Relaxed) + 1;
            if refusals.is_power_of_two() {
                tracing::warn!(
                    path,
                    refusals,
                    "a request without the token, or with another one, was refused"
                );
            }
            refused(path == DETOUR)
        }
    }))
}

/// The router, closed to web pages: what one of them asks of another origin names its own, and what it asks of its own,
/// after its name was made to mean this machine (DNS rebinding), has that name in `Host`. `listen` is the address as
/// configured; names are judged only where it is a loopback address, which nobody else reaches by a name.
pub(crate) fn without_browsers(router: Router, listen: SocketAddr) -> Router {
    router.layer(from_fn(move |request: Request, next: Next| async move {
        match against(request.headers(), listen) {
            Some(why) => forbidden(why),
            None => next.run(request).await,
        }
    }))
}

/// The router, closed to what web pages send: browsers name the page in `Origin` with every POST. Names in `Host` are left
/// alone, for shippers may have one of their own for this machine.
pub(crate) fn without_pages(router: Router) -> Router {
    router.layer(from_fn(|request: Request, next: Next| async move {
        if request.headers().contains_key(header::ORIGIN) {
            forbidden(OF_A_PAGE)
        } else {
            next.run(request).await
        }
    }))
}

/// What is held against a request, if anything. Without `Host` it is no browser's.
fn against(headers: &HeaderMap, listen: SocketAddr) -> Option<&'static str> {
    if headers.contains_key(header::ORIGIN) {
        return Some(OF_A_PAGE);
    }
    let local = |host: &HeaderValue| host.to_str().is_ok_and(is_local);
    let foreign = listen.ip().is_loopback() && !headers.get_all(header::HOST).iter().all(local);
    foreign.then_some("the header `Host` must be localhost or a loopback address, such as 127.0.0.1")
}

/// Whether a `Host` means this machine whatever a name server says; the configured address is among these.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

const OF_A_PAGE: &str = "requests of web pages (header `Origin`) are not answered";

fn forbidden(why: &str) -> Response {
    let body = serde_json::json!({ "error": { "code": "forbidden", "message": why } });
    (StatusCode::FORBIDDEN, Json(body)).into_response()
}

/// `keeps`: whoever asks throws away what is refused by less than 500, and the token may be put right.
fn refused(keeps: bool) -> Response {
    let body =
        r#"{"error":{"code":"unauthorized","message":"send the header `Authorization: Bearer <token>`"}}"#;
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::WWW_AUTHENTICATE, "Bearer")];
    let status = if keeps { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::UNAUTHORIZED };
    (status, headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: &str = "127.0.0.1:24286";

    fn refusal(listen: &str, given: &[(header::HeaderName, &'static str)]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(name, HeaderValue::from_static(value));
        }
        against(&headers, listen.parse().unwrap())
    }

    #[test]
    fn a_page_whose_name_was_made_to_mean_this_machine_is_not_answered() {
        for host in
            ["evil.example", "evil.example:24286", "127.0.0.1.evil.example", "10.0.0.1:24286", "", "::"]
        {
            let why = refusal(LOOPBACK, &[(header::HOST, host)]);
            assert!(why.is_some_and(|why| why.contains("`Host`")), "{host}");
        }
        let two = [(header::HOST, "localhost"), (header::HOST, "evil.example")];
        assert!(refusal(LOOPBACK, &two).is_some());
    }

    #[test]
    fn programs_on_this_machine_are_answered_by_whatever_name_it_has_here() {
        for host in [
            "127.0.0.1:24286",
            "127.0.0.1",
            "127.8.0.9:1",
            "localhost",
            "LocalHost:9",
            "[::1]:24286",
            "[::1]",
        ] {
            assert_eq!(refusal(LOOPBACK, &[(header::HOST, host)]), None, "{host}");
        }
        assert_eq!(refusal(LOOPBACK, &[]), None, "no browser leaves it out");
    }

    #[test]
    fn where_others_may_come_they_have_names_for_it() {
        assert_eq!(refusal("0.0.0.0:24286", &[(header::HOST, "logs.example")]), None);
        assert!(refusal("0.0.0.0:24286", &[(header::ORIGIN, "http://logs.example")]).is_some());
        assert!(refusal(LOOPBACK, &[(header::ORIGIN, "null"), (header::HOST, "localhost")]).is_some());
    }
}
