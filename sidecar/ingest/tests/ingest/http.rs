//! `POST /v1/records`: annotated records in the same form, everything else untouched, refusals by name.

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use oddline_ingest::{
    Budget, Limits,
    http::router,
    web::{Protocol, Web},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    time::Duration,
};
use tower::ServiceExt;

use crate::support::World;

async fn post(world: &World, headers: &[(&str, &str)], body: impl Into<Body>) -> (StatusCode, String) {
    let mut request = Request::post("/v1/records");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router(world.http()).oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 64 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const LINES: &[(&str, &str)] = &[("content-type", "application/x-ndjson")];

async fn refused(world: &World, headers: &[(&str, &str)], body: impl Into<Body>) -> (u16, String, String) {
    let (status, body) = post(world, headers, body).await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let text = |name: &str| body["error"][name].as_str().unwrap().to_owned();
    (status.as_u16(), text("code"), text("message"))
}

#[tokio::test]
async fn who_does_not_post_is_told_to() {
    let world = World::new();
    let request = Request::get("/v1/records").body(Body::empty()).unwrap();
    let response = router(world.http()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["allow"], "POST");
    let body = to_bytes(response.into_body(), 1 << 10).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert!(body["error"]["message"].as_str().unwrap().contains("by POST"), "{body}");
}

#[tokio::test]
async fn arrays_and_lines_come_back_in_kind() {
    let world = World::new();
    let (status, body) = post(&world, JSON, r#"[{"log" : "fine", "n":1.0}, {"log":"odd"}]"#).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.starts_with(r#"[{"log" : "fine", "n":1.0,"anomaly":{"score":0"#), "{body}");
    let records: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(records[0]["anomaly"]["level"], "none");
    assert_eq!(records[1]["anomaly"]["status"], "confirmed");
    assert_eq!(records[1]["anomaly"]["model"], "oddline/test");

    let (status, body) =
        post(&world, LINES, "{\"log\":\"odd\"}\n{\"log\":\"fine\",\"anomaly\":\"mine\"}\n").await;
    assert_eq!(status, StatusCode::OK);
    let lines: Vec<serde_json::Value> =
        body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["anomaly"]["status"], "confirmed");
    assert_eq!(
        (&lines[1]["anomaly_original"], &lines[1]["anomaly"]["level"]),
        (&"mine".into(), &"none".into())
    );
    assert_eq!(world.events.http_records_received.get(), 4);
    assert_eq!(post(&world, JSON, "[]").await, (StatusCode::OK, "[]".to_owned()));
    assert_eq!(post(&world, LINES, "").await, (StatusCode::OK, String::new()));
}

#[tokio::test]
async fn refusals_name_what_is_wrong() {
    let world = World::new();
    let check = |(status, code, message): (u16, String, String), expected: (u16, &str, &str)| {
        assert_eq!((status, code.as_str(), message.as_str()), expected);
    };
    check(
        refused(&world, JSON, "[{},7]").await,
        (400, "invalid_record", "record 2 of 2: record is not readable at byte 0: not a JSON object"),
    );
    check(
        refused(&world, JSON, "{}").await,
        (
            400,
            "invalid_records",
            "body is not an array of JSON objects: invalid type: map, expected an array at line 1 column 0",
        ),
    );
    check(
        refused(&world, &[("content-type", "text/plain")], "x").await,
        (
            415,
            "unsupported_media_type",
            "content-type is `text/plain`; supported: application/json, application/x-ndjson",
        ),
    );
    check(
        refused(&world, &[JSON[0], ("content-encoding", "br")], "x").await,
        (415, "unsupported_encoding", "content-encoding is not supported; supported: gzip, identity"),
    );
    assert_eq!(refused(&world, &[JSON[0], ("content-encoding", "gzip")], "x").await.0, 400);
    assert_eq!(world.events.http_refused.get(), 5);
}

#[tokio::test]
async fn bodies_at_the_limit_one_over_and_ten_times() {
    let mut world = World::new();
    world.limits = Limits { frame_bytes: 2_000, http_records: 10, ..Limits::default() };
    let body = |bytes: usize| format!("[{{\"log\":\"{}\"}}]", "x".repeat(bytes - 12));
    assert_eq!(post(&world, JSON, body(2_000)).await.0, StatusCode::OK);
    for bytes in [2_001, 20_000] {
        let (status, code, message) = refused(&world, JSON, body(bytes)).await;
        assert_eq!((status, code.as_str()), (413, "too_large"));
        assert_eq!(message, "body has more than 2000 bytes (frame_bytes)");
    }
    assert_eq!(post(&world, LINES, "{}\n".repeat(10)).await.0, StatusCode::OK);
    for records in [11, 100] {
        assert_eq!(refused(&world, LINES, "{}\n".repeat(records)).await.1, "too_many_records");
    }
}

#[tokio::test]
async fn gzip_is_read_and_bombs_are_refused() {
    let world = World::new();
    let gzip = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, text).unwrap();
        encoder.finish().unwrap()
    };
    let headers = &[JSON[0], ("content-encoding", "gzip")];
    let (status, body) = post(&world, headers, gzip(br#"[{"log":"odd"}]"#)).await;
    assert!(status == StatusCode::OK && body.contains("confirmed"), "{status} {body}");
    assert_eq!(refused(&world, headers, gzip(&vec![b' '; 20 << 20])).await.0, 413);
}

#[tokio::test]
async fn overload_is_said_at_once() {
    let world = World::new();
    let _all = world.budget.frame(usize::MAX).await;
    let (status, code, message) = refused(&world, JSON, "[]").await;
    assert_eq!((status, code.as_str()), (503, "overloaded"));
    assert_eq!(message, "100663296 bytes are in flight (in_flight_bytes); try again");
}

/// A record whose answer has a little more than so many bytes.
fn of_bytes(bytes: usize) -> Request<Body> {
    let body = format!(r#"[{{"log":"fine","pad":"{}"}}]"#, "x".repeat(bytes));
    let request = Request::post("/v1/records").header("content-type", "application/json");
    request.header("content-length", body.len()).body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn answers_that_nobody_reads_are_bounded_at_the_limit_one_over_and_ten_times() {
    let mut world = World::new();
    let all = 3 << 20;
    world.budget = Budget::new(all);
    let router = router(world.http());
    let ask = async || router.clone().oneshot(of_bytes(250 << 10)).await.unwrap();
    let mut unread = Vec::new();
    for number in 1..=40 {
        let response = ask().await;
        // A third of the budget, as for lessons: the others' two thirds are theirs.
        let expected = if number <= 4 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        assert_eq!(response.status(), expected, "{number}");
        unread.extend(response.status().is_success().then_some(response));
    }
    let held = all - world.budget.free();
    assert!((4 * (250 << 10)..=1 << 20).contains(&held), "{held}");
    let body = to_bytes(unread.pop().unwrap().into_body(), 1 << 20).await.unwrap();
    drop(body);
    assert_eq!(ask().await.status(), StatusCode::OK);
    drop(unread);
    assert_eq!(world.budget.free(), all);
}

#[tokio::test]
async fn an_answer_is_held_until_its_client_has_read_it() {
    let world = World::new();
    let all = world.budget.free();
    let (limits, events) = (world.limits.clone(), world.events.clone());
    let (router, protocol) = (router(world.http()), Protocol::Http1);
    let running = world.serve_web(Web { name: "test", router, protocol, tls: None, limits, events }).await;
    // What the system buffers on the way is less than the answer.
    let client = TcpSocket::new_v4().unwrap();
    client.set_recv_buffer_size(16 << 10).unwrap();
    let mut client = client.connect(running.address).await.unwrap();
    let request = of_bytes(7 << 20);
    let body = to_bytes(request.into_body(), 8 << 20).await.unwrap();
    let head =
        "POST /v1/records HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let head = format!("{head}content-length: {}\r\n\r\n", body.len());
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&body).await.unwrap();
    let mut first = [0; 15];
    client.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    assert!(all - world.budget.free() >= body.len(), "{} bytes held", all - world.budget.free());
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() > body.len());
    let given_back = async {
        while world.budget.free() < all {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), given_back).await.unwrap();
}
