//! What is remembered changes no verdict: two engines see the same stream, and one of them forgets before each record.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
};

use proptest::prelude::*;

use super::*;
use crate::{Engine, Options, Record, Settings, UnixNanos, Verdict, rules::RuleSet};

static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| Arc::new(RuleSet::builtin()));

fn engine() -> Engine {
    let options = Options { warmup_records: Some(20), warmup_seconds: Some(1), ..Options::default() };
    Engine::new(Settings::new(&options).unwrap(), RULES.clone())
}

/// Plays lines, a second apart, to an engine that remembers and to one that does not; gives how many were known.
fn check(lines: &[String]) -> usize {
    let (mut with, mut without) = (engine(), engine());
    let (mut known, mut now) = (0, 0);
    for (number, line) in lines.iter().enumerate() {
        now += 1_000_000_000;
        let record = Record::from_line(if number % 3 == 0 { b"sshd" } else { b"app" }, line.as_bytes());
        without.memos.clear();
        let expected = without.observe(&record, UnixNanos(now));
        let verdict: Verdict = with.observe(&record, UnixNanos(now));
        assert_eq!(verdict, expected, "line {number}: {line}");
        known += usize::from(with.memos.was_known);
    }
    known
}

/// An id for each number: a UUID, or a word, with letters in which rules' literals may be.
fn id(number: u32) -> String {
    let middle = ["beef", "1234", "dead", "a1b2"][number as usize % 4];
    match number % 3 {
        0 => format!("{number:08x}-{middle}-404f-{middle}-2fa{:09x}", u64::from(number) * 7),
        1 => format!("{:09x}{middle}", u64::from(number) * 0x9e37),
        _ => format!("bfd{:012x}", u64::from(number) * 0x9e37_79b9),
    }
}

/// Lines as programs write them, each from a few texts with numbers of its own.
fn lines() -> impl Strategy<Value = Vec<String>> {
    let texts = prop::sample::select(vec![
        "Failed password for root from 192.0.2.# port # ssh2",
        "Accepted password for ann from 192.0.2.# port # ssh2",
        "GET /api/items/# # in # ms",
        "198.51.100.# - - [22/Nov/2026:10:00:#] \"GET /admin#.php HTTP/1.1\" # 153",
        "CRITICAL: Failed to connect to primary database after # retries",
        "Received block blk_-#1234567890123456 of size # from /10.0.0.#",
        "session #ab# of user number # opened",
        "ERROR [worker-#] job # failed: connection refused (os error #)",
        "kernel: [#.#] Out of memory: Killed process # (java)",
        "\"status\": null, \"took\": #",
        "free # KB of # MB, load #.#",
        "req-#6951603-adea-4117-8b56-82c544f990a8 status: # len: # time: 0.#",
        "[req-@] user @ gave \"GET /v2/@/servers HTTP/1.1\" status: # time: #.@",
        "job @ of trace 4bf92f3577b34da6 failed on Nov @ with code #",
        "user 'a@' logged in from 192.0.2.# and said 'nothing that anybody would remember for long, least of all who said it, \
         but that it was said at the wrong time, in the wrong place, to the wrong people, and that it went on and on for about # \
         minutes' at @",
    ]);
    let line = (
        texts,
        prop::collection::vec(
            prop_oneof![4 => 0u32..1_000, 1 => any::<u32>(), 1 => Just(404), 1 => Just(500)],
            5,
        ),
    );
    let line = line.prop_map(|(text, numbers)| {
        let mut parts = text.split('#');
        let first = parts.next().unwrap_or_default().to_owned();
        let ids = numbers.clone();
        let line = parts.zip(numbers).fold(first, |line, (part, number)| format!("{line}{number}{part}"));
        let mut parts = line.split('@');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.zip(ids).fold(first, |line, (part, number)| format!("{line}{}{part}", id(number)))
    });
    prop::collection::vec(line, 1..250)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn what_is_remembered_changes_no_verdict(lines in lines()) {
        check(&lines);
    }
}

#[test]
fn most_of_what_repeats_is_known() {
    let lines: Vec<String> =
        (0..400).map(|n| format!("worker {} took job {} in {} ms", n % 7, n * 37, n % 90)).collect();
    // Of each of the two sources the first two are worked through, and one more for each class of lengths.
    assert!(check(&lines) > 380, "{}", check(&lines));
}

