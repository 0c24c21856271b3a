//! Scanning: one address that asks for many different things which are not there or not for it.
//!
//! A page that is missing is no news, and an ordinary client asks for the same few again and again: a browser for about
//! a dozen (icons in all sizes, robots, a manifest, what is well known), a health check for one, a program that polls
//! another's interface for one kind of page under many ids. So what counts is how many *different* things they are, in
//! numbers that only a list of guesses reaches. Takes a message that a rule has hit and the time; knows nothing of
//! addresses.

use std::ops::RangeInclusive;

/// Different things within [`SPAN_NANOS`] to twice that, from which they are told: more than a browser asks for by itself.
const ENOUGH: f32 = 16.0;
/// Told again at this many times as many.
const AGAIN: f32 = 4.0;
/// Five minutes: when a count gives way to the next; the last one and the one before count together.
const SPAN_NANOS: i64 = 300_000_000_000;
/// Bytes of a thing that are looked at.
const COMPARED: usize = 512;
/// Ports that programs wait at. Above them systems choose the ports of their own connections, and what comes late to one
/// of those is refused without anyone's having tried a door.
const SERVED: RangeInclusive<u16> = 1..=32_767;

/// About how many different things: a bit for each sixty-fourth of their hashes, for the span at hand and the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Things {
    latest: u64,
    before: u64,
    /// When `latest` began, and when all of it did.
    since: i64,
    first: i64,
    /// Things at which they are told next; 0: [`ENOUGH`].
    due: f32,
}

impl Things {
    /// Counts one; gives how many there are about, and the time since the first, if that is to be told.
    pub(super) fn note(&mut self, thing: u64, now: i64) -> Option<(f32, i64)> {
        let passed = now.saturating_sub(self.since);
        if self.latest == 0 || !(-SPAN_NANOS..2 * SPAN_NANOS).contains(&passed) {
            *self = Things { since: now, first: now, ..Things::default() };
        } else if passed >= SPAN_NANOS {
            self.first = self.since;
            (self.before, self.latest, self.since) = (self.latest, 0, now);
        }
        self.latest |= 1u64.wrapping_shl((thing >> 58) as u32);
        let about = self.about();
        // Bits come in steps: the nearest number below counts too.
        if about < self.due.max(ENOUGH) - 0.5 {
            return None;
        }
        self.due = about * AGAIN;
        Some((about, now.saturating_sub(self.first)))
    }

    /// How many there are about: linear counting, which knows how often two share a bit.
    pub(super) fn about(&self) -> f32 {
        let free = (!(self.latest | self.before)).count_ones().max(1) as f32;
        -64.0 * (free / 64.0).ln()
    }

    /// 1 where they are told, 0 once they are forgotten.
    pub(super) fn share(&self, now: i64) -> f32 {
        let passed = now.saturating_sub(self.since);
        if passed < 2 * SPAN_NANOS { self.about() / ENOUGH } else { 0.0 }
    }
}

/// How many times as many as are told first.
pub(super) fn excess(about: f32) -> f32 {
    about / ENOUGH
}

/// The page or file that a message says was asked for, hashed: the first path after a method, or else the first.
///
/// The query is no part of it, and a part of the path with a digit in it is like any other such part: a number, an id, a
/// version.
pub(super) fn page(message: &[u8]) -> Option<u64> {
    let mut first = None;
    let mut from = 0usize;
    while let Some(slash) = memchr::memchr(b'/', message.get(from..).unwrap_or_default()) {
        let at = from.saturating_add(slash);
        let before = message.get(..at).unwrap_or_default();
        let path = message.get(at..).unwrap_or_default();
        let path = path.get(..COMPARED).unwrap_or(path);
        let (before, path) = match path.strip_prefix(b"//") {
            // `GET http://example.org/page`: the host is none of it.
            Some(rest) if before.ends_with(b":") => {
                let host = rest.iter().take_while(|byte| **byte != b'/' && !ends(**byte)).count();
                let scheme =
                    before.iter().rev().skip(1).take_while(|byte| byte.is_ascii_alphabetic()).count();
                let start = at.saturating_sub(scheme).saturating_sub(1);
                (message.get(..start).unwrap_or_default(), rest.get(host..).unwrap_or_default())
            }
            _ => (before, path),
        };
        let path = path.get(..path.iter().take_while(|byte| !ends(**byte)).count()).unwrap_or_default();
        from = at.saturating_add(path.len().max(2));
        if before.last().is_some_and(|byte| !opens(*byte)) {
            continue;
        }
        if after_method(before) {
            return Some(hash(path));
        }
        first = first.or_else(|| Some(hash(path)));
    }
    first
}

