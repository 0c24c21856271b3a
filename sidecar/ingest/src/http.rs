//! `POST /v1/records`: JSON records in, the same records with their tags out, in the same form. An axum router that
//! `app` mounts (and guards); listeners and tokens are not known here.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use oddline_analyze::ports::{Received, Seen};
use oddline_codec::{Edit, json};
use oddline_engine::Verdict;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::{
    Limits,
    annotate::{Annotator, GROUP},
    budget::Budget,
    events::Events,
};

use self::{body::Form, request::Refusal};

mod body;
pub mod client;
pub mod detour;
mod entry;
mod request;
pub mod teach;

/// The tag that records of this way in have.
pub const HTTP_TAG: &str = "http";

/// What requests are answered with.
#[derive(Clone, Debug)]
pub struct Http {
    /// Judges and tags.
    pub annotator: Annotator,
    /// Bounds.
    pub limits: Limits,
    /// Bytes in flight, shared with the other ways in.
    pub budget: Budget,
    /// Counters.
    pub events: Arc<Events>,
}

/// The routes.
pub fn router(http: Http) -> Router {
    Router::new().route("/v1/records", post(records).fallback(not_a_post)).with_state(Arc::new(http))
}

/// What somebody with a browser reads.
async fn not_a_post() -> impl IntoResponse {
    let text = "/v1/records takes records by POST: a JSON array of objects, or one object a line (application/x-ndjson)";
    let refusal = Refusal(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text.to_owned());
    ([(header::ALLOW, "POST")], refusal)
}

async fn records(State(http): State<Arc<Http>>, request: Request) -> Response {
    match http.answer(request).await {
        Ok((form, body)) => ([(header::CONTENT_TYPE, form.content_type())], body).into_response(),
        Err(refusal) => {
            http.events.http_refused.add(1);
            refusal.into_response()
        }
    }
}

impl Http {
    async fn answer(&self, request: Request) -> Result<(Form, Body), Refusal> {
        let (form, text) = request::read(request, &self.limits, &self.budget).await?;
        let records = request::split(form, &text.bytes, &self.limits)?;
        self.events.http_records_received.add(records.len());
        let answer = self.annotate(form, &records, text.arrived).await?;
        drop(text);
        Ok((form, request::answer(answer, &self.limits, &self.budget)?))
    }

    async fn annotate(
        &self,
        form: Form,
        records: &[&RawValue],
        arrived: Instant,
    ) -> Result<Vec<u8>, Refusal> {
        let source: Arc<str> = HTTP_TAG.into();
        let mut out = Vec::new();
        form.begin(&mut out);
        for (number, group) in records.chunks(GROUP).enumerate() {
            let invalid = |place: usize, error: oddline_codec::Unreadable| {
                let text = format!("record {} of {}: {error}", number * GROUP + place + 1, records.len());
                Refusal(StatusCode::BAD_REQUEST, "invalid_record", text)
            };
            let received = |(place, record): (usize, &&RawValue)| {
                let local = self.screen(record).map_err(|error| invalid(place, error))?;
                Ok(Received { source: source.clone(), local, arrived })
            };
            let records: Result<Vec<Received>, Refusal> = group.iter().enumerate().map(received).collect();
            let see = || group.iter().map(|record| self.see(record)).collect();
            let verdicts = self.annotator.judge_seen(records?, see).await;
            for (place, (record, verdict)) in group.iter().zip(&verdicts).enumerate() {
                form.between(number == 0 && place == 0, &mut out);
                let tags = self.annotator.tags(verdict, None);
                json::splice(record.get().as_bytes(), &Edit::tag(&self.annotator.style, &tags), &mut out)
                    .map_err(|error| invalid(place, error))?;
            }
        }
        form.end(!records.is_empty(), &mut out);
        Ok(out)
    }

    /// A record as detectors see it; whoever sends records here without tags has none to leave out.
    fn see(&self, record: &RawValue) -> Option<Seen> {
        let body = json::Walked(record.get().as_bytes());
        Some(self.annotator.see(HTTP_TAG.as_bytes(), &body, ""))
    }

    fn screen(&self, record: &RawValue) -> Result<Verdict, oddline_codec::Unreadable> {
        let picker = self.annotator.screening.picker();
        let mut picking = picker.start(HTTP_TAG.as_bytes());
        let text = record.get().as_bytes();
        json::walk(text, &mut picking)?;
        Ok(self.annotator.analysis.screen_whole(&picking.finish(), &json::Walked(text)))
    }
}
