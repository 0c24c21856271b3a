//! The directory that plugins read: `secret`, `heartbeat` and `advice`. Each file is replaced whole, by rename, so that
//! nobody ever reads half of one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use oddline_analyze::{Analyzer, ports::Clock};
use oddline_codec::marker::Secret;
use oddline_engine::Advice;
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior},
};

/// How often plugins hear that we are there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Rows of advice that may be written per second: a large one is written less often.
const ROWS_PER_SECOND: u32 = 10_000;

/// The directory, with its secret.
#[derive(Debug)]
pub struct AdviceDir {
    path: PathBuf,
    secret: Secret,
    /// Whether we have taken leave. Held while a heartbeat is written: one that is still under way must not undo that.
    has_left: Mutex<bool>,
}

impl AdviceDir {
    /// Makes the directory and the secret, as far as they are absent.
    ///
    /// # Errors
    /// If they cannot be made or read, or the secret is none.
    pub fn open(path: &Path) -> anyhow::Result<AdviceDir> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .with_context(|| format!("advice.dir {} cannot be made", path.display()))?;
        let file = path.join("secret");
        let failed = || format!("secret {}", file.display());
        if !file.try_exists().with_context(failed)? {
            let mut random = [0; 32];
            getrandom::fill(&mut random).map_err(io::Error::other).with_context(failed)?;
            make_once(&file, Secret::file(&random).as_bytes()).with_context(failed)?;
        }
        let secret = Secret::parse(&fs::read(&file).with_context(failed)?).with_context(failed)?;
        Ok(AdviceDir { path: path.to_owned(), secret, has_left: Mutex::new(false) })
    }

    /// The secret that plugins know too.
    pub fn secret(&self) -> Secret {
        self.secret.clone()
    }

    /// Tells the plugins at once that we are going: they stop sending records here. There is no heartbeat after it.
    pub fn farewell(&self) {
        let mut has_left = self.has_left.lock().unwrap_or_else(PoisonError::into_inner);
        *has_left = true;
        // A heartbeat that stays is 3 s old soon.
        let _ = fs::remove_file(self.path.join("heartbeat"));
    }

    fn beat(&self, now: i64) -> io::Result<()> {
        let has_left = self.has_left.lock().unwrap_or_else(PoisonError::into_inner);
        if *has_left {
            return Ok(());
        }
        replace(&self.path.join("heartbeat"), now.to_string().as_bytes())
    }
}

/// Writes advice until it is dropped, which the engine that screens takes too; and the heartbeat, if there is a detour for
/// plugins to send records on.
pub async fn publish(
    directory: Arc<AdviceDir>,
    analyzer: Arc<Analyzer>,
    clock: Arc<dyn Clock>,
    has_detour: bool,
) {
    let next = || {
        let analyzer = analyzer.clone();
        async move { analyzer.advice().await }
    };
    if has_detour {
        publish_from(&directory, next, clock, HEARTBEAT).await;
    } else {
        keep_advising(&directory, next, &Notify::new()).await;
    }
}

/// Each at its own pace: advice may wait for the state, and plugins must not take that for our end. Only the first
/// heartbeat waits for the advice, at most for `patience`: whoever sees a fresh one then finds what belongs to it.
async fn publish_from<F: Future<Output = Option<Advice>>>(
    directory: &Arc<AdviceDir>,
    next: impl FnMut() -> F,
    clock: Arc<dyn Clock>,
    patience: Duration,
) {
    let advised = Notify::new();
    let beating = async {
        // Too late is no failure: the advice of the last run is there.
        let _ = tokio::time::timeout(patience, advised.notified()).await;
        keep_beating(directory, clock).await;
    };
    tokio::join!(beating, keep_advising(directory, next, &advised));
}

async fn keep_beating(directory: &Arc<AdviceDir>, clock: Arc<dyn Clock>) {
    let mut beats = every_second();
    let mut failures = Failures::default();
    loop {
        beats.tick().await;
        let (writer, now) = (directory.clone(), clock.unix_nanos());
        match tokio::task::spawn_blocking(move || writer.beat(now)).await {
            Ok(written) => failures.note(&directory.path, &written),
            Err(error) => tracing::error!(%error, "the heartbeat was not written"),
        }
    }
}

