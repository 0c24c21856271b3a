//! Addresses: one that is refused, or tries what a rule knows, again and again within minutes.
//!
//! A failed login is no news; a dozen of them from one address is somebody guessing. Counted are only lines that a
//! rule of the family has hit (see [`Family`]), so that ordinary lines cost nothing: the address is looked for in those
//! alone. Each has points that fade by half in five minutes; more than five of them are told, and again at four times as
//! many. Between the tellings each line lies nearer to the next one, and what a told address goes on to try stays `low`
//! (see [`Standing`]): it is all one finding. Packets that a firewall dropped count for less, so that the tries of one
//! connection are none. What says too little for that, a request for what is not there, and packets to many ports count by
//! how many different things they were about (see [`scan`]). One address after the other is what a service lives with that
//! the world can reach: as with everything that is told (see [`Told`]), the next ones are told more softly, and loud ones
//! still heard.
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

/// What hits of a rule say of the address in their messages. Worked out once a rule, because it is asked of every hit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Family {
    /// What a hit counts, 0 to 1; `None` if the rule is not of the family: refusals and attacks (category `security`), logins and
    /// requests that a service of another kind refuses (rules that are called so).
    weight: Option<f32>,
    /// It is a packet that a firewall dropped. One alone says nothing: networks are full of them.
    is_packet: bool,
    /// It says no more than that somebody was turned away: of an address that was told, nothing new.
    pub(crate) is_refusal: bool,
}

impl Family {
    pub(crate) fn of(rule: &RuleHit) -> Family {
        let is_refusal = ["LOGIN", "REFUSED", "NOT_FOUND"].iter().any(|word| rule.name.contains(word));
        let counts = rule.score >= LEAST_SEVERITY && (&*rule.category == "security" || is_refusal)
            // There the address is that of who refuses, and who asked is the program that writes the line.
            && &*rule.name != "CONNECTION_REFUSED";
        Family {
            weight: counts.then_some((rule.score / IN_FULL).min(1.0)),
            is_packet: matches!(&*rule.name, "FIREWALL_DROP" | "DEVICE_DENIED"),
            is_refusal,
        }
    }

    /// Whether a hit counts for the address in its message.
    pub(crate) fn counts(self) -> bool {
        self.weight.is_some() || self.is_packet
    }
}

impl Addresses {
    /// Takes a message that a rule has hit, and tells if its address has done so too often; gives where it stands. `told`:
    /// what was told of the source's addresses.
    #[inline(never)]
    pub(crate) fn observe(
        &mut self,
        (source, told): (u64, &mut Told),
        family: Family,
        message: &[u8],
        (now, window_nanos): (i64, i64),
        signals: &mut Signals,
    ) -> Standing {
        let (weight, is_dropped) = match family.weight {
            Some(weight) => (weight, false),
            None if family.is_packet => (PACKET, true),
            None => return Standing::Nobody,
        };
        let message = message.get(..SEARCHED).unwrap_or(message);
        let Some(address) = find(message) else { return Standing::Nobody };
        let thing = match is_dropped.then(|| scan::port(message)) {
            None => scan::page(message),
            Some(Door::Port(port)) => Some(port),
            Some(Door::Unknown) => None,
            Some(Door::NoneThere) => return Standing::Nobody,
        };
        let Some(counted) = self.counted(source, address, now) else { return Standing::Nobody };
        let Some(due) = counted.count(address, weight, thing, now) else {
            let standing = counted.standing(weight);
            if let Standing::Told { is_first: true, .. } = standing {
                // Only words: what it scores is the standing's.
                signals.add(
                    Flag::Burst,
                    0.0,
                    format!("{address} goes on: {} attempts by now", counted.count),
                );
            }
            return standing;
        };
        let least = if is_dropped && !due.is_scan { PACKETS } else { 0.65 };
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
    let without_port = || token.rsplit_once(':').and_then(|(address, _)| read(address));
    let with_dots = token.contains('.');
    read(token).or_else(|| without_port().filter(|_| with_dots)).map(|address| address.to_canonical())
}

/// An address and nothing else. Only what may be one is read as one, because a failure takes longer than a success.
fn read(text: &str) -> Option<IpAddr> {
    match text.bytes().filter(|byte| *byte == b':').count() {
        0 => text.parse().ok().map(IpAddr::V4),
        colons if colons >= 6 || text.as_bytes().array_windows().any(|pair| pair == b"::") => {
            text.parse().ok().map(IpAddr::V6)
        }
        _ => None,
    }
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
mod tests;
