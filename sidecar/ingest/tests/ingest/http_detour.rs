//! `POST /v1/detour` and `/v1/counts`: records in JSON, answered once they are delivered to the return input; counts.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Extension, Router,
    body::{Body, to_bytes},
    extract::State,
    http::{Request, StatusCode},
    routing::post,
};
use oddline_codec::{json, marker};
use oddline_engine::{BARE_COUNTS, Mode, Profile, Status, TemplateId};
use oddline_ingest::{
    Deliver, Failure, Limits, Outgoing,
    http::{
        client::{Client, ClientSettings},
        detour::Service,
    },
    web::Peer,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore};
use tower::ServiceExt;

use crate::support::{World, secret};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const LINES: &[(&str, &str)] = &[("content-type", "application/x-ndjson")];

fn router(world: &World) -> Router {
    let detour = Arc::new(world.detour());
    let (limits, budget) = (world.limits.clone(), world.budget.clone());
    let service = Service::new(detour, limits, budget, world.events.clone());
    service.router().layer(Extension(Peer(IpAddr::V4(Ipv4Addr::LOCALHOST))))
}

async fn ask(router: Router, path: &str, headers: &[(&str, &str)], body: Body) -> (u16, Value) {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.oneshot(request.body(body).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn detour(world: &World, headers: &[(&str, &str)], body: impl Into<Body>) -> (u16, Value) {
    ask(router(world), "/v1/detour", headers, body.into()).await
}

fn pending(message: &str) -> String {
    let tags = json!({"score": 0.7, "level": "medium", "status": "pending", "template": message, "model": "oddline/vrl"});
    // As a sink writes it: with spaces, escapes and numbers of its own.
    format!(
        r#"{{"message": "{message}", "n" : 1.0e0, "_oddline_tag":"app","anomaly":{tags}, "timestamp":"2026-11-21T08:00:00Z"}}"#
    )
}

impl World {
    fn records(&self) -> Vec<Value> {
        let arrived = self.back.arrived.lock().unwrap();
        let each =
            |outgoing: &Outgoing| serde_json::from_str::<Vec<Value>>(&in_brackets(&outgoing.events)).unwrap();
        arrived.iter().flat_map(each).collect()
    }
}

/// Records stand after a comma each.
fn in_brackets(events: &[u8]) -> String {
    format!("[{}]", std::str::from_utf8(&events[1..]).unwrap())
}

#[tokio::test]
async fn records_go_back_tagged_and_marked_without_what_sent_them_here() {
    for profile in [Profile::Nested, Profile::Flat, Profile::Otel, Profile::Ecs] {
        let world = World::with(Mode::Divert, profile);
        let (one, two) = (pending("odd one"), pending("odd two"));
        assert_eq!(detour(&world, JSON, format!("[{one}, {two}]")).await, (200, Value::Null));
        assert_eq!(detour(&world, LINES, format!("{one}\n{two}")).await.0, 200);
        let events = world.back.events("");
        let text = in_brackets(&events);
        assert!(text.starts_with(r#"[{"message": "odd one", "n" : 1.0e0"#), "{text}");
        let records = world.records();
        assert_eq!(records.len(), 4);
        assert!(records.iter().all(|record| record.get("_oddline_tag").is_none()));
        let record = records[1].to_string();
        let style = oddline_codec::TagStyle::of(&world.settings);
        let tags = json::read_styled_tags(record.as_bytes(), &style).unwrap();
        assert_eq!((tags.status, tags.model.as_deref()), (Some(Status::Confirmed), Some("oddline/vrl")));
        let (id, level) = (tags.template_id, tags.level);
        assert_eq!(id, TemplateId::of("odd two"));
        let marker = records[1]["_oddline"].as_str().unwrap().as_bytes();
        assert!(marker::verify(&secret(), b"app", b"odd two", id, level, Status::Confirmed, marker));
        let judged = world.judge.judged.lock().unwrap();
        assert!(judged.iter().all(|record| &*record.source == "app"));
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_that_was_not_delivered() {
    let world = World::new();
    *world.back.failures.lock().unwrap() = 1;
    let (status, body) = detour(&world, JSON, format!("[{}]", pending("odd"))).await;
    assert_eq!((status, body["error"]["code"].as_str()), (503, Some("not_delivered")));
    assert_eq!(detour(&world, JSON, format!("[{}]", pending("odd"))).await.0, 200);
    world.back.reject(1);
    let (status, body) = detour(&world, JSON, format!("[{}]", pending("odd"))).await;
    assert_eq!((status, body["error"]["code"].as_str()), (400, Some("rejected")));
    assert_eq!(world.records().len(), 1);
}

#[tokio::test]
async fn pending_tags_without_a_plugins_tag_are_the_applications() {
    let world = World::new();
    let mut forged: Value = serde_json::from_str(&pending("odd")).unwrap();
    forged.as_object_mut().unwrap().remove("_oddline_tag").unwrap();
    assert_eq!(detour(&world, JSON, format!("[{forged}]")).await.0, 200);
    assert_eq!(*world.judge.screened.lock().unwrap(), ["odd"]);
    assert_eq!(world.records()[0]["anomaly_original"]["status"], "pending");
}

#[tokio::test]
async fn a_sink_keeps_what_is_too_much_and_loses_only_what_is_no_json() {
    let mut world = World::new();
    world.limits = Limits { frame_bytes: 2_000, http_records: 10, ..Limits::default() };
    let body = |bytes: usize| format!("[{{\"log\":\"{}\"}}]", "x".repeat(bytes - 12));
    assert_eq!(detour(&world, JSON, body(2_000)).await.0, 200);
    for bytes in [2_001, 20_000] {
        let (status, answer) = detour(&world, JSON, body(bytes)).await;
        assert_eq!((status, answer["error"]["code"].as_str()), (503, Some("too_large")));
    }
    assert_eq!(detour(&world, LINES, "{}\n".repeat(10)).await.0, 200);
    for records in [11, 100] {
        assert_eq!(detour(&world, LINES, "{}\n".repeat(records)).await.0, 503);
    }
    assert_eq!(detour(&world, JSON, "[{}").await.0, 400);
    // A sink that is configured otherwise, until it is put right.
    assert_eq!(detour(&world, &[("content-type", "text/plain")], "{}").await.0, 503);
    let zstd = [("content-type", "application/json"), ("content-encoding", "zstd")];
    assert_eq!(detour(&world, &zstd, "[]").await.0, 503);
    let _all = world.budget.frame(usize::MAX).await;
    assert_eq!(detour(&world, JSON, "[]").await.0, 503);
}

#[tokio::test]
async fn loops_are_cut_and_a_stray_value_goes_apart() {
    let world = World::new();
    assert_eq!(detour(&world, JSON, format!("[7,{}]", pending("odd"))).await.0, 200);
    let arrived = world.back.arrived.lock().unwrap().clone();
    assert_eq!((arrived.len(), &*arrived[1].events), (2, &b",7"[..]));
    // Routes that lead it here again give it its tag again.
    let mut back: Value = serde_json::from_slice(&arrived[0].events[1..]).unwrap();
    back["_oddline_tag"] = "app".into();
    detour(&world, JSON, format!("[{back}]")).await;
    let again = world.records_after(2);
    assert_eq!(again[0]["_oddline_tag"], "oddline.loop.app");
    detour(&world, JSON, format!("[{}]", again[0])).await;
    assert_eq!((world.events.records_looped.get(), world.events.loops_cut.get()), (2, 1));
    assert_eq!(world.back.arrived.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_record_too_deep_for_vector_goes_apart_and_is_given_up_once_it_is_refused() {
    let world = World::new();
    let deep = format!("{}{{}}{}", r#"{"a":"#.repeat(126), "}".repeat(126));
    world.close_gate();
    let service = router(&world);
    let body = format!("[{deep},{}]", pending("odd")).into();
    let asked = tokio::spawn(async move { ask(service, "/v1/detour", JSON, body).await });
    world.back.gate.add_permits(1);
    world.back.entered().await;
    world.back.entered().await;
    world.back.reject(1);
    world.back.gate.add_permits(1);
    assert_eq!(asked.await.unwrap().0, 200);
    assert_eq!(world.records()[0]["message"], "odd");
    assert_eq!((world.records().len(), world.events.entries_discarded.get()), (1, 1));
}

impl World {
    fn records_after(&self, deliveries: usize) -> Vec<Value> {
        let arrived = self.back.arrived.lock().unwrap();
        serde_json::from_str(&in_brackets(&arrived[deliveries].events)).unwrap()
    }
}

#[tokio::test]
async fn copy_mode_gives_back_companions() {
    let world = World::with(Mode::Copy, Profile::Nested);
    assert_eq!(detour(&world, JSON, format!("[{}]", pending("odd"))).await.0, 200);
    let records = world.records();
    let reference = json!({
        "template_id": TemplateId::of("odd").to_string(), "tag": "app", "time": "2026-11-21T08:00:00Z"
    });
    assert_eq!(records[0]["oddline_reference"], reference);
    assert_eq!((&records[0]["timestamp"], &records[0]["message"]), (&reference["time"], &Value::Null));
    assert_eq!(records[0]["anomaly"]["status"], "confirmed");
    assert_eq!(records[0]["_oddline_tag"], "oddline.verdict.app");
    detour(&world, JSON, format!("[{}]", records[0])).await;
    assert_eq!((world.records().len(), world.events.records_looped.get()), (1, 1));
}

#[tokio::test]
async fn counts_are_taken_and_what_is_none_is_counted() {
    let world = World::new();
    let metric = |id: &str, value: f64| {
        json!({"name": "template_records", "namespace": "oddline", "kind": "incremental", "counter": {"value": value},
               "tags": {"template_id": id, "source": "app", "rule_hit": "1"}, "timestamp": "2026-11-21T08:00:00Z"})
    };
    let mut other = metric("0000000000000abc", 1.0);
    other["namespace"] = "mine".into();
    let body = [
        metric("0000000000000abc", 12.0),
        metric("abc", 1.0),
        metric("0000000000000abc", -1.0),
        other,
        json!({}),
    ];
    let lines: String = body.iter().map(|metric| format!("{metric}\n")).collect();
    assert_eq!(ask(router(&world), "/v1/counts", LINES, lines.into()).await.0, 200);
    let summaries = world.judge.summaries.lock().unwrap();
    let count = &summaries[0].templates[0];
    assert_eq!((summaries.len(), &*summaries[0].kind, summaries[0].templates.len()), (1, BARE_COUNTS, 1));
    assert_eq!((count.id.0, &*count.source, count.count, count.rule_hits), (0xabc, "app", 12, 12));
    assert_eq!(world.events.summaries_unread.get(), 4);
}

/// An `http_server` source.
#[derive(Clone)]
struct Source {
    answer: Arc<Mutex<(StatusCode, &'static str)>>,
    came: Arc<Mutex<Vec<String>>>,
    gate: Arc<Semaphore>,
}

async fn source(answer: (StatusCode, &'static str), open: usize) -> (Source, String) {
    let (came, gate) = (Arc::default(), Arc::new(Semaphore::new(open)));
    let source = Source { answer: Arc::new(Mutex::new(answer)), came, gate };
    let take = |State(source): State<Source>, body: String| async move {
        source.gate.acquire().await.unwrap().forget();
        source.came.lock().unwrap().push(body);
        *source.answer.lock().unwrap()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(
        axum::serve(listener, Router::new().route("/", post(take)).with_state(source.clone())).into_future(),
    );
    (source, url)
}

#[tokio::test]
async fn the_way_back_is_one_array_and_believes_only_a_success() {
    let world = World::new();
    let (source, url) = source((StatusCode::OK, ""), 100).await;
    let brief = Duration::from_millis(200);
    let settings = |url: &str| ClientSettings { insist: brief, ..ClientSettings::new(url.parse().unwrap()) };
    let client = Client::new(settings(&url), world.events.clone());
    let outgoing = Outgoing { tag: Vec::new(), events: br#",{"a":1},{"b":2}"#.to_vec(), records: 2 };
    for _ in 0..3 {
        client.deliver(&outgoing).await.unwrap();
    }
    assert_eq!(*source.came.lock().unwrap(), [r#"[{"a":1},{"b":2}]"#; 3]);
    for (answer, failure) in [
        (
            (StatusCode::BAD_REQUEST, r#"{"code":400,"message":"Contents failed to deliver to sink"}"#),
            Failure::Rejected,
        ),
        ((StatusCode::BAD_REQUEST, r#"{"code":400,"message":"Failed parsing"}"#), Failure::Refused),
        ((StatusCode::INTERNAL_SERVER_ERROR, "Error delivering contents to sink"), Failure::Away),
        ((StatusCode::FOUND, ""), Failure::Away),
    ] {
        *source.answer.lock().unwrap() = answer;
        let error = client.deliver(&outgoing).await.unwrap_err();
        assert_eq!(error.failure, failure, "{error}");
        assert!(error.to_string().contains(answer.1) && error.reason.contains(answer.0.as_str()), "{error}");
    }
    assert_eq!(source.came.lock().unwrap().len(), 7, "none was asked twice");
    // One that hangs, and one that is not there.
    source.gate.forget_permits(usize::MAX);
    let hasty = ClientSettings { timeout: Duration::from_millis(100), ..settings(&url) };
    let error = Client::new(hasty, world.events.clone()).deliver(&outgoing).await.unwrap_err();
    assert_eq!((&*error.reason, error.failure), ("no answer within 100ms", Failure::Silent));
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = Client::new(settings(&format!("http://{gone}/")), world.events.clone())
        .deliver(&outgoing)
        .await
        .unwrap_err();
    assert!(error.reason.contains("refused") && error.failure == Failure::Away, "{error}");
    assert_eq!(world.events.delivery_errors.get(), 6);
}
