//! Rules at the limits, one over, and ten times; and everything that a user may get wrong.

use super::{
    Categories, MAX_FILE_BYTES, MAX_NAME_BYTES, MAX_PATTERN_BYTES, MAX_RULES, RuleSet, Scratch,
    builtin_rules, parse,
};

/// What is said about a rule with this pattern; empty if it is taken.
fn judged(pattern: &str) -> String {
    let rules = parse("my.rules", &format!("BAD \"{}\"\nGOOD good\n", pattern.replace('"', "\\\""))).rules;
    let compiled = RuleSet::compile(rules);
    let found: Vec<String> = compiled.problems.iter().map(ToString::to_string).collect();
    assert_eq!(compiled.set.len() + found.len(), 2, "{found:?}");
    found.concat()
}

#[test]
fn pattern_length() {
    assert_eq!(judged(&"a".repeat(MAX_PATTERN_BYTES)), "");
    for bytes in [MAX_PATTERN_BYTES + 1, MAX_PATTERN_BYTES * 10] {
        let wanted = format!(
            "my.rules:1: rule BAD: pattern: has {bytes} bytes, more than the limit of 1024; split it"
        );
        assert_eq!(judged(&"a".repeat(bytes)), wanted);
    }
}

#[test]
fn compiled_size() {
    assert_eq!(judged("abc.{1,100}x"), "");
    for pattern in ["abc[a-z0-9]{30000}", "(((a{100}){100}){100}){100}", "(?:(?:a|bc){500}){500}x"] {
        let found = judged(pattern);
        assert!(found.contains("compiled, it needs more than 1048576 bytes"), "{pattern}: {found}");
    }
}

#[test]
fn what_is_no_pattern_is_explained() {
    for (pattern, wanted) in [
        ("foo(", "is not a regex: unclosed group (column 4)"),
        ("[z-a]", "is not a regex: invalid character class range"),
        ("foo(?=bar)", "look-around such as `(?=`, `(?!` or `(?<=` is not supported (column 4)"),
        ("(?<!x)foo", "look-around"),
        (r"(foo)\1", "back-references are not supported"),
        ("a*", "matches the empty message"),
        (r"\p{Greek}", "is not a regex"),
    ] {
        let found = judged(pattern);
        assert!(
            found.starts_with("my.rules:1: rule BAD: pattern: ") && found.contains(wanted),
            "{pattern}: {found}"
        );
    }
}

#[test]
fn number_of_rules() {
    let line = |number: usize| format!("RULE_{number} \"thing{number} failed\" 5\n");
    for (count, taken, problems) in
        [(MAX_RULES, MAX_RULES, 0), (MAX_RULES + 1, MAX_RULES, 1), (MAX_RULES * 10, MAX_RULES, 1)]
    {
        let parsed = parse("many.rules", &(0..count).map(line).collect::<String>());
        let compiled = RuleSet::compile(parsed.rules);
        assert_eq!((compiled.set.len(), compiled.problems.len()), (taken, problems), "{count}");
        if let Some(problem) = compiled.problems.first() {
            let start = format!("many.rules:10001: rule RULE_10000: rules: there are {count} rules");
            assert!(problem.to_string().starts_with(&start), "{problem}");
        }
        let mut scratch = Scratch::default();
        let mut find = |message: &[u8]| {
            compiled
                .set
                .best(message.into(), Categories::ALL, |_| false, &mut scratch)
                .map(|hit| hit.name.to_string())
        };
        assert_eq!(find(b"and then thing9999 FAILED").as_deref(), Some("RULE_9999"));
        assert_eq!(find(b"thing9999 worked"), None);
    }
}

#[test]
fn names() {
    let at = |bytes: usize| parse("my.rules", &format!("{} foo\n", "N".repeat(bytes)));
    assert_eq!(at(MAX_NAME_BYTES).rules.len(), 1);
    for bytes in [MAX_NAME_BYTES + 1, MAX_NAME_BYTES * 10] {
        assert!(at(bytes).problems[0].to_string().contains("more than the limit of 64"));
    }
}

#[test]
fn file_size() {
    let parsed = parse("big.rules", &"#".repeat(MAX_FILE_BYTES));
    assert_eq!(parsed.problems, []);
    for file in ["big.rules", "big.toml"] {
        let parsed = parse(file, &"#".repeat(MAX_FILE_BYTES + 1));
        assert!(parsed.problems[0].to_string().contains("more than the limit of 16777216"));
    }
}

#[test]
fn a_repeated_name_is_refused_unless_it_replaces_a_builtin_rule() {
    let mut rules = parse("my.rules", "SAME foo 3\nSAME bar 9\nOOM_KILL \"my own text\" 9.5\n").rules;
    rules.splice(0..0, builtin_rules());
    let compiled = RuleSet::compile(rules);
    let found: Vec<_> = compiled.problems.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["my.rules:2: rule SAME: name: is already used by the rule at my.rules:1; rename one"]);
    let mut scratch = Scratch::default();
    let names: Vec<_> = compiled
        .set
        .matches(b"my own text".as_slice().into(), &mut scratch)
        .into_iter()
        .map(|hit| hit.name)
        .collect();
    assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["OOM_KILL"]);
    assert!(compiled.set.matches(b"java invoked oom-killer: x".as_slice().into(), &mut scratch).is_empty());
}

