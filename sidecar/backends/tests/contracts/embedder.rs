//! The contract of embedders, and what the check at the start finds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use oddline_analyze::ports::{Embedder, FailureKind, MAX_EMBED_BATCH};
use oddline_backends::{
    check::Checked,
    ollama::{Ollama, OllamaOptions},
    openai::{OpenAi, OpenAiOptions},
    static_model::StaticModel,
};

use crate::{assert_failure, fake_http, fakes, fakes::cosine, real_server};

/// What every embedder keeps.
async fn embedder_contract(embedder: &dyn Embedder) {
    let name = embedder.name().to_owned();
    let embed = async |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        let vectors = embedder.embed(&texts).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(vectors.len(), texts.len(), "{name}: one vector per text");
        for (text, vector) in texts.iter().zip(&vectors) {
            let length = cosine(vector, vector).sqrt();
            assert!((length - 1.0).abs() < 1e-4, "{name}: length {length} for {text:?}");
            assert_eq!(vector.len(), embedder.dimension(), "{name}: dimension");
        }
        vectors
    };
    assert!(!name.is_empty());
    assert!(embed(&[]).await.is_empty());

    let alone = embed(&["failed to connect to database"]).await;
    assert!(cosine(&alone[0], &embed(&["failed to connect to database"]).await[0]) > 0.9999, "{name}: twice");

    // As many as may be, so that none sits where it was when it was alone.
    let many: Vec<String> = (0..MAX_EMBED_BATCH).map(|n| format!("worker {n} opened a session")).collect();
    let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
    many[MAX_EMBED_BATCH - 2] = "failed to connect to database";
    let batch = embed(&many).await;
    assert!(cosine(&alone[0], &batch[MAX_EMBED_BATCH - 2]) > 0.9999, "{name}: alone and in a batch");
    assert!(cosine(&alone[0], &batch[0]) < 0.99, "{name}: different texts differ");

    let long = "disk failure ".repeat(10_000);
    embed(&["", " ", "<*>", "<*> <*>: <*>", "🔥🔥🔥", "نظام", "a\0b\u{1b}[31m\n", "!!!", &long]).await;

    for count in [MAX_EMBED_BATCH + 1, 10 * MAX_EMBED_BATCH] {
        assert_failure(embedder.embed(&vec!["a".to_owned(); count]).await, FailureKind::Rejected, &[]);
    }
}

#[tokio::test]
async fn the_embedded_model_keeps_the_contract() {
    let model = StaticModel::embedded().unwrap();
    assert_eq!(model.dimension(), 256);
    embedder_contract(&model).await;
    embedder_contract(&Checked::new(Arc::new(model))).await;
}

#[tokio::test]
async fn the_fake_keeps_the_contract() {
    embedder_contract(&fakes::words()).await;
    embedder_contract(&Checked::new(Arc::new(fakes::words()))).await;
}

#[tokio::test]
async fn ollama_keeps_the_contract() {
    let server = fake_http::start(fake_http::Mode::Honest).await;
    let embedder = Checked::new(Arc::new(Ollama::new(server.ollama()).unwrap()));
    assert_eq!(embedder.dimension(), 0, "not known before the first answer");
    embedder.check().await.unwrap();
    embedder_contract(&embedder).await;
    assert_eq!(embedder.name(), "ollama/all-minilm");
}

