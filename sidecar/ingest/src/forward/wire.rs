//! Whole messages over a socket: reads one msgpack value at a time within limits of size and time, and writes.
//! Knows neither frames nor handshakes.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

use super::value::{Scanner, ValueError};
use crate::budget::{Budget, Held};

/// A connection holds so much without asking the budget.
const FREE_BYTES: usize = 16 << 10;
/// Read at once.
const READ_BYTES: usize = 64 << 10;

/// A socket of either side, with or without TLS.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// Why reading or writing stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The message is not msgpack or too long.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The other side closed within a message.
    #[error("closed within a message, after {0} bytes of it")]
    Closed(usize),
    /// The other side took too long.
    #[error("no {what} within {seconds} s")]
    Late {
        /// What was waited for.
        what: &'static str,
        /// The limit.
        seconds: f32,
    },
}

/// How long a message may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Until its first byte.
    pub(crate) first: Duration,
    /// From there to its last.
    pub(crate) last: Duration,
}

/// A socket, and what was read from it beyond the last message.
pub(crate) struct Wire {
    socket: Box<dyn Socket>,
    buffer: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(socket: impl Socket + 'static) -> Self {
        Wire { socket: Box::new(socket), buffer: Vec::new() }
    }

    /// The next message, `None` if the other side has closed between two.
    pub(crate) async fn message(
        &mut self,
        limit: usize,
        patience: Patience,
    ) -> Result<Option<Vec<u8>>, WireError> {
        Ok(self.read(limit, patience, None).await?.map(|(message, _)| message))
    }

    /// The same with its bytes taken from the budget: when it is empty, reading stops, and TCP holds the sender back.
    pub(crate) async fn frame(
        &mut self,
        limit: usize,
        patience: Patience,
        budget: &Budget,
    ) -> Result<Option<(Vec<u8>, Held)>, WireError> {
        let Some((frame, held)) = self.read(limit, patience, Some(budget)).await? else { return Ok(None) };
        let held = match held {
            Some(mut held) => {
                held.shrink(frame.len());
                held
            }
            None => budget.frame(frame.len()).await,
        };
        Ok(Some((frame, held)))
    }

    async fn read(
        &mut self,
        limit: usize,
        patience: Patience,
        budget: Option<&Budget>,
    ) -> Result<Option<(Vec<u8>, Option<Held>)>, WireError> {
        if self.buffer.is_empty() {
            let first = timeout(patience.first, self.more(FREE_BYTES)).await;
            if first.map_err(|_| late("message", patience.first))?? == 0 {
                return Ok(None);
            }
        }
        let mut deadline = Instant::now() + patience.last;
        let mut scanner = Scanner::new(limit);
        let mut held = None;
        loop {
            if let Some(length) = scanner.advance(&self.buffer)? {
                let beyond = self.buffer.split_off(length);
                return Ok(Some((std::mem::replace(&mut self.buffer, beyond), held)));
            }
            if let Some(budget) = budget
                && held.is_none()
                && self.buffer.len() >= FREE_BYTES
            {
                // All it may need in one piece: waiting with a part in hand is how deadlocks are made. The wait is
                // ours, so it does not count against the sender.
                let start = Instant::now();
                held = Some(budget.frame(limit).await);
                deadline += start.elapsed();
            }
            let room =
                if budget.is_some() && held.is_none() { FREE_BYTES - self.buffer.len() } else { READ_BYTES };
            let more = timeout_at(deadline, self.more(room)).await;
            if more.map_err(|_| late("end of the message", patience.last))?? == 0 {
                return Err(WireError::Closed(self.buffer.len()));
            }
        }
    }

    /// Reads at most so many bytes more; 0 at the end.
    async fn more(&mut self, room: usize) -> io::Result<usize> {
        self.buffer.reserve(room.min(READ_BYTES));
        (&mut self.socket).take(room as u64).read_buf(&mut self.buffer).await
    }

