//! What a sidecar remembers, in one SQLite file: rows in, rows out, durably. Knows SQL and the files, and nothing of
//! what the rows mean.
//!
//! One process owns a state: a lock file beside the database (`<file>.lock`) keeps a second one out. Calls run on the
//! runtime's threads for blocking work, one at a time.

mod rows;

use std::{
    fmt,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use oddline_analyze::ports::{Answer, BackendError, Known, StateStore, TemplateState};
use oddline_engine::TemplateId;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

/// Most templates that are kept; past it, those seen longest ago are forgotten, exceptions last.
pub const MAX_TEMPLATES: usize = 100_000;

/// Every change of the tables, oldest first; never edited once released. A database's `user_version` says how many it
/// has been through.
const MIGRATIONS: &[&str] = &[include_str!("sqlite/001_initial.sql"), include_str!("sqlite/002_notes.sql")];

/// For a reader from outside (`sqlite3`, a backup) that holds the database for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// A [`StateStore`] in a file.
#[derive(Clone)]
pub struct Sqlite {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    max_templates: usize,
    /// A std mutex: it is only taken on threads for blocking work, and never across an await.
    connection: Mutex<Connection>,
    /// Locked until it is dropped, which is after the connection.
    _lock: File,
}

impl Sqlite {
    /// Opens or makes the state in `path`. Blocks while it does.
    ///
    /// # Errors
    /// If another process uses it, it was written by a newer release, is not a database, or cannot be read or written.
    pub fn open(path: &Path) -> Result<Self, BackendError> {
        Self::with_limit(path, MAX_TEMPLATES)
    }

    /// As [`Sqlite::open`], with another limit than [`MAX_TEMPLATES`].
    ///
    /// # Errors
    /// As [`Sqlite::open`].
    pub fn with_limit(path: &Path, max_templates: usize) -> Result<Self, BackendError> {
        let lock = lock(path)?;
        let failed = |error: rusqlite::Error| failure(path, &error);
        let mut connection = Connection::open(path).map_err(failed)?;
        prepare(&mut connection).map_err(failed)?;
        migrate(&mut connection, path)?;
        let path = path.to_path_buf();
        Ok(Sqlite {
            inner: Arc::new(Inner { path, max_templates, connection: Mutex::new(connection), _lock: lock }),
        })
    }

    /// Whether another process has the state in `path` open now.
    pub fn is_in_use(path: &Path) -> bool {
        let lock = File::options().write(true).open(lock_name(path));
        lock.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }

    /// Runs `work` in a transaction that is rolled back if it fails.
    fn run<'a, T, F>(&'a self, work: F) -> Answer<'a, T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &Inner) -> rusqlite::Result<T> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let task = tokio::task::spawn_blocking(move || {
                let mut connection = inner.connection.lock().unwrap_or_else(PoisonError::into_inner);
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let answer = work(&transaction, &inner)?;
                transaction.commit()?;
                Ok(answer)
            });
            match task.await {
                Ok(answer) => answer.map_err(|error| failure(&self.inner.path, &error)),
                Err(error) => Err(BackendError::bug(format!("state {}: {error}", self.inner.path.display()))),
            }
        })
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl StateStore for Sqlite {
    fn load_templates(&self, limit: usize) -> Answer<'_, Vec<TemplateState>> {
        self.run(move |connection, _| rows::load_templates(connection, limit))
    }

    fn save_templates(&self, rows: Vec<TemplateState>) -> Answer<'_, ()> {
        self.run(move |connection, inner| {
            rows::save_templates(connection, &rows)?;
            rows::forget_templates(connection, inner.max_templates)
        })
    }

    fn load_known<'a>(
        &'a self,
        collection: &'a str,
        behind: Option<TemplateId>,
        limit: usize,
    ) -> Answer<'a, Vec<Known>> {
        let collection = collection.to_owned();
        self.run(move |connection, _| rows::load_known(connection, &collection, behind, limit))
    }

    fn save_known<'a>(&'a self, collection: &'a str, rows: Vec<Known>) -> Answer<'a, ()> {
        let collection = collection.to_owned();
        self.run(move |connection, _| rows::save_known(connection, &collection, &rows))
    }

    fn remove_known<'a>(&'a self, collection: &'a str, ids: &'a [TemplateId]) -> Answer<'a, ()> {
        let (collection, ids) = (collection.to_owned(), ids.to_vec());
        self.run(move |connection, _| rows::remove_known(connection, &collection, &ids))
    }

    fn next<'a>(&'a self, counter: &'a str) -> Answer<'a, u64> {
        let counter = counter.to_owned();
        self.run(move |connection, _| rows::next(connection, &counter))
    }

    fn note<'a>(&'a self, name: &'a str) -> Answer<'a, Option<String>> {
        let name = name.to_owned();
        self.run(move |connection, _| rows::note(connection, &name))
    }

    fn set_note<'a>(&'a self, name: &'a str, text: String) -> Answer<'a, ()> {
        let name = name.to_owned();
        self.run(move |connection, _| rows::set_note(connection, &name, &text))
    }
}

/// The operating system lets go of the lock when the process ends, however it ends.
fn lock(path: &Path) -> Result<File, BackendError> {
    let name = lock_name(path);
    let shown = name.display();
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(|error| BackendError::rejected(format!("lock file {shown}: {error}")))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackendError::rejected(format!(
            "state {} is in use by another process (lock file {shown}); stop it, or give this one another state",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(BackendError::rejected(format!("lock file {shown}: {error}"))),
    }
}

fn lock_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // A write-ahead log: readers from outside are not in the way. `FULL`: what is acknowledged survives a power cut;
    // writes are few.
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), BackendError> {
    let failed = |error: rusqlite::Error| failure(path, &error);
    let version: usize = connection
        .pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
        .map_err(failed)? as usize;
    if version > MIGRATIONS.len() {
        return Err(BackendError::rejected(format!(
            "state {} has version {version}, this release knows up to {}; use the release that wrote it",
            path.display(),
            MIGRATIONS.len()
        )));
    }
    for (number, change) in MIGRATIONS.iter().enumerate().skip(version) {
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        transaction.execute_batch(change).map_err(failed)?;
        transaction.pragma_update(None, "user_version", number as i64 + 1).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(())
}

/// Names the file, and tells what may pass (a full disk, another's lock) from what will not (not a database).
fn failure(path: &Path, error: &rusqlite::Error) -> BackendError {
    let message = format!("state {}: {error}", path.display());
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DiskFull
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::SystemIoFailure
            | ErrorCode::OutOfMemory,
        ) => BackendError::unavailable(message),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => BackendError::rejected(format!(
            "{message}; move it away, and what it held is learned anew, or put a copy of it back"
        )),
        Some(_) => BackendError::rejected(message),
        None => BackendError::bug(message),
    }
}

#[cfg(test)]
mod tests;
