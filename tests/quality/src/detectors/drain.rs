//! Template novelty with the `drain3` crate: a line is odd when it opens a new template, or with a baseline, when it
//! matches none of the baseline's.

use drain3::{Config, Matcher};

use crate::detector::{Answer, Detector, Event};

/// Longest line and most words it reads; the crate refuses longer lines, so they are cut. Its defaults (1,024 and 64) would
/// leave out lines that the others see.
const MAX_BYTES: usize = 8_192;
const MAX_TOKENS: usize = 512;

/// The crate's matcher with its own defaults but for the length of lines.
pub(crate) struct Drain {
    has_baseline: bool,
    matcher: Matcher,
}

impl Drain {
    pub(crate) fn new(has_baseline: bool) -> Drain {
        let config = Config::builder().max_bytes(MAX_BYTES).max_tokens(MAX_TOKENS).build();
        Drain { has_baseline, matcher: Matcher::new(config) }
    }

    /// Adds a line; gives its template and whether the line opened it.
    fn add(&mut self, line: &[u8]) -> (u64, bool) {
        match self.matcher.add_log_message(&readable(line)) {
            Ok(template) => (template.id() as u64, template.count() == 1),
            // What it refuses has no template; being refused is not being odd.
            Err(_) => (0, false),
        }
    }
}

/// Text of a length that the crate takes.
fn readable(line: &[u8]) -> String {
    let cut = line.get(..MAX_BYTES / 4).unwrap_or(line);
    let text = String::from_utf8_lossy(cut);
    text.split_whitespace().take(MAX_TOKENS).collect::<Vec<_>>().join(" ")
}

impl Detector for Drain {
    fn learn(&mut self, events: &[Event]) -> anyhow::Result<()> {
        for event in events {
            self.add(&event.line);
        }
        Ok(())
    }

    fn judge(&mut self, events: &[Event]) -> anyhow::Result<Vec<Answer>> {
        let judge = |event: &Event| {
            if self.has_baseline {
                let known = self.matcher.match_id(&readable(&event.line)).is_some();
                return Answer::yes(!known);
            }
            let (template, is_new) = self.add(&event.line);
            Answer { template, ..Answer::yes(is_new) }
        };
        Ok(events.iter().map(judge).collect())
    }

    fn template(&mut self, id: u64) -> Option<(u64, String)> {
        let template = self.matcher.template_for_id(usize::try_from(id).ok()?)?;
        let mut fixed = template.tokens().iter();
        let word = |at| {
            if template.is_param(at) { Some("<*>".into()) } else { fixed.next().map(ToString::to_string) }
        };
        let words: Vec<String> = (0..template.token_count()).filter_map(word).collect();
        Some((id, words.join(" ")))
    }
}
