//! What a detector learned, kept: in memory for its next instance after a fault, and in a file for the next start. Saved
//! between two batches, never more often than every so often; what was learned since is learned anew.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{detector::Detector, limits};

/// Keeps one detector's snapshots.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// Its file.
    path: PathBuf,
    every: Duration,
    last: Option<Instant>,
    /// Asking for a snapshot that fails costs what was learned, so it is not done twice.
    is_able: bool,
}

impl Keeper {
    /// A keeper of a file in a folder, which is made when it is needed.
    pub(crate) fn new(folder: &Path, name: &str, every: Duration) -> Keeper {
        Keeper { path: folder.join(format!("{name}.snapshot")), every, last: None, is_able: true }
    }

    /// Gives the detector what is kept of it, if anything is and it takes it.
    pub(crate) fn restore(&self, name: &str, detector: &mut Detector) {
        let kept = match read(&self.path) {
            Ok(kept) => kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                tracing::warn!(detector = name, path = %self.path.display(), %error, "what it learned cannot be read");
                return;
            }
        };
        if let Err(refused) = detector.restore(kept) {
            tracing::warn!(detector = name, path = %self.path.display(), "detector begins anew: {refused}");
        }
    }

    /// Saves what the detector has learned, if it is time.
    pub(crate) fn keep(&mut self, name: &str, detector: &mut Detector, now: Instant) {
        let is_due = self.last.is_none_or(|last| now.saturating_duration_since(last) >= self.every);
        if !self.is_able || !is_due {
            return;
        }
        self.last = Some(now);
        let saved = match detector.snapshot() {
            Ok(saved) if saved.is_empty() => return,
            Ok(saved) => saved,
            Err(fault) => {
                self.is_able = false;
                tracing::warn!(detector = name, %fault, "detector gives no snapshot: what it learns is not kept");
                return;
            }
        };
        if let Err(error) = write(&self.path, &saved) {
            tracing::warn!(detector = name, path = %self.path.display(), %error, "what it learned cannot be written");
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = fs::metadata(path)?.len();
    let limit = limits::MAX_SNAPSHOT_BYTES;
    if bytes > limit as u64 {
        return Err(io::Error::other(format!("{bytes} bytes, more than the limit of {limit}")));
    }
    fs::read(path)
}

/// By rename, so that whoever is killed meanwhile leaves the old one.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let fresh = path.with_extension("snapshot.new");
    fs::write(&fresh, bytes)?;
    fs::rename(fresh, path)
}
