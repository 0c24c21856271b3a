//! What `oddline run` runs on: typed, checked, and either whole or refused with every fault at once.

mod detectors;
mod layers;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use oddline_analyze as analyze;
use oddline_engine as engine;
use oddline_ingest::Limits;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use crate::rule_files::Place;

pub use detectors::{DetectorFile, Detectors};
pub use layers::{DEFAULTS, PREFIX, defaults_text};

/// The checked configuration.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "defaults.toml documents every setting, and a test holds the two equal")]
pub struct Config {
    pub forward: Option<Forward>,
    pub back: Return,
    pub http: Option<Listener>,
    pub admin: Option<Listener>,
    pub vector: Vector,
    pub limits: Limits,
    pub embedder: Embedder,
    pub index: Index,
    pub state_dir: PathBuf,
    pub advice_dir: PathBuf,
    pub analysis: analyze::Settings,
    pub engine: engine::Settings,
    /// Where a user's own rules lie: what `engine.rules` names. Commands add the usual folder.
    pub rules: Place,
    pub detectors: Detectors,
    pub drain: Duration,
    pub log: String,
}

/// The forward listener.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "see defaults.toml")]
pub struct Forward {
    pub listen: SocketAddr,
    pub shared_key: Option<String>,
    pub user: Option<(String, String)>,
    pub hostname: String,
    pub tls: Option<TlsFiles>,
}

/// PEM files of a listener.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "see defaults.toml")]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
}

/// The shipper's return input.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see defaults.toml")]
pub struct Return {
    pub address: String,
    pub shared_key: String,
    pub username: String,
    pub password: String,
    pub hostname: String,
    pub tls_ca: PathBuf,
    pub tls_name: String,
    pub connections: usize,
    pub timeout_seconds: u64,
}

/// An HTTP listener.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "see defaults.toml")]
pub struct Listener {
    pub listen: SocketAddr,
    pub token: Option<String>,
}

/// Vector: the way in, the ways back, and where advice goes.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "see defaults.toml")]
pub struct Vector {
    pub listen: Option<SocketAddr>,
    pub tls: Option<TlsFiles>,
    pub back: String,
    pub back_tls_ca: Option<PathBuf>,
    pub back_tls_name: Option<String>,
    pub http_back: Option<String>,
    pub timeout: Duration,
    pub rows: Option<String>,
    pub counts: Option<String>,
}

/// Which embedder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see defaults.toml")]
pub struct Embedder {
    pub kind: String,
    pub url: String,
    pub model: String,
    pub api_key: String,
    pub dimension: usize,
    pub timeout_ms: u64,
    pub concurrency: usize,
}

/// Which vector index.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see defaults.toml")]
pub struct Index {
    pub kind: String,
    pub url: String,
    pub api_key: String,
    pub timeout_ms: u64,
}

