//! Addresses: one that is refused, or tries what a rule knows, again and again within minutes.
//!
//! A failed login is no news; a dozen of them from one address is somebody guessing. Counted are only lines that a
//! rule of the family has hit (see [`weight`]), so that ordinary lines cost nothing: the address is looked for in those
//! alone. Each has points that fade by half in five minutes; more than five of them are told, and again at four times as
//! many. Between the tellings each line lies nearer to the next one, and what a told address goes on to try stays `low`
//! (see [`Standing`]): it is all one finding. Packets that a firewall dropped count for less, so that the tries of one
//! connection are none. What says too little for that, a request for what is not there, and packets to many ports count by
//! how many different things they were about (see [`scan`]). One address after the other at a service that the world can reach is what such a service lives with: as with
//! everything that is told (see [`Told`]), the next ones are told more softly, and loud ones still heard.
//!
//! The table has a fixed size: an address that is new where its eight places are taken replaces the one with the fewest
//! points, so that a flood of addresses pushes out what is weak and not what is strong.

use core::net::IpAddr;

use super::{
    Signals,
    scan::{self, Door, Things},
    told::Told,
};
use crate::verdict::{Flag, RuleHit};

/// Points above which an address is told: more than a person needs who mistypes a password.
const ENOUGH: f32 = 5.0;
/// An address that was told is told again at this many times its points.
const AGAIN: f32 = 4.0;
/// Half of the points is forgotten in this time; five minutes.
const HALF_LIFE_NANOS: f64 = 300e9;
/// Points below which an address begins anew. What counts for less, a request for what is not there, does not add up by
/// itself: programs that poll each other's interfaces get such answers all day. It only adds to what is more.
const FORGOTTEN: f32 = 0.5;
/// Severity from which a hit counts in full: refused logins in the words of single programs, too common to be flagged.
const IN_FULL: f32 = 1.8;
/// What a dropped packet counts: one connection is tried seven times, the eighth packet is more than that.
const PACKET: f32 = 0.67;
/// What so many packets score at least: `low`. Networks are full of programs that try again for ever.
const PACKETS: f32 = 0.5;
/// Times within a week or so that weigh as much as one a moment ago: two are told in full, then it is what such a service
/// lives with.
const USUAL: f32 = 3.0;
/// A rule below this severity says that all is well (a login, a logout).
const LEAST_SEVERITY: f32 = 0.8;
/// Bytes of a message in which an address is looked for.
const SEARCHED: usize = 8 << 10;
/// The shortest address, `::1`.
const SHORTEST: usize = 3;
/// Sets of the table; a power of two.
const SETS: u64 = 512;
/// Addresses of a set.
const WAYS: usize = 8;

/// What is counted of the addresses of all sources; empty until there is one.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    sets: Vec<[Counted; WAYS]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    /// Hash of source and address; 0: nobody.
    key: u64,
    points: f32,
    /// Points at which it is told next.
    due: f32,
    /// How often it was told.
    tellings: u8,
    count: u32,
    first: i64,
    last: i64,
    /// Different things that it was refused.
    things: Things,
}

/// What is worth telling of an address: how many times as much as is told first, and how that is said.
struct Due {
    excess: f32,
    /// Told for how many different things it asked for.
    is_scan: bool,
    words: String,
}

/// Where the address of a line stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Standing {
    /// It has none, or is told at this line.
    #[default]
    Nobody,
    /// So much of what is told, 0 to 1, came before this line.
    Near(f32),
    /// It was told; so much, 0 to 1, of what is told next.
    Told { share: f32, is_first: bool },
}

/// What a hit counts, 0 to 1; `None` if it is not of the family: refusals and attacks (category `security`), logins and
/// requests that a service of another kind refuses (rules that are called so).
fn weight(rule: &RuleHit) -> Option<f32> {
    // There the address is that of who refuses, and who asked is the program that writes the line.
    if &*rule.name == "CONNECTION_REFUSED" {
        return None;
    }
    let counts = rule.score >= LEAST_SEVERITY && (&*rule.category == "security" || is_refusal(rule));
    counts.then_some((rule.score / IN_FULL).min(1.0))
}

/// Whether a hit counts for the address in its message.
pub(crate) fn counts(rule: &RuleHit) -> bool {
    weight(rule).is_some() || is_packet(rule)
}

/// Whether a hit says no more than that somebody was turned away: of an address that was told, nothing new.
pub(crate) fn is_refusal(rule: &RuleHit) -> bool {
    ["LOGIN", "REFUSED", "NOT_FOUND"].iter().any(|word| rule.name.contains(word))
}

