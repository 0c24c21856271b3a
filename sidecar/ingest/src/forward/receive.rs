//! A return input of one's own: what Fluent Bit's `in_forward` is for the sidecar, for demos, benches and tests.
//!
//! Takes connections and gives each frame's tag and events to a function; acknowledges when that has returned. Speaks
//! plain packed Forward on loopback only: no handshake, no TLS, no compression.

use std::{sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    frame::{Entries, Frame, write_ack},
    wire::{Patience, Wire},
};
use crate::limits::Limits;

/// Receives until `shutdown`. `take` gets the tag and the msgpack events of each frame; `false` leaves the frame without
/// an acknowledgement and closes its connection, as a shipper that dies does.
pub async fn receive(
    listener: TcpListener,
    shutdown: CancellationToken,
    take: impl Fn(&[u8], &[u8]) -> bool + Send + Sync + 'static,
) {
    let take = Arc::new(take);
    loop {
        let socket = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(_) => continue,
            },
        };
        let (take, shutdown) = (take.clone(), shutdown.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = connection(Wire::new(socket), &*take) => {}
            }
        });
    }
}

async fn connection(mut wire: Wire, take: &(dyn Fn(&[u8], &[u8]) -> bool + Send + Sync)) {
    let patience = Patience { first: Duration::from_secs(3_600), last: Duration::from_secs(10) };
    while let Ok(Some(message)) = wire.message(Limits::default().frame_bytes, patience).await {
        let Ok(Frame { tag, entries: Entries::Plain(events), chunk }) = Frame::parse(&message) else {
            return;
        };
        if !take(tag, &events) {
            return;
        }
        if let Some(chunk) = chunk
            && wire.write(&[&write_ack(chunk)], patience.last).await.is_err()
        {
            return;
        }
    }
}
