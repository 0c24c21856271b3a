//! When a line of a file was written: the time that stands at its beginning, made into a clock that only goes forward.
//!
//! Takes lines in order, gives nanoseconds. Known forms: RFC 3339 and its kin (`2026-11-21 10:00:00,123`,
//! `2026/11/21 10:00:00`), syslog and ctime (`Nov 21 10:00:00`, `Sat Nov 21 10:00:00 2026`), access logs
//! (`[21/Nov/2026:10:00:00 +0000]`), seconds or milliseconds since 1970; of a JSON object, the field that is called so.
//! Only differences count, so a zone that is not named does no harm. A line without a time comes a millisecond after the
//! one before it; one from another time altogether is no neighbour of it, and comes five minutes after it.

use oddline_engine::UnixNanos;

/// Nanoseconds between two lines of which nothing is known.
const STEP: i64 = 1_000_000;
/// Lines that are out of order by less than this are late, not from another time; an hour.
const LATE: i64 = 3_600_000_000_000;
/// A gap of more than this says that the file was cut or another one begins; a day.
const LONGEST_GAP: i64 = 24 * LATE;
/// What lies between the end of one file and the beginning of another: enough for what comes within minutes to be over, and
/// too little to make a habit of anything. Five minutes.
const ELSEWHERE: i64 = 300_000_000_000;
/// Bytes in which a time may begin.
const HEAD: usize = 48;
/// The same for access logs, where address and user stand before it.
const ACCESS_HEAD: usize = 160;
/// The same for fields of JSON objects.
const FIELDS_HEAD: usize = 4 << 10;
/// What the field of a record's time is called, in lower case.
const FIELDS: [&[u8]; 11] = [
    b"time",
    b"ts",
    b"timestamp",
    b"@timestamp",
    b"datetime",
    b"date",
    b"eventtime",
    b"event_time",
    b"created_at",
    b"starttime",
    b"_source_realtime_timestamp",
];

/// The clock of a stream of lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct LineClock {
    now: i64,
    /// What the lines' own time was at which of ours.
    anchor: Option<(i64, i64)>,
}

impl LineClock {
    /// Where it stands.
    pub fn now(&self) -> UnixNanos {
        UnixNanos(self.now)
    }

    /// Sets it, where somebody else knows the time.
    pub fn set(&mut self, now: i64) {
        self.now = now;
    }

    /// Moves to the next line, which is always later than the one before.
    pub fn tick(&mut self, line: &[u8]) {
        let next = self.now.saturating_add(1_000);
        let Some(written) = written(line) else {
            self.now = self.now.saturating_add(STEP);
            return;
        };
        let told = self.anchor.map(|(theirs, ours)| ours.saturating_add(written.saturating_sub(theirs)));
        self.now = match told {
            Some(told) if told >= self.now && told.saturating_sub(self.now) <= LONGEST_GAP => told.max(next),
            Some(told) if told < self.now && self.now.saturating_sub(told) <= LATE => next,
            told => {
                let now = self.now.saturating_add(if told.is_some() { ELSEWHERE } else { STEP });
                self.anchor = Some((written, now));
                now
            }
        };
    }
}

/// The time at a line's beginning, in nanoseconds of whatever clock and zone it was read from.
fn written(line: &[u8]) -> Option<i64> {
    let epoch = || epoch(line);
    let head = || starts(line, HEAD).find_map(|text| calendar(text).or_else(|| month_first(text)));
    let access = || starts(line, ACCESS_HEAD).filter(|text| text.get(2) == Some(&b'/')).find_map(access);
    epoch().or_else(head).or_else(access).or_else(|| field(line))
}

/// The time that a JSON object's own field names.
fn field(line: &[u8]) -> Option<i64> {
    if line.first() != Some(&b'{') {
        return None;
    }
    let mut rest = &line[..line.len().min(FIELDS_HEAD)];
    while let Some(quote) = rest.iter().position(|byte| *byte == b'"') {
        rest = &rest[quote + 1..];
        let Some(length) = rest.iter().position(|byte| *byte == b'"') else { break };
        let (name, after) = (&rest[..length], &rest[length + 1..]);
        if FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field))
            && let Some(value) = after.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start)
        {
            let value = value.strip_prefix(b"\"").unwrap_or(value);
            let time = epoch(value)
                .or_else(|| calendar(value))
                .or_else(|| access(value))
                .or_else(|| month_first(value));
            if time.is_some() {
                return time;
            }
        }
    }
    None
}

