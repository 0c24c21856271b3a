//! The gRPC service `vector.Vector`, as a router: `PushEvents` answers once the events were delivered to the return source,
//! `HealthCheck` at once. Reading and judging happen elsewhere.
//!
//! | answer | when | the `vector` sink |
//! |---|---|---|
//! | `OK` | the return source has acknowledged everything | goes on |
//! | `UNAVAILABLE` | it has not | sends it again |
//! | `RESOURCE_EXHAUSTED` | too large, or no room | sends it again |
//! | `DATA_LOSS` | it has, and a sink behind it rejected some | counts them as rejected, as it would without us |
//! | `INTERNAL`, `DEADLINE_EXCEEDED` | no whole, valid gRPC message | sends it again |

use std::{net::IpAddr, sync::Arc};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use tokio::time::Instant;
use tonic::Status;
use tracing::warn;

use super::{
    entry::entries,
    message::{self, Message},
};
use crate::{
    Limits,
    budget::Budget,
    deliver::DeliverError,
    detour::{Detour, Lanes},
    duplicates::{Duplicates, Ticket, see_through},
    events::Events,
    web::Peer,
};

/// What requests are answered with.
#[derive(Clone, Debug)]
pub struct Service {
    detour: Arc<Detour>,
    limits: Limits,
    budget: Budget,
    duplicates: Duplicates,
    events: Arc<Events>,
}

impl Service {
    /// A service on a detour that delivers to a `vector` source. The budget may be shared with other ways in.
    pub fn new(detour: Arc<Detour>, limits: Limits, budget: Budget, events: Arc<Events>) -> Self {
        let duplicates = Duplicates::new(limits.remember, limits.remembered);
        Service { detour, limits, budget, duplicates, events }
    }

    /// The routes, for a [`crate::web::Web`] that speaks HTTP/2.
    pub fn router(self) -> Router {
        Router::new()
            .route("/vector.Vector/PushEvents", post(push))
            .route("/vector.Vector/HealthCheck", post(health))
            .fallback(unknown)
            .with_state(Arc::new(self))
    }

    async fn take(self: Arc<Self>, peer: IpAddr, message: Message) -> Result<(), Status> {
        self.events.frames_received.add(1);
        self.events.bytes_received.add(message.bytes.len());
        // Outside of what is seen through: a resend of what is still on its way, whose sender gives up too, holds nothing.
        let ticket = self.duplicates.admit(peer, b"", &message.bytes, message.bytes.len()).await;
        let carried = see_through(async move {
            let outcome = self.carry(ticket, &message.bytes, message.arrived).await;
            drop(message.held);
            outcome
        });
        carried.await.map_err(|failed| match failed {
            Some(error) if error.is_final() => Status::data_loss(error.to_string()),
            Some(error) => Status::unavailable(format!("not delivered, so not acknowledged: {error}")),
            None => Status::unavailable("not delivered: the sidecar is stopping"),
        })
    }

    async fn carry(
        &self,
        mut ticket: Ticket,
        request: &[u8],
        arrived: Instant,
    ) -> Result<Ticket, DeliverError> {
        if ticket.is_delivered() {
            self.events.duplicates.add(1);
        } else {
            let lanes = Lanes { back: Vec::new(), again: Vec::new() };
            self.detour.pass(entries(request), lanes, arrived).await?;
            ticket.delivered();
        }
        Ok(ticket)
    }

    /// Told at the first and then ever more rarely: a sink tries for ever.
    fn refuse(&self, peer: IpAddr, status: &Status) {
        self.events.vector_refused.add(1);
        if self.events.vector_refused.get().is_power_of_two() {
            warn!(%peer, code = ?status.code(), reason = status.message(), "events of Vector were not taken");
        }
    }
}

async fn push(
    State(service): State<Arc<Service>>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    if !message::is_grpc(&headers) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let read = message::read(&headers, request.into_body(), &service.limits, &service.budget).await;
    let outcome = match read {
        Ok(message) => Arc::clone(&service).take(peer, message).await,
        Err(status) => Err(status),
    };
    match outcome {
        Ok(()) => message::ok(),
        Err(status) => {
            service.refuse(peer, &status);
            status.into_http::<Body>()
        }
    }
}

async fn health() -> Response {
    message::ok()
}

async fn unknown() -> Response {
    Status::unimplemented("there are vector.Vector/PushEvents and vector.Vector/HealthCheck")
        .into_http::<Body>()
}
