//! A file becomes a compiled component, or an error that says what to do about it. Nothing of it has run by then.

use std::{fs::File, io::Read, path::Path, sync::mpsc, thread, time::Duration};

use wasmtime::component::Component as Compiled;

use crate::{
    convert::shown,
    limits,
    sandbox::{Fault, Runtime, line},
};

/// Package and interface that a component must export.
const INTERFACE: &str = "oddline:detector/detection@";
/// The version that this build speaks; what is added compatibly raises the third number.
const VERSION: &str = "0.1.";
/// What every component and module begins with.
const MAGIC: &[u8] = b"\0asm";
/// Then a component has this, and a module something else.
const LAYER: &[u8] = &[0x0d, 0, 1, 0];

/// Why a component is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It is longer than the limit.
    #[error("has {bytes} bytes, more than the limit of {}", limits::MAX_FILE_BYTES)]
    TooLarge {
        /// What it has, at least.
        bytes: u64,
    },
    /// It is no WebAssembly.
    #[error("is no WebAssembly component")]
    NotWasm,
    /// It is a module, not a component.
    #[error("is a WebAssembly module, not a component: make one of it, e.g. with `wasm-tools component new`")]
    Module,
    /// It is damaged, or uses what is not supported.
    #[error("cannot be compiled: {0}")]
    Invalid(String),
    /// It needs something from outside.
    #[error("imports {0}; a detector imports nothing: build it for wasm32-unknown-unknown, without WASI")]
    Imports(String),
    /// It speaks another version.
    #[error(
        "speaks {INTERFACE}{found}; this build speaks {VERSION}x: build it with the wit/ of this release"
    )]
    Version {
        /// What it speaks.
        found: String,
    },
    /// It is a component of something else.
    #[error("exports {found}, not {INTERFACE}{VERSION}x: build it from the wit/ of this release")]
    NoDetector {
        /// What it exports instead.
        found: String,
    },
    /// It takes too long to compile.
    #[error("takes more than {} s to compile", .0.as_secs())]
    SlowCompile(Duration),
    /// It fails before the first record.
    #[error("does not start: {0}")]
    Start(Fault),
    /// It does not take its options.
    #[error("refuses its options: {0}")]
    Options(String),
    /// It does not take the saved state.
    #[error("refuses its saved state: {0}")]
    State(String),
}

/// A compiled component that may be started, as often as one likes.
#[derive(Clone)]
pub struct Component {
    pub(crate) runtime: Runtime,
    pub(crate) compiled: Compiled,
}

impl Component {
    /// Reads, checks and compiles a file.
    ///
    /// # Errors
    /// Says what is wrong with it, and what to do.
    pub fn load(runtime: &Runtime, path: &Path) -> Result<Component, Refused> {
        let unreadable = |error: std::io::Error| Refused::Unreadable(error.to_string());
        let file = File::open(path).map_err(unreadable)?;
        let told = file.metadata().map_err(unreadable)?.len();
        let mut bytes = Vec::new();
        // What a file says of its length need not be so: pipes and devices say nothing.
        file.take(limits::MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        match told.max(bytes.len() as u64) {
            bytes if bytes > limits::MAX_FILE_BYTES => Err(Refused::TooLarge { bytes }),
            _ => Component::of(runtime, bytes, limits::COMPILE),
        }
    }

    /// Checks and compiles within `time`.
    fn of(runtime: &Runtime, bytes: Vec<u8>, time: Duration) -> Result<Component, Refused> {
        match (bytes.get(..4), bytes.get(4..8)) {
            (Some(MAGIC), Some(LAYER)) => {}
            (Some(MAGIC), _) => return Err(Refused::Module),
            _ => return Err(Refused::NotWasm),
        }
        // A compiler cannot be interrupted, so it works on the side; late, it ends with nobody listening.
        let (done, compiled) = mpsc::sync_channel(1);
        let engine = runtime.engine.clone();
        let compile = move || {
            let _ = done.send(Compiled::from_binary(&engine, &bytes));
        };
        let spawned = thread::Builder::new().name("detector-compiler".to_owned()).spawn(compile);
        spawned.map_err(|error| Refused::Invalid(error.to_string()))?;
        match compiled.recv_timeout(time) {
            Ok(Ok(compiled)) => check(runtime, compiled),
            Ok(Err(error)) => Err(Refused::Invalid(line(&error))),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(Refused::SlowCompile(time)),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                Err(Refused::Invalid("the compiler failed".to_owned()))
            }
        }
    }
}

/// What it imports and exports, by name.
fn check(runtime: &Runtime, compiled: Compiled) -> Result<Component, Refused> {
    let kind = compiled.component_type();
    let imports = kind.imports(&runtime.engine).map(|(name, _)| name.to_owned());
    let imports = names(imports);
    if !imports.is_empty() {
        return Err(Refused::Imports(imports));
    }
    let exports: Vec<String> = kind.exports(&runtime.engine).map(|(name, _)| name.to_owned()).collect();
    match exports.iter().find_map(|name| name.strip_prefix(INTERFACE)) {
        Some(version) if version.starts_with(VERSION) => Ok(Component { runtime: runtime.clone(), compiled }),
        Some(version) => Err(Refused::Version { found: shown(version, limits::MAX_NAME) }),
        None if exports.is_empty() => Err(Refused::NoDetector { found: "nothing".to_owned() }),
        None => Err(Refused::NoDetector { found: names(exports.into_iter()) }),
    }
}

/// The first few of them; a hostile list is as long as it likes.
fn names(all: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 8;
    let mut all = all.map(|name| shown(&name, limits::MAX_NAME));
    let mut names: Vec<String> = all.by_ref().take(SHOWN).collect();
    let more = all.count();
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_that_is_late_is_not_waited_for() {
        let functions = "(func (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))".repeat(5_000);
        let large = wat::parse_str(format!("(component (core module {functions}))")).unwrap();
        let refused = Component::of(&Runtime::new().unwrap(), large, Duration::ZERO).unwrap_err();
        assert_eq!(refused.to_string(), "takes more than 0 s to compile");
    }
}