#[tokio::test]
async fn openai_keeps_the_contract() {
    let server = fake_http::start(fake_http::Mode::Honest).await;
    let embedder = Checked::new(Arc::new(OpenAi::new(server.openai()).unwrap()));
    embedder.check().await.unwrap();
    embedder_contract(&embedder).await;
    assert_eq!(embedder.name(), "openai/text-embedding-3-small");
    let with_v1 = OpenAiOptions { url: format!("{}/v1/", server.url), ..server.openai() };
    assert_eq!(OpenAi::new(with_v1).unwrap().embed(&["a".to_owned()]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_real_ollama_keeps_the_contract() {
    let Some(url) = real_server("ODDLINE_OLLAMA_URL") else { return };
    let model = std::env::var("ODDLINE_OLLAMA_MODEL").unwrap_or_else(|_| "all-minilm".to_owned());
    let timeout = Duration::from_secs(120);
    let options = OllamaOptions { url, model, timeout, ..OllamaOptions::default() };
    let embedder = Checked::new(Arc::new(Ollama::new(options).unwrap()));
    embedder.check().await.unwrap();
    embedder_contract(&embedder).await;
}

#[tokio::test]
async fn a_real_server_that_speaks_openai_keeps_the_contract() {
    let Some(url) = real_server("ODDLINE_OPENAI_URL") else { return };
    let defaults = OpenAiOptions { url, timeout: Duration::from_secs(120), ..OpenAiOptions::default() };
    let model = std::env::var("ODDLINE_OPENAI_MODEL").unwrap_or_else(|_| defaults.model.clone());
    let api_key = std::env::var("ODDLINE_OPENAI_API_KEY").ok();
    let embedder = Checked::new(Arc::new(OpenAi::new(OpenAiOptions { model, api_key, ..defaults }).unwrap()));
    embedder.check().await.unwrap();
    embedder_contract(&embedder).await;
}

#[tokio::test]
async fn a_configured_dimension_is_known_at_once_and_held_to() {
    let server = fake_http::start(fake_http::Mode::Honest).await;
    let right = Ollama::new(OllamaOptions { dimension: Some(64), ..server.ollama() }).unwrap();
    assert_eq!(right.dimension(), 64);
    assert!(right.embed(&["a".to_owned()]).await.is_ok());
    let wrong = Ollama::new(OllamaOptions { dimension: Some(65), ..server.ollama() }).unwrap();
    assert_failure(wrong.embed(&["a".to_owned()]).await, FailureKind::Bug, &["dimension 64, expected 65"]);
}

#[tokio::test]
async fn the_check_finds_embedders_that_cannot_be_trusted() {
    let check = async |embedder: Arc<dyn Embedder>| Checked::new(embedder).check().await;
    assert_failure(
        check(Arc::new(fakes::wavering())).await,
        FailureKind::Bug,
        &["fake/words", "asked twice"],
    );
    assert_failure(check(Arc::new(fakes::padding())).await, FailureKind::Bug, &["alone and in a batch"]);
    assert_failure(check(Arc::new(fakes::turned())).await, FailureKind::Bug, &["batch"]);
    assert_failure(check(Arc::new(fakes::constant())).await, FailureKind::Bug, &["two different texts"]);
}

#[tokio::test]
async fn nothing_is_embedded_before_the_check_has_passed() {
    let up = Arc::new(AtomicBool::new(false));
    let embedder = Checked::new(Arc::new(fakes::down_until(Arc::clone(&up))));
    let texts = ["a".to_owned()];
    assert_failure(embedder.embed(&texts).await, FailureKind::Unavailable, &["down"]);
    up.store(true, Ordering::Relaxed);
    assert_eq!(embedder.embed(&texts).await.unwrap().len(), 1);

    let wavering = Checked::new(Arc::new(fakes::wavering()));
    assert_failure(wavering.embed(&texts).await, FailureKind::Bug, &["asked twice"]);
}

#[tokio::test]
async fn placeholders_do_not_make_templates_alike() {
    let embedder = Checked::new(Arc::new(StaticModel::embedded().unwrap()));
    let texts = ["user <*> logged in from <*>", "user logged in from"].map(str::to_owned);
    let vectors = embedder.embed(&texts).await.unwrap();
    assert!(cosine(&vectors[0], &vectors[1]) > 0.9999);
}

#[tokio::test]
async fn the_embedded_model_tells_meanings_apart() {
    let model = StaticModel::embedded().unwrap();
    let similarity = async |a: &str, b: &str| {
        let vectors = model.embed(&[a.to_owned(), b.to_owned()]).await.unwrap();
        cosine(&vectors[0], &vectors[1])
    };
    // The figures of the f16 model in Python, so that making it or loading it wrongly shows.
    for (a, b, expected) in [
        ("User 'alice' logged in", "User 'guest' logged in", 0.864),
        ("User 'alice' logged in", "Failed to connect to primary database", 0.302),
        ("Connection to database lost", "Failed to connect to primary database", 0.790),
    ] {
        let found = similarity(a, b).await;
        assert!((found - expected).abs() < 0.005, "{a} / {b}: {found}, expected {expected}");
    }
    // Text without a known word piece is like itself and like nothing else.
    assert!(similarity("🔥🔥", "🔥🔥").await > 0.9999);
    assert!(similarity("🔥🔥", "🔥🚀").await.abs() < 0.5);
    assert!(similarity("🔥🔥", "disk failure").await.abs() < 0.5);
}

#[tokio::test]
async fn a_model_folder_is_read_and_a_broken_one_refused_by_name() {
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("model");
    let model = StaticModel::read(&shipped).unwrap();
    assert_eq!((model.name(), model.dimension()), ("static/model", 256));
    let text = ["connection lost".to_owned()];
    let embedded = StaticModel::embedded().unwrap();
    assert_eq!(model.embed(&text).await.unwrap(), embedded.embed(&text).await.unwrap());

    let folder = tempfile::tempdir().unwrap();
    assert_failure(StaticModel::read(folder.path()), FailureKind::Rejected, &["tokenizer.json"]);
    for name in ["tokenizer.json", "model.safetensors", "config.json"] {
        std::fs::copy(shipped.join(name), folder.path().join(name)).unwrap();
    }
    assert!(StaticModel::read(folder.path()).is_ok());
    let path = folder.path().display().to_string();
    for (name, content) in [
        ("model.safetensors", &b"\xff\xff\xff\xff\xff\xff\xff\xffbroken"[..]),
        ("tokenizer.json", b"{}"),
        ("config.json", b"{"),
    ] {
        let whole = std::fs::read(shipped.join(name)).unwrap();
        for broken in [content, b"", &whole[..whole.len() / 2]] {
            std::fs::write(folder.path().join(name), broken).unwrap();
            assert_failure(StaticModel::read(folder.path()), FailureKind::Rejected, &[&path]);
        }
        std::fs::write(folder.path().join(name), whole).unwrap();
    }
    std::fs::write(folder.path().join("config.json"), r#"{"pooling":"last"}"#).unwrap();
    assert_failure(StaticModel::read(folder.path()), FailureKind::Rejected, &["config.json", "pooling"]);
    std::fs::write(folder.path().join("config.json"), "[]").unwrap();
    assert_failure(
        StaticModel::read(folder.path()),
        FailureKind::Rejected,
        &["config.json", "no JSON object"],
    );
}