/// As written; the same shape as defaults.toml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    forward: WrittenForward,
    #[serde(rename = "return")]
    back: Return,
    http: WrittenListener,
    admin: WrittenListener,
    vector: WrittenVector,
    limits: WrittenLimits,
    embedder: Embedder,
    index: Index,
    state: Dir,
    advice: Dir,
    analysis: analyze::Options,
    detectors: detectors::Written,
    #[serde(rename = "engine")]
    _engine: toml::Table,
    run: Run,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenForward {
    listen: String,
    shared_key: String,
    username: String,
    password: String,
    hostname: String,
    tls_certificate: PathBuf,
    tls_key: PathBuf,
    tls_client_ca: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenListener {
    listen: String,
    token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenVector {
    listen: String,
    tls_certificate: PathBuf,
    tls_key: PathBuf,
    tls_client_ca: PathBuf,
    #[serde(rename = "return")]
    back: String,
    return_tls_ca: PathBuf,
    return_tls_name: String,
    http_return: String,
    timeout_seconds: u64,
    rows: String,
    counts: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLimits {
    frame_bytes: usize,
    expanded_bytes: usize,
    expansion_ratio: usize,
    in_flight_bytes: usize,
    connections: usize,
    http_records: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dir {
    dir: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    drain_seconds: u64,
    log: String,
}

/// What lies over the defaults, in order.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Name and text of the configuration file.
    pub file: Option<(String, String)>,
    /// All environment variables; ours are picked out.
    pub environment: Vec<(String, String)>,
    /// `SECTION.KEY=VALUE`.
    pub flags: Vec<String>,
}

/// Every fault of a configuration, one a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigErrors(pub Vec<String>);

impl Config {
    /// The same without a way in: for commands that only need the backends.
    #[must_use]
    pub fn without_listeners(self) -> Config {
        let (vector, detectors) = (Vector::default(), Detectors::default());
        Config { forward: None, http: None, admin: None, vector, detectors, ..self }
    }

    /// Lays the sources over the defaults and checks the outcome.
    ///
    /// # Errors
    /// Every fault there is: names, types, ranges, and what does not fit together.
    pub fn load(sources: &Sources) -> Result<Config, ConfigErrors> {
        let mut layers = layers::Layers::new();
        if let Some((name, text)) = &sources.file {
            layers.file(name, text);
        }
        layers.environment(sources.environment.iter().cloned());
        sources.flags.iter().for_each(|flag| layers.flag(flag));
        let variable = |name: &str| {
            let found = sources.environment.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| PathBuf::from(value)).filter(|path| path.is_absolute())
        };
        let state = variable("STATE_DIRECTORY")
            .or_else(|| variable("XDG_STATE_HOME").map(|path| path.join("oddline")))
            .or_else(|| variable("HOME").map(|path| path.join(".local/state/oddline")));
        let mut faults = Faults(layers.faults);
        let config = match layers.table.try_into::<Written>() {
            Ok(written) => written.check(layers.engine, state, &mut faults),
            Err(error) => {
                faults.0.push(error.to_string());
                None
            }
        };
        config.filter(|_| faults.0.is_empty()).ok_or(ConfigErrors(faults.0))
    }
}

struct Faults(Vec<String>);

impl Faults {
    fn keep<T, E: std::fmt::Display>(&mut self, section: &str, result: Result<T, E>) -> Option<T> {
        result
            .map_err(|error| {
                self.0.extend(error.to_string().lines().map(|line| format!("{section}: {line}")))
            })
            .ok()
    }

    fn range(&mut self, name: &str, value: u64, least: u64, most: u64) {
        if !(least..=most).contains(&value) {
            self.0.push(format!("{name} is {value}, not within {least}..={most}"));
        }
    }

    fn choice(&mut self, name: &str, value: &str, allowed: &[&str]) {
        if !allowed.contains(&value) {
            self.0.push(format!("{name} is `{value}`, wanted: {}", allowed.join(", ")));
        }
    }

    fn url(&mut self, name: &str, url: &str) {
        if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
            self.0.push(format!("{name} is `{url}`, wanted: an address such as http://127.0.0.1:24290/"));
        }
    }

    /// The address, unless it is empty. `secret`: what guards it, by name.
    fn listen(&mut self, name: &str, text: &str, secret: (&str, Option<&str>)) -> Option<SocketAddr> {
        if text.is_empty() {
            return None;
        }
        let Ok(address) = text.parse::<SocketAddr>() else {
            let wanted = "wanted: an IP address and a port, such as 127.0.0.1:24284";
            self.0.push(format!("{name}.listen is `{text}`, {wanted}"));
            return None;
        };
        if !address.ip().is_loopback() && secret.1.is_none() {
            self.0.push(format!(
                "{name}.listen is {address}, which others can reach: set {name}.{} or listen on 127.0.0.1",
                secret.0
            ));
        }
        Some(address)
    }
}

impl Written {
    fn check(self, engine: engine::Options, state: Option<PathBuf>, faults: &mut Faults) -> Option<Config> {
        let key = text(&self.forward.shared_key);
        let forward = faults.listen("forward", &self.forward.listen, ("shared_key", key.as_deref()));
        let vector = self.vector.check(faults);
        let [http, admin] = [("http", &self.http), ("admin", &self.admin)].map(|(name, written)| {
            let token = text(&written.token);
            let listen = faults.listen(name, &written.listen, ("token", token.as_deref()));
            listen.map(|listen| Listener { listen, token })
        });
        if forward.is_some()
            && self
                .back
                .address
                .rsplit_once(':')
                .is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err())
        {
            faults.0.push(format!("return.address is `{}`, wanted: host:port", self.back.address));
        }
        let pairs = [
            (
                "forward.username and forward.password",
                self.forward.username.is_empty(),
                self.forward.password.is_empty(),
            ),
            (
                "return.username and return.password",
                self.back.username.is_empty(),
                self.back.password.is_empty(),
            ),
            (
                "forward.tls_certificate and forward.tls_key",
                no(&self.forward.tls_certificate),
                no(&self.forward.tls_key),
            ),
        ];
        for (names, one, other) in pairs {
            if one != other {
                faults.0.push(format!("{names} belong together: set both or none"));
            }
        }
        for (names, set, needed) in [
            ("forward.username needs forward.shared_key", !self.forward.username.is_empty(), key.is_some()),
            (
                "return.username needs return.shared_key",
                !self.back.username.is_empty(),
                !self.back.shared_key.is_empty(),
            ),
            (
                "forward.tls_client_ca needs forward.tls_certificate",
                !no(&self.forward.tls_client_ca),
                !no(&self.forward.tls_certificate),
            ),
        ] {
            if set && !needed {
                faults.0.push(names.to_owned());
            }
        }
        faults.choice("embedder.kind", &self.embedder.kind, &["static", "ollama", "openai"]);
        faults.choice("index.kind", &self.index.kind, &["embedded", "qdrant"]);
        faults.range("embedder.timeout_ms", self.embedder.timeout_ms, 1, 600_000);
        faults.range("embedder.dimension", self.embedder.dimension as u64, 0, 8_192);
        faults.range("embedder.concurrency", self.embedder.concurrency as u64, 0, 64);
        faults.range("index.timeout_ms", self.index.timeout_ms, 1, 600_000);
        faults.range("return.connections", self.back.connections as u64, 1, 64);
        faults.range("return.timeout_seconds", self.back.timeout_seconds, 1, 3_600);
        faults.range("run.drain_seconds", self.run.drain_seconds, 0, 3_600);
        let state_dir = Some(self.state.dir).filter(|dir| !no(dir)).or(state);
        if state_dir.is_none() {
            faults.0.push(
                "state.dir is not set, and neither are STATE_DIRECTORY, XDG_STATE_HOME or HOME".to_owned(),
            );
        }
        let drain = Duration::from_secs(self.run.drain_seconds);
        faults.keep(&format!("run.log is `{}`", self.run.log), EnvFilter::try_new(&self.run.log));
        let limits = Limits {
            frame_bytes: self.limits.frame_bytes,
            expanded_bytes: self.limits.expanded_bytes,
            expansion_ratio: self.limits.expansion_ratio,
            in_flight_bytes: self.limits.in_flight_bytes,
            connections: self.limits.connections,
            http_records: self.limits.http_records,
            drain,
            ..Limits::default()
        };
        faults.keep("limits", limits.check());
        let detectors = self.detectors.check(faults);
        let analysis = faults.keep("analysis", analyze::Settings::new(&self.analysis));
        let engine = faults.keep("engine", engine::Settings::new(&engine));
        let tls = tls_files(self.forward.tls_certificate, self.forward.tls_key, self.forward.tls_client_ca);
        let user = text(&self.forward.username).map(|name| (name, self.forward.password));
        let hostname = self.forward.hostname;
        let state_dir = state_dir?;
        Some(Config {
            forward: forward.map(|listen| Forward { listen, shared_key: key, user, hostname, tls }),
            back: self.back,
            http,
            admin,
            vector,
            limits,
            embedder: self.embedder,
            index: self.index,
            advice_dir: Some(self.advice.dir)
                .filter(|dir| !no(dir))
                .unwrap_or_else(|| state_dir.join("advice")),
            state_dir,
            analysis: analysis?,
            rules: engine.as_ref().map(Place::named_by).unwrap_or_default(),
            engine: engine?,
            detectors,
            drain,
            log: self.run.log,
        })
    }
}

