//! Components in the sidecar: our engine as one, the example that users start from, the command that tries them, and
//! the way of a record that one of them holds for odd.

#[path = "hosts/component.rs"]
mod component;

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use oddline::{
    App,
    config::{Config, Sources},
};
use oddline_analyze::ports::Seen;
use oddline_component_host::Detector;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const FAILED: &str = "CRITICAL: Failed to connect to primary database after 5 retries.";

fn seen(message: &str) -> Seen {
    Seen { tag: "app".to_owned(), message: message.to_owned(), ..Seen::default() }
}

#[test]
fn the_engine_as_a_component_imports_nothing_and_fits() {
    let path = acceptance::built("ODDLINE_DETECTOR");
    let engine = wasmtime::Engine::default();
    let component = wasmtime::component::Component::from_file(&engine, &path).unwrap();
    assert_eq!(component.component_type().imports(&engine).count(), 0);
    let exports: Vec<String> =
        component.component_type().exports(&engine).map(|(name, _)| name.to_owned()).collect();
    assert_eq!(exports, ["oddline:detector/detection@0.1.0"]);
    assert!(fs::metadata(path).unwrap().len() < oddline_component_host::limits::MAX_FILE_BYTES);
}

#[test]
fn what_it_learned_outlives_an_instance() {
    let options = [("rule_categories".to_owned(), "all".to_owned())];
    let mut learner = Detector::start(component::component(), &options).unwrap();
    let records: Vec<Seen> = (0..100).map(|number| seen(&format!("user {number} logged in"))).collect();
    let together = learner.observe_all(records.clone(), 0).unwrap();
    let mut alone = Detector::start(component::component(), &options).unwrap();
    let one_by_one: Vec<_> = records.into_iter().map(|record| alone.observe(record, 0).unwrap()).collect();
    assert_eq!(together, one_by_one);

    let saved = learner.snapshot().unwrap();
    assert!(saved.starts_with(b"oddline-state 3 "));
    let mut restored = Detector::start(component::component(), &options).unwrap();
    restored.restore(saved.clone()).unwrap();
    assert_eq!(restored.snapshot().unwrap(), saved);
    let (minute, novel) = (60_000_000_000, seen("never seen before by anyone"));
    assert_eq!(restored.observe(novel.clone(), minute), learner.observe(novel, minute));
    let mut fresh = Detector::start(component::component(), &options).unwrap();
    assert_ne!(fresh.snapshot().unwrap(), saved);
    let error = fresh.restore(b"oddline-state 9 0".to_vec()).unwrap_err().to_string();
    assert!(error.starts_with("refuses its saved state: "), "{error}");
}

#[test]
fn options_are_those_of_every_shell() {
    let start = |name: &str, value: &str| {
        Detector::start(component::component(), &[(name.to_owned(), value.to_owned())])
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        start("treshold", "1"),
        "refuses its options: unknown option `treshold`; did you mean `threshold`?"
    );
    assert_eq!(start("sigma", "21"), "refuses its options: option `sigma` is `21`; allowed: 1..=20");
}

