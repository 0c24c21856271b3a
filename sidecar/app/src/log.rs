//! How the sidecar writes its own log: takes events, gives a line for each, whatever stands in them. Errors quote what
//! others sent, so their text may neither begin a line nor act on a terminal. Knows no event.

use std::fmt::{self, Write};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter,
    field::MakeExt,
    fmt::{MakeWriter, format::debug_fn},
};

use crate::commands::print::push_harmless;

/// Writes what passes the filter.
pub(crate) fn subscriber(
    filter: EnvFilter,
    writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    let fields = debug_fn(|writer, field, value| {
        let mut line = Line(writer);
        match field.name() {
            "message" => write!(line, "{value:?}"),
            name => write!(line, "{name}={value:?}"),
        }
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .fmt_fields(fields.delimited(" "))
        .with_writer(writer)
        .finish()
}

/// Lets nothing through that ends a line or acts on a terminal.
struct Line<'w>(&'w mut dyn Write);

impl Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut harmless = String::with_capacity(text.len());
        text.chars().for_each(|c| push_harmless(&mut harmless, c));
        self.0.write_str(&harmless)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What was logged, without time and colours of the line's beginning.
    fn logged(log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let filter = EnvFilter::new("info");
        tracing::subscriber::with_default(subscriber(filter, move || writer.clone()), log);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let after = text.split_once("tests").unwrap().1;
        after.split_once(' ').unwrap().1.to_owned()
    }

    #[test]
    fn an_event_is_one_line_and_acts_on_no_terminal() {
        let hostile = "no\r\n2026-11-22 ERROR forged\u{1b}[2J\u{9b}31m\u{202e}\u{7}";
        let error = io::Error::other(hostile);
        let harmless = "no\\r\\n2026-11-22 ERROR forged\\u{1b}[2J\\u{9b}31m\\u{202e}\\u{7}";
        assert_eq!(
            logged(|| tracing::warn!(%error, "refused {hostile}")),
            format!("refused {harmless} error={harmless}\n")
        );
        // As an error, as text, and escaped already.
        let source: &(dyn std::error::Error + 'static) = &error;
        assert_eq!(logged(|| tracing::warn!(source, "x")), format!("x source={harmless}\n"));
        assert_eq!(logged(|| tracing::warn!(hostile, "x")), format!("x hostile={hostile:?}\n"));
        assert_eq!(logged(|| tracing::info!(count = 3, ok = true, "done")), "done count=3 ok=true\n");
    }
}
