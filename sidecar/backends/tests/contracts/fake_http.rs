//! A small server that speaks `POST /api/embed` and `POST /v1/embeddings`, honestly or in one chosen wrong way.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use oddline_backends::{ollama::OllamaOptions, openai::OpenAiOptions};
use serde_json::{Value, json};

use crate::fakes::bag_of_words;

/// How it answers.
#[derive(Clone)]
pub(crate) enum Mode {
    /// As the real one.
    Honest,
    /// Honestly, with white space behind the answer up to so many bytes.
    Padded(usize),
    /// A status and a text.
    Status(u16, &'static str),
    /// These vectors, apart by `;`, whatever is asked; unparsed, so that they may be wrong in any way.
    Vectors(&'static str),
    /// This text, whatever is asked.
    Text(&'static str),
    /// Takes the question and never answers.
    Silent,
}

/// A running server; it stops with the test's runtime.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) state: Arc<Shared>,
}

pub(crate) struct Shared {
    mode: Mutex<Mode>,
    running: AtomicUsize,
    /// Most calls that ran at the same time.
    pub(crate) most_running: AtomicUsize,
    /// The last `authorization` header.
    pub(crate) authorization: Mutex<Option<String>>,
    /// The last question.
    pub(crate) question: Mutex<Value>,
}

impl Server {
    pub(crate) fn ollama(&self) -> OllamaOptions {
        OllamaOptions { url: self.url.clone(), timeout: Duration::from_secs(30), ..OllamaOptions::default() }
    }

    pub(crate) fn openai(&self) -> OpenAiOptions {
        OpenAiOptions { url: self.url.clone(), timeout: Duration::from_secs(30), ..OpenAiOptions::default() }
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.state.mode.lock().unwrap() = mode;
    }
}

pub(crate) async fn start(mode: Mode) -> Server {
    start_at("127.0.0.1:0".parse().unwrap(), mode).await
}

pub(crate) async fn start_at(address: SocketAddr, mode: Mode) -> Server {
    let state = Arc::new(Shared {
        mode: Mutex::new(mode),
        running: AtomicUsize::new(0),
        most_running: AtomicUsize::new(0),
        authorization: Mutex::default(),
        question: Mutex::default(),
    });
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/api/embed", post(ollama))
        .route("/v1/embeddings", post(openai))
        .with_state(Arc::clone(&state));
    tokio::spawn(axum::serve(listener, router).into_future());
    Server { url, state }
}

async fn ollama(state: State<Arc<Shared>>, headers: HeaderMap, question: Json<Value>) -> Response {
    answer(state, headers, question, &["embeddings"]).await
}

async fn openai(state: State<Arc<Shared>>, headers: HeaderMap, question: Json<Value>) -> Response {
    answer(state, headers, question, &["data", "embedding"]).await
}

/// `shape` is the key of the list, and for OpenAI the key of the vector in each of its rows.
async fn answer(
    State(state): State<Arc<Shared>>,
    headers: HeaderMap,
    Json(question): Json<Value>,
    shape: &'static [&'static str],
) -> Response {
    let running = state.running.fetch_add(1, Ordering::SeqCst) + 1;
    state.most_running.fetch_max(running, Ordering::SeqCst);
    *state.authorization.lock().unwrap() =
        headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    let texts: Vec<String> = serde_json::from_value(question["input"].clone()).unwrap();
    *state.question.lock().unwrap() = question;
    // Lets the other calls of a test come in, if the client sends any.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let vectors = texts.iter().map(|text| bag_of_words(text, 64));
    let honest = match shape {
        [list] => json!({ *list: vectors.collect::<Vec<_>>(), "model": "all-minilm" }),
        [list, vector, ..] => {
            let rows = vectors.enumerate().map(|(index, numbers)| json!({"index": index, *vector: numbers}));
            // In the wrong order, as is allowed.
            json!({ *list: rows.rev().collect::<Vec<_>>() })
        }
        [] => unreachable!("a shape has a key"),
    };
    let mode = state.mode.lock().unwrap().clone();
    let response = match mode {
        Mode::Honest => Json(honest).into_response(),
        Mode::Padded(bytes) => {
            let mut text = honest.to_string();
            text.extend(std::iter::repeat_n(' ', bytes - text.len()));
            text.into_response()
        }
        Mode::Status(status, text) => (StatusCode::from_u16(status).unwrap(), text).into_response(),
        Mode::Text(text) => text.into_response(),
        Mode::Vectors(vectors) => wrap(vectors, shape).into_response(),
        Mode::Silent => std::future::pending().await,
    };
    state.running.fetch_sub(1, Ordering::SeqCst);
    response
}

/// Puts the text of vectors into the shape of the call.
fn wrap(vectors: &str, shape: &[&str]) -> String {
    match shape {
        [list] => format!("{{\"{list}\": [{}]}}", vectors.replace(';', ",")),
        [list, vector, ..] => {
            let rows: Vec<String> = vectors
                .split(';')
                .enumerate()
                .map(|(index, numbers)| format!("{{\"index\": {index}, \"{vector}\": {numbers}}}"))
                .collect();
            format!("{{\"{list}\": [{}]}}", rows.join(","))
        }
        [] => unreachable!("a shape has a key"),
    }
}