async fn keep_advising<F: Future<Output = Option<Advice>>>(
    directory: &Arc<AdviceDir>,
    mut next: impl FnMut() -> F,
    advised: &Notify,
) {
    let mut turns = every_second();
    let mut unwritten: Option<Advice> = None;
    let mut not_before = Instant::now();
    let mut failures = Failures::default();
    loop {
        turns.tick().await;
        if Instant::now() >= not_before
            && let Some(advice) = next().await
        {
            let rows = u32::try_from(advice.templates.len()).unwrap_or(u32::MAX);
            not_before = Instant::now() + Duration::from_secs(u64::from(rows / ROWS_PER_SECOND));
            unwritten = Some(advice);
        }
        if let Some(advice) = unwritten.take() {
            let file = directory.path.join("advice");
            let write = move || replace(&file, &advice.to_bytes()).map_err(|error| (error, advice));
            match tokio::task::spawn_blocking(write).await {
                Ok(written) => {
                    let written = written.map_err(|(error, advice)| {
                        unwritten = Some(advice);
                        error
                    });
                    failures.note(&directory.path, &written);
                }
                Err(error) => tracing::error!(%error, "advice was not written"),
            }
        }
        advised.notify_one();
    }
}

fn every_second() -> tokio::time::Interval {
    let mut interval = tokio::time::interval(HEARTBEAT);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Failures in a row to write a file.
#[derive(Debug, Default)]
struct Failures(u32);

impl Failures {
    /// Says so at the 1st, 2nd, 4th … of them.
    fn note(&mut self, directory: &Path, written: &io::Result<()>) {
        let Err(error) = written else {
            self.0 = 0;
            return;
        };
        self.0 = self.0.saturating_add(1);
        if self.0.is_power_of_two() {
            let (path, failures) = (directory.display(), self.0);
            tracing::warn!(%path, %error, failures, "advice.dir cannot be written; tried again every second");
        }
    }
}

/// Another name beside the file, then the file's own: readers see the old or the new one.
fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    let beside = file.with_extension("new");
    File::create(&beside)?.write_all(content)?;
    fs::rename(&beside, file)
}

/// As [`replace`], for owners' eyes only, durable, and never over a file that another process has made meanwhile.
fn make_once(file: &Path, content: &[u8]) -> io::Result<()> {
    let beside = file.with_extension(format!("new-{}", std::process::id()));
    let made = (|| {
        let mut new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        new.write_all(content)?;
        new.sync_all()?;
        match fs::hard_link(&beside, file) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    })();
    let _ = fs::remove_file(&beside);
    made
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use oddline_codec::marker;
    use oddline_engine::{Level, Status, TemplateId};

    use super::*;

    fn mark(directory: &AdviceDir) -> String {
        marker::sign(&directory.secret, b"tag", b"message", TemplateId(1), Level::Low, Status::Confirmed)
    }

    #[test]
    fn the_secret_is_made_once_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let first = AdviceDir::open(&path).unwrap();
        let mode = fs::metadata(path.join("secret")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(mark(&AdviceDir::open(&path).unwrap()), mark(&first));
        let other = tempfile::tempdir().unwrap();
        assert_ne!(mark(&AdviceDir::open(other.path()).unwrap()), mark(&first));
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_broken_secret_is_refused_by_name_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), "hunter2").unwrap();
        let error = format!("{:#}", AdviceDir::open(folder.path()).unwrap_err());
        assert!(error.contains("/secret: secret has 7 bytes, not 64 hex digits"), "{error}");
        assert!(!error.contains("hunter2"));
    }

    struct At(i64);

    impl Clock for At {
        fn unix_nanos(&self) -> i64 {
            self.0
        }
    }

    async fn until_it_beats(folder: &Path, publishing: impl Future<Output = ()>) {
        let seen = async {
            while !folder.join("heartbeat").exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = publishing => {}
            seen = tokio::time::timeout(Duration::from_secs(30), seen) => seen.unwrap(),
        }
    }

    #[test]
    fn the_heartbeat_goes_with_the_farewell() {
        let folder = tempfile::tempdir().unwrap();
        let directory = AdviceDir::open(folder.path()).unwrap();
        directory.beat(12).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("heartbeat")).unwrap(), "12");
        directory.farewell();
        directory.farewell();
        assert!(!folder.path().join("heartbeat").exists());
        directory.beat(13).unwrap();
        assert!(!folder.path().join("heartbeat").exists(), "a writer that comes late undoes nothing");
    }

    #[tokio::test]
    async fn the_heart_beats_while_the_advice_waits_for_the_state() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Arc::new(AdviceDir::open(folder.path()).unwrap());
        let publishing = publish_from(&directory, std::future::pending, Arc::new(At(12)), Duration::ZERO);
        until_it_beats(folder.path(), publishing).await;
    }

    #[tokio::test]
    async fn the_first_heartbeat_comes_after_the_advice() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Arc::new(AdviceDir::open(folder.path()).unwrap());
        let next = || std::future::ready(Some(Advice::default()));
        let publishing = publish_from(&directory, next, Arc::new(At(12)), Duration::from_secs(30));
        until_it_beats(folder.path(), publishing).await;
        assert!(folder.path().join("advice").exists());
    }
}