    /// Writes all parts.
    pub(crate) async fn write(&mut self, parts: &[&[u8]], patience: Duration) -> Result<(), WireError> {
        let write = async {
            for part in parts {
                self.socket.write_all(part).await?;
            }
            self.socket.flush().await
        };
        Ok(timeout(patience, write).await.map_err(|_| late("room to write", patience))??)
    }

    /// Whether the other side is known to be gone. Does not wait; what it has sent meanwhile is kept.
    pub(super) async fn has_ended(&mut self) -> bool {
        tokio::select! {
            biased;
            read = self.more(FREE_BYTES), if self.buffer.is_empty() => matches!(read, Ok(0) | Err(_)),
            () = std::future::ready(()) => false,
        }
    }

    /// Says goodbye, as TLS wants it. Failure changes nothing.
    pub(crate) async fn close(mut self) {
        let _ = timeout(Duration::from_secs(1), self.socket.shutdown()).await;
    }
}

fn late(what: &'static str, limit: Duration) -> WireError {
    WireError::Late { what, seconds: limit.as_secs_f32() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { first: Duration::from_secs(600), last: Duration::from_secs(30) };

    fn text(length: u32) -> Vec<u8> {
        [&[0xdb], &length.to_be_bytes()[..], &vec![b'x'; length as usize]].concat()
    }

    #[tokio::test]
    async fn messages_in_any_pieces_come_out_one_by_one() {
        let (ours, mut theirs) = tokio::io::duplex(7);
        let mut wire = Wire::new(ours);
        let budget = Budget::new(96 << 20);
        let sent = [text(3), text(100_000), text(0)];
        let writer = tokio::spawn(async move {
            theirs.write_all(&sent.concat()).await.unwrap();
            sent
        });
        let mut received = Vec::new();
        while let Some((frame, _held)) = wire.frame(1 << 20, PATIENCE, &budget).await.unwrap() {
            received.push(frame);
        }
        assert_eq!(received, writer.await.unwrap());
        assert_eq!(budget.free(), 96 << 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_dribbles_is_cut_off() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut wire = Wire::new(ours);
        let dribble = tokio::spawn(async move {
            let start = Instant::now();
            while theirs.write_all(b"\x92").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(9)).await;
            }
            start.elapsed()
        });
        let error = wire.message(1 << 20, PATIENCE).await.unwrap_err();
        assert_eq!(error.to_string(), "no end of the message within 30 s");
        drop(wire);
        assert!(dribble.await.unwrap() < Duration::from_secs(40));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_sender_is_cut_off_later() {
        let (ours, _theirs) = tokio::io::duplex(64);
        let start = Instant::now();
        let error = Wire::new(ours).message(1 << 20, PATIENCE).await.unwrap_err();
        assert_eq!(error.to_string(), "no message within 600 s");
        assert_eq!(start.elapsed().as_secs(), 600);
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_budget_holds_the_sender_back_and_is_not_its_fault() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 10);
        let budget = Budget::new(96 << 10);
        let taken = budget.frame(64 << 10).await;
        let reader = budget.clone();
        let mut reading =
            tokio::spawn(async move { Wire::new(ours).frame(64 << 10, PATIENCE, &reader).await });
        let message = text(40_000);
        let expected = message.clone();
        let mut writing = tokio::spawn(async move { theirs.write_all(&message).await.map(|()| theirs) });
        assert!(
            timeout(Duration::from_secs(300), &mut writing).await.is_err(),
            "the sender was not held back"
        );
        assert!(!reading.is_finished(), "the wait counted against the sender");
        drop(taken);
        let (frame, held) =
            timeout(Duration::from_secs(1), &mut reading).await.unwrap().unwrap().unwrap().unwrap();
        assert_eq!(frame, expected);
        assert_eq!(budget.free(), (96 - 40) << 10, "what the frame does not need was given back");
        drop(held);
        writing.await.unwrap().unwrap();
    }
}
