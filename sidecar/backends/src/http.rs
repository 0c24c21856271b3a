//! One JSON question over HTTP: takes a body, gives the parsed answer within a deadline and a size limit, or says what
//! kind of failure it was. Must not know what is asked.

use std::{net::IpAddr, time::Duration};

use hyper_util::client::legacy::connect::HttpInfo;
use oddline_analyze::ports::BackendError;
use reqwest::{
    Client, RequestBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Semaphore;

/// Largest answer that is read, in bytes.
pub(crate) const MAX_ANSWER_BYTES: usize = 4 << 20;

/// Most characters of a server's own error text that are passed on.
const MAX_EXCERPT: usize = 200;

/// One endpoint of one server.
#[derive(Debug)]
pub(crate) struct Endpoint {
    client: Client,
    /// For messages, e.g. `ollama http://127.0.0.1:11434/api/embed`.
    label: String,
    url: Url,
    timeout: Duration,
    concurrency: usize,
    in_flight: Semaphore,
}

impl Endpoint {
    /// `kind` names the backend in messages; `url` is the endpoint itself; `bearer` is a secret key, if one is needed;
    /// at most `concurrency` requests run at a time.
    pub(crate) fn new(
        kind: &str,
        url: Url,
        bearer: Option<&str>,
        timeout: Duration,
        concurrency: usize,
    ) -> Result<Self, BackendError> {
        let label = format!("{kind} {url}");
        let rejected = |what: &dyn std::fmt::Display| BackendError::rejected(format!("{label}: {what}"));
        if concurrency == 0 || timeout.is_zero() {
            return Err(rejected(&"concurrency and timeout must be at least 1"));
        }
        let mut headers = HeaderMap::new();
        if let Some(key) = bearer {
            let mut value = HeaderValue::try_from(format!("Bearer {key}"))
                .map_err(|_| rejected(&"the key holds characters that no HTTP header can carry"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // Fails only if one is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder().default_headers(headers).redirect(redirect::Policy::none());
        if url.scheme() == "http" {
            // Reads no certificates from the system: a bare container has none, and then the builder would fail.
            builder = builder.tls_certs_only([]);
        }
        if is_here(&url) {
            // A proxy that the environment names would reach its own loopback address.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| rejected(&chain(&error)))?;
        Ok(Endpoint { client, label, url, timeout, concurrency, in_flight: Semaphore::new(concurrency) })
    }

    /// Requests that run at a time.
    pub(crate) fn at_once(&self) -> usize {
        self.concurrency
    }

    /// Asks. The deadline covers waiting for a turn, connecting and reading the whole answer.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        question: &impl Serialize,
    ) -> Result<T, BackendError> {
        let body = serde_json::to_vec(question)
            .map_err(|error| BackendError::bug(format!("{}: question: {error}", self.label)))?;
        let (answer, _) = self.exchange_in_time(self.post(body), MAX_ANSWER_BYTES).await?;
        serde_json::from_slice(&answer)
            .map_err(|error| BackendError::bug(format!("{}: answer is not as expected: {error}", self.label)))
    }

    /// Sends what needs no answer but success. Gives our port of the connection, another one for each.
    pub(crate) async fn tell(&self, body: Vec<u8>) -> Result<u16, BackendError> {
        Ok(self.exchange_in_time(self.post(body), MAX_ANSWER_BYTES).await?.1)
    }

    /// Reads what is there, at most so many bytes.
    pub(crate) async fn fetch(&self, most: usize) -> Result<Vec<u8>, BackendError> {
        Ok(self.exchange_in_time(self.client.get(self.url.clone()), most).await?.0)
    }

    fn post(&self, body: Vec<u8>) -> RequestBuilder {
        self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(body)
    }

    async fn exchange_in_time(
        &self,
        request: RequestBuilder,
        most: usize,
    ) -> Result<(Vec<u8>, u16), BackendError> {
        tokio::time::timeout(self.timeout, self.exchange(request, most)).await.unwrap_or_else(|_| {
            let why = format!("{}: no answer within {:?}", self.label, self.timeout);
            Err(BackendError::unavailable(why))
        })
    }

    /// The answer, and our port.
    async fn exchange(&self, request: RequestBuilder, most: usize) -> Result<(Vec<u8>, u16), BackendError> {
        // Closed never; dropping the permit is the end of the turn.
        let _turn = self.in_flight.acquire().await;
        let response = request.send().await.map_err(|error| self.unavailable(&error))?;
        let status = response.status();
        let port =
            response.extensions().get::<HttpInfo>().map_or(0, |connection| connection.local_addr().port());
        let answer = self.read(response, most).await;
        if status.is_success() {
            Ok((answer?, port))
        } else {
            Err(self.refusal(status, &answer.unwrap_or_default()))
        }
    }

    async fn read(&self, mut response: Response, most: usize) -> Result<Vec<u8>, BackendError> {
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unavailable(&error))? {
            if answer.len() + chunk.len() > most {
                let label = &self.label;
                return Err(BackendError::bug(format!("{label}: answer is over the limit of {most} bytes")));
            }
            answer.extend_from_slice(&chunk);
        }
        Ok(answer)
    }

    fn unavailable(&self, error: &reqwest::Error) -> BackendError {
        BackendError::unavailable(format!("{}: {}", self.label, chain(error)))
    }

    fn refusal(&self, status: StatusCode, answer: &[u8]) -> BackendError {
        let again = status.is_server_error()
            || matches!(
                status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
            );
        let message = format!("{}: status {}: {}", self.label, status.as_u16(), excerpt(answer));
        // Embedders say so when they come to no vector for a text, be it one of many.
        match status {
            StatusCode::INTERNAL_SERVER_ERROR => BackendError::failed(message),
            _ if again => BackendError::unavailable(message),
            _ => BackendError::rejected(message),
        }
    }
}

/// Whether an address is this machine's own.
fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Reads a base address and puts a path behind it.
pub(crate) fn join(kind: &str, base: &str, path: &str) -> Result<Url, BackendError> {
    let mut url = address(kind, base)?;
    url.set_query(None);
    url.set_fragment(None);
    let joined = format!("{}/{path}", url.path().trim_end_matches('/'));
    url.set_path(&joined);
    Ok(url)
}

/// Reads an address.
pub(crate) fn address(kind: &str, base: &str) -> Result<Url, BackendError> {
    let rejected = |what: &str| BackendError::rejected(format!("{kind} url `{base}`: {what}"));
    let url = Url::parse(base).map_err(|error| rejected(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(rejected("must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(rejected("must not hold a user or password, which logs would show"));
    }
    Ok(url)
}

/// The start of a server's error text, on one line and without anything a terminal would act on.
pub(crate) fn excerpt(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer.get(..4 * MAX_EXCERPT).unwrap_or(answer));
    let visible: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_EXCERPT).collect();
    if visible.trim().is_empty() { "(no text)".to_owned() } else { visible.trim().to_owned() }
}

/// An error with its causes: reqwest's own text leaves out `connection refused`.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_joined_and_checked() {
        let join = |base| join("x", base, "api/embed").map(String::from).map_err(|error| error.message);
        assert_eq!(join("http://h:1").unwrap(), "http://h:1/api/embed");
        assert_eq!(join("https://h/sub/?a=b#c").unwrap(), "https://h/sub/api/embed");
        assert_eq!(join("ftp://h").unwrap_err(), "x url `ftp://h`: must begin with http:// or https://");
        assert!(join("h:1:2").unwrap_err().starts_with("x url `h:1:2`: "));
        assert!(join("http://u:p@h").unwrap_err().contains("user or password"));
    }

    #[test]
    fn no_proxy_stands_before_this_machine() {
        let is_here = |text| is_here(&Url::parse(text).unwrap());
        assert!(["http://127.0.0.1:1", "https://[::1]/", "http://localhost"].into_iter().all(is_here));
        assert!(!["http://10.0.0.1", "http://localhost.example"].into_iter().any(is_here));
    }

    #[test]
    fn error_texts_are_short_and_harmless() {
        assert_eq!(excerpt(b"no\x1b[31m such\nmodel"), "no [31m such model");
        assert_eq!(excerpt(&[b'a'; 5000]).len(), MAX_EXCERPT);
        assert_eq!(excerpt(b" \n"), "(no text)");
    }
}
