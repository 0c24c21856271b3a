//! The sidecar, put together: [`Config`] → [`App::build`] → [`App::run`] → drain.
//!
//! * Takes a checked configuration; only here are files, environment and signals known.
//! * Gives a running sidecar: Forward and HTTP in, Forward back, advice for the plugins, health and metrics.
//! * Must not know how a record is judged, read or tagged: that is `analyze`, `ingest` and the engine.
#![forbid(unsafe_code)]

pub mod advice_dir;
pub mod commands;
pub mod config;
mod detectors;
mod guard;
mod log;
mod observe;
pub mod ports;
pub mod rule_files;
mod ways;

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use oddline_analyze::{Analyzer, counts::pull::pull, rows::push::Pusher};
use oddline_backends::{vector_counts::VectorCounts, vector_table::VectorTable};
use oddline_codec::TagStyle;
use oddline_engine::Engine;
use oddline_ingest::{
    Annotator, Budget, Detour, Events, Screening,
    forward::{
        client::{Client, ClientSettings},
        handshake::{Security, User},
        server::Server,
        tls::{ClientTls, ServerTls},
    },
    web::Web,
};
use oddline_serve::Readiness;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    advice_dir::AdviceDir,
    config::{Config, Forward, Return},
    guard::{guarded, without_browsers},
    ports::Backends,
    rule_files::RuleFiles,
    ways::Ways,
};

/// Conditions of readiness.
const EMBEDDER: &str = "embedder";
const RUNNING: &str = "listeners";
/// Between two attempts to check the embedder.
const CHECK_AGAIN: Duration = Duration::from_secs(2);
/// What is left for saving after the connections had their time.
const SAVING: Duration = Duration::from_secs(5);

/// A sidecar that has its state and its ports, and waits to run.
pub struct App {
    analyzer: Arc<Analyzer>,
    backends: Backends,
    directory: Arc<AdviceDir>,
    rule_files: RuleFiles,
    screening: Screening,
    readiness: Arc<Readiness>,
    events: Arc<Events>,
    forward: Option<(Server, TcpListener)>,
    vector: Option<(Web, TcpListener)>,
    http: Option<(Web, TcpListener)>,
    admin: Option<(Web, TcpListener)>,
    rows: Option<Pusher>,
    counts: Option<Arc<VectorCounts>>,
    /// Whether a way in leads back to a shipper: what plugins must know before they send records.
    has_detour: bool,
    drain: Duration,
}

/// Where the listeners are; with port 0 configured, the port that the system chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Forward in.
    pub forward: Option<SocketAddr>,
    /// Vector's events in, over gRPC.
    pub vector: Option<SocketAddr>,
    /// HTTP in.
    pub http: Option<SocketAddr>,
    /// Health and metrics.
    pub admin: Option<SocketAddr>,
}

impl App {
    /// Opens the configured backends and builds on them. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Names the setting and the file or address that cannot be used.
    pub async fn build(config: &Config) -> anyhow::Result<App> {
        App::build_on(config, Backends::open(config)?).await
    }