/// Whether a hit is a packet that a firewall dropped. One alone says nothing: networks are full of them.
fn is_packet(rule: &RuleHit) -> bool {
    matches!(&*rule.name, "FIREWALL_DROP" | "DEVICE_DENIED")
}

impl Addresses {
    /// Takes a message that a rule has hit, and tells if its address has done so too often; gives where it stands. `told`:
    /// what was told of the source's addresses.
    pub(crate) fn observe(
        &mut self,
        (source, told): (u64, &mut Told),
        rule: &RuleHit,
        message: &[u8],
        (now, window_nanos): (i64, i64),
        signals: &mut Signals,
    ) -> Standing {
        let weight = weight(rule);
        let is_packet = weight.is_none();
        if is_packet && !self::is_packet(rule) {
            return Standing::Nobody;
        }
        let message = message.get(..SEARCHED).unwrap_or(message);
        let Some(address) = find(message) else { return Standing::Nobody };
        let thing = if !is_packet {
            scan::page(message)
        } else {
            match scan::port(message) {
                Door::Port(port) => Some(port),
                Door::Unknown => None,
                Door::NoneThere => return Standing::Nobody,
            }
        };
        let Some(counted) = self.counted(source, address, now) else { return Standing::Nobody };
        let Some(due) = counted.count(address, weight.unwrap_or(PACKET), thing, now) else {
            return counted.standing(weight.unwrap_or(PACKET));
        };
        let least = if is_packet && !due.is_scan { PACKETS } else { 0.65 };
        let strength = (least + 0.05 * due.excess.log2()).clamp(least, 0.8);
        let before = told.episodes(now).round();
        let strength = (strength - told.again(0, USUAL, now, window_nanos)).max(0.5);
        let mut words = due.words;
        if before >= 2.0 {
            words.push_str(&format!(" (the like was told {before} times in the last days)"));
        }
        signals.add(Flag::Burst, strength, words);
        Standing::Nobody
    }

    /// What is counted of an address; it makes room for itself.
    fn counted(&mut self, source: u64, address: IpAddr, now: i64) -> Option<&mut Counted> {
        if self.sets.is_empty() {
            self.sets = vec![Default::default(); SETS as usize];
        }
        let key = match address {
            IpAddr::V4(address) => twox_hash::XxHash3_64::oneshot_with_seed(source, &address.octets()),
            IpAddr::V6(address) => twox_hash::XxHash3_64::oneshot_with_seed(source, &address.octets()),
        };
        let set = self.sets.get_mut(usize::try_from(key % SETS).ok()?)?;
        let place = match set.iter().position(|counted| counted.key == key) {
            Some(place) => place,
            None => {
                let strengths = set.iter().map(|counted| counted.strength(now)).enumerate();
                let weakest = strengths.min_by(|left, right| left.1.total_cmp(&right.1));
                weakest.map(|(place, _)| place)?
            }
        };
        let counted = set.get_mut(place)?;
        if counted.key != key {
            *counted = Counted { key, ..Counted::default() };
        }
        Some(counted)
    }
}

impl Counted {
    /// The points that are left.
    fn points(&self, now: i64) -> f32 {
        let passed = now.saturating_sub(self.last).max(0) as f64;
        self.points * (-passed / HALF_LIFE_NANOS).exp2() as f32
    }

    /// How near it is, or was when it was last heard of, to being told.
    fn strength(&self, now: i64) -> f32 {
        (self.points(now) / ENOUGH).max(self.things.share(now))
    }

    /// Where it stands at a hit of this weight, which has been counted.
    fn standing(&self, weight: f32) -> Standing {
        let share = |points: f32| (points / self.due.max(ENOUGH)).clamp(0.0, 1.0);
        match self.tellings {
            0 => Standing::Near(share(self.points - weight)),
            tellings => Standing::Told { share: share(self.points), is_first: tellings == 1 },
        }
    }

