//! What all acceptance tests share: where the built programs lie, and how to skip so that it is seen. Takes the
//! environment that `cargo xtask test` sets; knows nothing of what is tested.
#![forbid(unsafe_code)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

/// The path of something that `cargo xtask test` builds before it runs the tests, by the variable that names it.
///
/// # Panics
///
/// When the variable is not set or names no file: a test that needs it must not pass without.
pub fn built(variable: &str) -> String {
    let path =
        std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run `cargo xtask test`"));
    assert!(Path::new(&path).is_file(), "{variable}={path} is no file: run `cargo xtask test`");
    path
}

/// The real Fluent Bit: the program that `ODDLINE_FLUENT_BIT` names, else `fluent-bit` on the path, if any.
///
/// # Panics
///
/// When the variable names no file.
pub fn fluent_bit() -> Option<PathBuf> {
    program("ODDLINE_FLUENT_BIT", "fluent-bit")
}

/// The real Vector: the program that `ODDLINE_VECTOR` names, else `vector` on the path, if any.
///
/// # Panics
///
/// When the variable names no file.
pub fn vector() -> Option<PathBuf> {
    program("ODDLINE_VECTOR", "vector")
}

/// The real Qdrant: the program that `ODDLINE_QDRANT` names, else `qdrant` on the path, if any.
///
/// # Panics
///
/// When the variable names no file.
pub fn qdrant() -> Option<PathBuf> {
    program("ODDLINE_QDRANT", "qdrant")
}

/// All that is answered to one HTTP request, which must ask for the connection to be closed.
///
/// # Errors
///
/// When nobody listens, or the answer is no text.
pub fn exchange(with: SocketAddr, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(with)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn program(variable: &str, name: &str) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        let named = PathBuf::from(named);
        assert!(named.is_file(), "{variable}={} is no file", named.display());
        return Some(named);
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Says on the terminal, past the test harness' capture, that a test did not run and why.
///
/// # Panics
///
/// When `ODDLINE_FULL_RUN` is set: then everything has to be there.
pub fn skipped(test: &str, reason: &str) {
    assert!(std::env::var_os("ODDLINE_FULL_RUN").is_none(), "{test}: {reason}, but ODDLINE_FULL_RUN is set");
    // Not eprintln: the harness would swallow it. If standard error is closed, nobody is there to read it.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}
