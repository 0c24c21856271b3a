//! Servers that are down, slow or wrong: every embedder over HTTP says which, by name, within its limits.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use oddline_analyze::ports::{Embedder, FailureKind};
use oddline_backends::{
    check::Checked,
    ollama::{Ollama, OllamaOptions},
    openai::{OpenAi, OpenAiOptions},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    assert_failure,
    fake_http::{self, Mode, Server},
};

/// One of each kind, on the same server.
fn both(server: &Server) -> [Arc<dyn Embedder>; 2] {
    [Arc::new(Ollama::new(server.ollama()).unwrap()), Arc::new(OpenAi::new(server.openai()).unwrap())]
}

fn texts() -> Vec<String> {
    vec!["connection lost".to_owned(), "disk failure".to_owned()]
}

#[tokio::test]
async fn wrong_answers_are_bugs() {
    let server = fake_http::start(Mode::Honest).await;
    let long: &str = Box::leak(format!("[{}1]", "1,".repeat(8_192)).repeat(2).replace("][", "];[").into());
    let cases = [
        (Mode::Vectors("[1,0]"), "1 vectors for 2 texts"),
        (Mode::Vectors("[1,0];[0,1];[1,1]"), "3 vectors for 2 texts"),
        (Mode::Vectors("[1,0];[1]"), "vector 1 has dimension 1, expected 2"),
        (Mode::Vectors("[1,0];[NaN,1]"), "not as expected"),
        (Mode::Vectors("[1,0];[null,1]"), "not as expected"),
        (Mode::Vectors("[1,0];[1e39,1]"), "not finite"),
        (Mode::Vectors("[1,0];[0,0]"), "vector 1 is zero"),
        (Mode::Vectors("[];[]"), "dimension 0"),
        (Mode::Vectors(long), "dimension 8193"),
        (Mode::Vectors("[1,0];[1,"), "not as expected"),
        (Mode::Text(""), "not as expected"),
        (Mode::Text("null"), "not as expected"),
        (Mode::Text("<html>proxy login</html>"), "not as expected"),
        (Mode::Text("{\"embeddings\": \"no\", \"data\": 3}"), "not as expected"),
    ];
    for (mode, words) in cases {
        server.set(mode);
        for embedder in both(&server) {
            let kind = embedder.name().split('/').next().unwrap().to_owned();
            assert_failure(embedder.embed(&texts()).await, FailureKind::Bug, &[&kind, words]);
        }
    }
    server.set(Mode::Text(r#"{"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}]}"#));
    let openai = OpenAi::new(server.openai()).unwrap();
    assert_failure(openai.embed(&texts()).await, FailureKind::Bug, &["not indexed"]);
}

#[tokio::test]
async fn a_dimension_that_changes_is_a_bug() {
    let server = fake_http::start(Mode::Honest).await;
    for embedder in both(&server) {
        server.set(Mode::Honest);
        embedder.embed(&texts()).await.unwrap();
        server.set(Mode::Vectors("[1,0];[0,1]"));
        assert_failure(embedder.embed(&texts()).await, FailureKind::Bug, &["dimension 2, expected 64"]);
    }
}

#[tokio::test]
async fn answers_are_limited() {
    let server = fake_http::start(Mode::Honest).await;
    const LIMIT: usize = 4 << 20;
    for embedder in both(&server) {
        server.set(Mode::Padded(LIMIT));
        assert_eq!(embedder.embed(&texts()).await.unwrap().len(), 2);
        for bytes in [LIMIT + 1, 5 << 20, 10 * LIMIT] {
            server.set(Mode::Padded(bytes));
            assert_failure(embedder.embed(&texts()).await, FailureKind::Bug, &["limit of 4194304 bytes"]);
        }
    }
}

#[tokio::test]
async fn refusals_tell_whether_to_try_again() {
    let server = fake_http::start(Mode::Honest).await;
    let cases = [
        (500, FailureKind::Failed),
        (502, FailureKind::Unavailable),
        (503, FailureKind::Unavailable),
        (429, FailureKind::Unavailable),
        (408, FailureKind::Unavailable),
        (400, FailureKind::Rejected),
        (401, FailureKind::Rejected),
        (404, FailureKind::Rejected),
        (302, FailureKind::Rejected),
    ];
    for (status, kind) in cases {
        server.set(Mode::Status(status, "model \"x\" not found,\x1b[2J try pulling it"));
        for embedder in both(&server) {
            let words = [
                &format!("status {status}") as &str,
                "model \"x\" not found, [2J try pulling it",
                &server.url,
            ];
            assert_failure(embedder.embed(&texts()).await, kind, &words);
        }
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let ollama = Ollama::new(OllamaOptions { url: url.clone(), ..OllamaOptions::default() }).unwrap();
    assert_failure(ollama.embed(&texts()).await, FailureKind::Unavailable, &["ollama", &url, "refused"]);
    let openai = OpenAi::new(OpenAiOptions { url: url.clone(), ..OpenAiOptions::default() }).unwrap();
    assert_failure(openai.embed(&texts()).await, FailureKind::Unavailable, &["openai", &url, "refused"]);
    assert_failure(Checked::new(Arc::new(ollama)).check().await, FailureKind::Unavailable, &["refused"]);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut question = [0; 4096];
            let _ = stream.read(&mut question).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"embeddings\": [[0.1")
                .await;
        }
    });
    let ollama = Ollama::new(OllamaOptions { url, ..OllamaOptions::default() }).unwrap();
    assert_failure(ollama.embed(&texts()).await, FailureKind::Unavailable, &["ollama"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_is_unavailable_after_the_timeout() {
    let server = fake_http::start(Mode::Silent).await;
    let timeout = Duration::from_secs(7);
    let started = tokio::time::Instant::now();
    let ollama = Ollama::new(OllamaOptions { timeout, ..server.ollama() }).unwrap();
    assert_failure(ollama.embed(&texts()).await, FailureKind::Unavailable, &["no answer within 7s"]);
    assert_eq!(started.elapsed().as_secs(), 7);
    let openai = OpenAi::new(OpenAiOptions { timeout, ..server.openai() }).unwrap();
    assert_failure(openai.embed(&texts()).await, FailureKind::Unavailable, &["no answer within 7s"]);

    // Waiting for a turn counts as well: of three calls at a time on one turn, none takes longer than the timeout.
    let started = tokio::time::Instant::now();
    let texts = texts();
    let answers = tokio::join!(ollama.embed(&texts), ollama.embed(&texts), ollama.embed(&texts));
    assert_failure(answers.2, FailureKind::Unavailable, &["no answer within 7s"]);
    assert_eq!(started.elapsed().as_secs(), 7);
}

#[tokio::test]
async fn requests_run_one_at_a_time_unless_configured_otherwise() {
    let texts = texts();
    for concurrency in [1, 3] {
        let server = fake_http::start(Mode::Honest).await;
        let ollama = Ollama::new(OllamaOptions { concurrency, ..server.ollama() }).unwrap();
        let calls = (0..12).map(|_| ollama.embed(&texts));
        for answer in futures_join(calls).await {
            answer.unwrap();
        }
        let most = server.state.most_running.load(Ordering::SeqCst);
        assert!(
            most <= concurrency && (concurrency == 1 || most > 1),
            "{most} at a time, {concurrency} configured"
        );
    }
}

/// Polls all at once, as one future.
async fn futures_join<'a, T>(
    calls: impl Iterator<Item = oddline_analyze::ports::Answer<'a, T>>,
) -> Vec<Result<T, oddline_analyze::ports::BackendError>> {
    let mut calls: Vec<_> = calls.map(|call| (call, None)).collect();
    std::future::poll_fn(move |context| {
        for (call, answer) in calls.iter_mut().filter(|(_, answer)| answer.is_none()) {
            if let std::task::Poll::Ready(ready) = call.as_mut().poll(context) {
                *answer = Some(ready);
            }
        }
        if calls.iter().any(|(_, answer)| answer.is_none()) {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(calls.drain(..).filter_map(|(_, answer)| answer).collect())
    })
    .await
}

#[tokio::test]
async fn questions_are_as_the_servers_expect() {
    let server = fake_http::start(Mode::Honest).await;
    Ollama::new(server.ollama()).unwrap().embed(&texts()).await.unwrap();
    let question = server.state.question.lock().unwrap().clone();
    assert_eq!(question["model"], "all-minilm");
    assert_eq!(question["keep_alive"], "1h");
    assert_eq!(*server.state.authorization.lock().unwrap(), None);

    let options = OpenAiOptions { api_key: Some("sk-secret".to_owned()), ..server.openai() };
    assert!(!format!("{options:?}").contains("sk-secret"));
    let openai = OpenAi::new(options).unwrap();
    openai.embed(&texts()).await.unwrap();
    assert_eq!(server.state.authorization.lock().unwrap().as_deref(), Some("Bearer sk-secret"));
    assert!(!format!("{openai:?}").contains("sk-secret"));
    server.set(Mode::Status(401, "who?"));
    assert!(!openai.embed(&texts()).await.unwrap_err().message.contains("sk-secret"));
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused_by_name() {
    let rejected = |change: fn(&mut OllamaOptions), words: &str| {
        let mut options = OllamaOptions::default();
        change(&mut options);
        assert_failure(Ollama::new(options), FailureKind::Rejected, &["ollama", words]);
    };
    rejected(|options| options.url = "localhost".to_owned(), "localhost");
    rejected(|options| options.url = "file:///etc/passwd".to_owned(), "must begin with http");
    rejected(|options| options.concurrency = 0, "at least 1");
    rejected(|options| options.timeout = Duration::ZERO, "at least 1");
    let bad_key = OpenAiOptions { api_key: Some("a\nb".to_owned()), ..OpenAiOptions::default() };
    assert_failure(OpenAi::new(bad_key), FailureKind::Rejected, &["openai", "key"]);
}
