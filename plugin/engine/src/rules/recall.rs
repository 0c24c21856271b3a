//! Searching once for all messages with one skeleton: takes a message, gives the ways by which rules may hit any message that
//! differs from it in its numbers only, and says of such a message whether that holds for it. Must not know what is remembered,
//! or for how long.
//!
//! Literals without digits are in all of these messages or in none. Those with digits (` 404 `, `%2f`) are in none, and are
//! watched for where one could come to stand: at a number that has around it what the literal has around its own.

use std::collections::BTreeMap;

use memchr::memmem;

use super::{
    Categories, RuleSet,
    finder::{
        Finder,
        window::{first_eight, folded},
    },
    outline::Reach,
    set::{Pattern, Scratch, set_bit},
};
use crate::mask::{LONG_RUN, Place, Skeleton};

/// Literals of digits alone that are looked for in every message; with more of them nothing is kept.
const MAX_DIGITS_ALONE: usize = 8;
/// Places of a skeleton that are watched; with more of them nothing is kept of it.
const MAX_WATCHED: usize = 16;

/// The ways by which rules may hit a message of one skeleton.
#[derive(Debug)]
pub(crate) struct Known {
    pub(super) ways: Box<[Way]>,
    watched: Box<[Watched]>,
}

/// A way by which a rule hits, or may hit.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) number: u32,
    /// Its rule hits every message of the skeleton; else a match has to be looked for.
    pub(super) is_sure: bool,
    /// Where the first of its literals is, and how far before it a match may begin.
    pub(super) place: Place,
    pub(super) reach: Reach,
}

/// Literals with digits, and where one of them could come to stand.
#[derive(Clone, Copy, Debug)]
struct Watched {
    edge: Place,
    group: u16,
    /// One bit for each digit that one of those that could has there.
    digits: u16,
    /// Whether the digits end there.
    is_end: bool,
}

/// The keys of a finder that have digits.
#[derive(Debug, Default)]
pub(super) struct Numerals {
    /// In the order of what is around their edges.
    groups: Vec<Group>,
    digits_alone: Vec<memmem::Finder<'static>>,
    /// Those that fill a key: only a long run has one.
    long_alone: Vec<[u8; LONG_RUN]>,
    /// There are keys, or too many, that cannot be watched for.
    is_blind: bool,
}

/// Keys that are alike around their first edge, where a run of digits begins or ends.
#[derive(Debug)]
struct Group {
    /// The bytes before and behind the edge, any digit as [`ANY`].
    around: [u8; 2],
    /// Bytes of the keys before it.
    edge: usize,
    keys: Vec<Key>,
}

/// A key as it is compared: its bytes, and which of the eight count.
#[derive(Debug)]
struct Key {
    value: u64,
    mask: u64,
}

/// A digit, whichever.
const ANY: u8 = b'0';

/// A byte as keys have it, without regard to case and to which digit it is.
fn blind(byte: u8) -> u8 {
    if byte.is_ascii_digit() { ANY } else { folded(byte) }
}

/// Whether digits begin or end between two bytes.
fn is_edge(before: u8, behind: u8) -> bool {
    before.is_ascii_digit() != behind.is_ascii_digit()
}

impl Numerals {
    pub(super) fn new(finder: &Finder) -> Numerals {
        let Some(keys) = finder.keys() else { return Numerals { is_blind: true, ..Numerals::default() } };
        let mut numerals = Numerals::default();
        let mut groups: BTreeMap<([u8; 2], usize), Vec<Key>> = BTreeMap::new();
        for (value, mask) in keys {
            let key = Key { value, mask };
            let bytes = value.to_le_bytes();
            let text = key.text(&bytes);
            if !text.iter().any(u8::is_ascii_digit) {
                continue;
            }
            let mut pairs = text.array_windows().zip(1..);
            match pairs.find(|([before, behind], _)| is_edge(*before, *behind)) {
                Some((pair, edge)) => groups.entry((pair.map(blind), edge)).or_default().push(key),
                None if text.len() == LONG_RUN => numerals.long_alone.push(bytes),
                None => numerals.digits_alone.push(memmem::Finder::new(text).into_owned()),
            }
        }
        let groups = groups.into_iter();
        numerals.groups = groups.map(|((around, edge), keys)| Group { around, edge, keys }).collect();
        numerals.is_blind = numerals.digits_alone.len() + numerals.long_alone.len() > MAX_DIGITS_ALONE
            || numerals.groups.len() > usize::from(u16::MAX);
        numerals
    }