fn check(arguments: &[&str]) -> Output {
    Command::new(acceptance::built("ODDLINE_BIN"))
        .args(["detectors", "check"])
        .args(arguments)
        .output()
        .unwrap()
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_command_loads_describes_and_judges() {
    let (ours, example) =
        (acceptance::built("ODDLINE_DETECTOR"), acceptance::built("ODDLINE_EXAMPLE_DETECTOR"));
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("app.log");
    fs::write(&log, format!("{FAILED}\nall is well\n{{\"log\":\"GET /\",\"http\":{{\"ms\":\"900\"}}}}\n"))
        .unwrap();
    let log = log.display().to_string();

    let (code, out, _) = told(&check(&[&example]));
    assert_eq!((code, out.as_str()), (Some(0), "slow-requests/0.1.0\n"));
    let options = ["--option", "field=http.ms", "--option", "limit_ms=500"];
    let (code, out, error) = told(&check(&[&[example.as_str(), &log], &options[..]].concat()));
    let expected = "slow-requests/0.1.0\nline 3: 0.722 medium  http.ms is 900, more than 500\n3 lines, 1 odd, 0 failed\n";
    assert_eq!((code, out.as_str()), (Some(0), expected), "{error}");
    let (code, out, _) = told(&check(&[&ours, &log]));
    assert!(code == Some(0) && out.contains("line 1: 0.") && out.contains("rule DB_CONNECT_FAILED"), "{out}");

    let (code, _, error) = told(&check(&[&example, "--option", "limit_ms=-1"]));
    assert_eq!(code, Some(1));
    assert!(error.contains("refuses its options: limit_ms is `-1`, wanted: a number above 0"), "{error}");
    let (code, _, error) = told(&check(&[&log]));
    assert!(code == Some(1) && error.contains("is no WebAssembly component"), "{error}");
    let (code, _, error) = told(&check(&[&example, "--option", "limit_ms"]));
    assert!(code == Some(64) && error.contains("`limit_ms` is not NAME=VALUE"), "{error}");
}

fn post(to: SocketAddr, body: &str) -> String {
    let head = format!(
        "POST /v1/records HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    exchange(to, &(head + body))
}

fn get(from: SocketAddr, path: &str) -> String {
    exchange(from, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

fn exchange(with: SocketAddr, request: &str) -> String {
    acceptance::exchange(with, request).unwrap()
}

/// A sidecar with the example, and with a file that is none.
fn config(folder: &Path) -> Config {
    let broken = folder.join("broken.wasm");
    fs::write(&broken, "no component").unwrap();
    let file = format!(
        "[[detectors.files]]\npath = '{}'\nname = 'slow'\noptions = {{ limit_ms = 500 }}\n[[detectors.files]]\npath = '{}'\n",
        acceptance::built("ODDLINE_EXAMPLE_DETECTOR"),
        broken.display()
    );
    let off = ["forward.listen=", "vector.listen=", "vector.rows="].map(str::to_owned);
    let on =
        ["http.listen=127.0.0.1:0", "admin.listen=127.0.0.1:0", "detectors.wait_ms=5000"].map(str::to_owned);
    let state = format!("state.dir={}", folder.display());
    let flags = off.into_iter().chain(on).chain([state]).collect();
    Config::load(&Sources { file: Some(("oddline.toml".into(), file)), flags, ..Sources::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_a_detector_holds_for_odd_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let app = App::build(&config(folder.path())).await.unwrap();
    let (at, stop) = (app.addresses(), CancellationToken::new());
    let running = tokio::spawn(app.run(stop.clone()));
    let (http, admin) = (at.http.unwrap(), at.admin.unwrap());
    tokio::task::spawn_blocking(move || {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !get(admin, "/metrics").contains("oddline_detector_ready{detector=\"slow\"} 1") {
            assert!(Instant::now() < deadline, "{}", get(admin, "/metrics"));
        }
        let records = [
            json!({ "log": "GET /slow", "duration_ms": 1000 }),
            json!({ "log": "GET /fast", "duration_ms": 20 }),
        ];
        let answer = post(http, &records.map(|record| record.to_string() + "\n").concat());
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let tagged: Vec<Value> = body
            .lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let [slow, fast] = tagged.as_slice() else { panic!("{answer}") };
        let tags = &slow["anomaly"];
        assert!(tags["flags"].as_array().unwrap().contains(&"model".into()), "{tags}");
        assert_eq!((&tags["score"], &tags["level"]), (&json!(0.75), &json!("medium")));
        assert!(
            tags["reason"].as_str().unwrap().ends_with("slow: duration_ms is 1000, more than 500"),
            "{tags}"
        );
        assert_eq!((&tags["status"], &tags["template"]), (&json!("confirmed"), &json!("GET /slow")));
        assert_eq!(fast["anomaly"]["level"], "none");
        let metrics = get(admin, "/metrics");
        for line in [
            "oddline_detector_opinions_total{detector=\"slow\"} 1",
            "oddline_detector_records_total{detector=\"slow\"} 2",
            "oddline_detector_ready{detector=\"broken\"} 0",
        ] {
            assert!(metrics.contains(line), "{line}: {metrics}");
        }
    })
    .await
    .unwrap();
    stop.cancel();
    running.await.unwrap().unwrap();
}
