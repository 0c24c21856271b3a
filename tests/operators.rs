//! Operators beside a sidecar that runs: `learn`, `check`, exceptions, reports and findings over HTTP, and `oddline learn`
//! and `oddline check` where its state is locked. Who may ask, and how much.

#[path = "sidecar/program.rs"]
#[expect(dead_code, reason = "shared with `sidecar_process.rs`, which uses the rest")]
mod program;
#[path = "sidecar/shipper.rs"]
#[expect(dead_code, reason = "shared with `sidecar.rs`, which uses the rest")]
mod shipper;

use std::process::Output;

use program::{Program, command};
use serde_json::{Value, json};
use shipper::{ReturnInput, ask, output, pending, post, send};

struct World {
    program: Program,
    back: ReturnInput,
    folder: tempfile::TempDir,
    settings: Vec<String>,
}

impl World {
    async fn start(settings: &[&str]) -> World {
        let folder = tempfile::tempdir().unwrap();
        let back = ReturnInput::start().await;
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let program = Program::start("", folder.path(), &back.address, &settings);
        program.is_up().await;
        World { program, back, folder, settings }
    }

    /// Method and path, status, and body as JSON.
    async fn ask(&self, what: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        let (status, answer) = ask(&self.program.http, what, &headers, body.as_bytes()).await;
        (status, serde_json::from_str(&answer).unwrap_or(Value::Null))
    }

    /// A command of the program, on the same state.
    fn command(&self, name: &str, arguments: &[&str]) -> Output {
        let mut settings = self.settings.clone();
        settings.push(format!("http.listen={}", self.program.http));
        command("", name, self.folder.path(), &settings).args(arguments).output().unwrap()
    }
}

fn message(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"]["message"].as_str().unwrap_or_default())
}

