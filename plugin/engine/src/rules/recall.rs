//! Searching once for all messages with one skeleton: takes a message, gives the ways by which rules may hit any message that
//! differs from it in its numbers and ids only, and says of such a message whether that holds for it. Must not know what is
//! remembered, or for how long.

use super::{
    Categories, RuleSet,
    numerals::{Standing, Watched},
    outline::Reach,
    set::{Pattern, Scratch, set_bit},
};
use crate::mask::{Place, Skeleton, Varies};

/// The ways by which rules may hit a message of one skeleton.
#[derive(Debug)]
pub(crate) struct Known {
    pub(super) ways: Box<[Way]>,
    watched: Box<[Watched]>,
    standing: Box<[Standing]>,
}

impl Known {
    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let texts = self.standing.iter().map(Standing::bytes);
        let lists = size_of_val(&*self.ways) + size_of_val(&*self.watched) + size_of_val(&*self.standing);
        texts.fold(size_of::<Known>() + lists, |all, bytes| all + bytes)
    }
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
        let mut watched = self.numerals.watched(skeleton)?;
        let standing = self.numerals.standing(&mut watched, message, skeleton)?;
        if !self.numerals.are_absent(&watched, message, skeleton) {
            return None;
        }
        let mut varies = skeleton.varies();
        let mut ways = Vec::new();
        let open = self.ways_in(message, categories, (skeleton, &varies), scratch);
        for standing in &standing {
            let range = varies.get_mut(standing.range(skeleton));
            range.into_iter().for_each(|range| range.fill(Varies::Not));
        }
        for (number, place, reach) in open {
            let hits = self.hits_all(number, message, &varies, scratch);
            if hits != Some(false) {
                let place = (0..=place).rev().find_map(|place| skeleton.place_of(place))?;
                ways.push(Way { number, is_sure: hits == Some(true), place, reach });
            }
        }
        Some(Known { ways: ways.into_boxed_slice(), watched: watched.into_boxed_slice(), standing })
    }

    /// Whether what is known of its skeleton holds for a message: it has the same literals with digits, mostly none.
    pub(crate) fn holds(&self, known: &Known, message: &[u8], skeleton: &Skeleton) -> bool {
        self.numerals.stand(&known.standing, message, skeleton)
            && self.numerals.are_absent(&known.watched, message, skeleton)
    }

    /// Whether the rule to which a way leads hits every message with this skeleton, that of the message at hand, or none; `None` if
    /// that depends on their numbers, or on what else their records have.
    fn hits_all(&self, way: u32, message: &[u8], varies: &[Varies], scratch: &mut Scratch) -> Option<bool> {
        let entry = self.entries.get(*self.owners.get(way as usize)? as usize)?;
        let (Pattern::Own(pattern), None) = (entry.pattern, &entry.fields) else { return None };
        let caches = &mut scratch.tries.caches;
        caches.belong_to(self.hash, self.matchers.len());
        let mut matches = |number: u32| {
            let matcher = self.matchers.get(number as usize)?;
            caches.is_match_of_all(number as usize, matcher, message, varies)
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
        (skeleton, varies): (&Skeleton, &[Varies]),
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
        grams.note_what_may_be(message, skeleton, varies);
        let open =
            found.into_iter().filter_map(|(way, place)| Some((way, place, self.reach(way, grams, message)?)));
        open.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{
            Subject,
            numerals::{MAX_ALIKE, MAX_DIGITS_ALONE, MAX_HEX_ALONE, MAX_WATCHED},
            parse,
        },
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
        assert_eq!(check(&set, "status 404 of it", "status 200 of it"), None);
        assert_eq!(check(&set, "status 404 of 1", "status 404 of 17"), Some(1), "the same stands in both");
        assert_eq!(check(&set, "status 404 of 1", "status 4041 of 1"), None, "another number");
        assert_eq!(check(&set, "code=1x", "code=7x"), None);
        assert_eq!(check(&set, "at 12345 it ended", "at 54321 it ended"), Some(0));
        assert_eq!(check(&set, "at 12345 it ended", "at 947112 it ended"), None);
    }

    #[test]
    fn what_stands_in_the_message_may_settle_a_rule() {
        let set = rules(&[r"http/1\.[01]\b", r"\.php http/1\.1. 200", r"status 50\d"]);
        let line = |version: &str, status| format!("GET /a HTTP/{version} status {status} of 17");
        assert_eq!(check(&set, &line("1.1", 200), &line("1.1", 304)), Some(1));
        assert_eq!(check(&set, &line("1.1", 200), &line("1.0", 304)), None);
        assert_eq!(check(&set, &line("1.1", 200), &line("1.12", 200)), None);
        assert_eq!(check(&set, &line("1.1", 500), &line("1.1", 500)), Some(2));
        assert_eq!(check(&set, &line("1.1", 500), &line("1.1", 503)), None);
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
    fn ids_are_any_as_long_as_no_literal_may_lie_in_them() {
        let set = rules(&["error.*dead", " 404a", "2fa", r"user \S+ left", "x-beef"]);
        let message = |id: &str| format!("user {id} left with error");
        assert_eq!(check(&set, &message("1a2b3c4d5e"), &message("a0a0a0a0a0")), Some(1));
        assert_eq!(check(&set, &message("1a2b3c4d5e"), &message("404a3c4d5e")), None, "begins with one");
        assert_eq!(check(&set, &message("1a2b3c4d5e"), &message("1a2FA0a0a0")), None, "has one in it");
        assert_eq!(check(&set, &message("2fa23c4d5e"), &message("1a2b3c4d5e")), None, "the first has");
        let message = |id: &str| format!("error of x-{id}");
        assert_eq!(check(&set, &message("1a2b3c4d5e"), &message("0123456dead")), None, "longer");
        assert_eq!(check(&set, &message("1a2b3c4d5e"), &message("01234adead")), Some(0), "asked each time");
        assert_eq!(check(&set, &message("1a2b3c4d5e"), &message("beef12345a")), None);
        let uuid = |groups: &str| format!("error of x-12345678-{groups}-1a2b3c4d5e6f");
        assert_eq!(check(&set, &uuid("1234-1234-1234"), &uuid("beef-cafe-a1b2")), Some(0));
    }

    #[test]
    fn with_too_many_words_to_look_for_in_ids_nothing_is_kept_of_those() {
        let words = |count: usize| {
            let patterns: Vec<String> = (0..count).map(|number| format!("{}cafe", word(number))).collect();
            rules(&patterns.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let kept = |set: &RuleSet, id: &str| {
            check(set, &format!("it took {id}"), &format!("it took {id}")).is_some()
        };
        let counts = [MAX_HEX_ALONE, MAX_HEX_ALONE + 1, 10 * MAX_HEX_ALONE].map(words);
        assert_eq!(counts.each_ref().map(|set| kept(set, "0a0a0a0a0")), [true, false, false]);
        assert_eq!(counts.each_ref().map(|set| kept(set, "7 ms")), [true; 3]);
    }

    /// Four letters that are hexadecimal digits, others for each number.
    fn word(number: usize) -> String {
        (0..4).map(|place| char::from(b'a' + (number / 6usize.pow(place) % 6) as u8)).collect()
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
    fn with_too_many_literals_that_are_alike_nothing_is_kept() {
        let things = |count: usize| {
            let patterns: Vec<String> = (1_000..1_000 + count).map(|number| format!("k{number}z")).collect();
            rules(&patterns.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let kept = |set: &RuleSet| check(set, "it took 7 ms", "it took 9 ms").is_some();
        let counts = [MAX_ALIKE, MAX_ALIKE + 1, 10 * MAX_ALIKE];
        assert_eq!(counts.map(|count| kept(&things(count))), [true, false, false]);
    }

    #[test]
    fn of_literals_whose_bytes_keys_cannot_tell_apart_nothing_is_kept() {
        let (line, id) = ("\u{16}\u{3}\u{1}405 x", "\u{7f}1a2b3c4d5 e");
        let set = rules(&[r"\x16\x03\x01404"]);
        assert_eq!(check(&set, line, &line.replace("405", "404")), None);
        let set = rules(&[r"\x7fdead"]);
        assert_eq!(check(&set, id, &id.replace("1a2b3c4d5", "dead12345")), None);
    }

    #[test]
    fn of_what_would_have_to_be_watched_in_too_many_places_nothing_is_kept() {
        let set = rules(&["code:42x"]);
        let message = |places: usize, digit: usize| format!("code:{digit}1x ").repeat(places);
        let kept = |places: usize| check(&set, &message(places, 7), &message(places, 8)).is_some();
        assert_eq!([MAX_WATCHED, MAX_WATCHED + 1, 100].map(kept), [true, false, false]);
    }

    /// Ids, of few lengths so that many are alike, with what rules look for in some.
    fn id() -> impl Strategy<Value = String> {
        let group = || prop::sample::select(vec!["beef", "dead", "a1b2", "1234", "12ab", "4af0", "00fa"]);
        (any::<bool>(), prop::collection::vec(group(), 8)).prop_map(|(is_uuid, groups)| match is_uuid {
            true => format!(
                "0{}1{}-{}-{}-{}-{}",
                &groups[0][1..],
                groups[1],
                groups[2],
                groups[3],
                groups[4],
                groups[5..8].concat()
            ),
            false => format!("{}1{}", groups[0], groups[1]),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn what_is_known_is_what_a_search_says(
            parts in prop::collection::vec(prop::sample::select(vec![
                "#", "#", "#", "@", "@", "error", "Error ", "fail", " ", " ", "-", ":", "user", "x", "0x", "code=", "=", ".", "timeout", "[", "]", "%", "f",
            ]), 0..14),
            numbers in prop::collection::vec((1u32..10_000_000, 1u32..10_000_000), 14),
            few in prop::collection::vec(prop::sample::select(vec![(4, 404), (40, 4), (404, 404), (42, 42), (7, 7)]), 14),
            ids in prop::collection::vec((id(), id()), 14),
            is_few: bool,
        ) {
            let set = rules(&[
                "error ?404", r"error \d\b", "error.*fail", "code=4", "timeout.{2,5}user", r"\[4\d*\]", r"user\d{2}\b", r"error \w+ fail",
                "%[4f]f", r"0x4\d\b", "fail: (?:4|40)4?", r"^error\s", r"user\W+$", r"\b404-x", r"timeout[^:]*:\d+\b", r"\w+ \w*fail",
                r"code=\d+\d*-", "0-0", "beef", r"user.*dead\b", "error a1", "fa[ -]fail", r"\b[0-9a-f]{9}\b.*x", r"-12ab-\w+",
            ]);
            let message = |second: bool| -> String {
                let number = |(index, part): (usize, &&str)| {
                    if *part == "@" {
                        return if second { ids[index].1.clone() } else { ids[index].0.clone() };
                    }
                    let (one, other) = if is_few { few[index] } else { numbers[index] };
                    if *part == "#" { (if second { other } else { one }).to_string() } else { (*part).to_owned() }
                };
                parts.iter().enumerate().map(number).collect()
            };
            check(&set, &message(false), &message(true));
        }
    }
}