#[test]
fn a_builtin_rule_is_turned_off_by_its_name() {
    let mut rules = builtin_rules();
    let before = rules.len();
    rules.extend(parse("my.toml", "[[rules]]\nname = \"OOM_KILL\"\nenabled = false\n").rules);
    let compiled = RuleSet::compile(rules);
    assert_eq!((compiled.problems.len(), compiled.set.len()), (0, before - 1));
}

#[test]
fn rules_without_a_literal_find_the_highest_score_too() {
    let rules = parse(
        "my.rules",
        r"LOW \d\d:\d\d 1
HIGH \d\d:\d 4
WORD clock 3
",
    );
    let set = RuleSet::compile(rules.rules).set;
    let mut scratch = Scratch::default();
    let mut find = |message: &[u8]| {
        set.best(message.into(), Categories::ALL, |_| false, &mut scratch).map(|hit| hit.name.to_string())
    };
    assert_eq!(find(b"clock 12:34").as_deref(), Some("HIGH"));
    assert_eq!(find(b"clock"), Some("WORD".to_owned()));
    assert_eq!(find(b"12-34"), None);
}

#[test]
fn a_message_stuffed_with_every_rules_words_still_gets_its_best_rules() {
    // Longer than any message the engine hands over; the work is bounded by bytes read, not by time.
    let rules = builtin_rules();
    let set = RuleSet::builtin();
    let stuffing: String =
        rules.iter().flat_map(|rule| &rule.misses).map(|line| format!("{line} ")).collect();
    let message = format!("Kernel panic - not syncing: x {}", stuffing.repeat((1 << 20) / stuffing.len()));
    let hit = set.best(message.as_bytes().into(), Categories::ALL, |_| false, &mut Scratch::default());
    assert_eq!(hit.map(|hit| hit.score), Some(9.0));
}

#[test]
fn the_rules_in_the_readme_load_and_hold_their_examples() {
    let readme = include_str!("../../../rules/README.md");
    let block = |start: &str| {
        let (_, rest) = readme.split_once(start).unwrap();
        rest.split_once("```").unwrap().0
    };
    let toml = parse("readme.toml", block("```toml\n"));
    let lines = parse("readme.rules", block("comment line.\n\n```\n"));
    assert_eq!((toml.problems, lines.problems), (vec![], vec![]));
    assert_eq!((toml.rules.len(), lines.rules.len()), (1, 3));
    assert_eq!(toml.rules[0].check_examples(), []);
    let read: Vec<_> =
        lines.rules.iter().map(|rule| (&*rule.pattern, rule.score, &*rule.description)).collect();
    assert_eq!(
        read,
        [
            ("no space left on device", 6.5, "the disk is full"),
            (r"failed login .* from 10\.", 4.0, "somebody tries to get in"),
            (r"cannot open /tmp/\S+", 2.5, ""),
        ]
    );
}

#[test]
fn a_toml_file_with_as_many_rules_as_may_be() {
    let file = |rules: usize| -> String {
        (0..rules)
            .map(|n| format!("[[rules]]\nname = \"R{n}\"\nfields = 'url contains \"/p{n}/\"'\n"))
            .collect()
    };
    for (rules, problems) in [(MAX_RULES, 0), (MAX_RULES + 1, 1)] {
        let parsed = parse("many.toml", &file(rules));
        assert_eq!((parsed.rules.len(), parsed.problems.len()), (rules, 0));
        let compiled = RuleSet::compile(parsed.rules);
        assert_eq!((compiled.set.len(), compiled.problems.len()), (MAX_RULES, problems));
    }
}

#[test]
fn lists_and_texts_of_a_rule() {
    let judged = |line: &str| {
        let parsed = parse("my.toml", &format!("[[rules]]\nname = \"A\"\npattern = 'abc'\n{line}\n"));
        parsed.problems.iter().map(ToString::to_string).collect::<Vec<_>>().concat()
    };
    let words = |count: usize| format!("{:?}", vec!["x"; count]);
    for (key, limit) in [("tags", 32), ("unless", 32), ("match", 100), ("miss", 100)] {
        assert_eq!(judged(&format!("{key} = {}", words(limit))), "", "{key}");
        for count in [limit + 1, limit * 10] {
            let wanted =
                format!("my.toml:4: rule A: {key}: has {count} items, more than the limit of {limit}");
            assert_eq!(judged(&format!("{key} = {}", words(count))), wanted);
        }
    }
    for (key, limit, told) in
        [("when", 4_096, "more than the limit of 4096"), ("description", 512, "at most 512 bytes")]
    {
        assert_eq!(judged(&format!("{key} = '{}'", "x".repeat(limit))), "", "{key}");
        for bytes in [limit + 1, limit * 10] {
            let found = judged(&format!("{key} = '{}'", "x".repeat(bytes)));
            assert!(
                found.starts_with(&format!("my.toml:4: rule A: {key}: ")) && found.contains(told),
                "{found}"
            );
        }
    }
}
