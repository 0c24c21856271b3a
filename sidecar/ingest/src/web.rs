//! A listener for an axum router: takes connections, bounded in number, time and size, plain or with TLS. What is asked
//! and answered there is the router's.
//!
//! A connection has to bring its first request within [`Limits::handshake`], the head of each within [`Limits::frame`]
//! (HTTP/1), and a next one within [`Limits::idle`]; it never holds its place for longer.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Extension, Router, http::Request};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Duration, Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::debug;

use crate::{
    Limits,
    accept::accept,
    events::Events,
    forward::{Socket, tls::ServerTls},
};

/// Requests at a time over one HTTP/2 connection; a further one is not begun by the other side.
const STREAMS: u32 = 64;
/// Bytes that may come unasked for over one HTTP/2 connection; with all connections open that is 64 MiB.
const WINDOW_BYTES: u32 = 256 << 10;
/// Longest head of a request.
const HEAD_BYTES: usize = 16 << 10;
/// An HTTP/2 connection without traffic is asked for a sign of life so often, and has so long to give one.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_PATIENCE: Duration = Duration::from_secs(20);

/// Which protocol a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, as gRPC needs it.
    Http2,
}

/// The address that a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// A router behind a listener.
#[derive(Debug)]
pub struct Web {
    /// For logs, e.g. `http`.
    pub name: &'static str,
    /// Answers.
    pub router: Router,
    /// What is spoken.
    pub protocol: Protocol,
    /// With TLS or without.
    pub tls: Option<ServerTls>,
    /// Bounds.
    pub limits: Limits,
    /// Counters.
    pub events: Arc<Events>,
}

impl Web {
    /// Serves until `shutdown`; then accepts no more, finishes the requests in hand, and after [`Limits::drain`] cuts the
    /// rest.
    pub async fn run(self, listener: TcpListener, shutdown: CancellationToken) {
        let web = Arc::new(self);
        accept(web.name, &web.limits, listener, shutdown.clone(), |socket, peer| {
            let (web, shutdown) = (Arc::clone(&web), shutdown.clone());
            async move { web.connection(socket, peer, shutdown).await }
        })
        .await;
    }

    async fn connection(&self, socket: TcpStream, peer: SocketAddr, shutdown: CancellationToken) {
        self.events.connections.add(1);
        // Answers are small and waited for.
        let _ = socket.set_nodelay(true);
        let outcome = match &self.tls {
            None => self.converse(socket, peer.ip(), shutdown).await,
            Some(tls) => match timeout(self.limits.handshake, tls.0.accept(socket)).await {
                Ok(Ok(socket)) => self.converse(socket, peer.ip(), shutdown).await,
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err("no TLS handshake in time".into()),
            },
        };
        match outcome {
            Ok(()) => debug!(%peer, listener = self.name, "connection ended"),
            Err(error) => {
                self.events.connections_failed.add(1);
                debug!(%peer, %error, listener = self.name, "connection closed");
            }
        }
    }

    async fn converse(
        &self,
        socket: impl Socket + 'static,
        peer: IpAddr,
        shutdown: CancellationToken,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let activity = Activity::default();
        let router = self.router.clone().layer(Extension(Peer(peer)));
        let service = {
            let activity = activity.clone();
            tower::service_fn(move |request: Request<Incoming>| {
                let (router, open) = (router.clone(), activity.begin());
                async move {
                    let response = router.oneshot(request).await;
                    drop(open);
                    Ok::<_, Infallible>(response.unwrap_or_else(|never| match never {}))
                }
            })
        };
        let builder = self.builder();
        let mut connection =
            pin!(builder.serve_connection(TokioIo::new(socket), TowerToHyperService::new(service)));
        let mut is_stopping = false;
        loop {
            tokio::select! {
                outcome = connection.as_mut() => return outcome,
                () = shutdown.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = activity.silence(&self.limits) => return Err("no request in time".into()),
            }
        }
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.frame)
            .max_buf_size(HEAD_BYTES.max(8 << 10));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_header_list_size(HEAD_BYTES as u32)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_PATIENCE);
        match self.protocol {
            Protocol::Http1 => builder.http1_only(),
            Protocol::Http2 => builder.http2_only(),
        }
    }
}

/// What goes on over one connection. Locked for a look.
#[derive(Clone, Debug, Default)]
struct Activity(Arc<Mutex<Requests>>);

#[derive(Debug, Default)]
struct Requests {
    open: usize,
    /// When the last one ended; none has yet.
    last: Option<Instant>,
}

/// A request in hand.
struct Open(Activity);

impl Activity {
    fn begin(&self) -> Open {
        self.lock().open += 1;
        Open(self.clone())
    }

    /// Ends once the connection has been without a request for too long.
    async fn silence(&self, limits: &Limits) {
        let begun = Instant::now();
        loop {
            let now = Instant::now();
            let end = match &*self.lock() {
                Requests { open: 1.., .. } => now + limits.idle,
                Requests { last: Some(last), .. } => *last + limits.idle,
                Requests { last: None, .. } => begun + limits.handshake,
            };
            if end <= now {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut requests = self.0.lock();
        requests.open -= 1;
        requests.last = Some(Instant::now());
    }
}
