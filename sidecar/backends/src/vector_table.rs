//! The `RowTable` behind an `http_server` source of Vector: takes bodies of rows, posts them. A small remap behind the
//! source turns a body into rows of a `memory` enrichment table.

use std::time::Duration;

use oddline_analyze::ports::{Answer, BackendError, RowTable};

use crate::http::{Endpoint, address};

/// How long one request may take. Rows are written once a second; whoever is slower than this is as good as away.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A table of Vector.
#[derive(Debug)]
pub struct VectorTable(Endpoint);

impl VectorTable {
    /// The table behind the source at this address, path included.
    ///
    /// # Errors
    /// If it is no http or https address, or holds a password.
    pub fn new(url: &str) -> Result<VectorTable, BackendError> {
        let url = address("vector table", url)?;
        Endpoint::new("vector table", url, None, TIMEOUT, 1).map(VectorTable)
    }
}

impl RowTable for VectorTable {
    fn write(&self, body: Vec<u8>) -> Answer<'_, u64> {
        Box::pin(async { Ok(self.0.tell(body).await?.into()) })
    }
}
