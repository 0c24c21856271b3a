//! `POST /v1/learn` and `POST /v1/check`: every form of a body, refusals by name, limits.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use oddline_analyze::ports::{Answer, BackendError, Learned, Teacher};
use oddline_engine::{Record, Verdict};
use oddline_ingest::{
    Budget, Limits,
    http::teach::{Teach, router},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{World, local};

/// Remembers what it was taught, and fails or hangs on request.
#[derive(Default)]
struct Pupil {
    taught: Mutex<Vec<String>>,
    failure: Mutex<Option<BackendError>>,
    hangs: bool,
}

impl Teacher for Pupil {
    fn learn<'a>(&'a self, records: Vec<Record<'a>>) -> Answer<'a, Learned> {
        Box::pin(async move {
            if self.hangs {
                std::future::pending::<()>().await;
            }
            if let Some(error) = self.failure.lock().unwrap().take() {
                return Err(error);
            }
            let mut taught = self.taught.lock().unwrap();
            taught.extend(records.iter().map(|record| String::from_utf8_lossy(&record.message).into_owned()));
            Ok(Learned { templates: records.len(), known: taught.len() })
        })
    }

    fn check<'a>(&'a self, record: Record<'a>, body: &dyn oddline_engine::Body) -> Answer<'a, Verdict> {
        let mut leaves = Leaves(0);
        body.walk(&mut leaves);
        Box::pin(async move {
            let message = String::from_utf8_lossy(&record.message).into_owned();
            Ok(Verdict { reason: Some(format!("{} leaves", leaves.0)), ..local(&message) })
        })
    }
}

struct Leaves(usize);

impl oddline_engine::Visitor<'_> for Leaves {
    fn enter(&mut self, _: &[u8]) -> bool {
        true
    }

    fn leave(&mut self) {}

    fn scalar(&mut self, _: &[u8], _: oddline_engine::Scalar<'_>) {
        self.0 += 1;
    }
}

async fn post(
    world: &World,
    pupil: &Arc<Pupil>,
    path: &str,
    content_type: &str,
    body: impl Into<Body>,
) -> (u16, Value) {
    let teach = Teach {
        teacher: pupil.clone(),
        screening: world.annotator().screening,
        limits: world.limits.clone(),
        budget: world.budget.clone(),
        events: world.events.clone(),
    };
    let request = Request::post(path).header("content-type", content_type).body(body.into()).unwrap();
    let response = router(teach).oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 64 << 20).await.unwrap();
    (status.as_u16(), serde_json::from_slice(&body).unwrap())
}

fn message(answer: &Value) -> &str {
    answer["error"]["message"].as_str().unwrap()
}

#[tokio::test]
async fn every_form_is_learned() {
    let (world, pupil) = (World::new(), Arc::new(Pupil::default()));
    let learn = async |content_type: &str, body: &'static str| {
        let (status, answer) = post(&world, &pupil, "/v1/learn", content_type, body).await;
        (status, answer, std::mem::take(&mut *pupil.taught.lock().unwrap()))
    };
    let (status, answer, taught) =
        learn("application/json", r#"["a\u001b[2J \"b\"", {"log":"c","level":"info"}]"#).await;
    assert_eq!((status, answer), (200, json!({"messages": 2, "templates": 2, "known": 2})));
    assert_eq!(taught, ["a\u{1b}[2J \"b\"", "c"], "objects are records");
    let (_, _, taught) = learn("application/x-ndjson", "\"a\"\n{\"message\":\"b\"}\n\n").await;
    assert_eq!(taught, ["a", "b"]);
    let (_, answer, taught) = learn("text/plain; charset=utf-8", "one\r\n\n{\"not\": json\ntwo").await;
    assert_eq!(taught, ["one", "{\"not\": json", "two"]);
    assert_eq!(answer["messages"], 3);
    assert_eq!(learn("application/json", "[]").await.1, json!({"messages": 0, "templates": 0, "known": 0}));
}

