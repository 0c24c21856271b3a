//! What is told of addresses, and what is not.

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
        addresses.observe((7, &mut before), Family::of(rule), line.as_bytes(), time, &mut signals);
        let told = signals.evidence.pop().filter(|evidence| evidence.strength > 0.0);
        told.map(|evidence| (evidence.words, evidence.strength))
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
            addresses.observe((7, &mut before), Family::of(&rule), b"from 203.0.113.9", time, &mut signals);
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
        addresses.observe((7, &mut before), Family::of(rule), line.as_bytes(), time, &mut signals);
        signals.evidence.pop().filter(|evidence| evidence.strength > 0.0).map(|evidence| evidence.words)
    });
    words.collect()
}

#[test]
fn many_different_pages_that_are_not_there_are_a_scan_and_the_same_ones_are_not() {
    let missing = rule("HTTP_NOT_FOUND", "network", 0.8);
    let asked = |page: &str| format!("203.0.113.9 - - [-] \"GET /{page} HTTP/1.1\" 404 9");
    let letters =
        |number: u32| -> String { number.to_string().bytes().map(|digit| (digit + b'a') as char).collect() };
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
    let packet =
        |number: u32| format!("[UFW BLOCK] IN=eth0 OUT= SRC=203.0.113.{} DST=10.0.0.1 DPT=23", number % 100);
    assert!(told_of(&dropped, (0..200).map(packet)).is_empty(), "a hundred addresses, twice each");
}

#[test]
fn what_goes_on_is_said_in_words_alone() {
    let (mut addresses, mut before) = (Addresses::default(), Told::default());
    let rule = rule("LOGIN_FAILED", "security", 2.2);
    let mut last = Signals::default();
    for _ in 0..7 {
        last.clear();
        let line = b"login failed from 203.0.113.9";
        addresses.observe((7, &mut before), Family::of(&rule), line, (0, 60 * SECOND), &mut last);
    }
    assert_eq!(last.evidence[0].words, "203.0.113.9 goes on: 7 attempts by now");
    assert_eq!(last.evidence[0].strength, 0.0);
}

#[test]
fn each_attempt_brings_the_next_nearer_and_a_told_address_is_known() {
    let (mut addresses, mut before) = (Addresses::default(), Told::default());
    let rule = rule("LOGIN_FAILED", "security", 2.2);
    let standings: Vec<Standing> = (0..30)
        .map(|_| {
            let time = (0, 60 * SECOND);
            let line = b"login failed from 203.0.113.9";
            addresses.observe((7, &mut before), Family::of(&rule), line, time, &mut Signals::default())
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
    for line in [vec![b':'; 100_000], vec![b'1'; 100_000], b"1.1.1.1.1.1.1.1".repeat(9_000), vec![0xff; 99]] {
        for now in [i64::MAX, i64::MIN, 0] {
            addresses.observe(
                (7, &mut Told::default()),
                Family::of(&failed),
                &line,
                (now, SECOND),
                &mut Signals::default(),
            );
        }
    }
}

proptest::proptest! {
    #[test]
    fn every_address_is_read_and_nothing_else(text in "([0-9a-f]{0,4}[.:]{1,2}){0,9}[0-9a-f.:]{0,12}", address: IpAddr) {
        proptest::prop_assert_eq!(read(&text), text.parse().ok());
        proptest::prop_assert_eq!(read(&address.to_string()), Some(address));
    }
}
