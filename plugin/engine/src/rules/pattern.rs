//! A rule's pattern: takes its text, gives its syntax tree and its matcher, or says what to write instead.

use regex_automata::{MatchKind, meta::Regex};
use regex_syntax::{ParserBuilder, ast::ErrorKind, hir::Hir};

use super::{MAX_COMPILED_BYTES, MAX_PATTERN_BYTES};

/// Lazily built states that one matcher may keep per thread. Small, because a set has many and messages are hostile.
const CACHE_BYTES: usize = 128 << 10;

/// Reads a pattern: Rust's regex syntax on bytes, ASCII case ignored unless `(?-i:...)` says otherwise.
pub(super) fn parse(pattern: &str) -> Result<Hir, String> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(format!(
            "has {} bytes, more than the limit of {MAX_PATTERN_BYTES}; split it",
            pattern.len()
        ));
    }
    let mut parser = ParserBuilder::new().case_insensitive(true).unicode(false).utf8(false).build();
    let hir = parser.parse(pattern).map_err(|error| explain(&error))?;
    if hir.properties().minimum_len() == Some(0) {
        return Err("matches the empty message, and so every message; name what must be there".to_owned());
    }
    Ok(hir)
}

/// Builds one matcher for patterns that together may take `limit` bytes.
pub(super) fn compile(hirs: &[Hir], limit: usize) -> Result<Regex, String> {
    // Not UTF-8, so that a match may begin anywhere in a message that is not. All matches, so that in a matcher of many
    // patterns the first does not hide the others. No prefilter of its own, because the set's literals have already
    // said that a match is likely.
    let config = Regex::config()
        .match_kind(MatchKind::All)
        .utf8_empty(false)
        .nfa_size_limit(Some(limit))
        .hybrid_cache_capacity(CACHE_BYTES)
        .auto_prefilter(false);
    let regex = Regex::builder().configure(config).build_many_from_hir(hirs).map_err(|error| {
        if error.size_limit().is_some() { too_large() } else { format!("cannot be compiled: {error}") }
    })?;
    if regex.memory_usage() > limit { Err(too_large()) } else { Ok(regex) }
}

fn too_large() -> String {
    format!(
        "compiled, it needs more than {MAX_COMPILED_BYTES} bytes; use smaller repetitions such as {{1,50}}"
    )
}

fn explain(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => match error.kind() {
            ErrorKind::UnsupportedLookAround => format!(
                "look-around such as `(?=`, `(?!` or `(?<=` is not supported (column {}), because it cannot be matched in \
                 linear time; write the neighbouring text into the pattern, or use `\\b` or a class such as `[^0-9]`",
                error.span().start.column
            ),
            ErrorKind::UnsupportedBackreference => format!(
                "back-references are not supported (column {}), because they cannot be matched in linear time; \
                 write out the alternatives",
                error.span().start.column
            ),
            kind => format!("is not a regex: {kind} (column {})", error.span().start.column),
        },
        regex_syntax::Error::Translate(error) => {
            format!("is not a regex: {} (column {})", error.kind(), error.span().start.column)
        }
        other => format!("is not a regex: {other}"),
    }
}