fn opens(byte: u8) -> bool {
    matches!(byte, b' ' | b'"' | b'\'' | b'=' | b'(' | b'\t')
}

fn ends(byte: u8) -> bool {
    matches!(byte, b' ' | b'"' | b'\'' | b'?' | b'#' | b';' | b',' | b')' | b'\t')
}

/// Whether a text ends in a method of HTTP and a blank.
fn after_method(before: &[u8]) -> bool {
    const METHODS: [&[u8]; 7] = [b"get", b"post", b"head", b"put", b"delete", b"options", b"patch"];
    let Some(word) = before.strip_suffix(b" ") else { return false };
    METHODS.iter().any(|method| {
        let tail = word.len().checked_sub(method.len()).and_then(|at| word.get(at..));
        tail.is_some_and(|tail| tail.eq_ignore_ascii_case(method))
    })
}

fn hash(path: &[u8]) -> u64 {
    path.split(|byte| *byte == b'/').fold(0, |so_far: u64, part| {
        let part = if part.iter().any(u8::is_ascii_digit) { b"0" } else { part };
        twox_hash::XxHash3_64::oneshot_with_seed(so_far, part)
    })
}

/// What a refused packet was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// A port that programs wait at, hashed.
    Port(u64),
    /// A port that none waits at: an answer that came late.
    NoneThere,
    /// The message names no port.
    Unknown,
}

/// The port that a refused packet was for.
pub(super) fn port(message: &[u8]) -> Door {
    match keyed_port(message).or_else(|| placed_port(message)) {
        Some(number) if SERVED.contains(&number) => {
            Door::Port(twox_hash::XxHash3_64::oneshot(&number.to_be_bytes()))
        }
        Some(_) => Door::NoneThere,
        None => Door::Unknown,
    }
}

/// `DPT=22`, `dstport="22"`, `"dst_port": 22`.
fn keyed_port(message: &[u8]) -> Option<u16> {
    const KEYS: [&[u8]; 8] = [
        b"dpt",
        b"dport",
        b"dstport",
        b"dst_port",
        b"destport",
        b"dest_port",
        b"destination_port",
        b"destinationport",
    ];
    memchr::memchr2_iter(b'=', b':', message).find_map(|at| {
        let before = message.get(..at)?;
        let before = before.strip_suffix(b"\"").unwrap_or(before);
        let is_key = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
        let key = before
            .get(before.len().checked_sub(before.iter().rev().take_while(is_key).take(20).count())?..)?;
        KEYS.iter().any(|known| key.eq_ignore_ascii_case(known)).then_some(())?;
        let rest = message.get(at.saturating_add(1)..)?;
        let signs = rest.iter().take_while(|byte| matches!(byte, b' ' | b'"')).take(2).count();
        number(rest.get(signs..)?)
    })
}

/// `dst inside:10.0.0.1/22`, `-> 10.0.0.1(22)`.
fn placed_port(message: &[u8]) -> Option<u16> {
    [(&b" dst "[..], b'/'), (b"-> ", b'(')].iter().find_map(|(arrow, sign)| {
        let at = memchr::memmem::find(message, arrow)?.checked_add(arrow.len())?;
        let rest = message.get(at..)?;
        let word = rest.get(..rest.iter().take_while(|byte| **byte != b' ').take(80).count())?;
        number(word.get(memchr::memchr(*sign, word)?.checked_add(1)?..)?)
    })
}