    /// Counts a hit of this weight about this thing.
    fn count(&mut self, address: IpAddr, weight: f32, thing: Option<u64>, now: i64) -> Option<Due> {
        let points = self.points(now);
        if points < FORGOTTEN {
            *self =
                Counted { key: self.key, due: ENOUGH, first: now, things: self.things, ..Counted::default() };
        } else {
            self.points = points;
        }
        self.last = now;
        let seconds = |nanos: i64| nanos.checked_div(1_000_000_000).unwrap_or_default().max(1);
        let many = thing.and_then(|thing| self.things.note(thing, now));
        self.points += weight;
        self.count = self.count.saturating_add(1);
        if self.points > self.due {
            self.due = self.points * AGAIN;
            self.tellings = self.tellings.saturating_add(1);
            let (count, seconds) = (self.count, seconds(now.saturating_sub(self.first)));
            let words = format!("{count} refused or suspicious attempts from {address} in {seconds} s");
            return Some(Due { excess: self.points / ENOUGH, is_scan: many.is_some(), words });
        }
        let (about, nanos) = many?;
        self.tellings = self.tellings.saturating_add(1);
        let seconds = seconds(nanos);
        let words = format!(
            "about {about:.0} different things that {address} asked for in {seconds} s are not there or not for it"
        );
        Some(Due { excess: scan::excess(about), is_scan: true, words })
    }
}

/// The address that a message is about: the first that follows a word such as `from` or `client`, or else the first.
fn find(message: &[u8]) -> Option<IpAddr> {
    let mut first = None;
    let mut from = 0usize;
    // Most of a message is letters: what has no sign of an address in it is not looked at.
    while let Some(sign) = memchr::memchr2(b'.', b':', message.get(from..).unwrap_or_default()) {
        let sign = from.saturating_add(sign);
        let before = message.get(from..sign).unwrap_or_default();
        let at = sign.saturating_sub(before.iter().rev().take_while(|byte| is_part(**byte)).count());
        let rest = message.get(at..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| is_part(**byte)).count();
        let token = rest.get(..length).unwrap_or_default();
        from = at.saturating_add(length);
        if length < SHORTEST {
            continue;
        }
        let glued =
            at.checked_sub(1).and_then(|before| message.get(before)).is_some_and(u8::is_ascii_alphanumeric);
        // `ipv4:203.0.113.9`: the end of a word up to its colon is no part of the address.
        let token = match token.iter().position(|byte| *byte == b':').filter(|_| glued) {
            Some(colon) => token.get(colon.saturating_add(1)..).unwrap_or_default(),
            None if glued => b"",
            None => token,
        };
        if token.len() >= SHORTEST
            && let Some(address) = parse(token)
        {
            if says_whose(message.get(..at).unwrap_or_default()) {
                return Some(address);
            }
            first = first.or(Some(address));
        }
    }
    first
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || byte == b'.' || byte == b':'
}

/// An address, perhaps with a port or a full stop behind it; one that maps the old kind into the new is of the old.
fn parse(token: &[u8]) -> Option<IpAddr> {
    let separators = token.iter().filter(|byte| **byte == b'.' || **byte == b':').count();
    if separators < 2 {
        return None;
    }
    let token = std::str::from_utf8(token).ok()?;
    let token = token.strip_suffix(['.', ':']).filter(|short| !short.ends_with(':')).unwrap_or(token);
    let address = token.parse::<IpAddr>();
    let without_port = || token.rsplit_once(':').and_then(|(address, _)| address.parse::<IpAddr>().ok());
    let with_dots = token.contains('.');
    address.ok().or_else(|| without_port().filter(|_| with_dots)).map(|address| address.to_canonical())
}

