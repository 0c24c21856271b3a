//! The directory that plugins read: `secret`, `heartbeat` and `advice`. Each file is replaced whole, by rename, so that
//! nobody ever reads half of one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use oddline_analyze::{Analyzer, ports::Clock};
use oddline_codec::marker::Secret;
use oddline_engine::Advice;
use tokio::time::{Instant, MissedTickBehavior};

/// How often plugins hear that we are there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Rows of advice that may be written per second: a large one is written less often.
const ROWS_PER_SECOND: u32 = 10_000;

/// The directory, with its secret.
#[derive(Debug)]
pub struct AdviceDir {
    path: PathBuf,
    secret: Secret,
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
        Ok(AdviceDir { path: path.to_owned(), secret })
    }

    /// The secret that plugins know too.
    pub fn secret(&self) -> Secret {
        self.secret.clone()
    }

    /// Tells the plugins at once that we are going: they stop sending records here.
    pub fn farewell(&self) {
        // A heartbeat that stays is 3 s old soon.
        let _ = fs::remove_file(self.path.join("heartbeat"));
    }

    fn beat(&self, now: i64) -> io::Result<()> {
        replace(&self.path.join("heartbeat"), now.to_string().as_bytes())
    }
}

/// Writes heartbeat and advice until it is dropped.
pub async fn publish(directory: Arc<AdviceDir>, analyzer: Arc<Analyzer>, clock: Arc<dyn Clock>) {
    let mut beats = tokio::time::interval(HEARTBEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unwritten: Option<Advice> = None;
    let mut not_before = Instant::now();
    let mut failures = 0u32;
    loop {
        beats.tick().await;
        if Instant::now() >= not_before
            && let Some(advice) = analyzer.advice().await
        {
            let rows = u32::try_from(advice.templates.len()).unwrap_or(u32::MAX);
            not_before = Instant::now() + Duration::from_secs(u64::from(rows / ROWS_PER_SECOND));
            unwritten = Some(advice);
        }
        let (writer, now) = (Arc::clone(&directory), clock.unix_nanos());
        let advice = unwritten.take();
        // The advice first: whoever sees a fresh heartbeat finds what belongs to it.
        let written = tokio::task::spawn_blocking(move || {
            if let Some(advice) = &advice
                && let Err(error) = replace(&writer.path.join("advice"), &advice.to_bytes())
            {
                let _ = writer.beat(now);
                return Err((error, Some(advice.clone())));
            }
            writer.beat(now).map_err(|error| (error, None))
        });
        match written.await {
            Ok(Ok(())) => failures = 0,
            Ok(Err((error, advice))) => {
                unwritten = advice;
                failures = failures.saturating_add(1);
                if failures.is_power_of_two() {
                    let path = directory.path.display();
                    tracing::warn!(%path, %error, failures, "advice.dir cannot be written; tried again every second");
                }
            }
            Err(error) => tracing::error!(%error, "advice was not written"),
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

    #[test]
    fn the_heartbeat_goes_with_the_farewell() {
        let folder = tempfile::tempdir().unwrap();
        let directory = AdviceDir::open(folder.path()).unwrap();
        directory.beat(12).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("heartbeat")).unwrap(), "12");
        directory.farewell();
        directory.farewell();
        assert!(!folder.path().join("heartbeat").exists());
    }
}