fn number(text: &[u8]) -> Option<u16> {
    let digits = text.get(..text.iter().take_while(|byte| byte.is_ascii_digit()).take(6).count())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn hash_of(number: u64) -> u64 {
        twox_hash::XxHash3_64::oneshot(&number.to_be_bytes())
    }

    /// After how many different things, one a second, they are told.
    fn told(count: u64, seconds: i64) -> Vec<u64> {
        let mut things = Things::default();
        (1..=count)
            .filter(|number| things.note(hash_of(*number), *number as i64 * seconds * SECOND).is_some())
            .collect()
    }

    #[test]
    fn a_list_of_guesses_is_told_and_again_when_it_is_four_times_as_long() {
        let told = told(1_000, 0);
        assert!((14..=18).contains(&told[0]), "{told:?}");
        assert!((50..=80).contains(&told[1]), "{told:?}");
        assert!(told.len() <= 3, "{told:?}");
    }

    #[test]
    fn what_an_ordinary_client_asks_for_is_never_told() {
        let mut things = Things::default();
        for step in 0..10_000 {
            // A dozen icons and the like, over and over.
            assert_eq!(things.note(hash_of(step % 12), step as i64 * SECOND), None);
        }
        assert_eq!(told(1_000, 60), [0; 0], "ten in ten minutes");
    }

    #[test]
    fn a_count_is_forgotten_after_ten_minutes_and_times_may_jump() {
        let mut things = Things::default();
        let mut some = |range: std::ops::Range<u64>, second: i64| {
            range.filter_map(|number| things.note(hash_of(number), second.saturating_mul(SECOND))).count()
        };
        assert_eq!(some(0..10, 0), 0);
        assert_eq!(some(20..30, 601), 0, "the first ten are forgotten");
        assert_eq!(some(40..50, 1_000), 1, "these and the ten before");
        assert_eq!(some(40..60, 990), 0, "told already");
        assert_eq!(some(0..30, i64::MIN), 1, "anew");
        assert_eq!(some(0..30, i64::MAX), 1, "anew");
    }

    #[test]
    fn pages_are_the_same_whatever_their_query_and_their_numbers() {
        let same = |left: &str, right: &str| {
            page(left.as_bytes()).is_some() && page(left.as_bytes()) == page(right.as_bytes())
        };
        for (left, right) in [
            ("\"GET /a/b?x=1 HTTP/1.1\" 404 9", "\"POST /a/b HTTP/1.0\" 404 1200"),
            ("\"GET /users/12 HTTP/1.1\" 404 9", "\"GET /users/4f2-9 HTTP/1.1\" 404 9"),
            (
                "\"GET http://a.example/b HTTP/1.1\" 404",
                "/log/x: \"GET https://c.example:80/b HTTP/1.1\" 404",
            ),
            ("{\"path\":\"/a\"}", "path=/a status=404"),
            ("open() \"/srv/a.php\" failed (2: No such file)", "File does not exist: /srv/a.php"),
        ] {
            assert!(same(left, right), "{left} {right}");
        }
        for (left, right) in [
            ("\"GET /a/b HTTP/1.1\" 404 9", "\"GET /a/c HTTP/1.1\" 404 9"),
            ("\"GET /a HTTP/1.1\" 404 9", "\"GET /a/ HTTP/1.1\" 404 9"),
            ("\"GET /a.php HTTP/1.1\" 404", "\"GET /b.php HTTP/1.1\" 404"),
        ] {
            assert!(!same(left, right), "{left} {right}");
        }
        for line in ["and/or [21/Nov/2026:10:00:00 +0000] text/html Mozilla/5.0", "no page", ""] {
            assert_eq!(page(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn ports_that_programs_wait_at() {
        let of = |number: u16| Door::Port(twox_hash::XxHash3_64::oneshot(&number.to_be_bytes()));
        for line in [
            "[UFW BLOCK] IN=eth0 SRC=203.0.113.9 DST=10.0.0.1 PROTO=TCP SPT=4022 DPT=22 WINDOW=1024",
            "srcip=203.0.113.9 srcport=4022 dstport=22 action=\"deny\"",
            "{\"src_port\": 4022, \"dst_port\": 22}",
            "%ASA-4-106023: Deny tcp src outside:203.0.113.9/4022 dst inside:10.0.0.1/22 by access-group \"out\"",
            "list 101 denied tcp 203.0.113.9(4022) -> 10.0.0.1(22), 1 packet",
        ] {
            assert_eq!(port(line.as_bytes()), of(22), "{line}");
        }
        for line in
            ["DPT=51820 of a connection that is over", "DPT=0", "DPT=99999999", "DPT=", "SPT=22", "=", ""]
        {
            assert!(!matches!(port(line.as_bytes()), Door::Port(_)), "{line}");
        }
    }

    #[test]
    fn hostile_lines_do_no_harm() {
        for line in [
            vec![b'/'; 100_000],
            b"://".repeat(30_000),
            vec![b'='; 100_000],
            b" dst ".repeat(9),
            vec![0xff; 99],
        ] {
            page(&line);
            port(&line);
        }
    }
}
