//! A pattern is searched from the first of its literals on, and no match that begins before is missed.

use proptest::prelude::*;

use super::{
    RuleSet, Scratch, literal, parse,
    pattern::{self, Caches, Matcher},
};

fn reach(pattern: &str) -> Option<usize> {
    literal::required(&pattern::parse(pattern).unwrap()).unwrap().reach
}

#[test]
fn how_far_before_its_literal_a_match_may_begin() {
    assert_eq!(reach("refused"), Some(7));
    assert_eq!(reach(r"\d{1,3} refused"), Some(11));
    assert_eq!(reach(r"^x.{0,9}(?:refused|rejected)\b"), Some(18));
    assert_eq!(reach(r"x.*refused"), None);
    assert_eq!(reach(r"refused.*x"), Some(7));
    assert_eq!(reach(r"a{1,3}(?:x|yy)-{2,4}refused"), Some(3 + 2 + 4 + 7));
    assert_eq!(reach(r"(?:[^ ]{4}refused ){1,5}x"), Some(4 + 8), "the first time is enough");
    assert_eq!(reach(r"\d{2}refused|x+rejected"), None);
    assert_eq!(reach(r"refused {1,4}\d{1,9}rejected!"), Some(7 + 4 + 9 + 9));
}

const PATTERNS: [&str; 11] = [
    r"\brefused\b",
    r"^x.{0,9}(?:refused|rejected)\b",
    r"\d{1,3} refused$",
    r"[^ ]{2,6}-+rejected",
    r"(?-u:\B)x{1,3}(?:1|22)refused",
    r"x.*refused",
    r"(?:[^ ]{2}refused ){2,5}x",
    r"\d{2}refused|x+rejected",
    r"1 {1,4}\d{1,9}rejected!",
    r"-.*refused!|\d\drejected|(?:x{1,3}|[^-]*!)refused",
    r"x\d{1,2}(?:refused|.*rejected|-?\drefuse!)",
];

proptest! {
    #[test]
    fn what_matches_anywhere_hits(
        words in prop::collection::vec(
            prop::sample::select(vec!["refused", "REJECTED", "x", "1", "22", " ", "-", "!", "é", "refuse"]),
            0..30,
        ),
    ) {
        let message = words.concat().into_bytes();
        let lines = (0..).zip(PATTERNS).map(|(at, pattern)| format!("P{at} \"{pattern}\" 5\n"));
        let set = RuleSet::compile(parse("test.rules", &lines.collect::<String>()).rules).set;
        prop_assert_eq!(set.len(), PATTERNS.len());
        let hits = set.matches(message.as_slice().into(), &mut Scratch::default());
        for (at, pattern) in PATTERNS.iter().enumerate() {
            let matcher = Matcher::new(&[pattern::parse(pattern).unwrap()], 1 << 20).unwrap();
            let mut caches = Caches::default();
            caches.belong_to(1, 1);
            let matches = caches.is_match(0, &matcher, &message, 0, usize::MAX);
            prop_assert_eq!(hits.iter().any(|hit| *hit.name == format!("P{at}")), matches, "{}", pattern);
        }
    }
}