/// Whether the text before an address ends in a word for who it is.
fn says_whose(before: &[u8]) -> bool {
    const WORDS: [&[u8]; 10] =
        [b"from", b"client", b"ip", b"rhost", b"addr", b"address", b"remote", b"src", b"source", b"peer"];
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric();
    let Some(end) = before.iter().rposition(is_letter).map(|last| last.saturating_add(1)) else {
        return false;
    };
    // Between word and address stand at most a few signs: `from [`, `client_ip": "`.
    if before.len().saturating_sub(end) > 5 {
        return false;
    }
    let head = before.get(..end).unwrap_or_default();
    WORDS.iter().any(|word| {
        head.len()
            .checked_sub(word.len())
            .and_then(|at| head.get(at..))
            .is_some_and(|tail| tail.eq_ignore_ascii_case(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn rule(name: &str, category: &str, score: f32) -> RuleHit {
        RuleHit { name: name.into(), category: category.into(), score }
    }

    #[test]
    fn the_address_that_a_line_is_about() {
        let found = |line: &str| find(line.as_bytes()).map(|address| address.to_string());
        for (line, expected) in [
            ("Failed password for root from 203.0.113.9 port 4022 ssh2", "203.0.113.9"),
            ("203.0.113.9 - - [21/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 401 0", "203.0.113.9"),
            ("10.1.1.1 system,error login failure for user admin from 10.10.0.35 via ssh", "10.10.0.35"),
            ("user not found, client: 127.0.0.1, server: 10.0.0.2", "127.0.0.1"),
            ("{\"server\": \"10.0.0.2\", \"client_ip\": \"::ffff:198.51.100.7\"}", "198.51.100.7"),
            ("authentication failure; rhost=[2001:db8::1]:47414 user=root", "2001:db8::1"),
            ("12:30:44 refused 198.51.100.7:5060.", "198.51.100.7"),
            ("login failed (IP: 198.51.100.7).", "198.51.100.7"),
            ("remote host [ipv4:198.51.100.7:61789] mapped", "198.51.100.7"),
        ] {
            assert_eq!(found(line).as_deref(), Some(expected), "{line}");
        }
        for line in
            ["at 12:30:44 version 1.2.3 of a.b.c", "24:8a:07:9a:2a:f2 is no address", "", "::", "dead.beef"]
        {
            assert!(found(line).is_none_or(|address| address == "::"), "{line}");
        }
    }

    #[test]
    fn more_than_five_within_minutes_are_told_and_again_at_four_times_as_many() {
        let mut addresses = Addresses::default();
        let failed = rule("LOGIN_FAILED", "security", 2.0);
        let mut before = Told::default();
        let mut told = |seconds: i64, address: &str, rule: &RuleHit| {
            let mut signals = Signals::default();
            let line = format!("login failed from {address}");
            let time = (seconds * SECOND, 60 * SECOND);
            addresses.observe((7, &mut before), rule, line.as_bytes(), time, &mut signals);
            signals.evidence.pop().map(|evidence| (evidence.words, evidence.strength))
        };
        let all: Vec<_> = (0..30).filter_map(|step| told(step * 2, "203.0.113.9", &failed)).collect();
        let words: Vec<_> = all.iter().map(|(words, _)| words.as_str()).collect();
        assert_eq!(
            words,
            [
                "6 refused or suspicious attempts from 203.0.113.9 in 10 s",
                "26 refused or suspicious attempts from 203.0.113.9 in 50 s"
            ]
        );
        assert!(all[0].1 >= 0.65 && all[1].1 < 0.65, "{all:?}");
        assert_eq!((0..10).filter_map(|step| told(1_000 + step * 600, "198.51.100.7", &failed)).count(), 0);
        let welcome = rule("LOGIN_OK", "security", 0.5);
        assert_eq!((0..50).filter_map(|_| told(0, "198.51.100.8", &welcome)).count(), 0);
        let other = rule("DISK_FULL", "system", 3.0);
        assert_eq!((0..50).filter_map(|_| told(0, "198.51.100.9", &other)).count(), 0);
    }

    #[test]
    fn what_is_too_common_to_be_flagged_counts_by_how_little_it_says() {
        let attempts = |name: &str, score: f32| {
            let (mut addresses, mut before) = (Addresses::default(), Told::default());
            let rule = rule(name, "network", score);
            (1..100).find(|_| {
                let mut signals = Signals::default();
                let time = (0, 60 * SECOND);
                addresses.observe((7, &mut before), &rule, b"from 203.0.113.9", time, &mut signals);
                !signals.evidence.is_empty()
            })
        };
        assert_eq!(attempts("HTTP_CLIENT_REFUSED", 1.8), Some(6), "as many as of what is flagged");
        assert_eq!(attempts("HTTP_NOT_FOUND", 0.8), None, "ordinary between programs");
        assert_eq!(attempts("HTTP_OK", 1.8), None);
    }

    /// What is told of one address whose lines hit this rule, one a second.
    fn told_of(rule: &RuleHit, lines: impl IntoIterator<Item = String>) -> Vec<String> {
        let (mut addresses, mut before) = (Addresses::default(), Told::default());
        let words = lines.into_iter().enumerate().filter_map(|(second, line)| {
            let mut signals = Signals::default();
            let time = (second as i64 * SECOND, 60 * SECOND);
            addresses.observe((7, &mut before), rule, line.as_bytes(), time, &mut signals);
            signals.evidence.pop().map(|evidence| evidence.words)
        });
        words.collect()
    }

    #[test]
    fn many_different_pages_that_are_not_there_are_a_scan_and_the_same_ones_are_not() {
        let missing = rule("HTTP_NOT_FOUND", "network", 0.8);
        let asked = |page: &str| format!("203.0.113.9 - - [-] \"GET /{page} HTTP/1.1\" 404 9");
        let letters = |number: u32| -> String {
            number.to_string().bytes().map(|digit| (digit + b'a') as char).collect()
        };
        let scan = told_of(&missing, (0..40).map(|number| asked(&letters(number))));
        assert_eq!(scan.len(), 1, "{scan:?}");
        assert!(scan[0].starts_with("about 16 different things that 203.0.113.9 asked for in 1"), "{scan:?}");
        assert!(told_of(&missing, (0..400).map(|number| asked(&letters(number % 12)))).is_empty());
        assert!(told_of(&missing, (0..400).map(|number| asked(&format!("users/{number}")))).is_empty());
    }

    #[test]
    fn dropped_packets_are_a_scan_where_they_are_for_many_ports() {
        let dropped = rule("FIREWALL_DROP", "network", 1.5);
        let packet = |port: u32| format!("[UFW BLOCK] IN=eth0 OUT= SRC=203.0.113.9 DST=10.0.0.1 DPT={port}");
        let scan = told_of(&dropped, (1..40).map(packet));
        assert!(scan.iter().any(|words| words.starts_with("about 16 different things")), "{scan:?}");
        let same = told_of(&dropped, (0..100).map(|_| packet(22)));
        assert_eq!(same.len(), 2, "more than one connection tries: {same:?}");
        assert!(same[0].starts_with("8 refused") && same[1].starts_with("33 refused"), "{same:?}");
        assert!(told_of(&dropped, (0..7).map(|_| packet(22))).is_empty(), "one connection");
        assert!(told_of(&dropped, (40_000..40_400).map(packet)).is_empty(), "answers that came too late");
    }

    #[test]
    fn what_the_internet_sends_everyone_stays_quiet() {
        let dropped = rule("FIREWALL_DROP", "network", 1.5);
        let packet = |number: u32| {
            format!("[UFW BLOCK] IN=eth0 OUT= SRC=203.0.113.{} DST=10.0.0.1 DPT=23", number % 100)
        };
        assert!(told_of(&dropped, (0..200).map(packet)).is_empty(), "a hundred addresses, twice each");
    }

    #[test]
    fn each_attempt_brings_the_next_nearer_and_a_told_address_is_known() {
        let (mut addresses, mut before) = (Addresses::default(), Told::default());
        let rule = rule("LOGIN_FAILED", "security", 2.2);
        let standings: Vec<Standing> = (0..30)
            .map(|_| {
                let time = (0, 60 * SECOND);
                let line = b"login failed from 203.0.113.9";
                addresses.observe((7, &mut before), &rule, line, time, &mut Signals::default())
            })
            .collect();
        assert_eq!(standings[0], Standing::Near(0.0));
        assert_eq!(standings[4], Standing::Near(0.8));
        assert_eq!(standings[5], Standing::Nobody, "told at this line");
        assert!(matches!(standings[6], Standing::Told { is_first: true, .. }), "{:?}", standings[6]);
        assert!(matches!(standings[29], Standing::Told { is_first: false, .. }), "{:?}", standings[29]);
    }

    #[test]
    fn who_refuses_is_not_who_tries() {
        let refused = rule("CONNECTION_REFUSED", "network", 4.0);
        let lines = (0..40).map(|_| "dial tcp 10.0.0.5:5432: connect: connection refused".to_owned());
        assert!(told_of(&refused, lines).is_empty());
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_strong() {
        let mut addresses = Addresses::default();
        let count = |addresses: &mut Addresses, number: u32| {
            let address = IpAddr::V4(number.into());
            let counted = addresses.counted(7, address, 0);
            counted.and_then(|counted| counted.count(address, 1.0, None, 0)).is_some()
        };
        (0..5).for_each(|_| assert!(!count(&mut addresses, 1)));
        (0..100_000).for_each(|number| assert!(!count(&mut addresses, 1_000 + number)));
        assert_eq!(addresses.sets.len() * WAYS, 4_096);
        assert!(count(&mut addresses, 1), "the sixth, whatever came between");
    }

    #[test]
    fn hostile_lines_and_times_do_no_harm() {
        let mut addresses = Addresses::default();
        let failed = rule("LOGIN_FAILED", "security", 2.0);
        for line in
            [vec![b':'; 100_000], vec![b'1'; 100_000], b"1.1.1.1.1.1.1.1".repeat(9_000), vec![0xff; 99]]
        {
            for now in [i64::MAX, i64::MIN, 0] {
                addresses.observe(
                    (7, &mut Told::default()),
                    &failed,
                    &line,
                    (now, SECOND),
                    &mut Signals::default(),
                );
            }
        }
    }
}