impl WrittenVector {
    fn check(self, faults: &mut Faults) -> Vector {
        // Only who has a certificate may send: there is no shared key in gRPC.
        let tls = !no(&self.tls_certificate) && !no(&self.tls_client_ca);
        let listen = faults.listen("vector", &self.listen, ("tls_client_ca", tls.then_some("")));
        if no(&self.tls_certificate) != no(&self.tls_key) {
            faults.0.push(
                "vector.tls_certificate and vector.tls_key belong together: set both or none".to_owned(),
            );
        }
        if !no(&self.tls_client_ca) && no(&self.tls_certificate) {
            faults.0.push("vector.tls_client_ca needs vector.tls_certificate".to_owned());
        }
        if listen.is_some() {
            faults.url("vector.return", &self.back);
        }
        if self.back.starts_with("https://") == no(&self.return_tls_ca) && listen.is_some() {
            faults.0.push("vector.return with https:// and vector.return_tls_ca belong together".to_owned());
        }
        let http_back = text(&self.http_return);
        if let Some(url) = &http_back
            && !url.starts_with("http://")
        {
            faults.0.push(format!(
                "vector.http_return is `{url}`, wanted: an address such as http://127.0.0.1:24291/; \
                 to another machine use vector.return, which speaks TLS"
            ));
        }
        faults.range("vector.timeout_seconds", self.timeout_seconds, 1, 86_400);
        let (rows, counts) = (text(&self.rows), text(&self.counts));
        rows.iter().for_each(|rows| faults.url("vector.rows", rows));
        counts.iter().for_each(|counts| faults.url("vector.counts", counts));
        Vector {
            listen,
            tls: tls_files(self.tls_certificate, self.tls_key, self.tls_client_ca),
            back: self.back,
            back_tls_ca: Some(self.return_tls_ca).filter(|path| !no(path)),
            back_tls_name: text(&self.return_tls_name),
            http_back,
            timeout: Duration::from_secs(self.timeout_seconds),
            rows,
            counts,
        }
    }
}

fn tls_files(certificate: PathBuf, key: PathBuf, client_ca: PathBuf) -> Option<TlsFiles> {
    let client_ca = Some(client_ca).filter(|path| !no(path));
    (!no(&certificate)).then_some(TlsFiles { certificate, key, client_ca })
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn no(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

#[cfg(test)]
mod tests;
