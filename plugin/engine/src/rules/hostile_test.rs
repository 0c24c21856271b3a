//! The rules that ship, against texts of over a megabyte that are made to cost them much. No clock: the work is counted
//! as bytes read and as automaton states built, which is all that a search does.

use super::{
    Categories, Example, Rule, RuleSet, Scratch, builtin_rules, literal, parse,
    pattern::{self, Caches, Matcher},
};

const LONG: usize = (1 << 20) + 1;
const ALPHABET: &[u8] = b" aeinort0159.:/=-\"'%<>()[]{}\\\n";

fn repeated(piece: &[u8], bytes: usize) -> Vec<u8> {
    piece.iter().copied().cycle().take(bytes).collect()
}

/// A number below 256 that follows from the seed.
fn random(seed: &mut u32) -> usize {
    *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*seed >> 24) as usize
}

/// What nearly matches a rule, again and again: its examples without their ends, and its literals.
fn near_misses(rule: &Rule) -> Vec<Vec<u8>> {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    if let Some(Example::Message(text)) = rule.matches.first() {
        pieces.push(text.as_bytes()[..text.len() - 1].to_vec());
    }
    let hir = pattern::parse(&rule.pattern).unwrap();
    let literals = literal::required(&hir).map_or_else(Vec::new, |required| required.texts);
    pieces.push(literals.join(&b' '));
    // Bytes without order, from a fixed seed, lead through the most states.
    let mut seed = 2;
    let byte = || ALPHABET[random(&mut seed) % ALPHABET.len()];
    pieces.push(std::iter::repeat_with(byte).take(4_096).collect());
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[test]
fn every_rule_takes_at_most_a_step_a_byte_and_state_of_its_pattern() {
    for rule in builtin_rules().iter().filter(|rule| !rule.pattern.is_empty()) {
        for pattern in std::iter::once(&rule.pattern).chain(&rule.unless) {
            let matcher = Matcher::new(&[pattern::parse(pattern).unwrap()], usize::MAX).unwrap();
            let (pieces, mut caches) = (near_misses(rule), Caches::default());
            caches.belong_to(1, 1);
            let most = pieces.iter().map(|piece| {
                caches.is_match(0, &matcher, &repeated(piece, LONG), 0, usize::MAX);
                // One step a byte. Where a text leads the DFA to ever new states, it gives up, and it is one step a
                // byte and state; a DFA that goes on building a state a byte would be far beyond that.
                caches.take_steps()
            });
            let most = most.max().unwrap_or(0);
            assert!(most <= LONG * matcher.states(), "{}: {most} steps", rule.name);
        }
    }
}

#[test]
fn a_pattern_that_leads_to_ever_new_states_gives_the_same_answer() {
    let file = "GAP /alpha.{0,60}beta.{0,60}gamma/ 5\nOPEN /[ab].{0,50}[bc]{3}.{0,50}\\d[xy]/ 4\n";
    let set = RuleSet::compile(parse("my.rules", file).rules).set;
    let mut scratch = Scratch::default();
    let mut seed = 1;
    let words: Vec<u8> =
        (0..50_000).flat_map(|_| if random(&mut seed) < 128 { *b"alpha!" } else { *b"beta b" }).collect();
    let mut names = |text: &[u8]| {
        let hits = set.matches(text.into(), &mut scratch);
        hits.iter().map(|hit| hit.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&words), Vec::<String>::new());
    assert_eq!(names(&[&words[..], b"alpha beta gamma bcbb 1x"].concat()), ["GAP", "OPEN"]);
    assert!(scratch.bytes_read() > 10 * words.len(), "the text is not hostile: {}", scratch.bytes_read());
}

#[test]
fn all_rules_together_read_no_more_of_each_text_more() {
    let rules = builtin_rules();
    let set = RuleSet::builtin();
    let stuffing: Vec<u8> = rules
        .iter()
        .flat_map(|rule| rule.matches.iter().chain(&rule.misses))
        .filter_map(|example| match example {
            Example::Message(text) => Some([text.as_bytes(), b"\n"].concat()),
            Example::Record(_) => None,
        })
        .flatten()
        .collect();
    let mut scratch = Scratch::default();
    let mut read = |times: usize| {
        set.matches(stuffing.repeat(times).as_slice().into(), &mut scratch);
        scratch.bytes_read()
    };
    // Each more costs no more than the one before. Not twice as much for twice the text: what stands before a pattern's
    // first literal is never read.
    let times = LONG.div_ceil(stuffing.len());
    let (once, twice, thrice) = (read(times), read(2 * times), read(3 * times));
    assert!(once > LONG, "the text is not hostile");
    assert!(thrice - twice <= twice - once, "{once}, {twice} and {thrice} bytes of one, two and three texts");
}

/// Rules without a literal look at every message.
const OPEN: &str = "FIVE \"\\b5\\d\\d\\b\" 1\nGAP /[ab].{0,50}[bc]{3}.{0,50}\\d[xy]/ 1\nFULL /disk full/ 7\n";

#[test]
fn what_rules_without_a_literal_read_costs_the_others_nothing() {
    let set = RuleSet::compile(parse("my.rules", OPEN).rules).set;
    let mut scratch = Scratch::default();
    let mut best = |text: &[u8]| {
        let found = set.best_of(text.into(), Categories::ALL, None, |_| false, &mut scratch);
        found.map(|(_, hit)| hit.name.to_string())
    };
    // Far more than one record may read, in records that ask no pattern of its own.
    let quiet = repeated(b"nothing to see here, ", 1_000);
    assert!((0..5_000).all(|_| best(&quiet).is_none()));
    assert_eq!(best(b"disk full").as_deref(), Some("FULL"));
    // A text at which the DFA of such a rule gives up, with a hit of another's behind it.
    let mut seed = 1;
    let words: Vec<u8> =
        (0..10_000).flat_map(|_| if random(&mut seed) < 128 { *b"alpha!" } else { *b"beta b" }).collect();
    assert_eq!(best(&[&words[..], b"disk full"].concat()).as_deref(), Some("FULL"));
}
