//! The Forward listener: takes connections, gives frames to the detour, acknowledges what was delivered.
//! Knows nothing of verdicts or tags.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Duration, Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    expand::{self, ExpandError},
    frame::{Compression, Entries, Frame, FrameError, write_ack},
    handshake::{HandshakeError, Hello, MAX_HANDSHAKE_BYTES, Security},
    tls::ServerTls,
    wire::{Patience, Socket, Wire, WireError},
};
use crate::{
    Limits,
    accept::accept,
    budget::Budget,
    deliver::DeliverError,
    detour::Detour,
    duplicates::{Duplicates, Ticket},
    events::Events,
};

/// From so many compressed bytes on, expanding leaves the runtime's threads.
const EXPAND_ELSEWHERE: usize = 16 << 10;
/// Between the first two attempts at a frame that nobody will send again; doubles from there.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Between two later ones.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Takes Forward connections.
#[derive(Debug)]
pub struct Server {
    detour: Arc<Detour>,
    limits: Limits,
    budget: Budget,
    security: Option<Security>,
    tls: Option<ServerTls>,
    duplicates: Duplicates,
    events: Arc<Events>,
}

/// Why a connection was closed.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("handshake: {0}")]
    Handshake(#[from] HandshakeError),
    #[error("no handshake within {0} s")]
    HandshakeLate(f32),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Expand(#[from] ExpandError),
    #[error("not delivered, so not acknowledged: {0}")]
    Deliver(#[from] DeliverError),
    #[error("closed before the acknowledgement of what was delivered; a resend will be recognised")]
    Gone,
}

impl Server {
    /// A server; nothing runs yet. The budget may be shared with other ways in.
    pub fn new(detour: Arc<Detour>, limits: Limits, budget: Budget, events: Arc<Events>) -> Self {
        let duplicates = Duplicates::new(limits.remember, limits.remembered);
        Server { detour, limits, budget, security: None, tls: None, duplicates, events }
    }

    /// Asks every client for the shared key (and a user, if there are any).
    #[must_use]
    pub fn with_security(self, security: Security) -> Self {
        Server { security: Some(security), ..self }
    }

    /// Speaks TLS.
    #[must_use]
    pub fn with_tls(self, tls: ServerTls) -> Self {
        Server { tls: Some(tls), ..self }
    }

    /// Serves until `shutdown`; then accepts no more, finishes the frames in hand, and after [`Limits::drain`] cuts
    /// the rest, whose senders were not acknowledged and resend.
    pub async fn run(self, listener: TcpListener, shutdown: CancellationToken) {
        let server = Arc::new(self);
        accept("forward", &server.limits, listener, shutdown.clone(), |socket, peer| {
            let (server, shutdown) = (Arc::clone(&server), shutdown.clone());
            async move { server.connection(socket, peer, shutdown).await }
        })
        .await;
    }

    async fn connection(&self, socket: TcpStream, peer: SocketAddr, shutdown: CancellationToken) {
        self.events.connections.add(1);
        // Acknowledgements are small and waited for.
        let _ = socket.set_nodelay(true);
        if let Err(error) = self.converse(socket, peer.ip(), &shutdown).await {
            self.events.connections_failed.add(1);
            warn!(%peer, %error, "forward connection closed");
        } else {
            debug!(%peer, "forward connection ended");
        }
    }

    async fn converse(
        &self,
        socket: TcpStream,
        peer: IpAddr,
        shutdown: &CancellationToken,
    ) -> Result<(), ConnectionError> {
        let patience = Patience { first: self.limits.idle, last: self.limits.frame };
        let late = |_| ConnectionError::HandshakeLate(self.limits.handshake.as_secs_f32());
        let mut wire = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            wire = timeout(self.limits.handshake, self.greet(socket)) => wire.map_err(late)??,
        };
        loop {
            // What is half read at shutdown was not acknowledged: its sender has it.
            let frame = tokio::select! {
                () = shutdown.cancelled() => None,
                frame = wire.frame(self.limits.frame_bytes, patience, &self.budget) => frame?,
            };
            let Some((frame, _held)) = frame else { break };
            if let Some((ack, ticket)) = self.take(peer, frame.into()).await? {
                // Writing to a sender that has given up succeeds: the refusal only comes later.
                if wire.has_ended().await {
                    return Err(ConnectionError::Gone);
                }
                wire.write(&[&ack], self.limits.write).await?;
                ticket.acknowledged();
            }
        }
        wire.close().await;
        Ok(())
    }

    async fn greet(&self, socket: TcpStream) -> Result<Wire, ConnectionError> {
        let mut wire = match &self.tls {
            Some(tls) => wire_of(tls.0.accept(socket).await?),
            None => wire_of(socket),
        };
        let Some(security) = &self.security else { return Ok(wire) };
        let hello = Hello::new(security)?;
        let limit = self.limits.handshake;
        wire.write(&[&hello.message()], limit).await?;
        let ping = wire.message(MAX_HANDSHAKE_BYTES, Patience { first: limit, last: limit }).await?;
        let (pong, verdict) = hello.answer(security, &ping.ok_or(WireError::Closed(0))?)?;
        wire.write(&[&pong], limit).await?;
        verdict?;
        Ok(wire)
    }

    /// Takes one frame all the way; the acknowledgement to write, if the sender wants one.
    async fn take(&self, peer: IpAddr, bytes: Bytes) -> Result<Option<(Vec<u8>, Ticket)>, ConnectionError> {
        let arrived = Instant::now();
        let frame = Frame::parse(&bytes)?;
        self.events.frames_received.add(1);
        self.events.bytes_received.add(bytes.len());
        let Some(chunk) = frame.chunk else {
            self.insist(&bytes, &frame, arrived).await?;
            return Ok(None);
        };
        let mut ticket = self.duplicates.admit(peer, frame.tag, chunk, frame.entries.bytes().len()).await;
        if ticket.is_delivered() {
            self.events.duplicates.add(1);
        } else {
            self.carry(&bytes, frame.clone(), arrived).await?;
            ticket.delivered();
        }
        Ok(Some((write_ack(chunk), ticket)))
    }

    /// A frame that nobody will send again: tried until [`Limits::insist`] is over. Meanwhile nothing more is read from
    /// its connection, so that its sender feels it.
    async fn insist(
        &self,
        bytes: &Bytes,
        frame: &Frame<'_>,
        arrived: Instant,
    ) -> Result<(), ConnectionError> {
        let end = Instant::now() + self.limits.insist;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.carry(bytes, frame.clone(), arrived).await {
                Err(ConnectionError::Deliver(error)) if Instant::now() + pause < end => {
                    debug!(%error, "a frame without chunk id is tried again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => {
                    self.events.frames_discarded.add(1);
                    return Err(error);
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    async fn carry(&self, bytes: &Bytes, frame: Frame<'_>, arrived: Instant) -> Result<(), ConnectionError> {
        match frame.entries {
            Entries::Plain(events) => {
                // What is made of a frame is delivered piece by piece, each about as large as the frame at most.
                let _held = self.budget.expansion(events.len()).await;
                self.detour.carry(frame.tag, &events, arrived).await?;
            }
            Entries::Compressed(compression, data) => {
                let mut held = self.budget.expansion(expand::bound(data.len(), &self.limits).0).await;
                let events = self.expand(compression, bytes.slice_ref(data)).await?;
                held.shrink(events.len());
                self.detour.carry(frame.tag, &events, arrived).await?;
            }
        }
        Ok(())
    }

    async fn expand(&self, compression: Compression, data: Bytes) -> Result<Vec<u8>, ConnectionError> {
        if data.len() < EXPAND_ELSEWHERE {
            return Ok(expand::expand(compression, &data, &self.limits)?);
        }
        let limits = self.limits.clone();
        let work = tokio::task::spawn_blocking(move || expand::expand(compression, &data, &limits));
        Ok(work.await.map_err(io::Error::other)??)
    }
}

fn wire_of(socket: impl Socket + 'static) -> Wire {
    Wire::new(socket)
}
