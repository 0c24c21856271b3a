//! Forward out: gives events to the shipper's return input and waits for its acknowledgement.
//!
//! Connections are kept; a failed one is replaced, with a pause that doubles up to a bound, until the delivery's time
//! is over. Then the caller hears of it and its own sender keeps the data.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{net::TcpStream, sync::Semaphore, time::timeout};

use super::{
    frame::{packed, read_ack},
    handshake::{Greeting, HandshakeError, MAX_HANDSHAKE_BYTES, Security, hex, random},
    tls::ClientTls,
    wire::{Patience, Wire, WireError},
};
use crate::{
    deliver::{Deliver, DeliverError, Failure, Outgoing},
    events::Events,
};

/// Longest acknowledgement.
const MAX_ACK_BYTES: usize = 4 << 10;

/// Where to and how.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// `host:port` of the return input.
    pub address: String,
    /// TLS, if it speaks it.
    pub tls: Option<ClientTls>,
    /// Shared key and user, if it asks for them.
    pub security: Option<Security>,
    /// Connections at most; a further delivery waits.
    pub connections: usize,
    /// A whole delivery with all its attempts.
    pub timeout: Duration,
    /// To connect, and to write. What is written is waited for until `timeout` is over.
    pub attempt: Duration,
    /// The pause after the first failure, doubled after each further one ...
    pub pause: Duration,
    /// ... up to this.
    pub longest_pause: Duration,
}

impl ClientSettings {
    /// Defaults for an address.
    pub fn new(address: impl Into<String>) -> Self {
        ClientSettings {
            address: address.into(),
            tls: None,
            security: None,
            connections: 4,
            timeout: Duration::from_secs(10),
            attempt: Duration::from_secs(5),
            pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(2),
        }
    }
}

/// A client of one return input.
pub struct Client {
    settings: ClientSettings,
    places: Semaphore,
    // A std mutex: held to push or pop, never across an await.
    kept: Mutex<Vec<Wire>>,
    events: Arc<Events>,
}

#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("handshake: {0}")]
    Handshake(#[from] HandshakeError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("closed without acknowledging")]
    Closed,
    #[error("acknowledged another chunk")]
    OtherChunk,
    #[error("no acknowledgement within {0} s")]
    Late(f32),
    #[error("no random bytes: {0}")]
    Random(#[from] io::Error),
}

impl AttemptError {
    fn failure(&self) -> Failure {
        match self {
            AttemptError::Connect(_) | AttemptError::Handshake(_) | AttemptError::Random(_) => Failure::Away,
            AttemptError::Wire(_)
            | AttemptError::Closed
            | AttemptError::OtherChunk
            | AttemptError::Late(_) => Failure::Silent,
        }
    }
}

impl Client {
    /// A client; it connects with the first delivery.
    pub fn new(settings: ClientSettings, events: Arc<Events>) -> Self {
        let places = Semaphore::new(settings.connections.max(1));
        Client { settings, places, kept: Mutex::default(), events }
    }

    async fn attempts(&self, outgoing: &Outgoing, last: &mut Option<AttemptError>) -> Result<(), ()> {
        let _place = self.places.acquire().await;
        let mut pause = self.settings.pause;
        loop {
            let kept = self.lock().pop();
            let is_kept = kept.is_some();
            match self.attempt(kept, outgoing, last).await {
                Ok(wire) => {
                    self.lock().push(wire);
                    return Ok(());
                }
                // The other side closes idle connections when it likes: that costs no pause.
                Err(_) if is_kept => continue,
                // Asking again will not change its mind.
                Err(error @ AttemptError::Handshake(_)) => {
                    *last = Some(error);
                    return Err(());
                }
                Err(error) => *last = Some(error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.settings.longest_pause);
        }
    }

    async fn attempt(
        &self,
        kept: Option<Wire>,
        outgoing: &Outgoing,
        last: &mut Option<AttemptError>,
    ) -> Result<Wire, AttemptError> {
        let mut wire = match kept {
            Some(wire) => wire,
            None => {
                let late = |_| AttemptError::Late(self.settings.attempt.as_secs_f32());
                timeout(self.settings.attempt, self.connect()).await.map_err(late)??
            }
        };
        let limit = self.settings.attempt;
        let chunk = hex(&random()?);
        let (head, tail) = packed(&outgoing.tag, outgoing.events.len(), outgoing.records, &chunk);
        wire.write(&[&head, &outgoing.events, &tail], limit).await?;
        // What is written as a whole and not answered while the connection stands may have arrived: it is not sent again, the
        // delivery ends.
        *last = Some(AttemptError::Late(self.settings.timeout.as_secs_f32()));
        // Ended from outside before that.
        let limit = self.settings.timeout.saturating_mul(2);
        let patience = Patience { first: limit, last: limit };
        let ack = wire.message(MAX_ACK_BYTES, patience).await?.ok_or(AttemptError::Closed)?;
        match read_ack(&ack) {
            Ok(acknowledged) if acknowledged == chunk.as_bytes() => Ok(wire),
            Ok(_) => Err(AttemptError::OtherChunk),
            Err(error) => Err(WireError::from(error).into()),
        }
    }

    async fn connect(&self) -> Result<Wire, AttemptError> {
        let socket = TcpStream::connect(&self.settings.address).await.map_err(AttemptError::Connect)?;
        let _ = socket.set_nodelay(true);
        let mut wire = match &self.settings.tls {
            Some(tls) => {
                let connected = tls.connector.connect(tls.name.clone(), socket).await;
                Wire::new(connected.map_err(AttemptError::Connect)?)
            }
            None => Wire::new(socket),
        };
        let Some(security) = &self.settings.security else { return Ok(wire) };
        let limit = self.settings.attempt;
        let patience = Patience { first: limit, last: limit };
        let helo = wire.message(MAX_HANDSHAKE_BYTES, patience).await?.ok_or(AttemptError::Closed)?;
        let (greeting, ping) = Greeting::answer(security, &helo, random()?)?;
        wire.write(&[&ping], limit).await?;
        let pong = wire.message(MAX_HANDSHAKE_BYTES, patience).await?.ok_or(AttemptError::Closed)?;
        greeting.check(security, &pong)?;
        Ok(wire)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Wire>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deliver for Client {
    fn deliver<'a>(
        &'a self,
        outgoing: &'a Outgoing,
    ) -> Pin<Box<dyn Future<Output = Result<(), DeliverError>> + Send + 'a>> {
        Box::pin(async move {
            let mut last = None;
            let limit = self.settings.timeout;
            if timeout(limit, self.attempts(outgoing, &mut last)).await.is_ok_and(|outcome| outcome.is_ok()) {
                return Ok(());
            }
            // Who did not answer over one connection may be gone from the others too.
            self.lock().clear();
            self.events.delivery_errors.add(1);
            let failure = last.as_ref().map_or(Failure::Away, AttemptError::failure);
            let reason =
                last.map_or_else(|| format!("no answer within {} s", limit.as_secs_f32()), |e| e.to_string());
            Err(DeliverError { address: self.settings.address.clone(), reason, failure })
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", &self.settings).finish_non_exhaustive()
    }
}
