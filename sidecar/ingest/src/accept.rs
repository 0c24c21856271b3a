//! Accepts connections and serves each on a task of its own, until it is to stop. Takes a listener and what to do with one
//! connection; bounds their number and the time to drain. Knows no protocol.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::Limits;

/// After an accept that failed: out of file descriptors, most likely, and the next would fail just as fast.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Serves until `shutdown`; then accepts no more, lets what is in hand end, and after [`Limits::drain`] cuts the rest.
/// Past [`Limits::connections`] a further connection waits to be accepted.
pub(crate) async fn accept<Serving>(
    name: &'static str,
    limits: &Limits,
    listener: TcpListener,
    shutdown: CancellationToken,
    serve: impl Fn(TcpStream, SocketAddr) -> Serving,
) where
    Serving: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await.ok();
                listener.accept().await.map(|(socket, peer)| (socket, peer, place))
            } => accepted,
        };
        match accepted {
            Ok((socket, peer, place)) => {
                let serving = serve(socket, peer);
                connections.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, listener = name, "cannot accept a connection");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
    drop(listener);
    let in_hand = connections.len();
    if timeout(limits.drain, async { while connections.join_next().await.is_some() {} }).await.is_err() {
        warn!(
            listener = name,
            connections = connections.len(),
            "cut at the drain deadline; their senders resend"
        );
    } else {
        info!(listener = name, connections = in_hand, "drained");
    }
}
