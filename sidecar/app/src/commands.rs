//! The commands, one file each, and what they share: the offline judge, reading lines, printing verdicts.

use std::time::Duration;

use tokio::runtime::Runtime;

pub mod check;
pub mod demo;
#[cfg(feature = "detectors")]
pub mod detectors;
pub mod learn;
pub mod lines;
pub mod offline;
pub mod print;
mod recent;
pub mod rules;
pub mod run;
pub mod scan;
pub mod server;
pub mod time;
pub mod vrl;

/// What the caller can put right: a name that does not exist, options that do not fit together. Exit code 64.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Runs a command to its end. What it has left on threads for blocking work (a name that is looked up, a disk that does
/// not answer) is waited for no longer than `patience`: whatever must be done by then, the command has waited for.
pub fn run_to_end<T>(runtime: Runtime, command: impl Future<Output = T>, patience: Duration) -> T {
    let outcome = runtime.block_on(command);
    runtime.shutdown_timeout(patience);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_never_ends_does_not_keep_the_program() {
        let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let command = async {
            // It ends when `hold` is dropped, which is after the program should have ended.
            tokio::task::spawn_blocking(move || held.recv());
            7
        };
        assert_eq!(run_to_end(runtime, command, Duration::ZERO), 7);
        drop(hold);
    }
}