    /// Builds on given backends.
    ///
    /// # Errors
    /// As [`App::build`].
    pub async fn build_on(config: &Config, backends: Backends) -> anyhow::Result<App> {
        let directory = Arc::new(AdviceDir::open(&config.advice_dir)?);
        let (rule_files, rules) = RuleFiles::open(&config.engine, &config.rules);
        let engine = Engine::new(config.engine.clone(), rules.set.clone());
        let analyzer =
            Arc::new(Analyzer::open(config.analysis.clone(), backends.ports.clone(), engine).await?);
        analyzer.set_rules(rules.set, rules.conditions);
        let screening = Screening::new(analyzer.picker(), analyzer.model());
        if let Some(detectors) = detectors::start(&config.detectors, &config.state_dir)? {
            analyzer.set_detectors(detectors);
        }
        let events = Arc::new(Events::default());
        let budget = Budget::new(config.limits.in_flight_bytes);
        let annotator = Annotator {
            analysis: analyzer.clone(),
            style: TagStyle::of(&config.engine),
            screening: screening.clone(),
        };
        let forward = match &config.forward {
            None => None,
            Some(forward) => {
                let client = Arc::new(client(&config.back, events.clone())?);
                let mode = config.engine.mode();
                let detour = Detour::new(annotator.clone(), mode, directory.secret(), client, events.clone());
                let server =
                    Server::new(Arc::new(detour), config.limits.clone(), budget.clone(), events.clone());
                Some((secured(server, forward)?, listen("forward", forward.listen).await?))
            }
        };
        let ways = Ways {
            config,
            annotator,
            teacher: analyzer.clone(),
            secret: directory.secret(),
            budget,
            events: events.clone(),
        };
        let vector = match config.vector.listen {
            None => None,
            Some(address) => Some((ways.vector()?, listen("vector", address).await?)),
        };
        let http = match &config.http {
            None => None,
            Some(http) => {
                let operators = oddline_serve::api::router(analyzer.clone());
                let operators = without_browsers(operators, http.listen);
                let router = guarded(ways.http(http.listen)?.merge(operators), http.token.as_deref(), &[]);
                Some((ways.web("http", router), listen("http", http.listen).await?))
            }
        };
        let counts = config.vector.counts.as_deref().map(VectorCounts::new).transpose();
        let counts = counts.context("vector.counts")?.map(Arc::new);
        let rows = match &config.vector.rows {
            None => None,
            Some(url) => {
                Some(Pusher::new(analyzer.clone(), Arc::new(VectorTable::new(url).context("vector.rows")?)))
            }
        };
        let readiness = Arc::new(Readiness::waiting_for([EMBEDDER, RUNNING]));
        let admin = match &config.admin {
            None => None,
            Some(admin) => {
                let metrics =
                    observe::metrics(analyzer.clone(), events.clone(), rows.as_ref().map(Pusher::pushed));
                let router = oddline_serve::router(readiness.clone(), metrics);
                let router = guarded(router, admin.token.as_deref(), &["/", "/health", "/ready"]);
                Some((ways.web("admin", router), listen("admin", admin.listen).await?))
            }
        };
        let has_detour =
            forward.is_some() || vector.is_some() || http.is_some() && config.vector.http_back.is_some();
        let drain = config.drain;
        Ok(App {
            analyzer,
            backends,
            directory,
            rule_files,
            screening,
            readiness,
            events,
            forward,
            vector,
            http,
            admin,
            rows,
            counts,
            has_detour,
            drain,
        })
    }

    /// Where the listeners are.
    pub fn addresses(&self) -> Addresses {
        let web = |bound: &Option<(Web, TcpListener)>| bound.as_ref()?.1.local_addr().ok();
        Addresses {
            forward: self.forward.as_ref().and_then(|(_, listener)| listener.local_addr().ok()),
            vector: web(&self.vector),
            http: web(&self.http),
            admin: web(&self.admin),
        }
    }

    /// The analysis: for teaching before it runs, and for listening to verdicts.
    pub fn analyzer(&self) -> &Arc<Analyzer> {
        &self.analyzer
    }