    /// Where in a message of this skeleton one of the keys could stand; `None` if in too many places.
    fn watched(&self, skeleton: &Skeleton) -> Option<Box<[Watched]>> {
        if self.is_blind {
            return None;
        }
        let mut watched = Vec::new();
        let text = skeleton.text();
        for (at, edge) in skeleton.edges() {
            let (before, behind) = text.split_at_checked(at)?;
            let (Some(left), Some(right)) = (before.last(), behind.first()) else { continue };
            let around = [*left, *right].map(blind);
            let first = self.groups.partition_point(|group| group.around < around);
            let groups = (0u16..).zip(&self.groups).skip(first);
            for (number, group) in groups.take_while(|(_, group)| group.around == around) {
                let is_end = left.is_ascii_digit();
                let fitting = group.keys.iter().filter(|key| key.fits(group.edge, before, behind));
                let digits = fitting.fold(0, |all, key| all | key.digit(group.edge - usize::from(is_end)));
                if digits != 0 {
                    watched.push(Watched { edge, group: number, digits, is_end });
                }
            }
        }
        (watched.len() <= MAX_WATCHED).then(|| watched.into_boxed_slice())
    }

    /// Whether a message has none of the keys.
    fn are_absent(&self, watched: &[Watched], message: &[u8], skeleton: &Skeleton) -> bool {
        let stands = |watched: &Watched| {
            let edge = skeleton.at(watched.edge);
            let digit = message.get(edge.wrapping_sub(usize::from(watched.is_end)))?;
            if watched.digits & bit_of(*digit) == 0 {
                return None;
            }
            let group = self.groups.get(usize::from(watched.group))?;
            let from = edge.checked_sub(group.edge)?;
            let there = first_eight(message.get(from..)?);
            Some(group.keys.iter().any(|key| there & key.mask == key.value))
        };
        let is_there = |finder: &memmem::Finder<'_>| {
            finder.needle().len() <= skeleton.longest() && finder.find(message).is_some()
        };
        let has_long = |run: &[u8]| run.array_windows().any(|digits| self.long_alone.contains(digits));
        !watched.iter().any(|watched| stands(watched) == Some(true))
            && !self.digits_alone.iter().any(is_there)
            && (self.long_alone.is_empty()
                || !skeleton.long_runs().filter_map(|run| message.get(run)).any(has_long))
    }
}

/// The bit of a digit.
fn bit_of(digit: u8) -> u16 {
    1u16.wrapping_shl(u32::from(digit.wrapping_sub(b'0')))
}

impl Key {
    /// Those of its bytes that count.
    fn text<'b>(&self, bytes: &'b [u8; 8]) -> &'b [u8] {
        bytes.get(..self.mask.count_ones() as usize / 8).unwrap_or_default()
    }

    /// The bit of the digit at one of its bytes.
    fn digit(&self, at: usize) -> u16 {
        self.value.to_le_bytes().get(at).map_or(0, |digit| bit_of(*digit))
    }

    /// Whether it can stand at the edge of a skeleton that has these bytes before and behind it.
    fn fits(&self, edge: usize, before: &[u8], behind: &[u8]) -> bool {
        let bytes = self.value.to_le_bytes();
        let (left, right) = self.text(&bytes).split_at_checked(edge).unwrap_or_default();
        is_like(right.iter(), behind.iter()) && is_like(left.iter().rev(), before.iter().rev())
    }
}

/// Whether a part of a key, read away from its edge, may stand in a skeleton, read likewise. Of runs of digits only that they
/// are there is asked.
fn is_like<'b>(mut key: impl Iterator<Item = &'b u8>, mut skeleton: impl Iterator<Item = &'b u8>) -> bool {
    let (mut wanted, mut there) = (key.next(), skeleton.next());
    while let Some(byte) = wanted {
        let Some(other) = there else { return false };
        if blind(*byte) != blind(*other) {
            return false;
        }
        wanted = key.next();
        there = skeleton.next();
        if byte.is_ascii_digit() {
            while wanted.is_some_and(u8::is_ascii_digit) {
                wanted = key.next();
            }
            while there.is_some_and(u8::is_ascii_digit) {
                there = skeleton.next();
            }
        }
    }
    true
}

