//! Recognises a resent chunk: takes (peer, tag, chunk id, payload length), says whether it is to be delivered or was.
//!
//! Equal payloads are not always a resend: Fluent Bit's chunk id is a hash of the payload, and two like ones may both be
//! meant. So only what was delivered while its acknowledgement could *not* be sent is remembered: its sender has to send
//! it again, and exactly one equal chunk of the same peer is then acknowledged without being delivered. In every other
//! case a chunk is delivered: a duplicate is the worst that can come of it, never a loss.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest, Sha256};
use tokio::{
    sync::{oneshot, watch},
    time::{Duration, Instant},
};
use tracing::debug;

use crate::deliver::DeliverError;

type Key = [u8; 32];

/// The chunks that are on their way, or were delivered without their sender knowing. Clones share them.
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
    unacknowledged: VecDeque<(Instant, Key)>,
}

#[derive(Debug)]
enum Chunk {
    /// Closed when it is decided.
    InProgress(watch::Receiver<()>),
    Unacknowledged(Instant),
}

/// The duty to deliver a chunk, if it was not delivered before, and to acknowledge it. Dropped between the two, the
/// chunk is remembered; dropped before, it is forgotten.
#[derive(Debug)]
pub struct Ticket {
    duplicates: Duplicates,
    key: Key,
    is_delivered: bool,
    is_acknowledged: bool,
    /// Those who wait for the decision hold the other end.
    _decided: watch::Sender<()>,
}

impl Duplicates {
    /// Remembers at most `remembered` chunks without acknowledgement, each for `remember`.
    pub fn new(remember: Duration, remembered: usize) -> Self {
        Duplicates { state: Arc::default(), remember, remembered }
    }

    /// Admits a chunk that has just come; waits while an equal one of the same peer is on its way.
    pub async fn admit(&self, peer: IpAddr, tag: &[u8], chunk: &[u8], length: usize) -> Ticket {
        let mut hash = Sha256::new();
        for part in [peer.to_canonical().to_string().as_bytes(), tag, chunk] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update((length as u64).to_be_bytes());
        let key: Key = hash.finalize().into();
        loop {
            match self.try_admit(key) {
                Ok(ticket) => return ticket,
                // Ends with an error, which says that the other end is gone: it is decided.
                Err(mut decided) => while decided.changed().await.is_ok() {},
            }
        }
    }

