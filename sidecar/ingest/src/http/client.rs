//! HTTP out: gives records as one JSON array to Vector's `http_server` source, which answers once the sinks behind it have
//! them. What could not be sent is tried again for a while; what was sent and is not answered is not.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use axum::http::{Request, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client as Pool, Error as PoolError, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use crate::{
    deliver::{Deliver, DeliverError, Failure, Outgoing, chain},
    events::Events,
};

/// Between two attempts, doubled from the first to the last.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A connection over which an answer is awaited is asked for a sign of life so often.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Deliveries at a time unless it is said otherwise: one that waits for a sink that is away must not keep others from theirs.
const DELIVERIES: usize = 64;
/// A connection that is not used is closed.
const IDLE: Duration = Duration::from_secs(30);
/// Longest answer that is read.
const MAX_ANSWER_BYTES: usize = 4 << 10;
/// Most characters of it that are passed on.
const MAX_EXCERPT: usize = 200;
/// How the source says that a sink behind it has rejected what it took.
const REJECTED: &str = "Contents failed to deliver to sink";

/// Where to and how.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// `http://host:port/path` of the source.
    pub url: Uri,
    /// Deliveries at a time; a further one waits.
    pub deliveries: usize,
    /// For an answer, which comes once the sinks behind the source have the records. They may be away for long: what is given
    /// up has arrived all the same, and is delivered again. The `http` sink's own resend, after 60 s, waits for the first.
    pub timeout: Duration,
    /// How long a delivery is tried again that could not be sent.
    pub insist: Duration,
}

impl ClientSettings {
    /// Defaults for an address.
    pub fn new(url: Uri) -> Self {
        let (timeout, insist) = (Duration::from_secs(3_600), Duration::from_secs(10));
        ClientSettings { url, deliveries: DELIVERIES, timeout, insist }
    }
}

/// A client of one source.
pub struct Client {
    settings: ClientSettings,
    pool: Pool<HttpConnector, Full<Bytes>>,
    places: Semaphore,
    events: Arc<Events>,
}

#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("{}", chain(.0))]
    Unsent(#[from] PoolError),
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("answered {0}: {1}")]
    Refused(StatusCode, String),
}

impl AttemptError {
    fn failure(&self) -> Failure {
        match self {
            AttemptError::Unsent(error) if error.is_connect() => Failure::Away,
            AttemptError::Unsent(_) | AttemptError::Late(_) => Failure::Silent,
            AttemptError::Refused(StatusCode::BAD_REQUEST, answer) if answer.contains(REJECTED) => {
                Failure::Rejected
            }
            // What it makes of the body; other answers speak of the source, its sinks or the way there.
            AttemptError::Refused(
                StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY,
                _,
            ) => Failure::Refused,
            AttemptError::Refused(..) => Failure::Away,
        }
    }
}

impl Client {
    /// A client; it connects with the first delivery.
    pub fn new(settings: ClientSettings, events: Arc<Events>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(settings.insist));
        // A source whose machine is gone does not answer for long either.
        connector.set_keepalive(Some(KEEPALIVE));
        connector.set_keepalive_interval(Some(KEEPALIVE));
        connector.set_keepalive_retries(Some(3));
        let mut builder = Pool::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE);
        builder.pool_max_idle_per_host(settings.deliveries);
        let (pool, places) = (builder.build(connector), Semaphore::new(settings.deliveries.max(1)));
        Client { settings, pool, places, events }
    }

    async fn attempts(&self, body: Bytes) -> Result<(), AttemptError> {
        let _place = self.places.acquire().await;
        let (start, mut pause) = (Instant::now(), PAUSE);
        loop {
            let attempt = timeout(self.settings.timeout, self.post(body.clone())).await;
            match attempt.unwrap_or(Err(AttemptError::Late(self.settings.timeout))) {
                Err(AttemptError::Unsent(_)) if start.elapsed() + pause < self.settings.insist => {}
                outcome => return outcome,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn post(&self, body: Bytes) -> Result<(), AttemptError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = axum::http::Method::POST;
        *request.uri_mut() = self.settings.url.clone();
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        let response = self.pool.request(request).await?;
        let status = response.status();
        // Read to its end, or the connection is lost for the next one.
        let answer = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        if status.is_success() {
            return Ok(());
        }
        let answer = answer.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Err(AttemptError::Refused(status, String::from_utf8_lossy(&answer).into_owned()))
    }
}

impl Deliver for Client {
    fn deliver<'a>(
        &'a self,
        outgoing: &'a Outgoing,
    ) -> Pin<Box<dyn Future<Output = Result<(), DeliverError>> + Send + 'a>> {
        Box::pin(async move {
            // Each record stands after a comma; the first one's makes room for the bracket.
            let mut body = outgoing.events.clone();
            if let Some(first) = body.first_mut() {
                *first = b'[';
            }
            body.push(b']');
            let Err(error) = self.attempts(body.into()).await else { return Ok(()) };
            self.events.delivery_errors.add(1);
            let failure = error.failure();
            let reason = error.to_string().chars().take(MAX_EXCERPT).collect();
            Err(DeliverError { address: self.settings.url.to_string(), reason, failure })
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", &self.settings).finish_non_exhaustive()
    }
}