#[test]
fn what_was_found_by_other_rules_is_forgotten() {
    let mut engine = engine();
    let observe = |engine: &mut Engine, number: u64| {
        let line = format!("disk {number} says grumble");
        let rule = engine.observe(&Record::from_line(b"app", line.as_bytes()), UnixNanos(0)).rule;
        rule.map(|rule| rule.name.to_string())
    };
    assert_eq!([1, 2, 3, 4].map(|number| observe(&mut engine, number)), [const { None }; 4]);
    let mut rules = crate::rules::builtin_rules();
    rules.extend(crate::rules::parse("own.txt", "GRUMBLE grumble 5").rules);
    engine.set_rules(Arc::new(RuleSet::compile(rules).set));
    assert_eq!(observe(&mut engine, 5).as_deref(), Some("GRUMBLE"));
}

#[test]
fn what_was_found_in_a_source_that_is_forgotten_or_restored_is_forgotten() {
    let options = Options { max_sources: Some(1), ..Options::default() };
    let mut engine = Engine::new(Settings::new(&options).unwrap(), RULES.clone());
    let mut now = 0;
    let mut known = |engine: &mut Engine, tag: &[u8], idle: i64| {
        now += idle * 1_000_000_000;
        let line = format!("worker 7 took job {}", now / 1_000_000_000);
        engine.observe(&Record::from_line(tag, line.as_bytes()), UnixNanos(now));
        engine.memos.was_known
    };
    assert!([1, 1, 1, 1].map(|idle| known(&mut engine, b"a", idle))[3]);
    // It makes room for another one, and comes again.
    assert!(!known(&mut engine, b"b", 4_000) && !known(&mut engine, b"a", 4_000));
    assert!([1, 1, 1, 1].map(|idle| known(&mut engine, b"a", idle))[3]);
    let state = engine.snapshot();
    engine.restore(&state).unwrap();
    assert!(!known(&mut engine, b"a", 1));
}

/// Looks for a skeleton as the engine does, and remembers it where there is room; whether it was known.
fn find(memos: &mut Memos, source: u64, text: &str) -> bool {
    let mut skeleton = Skeleton::default();
    assert!(skeleton.take(text.as_bytes()));
    let (memo, vacancy) = memos.find(source, &skeleton);
    let found = memo.is_some();
    if let Some(vacancy) = vacancy.filter(|_| !found) {
        let mut masked = crate::mask::Masked::default();
        masked.mask(text.as_bytes());
        let memo = masked
            .keep(&skeleton)
            .map(|kept| Memo::new(vacancy, &skeleton, (0, TemplateId::of("x")), kept, None));
        memos.put(vacancy, memo);
    }
    found
}

/// Text without digits, another one for each number.
fn word(number: usize) -> String {
    number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
}

#[test]
fn a_newer_skeleton_takes_the_place_only_when_it_comes_twice() {
    let mut memos = Memos::default();
    assert_eq!([1, 1, 1].map(|source| find(&mut memos, source, "took 7 ms")), [false, false, true]);
    assert!(find(&mut memos, 1, "took 4711 ms"), "the same skeleton");
    assert!(!find(&mut memos, 2, "took 7 ms"), "another source");
    // More than there are places: each comes once, and takes nobody's.
    for number in 0..2 * MAX_MEMOS {
        assert!(!find(&mut memos, 3, &word(number)));
    }
    assert!(find(&mut memos, 1, "took 8 ms"));
}

#[test]
fn as_many_as_there_are_ways_share_a_place() {
    let place = |text: &str| {
        let mut skeleton = Skeleton::default();
        assert!(skeleton.take(text.as_bytes()));
        hash(1, &skeleton) as usize % PLACES
    };
    let mut together = (0..).map(word).filter(|text| place(text) == place("took 7 ms"));
    let (one, other, third) = ("took 7 ms", together.next().unwrap(), together.next().unwrap());
    let mut memos = Memos::default();
    let mut known =
        |texts: &[&str]| -> Vec<bool> { texts.iter().map(|text| find(&mut memos, 1, text)).collect() };
    assert_eq!(known(&[one, &other, one, &other, one, &other]), [false, false, false, false, true, true]);
    assert_eq!(known(&[&third, &third, &third]), [false, false, true]);
    assert_eq!(known(&[&other, one]), [true, false], "the one not seen for longer made room");
}