/// The places among the first bytes where a word begins.
fn starts(line: &[u8], within: usize) -> impl Iterator<Item = &[u8]> {
    (0..line.len().min(within)).filter_map(move |at| {
        let begins = at == 0 || !line[at - 1].is_ascii_alphanumeric();
        (begins && line[at].is_ascii_alphanumeric()).then(|| &line[at..])
    })
}

/// `2026-11-21T10:00:00.123Z`, with blanks, slashes and commas where others write them.
fn calendar(text: &[u8]) -> Option<i64> {
    let is = |at: usize, wanted: &[u8]| text.get(at).is_some_and(|byte| wanted.contains(byte));
    if !(is(4, b"-/") && is(7, b"-/") && is(10, b" T:")) {
        return None;
    }
    let days = days(number(text, 0..4)?, number(text, 5..7)?, number(text, 8..10)?)?;
    let (time, after) = clock(text.get(11..)?)?;
    Some(days * 86_400_000_000_000 + time - zone(after))
}

/// `21/Nov/2026:10:00:00 +0000`.
fn access(text: &[u8]) -> Option<i64> {
    if text.get(6) != Some(&b'/') || text.get(11) != Some(&b':') {
        return None;
    }
    let days = days(number(text, 7..11)?, month(text.get(3..6)?)?, number(text, 0..2)?)?;
    let (time, after) = clock(text.get(12..)?)?;
    Some(days * 86_400_000_000_000 + time - zone(after.strip_prefix(b" ").unwrap_or(after)))
}

/// `Nov 21 10:00:00`, with the year behind it or none: then that of a leap year, as only differences count.
fn month_first(text: &[u8]) -> Option<i64> {
    let month = month(text.get(..3)?)?;
    let rest = text.get(3..)?.strip_prefix(b" ")?.trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let day = number(rest, 0..digits).filter(|_| (1..=2).contains(&digits))?;
    let (time, after) = clock(rest.get(digits..)?.strip_prefix(b" ")?)?;
    let year = after.strip_prefix(b" ").and_then(|after| number(after, 0..4));
    let year = year.filter(|year| (1970..2200).contains(year)).unwrap_or(1972);
    Some(days(year, month, day)? * 86_400_000_000_000 + time)
}

/// Ten digits of seconds, perhaps with a fraction, or thirteen of milliseconds.
fn epoch(line: &[u8]) -> Option<i64> {
    // Before 2001 ten digits are a number of another kind, and so they are after 2096.
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = number(line, 0..digits).filter(|_| matches!(line.first(), Some(b'1'..=b'3')));
    let ends = line.get(digits).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    match digits {
        10 if ends => Some(whole? * 1_000_000_000 + fraction(line.get(10..)?).0),
        13 if ends => Some(whole? * 1_000_000),
        _ => None,
    }
}

/// `10:00:00.123`, and what stands behind it.
fn clock(text: &[u8]) -> Option<(i64, &[u8])> {
    if text.get(2) != Some(&b':') || text.get(5) != Some(&b':') {
        return None;
    }
    let (hour, minute, second) = (number(text, 0..2)?, number(text, 3..5)?, number(text, 6..8)?);
    if hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    let (nanos, after) = fraction(text.get(8..)?);
    Some((((hour * 60 + minute) * 60 + second) * 1_000_000_000 + nanos, after))
}

/// `.123456` in nanoseconds, and what stands behind it.
fn fraction(text: &[u8]) -> (i64, &[u8]) {
    let Some(digits) = text.strip_prefix(b".").or_else(|| text.strip_prefix(b",")) else { return (0, text) };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (nanos, _) = digits[..length]
        .iter()
        .fold((0, 100_000_000), |(sum, unit), digit| (sum + i64::from(digit - b'0') * unit, unit / 10));
    (nanos, if length == 0 { text } else { &digits[length..] })
}

/// `+02:00` or `-0700` in nanoseconds; anything else is no zone.
fn zone(text: &[u8]) -> i64 {
    let sign = match text.first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return 0,
    };
    let minutes = if text.get(3) == Some(&b':') { 4..6 } else { 3..5 };
    let offset = number(text, 1..3).zip(number(text, minutes));
    offset.map_or(0, |(hours, minutes)| sign * (hours * 60 + minutes) * 60_000_000_000)
}