    /// What ingest counts.
    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// Serves until `shutdown`, then drains: plugins are told first, what is in hand is finished, state is saved.
    ///
    /// # Errors
    /// If state could not be saved. Every record was answered or is still its sender's all the same.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let App {
            analyzer,
            backends,
            directory,
            rule_files,
            screening,
            readiness,
            forward,
            vector,
            http,
            admin,
            rows,
            counts,
            has_detour,
            drain,
            ..
        } = self;
        let mut beside = JoinSet::new();
        beside.spawn(check_embedder(backends.clone(), readiness.clone()));
        beside.spawn(rule_files::watch(rule_files, analyzer.clone(), screening));
        // Health is told to the very end.
        let drained = CancellationToken::new();
        if let Some((web, listener)) = admin {
            beside.spawn(web.run(listener, drained.clone()));
        }
        if let Some(counts) = counts {
            beside.spawn(pull(analyzer.clone(), counts));
        }
        let mut telling = JoinSet::new();
        if let Some(rows) = rows {
            telling.spawn(keep_rows(rows, shutdown.clone()));
        }
        let mut ways_in = JoinSet::new();
        let clock = backends.ports.clock.clone();
        let publishing = advice_dir::publish(directory.clone(), analyzer.clone(), clock, has_detour);
        telling.spawn(keep_directory(directory, publishing, shutdown.clone()));
        if let Some((server, listener)) = forward {
            ways_in.spawn(server.run(listener, shutdown.clone()));
        }
        for (web, listener) in vector.into_iter().chain(http) {
            ways_in.spawn(web.run(listener, shutdown.clone()));
        }
        readiness.met(RUNNING);
        shutdown.cancelled().await;
        readiness.lost(RUNNING);
        tracing::info!(limit = ?drain, "draining");
        while ways_in.join_next().await.is_some() {}
        while telling.join_next().await.is_some() {}
        beside.shutdown().await;
        let saved = tokio::time::timeout(SAVING, analyzer.close()).await;
        drained.cancel();
        anyhow::ensure!(
            saved == Ok(true),
            "state was not saved in full within {SAVING:?}; it is learned anew"
        );
        Ok(())
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

async fn listen(section: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{section}.listen {address}"))
}

async fn keep_directory(
    directory: Arc<AdviceDir>,
    publishing: impl Future<Output = ()>,
    shutdown: CancellationToken,
) {
    tokio::select! {
        () = publishing => {}
        () = shutdown.cancelled() => directory.farewell(),
    }
}

async fn keep_rows(mut rows: Pusher, shutdown: CancellationToken) {
    tokio::select! {
        () = rows.run() => {}
        () = shutdown.cancelled() => rows.farewell().await,
    }
}

async fn check_embedder(backends: Backends, readiness: Arc<Readiness>) {
    let mut attempts = 0u32;
    while let Err(error) = backends.embedder.check().await {
        attempts = attempts.saturating_add(1);
        if attempts.is_power_of_two() {
            tracing::warn!(%error, attempts, "embedder is not ready; records are given back as skipped");
        }
        tokio::time::sleep(CHECK_AGAIN).await;
    }
    readiness.met(EMBEDDER);
}

fn secured(server: Server, config: &Forward) -> anyhow::Result<Server> {
    let server = match &config.shared_key {
        None => server,
        Some(shared_key) => {
            let user = |(name, password): (String, String)| User { name, password };
            let users = config.user.clone().map(user).into_iter().collect();
            let (shared_key, hostname) = (shared_key.clone(), config.hostname.clone());
            server.with_security(Security { shared_key, hostname, users })
        }
    };
    let Some(tls) = &config.tls else { return Ok(server) };
    let client_ca = tls.client_ca.as_deref().map(|path| pem("forward.tls_client_ca", path)).transpose()?;
    let (certificate, key) =
        (pem("forward.tls_certificate", &tls.certificate)?, pem("forward.tls_key", &tls.key)?);
    Ok(server.with_tls(ServerTls::new(&certificate, &key, client_ca.as_deref()).context("forward")?))
}

fn client(config: &Return, events: Arc<Events>) -> anyhow::Result<Client> {
    let security = (!config.shared_key.is_empty()).then(|| Security {
        shared_key: config.shared_key.clone(),
        hostname: config.hostname.clone(),
        users: if config.username.is_empty() {
            Vec::new()
        } else {
            vec![User { name: config.username.clone(), password: config.password.clone() }]
        },
    });
    let tls = if config.tls_ca.as_os_str().is_empty() {
        None
    } else {
        let host = config.address.rsplit_once(':').map_or(config.address.as_str(), |(host, _)| host);
        let name = if config.tls_name.is_empty() { host.trim_matches(['[', ']']) } else { &config.tls_name };
        Some(ClientTls::new(&pem("return.tls_ca", &config.tls_ca)?, name, None).context("return")?)
    };
    let settings = ClientSettings {
        tls,
        security,
        connections: config.connections,
        timeout: Duration::from_secs(config.timeout_seconds),
        ..ClientSettings::new(config.address.clone())
    };
    Ok(Client::new(settings, events))
}

fn pem(setting: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{setting} {}", path.display()))
}