#[tokio::test]
async fn one_message_is_checked() {
    let (world, pupil) = (World::new(), Arc::new(Pupil::default()));
    let check = async |content_type: &str, body: &'static str| {
        post(&world, &pupil, "/v1/check", content_type, body).await.1
    };
    let answer = check("application/json", r#"{"log":"odd","n":{"deep":1}, "anomaly":"mine"}"#).await;
    assert_eq!(
        (&answer["anomaly"]["level"], &answer["anomaly_original"]),
        (&json!("medium"), &json!("mine"))
    );
    assert_eq!(answer["anomaly"]["reason"], "3 leaves", "all of the record is there for rules");
    for (content_type, body) in [("application/json", r#""odd thing""#), ("text/plain", "odd thing\n")] {
        let answer = check(content_type, body).await;
        assert_eq!(
            (&answer["message"], &answer["anomaly"]["template"]),
            (&json!("odd thing"), &json!("odd thing"))
        );
    }
}

#[tokio::test]
async fn refusals_name_what_is_wrong() {
    let (world, pupil) = (World::new(), Arc::new(Pupil::default()));
    let refused = async |path: &str, content_type: &str, body: &'static str| {
        let (status, answer) = post(&world, &pupil, path, content_type, body).await;
        (status, message(&answer).to_owned())
    };
    for (path, content_type, body, expected) in [
        (
            "/v1/learn",
            "application/json",
            "[\"a\",7]",
            (400, "message 2 of 2 is neither a string nor an object"),
        ),
        (
            "/v1/learn",
            "application/json",
            "[[\"a\"]]",
            (400, "message 1 of 1 is neither a string nor an object"),
        ),
        (
            "/v1/learn",
            "image/png",
            "x",
            (
                415,
                "content-type is `image/png`; supported: application/json, application/x-ndjson, text/plain",
            ),
        ),
        (
            "/v1/check",
            "application/x-ndjson",
            "\"a\"",
            (415, "content-type is `application/x-ndjson`; supported: application/json, text/plain"),
        ),
        ("/v1/check", "application/json", "[\"a\"]", (400, "body is neither a string nor an object")),
        (
            "/v1/check",
            "application/json",
            "{",
            (400, "body is not JSON: EOF while parsing an object at line 1 column 1"),
        ),
    ] {
        let (status, message) = refused(path, content_type, body).await;
        assert_eq!((status, message.as_str()), expected);
    }
    assert!(pupil.taught.lock().unwrap().is_empty(), "a body is learned whole or not at all");
    assert_eq!(world.events.http_refused.get(), 6);
    for (error, status) in [
        (BackendError::unavailable("embedder: away"), 503),
        (BackendError::rejected("the limit is 10"), 409),
        (BackendError::bug("what?"), 500),
    ] {
        let said = error.message.clone();
        *pupil.failure.lock().unwrap() = Some(error);
        assert_eq!(refused("/v1/learn", "text/plain", "x").await, (status, said));
    }
}

#[tokio::test]
async fn bodies_at_the_limit_one_over_and_ten_times() {
    let (mut world, pupil) = (World::new(), Arc::new(Pupil::default()));
    world.limits = Limits { frame_bytes: 2_000, http_records: 10, ..Limits::default() };
    for (path, content_type) in [("/v1/learn", "text/plain"), ("/v1/check", "text/plain")] {
        assert_eq!(post(&world, &pupil, path, content_type, "x".repeat(2_000)).await.0, 200, "{path}");
        for bytes in [2_001, 20_000] {
            let (status, answer) = post(&world, &pupil, path, content_type, "x".repeat(bytes)).await;
            assert_eq!((status, message(&answer)), (413, "body has more than 2000 bytes (frame_bytes)"));
        }
    }
    for (content_type, line) in [("text/plain", "x\n"), ("application/x-ndjson", "\"x\"\n")] {
        assert_eq!(post(&world, &pupil, "/v1/learn", content_type, line.repeat(10)).await.0, 200);
        for count in [11, 100] {
            let (status, answer) = post(&world, &pupil, "/v1/learn", content_type, line.repeat(count)).await;
            assert_eq!((status, &answer["error"]["code"]), (413, &json!("too_many_records")));
        }
    }
    let _all = world.budget.frame(usize::MAX).await;
    assert_eq!(post(&world, &pupil, "/v1/learn", "text/plain", "x").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn a_lesson_that_lasts_holds_nothing_that_records_wait_for() {
    let (mut world, pupil) = (World::new(), Arc::new(Pupil { hangs: true, ..Pupil::default() }));
    (world.budget, world.limits.frame_bytes) = (Budget::new(96 << 10), 16 << 10);
    let lesson = || post(&world, &pupil, "/v1/learn", "text/plain", "x".repeat(16 << 10));
    let begun = tokio::time::Instant::now();
    let others = async {
        // By then the first lesson is under way.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.budget.free(), 64 << 10);
        let (half, all) = tokio::join!(world.budget.frame(32 << 10), world.budget.expansion(32 << 10));
        assert_eq!(world.budget.free(), 0);
        drop((half, all));
        let (status, answer) = lesson().await;
        assert_eq!((status, &answer["error"]["code"]), (503, &json!("overloaded")));
        assert_eq!(begun.elapsed(), Duration::from_secs(1), "somebody has waited");
    };
    let (first, ()) = tokio::join!(lesson(), others);
    assert_eq!((first.0, world.budget.free()), (503, 96 << 10));
}

#[tokio::test(start_paused = true)]
async fn learning_that_does_not_end_is_given_up() {
    let (world, pupil) = (World::new(), Arc::new(Pupil { hangs: true, ..Pupil::default() }));
    let begun = tokio::time::Instant::now();
    let (status, answer) = post(&world, &pupil, "/v1/learn", "text/plain", "x").await;
    assert_eq!(begun.elapsed().as_secs(), Duration::from_secs(120).as_secs());
    assert_eq!(status, 503);
    assert_eq!(message(&answer), "not learned within 120s; what was learned stays, send less at a time");
}
