//! Verdicts for people and for programs: one coloured line, or one JSON line.

use std::{
    io::{self, IsTerminal, Write},
    sync::Arc,
};

use anstyle::{AnsiColor, Style};
use oddline_codec::Tags;
use oddline_engine::{Level, Verdict};
use serde::Serialize;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: one line a record, coloured on a terminal unless `NO_COLOR` is set.
    Pretty,
    /// For programs: JSON, one value a line.
    Json,
}

/// One judged line, as JSON.
#[derive(Debug, Serialize)]
pub struct Judged<'a> {
    /// The file, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<&'a str>,
    /// 1-based.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The message; what is not UTF-8 is replaced.
    pub message: &'a str,
    /// The tags, as every shell writes them.
    pub anomaly: &'a Tags,
}

/// Writes results to standard output.
#[derive(Debug)]
pub struct Printer {
    format: Format,
    colour: bool,
    model: Arc<str>,
}

impl Printer {
    /// A printer; colours only where a person looks.
    pub fn new(format: Format, model: Arc<str>) -> Printer {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Printer { format, colour: wanted && io::stdout().is_terminal(), model }
    }

    /// Writes one result.
    ///
    /// # Errors
    /// If standard output is closed.
    pub fn print(
        &self,
        file: Option<&str>,
        line: Option<u64>,
        message: &[u8],
        verdict: &Verdict,
    ) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let text = String::from_utf8_lossy(message);
        if self.format == Format::Json {
            let tags = Tags::of(verdict, &self.model);
            serde_json::to_writer(&mut out, &Judged { file, line, message: &text, anomaly: &tags })?;
            return writeln!(out);
        }
        let style = if self.colour { style(verdict.level) } else { Style::new() };
        let place = match (file, line) {
            (Some(file), Some(line)) => format!("{}:{line} ", harmless(file)),
            (None, Some(line)) => format!("{line}: "),
            _ => String::new(),
        };
        let score = format!("{:<8} {:.2}", verdict.level.as_str(), verdict.score);
        writeln!(out, "{style}{score}{style:#} {place}{}", harmless(&text))?;
        if let Some(reason) = verdict.reason.as_deref().filter(|_| verdict.level > Level::None) {
            let dim = if self.colour { Style::new().dimmed() } else { Style::new() };
            writeln!(out, "{dim}         {}: {}{dim:#}", status(verdict), harmless(reason))?;
        }
        Ok(())
    }
}

fn status(verdict: &Verdict) -> &'static str {
    verdict.status.map_or("inline", oddline_engine::Status::as_str)
}

fn style(level: Level) -> Style {
    match level {
        Level::None => Style::new().dimmed(),
        Level::Low => AnsiColor::Cyan.on_default(),
        Level::Medium => AnsiColor::Yellow.on_default(),
        Level::High => AnsiColor::Red.on_default(),
        Level::Critical => AnsiColor::Red.on_default().bold(),
    }
}

/// Log text on a terminal: no control characters, no text that runs backwards, at most 400 characters.
pub fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len().min(1_200));
    for (count, c) in text.chars().enumerate() {
        if count == 400 {
            harmless.push('…');
            break;
        }
        push_harmless(&mut harmless, c);
    }
    harmless
}

/// One character of such text.
pub(crate) fn push_harmless(out: &mut String, c: char) {
    match c {
        '\t' => out.push(' '),
        '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'
        | '\u{2029}' => {
            out.extend(c.escape_unicode());
        }
        c if c.is_control() => out.extend(c.escape_default()),
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_text_cannot_act_on_a_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\u{7}\r\u{202e}c\td"), "a\\u{1b}[2Jb\\u{7}\\r\\u{202e}c d");
        assert_eq!(harmless(&"x".repeat(400)).chars().count(), 400);
        assert_eq!(harmless(&"x".repeat(401)).chars().count(), 401);
        assert_eq!(harmless(&"x".repeat(4_000)).chars().count(), 401);
    }
}
