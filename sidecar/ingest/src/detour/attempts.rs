//! Takes what the screening found in a batch that was not delivered, gives it again when the batch comes again: what was new
//! at the first attempt is new for its reader still, and a resend is no second record to count. Must not know what a batch is.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use oddline_engine::{Level, Verdict};
use tokio::time::Instant;

/// Most verdicts that wait for their records to come again; with more, the ones before are forgotten, and such a record is
/// screened anew.
const MAX_WAITING: usize = 10_000;
/// So long they wait: senders come again every minute or so, and an equal record of another day is another record.
const WAITS: Duration = Duration::from_secs(600);

/// Verdicts of records that were not delivered.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    hasher: RandomState,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By record; one that stands in a batch twice has two, in order.
    verdicts: HashMap<u64, VecDeque<Verdict>>,
    count: usize,
    /// When the last of them was kept.
    kept: Option<Instant>,
}

/// What is found in a batch at this attempt. Dropped before it is delivered, it waits for the batch to come again.
pub(super) struct Attempt<'a> {
    attempts: &'a Attempts,
    found: Vec<(u64, Verdict)>,
}

impl Attempts {
    pub(super) fn begin(&self) -> Attempt<'_> {
        Attempt { attempts: self, found: Vec::new() }
    }

    fn take(&self, tag: &[u8], body: &[u8]) -> Option<Verdict> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.count == 0 {
            return None;
        }
        if waiting.kept.is_some_and(|kept| kept.elapsed() > WAITS) {
            *waiting = Waiting::default();
            return None;
        }
        let key = self.hasher.hash_one((tag, body));
        let verdicts = waiting.verdicts.get_mut(&key)?;
        let verdict = verdicts.pop_front();
        if verdicts.is_empty() {
            waiting.verdicts.remove(&key);
        }
        waiting.count = waiting.count.saturating_sub(usize::from(verdict.is_some()));
        verdict
    }

    fn keep(&self, found: Vec<(u64, Verdict)>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.count.saturating_add(found.len()) > MAX_WAITING {
            *waiting = Waiting::default();
        }
        waiting.kept = Some(Instant::now());
        for (key, verdict) in found.into_iter().take(MAX_WAITING) {
            waiting.verdicts.entry(key).or_default().push_back(verdict);
            waiting.count = waiting.count.saturating_add(1);
        }
    }
}

impl Attempt<'_> {
    /// What was found for a record at the last attempt, else what is found now. Only what somebody is to hear of is kept.
    pub(super) fn screened(&mut self, tag: &[u8], body: &[u8], screen: impl FnOnce() -> Verdict) -> Verdict {
        let verdict = self.attempts.take(tag, body).unwrap_or_else(screen);
        if (verdict.is_pending() || verdict.level > Level::None) && self.found.len() < MAX_WAITING {
            self.found.push((self.attempts.hasher.hash_one((tag, body)), verdict.clone()));
        }
        verdict
    }

    pub(super) fn delivered(mut self) {
        self.found.clear();
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.found.is_empty() {
            self.attempts.keep(std::mem::take(&mut self.found));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odd(score: f32) -> Verdict {
        Verdict { score, level: Level::High, ..Verdict::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_too_long_is_forgotten() {
        let attempts = Attempts::default();
        for (pause, score) in [(WAITS, 0.9), (WAITS + Duration::from_millis(1), 0.6), (10 * WAITS, 0.6)] {
            let mut first = attempts.begin();
            assert_eq!(first.screened(b"a", b"x", || odd(0.9)).score, 0.9);
            drop(first);
            tokio::time::advance(pause).await;
            let mut second = attempts.begin();
            assert_eq!(second.screened(b"a", b"x", || odd(0.6)).score, score, "{pause:?}");
            second.delivered();
        }
    }

    #[test]
    fn what_was_not_delivered_is_found_again_and_each_verdict_once() {
        let attempts = Attempts::default();
        let scores = |attempt: &mut Attempt<'_>, now: f32| {
            [("a", "x"), ("a", "y"), ("a", "x"), ("ax", "")]
                .map(|(tag, body)| attempt.screened(tag.as_bytes(), body.as_bytes(), || odd(now)).score)
        };
        let mut first = attempts.begin();
        let x = first.screened(b"a", b"x", || odd(0.9)).score;
        let again = first.screened(b"a", b"x", || odd(0.6)).score;
        assert_eq!((x, again), (0.9, 0.6), "within a batch each is looked at");
        drop(first);
        for now in [0.1, 0.2, 0.3] {
            assert_eq!(scores(&mut attempts.begin(), now), [0.9, 0.1, 0.6, 0.1]);
        }
        let mut last = attempts.begin();
        assert_eq!(scores(&mut last, 0.4), [0.9, 0.1, 0.6, 0.1]);
        last.delivered();
        assert_eq!(scores(&mut attempts.begin(), 0.3), [0.3, 0.3, 0.3, 0.3]);
    }

    #[test]
    fn quiet_records_are_not_kept() {
        let attempts = Attempts::default();
        drop(attempts.begin().screened(b"a", b"x", Verdict::default));
        assert_eq!(attempts.waiting.lock().unwrap().count, 0);
    }

    #[test]
    fn what_waits_is_bounded_at_the_limit_one_over_and_ten_times() {
        for (given, held) in
            [(MAX_WAITING, MAX_WAITING), (MAX_WAITING + 1, 1), (10 * MAX_WAITING, MAX_WAITING)]
        {
            let body = |number: usize| number.to_be_bytes();
            let attempts = Attempts::default();
            (0..given).for_each(|number| _ = attempts.begin().screened(b"a", &body(number), || odd(0.5)));
            assert_eq!(attempts.waiting.lock().unwrap().count, held, "{given}");
            let attempts = Attempts::default();
            let mut attempt = attempts.begin();
            (0..given).for_each(|number| _ = attempt.screened(b"a", &body(number), || odd(0.5)));
            drop(attempt);
            assert_eq!(attempts.waiting.lock().unwrap().count, given.min(MAX_WAITING), "{given} at once");
        }
    }
}
