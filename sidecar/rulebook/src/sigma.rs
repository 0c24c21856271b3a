//! Sigma rules in: takes the text of a Sigma file, gives our rules and everything that could not be expressed.
//!
//! The parser is `rsigma-parser`; here its tree becomes a field expression. Sigma's log source only chooses the names of
//! fields (see [`source`]); which records a rule sees is decided by the fields it asks for.

mod cidr;
mod detection;
pub mod source;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use oddline_engine::rules::MAX_LIST;
use rsigma_parser::{Level, SigmaRule, parse_sigma_yaml};

pub use source::{Names, Naming};

use crate::{
    draft::{Draft, Imported, Remark, Taken, name_of, one_line, unique_name},
    expression::{Expr, Op, Test},
    import::Importing,
    pattern,
};

/// Largest Sigma file that is read, in bytes. Published ones have a few thousand.
pub const MAX_SIGMA_BYTES: usize = 1 << 20;
/// Most links that YAML aliases may add up to in one file: a few lines of them can stand for billions of values.
const MAX_ALIASES: usize = 100;

/// Reads one Sigma file, which may hold several documents. `taken` are names in use; those given are added.
pub fn import(file: &str, text: &str, importing: &Importing, taken: &mut BTreeSet<String>) -> Imported {
    let mut imported = Imported::default();
    let whole = |reason: String| Remark { file: file.to_owned(), rule: None, source: None, reason };
    if text.len() > MAX_SIGMA_BYTES {
        let reason = format!("has {} bytes, more than the limit of {MAX_SIGMA_BYTES}; split it", text.len());
        imported.left_out.push(whole(reason));
        return imported;
    }
    if aliases(text) > MAX_ALIASES {
        let reason = format!("holds more than {MAX_ALIASES} YAML aliases; write the values out");
        imported.left_out.push(whole(reason));
        return imported;
    }
    let collection = match parse_sigma_yaml(text) {
        Ok(collection) => collection,
        Err(error) => {
            imported.left_out.push(whole(format!("is not a Sigma rule: {}", one_line(&error.to_string()))));
            return imported;
        }
    };
    for error in &collection.errors {
        imported.left_out.push(whole(one_line(error)));
    }
    for correlation in &collection.correlations {
        imported.left_out.push(Remark {
            rule: Some(correlation.title.clone()),
            ..whole("is a correlation over several records; a rule here judges one record".to_owned())
        });
    }
    for filter in &collection.filters {
        imported.left_out.push(Remark {
            rule: Some(filter.title.clone()),
            ..whole("is a filter for other rules; add it to them as `not (…)`".to_owned())
        });
    }
    for rule in &collection.rules {
        let source = source::label(&rule.logsource);
        let remark = |reason: String| Remark {
            rule: Some(one_line(&rule.title)),
            source: Some(source.clone()),
            ..whole(reason)
        };
        let names = importing.names.for_source(&rule.logsource);
        match detection::expression(&rule.detection, &names) {
            Ok(expr) => {
                if rule.detection.timeframe.is_some() {
                    imported
                        .notes
                        .push(remark("`timeframe` is dropped: each record counts alone".to_owned()));
                }
                for mut draft in split(draft(rule, importing), expr) {
                    draft.name = unique_name(&draft.name, taken);
                    let (file, source) = (file.to_owned(), source.clone());
                    imported.rules.push(Taken { draft, file, source });
                }
            }
            Err(reason) => imported.left_out.push(remark(reason)),
        }
    }
    imported
}

/// Everything but the condition.
fn draft(rule: &SigmaRule, importing: &Importing) -> Draft {
    let mut draft = Draft::named(&name_of(&importing.prefix, &rule.title));
    draft.score = match rule.level {
        Some(Level::Informational) => 0.5,
        Some(Level::Low) => 1.0,
        Some(Level::Medium) | None => 2.5,
        Some(Level::High) => 4.0,
        Some(Level::Critical) => 6.0,
    };
    // Security rules are always consulted, whatever the program.
    draft.category = importing.category.clone().or_else(|| Some("security".to_owned()));
    draft.description = one_line(&rule.title);
    draft.tags = rule.tags.iter().take(MAX_LIST).map(|tag| one_line(tag)).collect();
    let told = [
        ("Sigma", rule.id.as_deref()),
        ("description:", rule.description.as_deref()),
        ("by", rule.author.as_deref()),
        ("licence:", rule.license.as_deref()),
    ];
    for (what, text) in told {
        draft.comments.extend(text.map(|text| format!("{what} {}", one_line(text))));
    }
    draft.comments.extend(rule.references.iter().map(|reference| format!("see {}", one_line(reference))));
    draft
}

/// Puts the condition where it costs least: texts in the message become the pattern, what must not be in it `unless`,
/// everything else a field expression. A condition too large for one rule is split at its outermost `or`.
fn split(draft: Draft, expr: Expr) -> Vec<Draft> {
    let placed = place(draft.clone(), &expr);
    if placed.fields.iter().all(|field| field.len() <= MAX_EXPRESSION_BYTES) {
        return vec![placed];
    }
    let parts = match expr {
        Expr::Any(parts) if parts.len() > 1 => halves(parts).map(Expr::any),
        Expr::Test(Test { path, op: Op::In(values) }) if values.len() > 1 => {
            halves(values).map(|values| Expr::test(&path, Op::In(values)))
        }
        Expr::All(parts) => match largest(&parts) {
            Some((at, Expr::Any(branches))) if branches.len() > 1 => halves(branches.clone()).map(|half| {
                let mut parts = parts.clone();
                parts.splice(at..=at, [Expr::any(half)]);
                Expr::all(parts)
            }),
            _ => return vec![placed],
        },
        _ => return vec![placed],
    };
    parts.into_iter().flat_map(|part| split(draft.clone(), part)).collect()
}

/// A field expression that has more is split; the engine would take longer ones, but people read them.
const MAX_EXPRESSION_BYTES: usize = 4 << 10;

fn halves<T>(mut items: Vec<T>) -> [Vec<T>; 2] {
    let second = items.split_off(items.len() / 2);
    [items, second]
}

fn largest(parts: &[Expr]) -> Option<(usize, &Expr)> {
    parts.iter().enumerate().max_by_key(|(_, part)| part.to_string().len())
}

fn place(mut draft: Draft, expr: &Expr) -> Draft {
    let conjuncts = match expr {
        Expr::All(parts) => parts.as_slice(),
        one => std::slice::from_ref(one),
    };
    for part in conjuncts {
        match part {
            Expr::Not(inner) => match pattern::of_message(inner) {
                Some(regex) => draft.unless.push(regex),
                None => draft.fields.push(part.to_string()),
            },
            other => match pattern::of_message(other) {
                Some(regex) if draft.pattern.is_none() => draft.pattern = Some(regex),
                _ => draft.fields.push(part.to_string()),
            },
        }
    }
    if draft.pattern.is_none() && draft.fields.is_empty() {
        // Nothing but exceptions: as an expression, which may stand alone.
        draft.unless.clear();
        draft.fields.push(expr.to_string());
    }
    draft
}

/// How often the text uses a YAML alias; a `*` elsewhere is a wildcard within quotes.
fn aliases(text: &str) -> usize {
    let used = |line: &str| {
        line.split([' ', '[', ',', ':', '-'])
            .filter(|word| word.strip_prefix('*').is_some_and(|name| name.starts_with(char::is_alphanumeric)))
            .count()
    };
    text.lines().filter(|line| !line.trim_start().starts_with('#')).map(used).sum()
}