    fn try_admit(&self, key: Key) -> Result<Ticket, watch::Receiver<()>> {
        let mut state = self.lock();
        state.forget(Instant::now(), self.remember, self.remembered);
        let is_delivered = match state.chunks.get(&key) {
            Some(Chunk::InProgress(decided)) => return Err(decided.clone()),
            Some(Chunk::Unacknowledged(_)) => true,
            None => false,
        };
        let (decided, waiting) = watch::channel(());
        state.chunks.insert(key, Chunk::InProgress(waiting));
        Ok(Ticket { duplicates: self.clone(), key, is_delivered, is_acknowledged: false, _decided: decided })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries a chunk on a task of its own, so that what has begun ends well even if the sender does not wait for it: then its
/// resend is known. The chunk counts as acknowledged once its sender has the answer.
///
/// # Errors
/// Why it was not delivered; none if the sidecar is stopping.
pub(crate) async fn see_through(
    carry: impl Future<Output = Result<Ticket, DeliverError>> + Send + 'static,
) -> Result<(), Option<DeliverError>> {
    let (answer, answered) = oneshot::channel();
    tokio::spawn(async move {
        if let Err(Err(error)) = answer.send(carry.await) {
            debug!(%error, "not delivered, and nobody waits for the answer");
        }
    });
    match answered.await {
        Ok(Ok(ticket)) => {
            ticket.acknowledged();
            Ok(())
        }
        Ok(Err(error)) => Err(Some(error)),
        Err(_) => Err(None),
    }
}

impl State {
    fn forget(&mut self, now: Instant, remember: Duration, remembered: usize) {
        while let Some((at, key)) = self.unacknowledged.front().copied() {
            if now.duration_since(at) < remember && self.unacknowledged.len() <= remembered {
                break;
            }
            self.unacknowledged.pop_front();
            // The key may since have come again; then the newer entry decides.
            if matches!(self.chunks.get(&key), Some(Chunk::Unacknowledged(then)) if *then == at) {
                self.chunks.remove(&key);
            }
        }
    }
}

impl Ticket {
    /// Whether the chunk has been delivered: now, or when it came the first time.
    pub fn is_delivered(&self) -> bool {
        self.is_delivered
    }

    /// The chunk was delivered.
    pub fn delivered(&mut self) {
        self.is_delivered = true;
    }

    /// The acknowledgement is on its way: an equal chunk is a new one from now on.
    pub fn acknowledged(mut self) {
        self.is_acknowledged = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.duplicates.lock();
        if self.is_delivered && !self.is_acknowledged {
            state.chunks.insert(self.key, Chunk::Unacknowledged(now));
            state.unacknowledged.push_back((now, self.key));
            state.forget(now, self.duplicates.remember, self.duplicates.remembered);
        } else {
            state.chunks.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::time::timeout;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn chunks() -> Duplicates {
        Duplicates::new(Duration::from_secs(60), 10)
    }

    /// Delivered, and its sender was gone before it could be told.
    async fn unacknowledged(duplicates: &Duplicates, chunk: &str) {
        let mut ticket = duplicates.admit(PEER, b"app", chunk.as_bytes(), 7).await;
        ticket.delivered();
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_acknowledged_is_new_when_it_comes_again() {
        let duplicates = chunks();
        for _ in 0..3 {
            let mut ticket = duplicates.admit(PEER, b"app", b"a", 7).await;
            assert!(!ticket.is_delivered());
            ticket.delivered();
            ticket.acknowledged();
        }
        assert!(duplicates.lock().chunks.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_resend_of_the_same_peer_is_recognised_while_remembered() {
        let duplicates = chunks();
        unacknowledged(&duplicates, "a").await;
        // Another peer, length, tag or split of the same bytes is another chunk.
        for (peer, tag, chunk, length) in
            [(OTHER, "app", "a", 7), (PEER, "app", "a", 8), (PEER, "ap", "pa", 7)]
        {
            let ticket = duplicates.admit(peer, tag.as_bytes(), chunk.as_bytes(), length).await;
            assert!(!ticket.is_delivered(), "{peer} {tag} {chunk} {length}");
        }
        // A resend whose acknowledgement cannot be sent either leaves things as they were.
        assert!(duplicates.admit(PEER, b"app", b"a", 7).await.is_delivered());
        let resend = duplicates.admit(PEER, b"app", b"a", 7).await;
        assert!(resend.is_delivered());
        resend.acknowledged();
        assert!(!duplicates.admit(PEER, b"app", b"a", 7).await.is_delivered(), "only one");
        unacknowledged(&duplicates, "a").await;
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(!duplicates.admit(PEER, b"app", b"a", 7).await.is_delivered());
    }

    #[tokio::test(start_paused = true)]
    async fn an_equal_chunk_waits_for_the_one_on_its_way() {
        let duplicates = chunks();
        for (delivered, acknowledged) in [(false, false), (true, false), (true, true)] {
            let mut first = duplicates.admit(PEER, b"app", b"b", 7).await;
            let second = duplicates.admit(PEER, b"app", b"b", 7);
            tokio::pin!(second);
            assert!(timeout(Duration::from_secs(1), &mut second).await.is_err(), "did not wait");
            if delivered {
                first.delivered();
            }
            if acknowledged {
                first.acknowledged()
            } else {
                drop(first)
            }
            let second = second.await;
            assert_eq!(second.is_delivered(), delivered && !acknowledged);
            second.acknowledged();
        }
    }

    #[tokio::test]
    async fn memory_is_bounded_at_the_limit_one_over_and_ten_times() {
        let duplicates = chunks();
        for number in 0..100 {
            unacknowledged(&duplicates, &number.to_string()).await;
            let state = duplicates.lock();
            assert_eq!(state.chunks.len(), (number + 1).min(10));
            assert_eq!(state.unacknowledged.len(), state.chunks.len());
        }
        assert!(duplicates.admit(PEER, b"app", b"90", 7).await.is_delivered());
        assert!(!duplicates.admit(PEER, b"app", b"89", 7).await.is_delivered());
    }
}
