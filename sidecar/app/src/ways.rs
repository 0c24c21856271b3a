//! The ways in over gRPC and HTTP, each on a detour of its own that leads back to where it came from. Takes the
//! configuration and what all ways share, gives routers behind their bounds.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{Json, Router, http::StatusCode, response::IntoResponse, routing::any};
use oddline_analyze::ports::Teacher;
use oddline_codec::marker::Secret;
use oddline_ingest::{
    Annotator, Budget, Deliver, Detour, Events,
    forward::tls::ServerTls,
    http::{
        self, Http,
        teach::{self, Teach},
    },
    vector,
    web::{Protocol, Web},
};

use crate::{
    config::{Config, TlsFiles},
    guard::{DETOUR, without_browsers, without_pages},
    pem,
};

/// What the ways are made of.
pub(crate) struct Ways<'c> {
    pub(crate) config: &'c Config,
    pub(crate) annotator: Annotator,
    pub(crate) teacher: Arc<dyn Teacher>,
    pub(crate) secret: Secret,
    pub(crate) budget: Budget,
    pub(crate) events: Arc<Events>,
}

impl Ways<'_> {
    /// Vector's events over gRPC.
    pub(crate) fn vector(&self) -> anyhow::Result<Web> {
        let config = &self.config.vector;
        let tls = match &config.back_tls_ca {
            None => None,
            Some(ca) => {
                let (ca, name) = (pem("vector.return_tls_ca", ca)?, config.back_tls_name.clone());
                Some(vector::client::ClientTls { ca, name })
            }
        };
        let timeout = config.timeout;
        let settings = vector::client::ClientSettings::new(config.back.clone());
        let settings = vector::client::ClientSettings { tls, timeout, ..settings };
        let client = vector::client::Client::new(settings, self.events.clone()).context("vector.return")?;
        let (limits, budget) = (self.config.limits.clone(), self.budget.clone());
        let service = vector::server::Service::new(self.detour(client), limits, budget, self.events.clone());
        let tls = config.tls.as_ref().map(server_tls).transpose()?;
        Ok(Web { protocol: Protocol::Http2, tls, ..self.web("vector", service.router()) })
    }

    /// JSON over HTTP: records annotated in the answer, messages learned and checked, and, where there is a way back, a
    /// detour. All on the listener at `listen`.
    pub(crate) fn http(&self, listen: SocketAddr) -> anyhow::Result<Router> {
        let (limits, budget) = (self.config.limits.clone(), self.budget.clone());
        let (annotator, events) = (self.annotator.clone(), self.events.clone());
        let teach = Teach {
            teacher: self.teacher.clone(),
            screening: annotator.screening.clone(),
            limits: limits.clone(),
            budget: budget.clone(),
            events: events.clone(),
        };
        let router = http::router(Http { annotator, limits: limits.clone(), budget: budget.clone(), events });
        let teach = without_browsers(teach::router(teach), listen);
        let Some(url) = &self.config.vector.http_back else {
            let router = router.route(DETOUR, any(no_way_back));
            return Ok(without_pages(router).merge(teach));
        };
        let url = url.parse().with_context(|| format!("vector.http_return {url}"))?;
        let timeout: Duration = self.config.vector.timeout;
        let settings = http::client::ClientSettings { timeout, ..http::client::ClientSettings::new(url) };
        let client = http::client::Client::new(settings, self.events.clone());
        let service = http::detour::Service::new(self.detour(client), limits, budget, self.events.clone());
        Ok(without_pages(router.merge(service.router())).merge(teach))
    }

    /// A router on an HTTP/1 listener.
    pub(crate) fn web(&self, name: &'static str, router: Router) -> Web {
        let (limits, events) = (self.config.limits.clone(), self.events.clone());
        Web { name, router, protocol: Protocol::Http1, tls: None, limits, events }
    }

    fn detour(&self, deliver: impl Deliver + 'static) -> Arc<Detour> {
        let (annotator, secret) = (self.annotator.clone(), self.secret.clone());
        let mode = self.config.engine.mode();
        Arc::new(Detour::new(annotator, mode, secret, Arc::new(deliver), self.events.clone()))
    }
}

/// A sink throws away what is answered by 404; these records wait until there is a way back.
async fn no_way_back() -> impl IntoResponse {
    let message = "vector.http_return is not set: there is no way back for records";
    let body = serde_json::json!({ "error": { "code": "no_way_back", "message": message } });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body))
}

fn server_tls(files: &TlsFiles) -> anyhow::Result<ServerTls> {
    let client_ca = files.client_ca.as_deref().map(|path| pem("vector.tls_client_ca", path)).transpose()?;
    let certificate = pem("vector.tls_certificate", &files.certificate)?;
    let tls = ServerTls::new(&certificate, &pem("vector.tls_key", &files.key)?, client_ca.as_deref());
    Ok(tls.context("vector")?.for_http2())
}