#[test]
fn as_many_bytes_are_remembered_as_may_be() {
    let text = |number: usize| format!("{} {}", word(number), "long text ".repeat(100));
    let mut memos = Memos::default();
    assert!([1, 2, 3].map(|_| find(&mut memos, 1, "took 7 ms"))[2]);
    let mut known = |from: usize, to: usize| {
        let mut times = |number| [1, 2, 3].map(|_| find(&mut memos, 1, &text(number)))[2];
        let known = (from..to).filter(|number| times(*number)).count();
        assert!(memos.bytes <= MAX_BYTES, "{}", memos.bytes);
        known
    };
    let most = MAX_BYTES / (1_000 + size_of::<Memo>());
    assert_eq!(known(0, 1_000), 1_000);
    assert!(known(1_000, most) > most - 1_000 - most / 10);
    // What takes the place of as much is remembered still; where a place was free, nothing is.
    let times = [known(most, 2 * most), known(2 * most, 10 * most) / 8];
    assert!(times.iter().all(|known| (most / 4..most * 9 / 10).contains(known)), "{times:?} of {most}");
    memos.clear();
    assert_eq!(memos.bytes, 0);
}

#[test]
fn what_rules_find_is_worked_out_for_as_many_numbers_as_may_be() {
    let statuses = [401, 403, 404, 410, 500, 200, 503, 302];
    for count in [3, 4, 8] {
        let line = |n: usize| format!("\"GET /a HTTP/1.1\" {} 7 of it", statuses[n % count]);
        let mut engine = engine();
        for n in 0..2_000 {
            engine.observe(&Record::from_line(b"web", line(n).as_bytes()), UnixNanos(n as i64));
        }
        let entries = engine.memos.places.iter().flat_map(|place| &place.entries);
        let tries: Vec<_> = entries
            .filter_map(|(_, memo)| memo.as_ref().map(|memo| (memo.tries, memo.rules.len())))
            .collect();
        let expected = count.min(usize::from(MAX_TRIES));
        assert_eq!(tries, [(expected as u8, expected)], "{count} statuses");
    }
}

#[test]
fn what_cannot_be_remembered_is_not_tried_again() {
    let mut memos = Memos::default();
    let text = "\"key7\": 1";
    let mut masked = crate::mask::Masked::default();
    masked.mask(text.as_bytes());
    let mut skeleton = Skeleton::default();
    assert!(skeleton.take(text.as_bytes()) && masked.keep(&skeleton).is_none());
    let mut tries = || {
        let vacancy = memos.find(1, &skeleton).1;
        vacancy.into_iter().for_each(|vacancy| memos.put(vacancy, None));
        vacancy.is_some()
    };
    assert_eq!([tries(), tries(), tries(), tries()], [false, true, false, false]);
}

#[test]
fn an_exception_leaves_what_is_remembered() {
    let mut engine = engine();
    // The third is too long for an id, and its skeleton is that of the others.
    for number in 0..61 {
        let digits = "7".repeat([10, 11, 15][number % 3]);
        let line = format!("order {} is done", [digits.as_str(); 5].join("-"));
        engine.observe(&Record::from_line(b"app", line.as_bytes()), UnixNanos(number as i64));
    }
    assert!(engine.memos.was_known);
    assert!((1..=3).contains(&engine.memos.puts), "{}", engine.memos.puts);
}

#[test]
fn skeletons_are_spread_over_the_places_by_all_of_their_text() {
    let place = |text: &str| {
        let mut skeleton = Skeleton::default();
        assert!(skeleton.take(text.as_bytes()));
        hash(1, &skeleton) as usize % PLACES
    };
    let used = |texts: &mut dyn Iterator<Item = String>| {
        texts.map(|text| place(&text)).collect::<HashSet<_>>().len()
    };
    // As many as there are places leave one in e of them empty, if each goes anywhere.
    let expected = PLACES as f64 * (1.0 - (-1.0f64).exp());
    let near = |used: usize| (used as f64 / expected - 1.0).abs() < 0.05;
    for (before, behind) in [
        ("", ""),
        ("job ", " failed because of what the other one did to it"),
        ("a text of more than two blocks: ", ""),
    ] {
        let used = used(&mut (0..PLACES).map(|number| format!("{before}{}{behind}", word(number))));
        assert!(near(used), "{before:?} {behind:?}: {used}, not about {expected}");
    }
}
