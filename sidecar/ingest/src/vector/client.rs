//! gRPC out: gives events to Vector's `vector` source, which answers once the sinks behind it have them.
//!
//! One HTTP/2 connection, replaced when it breaks. What could not be sent is tried again for a while; what was sent and
//! is not answered is not, for it may have arrived: its sender resends, as with every failure here.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use axum::http::uri::PathAndQuery;
use bytes::{Buf, BufMut, Bytes};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{
    deliver::{Deliver, DeliverError, Failure, Outgoing, chain},
    events::Events,
};

/// Where events are pushed to.
const PUSH: &str = "/vector.Vector/PushEvents";
/// Deliveries at a time unless it is said otherwise: one that waits for a sink that is away must not keep others from theirs.
const DELIVERIES: usize = 64;
/// Between two attempts, doubled from the first to the last.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A connection over which an answer is awaited is asked for a sign of life so often, and has so long to give one.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_PATIENCE: Duration = Duration::from_secs(10);
/// How the source says that a sink behind it has failed, and may take the same events later.
const SINK_ERROR: &str = "Delivery error";
/// How it is called that the source has ended one request while its connection holds: it has stumbled over an event, and
/// would again. In words, for what says it in types depends on what else is built with tonic.
const RESET: &str = "stream error received: stream no longer needed";
/// Most characters of the other side's own words that are passed on.
const MAX_EXCERPT: usize = 200;

/// Where to and how.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// `http://host:port` or, with `tls`, `https://host:port` of the source.
    pub url: String,
    /// Whom to trust, and the name that the source must show if it is not the host.
    pub tls: Option<ClientTls>,
    /// Deliveries at a time; a further one waits.
    pub deliveries: usize,
    /// For an answer, which comes once the sinks behind the source have the records. They may be away for long: what is given
    /// up has arrived all the same, and is delivered again. The `vector` sink's own resend, after 60 s, waits for the first.
    pub timeout: Duration,
    /// How long a delivery is tried again that could not be sent.
    pub insist: Duration,
}

/// TLS towards the source.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// PEM of the authority.
    pub ca: Vec<u8>,
    /// The name the source must show; `None`: the host of the address.
    pub name: Option<String>,
}

/// An address or certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {reason}")]
pub struct ClientError {
    url: String,
    reason: String,
}

impl ClientSettings {
    /// Defaults for an address.
    pub fn new(url: impl Into<String>) -> Self {
        ClientSettings {
            url: url.into(),
            tls: None,
            deliveries: DELIVERIES,
            timeout: Duration::from_secs(3_600),
            insist: Duration::from_secs(10),
        }
    }
}

/// A client of one source.
pub struct Client {
    settings: ClientSettings,
    channel: Channel,
    places: Semaphore,
    events: Arc<Events>,
}

impl Client {
    /// A client; it connects with the first delivery. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the address or a certificate is none.
    pub fn new(settings: ClientSettings, events: Arc<Events>) -> Result<Self, ClientError> {
        let wrong =
            |error: &dyn std::error::Error| ClientError { url: settings.url.clone(), reason: chain(error) };
        let mut endpoint = Endpoint::from_shared(settings.url.clone())
            .map_err(|error| wrong(&error))?
            .connect_timeout(settings.insist)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_PATIENCE);
        if let Some(tls) = &settings.tls {
            // The channel would take a file without certificates, and then trust nobody.
            let name = tls.name.as_deref().unwrap_or("localhost");
            crate::forward::tls::ClientTls::new(&tls.ca, name, None).map_err(|error| wrong(&error))?;
            let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.ca));
            if let Some(name) = &tls.name {
                config = config.domain_name(name);
            }
            endpoint = endpoint.tls_config(config).map_err(|error| wrong(&error))?;
        }
        let (channel, places) = (endpoint.connect_lazy(), Semaphore::new(settings.deliveries.max(1)));
        Ok(Client { settings, channel, places, events })
    }

    async fn attempts(&self, events: Bytes) -> Result<(), Status> {
        let _place = self.places.acquire().await;
        let (start, mut pause) = (Instant::now(), PAUSE);
        loop {
            let attempt = timeout(self.settings.timeout, self.push(events.clone())).await;
            let late = || Status::deadline_exceeded(format!("no answer within {:?}", self.settings.timeout));
            match attempt.unwrap_or_else(|_| Err(late())) {
                Err(status) if is_unsent(&status) && start.elapsed() + pause < self.settings.insist => {}
                outcome => return outcome,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn push(&self, events: Bytes) -> Result<(), Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(chain(&error)))?;
        grpc.unary(Request::new(events), PathAndQuery::from_static(PUSH), Raw).await.map(drop)
    }
}

/// Whether it most likely never arrived: connection refused or broken.
fn is_unsent(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled) && !is_reset(status)
}

fn is_reset(status: &Status) -> bool {
    chain(status).contains(RESET)
}

fn failure(status: &Status) -> Failure {
    let is_answer = std::error::Error::source(status).is_none();
    match status.code() {
        // So it calls events that a sink behind it has rejected ...
        Code::DataLoss => Failure::Rejected,
        // ... and so its own trouble with that sink.
        Code::Internal if status.message() == SINK_ERROR => Failure::Away,
        Code::Internal | Code::InvalidArgument | Code::OutOfRange if is_answer => Failure::Refused,
        _ if is_reset(status) => Failure::Refused,
        Code::Internal | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => Failure::Silent,
        _ => Failure::Away,
    }
}

impl Deliver for Client {
    fn deliver<'a>(
        &'a self,
        outgoing: &'a Outgoing,
    ) -> Pin<Box<dyn Future<Output = Result<(), DeliverError>> + Send + 'a>> {
        Box::pin(async move {
            let Err(status) = self.attempts(Bytes::copy_from_slice(&outgoing.events)).await else {
                return Ok(());
            };
            self.events.delivery_errors.add(1);
            let told: String = status.message().chars().take(MAX_EXCERPT).collect();
            let cause = std::error::Error::source(&status).map(|cause| format!(": {}", chain(cause)));
            Err(DeliverError {
                address: self.settings.url.clone(),
                reason: format!("{:?}: {told}{}", status.code(), cause.unwrap_or_default()),
                failure: failure(&status),
            })
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Messages as they are.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = ();
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;

    /// The answer says nothing beyond its status.
    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        message.advance(message.remaining());
        Ok(Some(()))
    }
}
