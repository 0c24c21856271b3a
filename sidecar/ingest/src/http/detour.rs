//! `POST /v1/detour`: questionable records in JSON, answered once they were delivered to the return input in JSON; and
//! `POST /v1/counts`: counts per template, as Vector's `metric_to_log` writes them.
//!
//! A sink throws away what is refused with a status below 500, so only what can never be taken is: that is no JSON.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Extension, Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use oddline_engine::{TemplateCount, TemplateId};
use serde::Deserialize;
use tracing::warn;

use super::{
    entry::JsonEntry,
    request::{self, Refusal, Text},
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
    /// A service on a detour that delivers JSON. The budget may be shared with other ways in.
    pub fn new(detour: Arc<Detour>, limits: Limits, budget: Budget, events: Arc<Events>) -> Self {
        let duplicates = Duplicates::new(limits.remember, limits.remembered);
        Service { detour, limits, budget, duplicates, events }
    }

    /// The routes, for a [`crate::web::Web`].
    pub fn router(self) -> Router {
        Router::new()
            .route("/v1/detour", post(detour))
            .route("/v1/counts", post(counts))
            .with_state(Arc::new(self))
    }

    async fn take(self: Arc<Self>, peer: IpAddr, request: Request) -> Result<(), Refusal> {
        let (form, text) = request::read(request, &self.limits, &self.budget).await?;
        // Read once to say what is wrong with it, and again where it is carried, for it borrows the text.
        request::split(form, &text.bytes, &self.limits)?;
        self.events.frames_received.add(1);
        self.events.bytes_received.add(text.bytes.len());
        // Outside of what is seen through: a resend of what is still on its way, whose sender gives up too, holds nothing.
        let ticket = self.duplicates.admit(peer, b"", &text.bytes, text.bytes.len()).await;
        let carried = see_through(async move {
            let outcome = self.carry(ticket, form, &text).await;
            drop(text);
            outcome
        });
        let not = |error: String| {
            Refusal(StatusCode::SERVICE_UNAVAILABLE, "not_delivered", format!("not acknowledged: {error}"))
        };
        carried.await.map_err(|failed| match failed {
            Some(error) if error.is_final() => {
                Refusal(StatusCode::BAD_REQUEST, "rejected", error.to_string())
            }
            Some(error) => not(error.to_string()),
            None => not("the sidecar is stopping".to_owned()),
        })
    }

    async fn carry(
        &self,
        mut ticket: Ticket,
        form: super::Form,
        text: &Text,
    ) -> Result<Ticket, DeliverError> {
        let (arrived, text) = (text.arrived, text.bytes.as_slice());
        if ticket.is_delivered() {
            self.events.duplicates.add(1);
        } else {
            let lanes = Lanes { back: Vec::new(), again: Vec::new() };
            let records = request::split(form, text, &self.limits).unwrap_or_default();
            let entries = records.into_iter().map(|record| Ok(JsonEntry::new(record)));
            self.detour.pass(entries, lanes, arrived).await?;
            ticket.delivered();
        }
        Ok(ticket)
    }

    async fn count(&self, request: Request) -> Result<(), Refusal> {
        let (form, text) = request::read(request, &self.limits, &self.budget).await?;
        let mut templates = Vec::new();
        for record in request::split(form, &text.bytes, &self.limits)? {
            let count = serde_json::from_str::<Metric>(record.get()).ok().and_then(Metric::read);
            self.events.summaries_unread.add(usize::from(count.is_none()));
            templates.extend(count);
        }
        self.detour.count(templates);
        Ok(())
    }

    /// Told at the first and then ever more rarely: a sink tries for ever.
    fn answer(&self, outcome: Result<(), Refusal>) -> Response {
        let Err(Refusal(status, code, message)) = outcome else { return StatusCode::OK.into_response() };
        self.events.http_refused.add(1);
        if self.events.http_refused.get().is_power_of_two() {
            warn!(%status, code, message, "records were not taken over HTTP");
        }
        // Smaller ones may be taken, or the same once a configuration is mended: a sink has to keep them meanwhile.
        let can_be_taken = status.is_client_error() && status != StatusCode::BAD_REQUEST;
        let status = if can_be_taken { StatusCode::SERVICE_UNAVAILABLE } else { status };
        Refusal(status, code, message).into_response()
    }
}

async fn detour(
    State(service): State<Arc<Service>>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Response {
    let outcome = Arc::clone(&service).take(peer, request).await;
    service.answer(outcome)
}

async fn counts(State(service): State<Arc<Service>>, request: Request) -> Response {
    let outcome = service.count(request).await;
    service.answer(outcome)
}

/// A metric as JSON; see [`oddline_codec::protobuf::read_count`] for the same in protobuf.
#[derive(Deserialize)]
struct Metric {
    name: String,
    namespace: String,
    kind: String,
    tags: MetricTags,
    counter: Counter,
}

#[derive(Deserialize)]
struct MetricTags {
    template_id: TemplateId,
    source: String,
    #[serde(default)]
    rule_hit: String,
}

#[derive(Deserialize)]
struct Counter {
    value: f64,
}

impl Metric {
    fn read(self) -> Option<TemplateCount> {
        let is_ours = (self.namespace.as_str(), self.name.as_str(), self.kind.as_str())
            == ("oddline", "template_records", "incremental");
        let count = oddline_codec::protobuf::whole_count(self.counter.value).filter(|_| is_ours)?;
        Some(TemplateCount {
            id: self.tags.template_id,
            text: String::new(),
            source: self.tags.source,
            count,
            rule_hits: if self.tags.rule_hit == "1" { count } else { 0 },
        })
    }
}
