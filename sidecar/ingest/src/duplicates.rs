//! Recognises a resent chunk: takes (tag, chunk id, payload length), says deliver, wait, or acknowledge at once.
//!
//! A sender resends when our acknowledgement got lost with the connection. Fluent Bit's chunk id is a hash of the
//! payload, so equal payloads have equal ids: a repeat on the *same* connection is therefore new data (the sender has
//! read our acknowledgement before it sent more), and what is remembered is forgotten soon.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest, Sha256};
use tokio::{
    sync::watch,
    time::{Duration, Instant},
};

/// Which connection a chunk came on.
pub type ConnectionId = u64;

type Key = [u8; 32];

/// The chunks that are on their way or were acknowledged a short while ago. Clones share them.
#[derive(Clone, Debug)]
pub struct Duplicates {
    // A std mutex: held for a look-up, never across an await.
    state: Arc<Mutex<State>>,
    remember: Duration,
    remembered: usize,
}

#[derive(Debug, Default)]
struct State {
    chunks: HashMap<Key, Chunk>,
    acknowledged: VecDeque<(Instant, Key)>,
}

#[derive(Debug)]
enum Chunk {
    InProgress(watch::Receiver<Option<bool>>),
    Acknowledged { at: Instant, connection: ConnectionId },
}

/// What to do with a chunk.
#[derive(Debug)]
pub enum Admission {
    /// Deliver it and tell the ticket.
    Deliver(Ticket),
    /// An equal one is on its way: share its answer.
    Wait(Pending),
    /// An equal one was delivered: acknowledge.
    Acknowledge,
}

/// An equal chunk on its way.
#[derive(Debug)]
pub struct Pending(watch::Receiver<Option<bool>>);

impl Pending {
    /// Whether it was delivered; `false` also if whoever delivered it gave up.
    pub async fn delivered(mut self) -> bool {
        self.0.wait_for(Option::is_some).await.is_ok_and(|answer| *answer == Some(true))
    }
}

/// The duty to deliver a chunk. Dropping it unfinished counts as a failure.
#[derive(Debug)]
pub struct Ticket {
    duplicates: Duplicates,
    key: Key,
    connection: ConnectionId,
    answer: watch::Sender<Option<bool>>,
}

impl Duplicates {
    /// Remembers at most `remembered` acknowledged chunks, each for `remember`.
    pub fn new(remember: Duration, remembered: usize) -> Self {
        Duplicates { state: Arc::default(), remember, remembered }
    }

    /// Decides about a chunk that has just come.
    pub fn admit(&self, connection: ConnectionId, tag: &[u8], chunk: &[u8], length: usize) -> Admission {
        let mut hash = Sha256::new();
        for part in [tag, chunk] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update((length as u64).to_be_bytes());
        let key: Key = hash.finalize().into();

        let mut state = self.lock();
        state.forget(Instant::now(), self.remember, self.remembered);
        match state.chunks.get(&key) {
            Some(Chunk::InProgress(answer)) => return Admission::Wait(Pending(answer.clone())),
            Some(Chunk::Acknowledged { connection: first, .. }) if *first != connection => {
                return Admission::Acknowledge;
            }
            _ => {}
        }
        let (answer, receiver) = watch::channel(None);
        state.chunks.insert(key, Chunk::InProgress(receiver));
        Admission::Deliver(Ticket { duplicates: self.clone(), key, connection, answer })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self, now: Instant, remember: Duration, remembered: usize) {
        while let Some((at, key)) = self.acknowledged.front().copied() {
            if now.duration_since(at) < remember && self.acknowledged.len() <= remembered {
                break;
            }
            self.acknowledged.pop_front();
            // The key may since have been delivered again; then the newer entry decides.
            if matches!(self.chunks.get(&key), Some(Chunk::Acknowledged { at: then, .. }) if *then == at) {
                self.chunks.remove(&key);
            }
        }
    }
}

impl Ticket {
    /// The chunk was delivered.
    pub fn delivered(self) {
        let now = Instant::now();
        {
            let mut state = self.duplicates.lock();
            state.chunks.insert(self.key, Chunk::Acknowledged { at: now, connection: self.connection });
            state.acknowledged.push_back((now, self.key));
            state.forget(now, self.duplicates.remember, self.duplicates.remembered);
        }
        self.answer.send_replace(Some(true));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.answer.borrow().is_none() {
            self.duplicates.lock().chunks.remove(&self.key);
            self.answer.send_replace(Some(false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks() -> Duplicates {
        Duplicates::new(Duration::from_secs(60), 10)
    }

    fn deliver(duplicates: &Duplicates, connection: ConnectionId, chunk: &str) -> Ticket {
        match duplicates.admit(connection, b"app", chunk.as_bytes(), 7) {
            Admission::Deliver(ticket) => ticket,
            other => panic!("{chunk}: {other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_resend_is_acknowledged_while_remembered() {
        let duplicates = chunks();
        deliver(&duplicates, 1, "a").delivered();
        assert!(matches!(duplicates.admit(2, b"app", b"a", 7), Admission::Acknowledge));
        // Another length, tag or split of the same bytes is another chunk; so is a repeat on the same connection.
        assert!(matches!(duplicates.admit(2, b"app", b"a", 8), Admission::Deliver(_)));
        assert!(matches!(duplicates.admit(2, b"ap", b"pa", 7), Admission::Deliver(_)));
        assert!(matches!(duplicates.admit(1, b"app", b"a", 7), Admission::Deliver(_)));
        deliver(&duplicates, 1, "a").delivered();
        tokio::time::advance(Duration::from_secs(60)).await;
        deliver(&duplicates, 2, "a");
    }

    #[tokio::test]
    async fn an_equal_chunk_on_its_way_shares_the_answer() {
        let duplicates = chunks();
        for outcome in [true, false] {
            let ticket = deliver(&duplicates, 1, "b");
            let Admission::Wait(pending) = duplicates.admit(2, b"app", b"b", 7) else { panic!("not joined") };
            if outcome {
                ticket.delivered()
            } else {
                drop(ticket)
            }
            assert_eq!(pending.delivered().await, outcome);
            duplicates.lock().chunks.clear();
        }
        deliver(&duplicates, 2, "b");
    }

    #[tokio::test]
    async fn memory_is_bounded_at_the_limit_one_over_and_ten_times() {
        let duplicates = chunks();
        for number in 0..100 {
            deliver(&duplicates, 1, &number.to_string()).delivered();
            let state = duplicates.lock();
            assert_eq!(state.chunks.len(), (number + 1).min(10));
            assert_eq!(state.acknowledged.len(), state.chunks.len());
        }
        assert!(matches!(duplicates.admit(2, b"app", b"90", 7), Admission::Acknowledge));
        assert!(matches!(duplicates.admit(2, b"app", b"89", 7), Admission::Deliver(_)));
    }
}
