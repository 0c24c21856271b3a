//! Whether Vector can read an event: every field that it knows has the type that it expects, texts are UTF-8, messages are
//! not nested past what its reader follows, and values are such that it does not stumble over them. What it does not know it
//! skips, and so does this. One bad event would otherwise take the whole batch along.

use super::wire::{Field, Wire, fields};

/// Most messages within each other, counted from the event: where Vector's reader gives up.
const MAX_MESSAGES: usize = 100;
/// Seconds that a time may be away from 1970: some 260,000 years.
const MAX_SECONDS: i64 = 8_200_000_000_000;
/// Nanoseconds of a second, with room for a leap second.
const MAX_NANOS: i64 = 1_999_999_999;

/// What a field holds.
#[derive(Clone, Copy)]
enum Type {
    Varint,
    Double,
    /// Not a NaN.
    Number,
    Text,
    Bytes,
    /// One after the other or packed together.
    Varints,
    Doubles,
    Message(&'static Message),
}

/// The fields of a message, and which of them it cannot do without: any of these, if there are some.
struct Message {
    fields: &'static [(u32, Type)],
    needs: &'static [u32],
}

const fn of(fields: &'static [(u32, Type)]) -> Message {
    Message { fields, needs: &[] }
}

use Type::{Bytes, Double, Doubles, Message as In, Number, Text, Varint, Varints};

static EVENT: Message = of(&[(1, In(&LOG)), (2, In(&METRIC)), (3, In(&TRACE))]);
static LOG: Message = of(&[(1, In(&ENTRY)), (2, In(&VALUE)), (3, In(&VALUE)), (4, In(&METADATA))]);
static TRACE: Message = of(&[(1, In(&ENTRY)), (2, In(&VALUE)), (3, In(&METADATA))]);
static ENTRY: Message = of(&[(1, Text), (2, In(&VALUE))]);
static VALUE: Message = of(&[
    (1, Bytes),
    (2, In(&TIME)),
    (4, Varint),
    (5, Number),
    (6, Varint),
    (7, In(&MAP)),
    (8, In(&ARRAY)),
    (9, Varint),
]);
static MAP: Message = of(&[(1, In(&ENTRY))]);
static ARRAY: Message = of(&[(1, In(&VALUE))]);
static TIME: Message = of(&[(1, Varint), (2, Varint)]);
static METADATA: Message = of(&[
    (1, In(&VALUE)),
    (2, In(&ORIGIN)),
    (3, Text),
    (4, Text),
    (5, In(&OUTPUT)),
    (6, In(&SECRETS)),
    (7, Bytes),
]);
static ORIGIN: Message = of(&[(1, Varint), (2, Varint), (3, Varint)]);
static OUTPUT: Message = of(&[(1, Text), (2, Text)]);
static SECRETS: Message = of(&[(1, In(&TEXT_ENTRY))]);
static TEXT_ENTRY: Message = of(&[(1, Text), (2, Text)]);
static METRIC: Message = Message {
    fields: &[
        (1, Text),
        (2, In(&TIME)),
        (3, In(&TEXT_ENTRY)),
        (4, Varint),
        (5, In(&DOUBLE)),
        (6, In(&DOUBLE)),
        (7, In(&SET)),
        (8, In(&DISTRIBUTION_1)),
        (9, In(&HISTOGRAM_1)),
        (10, In(&SUMMARY_1)),
        (11, Text),
        (12, In(&DISTRIBUTION)),
        (13, In(&BUCKETS)),
        (14, In(&BUCKETS)),
        (15, In(&SKETCH)),
        (16, In(&BUCKETS)),
        (17, In(&BUCKETS)),
        (18, Varint),
        (19, In(&VALUE)),
        (20, In(&TAG_ENTRY)),
        (21, In(&METADATA)),
    ],
    needs: &[5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17],
};
static TAG_ENTRY: Message = of(&[(1, Text), (2, In(&TAG_VALUES))]);
static TAG_VALUES: Message = of(&[(1, In(&TAG_VALUE))]);
static TAG_VALUE: Message = of(&[(1, Text)]);
static DOUBLE: Message = of(&[(1, Double)]);
static SET: Message = of(&[(1, Text)]);
static DISTRIBUTION_1: Message = of(&[(1, Doubles), (2, Varints), (3, Varint)]);
static HISTOGRAM_1: Message = of(&[(1, Doubles), (2, Varints), (3, Varint), (4, Double)]);
static SUMMARY_1: Message = of(&[(1, Doubles), (2, Doubles), (3, Varint), (4, Double)]);
static DISTRIBUTION: Message = of(&[(1, In(&SAMPLE)), (2, Varint)]);
static SAMPLE: Message = of(&[(1, Double), (2, Varint)]);
/// Histograms and summaries of today: a list, a count and a sum.
static BUCKETS: Message = of(&[(1, In(&BUCKET)), (2, Varint), (3, Double)]);
/// A bucket's second number is whole in histograms and not in summaries: both are left to the reader.
static BUCKET: Message = of(&[(1, Double)]);
static SKETCH: Message = Message { fields: &[(1, In(&AGENT_SKETCH))], needs: &[1] };
static AGENT_SKETCH: Message =
    of(&[(1, Varint), (2, Double), (3, Double), (4, Double), (5, Double), (6, Varints), (7, Varints)]);

/// Whether Vector can read this event.
pub(super) fn is_sound(event: &[u8]) -> bool {
    check(event, &EVENT, 1)
}

fn check(bytes: &[u8], message: &'static Message, depth: usize) -> bool {
    if depth > MAX_MESSAGES {
        return false;
    }
    let mut has_needed = message.needs.is_empty();
    for field in fields(bytes) {
        let Ok(field) = field else { return false };
        let Some((_, wanted)) = message.fields.iter().find(|(number, _)| *number == field.number) else {
            continue;
        };
        if !fits(field, *wanted, depth) {
            return false;
        }
        has_needed |= message.needs.contains(&field.number);
    }
    has_needed && (!std::ptr::eq(message, &TIME) || is_time(bytes))
}

fn fits(field: Field<'_>, wanted: Type, depth: usize) -> bool {
    match (wanted, field.value) {
        (Varint | Varints, Wire::Varint(_))
        | (Double | Doubles, Wire::Fixed64(_))
        | (Bytes, Wire::Bytes(_)) => true,
        (Number, Wire::Fixed64(bits)) => !f64::from_bits(bits).is_nan(),
        (Text, Wire::Bytes(text)) => std::str::from_utf8(text).is_ok(),
        (Doubles, Wire::Bytes(packed)) => packed.len().is_multiple_of(8),
        // Each ends with the first byte that does not say that there is more.
        (Varints, Wire::Bytes(packed)) => {
            packed.last().is_none_or(|last| *last < 0x80)
                && packed.chunk_by(|byte, _| *byte >= 0x80).all(|one| one.len() <= 10)
        }
        (In(message), Wire::Bytes(bytes)) => check(bytes, message, depth.saturating_add(1)),
        _ => false,
    }
}

fn is_time(time: &[u8]) -> bool {
    let mut parts = [0i64; 2];
    for field in fields(time).flatten() {
        let part =
            usize::try_from(field.number).ok().and_then(|number| parts.get_mut(number.checked_sub(1)?));
        if let (Some(part), Wire::Varint(value)) = (part, field.value) {
            *part = value.cast_signed();
        }
    }
    let [seconds, nanos] = parts;
    (-MAX_SECONDS..=MAX_SECONDS).contains(&seconds) && (0..=MAX_NANOS).contains(&nanos)
}