impl RuleSet {
    /// The ways by which rules of the categories may hit a message with this skeleton, that of the message at hand; `None` if they
    /// depend on its numbers.
    pub(crate) fn keep(
        &self,
        message: &[u8],
        categories: Categories,
        skeleton: &Skeleton,
        scratch: &mut Scratch,
    ) -> Option<Known> {
        let watched = self.numerals.watched(skeleton)?;
        if !self.numerals.are_absent(&watched, message, skeleton) {
            return None;
        }
        let mut ways = Vec::new();
        for (number, place, reach) in self.ways_in(message, categories, scratch) {
            let hits = self.hits_all(number, message, skeleton, scratch);
            if hits != Some(false) {
                ways.push(Way {
                    number,
                    is_sure: hits == Some(true),
                    place: skeleton.place_of(place)?,
                    reach,
                });
            }
        }
        Some(Known { ways: ways.into_boxed_slice(), watched })
    }

    /// Whether what is known of its skeleton holds for a message: it has no literal with digits.
    pub(crate) fn holds(&self, known: &Known, message: &[u8], skeleton: &Skeleton) -> bool {
        self.numerals.are_absent(&known.watched, message, skeleton)
    }

    /// Whether the rule to which a way leads hits every message with this skeleton, that of the message at hand, or none; `None` if
    /// that depends on their numbers, or on what else their records have.
    fn hits_all(&self, way: u32, message: &[u8], skeleton: &Skeleton, scratch: &mut Scratch) -> Option<bool> {
        let entry = self.entries.get(*self.owners.get(way as usize)? as usize)?;
        let (Pattern::Own(pattern), None) = (entry.pattern, &entry.fields) else { return None };
        let caches = &mut scratch.tries.caches;
        caches.belong_to(self.hash, self.matchers.len());
        let mut matches = |number: u32| {
            let matcher = self.matchers.get(number as usize)?;
            caches.is_match_of_all(number as usize, matcher, message, |at| skeleton.is_number(at))
        };
        if !matches(pattern)? {
            return Some(false);
        }
        for matcher in &entry.unless {
            if matches(*matcher)? {
                return Some(false);
            }
        }
        Some(true)
    }

    /// The ways into rules of the categories that a message's literals open, each with the place of the first of them.
    fn ways_in(
        &self,
        message: &[u8],
        categories: Categories,
        scratch: &mut Scratch,
    ) -> Vec<(u32, usize, Reach)> {
        let Scratch { listed, grams, .. } = scratch;
        grams.forget();
        let mut found = Vec::new();
        self.find(message, grams, |way, place| {
            if set_bit(listed, way) && self.is_selected(way, categories) {
                found.push((way, place));
            }
        });
        listed.fill(0);
        let open =
            found.into_iter().filter_map(|(way, place)| Some((way, place, self.reach(way, grams, message)?)));
        open.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{Subject, parse},
        *,
    };

    /// Rules, one a pattern.
    fn rules(patterns: &[&str]) -> RuleSet {
        let rule = |(number, pattern): (usize, &&str)| {
            format!("[[rules]]\nname = \"R{number}\"\npattern = '{pattern}'\n")
        };
        let text: String = patterns.iter().enumerate().map(rule).collect();
        let parsed = parse("own.toml", &text);
        assert_eq!(parsed.problems, []);
        let compiled = RuleSet::compile(parsed.rules);
        assert_eq!(compiled.problems, []);
        compiled.set
    }

    fn best(set: &RuleSet, message: &str, known: Option<(&Known, &Skeleton)>) -> Option<String> {
        let subject = Subject::from(message.as_bytes());
        let hit = set.best_of(subject, Categories::ALL, known, |_| false, &mut Scratch::default());
        hit.map(|(_, hit)| hit.name.to_string())
    }

    /// What is kept of one message says of another what a search says, if it says it holds; whether it does, and how much is sure.
    fn check(set: &RuleSet, one: &str, other: &str) -> Option<usize> {
        let (mut skeleton, mut scratch) = (Skeleton::default(), Scratch::default());
        assert!(skeleton.take(one.as_bytes()));
        let text = skeleton.text().to_vec();
        let known = set.keep(one.as_bytes(), Categories::ALL, &skeleton, &mut scratch)?;
        assert!(skeleton.take(other.as_bytes()));
        if text != skeleton.text() || !set.holds(&known, other.as_bytes(), &skeleton) {
            return None;
        }
        assert_eq!(best(set, other, Some((&known, &skeleton))), best(set, other, None), "{one:?} {other:?}");
        Some(known.ways.iter().filter(|way| way.is_sure).count())
    }

