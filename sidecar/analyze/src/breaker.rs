//! A circuit breaker per backend: a dead one costs its first callers a timeout and everyone after them nothing.
//! Takes calls, gives their answers or a refusal in words; knows nothing of what is called.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::ports::{BackendError, FailureKind};

/// Longest time that an open breaker waits before it tries again.
const LONGEST_OPEN: Duration = Duration::from_secs(30);

/// What the breaker does with calls now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Lets calls through.
    Closed,
    /// Refuses them.
    Open,
    /// Has let one through to see whether the backend is back.
    HalfOpen,
}

#[derive(Debug)]
struct Inner {
    state: BreakerState,
    failures: u32,
    /// When open: when to try. When half-open: when a probe that never answered is given up.
    until: Instant,
    open_for: Duration,
    last_error: String,
}

/// Closed, open or half-open.
#[derive(Debug)]
pub struct Breaker {
    what: &'static str,
    timeout: Duration,
    failures_to_open: u32,
    first_open: Duration,
    /// Held for a few instructions, never across a call.
    inner: Mutex<Inner>,
}

impl Breaker {
    /// A closed breaker around `what` (for error texts), whose calls may take `timeout`.
    pub fn new(what: &'static str, timeout: Duration, failures_to_open: u32, first_open: Duration) -> Self {
        let inner = Inner {
            state: BreakerState::Closed,
            failures: 0,
            until: Instant::now(),
            open_for: first_open,
            last_error: String::new(),
        };
        Breaker { what, timeout, failures_to_open, first_open, inner: Mutex::new(inner) }
    }

    /// What it does with calls now.
    pub fn state(&self) -> BreakerState {
        self.lock().state
    }

    /// Makes the call, unless the breaker is open.
    ///
    /// # Errors
    /// The backend's own, a timeout, or the refusal; a refusal names the failure that opened the breaker.
    pub async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        self.call_counting(|error| error.kind != FailureKind::Rejected, call).await
    }

    /// As [`Breaker::call`], where `counts` says which failures count: what does not is neither failure nor success.
    ///
    /// # Errors
    /// As [`Breaker::call`].
    pub(crate) async fn call_counting<T>(
        &self,
        counts: impl Fn(&BackendError) -> bool,
        call: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        self.admit()?;
        let answer = match tokio::time::timeout(self.timeout, call).await {
            Ok(answer) => answer,
            Err(_) => Err(BackendError::unavailable(format!("no answer within {:?}", self.timeout))),
        };
        match &answer {
            Err(error) if counts(error) => self.failed(&error.message),
            // Whoever refuses a call is alive.
            Err(error) if error.kind == FailureKind::Rejected => self.succeeded(),
            Err(_) => self.undecided(),
            Ok(_) => self.succeeded(),
        }
        answer
    }

    /// Whether a call would be let through now.
    ///
    /// # Errors
    /// The refusal, as of [`Breaker::call`].
    pub(crate) fn refusal(&self) -> Result<(), BackendError> {
        self.lock().refusal()
    }

    fn admit(&self) -> Result<(), BackendError> {
        let mut inner = self.lock();
        inner.refusal()?;
        if inner.state != BreakerState::Closed {
            inner.state = BreakerState::HalfOpen;
            // A probe whose task was cancelled must not keep the breaker half-open for ever.
            inner.until = Instant::now() + self.timeout + self.first_open;
        }
        Ok(())
    }

    fn succeeded(&self) {
        let mut inner = self.lock();
        if inner.state != BreakerState::Closed {
            tracing::info!(backend = self.what, "backend is back");
        }
        inner.state = BreakerState::Closed;
        inner.failures = 0;
        inner.open_for = self.first_open;
    }

    /// The next call is a probe too, if this one was.
    fn undecided(&self) {
        let mut inner = self.lock();
        if inner.state == BreakerState::HalfOpen {
            inner.until = Instant::now();
        }
    }

    pub(crate) fn failed(&self, error: &str) {
        let mut inner = self.lock();
        inner.failures = inner.failures.saturating_add(1);
        inner.last_error = error.chars().take(300).collect();
        match inner.state {
            BreakerState::Closed if inner.failures < self.failures_to_open => return,
            BreakerState::Closed => {
                tracing::warn!(
                    backend = self.what,
                    error,
                    failures = inner.failures,
                    "backend is not called any more"
                );
            }
            BreakerState::HalfOpen => inner.open_for = (inner.open_for * 2).min(LONGEST_OPEN),
            // Calls that were under way when it opened.
            BreakerState::Open => return,
        }
        inner.state = BreakerState::Open;
        inner.until = Instant::now() + inner.open_for;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn refusal(&self) -> Result<(), BackendError> {
        if self.state == BreakerState::Closed || Instant::now() >= self.until {
            return Ok(());
        }
        Err(BackendError::unavailable(format!(
            "not called after {} failures, the last one: {}",
            self.failures, self.last_error
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new("embedder", Duration::from_secs(2), 3, Duration::from_secs(1))
    }

    async fn fail(breaker: &Breaker) -> String {
        breaker.call(async { Err::<(), _>(BackendError::unavailable("refused")) }).await.unwrap_err().message
    }

    #[tokio::test(start_paused = true)]
    async fn opens_at_the_limit_and_probes_once_with_growing_pauses() {
        let breaker = breaker();
        for _ in 0..2 {
            assert_eq!(fail(&breaker).await, "refused");
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        fail(&breaker).await;
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(fail(&breaker).await, "not called after 3 failures, the last one: refused");

        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(fail(&breaker).await, "refused", "one probe is let through");
        tokio::time::advance(Duration::from_millis(1_999)).await;
        assert!(fail(&breaker).await.starts_with("not called"), "the pause has doubled");
        tokio::time::advance(Duration::from_millis(1)).await;
        breaker.call(async { Ok(()) }).await.unwrap();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn while_one_probes_the_others_are_refused() {
        let breaker = breaker();
        for _ in 0..3 {
            fail(&breaker).await;
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        let probe = breaker.call(async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(())
        });
        let (probe, other) = tokio::join!(probe, fail(&breaker));
        assert!(probe.is_ok());
        assert!(other.starts_with("not called"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hung_backend_counts_as_failed_and_a_lost_probe_is_given_up() {
        let breaker = breaker();
        for _ in 0..3 {
            let hung = breaker.call(std::future::pending::<Result<(), BackendError>>()).await.unwrap_err();
            assert_eq!(hung.message, "no answer within 2s");
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        // The probe's task is cancelled before it answers.
        let probe = breaker.call(std::future::pending::<Result<(), BackendError>>());
        assert!(tokio::time::timeout(Duration::from_millis(1), probe).await.is_err());
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(breaker.call(async { Ok(()) }).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_no_outage() {
        let breaker = breaker();
        for _ in 0..30 {
            let refused = breaker.call(async { Err::<(), _>(BackendError::rejected("too long")) }).await;
            assert_eq!(refused.unwrap_err().message, "too long");
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
