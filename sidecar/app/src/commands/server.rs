//! Which sidecar a command works with: one that runs already and is asked over HTTP, or none, and then the command opens
//! state and index itself.

use std::io::{self, Write};

use anyhow::Context;
use oddline_backends::{running::Running, sqlite::Sqlite};
use serde_json::value::RawValue;

use crate::{config::Config, ports::state_file};

/// Longest message that is sent, in bytes: well beyond what is analysed of one.
const MAX_SENT_BYTES: usize = 1 << 20;

/// Whom to ask.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Server {
    /// Ask the sidecar that runs there, e.g. http://127.0.0.1:24286, with the configured http.token.
    ///
    /// If not given, and a sidecar runs on the configured state, that one is asked.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

impl Server {
    /// The running sidecar that is named, or else the one that has the configured state; `None`: there is none.
    ///
    /// # Errors
    /// If one has the state but takes no HTTP.
    pub fn running(&self, config: &Config) -> anyhow::Result<Option<Running>> {
        let token = config.http.as_ref().and_then(|http| http.token.as_deref());
        if let Some(url) = &self.server {
            return Ok(Some(Running::new(url, token).context("--server")?));
        }
        let state = state_file(config);
        if !Sqlite::is_in_use(&state) {
            return Ok(None);
        }
        let shown = state.display();
        let Some(http) = &config.http else {
            anyhow::bail!(
                "state {shown} is in use by a running sidecar, whose HTTP way in is off in this configuration: \
                 set http.listen as it has it, give --server URL, or stop it"
            );
        };
        let url = format!("http://{}", http.listen);
        // If standard error is closed, nobody is there to read it.
        let _ = writeln!(io::stderr(), "oddline: state {shown} is in use: asking the sidecar at {url}");
        Ok(Some(Running::new(&url, token)?))
    }
}

/// A line as it is sent: a JSON object as it is, anything else as a JSON string; what is not UTF-8 is replaced.
pub(super) fn sent(line: &[u8]) -> anyhow::Result<Box<RawValue>> {
    if line.trim_ascii_start().starts_with(b"{")
        && let Ok(record) = serde_json::from_slice(line)
    {
        return Ok(record);
    }
    let text = String::from_utf8_lossy(line.get(..MAX_SENT_BYTES).unwrap_or(line));
    Ok(serde_json::value::to_raw_value(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_sent_as_strings_and_objects_as_they_are() {
        let sent = |line: &[u8]| sent(line).unwrap().get().to_owned();
        assert_eq!(sent(br#" {"message" : "a"}"#), r#"{"message" : "a"}"#);
        assert_eq!(sent(br#"{"message""#), r#""{\"message\"""#);
        assert_eq!(sent(b"a\x1b[2J\xff\"b"), "\"a\\u001b[2J\u{fffd}\\\"b\"");
        for (bytes, left) in [(MAX_SENT_BYTES, 0), (MAX_SENT_BYTES + 1, 0), (10 * MAX_SENT_BYTES, 0)] {
            assert_eq!(sent(&vec![b'x'; bytes]).len(), MAX_SENT_BYTES + 2 + left);
        }
    }
}