fn number(text: &[u8], range: std::ops::Range<usize>) -> Option<i64> {
    let digits = text.get(range).filter(|digits| !digits.is_empty() && digits.len() <= 15)?;
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

fn month(word: &[u8]) -> Option<i64> {
    let at = b"JanFebMarAprMayJunJulAugSepOctNovDec".chunks(3).position(|month| month == word)?;
    i64::try_from(at + 1).ok()
}

/// Days since 1970 in the proleptic Gregorian calendar, counted from March so that leap days come last.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1970..2200).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    Some(365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn the_usual_forms_are_read() {
        let at = 1_795_255_200 * SECOND; // 2026-11-21 10:00:00 UTC
        for line in [
            "2026-11-21T10:00:00Z started",
            "2026-11-21 10:00:00 started",
            "2026/11/21 10:00:00 [error] started",
            "[2026-11-21 10:00:00] started",
            "<34>1 2026-11-21T12:00:00+02:00 host app - - started",
            "app-1  | 2026-11-21T10:00:00Z started",
            "time=\"2026-11-21T03:00:00-07:00\" level=info",
            "{\"time\":\"2026-11-21T10:00:00Z\"}",
            "Sat Nov 21 10:00:00 2026 started",
            "[Sat Nov 21 10:00:00 2026] [notice] started",
            "203.0.113.9 - ann [21/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 12",
            "1795255200 started",
            "1795255200000 started",
            "{\"level\":\"info\",\"logger\":\"http.log.access\",\"msg\":\"started\",\"ts\": 1795255200.0}",
            "{\"message\": \"time\", \"service\": \"a rather long name\", \"@timestamp\": \"2026-11-21T10:00:00Z\"}",
            "{\"request\": {\"host\": \"shop.example\", \"uri\": \"/\"}, \"EventTime\": 1795255200000}",
        ] {
            assert_eq!(written(line.as_bytes()), Some(at), "{line}");
        }
        assert_eq!(written(b"2026-11-21 10:00:00,123 x"), Some(at + 123_000_000));
        assert_eq!(written(b"1795255200.5 x"), Some(at + SECOND / 2));
        let syslog = |line: &str| written(line.as_bytes()).unwrap();
        assert_eq!(
            syslog("Nov 21 10:00:07 host x") - syslog("<13>Nov  9 10:00:00 host x"),
            (12 * 86_400 + 7) * SECOND
        );
    }

    #[test]
    fn what_is_no_time_is_none() {
        for line in [
            "",
            "started",
            "took 12345678901234567890 ms",
            "12345678901234567890",
            "2026-13-21 10:00:00",
            "2026-11-21 25:00:00",
            "1234-56-78 90:12:34",
            "May be late",
            "1795255200abc",
            "0000000000/00:00:00",
            "{\"message\": \"what is the time\", \"time\": \"late\", \"ts\"",
            "{\"time",
            "{\"time\":",
        ] {
            assert_eq!(written(line.as_bytes()), None, "{line}");
        }
        let late = format!("{} 2026-11-21 10:00:00", "x".repeat(HEAD));
        assert_eq!(written(late.as_bytes()), None, "a time within the message is no time of the line");
        assert_eq!(written(&[0xff; 1_000]), None);
    }

    #[test]
    fn the_clock_follows_the_lines_and_never_goes_back() {
        let mut clock = LineClock::default();
        let mut passed = |line: &str| {
            let before = clock.now();
            clock.tick(line.as_bytes());
            clock.now().0 - before.0
        };
        assert_eq!(passed("no time"), STEP);
        assert_eq!(passed("2026-11-21 10:00:00 a"), STEP, "the first time is where it begins");
        assert_eq!(passed("2026-11-21 10:00:30 a"), 30 * SECOND);
        assert_eq!(passed("2026-11-21 10:00:30 a"), 1_000, "the same second");
        assert_eq!(passed("  at a frame"), STEP);
        assert_eq!(passed("2026-11-21 10:00:29 late"), 1_000);
        assert_eq!(passed("2026-11-21 10:00:40 a"), 10 * SECOND - 2_000 - STEP);
        assert_eq!(passed("2026-11-22 10:00:40 a day"), 24 * 3_600 * SECOND);
        assert_eq!(passed("2027-02-01 10:00:00 another file"), ELSEWHERE, "more than a day");
        assert_eq!(passed("2027-02-01 10:00:05 and on"), 5 * SECOND);
        assert_eq!(passed("2026-02-01 10:00:00 an older file"), ELSEWHERE);
        assert_eq!(passed("2026-02-01 10:00:05 and on"), 5 * SECOND);
        clock.set(i64::MAX);
        clock.tick(b"2026-02-01 10:00:05");
        assert_eq!(clock.now().0, i64::MAX);
    }
}
