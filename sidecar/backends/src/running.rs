//! A sidecar that runs already, asked over its HTTP way in: for commands that would need its state. Takes messages,
//! gives what it says; knows the two calls' JSON, and not how anything is learned or judged.

use std::time::Duration;

use oddline_analyze::ports::BackendError;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::http::{Endpoint, join};

/// How long it may take over one question; learning embeds what it learns.
const TIMEOUT: Duration = Duration::from_secs(150);

/// The way to it.
#[derive(Debug)]
pub struct Running {
    learn: Endpoint,
    check: Endpoint,
}

/// What became of the messages of one call.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Taught {
    /// Templates among them.
    pub templates: usize,
    /// Templates known in all.
    pub known: usize,
}

impl Running {
    /// The sidecar whose HTTP way in has this base address; `token` as it is configured there.
    ///
    /// # Errors
    /// If the address is no http or https address, or the token cannot stand in a header.
    pub fn new(url: &str, token: Option<&str>) -> Result<Running, BackendError> {
        let endpoint = |path| Endpoint::new("sidecar", join("sidecar", url, path)?, token, TIMEOUT, 1);
        Ok(Running { learn: endpoint("v1/learn")?, check: endpoint("v1/check")? })
    }

    /// Teaches messages: JSON strings, and objects as whole records.
    ///
    /// # Errors
    /// If it cannot be reached, or refuses.
    pub async fn learn(&self, messages: &[Box<RawValue>]) -> Result<Taught, BackendError> {
        self.learn.ask(&messages).await
    }

    /// Has one judged. Gives the record as it comes back, with the object `anomaly` in it.
    ///
    /// # Errors
    /// As [`Running::learn`].
    pub async fn check(&self, message: &RawValue) -> Result<Value, BackendError> {
        self.check.ask(&message).await
    }
}