    #[test]
    fn what_no_number_decides_is_sure() {
        let set = rules(&[r"failed login for \S+ from \S+ port \d+", "request took .{0,6} seconds"]);
        let login = |port| format!("failed login for ann7 from 192.0.2.{port} port {port} at 12:00:01");
        assert_eq!(check(&set, &login(1), &login(203)), Some(1));
        assert_eq!(check(&set, "request took 7 seconds", "request took 123 seconds"), Some(0), "six at most");
        assert_eq!(check(&set, "request took 7 seconds", "request took 1234567 seconds"), Some(0));
    }

    #[test]
    fn literals_with_digits_are_watched_for() {
        let set = rules(&["status (404|503)", "code=7x", "4711"]);
        assert_eq!(check(&set, "status 200 of it", "status 204 of it"), Some(0));
        assert_eq!(check(&set, "status 200 of it", "status 503 of it"), None);
        assert_eq!(
            check(&set, "status 404 of it", "status 200 of it"),
            None,
            "nothing is kept of one that has it"
        );
        assert_eq!(check(&set, "code=1x", "code=7x"), None);
        assert_eq!(check(&set, "at 12345 it ended", "at 54321 it ended"), Some(0));
        assert_eq!(check(&set, "at 12345 it ended", "at 947112 it ended"), None);
    }

    #[test]
    fn long_literals_of_digits_alone_are_watched_for_in_long_numbers() {
        let set = rules(&["2852039166"]);
        let url = |number: &str| format!("GET /a?u={number} of node{number}x at 17:30");
        assert_eq!(check(&set, &url("1234567890"), &url("9876543210")), Some(0));
        assert_eq!(check(&set, &url("1234567890"), &url("2852039166")), None);
        assert_eq!(check(&set, &url("123456789012"), &url("728520391661")), None, "within a number");
        assert_eq!(check(&set, &url("2852039166"), &url("1234567890")), None);
        assert_eq!(check(&set, "x1234567890 7", "x2852039166 7"), None, "within a word");
        assert_eq!(check(&set, "it took 1234567 ms", "it took 7654321 ms"), Some(0), "too short");
    }

    #[test]
    fn with_too_many_numbers_to_look_for_nothing_is_kept() {
        let numbers = |count: usize| {
            let patterns: Vec<String> = (0..count).map(|number| (1_000 + number).to_string()).collect();
            rules(&patterns.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let kept = |set: &RuleSet| check(set, "it took 7 ms", "it took 9 ms").is_some();
        let counts = [MAX_DIGITS_ALONE, MAX_DIGITS_ALONE + 1, 10 * MAX_DIGITS_ALONE];
        assert_eq!(counts.map(|count| kept(&numbers(count))), [true, false, false]);
    }

    #[test]
    fn of_what_would_have_to_be_watched_in_too_many_places_nothing_is_kept() {
        let set = rules(&["code:42x"]);
        let message = |places: usize, digit: usize| format!("code:{digit}1x ").repeat(places);
        let kept = |places: usize| check(&set, &message(places, 7), &message(places, 8)).is_some();
        assert_eq!([MAX_WATCHED, MAX_WATCHED + 1, 25].map(kept), [true, false, false]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn what_is_known_is_what_a_search_says(
            parts in prop::collection::vec(prop::sample::select(vec![
                "#", "#", "#", "error", "Error ", "fail", " ", " ", "-", ":", "user", "x", "0x", "code=", "=", ".", "timeout", "[", "]", "%", "f",
            ]), 0..14),
            numbers in prop::collection::vec((1u32..10_000_000, 1u32..10_000_000), 14),
            few in prop::collection::vec(prop::sample::select(vec![(4, 404), (40, 4), (404, 404), (42, 42), (7, 7)]), 14),
            is_few: bool,
        ) {
            let set = rules(&[
                "error ?404", r"error \d\b", "error.*fail", "code=4", "timeout.{2,5}user", r"\[4\d*\]", r"user\d{2}\b", r"error \w+ fail",
                "%[4f]f", r"0x4\d\b", "fail: (?:4|40)4?", r"^error\s", r"user\W+$", r"\b404-x", r"timeout[^:]*:\d+\b", r"\w+ \w*fail",
                r"code=\d+\d*-", "0-0",
            ]);
            let message = |second: bool| -> String {
                let number = |(index, part): (usize, &&str)| {
                    let (one, other) = if is_few { few[index] } else { numbers[index] };
                    if *part == "#" { (if second { other } else { one }).to_string() } else { (*part).to_owned() }
                };
                parts.iter().enumerate().map(number).collect()
            };
            check(&set, &message(false), &message(true));
        }
    }
}
