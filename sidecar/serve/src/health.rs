//! Whether the sidecar can do its work now, as a list of what is missing. Alive is something else: `/health` answers.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use axum::http::StatusCode;
use serde_json::{Value, json};

/// Named conditions, each met or not.
#[derive(Debug, Default)]
pub struct Readiness {
    /// Held for one look-up.
    missing: Mutex<BTreeSet<&'static str>>,
}

impl Readiness {
    /// Nothing is met yet.
    pub fn waiting_for(conditions: impl IntoIterator<Item = &'static str>) -> Self {
        Readiness { missing: Mutex::new(conditions.into_iter().collect()) }
    }

    /// A condition is met.
    pub fn met(&self, condition: &'static str) {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).remove(condition);
    }

    /// A condition is met no longer.
    pub fn lost(&self, condition: &'static str) {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).insert(condition);
    }

    /// Whether all are met.
    pub fn is_ready(&self) -> bool {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(crate) fn answer(&self) -> (StatusCode, Value) {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, json!({ "ready": missing.is_empty(), "waiting_for": &*missing }))
    }
}
