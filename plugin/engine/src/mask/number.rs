//! Words with digits: whether they are numbers or ids, and what digits and the unit behind them are worth. Knows nothing of
//! what surrounds them.

use super::class::is_word;

/// The unit of size or time that stands apart after a number (` KB`, ` ms`): its length, and what one of it is in bytes or
/// milliseconds. `free 900 B` and `free 3 KB` are one message with comparable values.
pub(super) fn unit_of(rest: &[u8]) -> Option<(usize, f64)> {
    const UNITS: [(&[u8], f64); 13] = [
        (b"B", 1.0),
        (b"KB", 1024.0),
        (b"kB", 1000.0),
        (b"MB", 1_048_576.0),
        (b"GB", 1_073_741_824.0),
        (b"TB", 1_099_511_627_776.0),
        (b"KiB", 1024.0),
        (b"MiB", 1_048_576.0),
        (b"GiB", 1_073_741_824.0),
        (b"TiB", 1_099_511_627_776.0),
        (b"us", 0.001),
        (b"ms", 1.0),
        (b"s", 1000.0),
    ];
    let apart = rest.strip_prefix(b" ")?;
    // Asked after every number, and most often it is another word.
    if !matches!(apart.first()?, b'B' | b'K' | b'k' | b'M' | b'G' | b'T' | b'u' | b'm' | b's') {
        return None;
    }
    let length = apart.iter().take(4).take_while(|byte| is_word(**byte)).count();
    let word = apart.get(..length)?;
    let (_, factor) = UNITS.iter().find(|(unit, _)| *unit == word)?;
    Some((length.saturating_add(1), *factor))
}

/// Most digits before and behind the point of a number whose value is worked out.
pub(super) const MAX_DIGITS: usize = 15;

/// Digits, at most [`MAX_DIGITS`] of them, and maybe a point and as many again: exact enough in one pass, and what `str::parse`
/// costs is not paid.
pub(super) fn value_of(number: &[u8]) -> f64 {
    const SCALES: [f64; MAX_DIGITS + 1] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (mut whole, mut digits, mut point) = (0u64, 0u64, number.len());
    for (&byte, at) in number.iter().zip(1..) {
        if byte == b'.' {
            point = at;
            whole = std::mem::take(&mut digits);
            continue;
        }
        digits = digits.wrapping_mul(10).wrapping_add(u64::from(byte.wrapping_sub(b'0')));
    }
    let decimals = number.len().saturating_sub(point);
    let scale = SCALES.get(decimals).copied().unwrap_or(1.0);
    match whole {
        _ if decimals == 0 => digits as f64,
        // Rounded once, as long as all digits together are exact.
        _ if number.len() <= MAX_DIGITS + 1 => (whole as f64 * scale + digits as f64) / scale,
        _ => whole as f64 + digits as f64 / scale,
    }
}

/// What a word with digits is, if it is a variable as a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    Number,
    Id,
}

impl Shape {
    /// `None` if only its digits are.
    pub(super) fn of(word: &[u8], digits: usize) -> Option<Shape> {
        let first_digit = word.first().is_some_and(u8::is_ascii_digit);
        let letters = word.len().saturating_sub(digits);
        if letters == 0 {
            return Some(Shape::Number);
        }
        let tail = word.get(digits..).unwrap_or_default();
        if first_digit && letters <= 4 && tail.iter().all(u8::is_ascii_alphabetic) {
            return Some(Shape::Number); // 17ms, 5GB, 3rd, 12Z
        }
        let hex = word.iter().all(u8::is_ascii_hexdigit) && word.len() >= 4;
        let prefixed_hex = word.len() > 2 && (word.starts_with(b"0x") || word.starts_with(b"0X"));
        let switches = word
            .windows(2)
            .filter(|pair| matches!(pair, [left, right] if left.is_ascii_digit() != right.is_ascii_digit()));
        let scrambled = switches.count() >= 3;
        (first_digit
            || hex
            || prefixed_hex
            || scrambled && word.len() >= 6
            || digits > letters && word.len() >= 8)
            .then_some(Shape::Id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_stand_apart_and_end_there() {
        assert_eq!(unit_of(b" KB, free"), Some((3, 1024.0)));
        assert_eq!(unit_of(b" ms"), Some((3, 1.0)));
        assert_eq!(unit_of(b" s on"), Some((2, 1000.0)));
        for other in [b" Bob".as_slice(), b" bytes", b"KB", b"  KB", b" ", b""] {
            assert_eq!(unit_of(other), None, "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn digits_and_a_point() {
        assert_eq!([value_of(b"12"), value_of(b"3.5"), value_of(b"0.25")], [12.0, 3.5, 0.25]);
        assert_eq!([value_of(b"1.1"), value_of(b"1234567.12345678")], [1.1, 1_234_567.123_456_78]);
        assert_eq!(value_of(b"123456789012345.500000000000000"), 123_456_789_012_345.5);
    }
}
