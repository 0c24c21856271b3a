//! One suite per port, run against what is embedded, against honest fakes, and against the real servers when
//! `ODDLINE_OLLAMA_URL` (model `ODDLINE_OLLAMA_MODEL`, default `all-minilm`), `ODDLINE_OPENAI_URL` (model
//! `ODDLINE_OPENAI_MODEL`, key `ODDLINE_OPENAI_API_KEY`) and `ODDLINE_QDRANT_URL` are set.

mod bad_answers;
mod embedder;
mod fake_http;
mod fake_qdrant;
mod fakes;
mod index;
mod row_table;
mod store;

use std::io::Write as _;

use oddline_analyze::ports::{BackendError, FailureKind};

/// The value of a variable that names a real server; says loudly that a suite is skipped without it.
fn real_server(variable: &str) -> Option<String> {
    let url = std::env::var(variable).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        assert!(
            std::env::var_os("ODDLINE_FULL_RUN").is_none(),
            "{variable} is not set, but ODDLINE_FULL_RUN is"
        );
        // Not `eprintln!`, which the test harness keeps to itself unless the test fails.
        let _ =
            writeln!(std::io::stderr(), "SKIPPED: {variable} is not set, so the real server is not tested");
    }
    url
}

#[track_caller]
fn assert_failure<T>(answer: Result<T, BackendError>, kind: FailureKind, words: &[&str]) {
    let Err(error) = answer else { panic!("expected a failure of kind {kind:?}") };
    assert_eq!(error.kind, kind, "{error}");
    for word in words {
        assert!(error.message.contains(word), "`{word}` is not in: {error}");
    }
}
