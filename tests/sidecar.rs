//! The whole sidecar in this process on free ports: Forward in, judged, Forward out; and what it does when the embedder,
//! the shipper or the time fails it. (As a program, killed and restarted: `sidecar_process.rs`.)

#[path = "sidecar/shipper.rs"]
#[expect(dead_code, reason = "shared with tests of the program, which use the rest")]
mod shipper;

use std::{
    path::Path,
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use oddline::{
    Addresses, App,
    config::{Config, Sources},
    ports::Backends,
};
use oddline_analyze::ports::{Answer, BackendError, Embedder};
use oddline_backends::check::Checked;
use oddline_codec::marker::{self, Secret};
use oddline_engine::{Level, Status, TemplateId};
use oddline_ingest::Deliver;
use shipper::{ReturnInput, eventually, get, output, pending, post, send};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const LOGIN: &str = "INFO: User 'alice' logged in from IP ###.###.#.##";

/// What the embedder does with the next calls.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Well,
    Down,
    Hung,
}

/// The real static model, which fails on request.
struct Moody(oddline_backends::static_model::StaticModel, Mutex<Mood>);

impl Embedder for Moody {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn dimension(&self) -> usize {
        self.0.dimension()
    }

    fn embed<'a>(&'a self, texts: &'a [String]) -> Answer<'a, Vec<Vec<f32>>> {
        let mood = *self.1.lock().unwrap();
        Box::pin(async move {
            match mood {
                Mood::Well => self.0.embed(texts).await,
                Mood::Down => Err(BackendError::unavailable("moody: connection refused")),
                Mood::Hung => std::future::pending().await,
            }
        })
    }
}

