//! What is remembered per template, as the plugins read it. Gives an [`Advice`]; writing it to a file is the app's.

use std::collections::BTreeMap;

use oddline_engine::{Advice, Class, TemplateAdvice, TemplateId, advice::MAX_ADVICE_BYTES};

use crate::ports::TemplateState;

/// Most rows in one advice.
pub const MAX_ADVICE_ROWS: usize = 100_000;
/// A row's share of the file beside its texts: keys, numbers and punctuation, generously.
const ROW_BYTES: usize = 240;

/// An alias's share of it.
const ALIAS_BYTES: usize = 40;

/// The advice of these rows: the most recently seen, as many as one file may hold.
pub(crate) fn advice(
    mut rows: Vec<TemplateState>,
    aliases: BTreeMap<TemplateId, TemplateId>,
    generation: u64,
) -> Advice {
    // An operator's word first.
    let is_learned = |row: &TemplateState| row.class != Class::Exception;
    rows.sort_unstable_by_key(|row| (is_learned(row), std::cmp::Reverse(row.last_seen), row.id));
    let mut bytes = aliases.len() * ALIAS_BYTES;
    let fitting = rows.into_iter().take(MAX_ADVICE_ROWS).take_while(|row| {
        bytes += ROW_BYTES + written(&row.text) + row.nearest.as_deref().map_or(0, written);
        bytes <= MAX_ADVICE_BYTES
    });
    let templates = fitting
        .map(|row| {
            let advice = TemplateAdvice {
                text: row.text.as_ref().to_owned(),
                class: row.class,
                score: row.score,
                similarity: row.similarity,
                nearest: row.nearest.as_deref().map(str::to_owned),
                rate: None,
                expires: row.expires,
            };
            (row.id, advice)
        })
        .collect();
    Advice { generation, templates, aliases, ..Advice::default() }
}

/// Bytes of a text as JSON writes it.
fn written(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' => 2,
            0..0x20 => 6,
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: usize, text: String) -> TemplateState {
        TemplateState {
            id: TemplateId(number as u64),
            text: text.into(),
            class: Class::Normal,
            score: 0.1,
            similarity: Some(0.5),
            nearest: Some("near".into()),
            seen: 1,
            first_seen: 0,
            last_seen: number as u64,
            flagged_by_rule: 0,
            expires: None,
        }
    }

    #[test]
    fn holds_the_newest_rows_up_to_the_limit() {
        let rows = (0..MAX_ADVICE_ROWS + 1).map(|number| row(number, format!("t{number}"))).collect();
        let advice = advice(rows, BTreeMap::new(), 7);
        assert_eq!((advice.templates.len(), advice.generation), (MAX_ADVICE_ROWS, 7));
        assert!(!advice.templates.contains_key(&TemplateId(0)), "the oldest is left out");
        assert_eq!(Advice::parse(&advice.to_bytes()).unwrap(), advice);
    }

    #[test]
    fn a_file_of_long_hostile_texts_is_still_one_that_plugins_read() {
        let rows = (0..2_000).map(|number| row(number, "\u{1}".repeat(60_000))).collect();
        let aliases = (0..10_000).map(|number| (TemplateId(number), TemplateId(number + 1))).collect();
        let bytes = advice(rows, aliases, 1).to_bytes();
        assert!(bytes.len() <= MAX_ADVICE_BYTES, "{}", bytes.len());
        assert!(!Advice::parse(&bytes).unwrap().templates.is_empty());
    }
}
