//! Sigma rules of our own making, one feature each, and everything that has no counterpart.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{MAX_SIGMA_BYTES, Names, Naming, import};
use crate::{draft::Imported, import::Importing};

fn read(detection: &str) -> Imported {
    let text = format!("title: A title\nlogsource: {{product: linux}}\ndetection:\n{detection}level: high\n");
    import("a.yml", &text, &Importing::default(), &mut BTreeSet::new())
}

/// The rule as pattern, fields and exceptions, or why it was left out.
fn told(detection: &str) -> String {
    let imported = read(detection);
    let mut out = String::new();
    for rule in imported.rules.iter().map(|it| &it.draft) {
        let parts = [
            rule.pattern.iter().map(|it| format!("pattern {it}")).collect::<Vec<_>>(),
            rule.fields.clone(),
            rule.unless.iter().map(|it| format!("unless {it}")).collect(),
        ];
        writeln!(out, "{}", parts.concat().join(" ; ")).unwrap();
    }
    for remark in &imported.left_out {
        writeln!(out, "{}", remark.reason).unwrap();
    }
    out.trim_end().to_owned()
}

fn item(item: &str) -> String {
    told(&format!("  a:\n    {item}\n  condition: a\n"))
}

#[test]
fn one_test_of_any_member_of_a_list_is_taken_and_no_more() {
    for (item, wanted) in [
        ("x[any]: {y: 1}", "x.y == 1"),
        ("x[any].y: 1", "x.y == 1"),
        ("x[any]: {y|contains: [a, b]}", r#"x.y contains "a" or x.y contains "b""#),
        ("x[any]: {y: 1, z: 2}", "x: asks for several things of one and the same member of a list"),
        ("x[any]: {y|neq: 1}", "x: asks for several things of one and the same member of a list"),
        ("x[all]: {y: 1}", "x: asks something of every member of a list"),
    ] {
        let text = format!(
            "title: A title\nsigma-version: 3\nlogsource: {{product: linux}}\n\
             detection:\n  a:\n    {item}\n  condition: a\nlevel: high\n"
        );
        let imported = import("a.yml", &text, &Importing::default(), &mut BTreeSet::new());
        let fields = imported.rules.iter().flat_map(|rule| &rule.draft.fields);
        let told: Vec<&String> =
            fields.chain(imported.left_out.iter().map(|remark| &remark.reason)).collect();
        assert!(matches!(told[..], [only] if only.starts_with(wanted)), "{item}: {told:?}");
    }
}

#[test]
fn values_and_modifiers() {
    for (given, wanted) in [
        ("x: Plain", r#"x == "Plain""#),
        ("x: 5", "x == 5"),
        ("x: true", "x == true"),
        ("x: null", "x missing"),
        ("x: ''", r#"x == """#),
        ("x: [a, b]", r#"x in ["a", "b"]"#),
        ("x: '*mid*'", r#"x contains "mid""#),
        ("x: 'from*'", r#"x starts_with "from""#),
        ("x: '*to'", r#"x ends_with "to""#),
        ("x: 'a*b?c'", "x matches '^a.*b.c$'"),
        ("x: '*'", "x exists"),
        (r"x: 'C:\Windows\a'", r#"x == "C:\\Windows\\a""#),
        ("x|contains: mid", r#"x contains "mid""#),
        ("x|contains: 'a*b'", "x matches 'a.*b'"),
        ("x|contains|all: [a, b]", r#"x contains "a" ; x contains "b""#),
        ("x|startswith: a", r#"x starts_with "a""#),
        ("x|endswith: [a, b]", r#"x ends_with "a" or x ends_with "b""#),
        ("x|contains: 404", r#"x contains "404""#),
        ("x|re: 'ab+'", "x matches '(?-i:ab+)'"),
        ("x|re|i: 'ab+'", "x matches 'ab+'"),
        (r"x|re: '\d+'", r"x matches '(?-i:\d+)'"),
        ("x|cased: Ab", "x matches '(?-i:^Ab$)'"),
        ("x|cidr: 10.0.0.0/8", r"x matches '^10\.\d{1,3}\.\d{1,3}\.\d{1,3}$'"),
        ("x|exists: true", "x exists"),
        ("x|exists: false", "x missing"),
        ("x|gt: 5", "x > 5"),
        ("x|gte: 5", "x >= 5"),
        ("x|lt: 1.5", "x < 1.5"),
        ("x|lte: 5", "x <= 5"),
        ("x|neq: 5", "not x == 5"),
        ("x|base64: foobar", "x matches '(?-i:Zm9vYmFy)'"),
        (
            "x|base64offset|contains: foobar",
            "x matches '(?-i:Zm9vYmFy)' or x matches '(?-i:Zvb2Jhc)' or x matches '(?-i:mb29iYX)'",
        ),
        ("x|wide|base64: ab", "x matches '(?-i:YQBiAA==)'"),
        (
            "x|contains|windash: ' -f '",
            "x contains \" -f \" or x contains \" /f \" or x contains \" \u{2013}f \" or x contains \" \u{2014}f \" or x contains \" \u{2015}f \"",
        ),
        ("x.y: 1", "x.y == 1"),
        ("'with blank': 1", r#""with blank" == 1"#),
        ("x|fieldref: y", "x: `fieldref` compares two fields; write it by hand as `when`"),
        ("x|expand: '%a%'", "x: `expand` asks for a placeholder's values, which only its environment knows"),
        ("x|hour: 3", "x: asks for a part of the time; rules here do not look at clocks"),
        (
            "x|cidr: 2001:db8::/32",
            "IPv6 network `2001:db8::/32`: only whole addresses and prefixes of up to 16 bits can be compared as text",
        ),
    ] {
        assert_eq!(item(given), wanted, "{given}");
    }
}

#[test]
fn a_text_in_base64_is_found_wherever_it_begins() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let regexes = item("x|base64offset|contains: 'secret word'");
    let needles: Vec<&str> =
        regexes.split("(?-i:").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    for before in ["", "a", "ab", "abc", "abcd"] {
        let encoded = STANDARD.encode(format!("{before}secret word and more"));
        let found = needles.iter().any(|needle| encoded.contains(&needle.replace(r"\+", "+")));
        assert!(found, "{encoded}: {needles:?}");
    }
}

#[test]
fn conditions() {
    let of = |condition: &str| {
        told(&format!(
            "  s_1: {{x: 1}}\n  s_2: {{y: 2}}\n  s_3: {{z: 3}}\n  f: {{w: 4}}\n  condition: {condition}\n"
        ))
    };
    for (given, wanted) in [
        ("s_1", "x == 1"),
        ("s_1 and not f", "x == 1 ; not w == 4"),
        ("s_1 or s_2", "x == 1 or y == 2"),
        ("1 of s_*", "x == 1 or y == 2 or z == 3"),
        ("all of s_*", "x == 1 ; y == 2 ; z == 3"),
        ("2 of s_*", "(x == 1 and y == 2) or (x == 1 and z == 3) or (y == 2 and z == 3)"),
        ("1 of them", "w == 4 or x == 1 or y == 2 or z == 3"),
        ("(s_1 or s_2) and not 1 of f*", "x == 1 or y == 2 ; not w == 4"),
        ("not (s_1 and s_2)", "not (x == 1 and y == 2)"),
        ("g", "its condition names `g`, which it lacks"),
        ("1 of g*", "its condition says `1 of g*`, and nothing is named so"),
        ("4 of s_*", "asks for 4 of 3 detections"),
    ] {
        assert_eq!(of(given), wanted, "{given}");
    }
    assert!(of("s_1 | count() > 5").contains("count"), "{}", of("s_1 | count() > 5"));
}

#[test]
fn keywords_become_patterns() {
    assert_eq!(told("  k: ['out of', 'a.b']\n  condition: k\n"), r"pattern out of|a\.b");
    assert_eq!(told("  k: [one]\n  n: [two]\n  condition: k and not n\n"), "pattern one ; unless two");
    assert_eq!(
        told("  k:\n    '|all': [one, two]\n  condition: k\n"),
        r#"pattern one ; message contains "two""#
    );
    assert_eq!(told("  k: [one]\n  s: {x: 1}\n  condition: k and s\n"), "pattern one ; x == 1");
    assert_eq!(told("  k: [one]\n  s: {x: 1}\n  condition: k or s\n"), r#"message contains "one" or x == 1"#);
    assert_eq!(told("  k: [one]\n  condition: not k\n"), r#"not message contains "one""#);
}

#[test]
fn lists_of_maps_are_alternatives() {
    assert_eq!(
        told("  s:\n    - x: 1\n      y: 2\n    - z: 3\n  condition: s\n"),
        "(x == 1 and y == 2) or z == 3"
    );
}

#[test]
fn what_is_known_about_a_rule_comes_along() {
    let text = "title: Odd 'thing' seen\nid: 0b1c\ndescription: |\n  It is\n  odd.\nauthor: Someone\nreferences: [there]\ntags: [attack.t1110]\nlogsource: {category: webserver}\ndetection: {s: {sc-status: 500, cs-cookie: a}, condition: s}\nlevel: critical\n";
    let mut importing = Importing::default();
    let mut taken = BTreeSet::from(["SIGMA_ODD_THING_SEEN".to_owned()]);
    let imported = import("web.yml", text, &importing, &mut taken);
    let rule = &imported.rules[0].draft;
    assert_eq!((rule.name.as_str(), rule.score), ("SIGMA_ODD_THING_SEEN_2", 6.0));
    assert_eq!(
        (rule.description.as_str(), rule.tags.as_slice()),
        ("Odd 'thing' seen", &["attack.t1110".to_owned()][..])
    );
    assert_eq!(rule.comments, ["Sigma 0b1c", "description: It is odd.", "by Someone", "see there"]);
    assert_eq!(rule.fields, ["code == 500", r#"cs-cookie == "a""#]);
    assert_eq!(imported.rules[0].source, "webserver");
    importing.names =
        Names { naming: Naming::Ecs, map: BTreeMap::from([("cs-cookie".to_owned(), "cookie".to_owned())]) };
    let imported = import("web.yml", text, &importing, &mut BTreeSet::new());
    assert_eq!(imported.rules[0].draft.fields, ["http.response.status_code == 500", r#"cookie == "a""#]);
}

#[test]
fn a_condition_too_large_for_one_rule_becomes_several() {
    let many: String = (0..400).map(|n| format!("      - /path/number/{n}\n")).collect();
    let imported = read(&format!("  s:\n    x|contains:\n{many}    y: 1\n  condition: s\n"));
    assert!(imported.rules.len() > 2 && imported.left_out.is_empty(), "{}", imported.rules.len());
    let names: BTreeSet<&str> = imported.rules.iter().map(|it| it.draft.name.as_str()).collect();
    assert_eq!(names.len(), imported.rules.len());
    let all = imported.rules.iter().flat_map(|it| &it.draft.fields).cloned().collect::<String>();
    assert!((0..400).all(|n| all.contains(&format!("\"/path/number/{n}\""))));
    assert!(imported.rules.iter().all(|it| it.draft.fields.iter().any(|field| field == "y == 1")));
}

#[test]
fn bad_files_are_named_and_bounded() {
    let reasons = |text: &str| {
        let imported = import("bad.yml", text, &Importing::default(), &mut BTreeSet::new());
        assert!(imported.rules.is_empty(), "{:?}", imported.rules);
        imported.left_out.iter().map(|remark| remark.to_string()).collect::<Vec<_>>().join("\n")
    };
    assert!(reasons("title: [").starts_with("bad.yml: "), "{}", reasons("title: ["));
    assert!(reasons("just text").contains("mapping"), "{}", reasons("just text"));
    assert!(!reasons("title: x\nlogsource: {}\ndetection: {}\n").is_empty());
    let correlation = "title: Many\ncorrelation:\n  type: event_count\n  rules: [a]\n  group-by: [u]\n  timespan: 5m\n  condition: {gte: 10}\n";
    assert!(
        reasons(correlation).contains("Many: is a correlation over several records"),
        "{}",
        reasons(correlation)
    );
    for bytes in [MAX_SIGMA_BYTES + 1, MAX_SIGMA_BYTES * 10] {
        assert!(reasons(&"#".repeat(bytes)).contains("more than the limit of 1048576"));
    }
    // Each level holds the one before it nine times: ten levels are three billion values.
    let mut bomb = String::from("title: x\na0: &a0 [x, x]\n");
    for level in 1..40 {
        let inner = vec![format!("*a{}", level - 1); 9].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{inner}]").unwrap();
    }
    assert!(reasons(&bomb).contains("more than 100 YAML aliases"), "{}", reasons(&bomb));
    let deep = format!("title: x\na: {}{}\n", "[".repeat(10_000), "]".repeat(10_000));
    assert!(!reasons(&deep).is_empty());
    let deep = format!("  s: {{x: 1}}\n  condition: {}s{}\n", "(".repeat(1_000), ")".repeat(1_000));
    assert!(!told(&deep).is_empty());
}