struct Sidecar {
    at: Addresses,
    back: ReturnInput,
    embedder: Arc<Moody>,
    folder: tempfile::TempDir,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Sidecar {
    async fn start(mood: Mood, settings: &[&str]) -> Sidecar {
        let folder = tempfile::tempdir().unwrap();
        let back = ReturnInput::start().await;
        let mut flags = vec![
            "forward.listen=127.0.0.1:0".to_owned(),
            "http.listen=127.0.0.1:0".to_owned(),
            "vector.listen=127.0.0.1:0".to_owned(),
            "admin.listen=127.0.0.1:0".to_owned(),
            format!("return.address={}", back.address),
            format!("state.dir={}", folder.path().display()),
        ];
        flags.extend(settings.iter().map(|setting| (*setting).to_owned()));
        let config = Config::load(&Sources { flags, ..Sources::default() }).unwrap();
        let mut backends = Backends::open(&config).unwrap();
        let model = oddline_backends::static_model::StaticModel::embedded().unwrap();
        let embedder = Arc::new(Moody(model, Mutex::new(mood)));
        backends.embedder = Arc::new(Checked::new(embedder.clone()));
        backends.ports.embedder = backends.embedder.clone();
        let app = App::build_on(&config, backends).await.unwrap();
        let (at, stop) = (app.addresses(), CancellationToken::new());
        if mood == Mood::Well {
            app.analyzer().teach(vec![(TemplateId::of(LOGIN), LOGIN.into())]).await.unwrap();
        }
        let running = tokio::spawn(app.run(stop.clone()));
        Sidecar { at, back, embedder, folder, stop, running }
    }

    fn set(&self, mood: Mood) {
        *self.embedder.1.lock().unwrap() = mood;
    }

    fn forward(&self) -> String {
        self.at.forward.unwrap().to_string()
    }

    fn admin(&self) -> String {
        self.at.admin.unwrap().to_string()
    }

    fn advice(&self) -> std::path::PathBuf {
        self.folder.path().join("advice")
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

fn messages(count: usize) -> Vec<String> {
    let one = |number| match number % 2 {
        0 => "INFO: User 'alice' logged in from IP 192.168.1.50".to_owned(),
        _ => "CRITICAL: Failed to connect to primary database after 5 retries.".to_owned(),
    };
    (0..count).map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_back_judged_under_their_own_tag() {
    let sidecar = Sidecar::start(Mood::Well, &[]).await;
    let to = output(&sidecar.forward());
    for chunk in 0..10 {
        assert_eq!(send(&to, &pending(chunk * 100, &messages(100))).await, 1);
    }
    // Acknowledged means delivered: there is nothing to wait for.
    let back = sidecar.back.all();
    assert_eq!(back.iter().map(|record| record.seq()).collect::<Vec<_>>(), (0..1_000).collect::<Vec<_>>());
    assert!(back.iter().all(|record| record.tag == "app.log"));
    let login = &back[0].body["anomaly"];
    assert_eq!((login["status"].as_str(), login["level"].as_str()), (Some("cleared"), Some("none")));
    let failed = &back[1];
    assert_eq!(failed.status(), "confirmed");
    assert!(
        failed.reason().starts_with("new message, unlike anything known (nearest 0."),
        "{}",
        failed.reason()
    );
    assert!(failed.reason().contains(LOGIN));

    let secret = Secret::parse(&std::fs::read(sidecar.advice().join("secret")).unwrap()).unwrap();
    let tags = &failed.body["anomaly"];
    let valid = marker::verify(
        &secret,
        b"app.log",
        failed.body["log"].as_str().unwrap().as_bytes(),
        TemplateId::parse(tags["template_id"].as_str().unwrap()).unwrap(),
        Level::parse(tags["level"].as_str().unwrap()).unwrap(),
        Status::Confirmed,
        failed.body["_oddline"].as_str().unwrap().as_bytes(),
    );
    assert!(valid, "the plugin must know its own records again");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_and_plugins_see_how_it_does() {
    let sidecar = Sidecar::start(Mood::Well, &[]).await;
    let admin = sidecar.admin();
    send(&output(&sidecar.forward()), &pending(0, &messages(10))).await;
    assert_eq!(get(&admin, "/health").await.0, 200);
    let deadline = Instant::now() + Duration::from_secs(30);
    while get(&admin, "/ready").await.0 != 200 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (_, metrics) = get(&admin, "/metrics").await;
    for line in [
        "oddline_records_received_total 10",
        "oddline_records_cleared_total 5",
        "oddline_records_confirmed_total 5",
        "oddline_ingest_records_sent_total 10",
        "oddline_judge_seconds_count 10",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in {metrics}");
    }
    let file = |name: &str| std::fs::read(sidecar.advice().join(name)).unwrap_or_default();
    let advises = |text: &str| {
        let advice = oddline_engine::Advice::parse(&file("advice")).unwrap_or_default();
        advice.templates.values().any(|row| row.text == text)
    };
    eventually("advice on what was judged", || {
        advises(LOGIN) && advises("CRITICAL: Failed to connect to primary database after # retries.")
    })
    .await;
    let beat = || String::from_utf8(file("heartbeat")).unwrap().parse::<i64>().unwrap_or_default();
    let first = beat();
    assert!(first > 1_600_000_000_000_000_000);
    eventually("a second heartbeat", || beat() > first).await;
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_embedder_costs_the_deadline_and_no_record() {
    let sidecar = Sidecar::start(Mood::Well, &["analysis.deadline_ms=300"]).await;
    sidecar.set(Mood::Hung);
    let start = Instant::now();
    send(&output(&sidecar.forward()), &pending(0, &messages(4))).await;
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(2), "{took:?}");
    let back = sidecar.back.all();
    let statuses: Vec<_> = back.iter().map(shipper::Returned::status).collect();
    assert_eq!(statuses, ["cleared", "skipped", "cleared", "skipped"]);
    assert_eq!(back[1].reason(), "new message; sidecar: no answer within 300 ms");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_embedder_costs_tags_and_it_recovers() {
    let sidecar = Sidecar::start(Mood::Down, &[]).await;
    let (to, admin) = (output(&sidecar.forward()), sidecar.admin());
    let start = Instant::now();
    for chunk in 0..20 {
        send(&to, &pending(chunk, &[format!("{} is unheard of", "x".repeat(chunk as usize + 1))])).await;
    }
    assert!(start.elapsed() < Duration::from_secs(5), "no record pays the deadline of a dead backend");
    let back = sidecar.back.all();
    assert!(back.iter().all(|record| record.status() == "skipped"));
    assert!(back[19].reason().contains("sidecar: embedder: "), "{}", back[19].reason());
    let (status, body) = get(&admin, "/ready").await;
    assert_eq!((status, body.contains("embedder")), (503, true), "{body}");

    sidecar.set(Mood::Well);
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut seq = 100;
    loop {
        send(&to, &pending(seq, &["something else".to_owned()])).await;
        if sidecar.back.all().last().unwrap().status() != "skipped" && get(&admin, "/ready").await.0 == 200 {
            break;
        }
        seq += 1;
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_shipper_does_not_take_back_is_not_acknowledged() {
    let sidecar = Sidecar::start(Mood::Well, &["return.timeout_seconds=1"]).await;
    sidecar.back.acknowledges.store(false, SeqCst);
    let to = output(&sidecar.forward());
    let chunk = pending(0, &messages(3));
    let refused = tokio::time::timeout(Duration::from_secs(4), to.deliver(&chunk)).await;
    assert!(!matches!(refused, Ok(Ok(()))), "{refused:?}");
    sidecar.back.acknowledges.store(true, SeqCst);
    send(&to, &chunk).await;
    let seqs: std::collections::BTreeSet<_> = sidecar.back.all().iter().map(shipper::Returned::seq).collect();
    assert_eq!(seqs.len(), 3, "at least once");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_finishes_what_is_in_hand() {
    let sidecar = Sidecar::start(Mood::Well, &["analysis.deadline_ms=1000"]).await;
    sidecar.set(Mood::Hung);
    let (forward, advice, back) = (sidecar.forward(), sidecar.advice(), sidecar.back.clone());
    eventually("a heartbeat", || advice.join("heartbeat").exists()).await;
    let to = output(&forward);
    let chunk = pending(0, &["in hand when it stops".to_owned()]);
    let sending = tokio::spawn(async move { to.deliver(&chunk).await });
    let admin = sidecar.admin();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !get(&admin, "/metrics").await.1.contains("oddline_records_received_total 1\n") {
        assert!(Instant::now() < deadline);
    }
    let folder = sidecar.folder.path().to_owned();
    sidecar.stop.cancel();
    sending.await.unwrap().expect("it is acknowledged all the same");
    assert_eq!(back.wait_for(1).await[0].status(), "skipped");
    sidecar.running.await.unwrap().unwrap();
    assert!(!advice.join("heartbeat").exists(), "plugins are told at once");
    assert!(tokio::net::TcpStream::connect(&forward).await.is_err());
    assert!(Path::new(&folder).join("oddline.db").exists());
}

/// What `POST /v1/records` makes of one message.
async fn judged(sidecar: &Sidecar, message: &str) -> serde_json::Value {
    let body = serde_json::json!({"message": message}).to_string();
    let http = sidecar.at.http.unwrap().to_string();
    let (_, answer) = post(&http, "/v1/records", "application/x-ndjson", body.as_bytes()).await;
    serde_json::from_str(answer.trim()).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_on_the_whole_record_counts_for_what_a_plugin_diverts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    let rule = "[[rules]]\nname = \"SEVENTH\"\nfields = \"seq exists\"\nwhen = '.seq == 7 && !exists(.anomaly)'\nscore = 8\n";
    std::fs::write(&file, rule).unwrap();
    let sidecar = Sidecar::start(Mood::Well, &[&format!("engine.rules={}", file.display())]).await;
    let to = output(&sidecar.forward());
    send(&to, &pending(6, &["a pump hums".to_owned(), "a pump stands".to_owned()])).await;
    let back = sidecar.back.wait_for(2).await;
    let rules: Vec<_> = back.iter().map(|record| (record.seq(), &record.body["anomaly"]["rule"])).collect();
    assert_eq!(rules, [(6, &serde_json::Value::Null), (7, &serde_json::json!("SEVENTH"))]);
    let seventh = &back[1].body["anomaly"];
    assert!(seventh["level"] == "critical" && back[1].reason().contains("rule SEVENTH"), "{seventh}");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exceptions_hold_for_records_over_http_where_no_plugin_sends_any() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.rules");
    std::fs::write(&file, "PUMP_STOPPED \"pump stopped\" 6\n").unwrap();
    let rules = format!("engine.rules={}", file.display());
    let back = "vector.http_return=http://127.0.0.1:9/";
    for (other, has_detour) in [("vector.http_return=", false), (back, true)] {
        let none = [&*rules, "forward.listen=", "vector.listen=", other];
        let sidecar = Sidecar::start(Mood::Well, &none).await;
        assert_eq!(judged(&sidecar, "the pump stopped").await["anomaly"]["rule"], "PUMP_STOPPED");
        let http = sidecar.at.http.unwrap().to_string();
        let (status, made) =
            post(&http, "/v1/exceptions", "application/json", br#"{"rule": "PUMP_STOPPED"}"#).await;
        assert_eq!(status, 201, "{made}");
        let deadline = Instant::now() + Duration::from_secs(60);
        while judged(&sidecar, "the pump stopped").await["anomaly"]["rule"] == "PUMP_STOPPED" {
            assert!(Instant::now() < deadline, "the exception is not in force");
        }
        let (status, answer) = post(&http, "/v1/detour", "application/json", b"[]").await;
        assert_eq!(status == 200, has_detour, "a sink keeps what it cannot bring: {answer}");
        assert!(has_detour || status == 503 && answer.contains("vector.http_return is not set"), "{answer}");
        let heartbeat = sidecar.advice().join("heartbeat");
        // Who is told of a sidecar sends it records.
        eventually("the heartbeat is written", || !has_detour || heartbeat.exists()).await;
        assert_eq!(heartbeat.exists(), has_detour, "{other}");
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_rules_are_taken_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.rules");
    std::fs::write(&file, "PUMP_STOPPED \"pump stopped\" 6\n").unwrap();
    let sidecar = Sidecar::start(Mood::Well, &[&format!("engine.rules={}", file.display())]).await;
    let pump = judged(&sidecar, "the pump stopped").await;
    assert_eq!(pump["anomaly"]["rule"], "PUMP_STOPPED");
    let valve = judged(&sidecar, "the valve is stuck").await;
    assert_eq!(valve["anomaly"]["rule"], serde_json::Value::Null);
    std::fs::write(&file, "VALVE_STUCK \"valve is stuck\" 6\n").unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let valve = judged(&sidecar, "the valve is stuck").await;
        if valve["anomaly"]["rule"] == "VALVE_STUCK" {
            assert_ne!(valve["anomaly"]["model"], pump["anomaly"]["model"], "the tags say which rules");
            break;
        }
        assert!(Instant::now() < deadline, "the new rule is not in force: {valve}");
    }
    sidecar.stop().await;
}