const ODD: &str = "the flux capacitor of rack seven hums";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taught_while_it_runs_is_known_at_once() {
    let world = World::start(&[]).await;
    let (status, taught) = world.ask("POST /v1/learn", json!(["session opened for user backup"])).await;
    assert_eq!((status, taught), (200, json!({"messages": 1, "templates": 1, "known": 1})));
    let (_, checked) = world.ask("POST /v1/check", json!({"message": ODD})).await;
    assert_eq!(checked["anomaly"]["status"], "confirmed");
    assert_eq!(checked["anomaly"]["nearest"], "session opened for user backup");
    world.ask("POST /v1/learn", json!([ODD, {"log": "pump 3 started", "level": "info"}])).await;
    let (_, checked) = world.ask("POST /v1/check", json!(ODD)).await;
    assert_eq!((&checked["anomaly"]["status"], &checked["message"]), (&json!("cleared"), &json!(ODD)));
    let (_, checked) = world.ask("POST /v1/check", json!({"log": "pump 9 started"})).await;
    assert_eq!(checked["anomaly"]["similarity"], 1.0, "{checked}");
    // And the record that comes by Forward is known too.
    send(&output(&world.program.forward), &pending(0, &[ODD.to_owned()])).await;
    assert_eq!(world.back.all()[0].status(), "cleared");
    assert!(world.program.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn exceptions_hold_are_listed_and_end() {
    let mut world = World::start(&[]).await;
    world.ask("POST /v1/learn", json!(["session opened for user backup"])).await;
    let to = output(&world.program.forward);
    send(&to, &pending(0, &[ODD.to_owned()])).await;
    assert_eq!(world.back.all()[0].status(), "confirmed");
    let (status, findings) = world.ask("GET /v1/findings?limit=1", Value::Null).await;
    let id = findings["findings"][0]["template_id"].as_str().unwrap().to_owned();
    assert_eq!((status, &findings["findings"][0]["template"]), (200, &json!(ODD)));
    assert_eq!(findings["findings"][0]["source"], "app.log");

    let (status, made) =
        world.ask("POST /v1/exceptions", json!({"template_id": id, "expires_seconds": 3600})).await;
    assert_eq!((status, &made["template"]), (201, &json!(ODD)));
    let (status, _) = world.ask("POST /v1/exceptions", json!({"rule": "DB_CONNECT_FAILED"})).await;
    assert_eq!(status, 201);
    send(&to, &pending(1, &[ODD.to_owned()])).await;
    assert_eq!(world.back.all()[1].status(), "cleared");
    assert_eq!(world.back.all()[1].reason(), "an operator has declared this message harmless");

    // What is answered is kept: not even a kill takes the operator's word back.
    world.program.kill();
    world.program.restart();
    world.program.is_up().await;
    let (_, all) = world.ask("GET /v1/exceptions", Value::Null).await;
    let all = all["exceptions"].as_array().unwrap();
    assert_eq!(
        (all.len(), &all[0]["template"], &all[1]["rule"]),
        (2, &json!(ODD), &json!("DB_CONNECT_FAILED"))
    );
    assert!(all[0]["expires"].as_u64().is_some() && all[1].get("expires").is_none());

    assert_eq!(world.ask(&format!("DELETE /v1/exceptions/{id}"), Value::Null).await.0, 204);
    assert_eq!(world.ask("DELETE /v1/exceptions/DB_CONNECT_FAILED", Value::Null).await.0, 204);
    let again = world.ask(&format!("DELETE /v1/exceptions/{id}"), Value::Null).await;
    assert_eq!(message(&again), (404, format!("template {id} is no exception").as_str()));
    send(&to, &pending(2, &[ODD.to_owned()])).await;
    assert_eq!(world.back.all()[2].status(), "confirmed");
    assert!(world.program.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_takes_a_message_from_the_known() {
    let world = World::start(&[]).await;
    world.ask("POST /v1/learn", json!([ODD, "session opened for user backup"])).await;
    let (status, reported) = world.ask("POST /v1/reports", json!({"message": ODD})).await;
    assert_eq!((status, &reported["template"]), (200, &json!(ODD)));
    let (_, checked) = world.ask("POST /v1/check", json!(ODD)).await;
    assert_eq!(checked["anomaly"]["status"], "confirmed");
    assert_eq!(checked["anomaly"]["nearest"], "session opened for user backup");
    assert!(world.program.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_by_name_at_the_limit_one_over_and_ten_times() {
    let world = World::start(&["limits.http_records=10"]).await;
    for (what, body, expected) in [
        ("POST /v1/exceptions", json!({}), (400, "give exactly one of message, template, template_id, rule")),
        (
            "POST /v1/exceptions",
            json!({"template_id": "0123456789abcdef"}),
            (404, "template 0123456789abcdef is not among those remembered; give its text"),
        ),
        (
            "POST /v1/reports",
            json!({"rule": "A"}),
            (400, "a report takes one of message, template, template_id, and nothing else"),
        ),
        ("GET /v1/findings?limit=0", Value::Null, (400, "limit is 0, not within 1..=1000")),
        ("GET /v1/findings?limit=1001", Value::Null, (400, "limit is 1001, not within 1..=1000")),
        ("DELETE /v1/exceptions/A%1b%5b2J", Value::Null, (404, "rule A\\u{1b}[2J is not silenced")),
    ] {
        assert_eq!(message(&world.ask(what, body).await), expected, "{what}");
    }
    assert_eq!(world.ask("GET /v1/findings?limit=1000", Value::Null).await.0, 200);
    assert_eq!(world.ask("GET /v1/findings?nonsense=1", Value::Null).await.0, 400);
    let (_, answer) = world.ask("POST /v1/exceptions", json!({"rule": "A", "nonsense": 1})).await;
    assert!(answer["error"]["message"].as_str().unwrap().contains("unknown field `nonsense`"), "{answer}");
    let body = |bytes: usize| json!({ "rule": "A", "message": "x".repeat(bytes - 25) });
    let at = body(64 << 10);
    assert_eq!(at.to_string().len(), 64 << 10);
    assert_eq!(world.ask("POST /v1/exceptions", at).await.0, 400, "read, and then found wanting");
    for bytes in [(64 << 10) + 1, 640 << 10] {
        let refused = world.ask("POST /v1/exceptions", body(bytes)).await;
        assert_eq!(message(&refused), (413, "body has more than 65536 bytes"));
    }
    let messages = |count: usize| json!(vec!["m"; count]);
    assert_eq!(world.ask("POST /v1/learn", messages(10)).await.0, 200);
    for count in [11, 100] {
        assert_eq!(world.ask("POST /v1/learn", messages(count)).await.0, 413);
    }
    assert!(world.program.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_ask() {
    let world = World::start(&["http.token=sesame"]).await;
    let paths =
        ["POST /v1/learn", "POST /v1/check", "GET /v1/exceptions", "POST /v1/reports", "GET /v1/findings"];
    for what in paths {
        assert_eq!(world.ask(what, json!("x")).await.0, 401, "{what}");
        let web = "authorization: Bearer sesame\r\norigin: http://evil.example\r\ncontent-type: text/plain\r\ncontent-length: 1\r\n";
        assert_eq!(ask(&world.program.http, what, web, b"x").await.0, 403, "{what}: a web page asks");
    }
    let with = "authorization: Bearer sesame\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n";
    assert_eq!(ask(&world.program.http, "POST /v1/learn", with, b"ok").await.0, 200);
    assert_eq!(post(&world.program.http, "/v1/records", "application/json", b"[]").await.0, 401);
    // Vector's sink would throw away what is refused by 401.
    assert_eq!(post(&world.program.http, "/v1/detour", "application/json", b"[]").await.0, 503);
    for what in ["POST /v1/records", "POST /v1/detour", "POST /v1/counts"] {
        let web = "authorization: Bearer sesame\r\norigin: http://evil.example\r\ncontent-type: application/json\r\ncontent-length: 2\r\n";
        assert_eq!(ask(&world.program.http, what, web, b"[]").await.0, 403, "{what}: a web page asks");
    }

    let checked = world.command("check", &["--format", "json", ODD]);
    assert!(checked.status.success(), "the configured token is used: {checked:?}");
    let elsewhere =
        command("", "check", world.folder.path(), &[format!("http.listen={}", world.program.http)])
            .arg(ODD)
            .output()
            .unwrap();
    let said = String::from_utf8(elsewhere.stderr).unwrap();
    assert!(elsewhere.status.code() == Some(1) && said.contains("status 401"), "{said}");
    assert!(world.program.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_ask_the_one_that_runs() {
    let world = World::start(&[]).await;
    let file = world.folder.path().join("normal.log");
    let lines: Vec<String> = (0..2_500).map(|n| format!("worker {n} finished job {}", n * 7)).collect();
    std::fs::write(&file, format!("{}\n{{\"message\":\"pump 3 started\"}}\n", lines.join("\n"))).unwrap();
    let learned = world.command("learn", &[file.to_str().unwrap()]);
    let (out, err) = (String::from_utf8(learned.stdout).unwrap(), String::from_utf8(learned.stderr).unwrap());
    assert!(learned.status.success(), "{err}");
    assert!(out.contains("learned from 2501 lines; 2 known in all"), "{out}");
    let state = world.folder.path().join("oddline.db");
    let said = format!(
        "oddline: state {} is in use: asking the sidecar at http://{}\n",
        state.display(),
        world.program.http
    );
    assert_eq!(err, said);

    let json = |output: Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
    let known = json(world.command("check", &["--format", "json", "worker 9 finished job 9"]));
    assert_eq!(
        (&known["anomaly"]["status"], &known["anomaly"]["similarity"]),
        (&json!("cleared"), &json!(1.0))
    );
    let server = format!("http://{}", world.program.http);
    let odd = json(
        world.command("check", &["--format", "json", "--server", &server, "Out of memory: Killed process 1"]),
    );
    let pretty = world.command("check", &["--server", &server, "Out of memory: Killed process 1"]);
    let pretty = String::from_utf8(pretty.stdout).unwrap();
    assert!(pretty.contains(odd["anomaly"]["level"].as_str().unwrap()), "{pretty} {odd}");
    assert!(pretty.contains("confirmed: "), "{pretty}");

    let off =
        command("", "check", world.folder.path(), &["http.listen=".to_owned()]).arg("x").output().unwrap();
    let said = String::from_utf8(off.stderr).unwrap();
    assert!(off.status.code() == Some(1) && said.contains("give --server URL, or stop it"), "{said}");
    let away = world.command("check", &["--server", "http://127.0.0.1:1", "x"]);
    let said = String::from_utf8(away.stderr).unwrap();
    assert!(away.status.code() == Some(1) && said.contains("http://127.0.0.1:1/v1/check"), "{said}");

    // Stopped, the same state answers the same, by the command alone.
    let World { program, folder, .. } = world;
    assert!(program.terminate().success());
    let alone = command("", "check", folder.path(), &[])
        .args(["--format", "json", "worker 9 finished job 9"])
        .output();
    assert_eq!(json(alone.unwrap())["anomaly"]["status"], "cleared");
}
