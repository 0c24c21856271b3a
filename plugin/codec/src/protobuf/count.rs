//! Takes a metric, gives the count of a template's records that it is, if it is one.

use oddline_engine::{TemplateCount, TemplateId};

use super::wire::{Field, Wire, fields};
use crate::Unreadable;

/// Namespace and name of the metric.
const NAMESPACE: &[u8] = b"oddline";
const NAME: &[u8] = b"template_records";
/// Most records that one metric counts; beyond it a double skips whole numbers.
const MAX_COUNT: f64 = 9_007_199_254_740_992.0;

/// What a metric is to us.
#[derive(Clone, Debug, PartialEq)]
pub enum Count {
    /// A count of ours.
    Of(TemplateCount),
    /// It has the name of one and does not say what it must.
    Unread,
}

/// The count that a metric is; `None`: it is none of ours. Its template's text is empty: it is known by its id.
pub fn read_count(metric: &[u8]) -> Option<Count> {
    let is_ours = |number: u32, wanted: &[u8]| {
        let found = fields(metric).filter_map(Result::ok).filter_map(|field| field.bytes_of(number)).last();
        found == Some(wanted)
    };
    (is_ours(11, NAMESPACE) && is_ours(1, NAME)).then(|| read(metric).map_or(Count::Unread, Count::Of))
}

/// A counter's value as a number of records; `None` if it cannot be one.
pub fn whole_count(value: f64) -> Option<u64> {
    (0.0..=MAX_COUNT).contains(&value).then_some(value as u64)
}

fn read(metric: &[u8]) -> Option<TemplateCount> {
    let (mut count, mut is_absolute) = (None, false);
    let (mut id, mut source, mut hit) = (None, None, false);
    let mut tag = |key: &[u8], value: &[u8]| -> Option<()> {
        match key {
            b"template_id" => id = Some(TemplateId::parse(std::str::from_utf8(value).ok()?)?),
            b"source" => source = Some(String::from_utf8_lossy(value).into_owned()),
            b"rule_hit" => hit = value == b"1",
            _ => {}
        }
        Some(())
    };
    for field in fields(metric) {
        let field = field.ok()?;
        match (field.number, field.value) {
            // Tags with one value, and the same again with lists of values.
            (3, Wire::Bytes(entry)) => tag(part(entry, 1)?, part(entry, 2)?)?,
            (20, Wire::Bytes(entry)) => tag(part(entry, 1)?, part(part(part(entry, 2)?, 1)?, 1)?)?,
            (4, Wire::Varint(kind)) => is_absolute = kind != 0,
            (5, Wire::Bytes(counter)) => count = Some(double(counter)?),
            _ => {}
        }
    }
    let count = whole_count(count.filter(|_| !is_absolute)?)?;
    let rule_hits = if hit { count } else { 0 };
    Some(TemplateCount { id: id?, text: String::new(), source: source?, count, rule_hits })
}

/// The last field of a number as bytes; absent is empty.
fn part(message: &[u8], number: u32) -> Option<&[u8]> {
    let mut found: &[u8] = b"";
    for field in fields(message) {
        if let Some(bytes) = field.ok()?.bytes_of(number) {
            found = bytes;
        }
    }
    Some(found)
}

/// The double in field 1; absent is zero.
fn double(message: &[u8]) -> Option<f64> {
    let last = |found, field: Result<Field<'_>, Unreadable>| match field {
        Ok(Field { number: 1, value: Wire::Fixed64(bits), .. }) => Some(f64::from_bits(bits)),
        Ok(_) => Some(found),
        Err(_) => None,
    };
    fields(message).try_fold(0.0, last)
}
